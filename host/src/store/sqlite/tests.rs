//! Tests of the embedded store.

use super::opening::MIGRATIONS;
use super::{SqliteStore, StoreOpenError};
use crate::contract::{Change, Metadata, RunStatus, StepChange, StepStatus, StopMode, StoreError};
use crate::store::{MemoryStore, NewRun, RunRecord, RunStore};
use rusqlite::Connection;
use std::fs::{self, OpenOptions};
use std::path::Path;

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

fn version_number(version: usize) -> i64 {
    version.try_into().unwrap()
}

#[tokio::test]
async fn every_version_is_brought_up_to_date() {
    for version in 1..=MIGRATIONS.len() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runs.db");
        let old = Connection::open(&file).unwrap();
        for migration in &MIGRATIONS[..version] {
            old.execute_batch(migration).unwrap();
        }
        old.execute_batch(
            "INSERT INTO runs (id, name, target, status, created_at)
                 VALUES ('old', 'name', 'local', 'completed', 1);",
        )
        .unwrap();
        old.pragma_update(None, "user_version", version_number(version))
            .unwrap();
        drop(old);
        let store = SqliteStore::open(&file, false).unwrap();
        assert_eq!(store.runs().await.unwrap().len(), 1, "version {version}");
        finds_results(&store).await;
        drop(store);
        SqliteStore::open(&file, true).unwrap();
    }
}

/// The bytes of a file and of what SQLite keeps beside it.
fn bytes(file: &Path) -> Vec<Option<Vec<u8>>> {
    let beside = ["", "-wal"].map(|suffix| format!("{}{suffix}", file.display()));
    beside.iter().map(|path| fs::read(path).ok()).collect()
}

#[test]
fn what_this_program_does_not_know_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let newer = directory.path().join("newer.db");
    drop(SqliteStore::open(&newer, false).unwrap());
    let connection = Connection::open(&newer).unwrap();
    let version = MIGRATIONS.len() + 1;
    connection
        .pragma_update(None, "user_version", version_number(version))
        .unwrap();
    drop(connection);
    let foreign = directory.path().join("foreign.db");
    let connection = Connection::open(&foreign).unwrap();
    connection.execute_batch("CREATE TABLE runs (x)").unwrap();
    drop(connection);
    let text = directory.path().join("text.db");
    fs::write(&text, "a text, longer than a header: ".repeat(100)).unwrap();
    let hollow = directory.path().join("hollow.db");
    let connection = Connection::open(&hollow).unwrap();
    connection
        .pragma_update(None, "user_version", version_number(MIGRATIONS.len()))
        .unwrap();
    drop(connection);
    let negative = directory.path().join("negative.db");
    let connection = Connection::open(&negative).unwrap();
    connection.pragma_update(None, "user_version", -1).unwrap();
    drop(connection);

    for file in [newer, foreign, text, hollow, negative] {
        let before = bytes(&file)[0].clone();
        let is_newer = file.ends_with("newer.db");
        match SqliteStore::open(&file, false) {
            Err(StoreOpenError::Newer { found, .. }) if is_newer => {
                assert_eq!(usize::try_from(found), Ok(version));
            }
            Err(StoreOpenError::Damaged { .. }) if !is_newer => {}
            other => panic!("{}: {other:?}", file.display()),
        }
        if is_newer || file.ends_with("text.db") {
            assert_eq!(bytes(&file)[0], before, "{}", file.display());
        }
    }
}

/// A store with some runs, as it is on disk, and what it says.
async fn filled(file: &Path) -> Vec<RunRecord> {
    let store = SqliteStore::open(file, false).unwrap();
    for number in 0..12 {
        let id = format!("run-{number}");
        store.create(run(&id, &[("a", "k1")])).await.unwrap();
        let epoch = store.open(&id).await.unwrap().epoch;
        let values = serde_json::json!({"text": "x".repeat(600), "number": number});
        let change = Change::Metadata(Metadata {
            step: Some("a".into()),
            values: values.to_string(),
        });
        store.commit(&id, epoch, vec![change]).await.unwrap();
        end(&store, &id, "a", StepStatus::Completed).await;
    }
    everything(&store).await.unwrap()
}

