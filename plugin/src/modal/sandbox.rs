//! Sandboxes: create, wait, end. Which of Modal's two backends is used follows
//! from the request, and later from the id.

use super::auth::expiry;
use super::call::{CallOptions, Client, Failure, ThrottleListener};
use super::channel::Endpoint;
use super::error::CallError;
use super::recovery::CreateError;
use super::result::Ending;
use super::retry::Policy;
use super::rpc::{
    SANDBOX_CREATE, SANDBOX_CREATE_V2, SANDBOX_GET_COMMAND_ROUTER_ACCESS, SANDBOX_GET_TASK_ID,
    SANDBOX_GET_TASK_ID_V2, SANDBOX_LIST_V2, SANDBOX_TERMINATE, SANDBOX_TERMINATE_V2, SANDBOX_WAIT,
    SANDBOX_WAIT_V2, TASK_GET_COMMAND_ROUTER_ACCESS,
};
use crate::environment::SplitEnvironment;
use crate::limits::{self, Deadline};
use crate::platform::{Platform, TransportFault};
use crate::resources::cpu::MilliCpu;
use crate::resources::gpu::Gpu;
use modal_proto::client::network_access::NetworkAccessType;
use modal_proto::client::sandbox::OpenPortsOneof;
use modal_proto::client::sandbox_get_command_router_access_request::Target;
use modal_proto::client::secret_source::Source;
use modal_proto::client::{
    NetworkAccess, PortSpecs, Resources, Sandbox, SandboxCreateRequest, SandboxCreateV2Request,
    SandboxGetCommandRouterAccessRequest, SandboxGetTaskIdRequest, SandboxInfo, SandboxListRequest,
    SandboxTag, SandboxTerminateRequest, SandboxWaitRequest, SchedulerPlacement, SecretSource,
    StringMap, TaskGetCommandRouterAccessRequest,
};
use std::rc::Rc;
use std::time::Duration;

/// What a sandbox is to be.
#[derive(Debug, Clone, Default)]
pub struct SandboxSpec {
    /// The app it belongs to.
    pub app_id: String,
    /// What it is made from.
    pub image_id: String,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Variables.
    pub environment: SplitEnvironment,
    /// Cores; 0 leaves it to Modal.
    pub cpu: MilliCpu,
    /// Memory in the unit that Modal takes; 0 leaves it to Modal.
    pub memory: u32,
    /// GPUs. They decide about the backend.
    pub gpu: Option<Gpu>,
    /// Where, for plans that may choose.
    pub region: Option<String>,
    /// At whose, for plans that may choose.
    pub cloud: Option<String>,
    /// Seconds after which it is ended.
    pub timeout: u32,
    /// Unique among the running sandboxes of the app.
    pub name: Option<String>,
    /// Marks, for finding it again.
    pub tags: Vec<(String, String)>,
}

/// Which of Modal's backends a sandbox lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The older one: with GPUs.
    V1,
    /// The newer one.
    V2,
}

impl Backend {
    /// An id is of the older backend exactly when it is `sb-` and 22 letters or
    /// digits.
    pub fn of(sandbox_id: &str) -> Self {
        match sandbox_id.strip_prefix("sb-") {
            Some(rest) if rest.len() == 22 && rest.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                Self::V1
            }
            _ => Self::V2,
        }
    }
}

/// A sandbox that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxHandle {
    /// Modal's id.
    pub id: String,
    /// Modal's id of what runs in it, when it came with the answer.
    pub task_id: Option<String>,
    /// Proof of having created it.
    pub token: Option<String>,
    /// The way to its command router, when it came with the answer.
    pub router: Option<Rc<RouterAccess>>,
}

impl SandboxHandle {
    /// A sandbox known by its id only.
    pub fn attached(id: String) -> Self {
        Self {
            id,
            task_id: None,
            token: None,
            router: None,
        }
    }

    /// The backend it lives on.
    pub fn backend(&self) -> Backend {
        Backend::of(&self.id)
    }
}

/// The way to a command router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterAccess {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What lets us in.
    pub jwt: String,
    /// When that ends, since 1970.
    pub expires_at: Option<Duration>,
}

impl RouterAccess {
    fn new(url: &str, jwt: String) -> Option<Self> {
        let endpoint = Endpoint::parse(url).ok()?;
        let expires_at = expiry(&jwt);
        Some(Self {
            endpoint,
            jwt,
            expires_at,
        })
    }

