//! What the tests have in common.

pub(crate) mod log;
pub(crate) mod names;
pub(crate) mod raw;
pub(crate) mod server;

use flavor_host::contract::{
    Change, Context, Event, ExecutionMode, Pipeline, Resources, Retry, RunFinished, RunStatus,
    Service, Step,
};
use flavor_host::credentials::Secret;
use flavor_host::credentials::modal::TokenPair;
use flavor_host::store::MemoryStore;
use flavor_host::{Error, Host, HostBuilder, Limits, Plugin, Run, RunRequest, Target};
use hostile_component::HOSTILE;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The pair that the host adds to requests. Nobody else should ever see it.
pub(crate) const TOKEN_ID: &str = "ak-HostileTestsTokenId";
pub(crate) const TOKEN_SECRET: &str = "as-HostileTestsTokenSecret";

/// A method that every run may call.
pub(crate) const GRANTED: &str = "/modal.client.ModalClient/AppGetOrCreate";

/// The id of every run; stores are not shared.
pub(crate) const RUN: &str = "run";

/// Longer than anything here takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A host under these limits. All of them share one cache of compiled code.
pub(crate) fn host(limits: Limits) -> HostBuilder {
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/hostile-compiled");
    Host::builder().cache(cache).limits(limits)
}

/// The hostile plugin under these limits.
pub(crate) async fn hostile(limits: Limits) -> Plugin {
    let host = host(limits).build().unwrap();
    host.load(HOSTILE).await.unwrap()
}

/// The hostile plugin, with another word for what it does unasked.
pub(crate) async fn in_mode(mode: &str, limits: Limits) -> Plugin {
    const HONEST: &[u8] = b"mode=honest     ";
    let places: Vec<usize> = HOSTILE
        .windows(HONEST.len())
        .enumerate()
        .filter(|(_, window)| *window == HONEST)
        .map(|(place, _)| place)
        .collect();
    let [place] = places[..] else {
        panic!("the word is at {places:?}");
    };
    let mut component = HOSTILE.to_vec();
    let word = format!("mode={mode:<11}");
    component[place..place + HONEST.len()].copy_from_slice(word.as_bytes());
    let host = host(limits).build().unwrap();
    host.load(&component).await.unwrap()
}

/// Limits that a test can reach.
pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// A pipeline whose steps are attacks.
pub(crate) fn pipeline(name: &str, attacks: &[&[&str]]) -> Pipeline {
    let step = |(number, attack): (usize, &&[&str])| Step {
        name: number.to_string(),
        command: attack.iter().map(ToString::to_string).collect(),
        after: Vec::new(),
        image: "image".into(),
        settings: "{}".into(),
        resources: Resources {
            cpu_count: None,
            gpu_count: None,
            memory: None,
        },
        environment: Vec::new(),
        retry: Retry {
            max_retries: 0,
            delay: 0.0,
            backoff: 1.0,
        },
    };
    Pipeline {
        run_id: RUN.into(),
        name: name.into(),
        execution_mode: ExecutionMode::FailFast,
        max_parallelism: None,
        steps: attacks.iter().enumerate().map(step).collect(),
    }
}

/// Has one attack made in a call that only computes.
pub(crate) async fn check(plugin: &Plugin, attack: &[&str]) -> Result<String, Error> {
    let context = Context {
        service: Service {
            url: "http://127.0.0.1:9".into(),
            options: "{}".into(),
        },
        config: "{}".into(),
        registry: None,
        outputs: false,
    };
    let outcomes = plugin.check(context, pipeline("check", &[attack])).await?;
    Ok(outcomes.concat())
}

/// A plugin that does nothing wrong, in an instance of its own.
pub(crate) async fn assert_well(plugin: &Plugin) {
    assert_eq!(check(plugin, &["random", "3"]).await.unwrap(), "3");
}

/// The account that the host adds to requests.
pub(crate) fn account() -> TokenPair {
    TokenPair::new(TOKEN_ID, Secret::new(TOKEN_SECRET)).unwrap()
}

/// A run of attacks, once it has been accepted, against a server of this URL.
pub(crate) fn request(url: &str, attacks: &[&[&str]]) -> (RunRequest, Arc<MemoryStore>) {
    let target = Target::new(url, account()).unwrap();
    let store = Arc::new(MemoryStore::new());
    let pipeline = pipeline("attacks", attacks);
    let request = RunRequest::new(pipeline, target, Arc::clone(&store) as _);
    (request, store)
}

/// A server that is not there, for attacks that need none.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:9";

/// Everything that a run tells, and how it ends.
pub(crate) async fn follow(mut run: Run) -> (Vec<Event>, Result<RunFinished, Error>) {
    within(async move {
        let mut events = Vec::new();
        while let Some(event) = run.next().await {
            events.push(event);
        }
        (events, run.finish().await)
    })
    .await
}

/// Runs attacks to a good end, and gives the outcome of each.
pub(crate) async fn outcomes(plugin: &Plugin, request: RunRequest) -> Vec<String> {
    let run = plugin.run(request).await.unwrap();
    let (events, end) = follow(run).await;
    assert_eq!(end.unwrap().status, RunStatus::Completed);
    told(&events)
}

/// What the guest says about its attacks.
pub(crate) fn told(events: &[Event]) -> Vec<String> {
    let outcome = |event: &Event| match event {
        Event::Warning(warning) if warning.step.is_some() => Some(warning.message.clone()),
        _ => None,
    };
    events.iter().filter_map(outcome).collect()
}

/// How a run was recorded to have ended, if it was.
pub(crate) fn recorded_end(store: &MemoryStore) -> Option<(RunStatus, String)> {
    store
        .changes(RUN)
        .into_iter()
        .rev()
        .find_map(|change| match change {
            Change::Run(run) => Some((run.status, run.reason.unwrap_or_default())),
            _ => None,
        })
}

/// Bounds a test that would otherwise hang when it fails.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("this takes far too long")
}

/// Waits until something can be seen.
pub(crate) async fn until(condition: impl FnMut() -> bool) {
    let mut condition = condition;
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
