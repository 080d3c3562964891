//! A request's URI, reduced to one spelling or refused.
//!
//! What is judged must be what is sent. Parsers disagree about user names in
//! URIs, backslashes, dot segments, encoded slashes, odd numbers and more, and
//! every disagreement between this crate and a server, proxy or resolver is a
//! way past a grant. So a [`Target`] accepts the plain spellings, keeps them in
//! normal form, hands out the URI to send, and refuses the rest.

use std::num::NonZeroU16;

use http::Uri;

use crate::names::{MethodName, ServiceName};
use crate::origin::{Host, HostFault, Origin, Scheme};

/// Where a request goes, in normal form.
///
/// Normal form: scheme and host in lower case, no trailing dot, no default port,
/// IPv6 shortened as RFC 5952 says, `/` for an empty path. Path and query are kept
/// byte for byte. Parsing [`Target::uri`] again gives the same target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    origin: Origin,
    uri: Uri,
}

impl Target {
    /// Parses the final URI of a request, as it would go on the wire.
    ///
    /// # Errors
    ///
    /// A [`UriFault`] for everything that is not an absolute `http` or `https`
    /// URI in a spelling that all parsers read alike.
    pub fn parse(uri: &Uri) -> Result<Self, UriFault> {
        let origin = parse_origin(uri)?;
        check_path(uri.path())?;
        if uri.query().is_some_and(|query| !is_plain(query)) {
            return Err(UriFault::NonAscii);
        }
        let path_and_query = uri.path_and_query().map_or("/", |both| both.as_str());
        let slash = if path_and_query.starts_with('/') {
            ""
        } else {
            "/"
        };
        let normal = format!("{origin}{slash}{path_and_query}");
        if normal.len() > MAX_URI {
            return Err(UriFault::TooLong);
        }
        let uri = normal.parse().map_err(|_| UriFault::Malformed)?;
        Ok(Self { origin, uri })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The target alone, without its path.
    #[must_use]
    pub fn into_origin(self) -> Origin {
        self.origin
    }

    /// The path, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// What follows the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The URI to send: the one that was judged, and no other spelling of it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Service and method, when the path is that of a gRPC call.
    #[must_use]
    pub fn grpc_call(&self) -> Option<(ServiceName, MethodName)> {
        if self.query().is_some() {
            return None;
        }
        let (service, method) = self.path().strip_prefix('/')?.split_once('/')?;
        Some((service.parse().ok()?, method.parse().ok()?))
    }
}

/// Why a URI is not accepted.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriFault {
    /// Not a URI at all.
    #[error("it is not a valid URI")]
    Malformed,
    /// A path alone, an authority alone, or `*`.
    #[error("the URI is not absolute (scheme, host and path)")]
    NotAbsolute,
    /// Anything but `http` and `https`.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// `user@host` or `user:password@host`.
    #[error("the URI carries a user name, which hides the host")]
    UserInfo,
    /// See [`HostFault`].
    #[error(transparent)]
    Host(#[from] HostFault),
    /// Empty, zero, above 65535, or not plain decimal digits.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// `.` or `..` as a segment, or encoded (`%2e`).
    #[error("the path has dot segments, which servers resolve differently")]
    DotSegment,
    /// `//` in the path.
    #[error("the path has an empty segment, which servers resolve differently")]
    EmptySegment,
    /// `%2f`, `%5c`, `%25` or a backslash: a slash to some, not to others.
    #[error("the path has an encoded slash, backslash or percent sign")]
    EncodedSlash,
    /// `;`, which some servers cut off before they compare paths.
    #[error("the path has a parameter (`;`)")]
    PathParameter,
    /// `%` without two hexadecimal digits, or an encoded control character.
    #[error("the path has a broken or unprintable percent-encoding")]
    BrokenEncoding,
    /// Bytes outside of printable ASCII.
    #[error("the URI has characters outside of printable ASCII")]
    NonAscii,
    /// More than 8,192 bytes.
    #[error("the URI is longer than 8192 bytes")]
    TooLong,
    /// A path or query where only scheme, host and port belong.
    #[error("the URL has a path or a query where only scheme, host and port belong")]
    NotAnOrigin,
}

impl UriFault {
    /// What to write instead.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Malformed | Self::NotAbsolute | Self::Scheme | Self::NotAnOrigin => {
                "write scheme, host and, where needed, port, such as `https://api.example.com`"
            }
            Self::UserInfo => "leave the user name out",
            Self::Host(HostFault::V4InV6 | HostFault::NumericV4) => {
                "write an IPv4 address as four decimal numbers, such as `192.0.2.7`"
            }
            Self::Host(HostFault::Brackets | HostFault::MalformedV6 | HostFault::ZoneId) => {
                "write an IPv6 address in brackets and without a zone, such as `[2001:db8::7]`"
            }
            Self::Host(_) => "write the host's plain ASCII name",
            Self::Port => "write the port in decimal digits, or leave it out with its colon",
            Self::DotSegment
            | Self::EmptySegment
            | Self::EncodedSlash
            | Self::PathParameter
            | Self::BrokenEncoding
            | Self::NonAscii => "write the path that is meant, in plain segments",
            Self::TooLong => "send what is long in the body",
        }
    }
}

