//! The tables.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path};

use rusqlite::Connection;

use super::{JournalError, sqlite};

/// Grows with every change of the tables below.
const LAYOUT: i64 = 2;

/// Columns named `…_message` hold protobuf messages of Modal's protocol.
const TABLES: &str = "
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE environments (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;
CREATE TABLE apps (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    name TEXT,
    created_at INTEGER NOT NULL UNIQUE,
    idempotency_key TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE secrets (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    name TEXT,
    created_at INTEGER NOT NULL UNIQUE,
    idempotency_key TEXT,
    env_message BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE images (
    id TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL UNIQUE,
    builder_version TEXT NOT NULL,
    image_message BLOB NOT NULL,
    snapshot_hash BLOB,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    app_id TEXT NOT NULL,
    name TEXT,
    created_at INTEGER NOT NULL UNIQUE,
    idempotency_key TEXT,
    definition_message BLOB NOT NULL,
    tags_message BLOB NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    result_message BLOB,
    stdout_head BLOB,
    stderr_head BLOB
) STRICT, WITHOUT ROWID;
";

/// Opens the database, and lays it out when it is new.
///
/// `EXCLUSIVE` because the state directory is locked anyway: it saves the
/// shared-memory file and a lock per transaction. `NORMAL` does not wait for
/// the disk.
pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    let failed = sqlite(path);
    // It holds the values of secrets: for its owner only. Where this fails,
    // SQLite says why.
    let _ = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    let connection = Connection::open(path).map_err(&failed)?;
    connection
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;",
        )
        .map_err(&failed)?;
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(&failed)?;
    match found {
        LAYOUT => {}
        0 => connection
            .execute_batch(&format!(
                "BEGIN; {TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;"
            ))
            .map_err(&failed)?,
        found => {
            return Err(JournalError::OtherLayout {
                path: path.to_owned(),
                found,
                known: LAYOUT,
            });
        }
    }
    Ok(connection)
}
