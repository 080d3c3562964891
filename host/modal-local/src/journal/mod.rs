//! What the next start must know, in a small SQLite database.
//!
//! One thread owns the connection and commits everything that waits in one
//! transaction. Recorded means: survives the death of this process (the
//! write-ahead log, not forced to the disk). What the database refuses is kept
//! and tried again before anything newer, so that the database never knows of
//! an effect without its cause.

mod rows;
mod schema;

pub(crate) use self::rows::{Record, Recorded};

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tonic::Status;

use crate::{limits, state_dir::StateDir};

/// Why the database could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("{path}: {source}")]
    Sqlite {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error(
        "{path} has layout {found}, this program writes layout {known}: \
         move the state directory away or use the program that wrote it"
    )]
    OtherLayout {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("{path}: a record cannot be read: {source}")]
    Damaged {
        path: PathBuf,
        source: prost::DecodeError,
    },
    #[error("cannot start the thread that writes {path}: {source}")]
    Thread {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// The way to the thread that writes.
pub(crate) struct Journal {
    queue: Sender<Order>,
}

enum Order {
    Write(Batch),
    Close(oneshot::Sender<()>),
}

struct Batch {
    records: Vec<Record>,
    done: oneshot::Sender<Result<(), Arc<str>>>,
}

/// The promise that something is recorded.
#[derive(Debug)]
#[must_use]
pub(crate) struct Receipt(Option<oneshot::Receiver<Result<(), Arc<str>>>>);

impl Journal {
    /// Opens the database of a state directory, and reads it.
    ///
    /// The directory stays locked until the database is closed.
    pub(crate) fn open(state: &Arc<StateDir>) -> Result<(Self, Recorded), JournalError> {
        let path = state.database();
        let connection = schema::open(&path)?;
        let recorded = rows::load(&connection, &path)?;
        let (queue, orders) = channel();
        let state = Arc::clone(state);
        thread::Builder::new()
            .name("modal-local-journal".to_owned())
            .spawn({
                let path = path.clone();
                move || {
                    let closed = Writer::new(connection, path).run(&orders);
                    drop(state);
                    // Nobody waits when the server was dropped.
                    let _ = closed.map(|closed| closed.send(()));
                }
            })
            .map_err(|source| JournalError::Thread { path, source })?;
        Ok((Self { queue }, recorded))
    }

    /// Queues records; they are written in the order of these calls.
    ///
    /// The queue is bounded by the calls in flight: whoever sends waits for the
    /// receipt.
    pub(crate) fn write(&self, records: Vec<Record>) -> Receipt {
        let (done, receipt) = oneshot::channel();
        // Without a thread the sender is dropped, which the receipt reports.
        let _ = self.queue.send(Order::Write(Batch { records, done }));
        Receipt(Some(receipt))
    }

    /// Writes what is queued, and closes the database. What is queued later is
    /// refused.
    pub(crate) async fn close(&self) {
        let (closed, is_closed) = oneshot::channel();
        let _ = self.queue.send(Order::Close(closed));
        let _ = is_closed.await;
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}

impl Receipt {
    /// Where nothing is recorded there is nothing to wait for.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    /// Waits until the records are written. That they cannot be is told as when there is
    /// no room: clients would repeat for minutes what is told as an error in here.
    pub(crate) async fn committed(self) -> Result<(), Status> {
        let Some(receipt) = self.0 else {
            return Ok(());
        };
        match receipt.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(Status::resource_exhausted(format!(
                "the local Modal cannot write its state: {reason}"
            ))),
            Err(_) => Err(Status::resource_exhausted(
                "the local Modal cannot write its state: its writer is gone",
            )),
        }
    }
}

struct Writer {
    connection: Connection,
    path: PathBuf,
    /// What could not be written yet, oldest first.
    backlog: VecDeque<Record>,
}

impl Writer {
    fn new(connection: Connection, path: PathBuf) -> Self {
        Self {
            connection,
            path,
            backlog: VecDeque::new(),
        }
    }

    /// Writes until told to close, and returns who waits for that; `None` when
    /// nobody can tell any more.
    fn run(mut self, orders: &Receiver<Order>) -> Option<oneshot::Sender<()>> {
        loop {
            let first = orders.recv().ok()?;
            let mut waiting = Vec::new();
            let mut close = None;
            for order in std::iter::once(first).chain(orders.try_iter()) {
                match order {
                    Order::Write(batch) => {
                        self.backlog.extend(batch.records);
                        waiting.push(batch.done);
                    }
                    Order::Close(closed) => close = Some(closed),
                }
            }
            let result = self.commit();
            if let Err(reason) = &result {
                self.report(reason);
            }
            for done in waiting {
                // Nobody waits any more when the call was cancelled.
                let _ = done.send(result.clone());
            }
            if close.is_some() {
                return close;
            }
        }
    }

    fn commit(&mut self) -> Result<(), Arc<str>> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        let written = self.connection.transaction().and_then(|transaction| {
            for record in &self.backlog {
                rows::write(&transaction, record)?;
            }
            transaction.commit()
        });
        match written {
            Ok(()) => {
                self.backlog.clear();
                Ok(())
            }
            Err(error) => Err(Arc::from(error.to_string())),
        }
    }

    fn report(&mut self, reason: &str) {
        let excess = self.backlog.len().saturating_sub(limits::JOURNAL_BACKLOG);
        drop(self.backlog.drain(..excess));
        tracing::error!(
            path = %self.path.display(),
            reason,
            kept = self.backlog.len(),
            dropped = excess,
            "state cannot be written; trying again with the next change"
        );
    }
}

fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> JournalError + '_ {
    |source| JournalError::Sqlite {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
impl Journal {
    /// One whose thread is gone.
    pub(crate) fn broken() -> Self {
        let (queue, _) = channel();
        Self { queue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, ids::AppId, names::Name, state_dir::State, store::App};

    fn app(number: i64) -> Record {
        Record::App(Arc::new(App {
            id: AppId::from_text(format!("ap-{number}")),
            environment: Name::environment("").unwrap(),
            name: None,
            created_at: Timestamp::from_micros(number),
            key: None,
        }))
    }

    #[test]
    fn what_was_refused_is_written_before_what_comes_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let mut writer = Writer::new(schema::open(&path).unwrap(), path);
        let run = |writer: &mut Writer, sql: &str| writer.connection.execute_batch(sql).unwrap();
        run(&mut writer, "ALTER TABLE apps RENAME TO away");
        writer.backlog.push_back(app(1));
        assert!(writer.commit().is_err());
        run(&mut writer, "ALTER TABLE away RENAME TO apps");
        writer
            .backlog
            .push_back(Record::ForgetApp(AppId::from_text("ap-1")));
        writer.backlog.push_back(app(2));
        writer.commit().unwrap();
        assert!(writer.backlog.is_empty());
        let recorded = rows::load(&writer.connection, &writer.path).unwrap();
        let ids: Vec<&str> = recorded.apps.iter().map(|app| app.id.as_str()).collect();
        assert_eq!(ids, ["ap-2"]);
    }

    #[test]
    fn the_backlog_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let mut writer = Writer::new(schema::open(&path).unwrap(), path);
        let more = i64::try_from(limits::JOURNAL_BACKLOG).unwrap() + 3;
        writer.backlog.extend((0..more).map(app));
        writer.report("disk full");
        assert_eq!(writer.backlog.len(), limits::JOURNAL_BACKLOG);
        let Some(Record::App(first)) = writer.backlog.front() else {
            panic!("the oldest went");
        };
        assert_eq!(first.id.as_str(), "ap-3");
    }

    #[tokio::test]
    async fn a_receipt_means_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::Kept(directory.path().join("state"));
        let locked = Arc::new(StateDir::open(&state).await.unwrap());
        let (journal, recorded) = Journal::open(&locked).unwrap();
        assert!(recorded.apps.is_empty());
        journal.write(vec![app(1)]).committed().await.unwrap();
        // Many at once, each in its own batch.
        let receipts: Vec<Receipt> = (2..100)
            .map(|number| journal.write(vec![app(number)]))
            .collect();
        for receipt in receipts {
            receipt.committed().await.unwrap();
        }
        drop((journal, locked));
        // The lock is free once the thread is done.
        let locked = Arc::new(StateDir::open(&state).await.unwrap());
        let (_journal, recorded) = Journal::open(&locked).unwrap();
        assert_eq!(recorded.apps.len(), 99);
        assert!(
            Journal::broken()
                .write(Vec::new())
                .committed()
                .await
                .is_err()
        );
    }
}
