//! The command router of one sandbox: commands and what they read and write,
//! files, snapshots.
//!
//! A router lives on a machine of its own. The control plane tells where that is
//! and gives a token; both come with the answer to a create already, so that the
//! first command costs no question.

mod command;
mod reading;
mod snapshot;
mod trouble;
mod upload;

pub use command::{Command, CommandSpec, Input, Terminal};
pub use reading::{Part, Piece, Reading};
pub use upload::Fed;

use super::call::{Client, insert};
use super::error::CallError;
use super::rpc::Rpc;
use super::sandbox::{RouterAccess, SandboxHandle, TaskId};
use crate::limits::Deadline;
use crate::platform::{LogLevel, Platform};
use http::uri::PathAndQuery;
use prost::Message;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};
use tonic::{Code, Request, Streaming};
use tonic_prost::ProstCodec;
use trouble::{Next, Patience, Renewal, Trouble};

/// The command router of one sandbox. Clones share what they know about it.
#[derive(Debug)]
pub struct Router<P>(Rc<Inner<P>>);

impl<P> Clone for Router<P> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<P> {
    client: Client<P>,
    sandbox: SandboxHandle,
    task_id: OnceCell<String>,
    access: RefCell<Option<Rc<RouterAccess>>>,
    /// Held while the control plane is asked, so that one question serves all.
    asking: Mutex<()>,
}

/// How one call is made.
#[derive(Debug, Clone, Copy)]
struct RouterCall {
    deadline: Deadline,
    /// Told to the router as well, where the SDK does so.
    announced: Option<Duration>,
    patience: Patience,
}

impl<P: Platform> Router<P> {
    /// The router of a sandbox. Nothing is asked yet.
    pub fn new(client: Client<P>, sandbox: SandboxHandle) -> Self {
        let task_id = OnceCell::new_with(sandbox.task_id.clone());
        let access = sandbox.router.clone();
        Self(Rc::new(Inner {
            client,
            sandbox,
            task_id,
            access: RefCell::new(access),
            asking: Mutex::default(),
        }))
    }

    /// The client of the control plane.
    pub fn client(&self) -> &Client<P> {
        &self.0.client
    }

    /// The sandbox.
    pub fn sandbox(&self) -> &SandboxHandle {
        &self.0.sandbox
    }

    /// The id of what runs in the sandbox.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there, and when the sandbox has ended.
    pub async fn task_id(&self) -> Result<&str, CallError> {
        let asked = self.0.task_id.get_or_try_init(async || {
            match self.0.client.task_id(&self.0.sandbox).await? {
                TaskId::Scheduled(task_id) => Ok(task_id),
                TaskId::Ended(ending) => Err(CallError::Status {
                    operation: "SandboxGetTaskId",
                    code: Code::FailedPrecondition,
                    message: ending.reason().map_or_else(
                        || "the sandbox has ended".to_owned(),
                        |reason| format!("the sandbox has ended: {reason}"),
                    ),
                    retry_after: None,
                }),
            }
        });
        asked.await.map(String::as_str)
    }

