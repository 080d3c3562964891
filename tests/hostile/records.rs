//! Guests that play with the run store.

use crate::harness::{NOWHERE, RUN, hostile, limits, outcomes, recorded_end, request, until};
use flavor_host::Limits;
use flavor_host::contract::{Change, Claim, RunStatus, StopMode};
use flavor_host::store::{MemoryStore, NewRun, RunStore, SqliteStore, StoreFuture};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

fn other_run() -> NewRun {
    NewRun {
        id: "other".into(),
        name: "name".into(),
        target: "target".into(),
        steps: vec!["step".into()],
        ..NewRun::default()
    }
}

/// Everything that a guest can try with a run that is not its own.
const ON_ANOTHER_RUN: [&[&str]; 7] = [
    &["open", "other"],
    &["commit", "other", "0", "run", "mine now"],
    &["commit", "other", "1", "metadata", "{\"a\":1}"],
    &["wait-for-stop", "other"],
    &["open", "no such run"],
    &["open", ""],
    &["commit", "run' OR '1'='1", "0", "run", "injected"],
];

#[tokio::test]
async fn other_runs_cannot_be_told_from_runs_that_do_not_exist() {
    let plugin = hostile(Limits::default()).await;
    let (request, store) = request(NOWHERE, &ON_ANOTHER_RUN);
    store.create(other_run()).await.unwrap();
    store.request_stop("other", StopMode::Force).await.unwrap();
    for outcome in outcomes(&plugin, request).await {
        assert_eq!(outcome, "Err(StoreError::UnknownRun)");
    }
    assert_eq!(store.changes("other"), []);
    // Nobody has taken it over.
    assert_eq!(store.open("other").await.unwrap().epoch, 1);
}

#[tokio::test]
async fn other_runs_in_a_file_stay_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&home.path().join("runs.db"), false).unwrap();
    store.create(other_run()).await.unwrap();
    let before = store.run("other").await.unwrap().unwrap();
    let plugin = hostile(Limits::default()).await;
    let mut request = request(NOWHERE, &ON_ANOTHER_RUN).0;
    request.store = Arc::new(store.clone());
    for outcome in outcomes(&plugin, request).await {
        assert_eq!(outcome, "Err(StoreError::UnknownRun)");
    }
    assert_eq!(store.run("other").await.unwrap().unwrap(), before);
    assert_eq!(store.open("other").await.unwrap().epoch, 1);
}

#[tokio::test]
async fn a_wrong_epoch_changes_nothing() {
    let plugin = hostile(Limits::default()).await;
    let none = u64::MAX.to_string();
    let attacks: [&[&str]; 5] = [
        &["open", RUN],
        &["commit", RUN, "0", "run", "early"],
        &["commit", RUN, "2", "run", "late"],
        &["commit", RUN, &none, "run", "never"],
        &["commit", RUN, "1", "metadata", "{\"a\":1}"],
    ];
    let (request, store) = request(NOWHERE, &attacks);
    let outcomes = outcomes(&plugin, request).await;
    assert!(outcomes[0].contains("epoch: 1"), "{outcomes:?}");
    for outcome in &outcomes[1..4] {
        assert_eq!(outcome, "Err(StoreError::Fenced)");
    }
    assert_eq!(outcomes[4], "Ok(())");
    assert_eq!(store.changes(RUN).len(), 1);
}