    /// Whether the token has so little time left that it is replaced when it is
    /// refused. One that lasts longer is tried once more as it is (SDK).
    pub fn expires_soon(&self, now: Duration) -> bool {
        self.expires_at
            .is_none_or(|end| end < now + limits::ROUTER_TOKEN_SOON)
    }
}

impl<P: Platform> Client<P> {
    /// The backend that a new sandbox goes to.
    fn backend_for(&self, spec: &SandboxSpec) -> Backend {
        match spec.gpu.is_some() || !self.options().sandbox_v2 {
            true => Backend::V1,
            false => Backend::V2,
        }
    }

    /// Creates a sandbox. The key makes repetitions safe: they give the same
    /// sandbox. Being throttled is passed on to `throttled`, for the sake of
    /// others that are waiting to create one; how many do so at one time is for
    /// the caller to bound.
    ///
    /// # Errors
    ///
    /// When Modal says no, or is not there for [`limits::CREATE_PATIENCE`], and
    /// there is no such sandbox.
    pub async fn create_sandbox(
        &self,
        spec: &SandboxSpec,
        idempotency_key: &str,
        throttled: Option<ThrottleListener>,
    ) -> Result<SandboxHandle, CreateError> {
        let options = CallOptions {
            deadline: limits::CREATE,
            policy: Policy::patient(limits::CREATE_PATIENCE),
            idempotency_key: Some(idempotency_key.to_owned()),
            throttled,
            takes_place: false,
            ..CallOptions::default()
        };
        let created = match self.backend_for(spec) {
            Backend::V1 => self.create_v1(spec, &options).await,
            Backend::V2 => self.create_v2(spec, &options).await,
        };
        match created {
            Ok(sandbox) => Ok(sandbox),
            Err(failure) => self.recover(spec, failure).await,
        }
    }

    async fn create_v1(
        &self,
        spec: &SandboxSpec,
        options: &CallOptions,
    ) -> Result<SandboxHandle, Failure> {
        let mut secret_ids = Vec::new();
        // The SDK's order: secrets first, plain variables last, so that these
        // win when a name is in both.
        for variables in spec.environment.stored() {
            secret_ids.push(self.store_secret(&spec.app_id, variables.to_vec()).await?);
        }
        let request = SandboxCreateRequest {
            app_id: spec.app_id.clone(),
            definition: Some(definition(spec, secret_ids)),
            tags: tags(&spec.tags),
            ..SandboxCreateRequest::default()
        };
        let answer = self
            .call_or_doubt(&SANDBOX_CREATE, &request, options)
            .await?;
        Ok(SandboxHandle::attached(answer.sandbox_id))
    }

    async fn create_v2(
        &self,
        spec: &SandboxSpec,
        options: &CallOptions,
    ) -> Result<SandboxHandle, Failure> {
        let secret_sources = spec
            .environment
            .stored()
            .map(|variables| SecretSource {
                source: Some(Source::Env(StringMap {
                    contents: variables.iter().cloned().collect(),
                })),
            })
            .collect();
        let request = SandboxCreateV2Request {
            app_id: spec.app_id.clone(),
            definition: Some(definition(spec, Vec::new())),
            tags: tags(&spec.tags),
            secret_sources,
            ..SandboxCreateV2Request::default()
        };
        let answer = self
            .call_or_doubt(&SANDBOX_CREATE_V2, &request, options)
            .await?;
        let router = answer
            .command_router_access
            .and_then(|access| RouterAccess::new(&access.url, access.jwt))
            .map(Rc::new);
        Ok(SandboxHandle {
            id: answer.sandbox_id,
            task_id: non_empty(answer.task_id),
            token: non_empty(answer.sandbox_token),
            router,
        })
    }

