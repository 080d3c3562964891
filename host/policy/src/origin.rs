//! Scheme, host and port: what a grant names, and what a URI is reduced to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::target::{Target, UriFault};

/// Scheme, host and port together, in normal form.
///
/// Parses from a URL without a path (`https://api.example.com`,
/// `http://[::1]:8080/`). Its `Display` leaves the scheme's default port out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: NonZeroU16,
}

impl Origin {
    /// Puts an origin together; without a port it is the scheme's default.
    #[must_use]
    pub fn new(scheme: Scheme, host: Host, port: Option<NonZeroU16>) -> Self {
        let port = port.unwrap_or(scheme.default_port());
        Self { scheme, host, port }
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, the scheme's default filled in.
    #[must_use]
    pub fn port(&self) -> NonZeroU16 {
        self.port
    }

    /// Whether this is plain HTTP to the machine itself.
    #[must_use]
    pub fn is_plaintext_loopback(&self) -> bool {
        self.scheme == Scheme::Http && self.host.is_loopback()
    }
}

impl FromStr for Origin {
    type Err = UriFault;

    fn from_str(text: &str) -> Result<Self, UriFault> {
        let uri: http::Uri = text.parse().map_err(|_| UriFault::Malformed)?;
        let target = Target::parse(&uri)?;
        if target.path() != "/" || target.query().is_some() {
            return Err(UriFault::NotAnOrigin);
        }
        Ok(target.into_origin())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

/// The schemes that can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// 80 or 443.
    #[must_use]
    pub fn default_port(self) -> NonZeroU16 {
        const HTTP: NonZeroU16 = NonZeroU16::MIN.saturating_add(79);
        const HTTPS: NonZeroU16 = NonZeroU16::MIN.saturating_add(442);
        match self {
            Self::Http => HTTP,
            Self::Https => HTTPS,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// A host in the one spelling that is compared.
///
/// Names are lower case without the trailing dot; addresses are binary, so that
/// no two spellings of one differ. Everything that parsers are known to disagree
/// about is a [`HostFault`] instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Host {
    /// A DNS name.
    Name(Arc<str>),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
}

impl Host {
    /// The address, when the host is a literal and no name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some((*address).into()),
            Self::V6(address) => Some((*address).into()),
        }
    }

    /// Whether the host is the machine itself: a loopback address, or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => &**name == "localhost",
            Self::V4(address) => address.is_loopback(),
            Self::V6(address) => address.is_loopback(),
        }
    }

    fn parse_v6(text: &str) -> Result<Self, HostFault> {
        if text.contains('%') {
            return Err(HostFault::ZoneId);
        }
        let address: Ipv6Addr = text.parse().map_err(|_| HostFault::MalformedV6)?;
        // ::ffff:0:0/96 and ::/96 carry an IPv4 address; `::` and `::1` do not.
        let carries_v4 =
            address.to_ipv4().is_some() && !address.is_loopback() && !address.is_unspecified();
        if carries_v4 {
            return Err(HostFault::V4InV6);
        }
        Ok(Self::V6(address))
    }

    fn parse_name(text: &str) -> Result<Self, HostFault> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        if name.is_empty() {
            return Err(HostFault::Empty);
        }
        if ends_in_number(name) {
            return name.parse().map(Self::V4).map_err(|_| HostFault::NumericV4);
        }
        if name.len() > MAX_NAME || !name.split('.').all(is_label) {
            return Err(HostFault::MalformedName);
        }
        if name.split('.').any(|label| label.starts_with("xn--")) {
            return Err(HostFault::International);
        }
        Ok(Self::Name(name.into()))
    }
}

impl FromStr for Host {
    type Err = HostFault;

    /// Parses a host as it stands in a URI, IPv6 addresses in brackets.
    fn from_str(text: &str) -> Result<Self, HostFault> {
        if !text.is_ascii() {
            return Err(HostFault::International);
        }
        let bracketed = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        match bracketed {
            Some(inner) => Self::parse_v6(inner),
            None if text.contains('%') => Err(HostFault::PercentEncoded),
            None if text.contains(['[', ']', ':']) => Err(HostFault::Brackets),
            None => Self::parse_name(text),
        }
    }
}

impl TryFrom<String> for Host {
    type Error = HostFault;

    fn try_from(text: String) -> Result<Self, HostFault> {
        text.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.to_string()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// Why a text is not accepted as a host.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// Nothing there, or a dot alone.
    #[error("the host is empty")]
    Empty,
    /// Not letters, digits, `-` and `_` in labels of 1–63, 253 in all.
    #[error("the host is not a valid DNS name")]
    MalformedName,
    /// Non-ASCII letters, or their `xn--` form: names that can look like others.
    #[error("the host is an internationalised name, which can imitate another")]
    International,
    /// `%` in a name: some parsers decode it, some do not.
    #[error("the host is percent-encoded")]
    PercentEncoded,
    /// Brackets without an IPv6 address, or the other way round.
    #[error("an IPv6 address stands in brackets, and nothing else does")]
    Brackets,
    /// Not an IPv6 address inside the brackets.
    #[error("the host is not a valid IPv6 address")]
    MalformedV6,
    /// `fe80::1%eth0` and the like.
    #[error("the host carries an IPv6 zone")]
    ZoneId,
    /// `[::ffff:127.0.0.1]` or `[::127.0.0.1]`.
    #[error("the host is an IPv4 address in IPv6 form; the IPv4 form is the one to write")]
    V4InV6,
    /// `127.1`, `0x7f000001`, `2130706433`, `0177.0.0.1`: numbers that C
    /// libraries take for IPv4 addresses.
    #[error("the host is a number but not an IPv4 address of four decimal parts")]
    NumericV4,
}

/// DNS: 255 bytes on the wire, which is 253 characters.
const MAX_NAME: usize = 253;

/// Letters, digits and `-` inside, 63 at most; `_` because real hosts use it.
fn is_label(label: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=63).contains(&label.len())
        && label.chars().all(known)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The URL standard's test for "this is meant as an IPv4 address": the last
/// label is a decimal or hexadecimal number.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let decimal = !last.is_empty() && last.chars().all(|c| c.is_ascii_digit());
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit()));
    decimal || hexadecimal
}
