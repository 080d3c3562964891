//! The instance that a session lives in: calls come in from anywhere, and are made
//! side by side.

use crate::connection::Voice;
use crate::contract::{self, bindings::Flavor as Bindings};
use crate::error::Error;
use crate::guest::GuestState;
use crate::instance::{BoxedCall, Instance, Job};
use crate::limits::{BROKEN_OFF, Limits};
use crate::room::Room;
use futures::future::BoxFuture;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use wasmtime::component::{Accessor, ResourceAny};

/// Where calls are handed in. The instance goes with its last handle: calls under
/// way are cut off then.
pub(super) struct Worker {
    jobs: mpsc::UnboundedSender<Job>,
    /// Bounds what is in `jobs` and under way.
    places: Arc<Semaphore>,
    ended: Arc<OnceLock<Error>>,
    task: AbortHandle,
    voice: Voice,
    limits: Limits,
    /// For lines of outputs that wait to be read.
    lines: Room,
}

/// A place among the calls under way.
pub(super) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A resource of the guest, released when nobody uses it any more.
pub(super) struct Handle {
    resource: ResourceAny,
    jobs: mpsc::UnboundedSender<Job>,
}

/// What a call into the instance gives.
pub(super) type Called<'a, T> = BoxFuture<'a, wasmtime::Result<T>>;

impl Worker {
    /// Sets an instance to work, on a task of the current runtime.
    pub(super) fn start(mut instance: Instance, voice: Voice, limits: &Limits) -> Arc<Self> {
        let (jobs, mut queue) = mpsc::unbounded_channel();
        let ended = Arc::<OnceLock<Error>>::default();
        let reason = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            if let Err(error) = instance.serve(&mut queue).await {
                // Before the queue is closed: that is the sign to look here.
                let _ = reason.set(error);
            }
        });
        Arc::new(Self {
            jobs,
            places: Arc::new(Semaphore::new(
                limits.session_calls.clamp(1, Semaphore::MAX_PERMITS),
            )),
            ended,
            task: task.abort_handle(),
            voice,
            limits: limits.clone(),
            lines: Room::new(limits.line_bytes_waiting),
        })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn lines(&self) -> Room {
        self.lines.clone()
    }

    /// An error of the instance, fit to be shown.
    pub(super) fn shown(&self, error: Error) -> Error {
        self.voice.error(error)
    }

    /// Guards resources that calls will give.
    pub(super) fn guard(&self) -> impl FnOnce(ResourceAny) -> Arc<Handle> + Send + use<> {
        let jobs = self.jobs.clone();
        move |resource| Arc::new(Handle { resource, jobs })
    }

    /// Calls into the instance. One that does not answer within the limit is
    /// ended; a call that nobody waits for any more goes on in it.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl for<'a> FnOnce(
            &'a Accessor<GuestState>,
            &'a Bindings,
        ) -> Called<'a, Result<T, contract::Error>>
        + Send
        + 'static,
    ) -> Result<T, Error> {
        let answer = self.call_unlimited(call);
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.end(Error::TooSlow { limit })),
        }
    }

    /// As [`call`](Self::call), for as long as it takes.
    pub(super) async fn call_unlimited<T: Send + 'static>(
        &self,
        call: impl for<'a> FnOnce(
            &'a Accessor<GuestState>,
            &'a Bindings,
        ) -> Called<'a, Result<T, contract::Error>>
        + Send
        + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let place = self.place().await;
        self.submit(place, call, |result| {
            let _ = answer.send(result);
        })
        .await?;
        match answered.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(self.shown(Error::Plugin(error))),
            Err(_) => Err(self.gone().await),
        }
    }

    /// Waits for a place among the calls under way.
    pub(super) async fn place(&self) -> Place {
        // Closed never, so waiting cannot fail.
        let permit = Arc::clone(&self.places).acquire_owned().await;
        Place {
            _permit: permit.ok(),
        }
    }

    /// Hands a call in. What comes of it goes to `answer`, unless the instance ends
    /// before.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        place: Place,
        call: impl for<'a> FnOnce(
            &'a Accessor<GuestState>,
            &'a Bindings,
        ) -> Called<'a, Result<T, contract::Error>>
        + Send
        + 'static,
        answer: impl FnOnce(Result<T, contract::Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let call: BoxedCall = Box::new(move |accessor, plugin| {
            Box::pin(async move {
                let _place = place;
                answer(call(accessor, plugin).await?);
                Ok(())
            })
        });
        match self.jobs.send(Job::Call(call)) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.gone().await),
        }
    }

    /// Waits until the instance is gone, and says why.
    pub(super) async fn gone(&self) -> Error {
        self.jobs.closed().await;
        self.reason(|| Error::NoResult)
    }

    /// Why a stream broke off: with the instance, which is gone within moments then,
    /// or against the contract.
    pub(super) async fn broken_off(self: Arc<Self>) -> Error {
        let _ = tokio::time::timeout(BROKEN_OFF, self.jobs.closed()).await;
        self.reason(|| Error::BrokenContract {
            what: "a stream ended without a word about how".to_owned(),
        })
    }

    fn reason(&self, otherwise: impl FnOnce() -> Error) -> Error {
        self.shown(self.ended.get().cloned().unwrap_or_else(otherwise))
    }

    /// Ends the instance, and says why it did.
    fn end(&self, error: Error) -> Error {
        let _ = self.ended.set(error);
        self.task.abort();
        self.reason(|| Error::NoResult)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Handle {
    pub(super) fn resource(&self) -> ResourceAny {
        self.resource
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // An instance that is gone has nothing to release.
        let _ = self.jobs.send(Job::Release(self.resource));
    }
}
