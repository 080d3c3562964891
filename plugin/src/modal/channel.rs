//! The way of a gRPC request to the platform: a tower service for tonic.

use crate::limits::Deadline;
use crate::platform::{Platform, TransportFault};
use http::uri::{Authority, PathAndQuery, Scheme};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::body::Body;
use tower_service::Service;

/// Where a gRPC server is: scheme and authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    authority: Authority,
}

impl Endpoint {
    /// Understands `http://host:port` or `https://host:port`, with nothing
    /// behind it but a slash.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: http::Uri = url
            .parse()
            .map_err(|error| format!("`{url}` is not a URL: {error}"))?;
        let parts = uri.into_parts();
        let path = parts
            .path_and_query
            .as_ref()
            .map_or("/", PathAndQuery::as_str);
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority))
                if (scheme == Scheme::HTTP || scheme == Scheme::HTTPS) && path == "/" =>
            {
                Ok(Self { scheme, authority })
            }
            _ => Err(format!(
                "`{url}` is not the address of a server: write http://HOST:PORT or https://HOST"
            )),
        }
    }

    /// Host name or address, without the port.
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    fn uri(&self, path: PathAndQuery) -> Result<http::Uri, http::Error> {
        http::Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
    }
}

/// Sends the requests of one call. tonic gives paths only; this adds the server.
#[derive(Debug, Clone)]
pub struct Channel<P> {
    platform: P,
    endpoint: Endpoint,
    deadline: Deadline,
}

impl<P: Platform> Channel<P> {
    /// A channel to one server.
    pub fn new(platform: P, endpoint: Endpoint, deadline: Deadline) -> Self {
        Self {
            platform,
            endpoint,
            deadline,
        }
    }
}

impl<P: Platform> Service<http::Request<Body>> for Channel<P> {
    type Response = http::Response<Body>;
    type Error = TransportFault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path_and_query().cloned();
        let uri = self
            .endpoint
            .uri(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        let platform = self.platform.clone();
        let deadline = self.deadline;
        Box::pin(async move {
            *request.uri_mut() = uri.map_err(|error| TransportFault::Broken {
                reason: error.to_string(),
            })?;
            platform.send(request, deadline).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn only_servers_are_endpoints() {
        assert_eq!(
            Endpoint::parse("https://api.modal.com").unwrap().host(),
            "api.modal.com"
        );
        assert_eq!(
            Endpoint::parse("http://127.0.0.1:9000/").unwrap().host(),
            "127.0.0.1"
        );
        for bad in [
            "",
            "api.modal.com",
            "ftp://x",
            "https://x/path",
            "https://x/?q",
            "unix:///x",
            "https://",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
