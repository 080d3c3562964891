//! Who may call.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use modal_local::{Credentials, Error, Options, Server};
use modal_proto::{
    client::{self as pb, sandbox_get_command_router_access_request::Target},
    task_command_router::{SandboxStdioReadV2Request, TaskExecStdioFileDescriptor::Stdout},
};
use tonic::Code;

use crate::harness::{Headers, Local, code, in_time};

#[tokio::test]
async fn every_call_needs_the_token() {
    let local = Local::start().await;
    let right = local.server().credentials().clone();
    let refused = [
        Headers::default(),
        Headers::default().with("x-modal-token-id", &right.token_id),
        Headers::default().with("x-modal-token-secret", &right.token_secret),
        Headers::of(&Credentials {
            token_id: "ak-wrong".into(),
            ..right.clone()
        }),
        Headers::of(&Credentials {
            token_secret: "as-wrong".into(),
            ..right.clone()
        }),
        Headers::of(&Credentials {
            token_id: right.token_secret.clone(),
            token_secret: right.token_id.clone(),
        }),
    ];
    for headers in refused {
        let mut control = local.control_with(headers);
        let status = control.auth_token_get(pb::AuthTokenGetRequest {}).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().contains("token"), "{status}");
        assert_eq!(code(control.client_hello(()).await), Code::Unauthenticated);
        let list = pb::SandboxListRequest::default();
        assert_eq!(
            code(control.sandbox_list_v2(list).await),
            Code::Unauthenticated
        );
    }
    local.control().client_hello(()).await.unwrap();
    local.finish().await;
}

#[tokio::test]
async fn the_auth_token_is_a_jwt_that_is_checked() {
    let local = Local::start().await;
    let mut control = local.control();
    let response = control.auth_token_get(pb::AuthTokenGetRequest {}).await;
    let token = response.unwrap().into_inner().token;
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let left = claims["exp"].as_u64().unwrap() - now;
    assert!((1_190..=1_200).contains(&left), "{left}");

    let with = |token: &str| local.control_with(local.headers().with("x-modal-auth-token", token));
    with(&token).client_hello(()).await.unwrap();
    for forged in [
        "x",
        "a.b.c",
        &format!("{token}A"),
        &token.replace('.', ".."),
    ] {
        assert_eq!(
            code(with(forged).client_hello(()).await),
            Code::Unauthenticated
        );
    }
    local.finish().await;
}

#[tokio::test]
async fn expired_tokens_are_refused() {
    let local = Local::with(|options| {
        options.auth_token_lifetime = Duration::ZERO;
        options.router_token_lifetime = Duration::ZERO;
    })
    .await;
    let mut control = local.control();
    let response = control.auth_token_get(pb::AuthTokenGetRequest {}).await;
    let token = response.unwrap().into_inner().token;
    let mut late = local.control_with(local.headers().with("x-modal-auth-token", &token));
    let status = late.client_hello(()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("expired"), "{status}");

    let sandbox = local.sandbox(["true"]).create().await;
    let request = SandboxStdioReadV2Request {
        task_id: sandbox.task.clone(),
        ..SandboxStdioReadV2Request::default()
    };
    let read = local
        .router(&sandbox.jwt)
        .sandbox_stdio_read_v2(request)
        .await;
    assert_eq!(code(read), Code::Unauthenticated);
    local.finish().await;
}

#[tokio::test]
async fn a_command_outlives_the_token_that_started_it() {
    let local = Local::with(|options| options.router_token_lifetime = Duration::from_secs(2)).await;
    let sandbox = local.sandbox([]).create().await;
    let exec = sandbox.exec(&local, ["cat"]).start().await;
    let mut stream = exec.stream(Stdout, 0).await;
    let expired = in_time(async {
        let mut written = 0;
        loop {
            match exec.write(written, b"x", false).await {
                Ok(()) => written += 1,
                Err(status) => break (status, written),
            }
        }
    });
    let (status, written) = expired.await;
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("expired"), "{status}");
    // What was begun goes on; what is new needs a new token.
    let request = pb::SandboxGetCommandRouterAccessRequest {
        target: Some(Target::SandboxId(sandbox.id.clone())),
    };
    let access = local
        .control()
        .sandbox_get_command_router_access(request)
        .await;
    let mut renewed = exec.clone();
    renewed.router = local.router(&access.unwrap().into_inner().jwt);
    renewed.write(written, b"end", true).await.unwrap();
    let mut read = Vec::new();
    while let Some(chunk) = in_time(stream.message()).await.unwrap() {
        read.extend(chunk.data);
    }
    assert_eq!(read.len() as u64, written + 3);
    assert!(read.ends_with(b"xend"));
    local.finish().await;
}

#[tokio::test]
async fn a_router_token_opens_one_task() {
    let local = Local::start().await;
    let one = local.script("echo one").create().await;
    let two = local.script("echo two").create().await;
    let of_two = SandboxStdioReadV2Request {
        task_id: two.task.clone(),
        ..SandboxStdioReadV2Request::default()
    };
    let read = local
        .router(&one.jwt)
        .sandbox_stdio_read_v2(of_two.clone())
        .await;
    assert_eq!(code(read), Code::PermissionDenied);
    for jwt in ["", "x", "a.b.c"] {
        let read = local
            .router(jwt)
            .sandbox_stdio_read_v2(of_two.clone())
            .await;
        assert_eq!(code(read), Code::Unauthenticated);
    }
    // A token for the control plane opens nothing here, nor the reverse.
    let response = local
        .control()
        .auth_token_get(pb::AuthTokenGetRequest {})
        .await;
    let token = response.unwrap().into_inner().token;
    let read = local.router(&token).sandbox_stdio_read_v2(of_two).await;
    assert_eq!(code(read), Code::Unauthenticated);
    let mut control = local.control_with(local.headers().with("x-modal-auth-token", &one.jwt));
    assert_eq!(code(control.client_hello(()).await), Code::Unauthenticated);
    assert_eq!(two.stdout(&local).await, b"two\n");
    local.finish().await;
}

#[tokio::test]
async fn the_router_url_suits_the_client() {
    let local = Local::start().await;
    let sandbox = local.sandbox(["true"]).create().await;
    assert_eq!(sandbox.url, local.server().url());
    for (client, scheme) in [("1", "http://"), ("8", "https://"), ("9", "https://")] {
        let headers = local.headers().with("x-modal-client-type", client);
        let mut control = local.control_with(headers);
        let request = pb::SandboxGetCommandRouterAccessRequest {
            target: Some(Target::SandboxId(sandbox.id.clone())),
        };
        let access = control.sandbox_get_command_router_access(request).await;
        let access = access.unwrap().into_inner();
        assert_eq!(access.url, format!("{scheme}{}", local.server().addr()));
        assert_eq!(access.jwt.split('.').count(), 3);
    }
    let mut control = local.control();
    let unknown = pb::TaskGetCommandRouterAccessRequest {
        task_id: "ta-unknown".into(),
    };
    assert_eq!(
        code(control.task_get_command_router_access(unknown).await),
        Code::NotFound
    );
    local.finish().await;
}

#[tokio::test]
async fn a_remote_address_must_be_meant() {
    let options = |allow_remote| Options {
        listen: "0.0.0.0:0".parse().unwrap(),
        allow_remote,
        ..Options::default()
    };
    let refused = Server::start(options(false)).await.unwrap_err();
    assert!(matches!(refused, Error::RemoteAddress(_)), "{refused}");
    let server = Server::start(options(true)).await.unwrap();
    assert!(
        server.url().starts_with("http://127.0.0.1:"),
        "{}",
        server.url()
    );
    server.shutdown().await;
}
