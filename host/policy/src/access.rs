//! What a grant allows on its server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::Method;
use serde::de::{self, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::grant::GrantError;
use crate::names::{Label, MethodName, PathPrefix, ServiceName, excerpt};

/// What may be asked of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Methods of a gRPC service.
    Grpc(GrpcAccess),
    /// An HTTP method below a path.
    Http(HttpAccess),
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc(grpc) => grpc.fmt(f),
            Self::Http(http) => http.fmt(f),
        }
    }
}

/// Methods of one gRPC service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcAccess {
    service: ServiceName,
    methods: Methods,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lanes: BTreeMap<MethodName, Label>,
}

impl GrpcAccess {
    /// Methods of a service, none with a lane of its own.
    #[must_use]
    pub fn new(service: ServiceName, methods: Methods) -> Self {
        Self {
            service,
            methods,
            lanes: BTreeMap::new(),
        }
    }

    /// Sends one method's requests on a lane of their own, so that those that
    /// wait never hold up those that do not.
    ///
    /// # Errors
    ///
    /// [`GrantError::NotGranted`] when the method is not among the methods.
    pub fn with_lane(mut self, method: MethodName, lane: Label) -> Result<Self, GrantError> {
        self.check_method(&method)?;
        self.lanes.insert(method, lane);
        Ok(self)
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Its methods.
    #[must_use]
    pub fn methods(&self) -> &Methods {
        &self.methods
    }

    /// The lane of a method, when it has one of its own.
    #[must_use]
    pub fn lane(&self, method: &MethodName) -> Option<&Label> {
        self.lanes.get(method)
    }

    /// Whether a call is covered.
    #[must_use]
    pub fn covers(&self, service: &ServiceName, method: &MethodName) -> bool {
        self.service == *service && self.methods.contains(method)
    }

    /// Every method that something is said about must be granted.
    pub(crate) fn check(&self) -> Result<(), GrantError> {
        self.lanes
            .keys()
            .try_for_each(|method| self.check_method(method))
    }

    pub(crate) fn check_method(&self, method: &MethodName) -> Result<(), GrantError> {
        if self.methods.contains(method) {
            return Ok(());
        }
        Err(GrantError::NotGranted {
            service: self.service.clone(),
            method: method.clone(),
        })
    }
}

impl fmt::Display for GrpcAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gRPC {} {}", self.service, self.methods)
    }
}

/// One HTTP method below one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAccess {
    method: HttpMethod,
    path: PathPrefix,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lane: Option<Label>,
}

impl HttpAccess {
    /// A method below a path, without a lane of its own.
    ///
    /// # Errors
    ///
    /// [`GrantError::HttpMethod`] for `CONNECT` and `TRACE`.
    pub fn new(method: Method, path: PathPrefix) -> Result<Self, GrantError> {
        Ok(Self {
            method: HttpMethod::try_from(method)?,
            path,
            lane: None,
        })
    }

    /// Sends these requests on a lane of their own.
    #[must_use]
    pub fn with_lane(mut self, lane: Label) -> Self {
        self.lane = Some(lane);
        self
    }

    /// The lane, when the grant names one.
    #[must_use]
    pub fn lane(&self) -> Option<&Label> {
        self.lane.as_ref()
    }

    /// Whether a request is covered; the path must be one of a
    /// [`Target`](crate::Target).
    #[must_use]
    pub fn covers(&self, method: &Method, path: &str) -> bool {
        self.method.0 == *method && self.path.covers(path)
    }
}

impl fmt::Display for HttpAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {} {}", self.method.0, self.path)
    }
}

/// The methods of a service that a grant covers: all, or a list that is not
/// empty. In documents `"*"`, or the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Methods(Option<BTreeSet<MethodName>>);

impl Methods {
    /// Every method that the service has or will have.
    #[must_use]
    pub fn all() -> Self {
        Self(None)
    }

    /// These and no others.
    ///
    /// # Errors
    ///
    /// [`GrantError::NoMethods`] for an empty list: it would look like a grant and
    /// allow nothing.
    pub fn only(methods: impl IntoIterator<Item = MethodName>) -> Result<Self, GrantError> {
        let methods: BTreeSet<_> = methods.into_iter().collect();
        if methods.is_empty() {
            return Err(GrantError::NoMethods);
        }
        Ok(Self(Some(methods)))
    }

    /// Whether a method is among them.
    #[must_use]
    pub fn contains(&self, method: &MethodName) -> bool {
        self.0
            .as_ref()
            .is_none_or(|methods| methods.contains(method))
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(methods) = &self.0 else {
            return f.write_str("[all methods]");
        };
        let names: Vec<&str> = methods.iter().map(MethodName::as_str).collect();
        write!(f, "[{}]", names.join(", "))
    }
}

impl Serialize for Methods {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            None => serializer.serialize_str(ALL_METHODS),
            Some(methods) => methods.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Methods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MethodsVisitor)
    }
}

struct MethodsVisitor;

impl<'de> Visitor<'de> for MethodsVisitor {
    type Value = Methods;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of methods, or \"*\" for all")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Methods, E> {
        if text == ALL_METHODS {
            return Ok(Methods::all());
        }
        Err(E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Methods, A::Error> {
        let mut methods = BTreeSet::new();
        while let Some(method) = list.next_element()? {
            methods.insert(method);
        }
        Methods::only(methods).map_err(de::Error::custom)
    }
}

const ALL_METHODS: &str = "*";

/// An HTTP method that neither opens a tunnel (`CONNECT`) nor reflects the
/// request with its credentials (`TRACE`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct HttpMethod(Method);

impl TryFrom<Method> for HttpMethod {
    type Error = GrantError;

    fn try_from(method: Method) -> Result<Self, GrantError> {
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(GrantError::HttpMethod(method.to_string()));
        }
        Ok(Self(method))
    }
}

impl TryFrom<String> for HttpMethod {
    type Error = GrantError;

    fn try_from(text: String) -> Result<Self, GrantError> {
        // Methods are case-sensitive: `get` would never match anything.
        let method = Method::from_bytes(text.as_bytes())
            .ok()
            .filter(|_| !text.bytes().any(|byte| byte.is_ascii_lowercase()))
            .ok_or_else(|| GrantError::HttpMethod(excerpt(&text)))?;
        method.try_into()
    }
}

impl From<HttpMethod> for String {
    fn from(method: HttpMethod) -> Self {
        method.0.to_string()
    }
}
