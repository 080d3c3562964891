//! Results of earlier runs that stand for later ones, and why they do or do not.

use super::SqliteStore;
use crate::contract::{StepStatus, StoreError};
use crate::store::records::{CacheRecord, EarlierStep};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// Whether a step has completed under the key of this one.
pub(super) fn is_known(connection: &Connection, run: &str, step: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (
                 SELECT 1 FROM steps own JOIN steps earlier USING (cache_key)
                 WHERE own.run = ?1 AND own.name = ?2 AND earlier.status = ?3)",
        )?
        .query_row(params![run, step, StepStatus::Completed.word()], |row| {
            row.get(0)
        })
}

impl SqliteStore {
    /// What is known about the steps of a run that have cache keys, in the order of
    /// declaration.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub async fn cache_records(&self, id: &str) -> Result<Vec<CacheRecord>, StoreError> {
        let id = id.to_owned();
        self.with(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, cache_key, cache_parts FROM steps
                 WHERE run = ?1 AND cache_key IS NOT NULL ORDER BY position",
            )?;
            let rows =
                statement.query_map([&id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let rows = rows.collect::<rusqlite::Result<Vec<(String, String, Option<String>)>>>()?;
            rows.into_iter()
                .map(|(step, key, parts)| {
                    Ok(CacheRecord {
                        source: source(connection, &id, &step, &key)?,
                        last: last(connection, &id, &step)?,
                        step,
                        key,
                        parts,
                    })
                })
                .collect()
        })
        .await
    }
}

/// The step that completed under a key before this one came to its end.
fn source(
    connection: &Connection,
    run: &str,
    step: &str,
    key: &str,
) -> rusqlite::Result<Option<EarlierStep>> {
    connection
        .prepare_cached(
            "SELECT run, name, cache_parts FROM steps
             WHERE cache_key = ?3 AND status = ?4 AND NOT (run = ?1 AND name = ?2)
                 AND ended_at <= COALESCE(
                     (SELECT ended_at FROM steps WHERE run = ?1 AND name = ?2), ended_at)
             ORDER BY ended_at DESC LIMIT 1",
        )?
        .query_row(
            params![run, step, key, StepStatus::Completed.word()],
            earlier,
        )
        .optional()
}

/// The step of this name that completed last in a run of the same pipeline that was
/// recorded before.
fn last(connection: &Connection, run: &str, step: &str) -> rusqlite::Result<Option<EarlierStep>> {
    connection
        .prepare_cached(
            "SELECT s.run, s.name, s.cache_parts
             FROM runs own JOIN runs r ON r.name = own.name AND r.created_at < own.created_at
                  JOIN steps s ON s.run = r.id
             WHERE own.id = ?1 AND s.name = ?2 AND s.status = ?3 AND s.cache_key IS NOT NULL
             ORDER BY s.ended_at DESC LIMIT 1",
        )?
        .query_row(params![run, step, StepStatus::Completed.word()], earlier)
        .optional()
}

fn earlier(row: &Row<'_>) -> rusqlite::Result<EarlierStep> {
    Ok(EarlierStep {
        run: row.get(0)?,
        step: row.get(1)?,
        parts: row.get(2)?,
    })
}
