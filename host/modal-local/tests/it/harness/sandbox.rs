//! Creating sandboxes and asking about them.

use modal_proto::{
    client::{self as pb, GenericStatus, secret_source::Source},
    task_command_router::{SandboxStdioFileDescriptor, SandboxStdioReadV2Request},
};
use tonic::{Request, Status, metadata::MetadataMap};

use super::{Control, Local};

/// A sandbox to be created.
#[derive(Clone)]
pub(crate) struct New {
    control: Control,
    pub(crate) app: String,
    pub(crate) definition: pb::Sandbox,
    pub(crate) env: Vec<pb::SecretSource>,
    pub(crate) tags: Vec<pb::SandboxTag>,
    pub(crate) key: Option<String>,
}

/// A sandbox that was created.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) task: String,
    pub(crate) jwt: String,
    pub(crate) url: String,
    control: Control,
}

impl New {
    pub(crate) fn of<const N: usize>(local: &Local, command: [&str; N]) -> Self {
        Self {
            control: local.control(),
            app: local.app().to_owned(),
            definition: pb::Sandbox {
                entrypoint_args: command.map(str::to_owned).into(),
                image_id: local.image().to_owned(),
                ..pb::Sandbox::default()
            },
            env: Vec::new(),
            tags: Vec::new(),
            key: None,
        }
    }

    pub(crate) fn app(mut self, app: &str) -> Self {
        self.app = app.to_owned();
        self
    }

    pub(crate) fn env<const N: usize>(mut self, env: [(&str, &str); N]) -> Self {
        let contents = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.env.push(pb::SecretSource {
            source: Some(Source::Env(pb::StringMap {
                contents: contents.into(),
            })),
        });
        self
    }

    pub(crate) fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push(tag(name, value));
        self
    }

    pub(crate) fn name(mut self, name: &str) -> Self {
        self.definition.name = Some(name.to_owned());
        self
    }

    pub(crate) fn timeout(mut self, seconds: u32) -> Self {
        self.definition.timeout_secs = seconds;
        self
    }

    pub(crate) fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub(crate) fn define(mut self, change: impl FnOnce(&mut pb::Sandbox)) -> Self {
        change(&mut self.definition);
        self
    }

    pub(crate) async fn create(self) -> Sandbox {
        self.try_create().await.unwrap()
    }

    pub(crate) async fn try_create(mut self) -> Result<Sandbox, Status> {
        let request = pb::SandboxCreateV2Request {
            app_id: self.app,
            definition: Some(self.definition),
            tags: self.tags,
            secret_sources: self.env,
            ..pb::SandboxCreateV2Request::default()
        };
        let request = keyed(request, self.key.as_deref());
        let response = self.control.sandbox_create_v2(request).await?.into_inner();
        let access = response.command_router_access.unwrap();
        Ok(Sandbox {
            id: response.sandbox_id,
            task: response.task_id,
            jwt: access.jwt,
            url: access.url,
            control: self.control,
        })
    }

    /// Creates it as a V1 sandbox.
    pub(crate) async fn create_v1(mut self) -> Sandbox {
        let mut secrets = Vec::new();
        for source in self.env {
            let Some(Source::Env(env)) = source.source else {
                panic!("V1 takes variables only")
            };
            let request = pb::SecretGetOrCreateRequest {
                object_creation_type: pb::ObjectCreationType::AnonymousOwnedByApp.into(),
                env_dict: env.contents,
                app_id: self.app.clone(),
                ..pb::SecretGetOrCreateRequest::default()
            };
            let secret = self.control.secret_get_or_create(request).await.unwrap();
            secrets.push(secret.into_inner().secret_id);
        }
        self.definition.secret_ids = secrets;
        let request = pb::SandboxCreateRequest {
            app_id: self.app,
            definition: Some(self.definition),
            tags: self.tags,
            ..pb::SandboxCreateRequest::default()
        };
        let request = keyed(request, self.key.as_deref());
        let created = self.control.sandbox_create(request).await.unwrap();
        let id = created.into_inner().sandbox_id;
        let request = pb::SandboxGetTaskIdRequest {
            sandbox_id: id.clone(),
            ..pb::SandboxGetTaskIdRequest::default()
        };
        let task = self.control.sandbox_get_task_id(request).await.unwrap();
        let task = task.into_inner().task_id.unwrap();
        let request = pb::TaskGetCommandRouterAccessRequest {
            task_id: task.clone(),
        };
        let access = self.control.task_get_command_router_access(request).await;
        let access = access.unwrap().into_inner();
        Sandbox {
            id,
            task,
            jwt: access.jwt,
            url: access.url,
            control: self.control,
        }
    }
}