    /// Asks whether a sandbox has ended; the server may take up to `hold`
    /// seconds to say that it has not. `policy` says how often a failing
    /// question is asked again.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there.
    pub async fn wait_sandbox(
        &self,
        sandbox: &SandboxHandle,
        hold: f32,
        policy: Policy,
    ) -> Result<Option<Ending>, CallError> {
        let request = SandboxWaitRequest {
            sandbox_id: sandbox.id.clone(),
            timeout: hold,
        };
        let limit = Duration::from_secs_f32(hold) + limits::WAIT_GRACE;
        let options = CallOptions {
            deadline: Deadline::both(limit),
            announced_deadline: Some(limit),
            policy,
            sandbox_token: sandbox.token.clone(),
            takes_place: hold == 0.0,
            ..CallOptions::default()
        };
        let answer = match sandbox.backend() {
            Backend::V1 => self.call(&SANDBOX_WAIT, &request, &options).await?,
            Backend::V2 => self.call(&SANDBOX_WAIT_V2, &request, &options).await?,
        };
        Ok(answer.result.as_ref().and_then(Ending::from_result))
    }

    /// One page of the sandboxes of an app that carry these tags, newest first,
    /// of both backends and with those that have ended: those created before a
    /// moment, or the newest.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there. It is not asked again.
    pub async fn list_sandboxes(
        &self,
        app_id: &str,
        tagged: &[(String, String)],
        before: Option<f64>,
    ) -> Result<Vec<Listed>, CallError> {
        let request = SandboxListRequest {
            app_id: app_id.to_owned(),
            before_timestamp: before.unwrap_or_default(),
            environment_name: self.options().environment.clone(),
            include_finished: true,
            tags: tags(tagged),
        };
        self.list_page(&request, Policy::ONCE).await
    }

    /// One page of sandboxes.
    ///
    /// # Errors
    ///
    /// When Modal says no or is not there.
    pub(super) async fn list_page(
        &self,
        request: &SandboxListRequest,
        policy: Policy,
    ) -> Result<Vec<Listed>, CallError> {
        let options = CallOptions {
            policy,
            ..CallOptions::default()
        };
        let answer = self.call(&SANDBOX_LIST_V2, request, &options).await?;
        Ok(answer.sandboxes.into_iter().map(Listed::from).collect())
    }

    /// Ends a sandbox. One that has ended already is no failure.
    ///
    /// # Errors
    ///
    /// When Modal says no, or is not there for `patience`.
    pub async fn terminate_sandbox(
        &self,
        sandbox: &SandboxHandle,
        patience: Duration,
    ) -> Result<(), CallError> {
        let request = SandboxTerminateRequest {
            sandbox_id: sandbox.id.clone(),
        };
        let options = CallOptions {
            policy: Policy::patient(patience),
            sandbox_token: sandbox.token.clone(),
            ..CallOptions::default()
        };
        match sandbox.backend() {
            Backend::V1 => self.call(&SANDBOX_TERMINATE, &request, &options).await?,
            Backend::V2 => self.call(&SANDBOX_TERMINATE_V2, &request, &options).await?,
        };
        Ok(())
    }