async fn everything(store: &SqliteStore) -> Result<Vec<RunRecord>, StoreError> {
    let mut all = Vec::new();
    for run in store.runs().await? {
        all.extend(store.run(&run.id).await?);
    }
    Ok(all)
}

/// What is left of a store that ended at some byte is all of it, or is refused.
#[tokio::test]
async fn a_store_that_is_cut_off_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole.db");
    let known = filled(&whole).await;
    let length = fs::metadata(&whole).unwrap().len();
    assert!(length > 20_000, "{length}");
    for at in (512..length).step_by(512) {
        let file = directory.path().join(format!("{at}.db"));
        fs::copy(&whole, &file).unwrap();
        let cut = OpenOptions::new().write(true).open(&file).unwrap();
        cut.set_len(at).unwrap();
        let before = bytes(&file)[0].clone();
        match SqliteStore::open(&file, false) {
            Err(error @ StoreOpenError::Damaged { .. }) => {
                assert_eq!(bytes(&file)[0], before, "at {at}");
                assert!(error.to_string().contains(".db is damaged: "), "{error}");
            }
            Err(error) => panic!("at {at}: {error}"),
            Ok(store) => assert_eq!(everything(&store).await.unwrap(), known, "at {at}"),
        }
    }
}

/// What is lost with the end of the log is what was recorded last.
#[tokio::test]
async fn a_log_that_is_cut_off_anywhere_loses_its_end_only() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole.db");
    let store = SqliteStore::open(&whole, false).unwrap();
    for number in 0..6 {
        store
            .create(run(&format!("run-{number}"), &[]))
            .await
            .unwrap();
    }
    // Copied while it is open: at the end the log goes into the file.
    let log = |file: &Path| file.with_extension("db-wal");
    let length = fs::metadata(log(&whole)).unwrap().len();
    let mut most = 0;
    for at in (0..length).step_by(512) {
        let file = directory.path().join(format!("{at}.db"));
        fs::copy(&whole, &file).unwrap();
        fs::copy(log(&whole), log(&file)).unwrap();
        let cut = OpenOptions::new().write(true).open(log(&file)).unwrap();
        cut.set_len(at).unwrap();
        let left = match SqliteStore::open(&file, false) {
            Ok(store) => everything(&store).await.unwrap(),
            Err(error) => panic!("at {at}: {error}"),
        };
        assert!(left.len() >= most, "at {at}: {left:?}");
        most = left.len();
        assert!(left.iter().all(|run| run.steps.len() == 2), "at {at}");
    }
    assert!(most >= 5, "{most}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs.db");
    let known = filled(&file).await;
    let store = SqliteStore::open(&file, false).unwrap();
    let limit = |pages: i64| {
        let connection = store.shared.connection.lock().unwrap();
        connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    limit(1);
    let mut refused = None;
    for number in 0..1000 {
        let created = store.create(run(&format!("further-{number}"), &[])).await;
        if created.is_err() {
            refused = created.err();
            break;
        }
    }
    let Some(StoreError::Unavailable(reason)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        reason.contains("full; see whether there is room"),
        "{reason}"
    );
    let left = everything(&store).await.unwrap();
    assert!(known.iter().all(|run| left.contains(run)));
    limit(1_000_000);
    store.create(run("last", &[])).await.unwrap();
}

#[tokio::test]
async fn only_what_has_ended_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("runs.db"), false).unwrap();
    for id in ["ended", "living"] {
        store.create(run(id, &[("a", "k1")])).await.unwrap();
    }
    end(&store, "ended", "a", StepStatus::Completed).await;
    store
        .end("ended", RunStatus::Completed, None)
        .await
        .unwrap();
    assert_eq!(store.cached("living", "a").await, Ok(true));
    assert_eq!(store.forget("living").await, Ok(false));
    assert_eq!(store.forget("none").await, Ok(false));
    assert_eq!(store.forget("ended").await, Ok(true));
    let left = store.runs().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, "living");
    // Its result stands for nothing any more.
    assert_eq!(store.cached("living", "a").await, Ok(false));
}