fn keyed<T>(message: T, key: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(key) = key {
        let metadata: &mut MetadataMap = request.metadata_mut();
        metadata.insert("x-idempotency-key", key.parse().unwrap());
    }
    request
}

pub(crate) fn tag(name: &str, value: &str) -> pb::SandboxTag {
    pb::SandboxTag {
        tag_name: name.to_owned(),
        tag_value: value.to_owned(),
    }
}

impl Sandbox {
    pub(crate) fn is_v1(&self) -> bool {
        self.id.len() == "sb-".len() + 22
    }

    /// The result, if it comes within some seconds.
    pub(crate) async fn wait_for(&self, seconds: f32) -> Option<pb::GenericResult> {
        let request = pb::SandboxWaitRequest {
            sandbox_id: self.id.clone(),
            timeout: seconds,
        };
        let mut control = self.control.clone();
        let response = if self.is_v1() {
            control.sandbox_wait(request).await
        } else {
            control.sandbox_wait_v2(request).await
        };
        response.unwrap().into_inner().result
    }

    pub(crate) async fn wait(&self) -> pb::GenericResult {
        self.wait_for(60.0).await.expect("the sandbox to end")
    }

    pub(crate) async fn ends_with(&self, status: GenericStatus, code: i32) {
        let result = self.wait().await;
        assert_eq!(
            (result.status(), result.exitcode),
            (status, code),
            "{result:?}"
        );
    }

    pub(crate) async fn terminate(&self) -> Option<pb::GenericResult> {
        let request = pb::SandboxTerminateRequest {
            sandbox_id: self.id.clone(),
        };
        let mut control = self.control.clone();
        let response = if self.is_v1() {
            control.sandbox_terminate(request).await
        } else {
            control.sandbox_terminate_v2(request).await
        };
        response.unwrap().into_inner().existing_result
    }

    /// Everything of a stream from an offset on, and where it starts.
    pub(crate) async fn read(
        &self,
        local: &Local,
        descriptor: SandboxStdioFileDescriptor,
        offset: u64,
    ) -> (u64, Vec<u8>) {
        let request = SandboxStdioReadV2Request {
            task_id: self.task.clone(),
            offset,
            file_descriptor: descriptor.into(),
        };
        let stream = local.router(&self.jwt).sandbox_stdio_read_v2(request).await;
        let mut stream = stream.unwrap().into_inner();
        let (mut first, mut bytes, mut next) = (None, Vec::new(), offset);
        while let Some(chunk) = stream.message().await.unwrap() {
            assert!(!chunk.data.is_empty(), "an empty chunk");
            assert!(chunk.starting_offset >= next, "output was repeated");
            first.get_or_insert(chunk.starting_offset);
            next = chunk.starting_offset + chunk.data.len() as u64;
            bytes.extend(chunk.data);
        }
        (first.unwrap_or(offset), bytes)
    }

    pub(crate) async fn stdout(&self, local: &Local) -> Vec<u8> {
        self.read(local, SandboxStdioFileDescriptor::Stdout, 0)
            .await
            .1
    }

    pub(crate) async fn stderr(&self, local: &Local) -> Vec<u8> {
        self.read(local, SandboxStdioFileDescriptor::Stderr, 0)
            .await
            .1
    }
}
