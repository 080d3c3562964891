//! What every executor has to show alike: the same calls, once to sandboxes that are
//! processes and once to scripted ones in virtual time, and the same results.

use std::{sync::Arc, time::Duration};

use modal_local::{
    Credentials, Server, Service,
    simulated::{Behaviour, End, Launched, Script, Setup, Simulated, Stream, Written},
};
use modal_proto::client::{
    self as pb, FileDescriptor, GenericResult, modal_client_client::ModalClientClient,
};
use tonic::{Code, Request, service::interceptor::InterceptedService};

use crate::harness::{Headers, Local};

type Client = ModalClientClient<InterceptedService<Service, Headers>>;

/// A command, and what it does.
struct Case {
    name: &'static str,
    /// What a shell is told.
    command: &'static str,
    behaviour: fn() -> Behaviour,
    /// Seconds after which the service ends it.
    timeout: u32,
    /// Whether it is ended by a call.
    terminated: bool,
}

const MINUTE: u32 = 60;

const CASES: [Case; 9] = [
    Case {
        name: "succeeds",
        command: "exit 0",
        behaviour: Behaviour::default,
        timeout: MINUTE,
        terminated: false,
    },
    Case {
        name: "fails",
        command: "exit 3",
        behaviour: || ends(End::Exit(3)),
        timeout: MINUTE,
        terminated: false,
    },
    Case {
        name: "fails-as-a-shell-does",
        command: "exit 255",
        behaviour: || ends(End::Exit(255)),
        timeout: MINUTE,
        terminated: false,
    },
    Case {
        name: "crashes",
        command: "kill -9 $$",
        behaviour: || ends(End::Signal(9)),
        timeout: MINUTE,
        terminated: false,
    },
    Case {
        name: "crashes-otherwise",
        command: "kill -15 $$",
        behaviour: || ends(End::Signal(15)),
        timeout: MINUTE,
        terminated: false,
    },
    Case {
        name: "writes",
        command: "echo out; echo err >&2",
        behaviour: || Behaviour {
            output: vec![
                written(Stream::Stdout, "out\n"),
                written(Stream::Stderr, "err\n"),
            ],
            ..Behaviour::default()
        },
        timeout: MINUTE,
        terminated: false,
    },
    Case {
        name: "writes-and-fails",
        command: "echo half; exit 7",
        behaviour: || Behaviour {
            output: vec![written(Stream::Stdout, "half\n")],
            ..ends(End::Exit(7))
        },
        timeout: MINUTE,
        terminated: false,
    },
    Case {
        name: "takes-too-long",
        command: "exec sleep 1000",
        behaviour: goes_on,
        timeout: 1,
        terminated: false,
    },
    Case {
        name: "is-ended",
        command: "exec sleep 1000",
        behaviour: goes_on,
        timeout: MINUTE * 10,
        terminated: true,
    },
];

fn ends(end: End) -> Behaviour {
    Behaviour {
        end,
        ..Behaviour::default()
    }
}

fn goes_on() -> Behaviour {
    Behaviour {
        runs: None,
        ..Behaviour::default()
    }
}

fn written(stream: Stream, text: &'static str) -> Written {
    Written {
        after: Duration::ZERO,
        stream,
        data: text.into(),
    }
}

/// Does what the cases say.
#[derive(Debug)]
struct Cases;

impl Script for Cases {
    fn behaviour(&self, sandbox: &Launched) -> Behaviour {
        let case = CASES.iter().find(|case| case.name == sandbox.name);
        case.map_or_else(goes_on, |case| (case.behaviour)())
    }
}

fn client(service: Service, credentials: &Credentials) -> Client {
    ModalClientClient::with_interceptor(service, Headers::of(credentials))
}

/// The request for a sandbox, as it differs from case to case.
struct Wanted<'w> {
    app: &'w str,
    image: &'w str,
    name: &'w str,
    command: &'w str,
    timeout: u32,
    key: &'w str,
}

impl Wanted<'_> {
    async fn create(&self, client: &mut Client) -> Result<String, Code> {
        let mut request = Request::new(pb::SandboxCreateV2Request {
            app_id: self.app.to_owned(),
            definition: Some(pb::Sandbox {
                entrypoint_args: ["sh", "-c", self.command].map(str::to_owned).to_vec(),
                image_id: self.image.to_owned(),
                timeout_secs: self.timeout,
                name: Some(self.name.to_owned()),
                ..pb::Sandbox::default()
            }),
            ..pb::SandboxCreateV2Request::default()
        });
        if !self.key.is_empty() {
            let key = self.key.parse().unwrap();
            request.metadata_mut().insert("x-idempotency-key", key);
        }
        let created = client.sandbox_create_v2(request).await;
        created
            .map(|response| response.into_inner().sandbox_id)
            .map_err(|status| status.code())
    }
}

