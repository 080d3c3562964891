//! What a host may do after the policy said yes.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Uri};

use crate::access::Access;
use crate::address::vet_for;
use crate::grant::Grant;
use crate::learn::LearnRule;
use crate::names::{Label, MethodName, ServiceName};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::target::Target;

/// A request that may be sent, once.
///
/// Only [`Policy::decide`](crate::Policy::decide) makes one. It is plain data and
/// borrows nothing, so it can travel with the request.
#[derive(Debug, Clone)]
pub struct Permit {
    pub(crate) target: Target,
    pub(crate) cover: Cover,
}

impl Permit {
    /// The URI to send: the normal form of the one that was judged.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.target.uri()
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.target.origin()
    }

    /// The credential whose headers the host adds now.
    #[must_use]
    pub fn credential(&self) -> Option<&Label> {
        self.cover.credential.as_ref()
    }

    /// The lane to send on; `None` is the lane of all that names none.
    #[must_use]
    pub fn lane(&self) -> Option<&Label> {
        self.cover.lane.as_ref()
    }

    /// Whether private and loopback addresses are allowed.
    #[must_use]
    pub fn private(&self) -> bool {
        self.cover.private
    }

    /// Whether the exchange is to be handed to
    /// [`Policy::learn`](crate::Policy::learn) once it is complete, so that the
    /// host keeps both messages.
    #[must_use]
    pub fn learns(&self) -> bool {
        !self.cover.learn.is_empty()
    }

    /// Judges an address to connect to for this request.
    ///
    /// # Errors
    ///
    /// As [`vet`](crate::vet); also when a host that names the machine itself
    /// leads elsewhere.
    pub fn vet(&self, address: IpAddr) -> Result<(), Refusal> {
        vet_for(self.origin().host(), address, self.cover.private)
    }
}

/// What the grant that covers a request says about it.
#[derive(Debug, Clone)]
pub(crate) struct Cover {
    pub(crate) credential: Option<Label>,
    pub(crate) lane: Option<Label>,
    pub(crate) private: bool,
    pub(crate) learn: Vec<Arc<LearnRule>>,
}

impl Cover {
    /// What a grant says about a request, when it covers it at all.
    pub(crate) fn by(
        grant: &Grant,
        method: &Method,
        path: &str,
        call: Option<&(ServiceName, MethodName)>,
    ) -> Option<Self> {
        let (lane, learn) = match (grant.access(), call) {
            (Access::Grpc(grpc), Some((service, method))) if grpc.covers(service, method) => {
                let rules = grant.learn().iter().filter(|rule| rule.method == *method);
                (grpc.lane(method), rules.map(Arc::clone).collect())
            }
            (Access::Http(http), _) if http.covers(method, path) => (http.lane(), Vec::new()),
            _ => return None,
        };
        Some(Self {
            credential: grant.credential().cloned(),
            lane: lane.cloned(),
            private: grant.private(),
            learn,
        })
    }
}
