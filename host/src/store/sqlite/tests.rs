//! Tests of the embedded store.

use super::{MIGRATIONS, SqliteStore};
use crate::contract::{Change, StepChange, StepStatus, StopMode, StoreError};
use crate::store::{MemoryStore, NewRun, RunStore};
use rusqlite::Connection;

/// Otherwise the long commits of one run would stop the thread that others
/// live on, ten times a second each.
#[tokio::test]
async fn looking_for_a_stop_does_not_wait_for_writers() {
    let home = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&home.path().join("runs.db"), false).unwrap();
    let run = NewRun {
        id: "run".into(),
        ..NewRun::default()
    };
    store.create(run).await.unwrap();
    store.request_stop("run", StopMode::Force).await.unwrap();
    {
        let _writing = store.shared.connection.lock().unwrap();
        assert_eq!(store.stop_mode("run"), Ok(None));
    }
    assert_eq!(store.stop_mode("run"), Ok(Some(StopMode::Force)));
    assert_eq!(store.stop_mode("none"), Err(StoreError::UnknownRun));
}

fn run(id: &str, keys: &[(&str, &str)]) -> NewRun {
    let keys = keys.iter();
    NewRun {
        id: id.into(),
        steps: vec!["a".into(), "b".into()],
        cache_keys: keys
            .map(|(step, key)| ((*step).into(), (*key).into()))
            .collect(),
        ..NewRun::default()
    }
}

async fn end(store: &dyn RunStore, run: &str, step: &str, status: StepStatus) {
    let epoch = store.open(run).await.unwrap().epoch;
    let change = Change::Step(StepChange {
        step: step.into(),
        attempt: 0,
        status,
        exit_code: None,
        reason: None,
    });
    store.commit(run, epoch, vec![change]).await.unwrap();
}

async fn finds_results(store: &dyn RunStore) {
    store
        .create(run("first", &[("a", "k1"), ("b", "k2")]))
        .await
        .unwrap();
    assert_eq!(store.cached("first", "a").await, Ok(false));
    end(store, "first", "a", StepStatus::Completed).await;
    end(store, "first", "b", StepStatus::Failed).await;

    // Keys count, not names; and only what has completed.
    store
        .create(run("second", &[("a", "k2"), ("b", "k1")]))
        .await
        .unwrap();
    assert_eq!(store.cached("second", "a").await, Ok(false));
    assert_eq!(store.cached("second", "b").await, Ok(true));

    store.create(run("third", &[("a", "k3")])).await.unwrap();
    for step in ["a", "b", "none"] {
        assert_eq!(store.cached("third", step).await, Ok(false), "{step}");
    }
}

#[tokio::test]
async fn a_result_is_found_under_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("runs.db"), false).unwrap();
    finds_results(&store).await;
    let memory = MemoryStore::new();
    finds_results(&memory).await;
    assert_eq!(
        memory.cached("none", "a").await,
        Err(StoreError::UnknownRun)
    );
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs.db");
    let old = Connection::open(&file).unwrap();
    old.execute_batch(MIGRATIONS[0]).unwrap();
    old.execute_batch(
        "INSERT INTO runs (id, name, target, status, created_at)
             VALUES ('old', 'name', 'local', 'completed', 1);
         INSERT INTO steps (run, name, position, status) VALUES ('old', 'a', 0, 'completed');
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let store = SqliteStore::open(&file, false).unwrap();
    let run = store.run("old").await.unwrap().unwrap();
    assert_eq!(run.steps.len(), 1);
    assert_eq!(store.cached("old", "a").await, Ok(false));
    finds_results(&store).await;
}
