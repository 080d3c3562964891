//! The embedded run store: one SQLite file.
//!
//! Writes are transactions in WAL mode. With `synchronous = NORMAL` a commit
//! survives the death of the process; with `FULL` that of the machine too, at
//! the price of one flush to disk per commit.

mod caching;
mod claim;
mod opening;
mod retention;

pub use opening::StoreOpenError;

use super::records::{NewRun, RunRecord, RunSummary, StepRecord};
use super::{RunStore, StoreFuture};
use crate::contract::{Change, Claim, RunStatus, StepStatus, StopMode, StoreError};
use crate::limits::STOP_POLL;
use jiff::Timestamp;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension as _, Row, Transaction, TransactionBehavior, params,
};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use tokio::sync::Notify;

/// Runs in a SQLite file. Clones share the file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Mutex<Connection>,
    stop_asked: Notify,
}

impl SqliteStore {
    /// Opens a file, and creates it if need be. `durable`: commits survive a
    /// power cut.
    ///
    /// # Errors
    ///
    /// When the file cannot be used.
    pub fn open(file: &Path, durable: bool) -> Result<Self, StoreOpenError> {
        Ok(Self {
            shared: Arc::new(Shared {
                connection: Mutex::new(opening::open(file, durable)?),
                stop_asked: Notify::new(),
            }),
        })
    }

    /// All runs, newest first.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub async fn runs(&self) -> Result<Vec<RunSummary>, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, name, target, status, reason, created_at, ended_at FROM runs
                 ORDER BY created_at DESC, id",
            )?;
            let rows = statement.query_map([], summary)?;
            rows.collect()
        })
        .await
    }

    /// One run with its steps; none when there is no run of that id.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub async fn run(&self, id: &str) -> Result<Option<RunRecord>, StoreError> {
        let id = id.to_owned();
        self.with(move |connection| {
            let summary = connection
                .prepare_cached(
                    "SELECT id, name, target, status, reason, created_at, ended_at FROM runs
                     WHERE id = ?1",
                )?
                .query_row([&id], summary)
                .optional()?;
            summary
                .map(|summary| {
                    Ok(RunRecord {
                        summary,
                        metadata: metadata(connection, &id, "")?,
                        steps: steps(connection, &id)?,
                    })
                })
                .transpose()
        })
        .await
    }

    /// What the host app left with a run for starting it again; none when it left
    /// nothing, or there is no run of that id.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub async fn document(&self, id: &str) -> Result<Option<String>, StoreError> {
        let id = id.to_owned();
        self.with(move |connection| {
            connection
                .prepare_cached("SELECT document FROM runs WHERE id = ?1")?
                .query_row([&id], |row| row.get(0))
                .optional()
                .map(Option::flatten)
        })
        .await
    }

    /// Works with the connection on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let result = tokio::task::spawn_blocking(move || {
            work(
                &mut shared
                    .connection
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            )
        });
        match result.await {
            Ok(result) => result.map_err(|error| unavailable(&error)),
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }

    /// The stop that was asked for. A read of one row that is in memory, so it
    /// does not leave the thread; nor does it wait while another run writes, so
    /// none is known then.
    fn stop_mode(&self, run: &str) -> Result<Option<StopMode>, StoreError> {
        let connection = match self.shared.connection.try_lock() {
            Ok(connection) => connection,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let word: Option<Option<String>> = connection
            .prepare_cached("SELECT stop_mode FROM runs WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([run], |row| row.get(0)).optional())
            .map_err(|error| unavailable(&error))?;
        let word = word.ok_or(StoreError::UnknownRun)?;
        Ok(word.as_deref().and_then(StopMode::from_word))
    }
}

impl RunStore for SqliteStore {
    fn create(&self, run: NewRun) -> StoreFuture<'_, ()> {
        Box::pin(self.with(move |connection| {
            let transaction = write(connection)?;
            transaction.execute(
                "INSERT INTO runs (id, name, target, status, created_at, document)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    run.id,
                    run.name,
                    run.target,
                    RunStatus::Running.word(),
                    now(),
                    run.document
                ],
            )?;
            let mut insert = transaction.prepare(
                "INSERT INTO steps (run, name, position, status, cache_key, cache_parts)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (position, step) in (0_i64..).zip(&run.steps) {
                let pending = StepStatus::Pending.word();
                let cache_key = run.cache_keys.get(step);
                let cache_parts = run.cache_parts.get(step);
                insert.execute(params![
                    run.id,
                    step,
                    position,
                    pending,
                    cache_key,
                    cache_parts
                ])?;
            }
            drop(insert);
            transaction.commit()
        }))
    }

    fn open<'s>(&'s self, run: &'s str) -> StoreFuture<'s, Claim> {
        let run = run.to_owned();
        Box::pin(async move {
            let claim = self.with(move |connection| {
                let transaction = write(connection)?;
                let claim = claim::take(&transaction, &run)?;
                transaction.commit()?;
                Ok(claim)
            });
            claim.await?.ok_or(StoreError::UnknownRun)
        })
    }

    fn commit<'s>(&'s self, run: &'s str, epoch: u64, changes: Vec<Change>) -> StoreFuture<'s, ()> {
        let run = run.to_owned();
        Box::pin(async move {
            self.with(move |connection| {
                let transaction = write(connection)?;
                let current: Option<i64> = transaction
                    .prepare_cached("SELECT epoch FROM runs WHERE id = ?1")?
                    .query_row([&run], |row| row.get(0))
                    .optional()?;
                match current {
                    None => return Ok(Err(StoreError::UnknownRun)),
                    Some(current) if current.unsigned_abs() != epoch => {
                        return Ok(Err(StoreError::Fenced));
                    }
                    Some(_) => {}
                }
                for change in &changes {
                    apply(&transaction, &run, change)?;
                }
                transaction.commit()?;
                Ok(Ok(()))
            })
            .await?
        })
    }

    fn cached<'s>(&'s self, run: &'s str, step: &'s str) -> StoreFuture<'s, bool> {
        let (run, step) = (run.to_owned(), step.to_owned());
        Box::pin(self.with(move |connection| caching::is_known(connection, &run, &step)))
    }

    fn wait_for_stop<'s>(
        &'s self,
        run: &'s str,
        known: Option<StopMode>,
    ) -> StoreFuture<'s, StopMode> {
        Box::pin(async move {
            loop {
                let asked_here = self.shared.stop_asked.notified();
                match self.stop_mode(run)? {
                    Some(mode) if mode.exceeds(known) => return Ok(mode),
                    // Another process may ask by writing to the file.
                    _ => {
                        let _ = tokio::time::timeout(STOP_POLL, asked_here).await;
                    }
                }
            }
        })
    }

    fn request_stop<'s>(&'s self, run: &'s str, mode: StopMode) -> StoreFuture<'s, ()> {
        let run = run.to_owned();
        Box::pin(async move {
            let known = self
                .with(move |connection| {
                    let transaction = write(connection)?;
                    let changed = transaction.execute(
                        "UPDATE runs SET
                             stop_mode = CASE WHEN stop_mode = 'force' THEN stop_mode ELSE ?2 END,
                             status = CASE WHEN status = 'running' THEN 'stopping' ELSE status END
                         WHERE id = ?1",
                        params![run, mode.word()],
                    )?;
                    transaction.commit()?;
                    Ok(changed > 0)
                })
                .await?;
            self.shared.stop_asked.notify_waiters();
            match known {
                true => Ok(()),
                false => Err(StoreError::UnknownRun),
            }
        })
    }

    fn end<'s>(
        &'s self,
        run: &'s str,
        status: RunStatus,
        reason: Option<String>,
    ) -> StoreFuture<'s, ()> {
        let run = run.to_owned();
        Box::pin(self.with(move |connection| end_run(connection, &run, status, reason.as_deref())))
    }
}

