//! The server as a tower service: authentication, dispatch, and the count of
//! what nobody answers.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use modal_proto::{
    COMMAND_ROUTER, CONTROL_PLANE, client::modal_client_server::ModalClientServer,
    task_command_router::task_command_router_server::TaskCommandRouterServer,
};
use tonic::{Status, body::Body};

use crate::{
    auth::{Caller, RouterGrant},
    control::ControlPlane,
    core::Core,
    limits,
    router::Router,
};

/// Modal's control plane and worker plane as one tower service.
///
/// Callable without a socket. Calls spawn tasks on the current tokio runtime.
/// Every failure is a gRPC status in the response.
#[derive(Clone)]
pub struct Service {
    core: Arc<Core>,
    control: ModalClientServer<ControlPlane>,
    router: TaskCommandRouterServer<Router>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            control: ModalClientServer::new(ControlPlane::new(Arc::clone(&core)))
                .max_decoding_message_size(limits::REQUEST_MESSAGE),
            router: TaskCommandRouterServer::new(Router::new(Arc::clone(&core)))
                .max_decoding_message_size(limits::REQUEST_MESSAGE),
            core,
        }
    }

    async fn answer<B>(mut self, mut request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>> + Send,
    {
        if let Some(refusal) = refuse(&request) {
            return refusal;
        }
        let path = request.uri().path().to_owned();
        let response = match service_of(&path) {
            CONTROL_PLANE => {
                let caller =
                    match Caller::authenticate(&self.core, request.uri(), request.headers()) {
                        Ok(caller) => caller,
                        Err(status) => return status.into_http(),
                    };
                request.extensions_mut().insert(caller);
                tower_service::Service::call(&mut self.control, request).await
            }
            COMMAND_ROUTER => {
                let grant = match RouterGrant::authenticate(&self.core, request.headers()) {
                    Ok(grant) => grant,
                    Err(status) => return status.into_http(),
                };
                request.extensions_mut().insert(grant);
                tower_service::Service::call(&mut self.router, request).await
            }
            _ => Ok(unimplemented(&path)),
        };
        let response = match response {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if status_of(&response) != Some(tonic::Code::Unimplemented) {
            return response;
        }
        self.core.unimplemented.count(&path);
        tracing::debug!(path, "unimplemented");
        if response.headers().contains_key(Status::GRPC_MESSAGE) {
            response
        } else {
            unimplemented(&path)
        }
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>> + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.clone().answer(request).map(Ok).boxed()
    }
}

/// What is not gRPC at all gets an HTTP status.
fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    let status = if request.method() != Method::POST {
        StatusCode::METHOD_NOT_ALLOWED
    } else if !request.headers().get(CONTENT_TYPE).is_some_and(is_grpc) {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else {
        return None;
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Some(response)
}

/// `package.Service` of `/package.Service/Method`.
fn service_of(path: &str) -> &str {
    path.strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .map_or("", |(service, _)| service)
}

fn status_of(response: &Response<Body>) -> Option<tonic::Code> {
    let status = response.headers().get(Status::GRPC_STATUS)?;
    Some(tonic::Code::from_bytes(status.as_bytes()))
}

fn unimplemented(path: &str) -> Response<Body> {
    Status::unimplemented(format!("{path} is not implemented by the local Modal")).into_http()
}
