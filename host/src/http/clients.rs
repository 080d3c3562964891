//! HTTP clients: some per lane, none shared between instances.
//!
//! A client has one connection to each server, and a server takes only so many
//! requests at a time on one. So a lane has as many clients as its requests need,
//! and each request goes to the first that has room.

use super::resolver::Resolver;
use crate::limits::{CONNECT, CONNECTIONS_PER_LANE, KEEP_ALIVE, STREAMS_PER_CONNECTION, WINDOWS};
use flavor_policy::{Label, Origin, Policy, Scheme};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The clients of one plugin instance. Lanes have clients of their own, so that
/// calls on different lanes do not wait for each other.
#[derive(Debug)]
pub(crate) struct Clients {
    gatekeeper: Arc<Gatekeeper>,
    by_lane: Mutex<HashMap<LaneKey, Arc<Lane>>>,
}

/// Connections with and without TLS are made by different clients.
type LaneKey = (Option<Label>, Scheme);

/// The clients of one lane.
#[derive(Debug, Default)]
struct Lane(Mutex<LaneState>);

#[derive(Debug, Default)]
struct LaneState {
    clients: Vec<reqwest::Client>,
    servers: HashMap<Origin, Server>,
}

/// A server that requests are under way to.
#[derive(Debug)]
struct Server {
    /// Reading a URL takes longer than all else about a request that the host does
    /// by itself, so it is read once.
    url: Url,
    /// Requests under way, by client.
    under_way: Vec<usize>,
}

/// A client, with a place on its connection to one server.
#[derive(Debug)]
pub(crate) struct Stream {
    client: reqwest::Client,
    url: Url,
    lane: Arc<Lane>,
    origin: Origin,
    number: usize,
}

/// Why there is no place for a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoStream {
    /// A client cannot be made.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    /// The server has an address that no URL can have.
    #[error("{0} is the address of no server")]
    Url(Origin),
}

impl Clients {
    pub(crate) fn new(policy: Arc<RwLock<Policy>>, resolver: Arc<dyn Resolver>) -> Self {
        Self {
            gatekeeper: Arc::new(Gatekeeper { policy, resolver }),
            by_lane: Mutex::default(),
        }
    }

    /// A place for one request to a server. Clients are made when they are first
    /// needed.
    pub(crate) fn stream(&self, lane: Option<&Label>, origin: &Origin) -> Result<Stream, NoStream> {
        let lane = {
            let mut by_lane = self.by_lane.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (lane.cloned(), origin.scheme());
            Arc::clone(by_lane.entry(key).or_default())
        };
        let (client, url, number) = lane.enter(origin, || self.build(origin.scheme()))?;
        Ok(Stream {
            client,
            url,
            lane,
            origin: origin.clone(),
            number,
        })
    }

    /// Everything that would send a request elsewhere than the policy allowed,
    /// or twice, is off: redirects, proxies, retries.
    fn build(&self, scheme: Scheme) -> reqwest::Result<reqwest::Client> {
        let (stream_window, connection_window) = WINDOWS;
        let (ping_every, ping_answer) = KEEP_ALIVE;
        let builder = match scheme {
            Scheme::Https => reqwest::Client::builder(),
            // Reading this machine's certificates takes longer than connecting.
            Scheme::Http => reqwest::Client::builder().tls_certs_only([]),
        };
        builder
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

impl Lane {
    fn enter(
        &self,
        origin: &Origin,
        build: impl FnOnce() -> reqwest::Result<reqwest::Client>,
    ) -> Result<(reqwest::Client, Url, usize), NoStream> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let LaneState { clients, servers } = &mut *state;
        let server = match servers.get_mut(origin) {
            Some(server) => server,
            None => servers.entry(origin.clone()).or_insert(Server {
                url: Url::parse(&origin.to_string()).map_err(|_| NoStream::Url(origin.clone()))?,
                under_way: Vec::new(),
            }),
        };
        let number = choose(&server.under_way);
        // A client that others use already has no connection to this server yet.
        let client = match clients.get(number) {
            Some(client) => client.clone(),
            None => {
                let client = build()?;
                clients.push(client.clone());
                client
            }
        };
        match server.under_way.get_mut(number) {
            Some(count) => *count += 1,
            None => server.under_way.push(1),
        }
        Ok((client, server.url.clone(), number))
    }

    fn leave(&self, origin: &Origin, number: usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(server) = state.servers.get_mut(origin) else {
            return;
        };
        if let Some(count) = server.under_way.get_mut(number) {
            *count = count.saturating_sub(1);
        }
        if server.under_way.iter().all(|count| *count == 0) {
            state.servers.remove(origin);
        }
    }
}

/// The connection that the next request goes to: the first with room, a new one,
/// or the least busy.
fn choose(counts: &[usize]) -> usize {
    let has_room = counts
        .iter()
        .position(|count| *count < STREAMS_PER_CONNECTION);
    has_room.unwrap_or_else(|| match counts.len() < CONNECTIONS_PER_LANE {
        true => counts.len(),
        false => {
            let numbered = counts.iter().enumerate();
            numbered
                .min_by_key(|(_, count)| **count)
                .map_or(0, |(number, _)| number)
        }
    })
}

impl Stream {
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A URL of the server that the stream leads to.
    pub(crate) fn url(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url.set_query(query);
        url
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.lane.leave(&self.origin, self.number);
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

#[cfg(test)]
mod tests {
    use super::{Lane, choose};
    use crate::limits::{CONNECTIONS_PER_LANE, STREAMS_PER_CONNECTION};
    use flavor_policy::Origin;

    #[test]
    fn connections_are_filled_one_after_the_other_and_then_evenly() {
        let mut counts = Vec::new();
        for request in 0..2 * STREAMS_PER_CONNECTION * CONNECTIONS_PER_LANE {
            let number = choose(&counts);
            if request < STREAMS_PER_CONNECTION * CONNECTIONS_PER_LANE {
                assert_eq!(number, request / STREAMS_PER_CONNECTION);
            }
            match counts.get_mut(number) {
                Some(count) => *count += 1,
                None => counts.push(1),
            }
        }
        assert_eq!(counts, [2 * STREAMS_PER_CONNECTION; CONNECTIONS_PER_LANE]);
        counts[3] = 0;
        assert_eq!(choose(&counts), 3);
    }

    #[test]
    fn servers_are_counted_apart_and_share_clients() {
        let lane = Lane::default();
        let origin = |text: &str| text.parse::<Origin>().unwrap();
        let (one, other) = (origin("http://127.0.0.1:1"), origin("http://127.0.0.1:2"));
        let enter = |origin| {
            let build = || reqwest::Client::builder().no_proxy().build();
            lane.enter(origin, build).unwrap().2
        };
        for request in 0..STREAMS_PER_CONNECTION + 1 {
            assert_eq!(enter(&one), request / STREAMS_PER_CONNECTION);
        }
        assert_eq!(enter(&other), 0);
        assert_eq!(lane.0.lock().unwrap().clients.len(), 2);
        // Room that has come free is used again.
        lane.leave(&one, 0);
        assert_eq!(enter(&one), 0);
        lane.leave(&other, 0);
        assert!(!lane.0.lock().unwrap().servers.contains_key(&other));
    }
}
