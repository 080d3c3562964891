//! Grants that a server's responses open.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::access::GrpcAccess;
use crate::address;
use crate::names::{MethodName, NameError, ServiceName, excerpt};
use crate::origin::{Origin, Scheme};
use crate::permit::Cover;
use crate::protobuf::{FieldPath, WireError};
use crate::target::UriFault;

/// Where in an exchange the URL of a further server stands, and what it opens.
///
/// Learned grants never carry a credential and are for one service only. They
/// must be `https`, unless the grant that taught them is for plain HTTP to the
/// machine itself and they are too. They reach private addresses only when that
/// grant does, and then only on the same host or on loopback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnRule {
    /// The method whose responses are read; it must answer with one message.
    pub method: MethodName,
    /// Where in the response the URL stands.
    pub url: FieldPath,
    /// Where the text stands that names the grant's life.
    pub key: KeySource,
    /// What may be asked of the server that the URL names.
    pub grpc: GrpcAccess,
}

/// Where the text stands with which a learned grant is forgotten again, such as
/// the id of the job that the server works for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeySource {
    /// In the request; `request:1` in documents.
    Request(FieldPath),
    /// In the response; `response:1` in documents.
    Response(FieldPath),
}

impl FromStr for KeySource {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            Some(("request", path)) => Ok(Self::Request(path.parse()?)),
            Some(("response", path)) => Ok(Self::Response(path.parse()?)),
            _ => Err(NameError::new(
                "key source",
                text,
                "write `request:` or `response:` and a field path, such as `response:1`",
            )),
        }
    }
}

impl KeySource {
    /// The message that the text stands in, and the path to it.
    fn read<'m>(&self, exchange: &Exchange<'m>) -> Result<Option<&'m str>, LearnError> {
        let (part, message, path) = match self {
            Self::Request(path) => ("request", exchange.request, path),
            Self::Response(path) => ("response", exchange.response, path),
        };
        path.last_text(message)
            .map_err(|fault| LearnError::Unreadable { part, fault })
    }
}

impl TryFrom<String> for KeySource {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<KeySource> for String {
    fn from(source: KeySource) -> Self {
        source.to_string()
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(path) => write!(f, "request:{path}"),
            Self::Response(path) => write!(f, "response:{path}"),
        }
    }
}

/// Both messages of a unary call, without gRPC's frames
/// (see [`unary_message`](crate::grpc::unary_message)).
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'m> {
    /// What the guest sent.
    pub request: &'m [u8],
    /// What the server answered.
    pub response: &'m [u8],
}

/// A grant that was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learnt {
    /// The text to [forget](crate::Policy::forget) it with.
    pub key: String,
    /// The server.
    pub origin: Origin,
    /// The service on it.
    pub service: ServiceName,
}

/// Why a response opened nothing.
///
/// The response itself is fine to hand to the guest; its requests to the server
/// it names will be refused.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    /// The message cannot be read along the rule's path.
    #[error(
        "the {part} could not be read: {fault}; check the rule's field paths against the service's .proto"
    )]
    Unreadable {
        /// `request` or `response`.
        part: &'static str,
        /// What is wrong with it.
        fault: WireError,
    },
    /// There is a URL, and nothing to forget it with.
    #[error(
        "the exchange names a server, but at {0} there is no key of 1 to 256 bytes; check the rule's `key`"
    )]
    NoKey(KeySource),
    /// The URL is not accepted.
    #[error("the URL `{url}` is not accepted: {fault}; {}", fault.help())]
    Url {
        /// The URL, shortened.
        url: String,
        /// What is wrong with it.
        fault: UriFault,
    },
    /// Plain HTTP to a server that may be another machine, or was named by one.
    #[error(
        "{0} is not https; only a server on this machine may name another one on it in plain text"
    )]
    Plaintext(Origin),
    /// A literal address that the learned grant does not reach.
    #[error(
        "{origin} is {class}; a response may only name public servers, and private ones on its own host where the grant allows those"
    )]
    Address {
        /// What was named.
        origin: Origin,
        /// Why it is refused.
        class: address::AddressClass,
    },
    /// All places are taken.
    #[error(
        "there are {limit} learned grants already; forget keys that are done, or raise the limit"
    )]
    Full {
        /// How many there may be.
        limit: usize,
    },
}

/// All grants learned and not yet forgotten.
#[derive(Debug, Clone)]
pub(crate) struct Learned {
    by_origin: HashMap<Origin, Opened>,
    // What `forget` looks up: every origin that a key has entries under.
    by_key: HashMap<Arc<str>, Vec<Origin>>,
    limit: usize,
    len: usize,
}

/// What is open on one server. Thousands of keys may open the same thing there,
/// so deciding about a request looks at what is open, not at who opened it.
#[derive(Debug, Clone, Default)]
struct Opened {
    /// Each thing once, with the number of keys that open it.
    things: Vec<(Thing, usize)>,
    by_key: HashMap<Arc<str>, Vec<Thing>>,
}

/// What one learned grant opens.
#[derive(Debug, Clone, PartialEq)]
struct Thing {
    rule: Arc<LearnRule>,
    private: bool,
}

