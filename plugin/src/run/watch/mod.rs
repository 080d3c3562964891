//! Learns when sandboxes end.
//!
//! `state` decides which question is asked when, `course` how a listing is
//! read, `pace` how often; here the questions are put.

mod course;
mod pace;
mod state;
#[cfg(test)]
mod tests;

use crate::limits;
use crate::modal::result::Ending;
use crate::modal::retry::Policy;
use crate::modal::sandbox::{Listed, SandboxHandle};
use crate::modal::{CallError, Client};
use crate::names::tag;
use crate::platform::{LogLevel, Platform};
use course::Key;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use state::{PageOf, Question, Told, Watching};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

type Answer = Result<Ending, CallError>;

/// Watches the sandboxes of one run.
#[derive(Debug)]
pub struct Watch<P> {
    client: Client<P>,
    /// The owner's mark on the sandboxes, for listings.
    tags: Vec<(String, String)>,
    state: RefCell<Watching>,
    waiting: RefCell<HashMap<Key, oneshot::Sender<Answer>>>,
    changed: Notify,
}

/// A moment in the life of an app: what is created later is listed later.
#[derive(Debug, Clone, Copy)]
pub struct Mark(f64);

impl Mark {
    /// Before anything was created.
    pub const BEGINNING: Self = Self(0.0);
}

impl<P: Platform> Watch<P> {
    /// Watches nothing yet.
    pub fn new(client: Client<P>, run_id: &str) -> Self {
        let now = client.platform().monotonic();
        Self {
            client,
            tags: vec![(tag::RUN.to_owned(), run_id.to_owned())],
            state: RefCell::new(Watching::new(now)),
            waiting: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// To be taken before a sandbox is created, and given with it to
    /// [`Self::ending`].
    pub fn mark(&self, app_id: &str) -> Mark {
        Mark(self.state.borrow().not_before(app_id))
    }

    /// Waits for the end of a sandbox, while [`Self::run`] runs. A question that
    /// fails in passing is asked again; only [`limits::STATUS_PATIENCE`] without
    /// any answer, or an answer that will not change, is an error.
    ///
    /// # Errors
    ///
    /// The last failure.
    pub async fn ending(&self, sandbox: &SandboxHandle, app_id: &str, mark: Mark) -> Answer {
        let now = self.client.platform().monotonic();
        let watched = SandboxHandle {
            router: None,
            ..sandbox.clone()
        };
        let key = self.state.borrow_mut().add(watched, app_id, mark.0, now);
        let (sender, told) = oneshot::channel();
        self.waiting.borrow_mut().insert(key, sender);
        let _watched = Watched { watch: self, key };
        self.changed.notify_one();
        match told.await {
            Ok(answer) => answer,
            // The sender lives as long as `_watched`.
            Err(_) => std::future::pending().await,
        }
    }

    /// Asks, for as long as the run lasts.
    pub async fn run(&self) {
        let platform = self.client.platform();
        let mut under_way: FuturesUnordered<LocalBoxFuture<'_, Put>> = FuturesUnordered::new();
        let mut clock = Clock::default();
        loop {
            let now = platform.monotonic();
            let questions = self.state.borrow_mut().questions(now);
            for question in questions {
                under_way.push(Box::pin(self.put(question)));
            }
            let wakes_at = self.state.borrow_mut().wakes_at(now);
            clock.set(platform, wakes_at, now);
            tokio::select! {
                biased;
                Some(put) = under_way.next(), if !under_way.is_empty() => {
                    self.take_in(put);
                    // Whatever else has come in meanwhile, before more is asked.
                    while let Some(Some(put)) = futures::FutureExt::now_or_never(under_way.next()) {
                        self.take_in(put);
                    }
                }
                () = self.changed.notified() => {}
                () = clock.rings() => {}
            }
        }
    }

    async fn put(&self, question: Question) -> Put {
        match question {
            Question::Sandbox { key, sandbox, hold } => {
                let policy = Policy::ONCE;
                let answer = self.client.wait_sandbox(&sandbox, hold, policy).await;
                self.log(&sandbox.id, &answer);
                Put::Sandbox(key, answer)
            }
            Question::Page { page, app_id } => {
                let before = page.before();
                let answer = self
                    .client
                    .list_sandboxes(&app_id, &self.tags, before)
                    .await;
                self.log("the list of sandboxes", &answer);
                Put::Page(page, answer)
            }
        }
    }

    fn take_in(&self, put: Put) {
        let now = self.client.platform().monotonic();
        match put {
            Put::Sandbox(key, answer) => {
                let told = self.state.borrow_mut().answered(key, answer, now);
                self.tell(told);
            }
            Put::Page(page, answer) => {
                let told = self.state.borrow_mut().listed(page, answer, now);
                self.tell(told);
            }
        }
    }

    fn tell(&self, told: impl IntoIterator<Item = Told>) {
        for (key, answer) in told {
            if let Some(waiting) = self.waiting.borrow_mut().remove(&key) {
                let _ = waiting.send(answer);
            }
        }
    }

    fn log<T>(&self, about: &str, answer: &Result<T, CallError>) {
        if let Err(error) = answer {
            let message = format!("{about}: a question failed: {error}");
            self.client.platform().log(LogLevel::Debug, &message);
        }
    }
}

/// A question that was put, and what came of it.
enum Put {
    Sandbox(Key, Result<Option<Ending>, CallError>),
    Page(PageOf, Result<Vec<Listed>, CallError>),
}

/// Ends the watch over a sandbox when it is dropped.
struct Watched<'w, P> {
    watch: &'w Watch<P>,
    key: Key,
}

impl<P> Drop for Watched<'_, P> {
    fn drop(&mut self) {
        self.watch.state.borrow_mut().remove(self.key);
        self.watch.waiting.borrow_mut().remove(&self.key);
    }
}

/// A timer that is only made anew when it would ring too late: making one is a
/// call to the host.
#[derive(Default)]
struct Clock<'p>(Option<(Duration, LocalBoxFuture<'p, ()>)>);

impl<'p> Clock<'p> {
    fn set<P: Platform>(&mut self, platform: &'p P, at: Option<Duration>, now: Duration) {
        let Some(at) = at else { return };
        let serves = |(set, _): &(Duration, _)| *set <= at && *set > now;
        if !self.0.as_ref().is_some_and(serves) {
            let wait = at.saturating_sub(now).max(limits::WATCH_TICK);
            self.0 = Some((now + wait, Box::pin(platform.sleep(wait))));
        }
    }

    async fn rings(&mut self) {
        match &mut self.0 {
            Some((_, sleep)) => sleep.await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}
