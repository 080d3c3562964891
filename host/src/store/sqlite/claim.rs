//! Taking charge of a run: what the next holder has to know of it.

use super::unknown_word;
use crate::contract::{Attempt, Claim, StepChange, StepStatus, StopMode};
use rusqlite::{OptionalExtension as _, Transaction};

/// Fences whoever held the run before; none when there is no such run.
pub(super) fn take(transaction: &Transaction<'_>, run: &str) -> rusqlite::Result<Option<Claim>> {
    let taken: Option<(i64, Option<String>)> = transaction
        .prepare_cached(
            "UPDATE runs SET epoch = epoch + 1 WHERE id = ?1 RETURNING epoch, stop_mode",
        )?
        .query_row([run], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((epoch, stop)) = taken else {
        return Ok(None);
    };
    Ok(Some(Claim {
        epoch: epoch.unsigned_abs(),
        steps: steps(transaction, run)?,
        attempts: attempts(transaction, run)?,
        stop: stop.as_deref().and_then(StopMode::from_word),
    }))
}

/// Steps of which something is recorded. One that waits for a further attempt has
/// a reason.
fn steps(transaction: &Transaction<'_>, run: &str) -> rusqlite::Result<Vec<StepChange>> {
    let mut statement = transaction.prepare_cached(
        "SELECT name, attempt, status, exit_code, reason FROM steps
         WHERE run = ?1 AND (status <> ?2 OR attempt > 0 OR reason IS NOT NULL)
         ORDER BY position",
    )?;
    let rows = statement.query_map([run, StepStatus::Pending.word()], |row| {
        Ok(StepChange {
            step: row.get(0)?,
            attempt: row.get(1)?,
            status: status(&row.get::<_, String>(2)?, 2)?,
            exit_code: row.get(3)?,
            reason: row.get(4)?,
        })
    })?;
    rows.collect()
}

fn attempts(transaction: &Transaction<'_>, run: &str) -> rusqlite::Result<Vec<Attempt>> {
    let mut statement = transaction.prepare_cached(
        "SELECT step, number, status, idempotency_key, place, sandbox FROM attempts
         WHERE run = ?1 ORDER BY step, number",
    )?;
    let rows = statement.query_map([run], |row| {
        Ok(Attempt {
            step: row.get(0)?,
            number: row.get(1)?,
            status: status(&row.get::<_, String>(2)?, 2)?,
            idempotency_key: row.get(3)?,
            place: row.get(4)?,
            sandbox: row.get(5)?,
        })
    })?;
    rows.collect()
}

fn status(word: &str, column: usize) -> rusqlite::Result<StepStatus> {
    StepStatus::from_word(word).ok_or_else(|| unknown_word(column))
}