#[tokio::test]
async fn metadata_is_one_object_or_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&home.path().join("runs.db"), false).unwrap();
    let plugin = hostile(Limits::default()).await;
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let refused = [
        "",
        "[]",
        "7",
        "null",
        "{",
        "{}{}",
        "{\"a\":1,}",
        "\u{0}",
        &deep,
    ];
    let mut attacks: Vec<Vec<&str>> = vec![vec!["open", RUN]];
    attacks.extend(refused.map(|values| vec!["commit", RUN, "1", "metadata", values]));
    attacks.push(vec!["commit", RUN, "1", "metadata", "{\"a\":{\"b\":[1]}}"]);
    let attacks: Vec<&[&str]> = attacks.iter().map(Vec::as_slice).collect();
    let mut request = request(NOWHERE, &attacks).0;
    request.store = Arc::new(store.clone());
    let outcomes = outcomes(&plugin, request).await;
    let (taken, rest) = outcomes[1..].split_last().unwrap();
    for outcome in rest {
        assert!(outcome.contains("not one JSON object"), "{outcome}");
    }
    assert_eq!(taken, "Ok(())");
    let record = store.run(RUN).await.unwrap().unwrap();
    assert_eq!(
        record.metadata,
        *serde_json::json!({"a": {"b": [1]}}).as_object().unwrap()
    );
}

/// Records about steps that there are not, and numbers at their limits, harm
/// nobody.
#[tokio::test]
async fn records_that_make_no_sense_are_kept_apart_from_the_run() {
    let home = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&home.path().join("runs.db"), false).unwrap();
    let plugin = hostile(Limits::default()).await;
    let attacks: [&[&str]; 5] = [
        &["open", RUN],
        &["commit", RUN, "1", "intent", "no such step", "key"],
        &["commit", RUN, "1", "created", "no such step", "sandbox"],
        &["commit", RUN, "1", "step", "no such step", "reason"],
        &["commit", RUN, "1", "step", "0", "reason"],
    ];
    let mut request = request(NOWHERE, &attacks).0;
    request.store = Arc::new(store.clone());
    for outcome in &outcomes(&plugin, request).await[1..] {
        assert_eq!(outcome, "Ok(())");
    }
    let record = store.run(RUN).await.unwrap().unwrap();
    let names: Vec<_> = record.steps.iter().map(|step| &step.name[..]).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4"]);
    assert_eq!(
        (record.steps[0].attempt, record.steps[0].exit_code),
        (u32::MAX, Some(i32::MIN))
    );
}

#[tokio::test]
async fn what_a_run_records_is_bounded() {
    let plugin = hostile(limits(|limits| {
        limits.record_bytes = 100_000;
        limits.call_bytes = 50_000;
    }))
    .await;
    let commit = |size| ["commit", RUN, "1", "big-metadata", size];
    let attacks: [&[&str]; 5] = [
        &["open", RUN],
        &commit("40000"),
        &commit("40000"),
        &commit("40000"),
        &commit("10"),
    ];
    let (request, store) = request(NOWHERE, &attacks);
    let outcomes = outcomes(&plugin, request).await;
    assert_eq!(outcomes[1..3], ["Ok(())", "Ok(())"]);
    assert!(outcomes[3].contains("records more than"), "{outcomes:?}");
    assert_eq!(outcomes[4], "Ok(())");
    assert_eq!(store.changes(RUN).len(), 3);
}

/// A store that writes nothing until it is let, and counts what is asked of it.
struct Held {
    store: MemoryStore,
    let_go: Semaphore,
    writing: AtomicUsize,
    most: AtomicUsize,
    questions: AtomicUsize,
}

impl Held {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::new(),
            let_go: Semaphore::new(0),
            writing: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
        })
    }
}

impl RunStore for Held {
    fn create(&self, run: NewRun) -> StoreFuture<'_, ()> {
        self.store.create(run)
    }

    fn open<'s>(&'s self, run: &'s str) -> StoreFuture<'s, Claim> {
        self.store.open(run)
    }

    fn commit<'s>(&'s self, run: &'s str, epoch: u64, changes: Vec<Change>) -> StoreFuture<'s, ()> {
        let writing = self.writing.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(writing, Ordering::SeqCst);
        Box::pin(async move {
            self.let_go.acquire().await.unwrap().forget();
            self.writing.fetch_sub(1, Ordering::SeqCst);
            self.store.commit(run, epoch, changes).await
        })
    }

    fn wait_for_stop<'s>(
        &'s self,
        run: &'s str,
        known: Option<StopMode>,
    ) -> StoreFuture<'s, StopMode> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        self.store.wait_for_stop(run, known)
    }

    fn request_stop<'s>(&'s self, run: &'s str, mode: StopMode) -> StoreFuture<'s, ()> {
        self.store.request_stop(run, mode)
    }

    fn end<'s>(
        &'s self,
        run: &'s str,
        status: RunStatus,
        reason: Option<String>,
    ) -> StoreFuture<'s, ()> {
        self.store.end(run, status, reason)
    }
}