fn apply(transaction: &Transaction<'_>, run: &str, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Intent(intent) => {
            transaction
                .prepare_cached(
                    "INSERT INTO attempts (run, step, number, status, idempotency_key, place)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (run, step, number) DO UPDATE SET
                         idempotency_key = excluded.idempotency_key, place = excluded.place",
                )?
                .execute(params![
                    run,
                    intent.step,
                    intent.attempt,
                    StepStatus::Starting.word(),
                    intent.idempotency_key,
                    intent.place
                ])?;
            transaction
                .prepare_cached(
                    "UPDATE steps SET status = ?3, attempt = ?4 WHERE run = ?1 AND name = ?2",
                )?
                .execute(params![
                    run,
                    intent.step,
                    StepStatus::Starting.word(),
                    intent.attempt
                ])?;
        }
        Change::Created(created) => {
            transaction
                .prepare_cached(
                    "UPDATE attempts SET sandbox = ?4 WHERE run = ?1 AND step = ?2 AND number = ?3",
                )?
                .execute(params![run, created.step, created.attempt, created.sandbox])?;
        }
        Change::Step(step) => {
            let status = step.status.word();
            let at = now();
            transaction
                .prepare_cached(
                    "UPDATE attempts SET status = ?4 WHERE run = ?1 AND step = ?2 AND number = ?3",
                )?
                .execute(params![run, step.step, step.attempt, status])?;
            transaction
                .prepare_cached(
                    "UPDATE steps SET status = ?3, attempt = ?4, exit_code = ?5, reason = ?6,
                         started_at = CASE WHEN ?7 THEN COALESCE(started_at, ?9) ELSE started_at END,
                         ended_at = CASE WHEN ?8 THEN ?9 ELSE NULL END
                     WHERE run = ?1 AND name = ?2",
                )?
                .execute(params![
                    run,
                    step.step,
                    status,
                    step.attempt,
                    step.exit_code,
                    step.reason,
                    step.status == StepStatus::Running,
                    step.status.is_final(),
                    at
                ])?;
        }
        Change::Run(ended) => end_run(transaction, run, ended.status, ended.reason.as_deref())?,
        Change::Metadata(metadata) => {
            let step = metadata.step.as_deref().unwrap_or_default();
            let values: Map<String, Value> = serde_json::from_str(&metadata.values)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO metadata (run, step, key, value) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for (key, value) in values {
                insert.execute(params![run, step, key, value.to_string()])?;
            }
        }
    }
    Ok(())
}

