//! Learns when sandboxes end.

use crate::limits;
use crate::modal::result::Ending;
use crate::modal::retry::{Policy, doubled};
use crate::modal::sandbox::SandboxHandle;
use crate::modal::{CallError, Client};
use crate::platform::{LogLevel, Platform};
use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::Semaphore;
use tonic::Code;

/// Watches the sandboxes of one run.
#[derive(Debug)]
pub struct Watch<P> {
    client: Client<P>,
    places: Semaphore,
    watched: Rc<Cell<usize>>,
}

impl<P: Platform> Watch<P> {
    /// Watches nothing yet.
    pub fn new(client: Client<P>) -> Self {
        Self {
            client,
            places: Semaphore::new(limits::WAITS_AT_ONCE),
            watched: Rc::default(),
        }
    }

    /// Waits for the end of a sandbox. A question that fails in passing is
    /// asked again; only [`limits::STATUS_PATIENCE`] without any answer, or an
    /// answer that will not change, is an error.
    ///
    /// # Errors
    ///
    /// The last failure.
    pub async fn ending(&self, sandbox: &SandboxHandle) -> Result<Ending, CallError> {
        let _counted = Counted::new(&self.watched);
        let platform = self.client.platform();
        let mut answered = platform.monotonic();
        let mut failures = 0;
        loop {
            let result = {
                let _place = self.places.acquire().await.ok();
                let hold = match self.watched.get() > limits::WAITS_AT_ONCE {
                    true => limits::WAIT_HOLD_CROWDED,
                    false => limits::WAIT_HOLD,
                };
                self.client.wait_sandbox(sandbox, hold, Policy::ONCE).await
            };
            match result {
                Ok(Some(ending)) => return Ok(ending),
                Ok(None) => {
                    answered = platform.monotonic();
                    failures = 0;
                }
                Err(error) => {
                    let silence = platform.monotonic().saturating_sub(answered);
                    if !is_passing(&error) || silence > limits::STATUS_PATIENCE {
                        return Err(error);
                    }
                    let (shortest, longest) = limits::PATIENT_PAUSE;
                    let pause = error
                        .retry_after()
                        .unwrap_or_else(|| doubled(shortest, failures).min(longest));
                    failures += 1;
                    let message = format!("{} is asked about again: {error}", sandbox.id);
                    platform.log(LogLevel::Debug, &message);
                    platform.sleep(pause).await;
                }
            }
        }
    }
}

/// A question may be repeated where an action may not: being throttled passes.
fn is_passing(error: &CallError) -> bool {
    error.is_transient() || error.is(Code::ResourceExhausted) || error.is(Code::Aborted)
}

/// Counts one more while it lives.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
