//! A server with a client, and ways to wait without sleeping.

mod exec;
mod probe;
mod sandbox;

pub(crate) use self::{
    exec::{Exec, data, end},
    probe::{Fifo, code, in_time, is_running, items, marked, marker, variables},
    sandbox::{New, Sandbox, tag},
};

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use modal_local::{Credentials, Limits, Options, Server, State};
use modal_proto::{
    client::{self as pb, modal_client_client::ModalClientClient},
    task_command_router::task_command_router_client::TaskCommandRouterClient,
};
use tempfile::TempDir;
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

pub(crate) type Control = ModalClientClient<InterceptedService<Channel, Headers>>;
pub(crate) type Router = TaskCommandRouterClient<InterceptedService<Channel, Headers>>;

/// Headers put on every call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(Vec<(&'static str, String)>);

impl Headers {
    pub(crate) fn of(credentials: &Credentials) -> Self {
        Self::default()
            .with("x-modal-client-type", "1")
            .with("x-modal-token-id", &credentials.token_id)
            .with("x-modal-token-secret", &credentials.token_secret)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.retain(|(other, _)| *other != name);
        self.0.push((name, value.to_owned()));
        self
    }
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            let value: MetadataValue<_> = value.parse().unwrap();
            request.metadata_mut().insert(*name, value);
        }
        Ok(request)
    }
}

/// A server, its state directory, and a connection to it.
pub(crate) struct Local {
    server: Option<Server>,
    channel: Channel,
    app: String,
    image: String,
    state: PathBuf,
    _directory: TempDir,
}

impl Local {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with changed options.
    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let mut options = Options {
            state: State::Kept(state.clone()),
            limits: Limits {
                ending_grace: Duration::from_millis(300),
                ..Limits::default()
            },
            ..Options::default()
        };
        change(&mut options);
        let server = Server::start(options).await.unwrap();
        let channel = connect(&server.url()).await;
        let mut local = Self {
            server: Some(server),
            channel,
            app: String::new(),
            image: String::new(),
            state,
            _directory: directory,
        };
        local.app = app(&mut local.control(), "test").await;
        local.image = image(&mut local.control(), &local.app).await;
        local
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn headers(&self) -> Headers {
        Headers::of(self.server().credentials())
    }

    pub(crate) fn control(&self) -> Control {
        self.control_with(self.headers())
    }

    pub(crate) fn control_with(&self, headers: Headers) -> Control {
        ModalClientClient::with_interceptor(self.channel(), headers)
            .max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn router(&self, jwt: &str) -> Router {
        let headers = Headers::default().with("authorization", &format!("Bearer {jwt}"));
        TaskCommandRouterClient::with_interceptor(self.channel(), headers)
            .max_decoding_message_size(usize::MAX)
    }

    /// The directory of a sandbox, as its command sees it.
    pub(crate) fn files(&self, sandbox: &Sandbox) -> PathBuf {
        self.state.join("sandboxes").join(&sandbox.id).join("files")
    }

    /// A V2 sandbox with a command, to be changed and created.
    pub(crate) fn sandbox<const N: usize>(&self, command: [&str; N]) -> New {
        New::of(self, command)
    }

    /// A V2 sandbox with a shell script.
    pub(crate) fn script(&self, script: &str) -> New {
        self.sandbox(["sh", "-c", script])
    }

    /// Ends the server, and checks that nothing is left.
    pub(crate) async fn finish(mut self) {
        let marker = self.marker();
        self.server.take().unwrap().shutdown().await;
        assert_eq!(marked(&marker), Vec::<i32>::new(), "processes are left");
        let names = |directory: PathBuf| -> Vec<String> {
            let entries = fs::read_dir(directory).into_iter().flatten();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect()
        };
        let sandboxes = self.state.join("sandboxes");
        for sandbox in names(sandboxes.clone()) {
            let left = names(sandboxes.join(&sandbox));
            let is_output = |name: &String| name.starts_with("std") && name.contains('.');
            assert!(
                !left.is_empty() && left.iter().all(is_output),
                "{sandbox}: {left:?}"
            );
        }
        assert!(names(self.state.join("snapshots/new")).is_empty());
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// What the environment of every process of this server contains.
    pub(crate) fn marker(&self) -> String {
        marker(&self.state)
    }
}

pub(crate) async fn connect(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned())
        .unwrap()
        .connect()
        .await
        .unwrap()
}

pub(crate) async fn app(control: &mut Control, name: &str) -> String {
    let request = pb::AppGetOrCreateRequest {
        app_name: name.to_owned(),
        object_creation_type: pb::ObjectCreationType::CreateIfMissing.into(),
        ..pb::AppGetOrCreateRequest::default()
    };
    let response = control.app_get_or_create(request).await.unwrap();
    response.into_inner().app_id
}

pub(crate) async fn image(control: &mut Control, app: &str) -> String {
    let request = pb::ImageGetOrCreateRequest {
        app_id: app.to_owned(),
        image: Some(pb::Image {
            dockerfile_commands: vec!["FROM debian".to_owned()],
            ..pb::Image::default()
        }),
        builder_version: "2025.06".to_owned(),
        ..pb::ImageGetOrCreateRequest::default()
    };
    let response = control.image_get_or_create(request).await.unwrap();
    response.into_inner().image_id
}
