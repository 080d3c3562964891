//! Decides what a guest may ask of the network.
//!
//! This crate holds rules and nothing else: no sockets, no files, no clock, no
//! async. A host asks it three questions and acts on the answers:
//!
//! 1. *May this request be sent?* [`Policy::decide`] judges the final URI, the
//!    method and the headers against a list of [`Grant`]s, everything else being
//!    refused. Its [`Permit`] names the normalised URI to send, the credential to
//!    add (an opaque label, the policy never sees a secret) and the lane, that is
//!    the connection pool, to send it on.
//! 2. *May a connection go to this address?* [`Permit::vet`],
//!    [`Policy::vet_resolved`] and [`vet`] know the address ranges that a name
//!    must not lead to.
//! 3. *What does this answer open?* Some servers name at run time the worker that
//!    serves one job. A grant may say where in a response that URL stands
//!    ([`LearnRule`]); [`Policy::learn`] turns it into a grant for one service
//!    that lasts until [`Policy::forget`].
//!
//! | module | decides |
//! |---|---|
//! | [`grant`] | what a grant can say, and its TOML or JSON form |
//! | [`policy`](Policy) | requests, against grants given and learned |
//! | [`target`] | which spellings of a URI are accepted, and as what |
//! | [`address`] | which addresses are refused, and as what class |
//! | [`headers`] | which header names belong to the host |
//! | [`protobuf`], [`grpc`] | reading one text out of a message nobody trusts |
//! | [`limits`] | how much, rather than what |
//!
//! Every refusal is a [`Refusal`]: what was asked, why it was refused, what would
//! allow it.
//!
//! # Example
//!
//! ```
//! use flavor_policy::{Grant, Methods, Policy, RequestView};
//! use http::{HeaderMap, Method, Uri};
//!
//! let grant = Grant::grpc(
//!     "https://api.example.com".parse()?,
//!     "example.Jobs".parse()?,
//!     Methods::only(["Create".parse()?, "Wait".parse()?])?,
//! )
//! .with_credential("account".parse()?);
//! let policy = Policy::new([grant]);
//!
//! let ask = |uri: &'static str| {
//!     let uri = Uri::from_static(uri);
//!     policy.decide(&RequestView { method: &Method::POST, uri: &uri, headers: &HeaderMap::new() })
//! };
//! let permit = ask("https://API.example.com:443/example.Jobs/Create")?;
//! assert_eq!(permit.uri(), "https://api.example.com/example.Jobs/Create");
//! assert_eq!(permit.credential().map(|label| label.as_str()), Some("account"));
//!
//! let refusal = ask("https://api.example.com/example.Jobs/Delete").unwrap_err();
//! assert_eq!(
//!     refusal.to_string(),
//!     "refused POST https://api.example.com/example.Jobs/Delete: \
//!      the grants for `example.Jobs` do not include the method `Delete`; \
//!      to allow it, add the grant: https://api.example.com gRPC example.Jobs [Delete]"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
pub mod address;
pub mod grant;
pub mod grpc;
pub mod headers;
mod learn;
pub mod limits;
pub mod names;
mod origin;
mod permit;
mod policy;
pub mod protobuf;
mod refusal;
pub mod target;

pub use access::{Access, GrpcAccess, HttpAccess, Methods};
pub use address::{AddressClass, classify, vet};
pub use grant::{Grant, GrantError};
pub use headers::ForbiddenHeaders;
pub use learn::{Exchange, KeySource, LearnError, LearnRule, Learnt};
pub use limits::{Budget, Limits};
pub use names::{Label, MethodName, NameError, PathPrefix, ServiceName};
pub use origin::{Host, HostFault, Origin, Scheme};
pub use permit::Permit;
pub use policy::{Policy, RequestView};
pub use protobuf::FieldPath;
pub use refusal::{Meter, Missing, Reason, Refusal, Remedy};
pub use target::{Target, UriFault};
