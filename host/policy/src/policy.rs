//! The decision about a request.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method, Uri};

use crate::access::{Access, GrpcAccess, Methods};
use crate::address::{classify, vet_for};
use crate::grant::Grant;
use crate::headers::ForbiddenHeaders;
use crate::learn::{Exchange, LearnError, Learned, Learnt};
use crate::limits::Limits;
use crate::names::{MethodName, PathPrefix, ServiceName, excerpt};
use crate::origin::Host;
use crate::permit::{Cover, Permit};
use crate::refusal::{Missing, Reason, Refusal, Remedy};
use crate::target::{Target, UriFault};

/// The grants of one guest, given and learned. What no grant covers is refused.
///
/// Where several grants cover a request the first one given decides about
/// credential, lane and addresses; learned grants come after all of them.
///
/// Deciding takes `&self`; learning and forgetting take `&mut self`. A host that
/// serves requests side by side keeps the policy behind a read-write lock.
#[derive(Debug, Clone)]
pub struct Policy {
    grants: Vec<Grant>,
    headers: ForbiddenHeaders,
    learned: Learned,
}

/// What is judged about a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'r> {
    /// The method.
    pub method: &'r Method,
    /// The final URI, absolute: nothing may be added or resolved after this.
    pub uri: &'r Uri,
    /// The headers that the guest set, before the host adds its own.
    pub headers: &'r HeaderMap,
}

impl Policy {
    /// A policy of these grants and nothing else.
    #[must_use]
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Self {
        let limit = Limits::default().learned_grants;
        Self {
            grants: grants.into_iter().collect(),
            headers: ForbiddenHeaders::default(),
            learned: Learned::with_limit(limit),
        }
    }

