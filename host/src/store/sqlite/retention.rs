//! What is forgotten, and what may have been left behind somewhere.

use super::SqliteStore;
use crate::contract::{StepStatus, StoreError};
use crate::store::records::{AttemptRecord, RunAttempts};
use rusqlite::{Connection, OptionalExtension as _, params};

impl SqliteStore {
    /// Forgets a run that has ended, with everything about its steps; results of
    /// theirs no longer stand for later ones. False when there is no such run, or it
    /// has not ended.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub async fn forget(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.with(move |connection| {
            let forgotten = connection
                .prepare_cached("DELETE FROM runs WHERE id = ?1 AND ended_at IS NOT NULL")?
                .execute([&id])?;
            Ok(forgotten > 0)
        })
        .await
    }

    /// Targets of runs that may have left sandboxes there: those that have not ended,
    /// and those with an attempt of which no end is recorded. In order, each once.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub async fn unsettled_targets(&self) -> Result<Vec<String>, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT DISTINCT target FROM runs
                 WHERE ended_at IS NULL OR EXISTS (
                     SELECT 1 FROM attempts
                     WHERE run = runs.id AND status IN (?1, ?2))
                 ORDER BY target",
            )?;
            let (starting, running) = (StepStatus::Starting.word(), StepStatus::Running.word());
            let rows = statement.query_map([starting, running], |row| row.get(0))?;
            rows.collect()
        })
        .await
    }

    /// Values that a metadata key has on steps of runs on a target. In order, each
    /// once; what is no text is left out.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub async fn metadata_values(
        &self,
        target: &str,
        key: &str,
    ) -> Result<Vec<String>, StoreError> {
        let (target, key) = (target.to_owned(), key.to_owned());
        self.with(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT DISTINCT value ->> '$' FROM metadata JOIN runs ON runs.id = run
                 WHERE target = ?1 AND key = ?2 AND json_type(value) = 'text' ORDER BY 1",
            )?;
            let rows = statement.query_map([target, key], |row| row.get(0))?;
            rows.collect()
        })
        .await
    }

    /// What is recorded of the attempts of a run; none when there is no run of that
    /// id.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub async fn attempts(&self, id: &str) -> Result<Option<RunAttempts>, StoreError> {
        let id = id.to_owned();
        self.with(move |connection| {
            let run: Option<(String, i64)> = connection
                .prepare_cached("SELECT target, epoch FROM runs WHERE id = ?1")?
                .query_row([&id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            run.map(|(target, epoch)| {
                Ok(RunAttempts {
                    target,
                    epoch: epoch.unsigned_abs(),
                    attempts: attempts(connection, &id)?,
                })
            })
            .transpose()
        })
        .await
    }
}

fn attempts(connection: &Connection, run: &str) -> rusqlite::Result<Vec<AttemptRecord>> {
    let mut statement =
        connection.prepare_cached("SELECT step, number, sandbox FROM attempts WHERE run = ?1")?;
    let rows = statement.query_map(params![run], |row| {
        Ok(AttemptRecord {
            step: row.get(0)?,
            number: row.get(1)?,
            sandbox: row.get(2)?,
        })
    })?;
    rows.collect()
}