fn end_run(
    connection: &Connection,
    run: &str,
    status: RunStatus,
    reason: Option<&str>,
) -> rusqlite::Result<()> {
    let ended_at = status.is_final().then(now);
    // The first end counts: a run that was cut off may still say that it failed.
    let changed = connection
        .prepare_cached(
            "UPDATE runs SET status = ?2, reason = ?3, ended_at = ?4
             WHERE id = ?1 AND ended_at IS NULL",
        )?
        .execute(params![run, status.word(), reason, ended_at])?;
    if let Some(ended_at) = ended_at.filter(|_| changed > 0) {
        // Nobody is left to end these: they never ran, or were cut short.
        connection
            .prepare_cached(
                "UPDATE steps SET
                     ended_at = CASE status WHEN ?3 THEN NULL ELSE ?2 END,
                     status = CASE status WHEN ?3 THEN ?4 ELSE ?5 END
                 WHERE run = ?1 AND status IN (?3, ?6, ?7)",
            )?
            .execute(params![
                run,
                ended_at,
                StepStatus::Pending.word(),
                StepStatus::Skipped.word(),
                StepStatus::Cancelled.word(),
                StepStatus::Starting.word(),
                StepStatus::Running.word(),
            ])?;
    }
    Ok(())
}

fn summary(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    let status: String = row.get(3)?;
    Ok(RunSummary {
        id: row.get(0)?,
        name: row.get(1)?,
        target: row.get(2)?,
        status: RunStatus::from_word(&status).ok_or_else(|| unknown_word(3))?,
        reason: row.get(4)?,
        created_at: row.get(5)?,
        ended_at: row.get(6)?,
    })
}

fn steps(connection: &Connection, run: &str) -> rusqlite::Result<Vec<StepRecord>> {
    let mut statement = connection.prepare_cached(
        "SELECT s.name, s.status, s.attempt, s.exit_code, s.reason, s.started_at, s.ended_at,
                a.sandbox
         FROM steps s LEFT JOIN attempts a
              ON a.run = s.run AND a.step = s.name AND a.number = s.attempt
         WHERE s.run = ?1 ORDER BY s.position",
    )?;
    let rows = statement.query_map([run], |row| {
        let status: String = row.get(1)?;
        Ok(StepRecord {
            name: row.get(0)?,
            status: StepStatus::from_word(&status).ok_or_else(|| unknown_word(1))?,
            attempt: row.get(2)?,
            exit_code: row.get(3)?,
            reason: row.get(4)?,
            started_at: row.get(5)?,
            ended_at: row.get(6)?,
            sandbox: row.get(7)?,
            metadata: Map::new(),
        })
    })?;
    let mut steps = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for step in &mut steps {
        step.metadata = metadata(connection, run, &step.name)?;
    }
    Ok(steps)
}

fn metadata(
    connection: &Connection,
    run: &str,
    step: &str,
) -> rusqlite::Result<Map<String, Value>> {
    let mut statement = connection.prepare_cached(
        "SELECT key, value FROM metadata WHERE run = ?1 AND step = ?2 ORDER BY key",
    )?;
    let rows = statement.query_map([run, step], |row| {
        let value: String = row.get(1)?;
        Ok((
            row.get(0)?,
            serde_json::from_str(&value).unwrap_or(Value::Null),
        ))
    })?;
    rows.collect()
}

/// A transaction that will write. Taking the lock at once keeps two of them from
/// dead-locking.
fn write(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn unknown_word(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "status".to_owned(), rusqlite::types::Type::Text)
}

/// What went wrong, and what to do about it. Plugins hear it too, so it names no
/// file.
fn unavailable(error: &rusqlite::Error) -> StoreError {
    let what_to_do = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => {
            "; see whether there is room on the disk of the state directory"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "; see whether the state directory can be written to"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; it is damaged: put a copy of it back"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "; another process has been writing to it for too long"
        }
        _ => "",
    };
    StoreError::Unavailable(format!("{error}{what_to_do}"))
}

fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests;