async fn app_and_image(client: &mut Client) -> (String, String) {
    let app = pb::AppGetOrCreateRequest {
        app_name: "contract".into(),
        object_creation_type: pb::ObjectCreationType::CreateIfMissing.into(),
        ..pb::AppGetOrCreateRequest::default()
    };
    let app = client.app_get_or_create(app).await.unwrap();
    let app = app.into_inner().app_id;
    let image = pb::ImageGetOrCreateRequest {
        app_id: app.clone(),
        image: Some(pb::Image::default()),
        ..pb::ImageGetOrCreateRequest::default()
    };
    let image = client.image_get_or_create(image).await.unwrap();
    (app, image.into_inner().image_id)
}

async fn wait(client: &mut Client, id: &str, timeout: f32) -> Result<Option<GenericResult>, Code> {
    let request = pb::SandboxWaitRequest {
        sandbox_id: id.to_owned(),
        timeout,
    };
    let answer = client.sandbox_wait_v2(request).await;
    answer
        .map(|response| response.into_inner().result)
        .map_err(|status| status.code())
}

async fn end(client: &mut Client, id: &str) -> GenericResult {
    loop {
        if let Some(result) = wait(client, id, 50.0).await.unwrap() {
            return result;
        }
    }
}

async fn output(client: &mut Client, id: &str, stream: FileDescriptor) -> String {
    let request = pb::SandboxGetLogsRequest {
        sandbox_id: id.to_owned(),
        file_descriptor: stream.into(),
        timeout: 50.0,
        last_entry_id: String::new(),
    };
    let mut stream = client.sandbox_get_logs(request).await.unwrap().into_inner();
    let mut text = String::new();
    while let Some(batch) = stream.message().await.unwrap() {
        text.extend(batch.items.iter().map(|item| item.data.as_str()));
    }
    text
}

async fn terminate(client: &mut Client, id: &str) -> Result<Option<GenericResult>, Code> {
    let request = pb::SandboxTerminateRequest {
        sandbox_id: id.to_owned(),
    };
    let answer = client.sandbox_terminate_v2(request).await;
    answer
        .map(|response| response.into_inner().existing_result)
        .map_err(|status| status.code())
}

async fn listed(client: &mut Client, app: &str, include_finished: bool) -> usize {
    let request = pb::SandboxListRequest {
        app_id: app.to_owned(),
        include_finished,
        ..pb::SandboxListRequest::default()
    };
    let list = client.sandbox_list_v2(request).await.unwrap();
    list.into_inner().sandboxes.len()
}

/// Everything that a client sees, one line each; without ids, which are by chance.
async fn seen(service: Service, credentials: &Credentials) -> Vec<String> {
    let mut client = client(service, credentials);
    let client = &mut client;
    let (app, image) = app_and_image(client).await;
    let mut seen = Vec::new();
    for case in &CASES {
        let wanted = Wanted {
            app: &app,
            image: &image,
            name: case.name,
            command: case.command,
            timeout: case.timeout,
            key: case.name,
        };
        let id = wanted.create(client).await.unwrap();
        // The same key is the same sandbox, ended or not.
        assert_eq!(wanted.create(client).await, Ok(id.clone()));
        if case.terminated {
            // It runs, and another one of its name is refused meanwhile.
            assert_eq!(wait(client, &id, 0.0).await, Ok(None));
            let again = Wanted { key: "", ..wanted };
            seen.push(format!(
                "{} again: {:?}",
                case.name,
                again.create(client).await
            ));
            seen.push(format!(
                "{} is told: {:?}",
                case.name,
                terminate(client, &id).await
            ));
        }
        let result = end(client, &id).await;
        seen.push(format!("{} ends: {result:?}", case.name));
        for stream in [FileDescriptor::Stdout, FileDescriptor::Stderr] {
            let text = output(client, &id, stream).await;
            seen.push(format!("{} writes to {stream:?}: {text:?}", case.name));
        }
        seen.push(format!(
            "{} is told late: {:?}",
            case.name,
            terminate(client, &id).await
        ));
        seen.push(format!(
            "{} waited for late: {:?}",
            case.name,
            wait(client, &id, 0.0).await
        ));
    }
    seen.push(format!(
        "unknown: {:?}",
        wait(client, "sb-unknown", 0.0).await
    ));
    seen.push(format!(
        "unknown: {:?}",
        terminate(client, "sb-unknown").await
    ));
    seen.push(format!("running: {}", listed(client, &app, false).await));
    seen.push(format!("all: {}", listed(client, &app, true).await));
    seen
}

#[test]
fn scripts_and_processes_look_alike() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let processes = runtime.block_on(async {
        let local = Local::start().await;
        let server: &Server = local.server();
        let seen = seen(server.service(), server.credentials()).await;
        local.finish().await;
        seen
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let scripts = runtime.block_on(async {
        let setup = Setup::new([7; 32], Arc::new(Cases));
        let credentials = setup.credentials.clone();
        let modal = Simulated::new(setup);
        seen(modal.service(), &credentials).await
    });
    assert_eq!(scripts.len(), CASES.len() * 5 + 6);
    assert_eq!(processes, scripts);
}