impl Learned {
    pub(crate) fn with_limit(limit: u32) -> Self {
        Self {
            by_origin: HashMap::new(),
            by_key: HashMap::new(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Applies one rule to one exchange; `teacher` and `private` are those of the
    /// grant that carries the rule.
    pub(crate) fn learn(
        &mut self,
        rule: &Arc<LearnRule>,
        teacher: &Origin,
        private: bool,
        exchange: &Exchange<'_>,
    ) -> Result<Option<Learnt>, LearnError> {
        let Some(origin) = read_origin(rule, teacher, private, exchange)? else {
            return Ok(None);
        };
        let private = private && reaches_private(teacher, &origin);
        let key = rule
            .key
            .read(exchange)?
            .filter(|key| (1..=MAX_KEY).contains(&key.len()))
            .ok_or_else(|| LearnError::NoKey(rule.key.clone()))?;
        self.insert(key, origin.clone(), rule, private)?;
        Ok(Some(Learnt {
            key: key.to_owned(),
            origin,
            service: rule.grpc.service().clone(),
        }))
    }

    pub(crate) fn forget(&mut self, key: &str) -> usize {
        let before = self.len;
        for origin in self.by_key.remove(key).unwrap_or_default() {
            let Some(opened) = self.by_origin.get_mut(&origin) else {
                continue;
            };
            self.len -= opened.close(key);
            if opened.things.is_empty() {
                self.by_origin.remove(&origin);
            }
        }
        before - self.len
    }

    /// The first learned grant that covers a call.
    pub(crate) fn find(
        &self,
        origin: &Origin,
        service: &ServiceName,
        method: &MethodName,
    ) -> Option<Cover> {
        let thing = self
            .things(origin)
            .find(|thing| thing.rule.grpc.covers(service, method))?;
        Some(Cover {
            // A server named at run time never gets the host's credentials, and
            // opens no further one.
            credential: None,
            learn: Vec::new(),
            lane: thing.rule.grpc.lane(method).cloned(),
            private: thing.private,
        })
    }

    /// What is opened on a server at all.
    pub(crate) fn accesses(&self, origin: &Origin) -> impl Iterator<Item = &GrpcAccess> {
        self.things(origin).map(|thing| &thing.rule.grpc)
    }

    /// Every server with a learned grant, and whether it reaches private
    /// addresses.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (&Origin, bool)> {
        self.by_origin
            .iter()
            .map(|(origin, opened)| (origin, opened.things.iter().any(|(thing, _)| thing.private)))
    }

    fn things(&self, origin: &Origin) -> impl Iterator<Item = &Thing> {
        let opened = self.by_origin.get(origin);
        let things = opened.map_or(&[][..], |opened| opened.things.as_slice());
        things.iter().map(|(thing, _)| thing)
    }

    fn insert(
        &mut self,
        key: &str,
        origin: Origin,
        rule: &Arc<LearnRule>,
        private: bool,
    ) -> Result<(), LearnError> {
        let thing = Thing {
            rule: Arc::clone(rule),
            private,
        };
        let opened = self.by_origin.get(&origin);
        let known = opened.and_then(|opened| opened.by_key.get(key));
        if known.is_some_and(|things| things.contains(&thing)) {
            return Ok(());
        }
        if self.len >= self.limit {
            return Err(LearnError::Full { limit: self.limit });
        }
        let key: Arc<str> = key.into();
        let origins = self.by_key.entry(Arc::clone(&key)).or_default();
        if !origins.contains(&origin) {
            origins.push(origin.clone());
        }
        self.by_origin.entry(origin).or_default().open(key, thing);
        self.len += 1;
        Ok(())
    }
}

impl Opened {
    fn open(&mut self, key: Arc<str>, thing: Thing) {
        match self.things.iter_mut().find(|(open, _)| *open == thing) {
            Some((_, keys)) => *keys += 1,
            None => self.things.push((thing.clone(), 1)),
        }
        self.by_key.entry(key).or_default().push(thing);
    }

    /// Closes what a key opened, and says how many things that were.
    fn close(&mut self, key: &str) -> usize {
        let closed = self.by_key.remove(key).unwrap_or_default();
        for thing in &closed {
            if let Some((_, keys)) = self.things.iter_mut().find(|(open, _)| open == thing) {
                *keys -= 1;
            }
        }
        self.things.retain(|(_, keys)| *keys > 0);
        closed.len()
    }
}

/// Ids are short; what is longer is no id.
const MAX_KEY: usize = 256;

/// A scheme, the longest DNS name and a port fit three times over.
const MAX_URL: usize = 1024;

/// The server that a response names, when it names one that may be learned.
fn read_origin(
    rule: &LearnRule,
    teacher: &Origin,
    private: bool,
    exchange: &Exchange<'_>,
) -> Result<Option<Origin>, LearnError> {
    let url = rule
        .url
        .last_text(exchange.response)
        .map_err(|fault| LearnError::Unreadable {
            part: "response",
            fault,
        })?;
    // An empty text is protobuf's way of saying nothing.
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let origin: Origin = if url.len() > MAX_URL {
        Err(UriFault::TooLong)
    } else {
        url.parse()
    }
    .map_err(|fault| LearnError::Url {
        url: excerpt(url),
        fault,
    })?;
    let same_machine = teacher.is_plaintext_loopback() && origin.is_plaintext_loopback();
    if origin.scheme() != Scheme::Https && !same_machine {
        return Err(LearnError::Plaintext(origin));
    }
    let private = private && reaches_private(teacher, &origin);
    let class = origin.host().address().and_then(address::classify);
    match class.filter(|class| !(private && class.is_private())) {
        Some(class) => Err(LearnError::Address { origin, class }),
        None => Ok(Some(origin)),
    }
}

/// A private server may name itself and, from loopback, the rest of loopback; it
/// may not point a guest at its neighbours.
fn reaches_private(teacher: &Origin, origin: &Origin) -> bool {
    let loopback = teacher.host().is_loopback() && origin.host().is_loopback();
    loopback || teacher.host() == origin.host()
}
