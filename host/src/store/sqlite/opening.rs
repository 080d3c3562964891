//! Opening the file: whether it can be used, whether it is whole, and which
//! version of the schema it has.

use super::write;
use crate::limits::{STORE_BUSY, STORE_BUSY_PAUSE, STORE_CHECKED_BYTES};
use rusqlite::{Connection, ErrorCode};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

/// What leads from each version of the schema to the next, from an empty file on.
pub(super) const MIGRATIONS: [&str; 4] = [
    include_str!("../schema.sql"),
    "ALTER TABLE steps ADD COLUMN cache_key TEXT;
     CREATE INDEX steps_by_cache_key ON steps (cache_key) WHERE cache_key IS NOT NULL;",
    "ALTER TABLE runs ADD COLUMN document TEXT;
     ALTER TABLE attempts ADD COLUMN place TEXT NOT NULL DEFAULT '';",
    "ALTER TABLE steps ADD COLUMN cache_parts TEXT;",
];

/// Version of the schema that they lead to.
const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Reads of every table, which fail when there is none of that shape.
const READS: [&str; 4] = [
    "SELECT id, name, target, status, reason, epoch, stop_mode, created_at, ended_at, document
     FROM runs LIMIT 0",
    "SELECT run, name, position, status, attempt, exit_code, reason, started_at, ended_at,
            cache_key, cache_parts
     FROM steps LIMIT 0",
    "SELECT run, step, number, status, idempotency_key, sandbox, place FROM attempts LIMIT 0",
    "SELECT run, step, key, value FROM metadata LIMIT 0",
];

/// Why a store cannot be opened. Its file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    /// SQLite cannot use the file.
    #[error(
        "the run store {} cannot be opened: {error}; see whether its directory is yours to write \
         to, and whether there is room on the disk",
        file.display()
    )]
    Sqlite {
        /// The file.
        file: PathBuf,
        /// SQLite's reason.
        error: rusqlite::Error,
    },
    /// A later version of this software wrote it.
    #[error(
        "the run store {} has version {found}, this program knows up to {SCHEMA_VERSION}: use the \
         program that wrote it, or another state directory",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Something is missing in it, or was never there.
    #[error(
        "the run store {} is damaged: {finding}; nothing was changed. Put a copy of it back, or \
         move it away together with its `-wal` and `-shm` to begin a new one: its runs are unknown \
         then, and sandboxes of theirs that still run are yours to end",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        finding: String,
    },
}

/// Why a connection is not made.
enum Refused {
    Sqlite(rusqlite::Error),
    Newer(i64),
    Damaged(String),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Sqlite(error),
        }
    }
}

/// Opens a file, and creates it if need be.
pub(super) fn open(file: &Path, durable: bool) -> Result<Connection, StoreOpenError> {
    let give_up_at = Instant::now() + STORE_BUSY;
    let refused = loop {
        match connect(file, durable) {
            Ok(connection) => return Ok(connection),
            // SQLite does not wait where two switch a new file to WAL at once.
            Err(Refused::Sqlite(error)) if is_busy(&error) && Instant::now() < give_up_at => {
                thread::sleep(STORE_BUSY_PAUSE);
            }
            Err(refused) => break refused,
        }
    };
    let file = file.to_owned();
    Err(match refused {
        Refused::Sqlite(error) => StoreOpenError::Sqlite { file, error },
        Refused::Newer(found) => StoreOpenError::Newer { file, found },
        Refused::Damaged(finding) => StoreOpenError::Damaged { file, finding },
    })
}

fn connect(file: &Path, durable: bool) -> Result<Connection, Refused> {
    let mut connection = Connection::open(file)?;
    connection.busy_timeout(STORE_BUSY)?;
    // Nothing is written to a file before it is known to be one of these.
    let found = version(&connection)?;
    if found > SCHEMA_VERSION {
        return Err(Refused::Newer(found));
    }
    check(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = if durable { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    migrate(&mut connection)?;
    for read in READS {
        connection.prepare(read).map_err(unfit)?;
    }
    Ok(connection)
}

/// A statement that does not fit the tables means that they are not those of their
/// version.
fn unfit(error: rusqlite::Error) -> Refused {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => Refused::Damaged(msg),
        error if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
            Refused::Damaged(error.to_string())
        }
        error => error.into(),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Whether all pages hold together. In a large file only those are looked at that
/// something is read from: that they hold together is seen then.
fn check(connection: &Connection) -> Result<(), Refused> {
    let size = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    let bytes: i64 = connection.query_row(size, [], |row| row.get(0))?;
    if bytes > STORE_CHECKED_BYTES {
        return Ok(());
    }
    let finding: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match finding.as_str() {
        "ok" => Ok(()),
        _ => Err(Refused::Damaged(finding.replace('\n', " "))),
    }
}

/// Brings the schema up to date, all of it or nothing. Somebody else may have done
/// so in the meantime, and a newer program may even have gone further.
fn migrate(connection: &mut Connection) -> Result<(), Refused> {
    if version(connection)? == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction = write(connection)?;
    let found = version(&transaction)?;
    if found > SCHEMA_VERSION {
        return Err(Refused::Newer(found));
    }
    let done = usize::try_from(found)
        .map_err(|_| Refused::Damaged(format!("{found} is no version of its schema")))?;
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration).map_err(unfit)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(transaction.commit()?)
}