/// Has commits made all at once, and lets them be written when all that can be
/// under way are.
async fn at_once(count: &str, size: &str, under_way: usize) -> (String, Arc<Held>) {
    let plugin = hostile(limits(|limits| limits.call_bytes = 1_000_000)).await;
    let attacks: [&[&str]; 2] = [&["open", RUN], &["commit-at-once", RUN, "1", count, size]];
    let held = Held::new();
    let mut request = request(NOWHERE, &attacks).0;
    request.store = Arc::clone(&held) as _;
    let letting_go = async {
        until(|| held.writing.load(Ordering::SeqCst) >= under_way).await;
        held.let_go.add_permits(1000);
    };
    let (outcomes, ()) = futures::join!(outcomes(&plugin, request), letting_go);
    (outcomes[1].clone(), held)
}

/// Each commit is in the host's memory until it is written.
#[tokio::test]
async fn only_so_much_is_on_its_way_to_the_store() {
    let (outcome, _) = at_once("50", "300000", 3).await;
    assert_eq!(outcome, "{\"ok\": 3, \"unavailable\": 47}");
}

/// Each commit that is being written holds a thread.
#[tokio::test]
async fn only_so_many_commits_are_written_at_one_time() {
    let (outcome, held) = at_once("200", "10", 8).await;
    assert_eq!(outcome, "{\"ok\": 200}");
    assert_eq!(held.most.load(Ordering::SeqCst), 8);
}

/// Each open question reads the store again and again.
#[tokio::test]
async fn only_so_many_questions_for_a_stop_are_open_at_one_time() {
    let plugin = hostile(Limits::default()).await;
    let held = Held::new();
    let attacks: [&[&str]; 2] = [&["ask-for-stop", RUN, "20000"], &["never"]];
    let mut request = request(NOWHERE, &attacks).0;
    request.store = Arc::clone(&held) as _;
    let mut run = plugin.run(request).await.unwrap();
    // By now all of them have been asked.
    let event = format!("{:?}", run.next().await);
    assert!(event.contains("asked"), "{event}");
    assert_eq!(held.questions.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_stop_is_heard_by_the_run_that_it_is_for() {
    let plugin = hostile(Limits::default()).await;
    let (request, store) = request(NOWHERE, &[&["wait-for-stop", RUN]]);
    let run = plugin.run(request).await.unwrap();
    run.stop(StopMode::Graceful).await.unwrap();
    let (events, end) = crate::harness::follow(run).await;
    assert_eq!(crate::harness::told(&events), ["Ok(StopMode::Graceful)"]);
    assert_eq!(end.unwrap().status, RunStatus::Completed);
    assert_eq!(recorded_end(&store), None);
}

/// Waits until a guest has recorded something.
async fn recorded(store: &MemoryStore, change: impl Fn(&Change) -> bool) {
    until(|| store.changes(RUN).iter().any(&change)).await;
}

#[tokio::test]
async fn what_the_guest_says_last_does_not_undo_what_the_host_recorded() {
    let plugin = hostile(Limits::default()).await;
    let attacks: [&[&str]; 3] = [
        &["open", RUN],
        &["commit", RUN, "1", "run", "all is well"],
        &["trap"],
    ];
    let (request, store) = request(NOWHERE, &attacks);
    let run = plugin.run(request).await.unwrap();
    recorded(&store, |change| matches!(change, Change::Run(_))).await;
    assert!(crate::harness::follow(run).await.1.is_err());
    assert_eq!(recorded_end(&store).unwrap().0, RunStatus::Failed);
}
