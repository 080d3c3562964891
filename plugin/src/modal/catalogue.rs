//! Finding sandboxes: by their tags, by name, and what their tags are.

use super::call::{CallOptions, Client};
use super::error::CallError;
use super::retry::Policy;
use super::rpc::{
    APP_GET_OR_CREATE, SANDBOX_GET_FROM_NAME, SANDBOX_GET_FROM_NAME_V2, SANDBOX_LIST_V2,
    SANDBOX_TAGS_GET, SANDBOX_TAGS_GET_V2, SANDBOX_TAGS_SET, SANDBOX_TAGS_SET_V2,
};
use super::sandbox::{Backend, Listed, SandboxHandle, named, tags};
use crate::limits;
use crate::platform::Platform;
use modal_proto::client::{
    AppGetOrCreateRequest, SandboxGetFromNameRequest, SandboxListRequest, SandboxTagsGetRequest,
    SandboxTagsSetRequest,
};
use std::collections::HashSet;
use tonic::Code;

/// Which sandboxes of an app are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Those that have all of these tags.
    pub tags: &'a [(String, String)],
    /// Those that have ended too.
    pub finished: bool,
    /// Of this environment; absent: of that of the options.
    pub environment: Option<&'a str>,
    /// More than so many are an error.
    pub most: usize,
}

impl<P: Platform> Client<P> {
    /// The id of the app of this name; none when there is no such app.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there for [`limits::FIRST_CONTACT`].
    pub async fn find_app(
        &self,
        name: &str,
        environment: Option<&str>,
    ) -> Result<Option<String>, CallError> {
        let request = AppGetOrCreateRequest {
            app_name: name.to_owned(),
            environment_name: environment.unwrap_or_default().to_owned(),
            ..AppGetOrCreateRequest::default()
        };
        let rpc = &APP_GET_OR_CREATE;
        let options = first_contact();
        let asked = self.call(rpc, &request, &options);
        match self.within(limits::FIRST_CONTACT, rpc.name, asked).await {
            Ok(answer) => Ok(Some(answer.app_id)),
            Err(error) if error.is(Code::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The sandboxes of an app, newest first, page after page; without an app (an empty
    /// id) those of the environment.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there, and when there are more than are wanted:
    /// a part of them is no list.
    pub async fn list_all(
        &self,
        app_id: &str,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Listed>, CallError> {
        let environment = wanted.environment.unwrap_or(&self.options().environment);
        let mut request = SandboxListRequest {
            app_id: app_id.to_owned(),
            environment_name: environment.to_owned(),
            include_finished: wanted.finished,
            tags: tags(wanted.tags),
            ..SandboxListRequest::default()
        };
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        let mut is_stale = false;
        loop {
            let page = self.list_page(&request, Policy::SDK).await?;
            let Some(last) = page.last().map(|last| last.created_at) else {
                return Ok(all);
            };
            let known = all.len();
            let is_new = |sandbox: &Listed| seen.insert(sandbox.id.clone());
            all.extend(page.into_iter().filter(is_new));
            if all.len() > wanted.most {
                return Err(too_many(wanted.most));
            }
            let brings_nothing = all.len() == known;
            if brings_nothing && is_stale {
                return Ok(all);
            }
            is_stale = brings_nothing;
            // Sandboxes that were created in the same instant as the last one may be
            // on the next page, so that instant is asked for again, until there is
            // nothing new in it.
            request.before_timestamp = match brings_nothing {
                true => last,
                false => last.next_up(),
            };
        }
    }

    /// The id of the sandbox of an app that runs under this name.
    ///
    /// # Errors
    ///
    /// When there is none, Modal says no or is not there for
    /// [`limits::FIRST_CONTACT`].
    pub async fn find_named(
        &self,
        app: &str,
        environment: Option<&str>,
        name: &str,
    ) -> Result<String, CallError> {
        let environment = environment.unwrap_or(&self.options().environment);
        let request = SandboxGetFromNameRequest {
            sandbox_name: name.to_owned(),
            environment_name: environment.to_owned(),
            app_name: app.to_owned(),
            include_terminated: false,
        };
        let rpc = match self.options().sandbox_v2 {
            true => &SANDBOX_GET_FROM_NAME_V2,
            false => &SANDBOX_GET_FROM_NAME,
        };
        let options = first_contact();
        let asked = self.call(rpc, &request, &options);
        let answer = self.within(limits::FIRST_CONTACT, rpc.name, asked).await?;
        Ok(answer.sandbox_id)
    }

    /// Replaces the tags of a sandbox.
    ///
    /// # Errors
    ///
    /// When Modal says no, or is not there for [`limits::TAG_PATIENCE`].
    pub async fn set_tags(
        &self,
        sandbox: &SandboxHandle,
        new: &[(String, String)],
    ) -> Result<(), CallError> {
        let (rpc, environment) = match sandbox.backend() {
            Backend::V1 => (&SANDBOX_TAGS_SET, self.options().environment.clone()),
            Backend::V2 => (&SANDBOX_TAGS_SET_V2, String::new()),
        };
        let request = SandboxTagsSetRequest {
            environment_name: environment,
            sandbox_id: sandbox.id.clone(),
            tags: tags(new),
        };
        let options = CallOptions {
            policy: Policy::patient(limits::TAG_PATIENCE),
            sandbox_token: sandbox.token.clone(),
            ..CallOptions::default()
        };
        self.call(rpc, &request, &options).await
    }

    /// The tags of a sandbox.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there.
    pub async fn tags(&self, sandbox: &SandboxHandle) -> Result<Vec<(String, String)>, CallError> {
        let request = SandboxTagsGetRequest {
            sandbox_id: sandbox.id.clone(),
        };
        let options = CallOptions {
            sandbox_token: sandbox.token.clone(),
            ..CallOptions::default()
        };
        let rpc = match sandbox.backend() {
            Backend::V1 => &SANDBOX_TAGS_GET,
            Backend::V2 => &SANDBOX_TAGS_GET_V2,
        };
        Ok(named(self.call(rpc, &request, &options).await?.tags))
    }
}

/// Often the first thing that is asked of a server.
fn first_contact() -> CallOptions {
    CallOptions {
        policy: Policy::patient(limits::FIRST_CONTACT),
        ..CallOptions::default()
    }
}

fn too_many(most: usize) -> CallError {
    CallError::Status {
        operation: SANDBOX_LIST_V2.name,
        code: Code::OutOfRange,
        message: format!("there are more than {most} sandboxes: ask for those with certain tags"),
        retry_after: None,
    }
}
