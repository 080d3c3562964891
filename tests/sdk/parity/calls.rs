//! Which of Modal's calls the local Modal implements: each is made.

use http::Request;
use http_body_util::{BodyExt as _, Full};
use modal_local::{Credentials, Options, Server, Service};
use modal_proto::client as pb;
use prost::Message;
use std::time::Duration;
use tokio::time::timeout;
use tower_service::Service as _;

/// All calls, as `service/method`: what the stubs of Modal's Python SDK have.
const NAMES: &str = include_str!("rpcs.txt");

const CREDENTIALS: (&str, &str) = ("ak-parity", "as-parity");

/// `UNIMPLEMENTED`, as it is written on the wire.
const UNIMPLEMENTED: &[u8] = b"12";

/// An empty request is answered at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call.
pub(super) struct Call {
    pub(super) service: String,
    pub(super) method: String,
    pub(super) implemented: bool,
}

/// The services, in order.
pub(super) fn services(calls: &[Call]) -> Vec<&str> {
    let mut services: Vec<&str> = calls.iter().map(|call| call.service.as_str()).collect();
    services.dedup();
    services
}

/// Makes every call on a server of its own.
pub(super) fn all() -> Vec<Call> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let options = Options {
            credentials: Some(Credentials {
                token_id: CREDENTIALS.0.to_owned(),
                token_secret: CREDENTIALS.1.to_owned(),
            }),
            ..Options::default()
        };
        let server = Server::start(options).await.expect("a server");
        let mut asker = Asker {
            service: server.service(),
            router_token: String::new(),
        };
        asker.router_token = asker.router_token().await;
        let mut calls = Vec::new();
        for name in NAMES.lines() {
            let (service, method) = name.split_once('/').expect("service/method");
            calls.push(Call {
                service: service.to_owned(),
                method: method.to_owned(),
                implemented: asker.is_implemented(name).await,
            });
        }
        server.shutdown().await;
        calls
    })
}

struct Asker {
    service: Service,
    router_token: String,
}

impl Asker {
    async fn is_implemented(&mut self, name: &str) -> bool {
        let (status, _) = self.call(name, &[]).await;
        status.as_deref() != Some(UNIMPLEMENTED)
    }

    /// A token that opens the router of a sandbox.
    async fn router_token(&mut self) -> String {
        let app: pb::AppGetOrCreateResponse = self
            .ask(
                "AppGetOrCreate",
                pb::AppGetOrCreateRequest {
                    app_name: "parity".to_owned(),
                    object_creation_type: pb::ObjectCreationType::CreateIfMissing.into(),
                    ..Default::default()
                },
            )
            .await;
        let image: pb::ImageGetOrCreateResponse = self
            .ask(
                "ImageGetOrCreate",
                pb::ImageGetOrCreateRequest {
                    app_id: app.app_id.clone(),
                    image: Some(pb::Image::default()),
                    ..Default::default()
                },
            )
            .await;
        let sandbox: pb::SandboxCreateV2Response = self
            .ask(
                "SandboxCreateV2",
                pb::SandboxCreateV2Request {
                    app_id: app.app_id,
                    definition: Some(pb::Sandbox {
                        image_id: image.image_id,
                        ..Default::default()
                    }),
                    ..Default::default()
                },
            )
            .await;
        sandbox
            .command_router_access
            .expect("a way to the router")
            .jwt
    }

    async fn ask<T: Message + Default>(&mut self, method: &str, request: impl Message) -> T {
        let name = format!("{}/{method}", modal_proto::CONTROL_PLANE);
        let (_, body) = self.call(&name, &request.encode_to_vec()).await;
        T::decode(body.get(5..).expect("an answer")).expect("a message")
    }

    /// Status, where the answer is only that, and body.
    async fn call(&mut self, name: &str, message: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
        let length = u32::try_from(message.len()).expect("a short message");
        let mut body = vec![0];
        body.extend(length.to_be_bytes());
        body.extend(message);
        let request = Request::post(format!("http://local/{name}"))
            .header("content-type", "application/grpc")
            .header("x-modal-token-id", CREDENTIALS.0)
            .header("x-modal-token-secret", CREDENTIALS.1)
            .header("authorization", format!("Bearer {}", self.router_token))
            .body(Full::from(body))
            .expect("a request");
        let answer = async {
            let response = match self.service.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let status = response.headers().get("grpc-status");
            let status = status.map(|status| status.as_bytes().to_vec());
            let body = match status {
                // There is nothing else in it.
                Some(_) => Vec::new(),
                None => response
                    .into_body()
                    .collect()
                    .await
                    .expect("a body")
                    .to_bytes()
                    .to_vec(),
            };
            (status, body)
        };
        timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| panic!("{name} is not answered"))
    }
}