/// Servers commonly stop at 8 KiB for the request line, and longer URLs have
/// crashed HTTP stacks.
const MAX_URI: usize = 8192;

fn parse_origin(uri: &Uri) -> Result<Origin, UriFault> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(UriFault::NotAbsolute);
    };
    let scheme = if scheme.eq_ignore_ascii_case("https") {
        Scheme::Https
    } else if scheme.eq_ignore_ascii_case("http") {
        Scheme::Http
    } else {
        return Err(UriFault::Scheme);
    };
    let authority = authority.as_str();
    if authority.contains('@') {
        return Err(UriFault::UserInfo);
    }
    // The last colon outside of brackets separates the port.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(parse_port(port)?)),
        _ => (authority, None),
    };
    Ok(Origin::new(scheme, host.parse::<Host>()?, port))
}

fn parse_port(digits: &str) -> Result<NonZeroU16, UriFault> {
    let plain = digits.chars().all(|c| c.is_ascii_digit()) && !digits.starts_with('0');
    if !plain {
        return Err(UriFault::Port);
    }
    digits.parse().map_err(|_| UriFault::Port)
}

fn check_path(path: &str) -> Result<(), UriFault> {
    if !is_plain(path) {
        return Err(UriFault::NonAscii);
    }
    if path == "*" {
        return Err(UriFault::NotAbsolute);
    }
    if path.contains('\\') {
        return Err(UriFault::EncodedSlash);
    }
    if path.contains(';') {
        return Err(UriFault::PathParameter);
    }
    for escape in path.split('%').skip(1) {
        check_escape(escape.as_bytes())?;
    }
    let segments = path.strip_prefix('/').unwrap_or(path);
    let (parents, last) = segments.rsplit_once('/').unwrap_or(("", segments));
    if matches!(last, "." | "..") {
        return Err(UriFault::DotSegment);
    }
    // An empty segment is a slash at the end, and fine there only.
    let inner_segments = segments.contains('/').then(|| parents.split('/'));
    for segment in inner_segments.into_iter().flatten() {
        match segment {
            "" => return Err(UriFault::EmptySegment),
            "." | ".." => return Err(UriFault::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

/// Judges what follows a percent sign.
fn check_escape(after: &[u8]) -> Result<(), UriFault> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16);
    let (Some(high), Some(low)) = (after.first().and_then(hex), after.get(1).and_then(hex)) else {
        return Err(UriFault::BrokenEncoding);
    };
    match u8::try_from(high * 16 + low) {
        Ok(b'/' | b'\\' | b'%') => Err(UriFault::EncodedSlash),
        Ok(b'.') => Err(UriFault::DotSegment),
        Ok(b';') => Err(UriFault::PathParameter),
        Ok(0x00..=0x1f | 0x7f) | Err(_) => Err(UriFault::BrokenEncoding),
        Ok(_) => Ok(()),
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x21..=0x7e))
}