    /// Makes a call until it succeeds or there is no point in going on.
    async fn call<Q, A>(
        &self,
        rpc: &Rpc<Q, A>,
        request: &Q,
        options: RouterCall,
    ) -> Result<A, CallError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut trouble = self.trouble(options.patience);
        loop {
            let access = self.access().await?;
            match self.attempt(rpc, request, &access, &trouble, options).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.overcome(&mut trouble, &access, error).await?,
            }
        }
    }

    async fn attempt<Q, A>(
        &self,
        rpc: &Rpc<Q, A>,
        request: &Q,
        access: &RouterAccess,
        trouble: &Trouble,
        options: RouterCall,
    ) -> Result<A, CallError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut request = with_token(request.clone(), access, trouble);
        if let Some(deadline) = options.announced {
            request.set_timeout(deadline);
        }
        let client = &self.0.client;
        let answer = client
            .grpc(&access.endpoint, options.deadline)
            .unary(
                request,
                PathAndQuery::from_static(rpc.path),
                ProstCodec::<Q, A>::default(),
            )
            .await;
        let answer = answer.map_err(|status| client.failure(rpc.name, &status))?;
        Ok(answer.into_inner())
    }

    /// Opens a stream of answers, once.
    async fn open<Q, A>(
        &self,
        rpc: &Rpc<Q, A>,
        request: Q,
        access: &RouterAccess,
        trouble: &Trouble,
        deadline: Deadline,
    ) -> Result<Streaming<A>, CallError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let client = &self.0.client;
        let opened = client
            .grpc(&access.endpoint, deadline)
            .server_streaming(
                with_token(request, access, trouble),
                PathAndQuery::from_static(rpc.path),
                ProstCodec::<Q, A>::default(),
            )
            .await;
        let opened = opened.map_err(|status| client.failure(rpc.name, &status))?;
        Ok(opened.into_inner())
    }

    fn trouble(&self, patience: Patience) -> Trouble {
        Trouble::new(patience, self.0.client.options().max_throttle_wait)
    }

    /// Waits until it makes sense to try again what has failed.
    ///
    /// # Errors
    ///
    /// The failure, when it does not.
    async fn overcome(
        &self,
        trouble: &mut Trouble,
        access: &Rc<RouterAccess>,
        error: CallError,
    ) -> Result<(), CallError> {
        let platform = self.0.client.platform();
        let expires_soon = access.expires_soon(platform.unix_time());
        let Next::Again(pause, renewal) =
            trouble.failed(&error, expires_soon, platform.monotonic())
        else {
            return Err(error);
        };
        platform.log(LogLevel::Debug, &format!("again in {pause:?}: {error}"));
        if !pause.is_zero() {
            platform.sleep(pause).await;
        }
        match renewal {
            Renewal::No => {}
            Renewal::Token => self.renew(access).await?,
            Renewal::Address => self.look_again(access).await,
        }
        Ok(())
    }

    /// Asks for the way anew, as the router may have moved. If that cannot be
    /// found out, the old way will do.
    async fn look_again(&self, access: &Rc<RouterAccess>) {
        if let Err(error) = self.renew(access).await {
            let message = format!("the router's address was not asked for: {error}");
            self.0.client.platform().log(LogLevel::Debug, &message);
        }
    }

    /// The way to the router, as far as it is known.
    async fn access(&self) -> Result<Rc<RouterAccess>, CallError> {
        let known = || self.0.access.borrow().clone();
        if let Some(access) = known() {
            return Ok(access);
        }
        let _asking = self.0.asking.lock().await;
        match known() {
            Some(access) => Ok(access),
            None => self.ask().await,
        }
    }

    /// Asks for the way anew, unless somebody else has done so meanwhile.
    async fn renew(&self, old: &Rc<RouterAccess>) -> Result<(), CallError> {
        let _asking = self.0.asking.lock().await;
        let is_old = |known: &Rc<RouterAccess>| Rc::ptr_eq(known, old);
        if self.0.access.borrow().as_ref().is_none_or(is_old) {
            self.ask().await?;
        }
        Ok(())
    }

    async fn ask(&self) -> Result<Rc<RouterAccess>, CallError> {
        let task_id = self.task_id().await?;
        let answer = self.0.client.router_access(&self.0.sandbox, task_id).await;
        let access = Rc::new(answer.map_err(gone)?);
        *self.0.access.borrow_mut() = Some(Rc::clone(&access));
        Ok(access)
    }
}

/// The control plane calls a sandbox that has ended a wrong state; to whoever
/// wants something of it, it is not there (SDK).
fn gone(error: CallError) -> CallError {
    match error {
        CallError::Status {
            operation,
            code: Code::FailedPrecondition | Code::Aborted,
            message,
            retry_after,
        } => CallError::Status {
            operation,
            code: Code::NotFound,
            message,
            retry_after,
        },
        error => error,
    }
}

fn with_token<Q>(message: Q, access: &RouterAccess, trouble: &Trouble) -> Request<Q> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    insert(metadata, "authorization", &format!("Bearer {}", access.jwt));
    let throttles = trouble.throttles().to_string();
    insert(metadata, "x-throttle-retry-attempt", &throttles);
    request
}
