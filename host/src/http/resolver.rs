//! Looking names up.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

/// The addresses of a name, or why there are none.
pub type Resolved<'r> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'r>>;

/// Looks names up for a host's plugins.
///
/// Only names that a grant has are asked for, once per connection, and every
/// address is judged by the policy before it is connected to: a resolver decides
/// where names lead, not where plugins may go.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of a name. They are tried in this order.
    fn resolve<'r>(&'r self, name: &'r str) -> Resolved<'r>;
}

/// The system's resolver, as `getaddrinfo` has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'r>(&'r self, name: &'r str) -> Resolved<'r> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