    /// Refuses the headers in which the host's credentials travel, when a guest
    /// sets them.
    #[must_use]
    pub fn with_credential_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.headers = ForbiddenHeaders::with_credentials(names);
        self
    }

    /// Replaces the default of [`Limits::learned_grants`].
    #[must_use]
    pub fn with_learned_limit(mut self, limit: u32) -> Self {
        self.learned = Learned::with_limit(limit);
        self
    }

    /// Judges a request.
    ///
    /// A host that is a literal address is vetted here; the addresses of a name
    /// are the host's to [vet](Permit::vet) when it has resolved it.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], in this order of precedence: method, header, URI, literal
    /// address that nothing can allow, grants, literal address.
    pub fn decide(&self, request: &RequestView<'_>) -> Result<Permit, Refusal> {
        if matches!(*request.method, Method::CONNECT | Method::TRACE) {
            let remedy = Remedy::ChangeRequest("use another method");
            return Err(Refusal::new(asked(request), Reason::Method, remedy));
        }
        self.headers.check(request.headers)?;
        let target = Target::parse(request.uri).map_err(|fault| {
            let remedy = Remedy::ChangeRequest(fault.help());
            Refusal::new(asked(request), Reason::Uri(fault), remedy)
        })?;
        let literal = target.origin().host().address();
        let class = literal.and_then(classify);
        if let Some(class) = class.filter(|class| !class.is_private()) {
            let reason = Reason::Address(class);
            return Err(Refusal::new(asked(request), reason, Remedy::Never));
        }
        let permit = self.permit(request.method, target)?;
        if let Some(class) = class.filter(|_| !permit.private()) {
            let reason = Reason::Address(class);
            return Err(Refusal::new(asked(request), reason, Remedy::AllowPrivate));
        }
        Ok(permit)
    }

    /// Whether a guest is refused this header or trailer, in any letter case.
    #[must_use]
    pub fn is_forbidden_header(&self, name: &str) -> bool {
        self.headers.contains(name)
    }

    /// The header names that are refused, for the filters of an HTTP stack and
    /// for trailers, which come after the decision.
    #[must_use]
    pub fn forbidden_headers(&self) -> &ForbiddenHeaders {
        &self.headers
    }

    /// Judges an address that a name was resolved to, where the request it is for
    /// is not at hand: in a resolver shared by several.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] when no grant names the host, so that it is not even worth a
    /// look-up, or when the address is one that none of them reaches.
    pub fn vet_resolved(&self, name: &str, address: IpAddr) -> Result<(), Refusal> {
        let (host, private) = self.named(name)?;
        vet_for(&host, address, private)
    }

    /// Whether a name may be looked up at all: some grant names it as a host.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] otherwise. A look-up tells the zone's owner something, and is
    /// a way out for data.
    pub fn check_name(&self, name: &str) -> Result<(), Refusal> {
        self.named(name).map(|_| ())
    }

    /// Reads what a complete exchange opens, for the rules of its permit.
    ///
    /// One entry for each rule whose URL is there; opening a thing twice is no
    /// error. The response is the guest's in any case.
    pub fn learn(
        &mut self,
        permit: &Permit,
        exchange: &Exchange<'_>,
    ) -> Vec<Result<Learnt, LearnError>> {
        permit
            .cover
            .learn
            .iter()
            .filter_map(|rule| {
                self.learned
                    .learn(rule, permit.origin(), permit.private(), exchange)
                    .transpose()
            })
            .collect()
    }

    /// Ends every grant that was learned under this key, and says how many.
    pub fn forget(&mut self, key: &str) -> usize {
        self.learned.forget(key)
    }

    /// The grants given, in order.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// How many grants are learned and not forgotten.
    #[must_use]
    pub fn learned_len(&self) -> usize {
        self.learned.len()
    }

    fn permit(&self, method: &Method, target: Target) -> Result<Permit, Refusal> {
        // gRPC is POST by definition; with other methods the path is just a path.
        let call = (*method == Method::POST)
            .then(|| target.grpc_call())
            .flatten();
        let given = self
            .grants
            .iter()
            .filter(|grant| grant.origin() == target.origin())
            .find_map(|grant| Cover::by(grant, method, target.path(), call.as_ref()));
        let covered = given.or_else(|| {
            let (service, method) = call.as_ref()?;
            self.learned.find(target.origin(), service, method)
        });
        match covered {
            Some(cover) => Ok(Permit { target, cover }),
            None => Err(self.not_granted(method, &target, call)),
        }
    }

    fn not_granted(
        &self,
        method: &Method,
        target: &Target,
        call: Option<(ServiceName, MethodName)>,
    ) -> Refusal {
        let origin = target.origin();
        let remedy = suggestion(method, target, call.as_ref());
        let given = self.grants.iter().filter(|grant| grant.origin() == origin);
        let services = given
            .clone()
            .filter_map(|grant| match grant.access() {
                Access::Grpc(grpc) => Some(grpc),
                Access::Http(_) => None,
            })
            .chain(self.learned.accesses(origin));
        let known = given.count() > 0 || self.learned.accesses(origin).next().is_some();
        let missing = match call {
            _ if !known => Missing::Origin,
            None => Missing::Path,
            Some((service, method)) => {
                if services.map(GrpcAccess::service).any(|own| *own == service) {
                    Missing::Method(service, method)
                } else {
                    Missing::Service(service)
                }
            }
        };
        let asked = excerpt(&format!("{method} {origin}{}", target.path()));
        Refusal::new(asked, Reason::NotGranted(missing), remedy)
    }

    /// The host of a name that some grant has, and whether it may be private.
    fn named(&self, name: &str) -> Result<(Host, bool), Refusal> {
        let asked = || format!("the look-up of `{}`", excerpt(name));
        let host: Host = name.parse().map_err(|fault| {
            let fault = UriFault::Host(fault);
            Refusal::new(asked(), fault.into(), Remedy::ChangeRequest(fault.help()))
        })?;
        let given = self
            .grants
            .iter()
            .map(|grant| (grant.origin(), grant.private()));
        let private = given
            .chain(self.learned.origins())
            .filter(|(origin, _)| *origin.host() == host)
            .map(|(_, private)| private)
            .reduce(|one, other| one || other);
        match private {
            Some(private) => Ok((host, private)),
            None => Err(Refusal::new(
                asked(),
                Reason::NotGranted(Missing::Origin),
                Remedy::ChangeRequest("add a grant that names this host to allow it"),
            )),
        }
    }
}

/// The narrowest grant that covers a request.
fn suggestion(
    method: &Method,
    target: &Target,
    call: Option<&(ServiceName, MethodName)>,
) -> Remedy {
    let origin = target.origin().clone();
    let private = origin.host().address().and_then(classify).is_some();
    let grant = match call {
        Some((service, method)) => Methods::only([method.clone()])
            .map(|methods| Grant::grpc(origin, service.clone(), methods)),
        None => Grant::http(origin, method.clone(), plain_prefix(target.path())),
    };
    let grant = grant.map(|grant| if private { grant.with_private() } else { grant });
    grant.map_or(Remedy::Never, |grant| Remedy::Grant(Box::new(grant)))
}

/// The longest beginning of a path that can stand in a grant.
fn plain_prefix(path: &str) -> PathPrefix {
    let mut rest = path;
    loop {
        if let Ok(prefix) = rest.parse() {
            return prefix;
        }
        rest = rest.rsplit_once('/').map_or("", |(parent, _)| parent);
        if rest.is_empty() {
            return PathPrefix::root();
        }
    }
}

/// Method and URI for a message, without user name and query: both hold secrets
/// now and then.
fn asked(request: &RequestView<'_>) -> String {
    let uri = request.uri;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let (scheme, slashes) = uri.scheme_str().map_or(("", ""), |scheme| (scheme, "://"));
    let text = format!("{} {scheme}{slashes}{host}{}", request.method, uri.path());
    excerpt(&text)
}
