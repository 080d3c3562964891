//! Attempts that an earlier controller has begun. Whatever it did last, nothing is
//! started twice: what runs is watched, what is not known is asked about, and only
//! what is known not to exist is created, with the key that was recorded for it.

use super::attempt::{Attempt, NotStarted, Report, Started};
use super::runner::is_cut;
use super::store::{RunStore, Trace};
use super::watch::Mark;
use crate::modal::CallError;
use crate::modal::sandbox::SandboxHandle;
use crate::names;
use crate::platform::Platform;
use futures::FutureExt as _;
use tonic::Code;

impl<P: Platform, S: RunStore> Attempt<P, S> {
    /// Until the sandbox is known that an earlier controller has created or was
    /// about to create.
    pub(super) async fn take_over(&mut self, trace: Trace) -> Result<Started, NotStarted> {
        if let Some(id) = trace.sandbox {
            let sandbox = SandboxHandle::attached(id);
            self.tell_started(&sandbox);
            return Ok(adopted(sandbox, trace.app_id));
        }
        // There may be a sandbox, so a cut has to wait for the answer.
        let owner = self.tags();
        let found = self.shared.client.find_owned(&trace.app_id, &owner).await;
        let mut found = found.map_err(|error| self.unknown(&trace, error))?;
        match (found.pop(), found.is_empty()) {
            (Some(id), true) => {
                let sandbox = SandboxHandle::attached(id);
                self.announce(&sandbox);
                Ok(adopted(sandbox, trace.app_id))
            }
            (Some(last), false) => {
                found.push(last);
                Err(self.too_many(found).await.into())
            }
            (None, _) if is_cut(&mut self.cut).now_or_never().is_some() => Err(NotStarted::Cut),
            (None, _) => self.begin(trace).await,
        }
    }

    /// Nobody says whether there is a sandbox.
    fn unknown(&self, trace: &Trace, error: CallError) -> Report {
        let name = names::sandbox_name(&self.step.name, self.number);
        let app = &trace.app_id;
        let what = format!(
            "whether an earlier controller has created its sandbox {name} in {app} could not be \
             found out"
        );
        match error.is(Code::NotFound) {
            // The sandboxes of an app go with it.
            true => Report::call_failed(&what, error),
            false if error.is_fatal() => Report::fatal(error),
            false => Report::in_doubt(format!("{what}, so it may still run: {error}")),
        }
    }

    /// Somebody has started it more than once.
    async fn too_many(&self, ids: Vec<String>) -> Report {
        let reason = format!(
            "there is more than one sandbox of this attempt, and nobody can say which counts: {}",
            ids.join(", ")
        );
        for sandbox in ids.into_iter().map(SandboxHandle::attached) {
            if let Err(error) = self.terminate(&sandbox).await {
                self.warn_surviving(&sandbox, &error);
            }
        }
        Report::in_doubt(reason)
    }
}

fn adopted(sandbox: SandboxHandle, app_id: String) -> Started {
    Started {
        sandbox,
        app_id,
        mark: Mark::BEGINNING,
    }
}
