//! HTTP clients: one per lane, none shared between instances.

use super::resolver::Resolver;
use crate::limits::{CONNECT, KEEP_ALIVE, WINDOWS};
use flavor_policy::{Label, Policy};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The clients of one plugin instance. A client has a connection of its own to
/// each server, so that calls on different lanes do not wait for each other.
#[derive(Debug)]
pub(crate) struct Clients {
    gatekeeper: Arc<Gatekeeper>,
    by_lane: Mutex<HashMap<Option<Label>, reqwest::Client>>,
}

impl Clients {
    pub(crate) fn new(policy: Arc<RwLock<Policy>>, resolver: Arc<dyn Resolver>) -> Self {
        Self {
            gatekeeper: Arc::new(Gatekeeper { policy, resolver }),
            by_lane: Mutex::default(),
        }
    }

    /// The client of a lane, made when it is first asked for.
    pub(crate) fn for_lane(&self, lane: Option<&Label>) -> reqwest::Result<reqwest::Client> {
        let mut by_lane = self.by_lane.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = by_lane.get(&lane.cloned()) {
            return Ok(client.clone());
        }
        let client = self.build()?;
        by_lane.insert(lane.cloned(), client.clone());
        Ok(client)
    }

    /// Everything that would send a request elsewhere than the policy allowed,
    /// or twice, is off: redirects, proxies, retries.
    fn build(&self) -> reqwest::Result<reqwest::Client> {
        let (stream_window, connection_window) = WINDOWS;
        let (ping_every, ping_answer) = KEEP_ALIVE;
        reqwest::Client::builder()
            .dns_resolver(Arc::clone(&self.gatekeeper))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_prior_knowledge()
            .http2_initial_stream_window_size(stream_window)
            .http2_initial_connection_window_size(connection_window)
            .http2_keep_alive_interval(ping_every)
            .http2_keep_alive_timeout(ping_answer)
            .build()
    }
}

/// Looks up only names that a grant has, once per connection, and lets no
/// forbidden address through.
#[derive(Debug)]
struct Gatekeeper {
    policy: Arc<RwLock<Policy>>,
    resolver: Arc<dyn Resolver>,
}

impl Resolve for Gatekeeper {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.policy);
        let resolver = Arc::clone(&self.resolver);
        Box::pin(async move {
            let name = name.as_str();
            policy
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .check_name(name)?;
            let found = resolver.resolve(name).await?;
            let policy = policy.read().unwrap_or_else(PoisonError::into_inner);
            let mut refused = None;
            let vetted: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| match policy.vet_resolved(name, *address) {
                    Ok(()) => true,
                    Err(refusal) => {
                        refused = Some(refusal);
                        false
                    }
                })
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            match refused {
                Some(refusal) if vetted.is_empty() => Err(refusal.into()),
                _ => Ok(Box::new(vetted.into_iter()) as Addrs),
            }
        })
    }
}