    /// Waits until a sandbox of the older backend runs somewhere.
    ///
    /// # Errors
    ///
    /// When Modal says no, is not there, or does not schedule it within
    /// [`limits::SCHEDULING`].
    pub async fn task_id(&self, sandbox: &SandboxHandle) -> Result<TaskId, CallError> {
        if let Some(task_id) = &sandbox.task_id {
            return Ok(TaskId::Scheduled(task_id.clone()));
        }
        let request = SandboxGetTaskIdRequest {
            sandbox_id: sandbox.id.clone(),
            ..SandboxGetTaskIdRequest::default()
        };
        let options = CallOptions {
            sandbox_token: sandbox.token.clone(),
            ..CallOptions::default()
        };
        let rpc = match sandbox.backend() {
            Backend::V1 => &SANDBOX_GET_TASK_ID,
            Backend::V2 => &SANDBOX_GET_TASK_ID_V2,
        };
        let give_up_at = self.platform().monotonic() + limits::SCHEDULING;
        while self.platform().monotonic() < give_up_at {
            match self.call(rpc, &request, &options).await {
                Ok(answer) => {
                    if let Some(task_id) = answer.task_id.and_then(non_empty) {
                        return Ok(TaskId::Scheduled(task_id));
                    }
                    if let Some(ending) = answer.task_result.as_ref().and_then(Ending::from_result)
                    {
                        return Ok(TaskId::Ended(ending));
                    }
                }
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
            self.platform().sleep(limits::TASK_ID_PAUSE).await;
        }
        Err(CallError::Transport {
            operation: rpc.name,
            fault: TransportFault::Broken {
                reason: format!(
                    "the sandbox was not scheduled within {:?}",
                    limits::SCHEDULING
                ),
            },
        })
    }

    /// Asks for the way to the command router of a sandbox, in which this task
    /// runs.
    ///
    /// # Errors
    ///
    /// When Modal says no, is not there, or names no usable address.
    pub async fn router_access(
        &self,
        sandbox: &SandboxHandle,
        task_id: &str,
    ) -> Result<RouterAccess, CallError> {
        let options = CallOptions {
            sandbox_token: sandbox.token.clone(),
            ..CallOptions::default()
        };
        let (operation, url, jwt) = match sandbox.backend() {
            Backend::V1 => {
                let request = TaskGetCommandRouterAccessRequest {
                    task_id: task_id.to_owned(),
                };
                let rpc = &TASK_GET_COMMAND_ROUTER_ACCESS;
                let answer = self.call(rpc, &request, &options).await?;
                (rpc.name, answer.url, answer.jwt)
            }
            Backend::V2 => {
                let request = SandboxGetCommandRouterAccessRequest {
                    target: Some(Target::SandboxId(sandbox.id.clone())),
                };
                let rpc = &SANDBOX_GET_COMMAND_ROUTER_ACCESS;
                let answer = self.call(rpc, &request, &options).await?;
                (rpc.name, answer.url, answer.jwt)
            }
        };
        RouterAccess::new(&url, jwt).ok_or(CallError::Transport {
            operation,
            fault: TransportFault::Broken {
                reason: "the answer names no server".into(),
            },
        })
    }
}

/// A sandbox as a listing shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Modal's id.
    pub id: String,
    /// Seconds since 1970, as Modal counts them.
    pub created_at: f64,
    /// How it ended, if it has.
    pub ending: Option<Ending>,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

impl From<SandboxInfo> for Listed {
    fn from(info: SandboxInfo) -> Self {
        let result = info.task_info.and_then(|task| task.result);
        Self {
            id: info.id,
            created_at: info.created_at,
            ending: result.as_ref().and_then(Ending::from_result),
            name: non_empty(info.name),
            tags: named(info.tags),
        }
    }
}

/// What is known of the task of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskId {
    /// It runs, or ran.
    Scheduled(String),
    /// The sandbox ended before it ran.
    Ended(Ending),
}

fn definition(spec: &SandboxSpec, secret_ids: Vec<String>) -> Sandbox {
    Sandbox {
        entrypoint_args: spec.command.clone(),
        image_id: spec.image_id.clone(),
        secret_ids,
        resources: Some(Resources {
            memory_mb: spec.memory,
            milli_cpu: spec.cpu.get(),
            gpu_config: Some(spec.gpu.as_ref().map(Gpu::config).unwrap_or_default()),
            ..Resources::default()
        }),
        timeout_secs: spec.timeout,
        scheduler_placement: spec.region.as_ref().map(|region| SchedulerPlacement {
            regions: vec![region.clone()],
            ..SchedulerPlacement::default()
        }),
        open_ports_oneof: Some(OpenPortsOneof::OpenPorts(PortSpecs::default())),
        network_access: Some(NetworkAccess {
            network_access_type: NetworkAccessType::Open.into(),
            ..NetworkAccess::default()
        }),
        cloud_provider_str: spec.cloud.clone().unwrap_or_default(),
        name: spec.name.clone(),
        ..Sandbox::default()
    }
}

pub(super) fn tags(tags: &[(String, String)]) -> Vec<SandboxTag> {
    let tag = |(name, value): &(String, String)| SandboxTag {
        tag_name: name.clone(),
        tag_value: value.clone(),
    };
    tags.iter().map(tag).collect()
}

/// Tags as pairs.
pub(super) fn named(tags: Vec<SandboxTag>) -> Vec<(String, String)> {
    let pair = |tag: SandboxTag| (tag.tag_name, tag.tag_value);
    tags.into_iter().map(pair).collect()
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::Backend;

    #[test]
    fn the_id_tells_the_backend() {
        assert_eq!(Backend::of("sb-0123456789ABCDEFabcdef"), Backend::V1);
        for id in [
            "sb-01JABCDEFGHJKMNPQRSTVWXYZ0",
            "sb-",
            "",
            "sb-0123456789ABCDEFabcd_f",
        ] {
            assert_eq!(Backend::of(id), Backend::V2, "{id}");
        }
    }
}
