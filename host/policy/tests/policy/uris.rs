//! Spellings of URIs: one normal form, or a fault.

use flavor_policy::{Host, HostFault, Origin, PathPrefix, Target, UriFault};
use http::Uri;

/// What a server would be asked for, or why not. A text that `http` itself
/// does not take for a URI never reaches the policy.
fn parse(text: &str) -> Result<String, UriFault> {
    let uri: Uri = text.parse().map_err(|_| UriFault::Malformed)?;
    Target::parse(&uri).map(|target| target.uri().to_string())
}

#[test]
fn plain_spellings_get_one_normal_form() {
    let table = [
        ("https://api.example.com", "https://api.example.com/"),
        ("https://api.example.com/", "https://api.example.com/"),
        ("HTTPS://API.Example.COM/A/b", "https://api.example.com/A/b"),
        ("https://api.example.com./x", "https://api.example.com/x"),
        ("https://api.example.com:443/x", "https://api.example.com/x"),
        ("http://api.example.com:80/x", "http://api.example.com/x"),
        (
            "http://api.example.com:443/x",
            "http://api.example.com:443/x",
        ),
        (
            "https://api.example.com:8443/x/",
            "https://api.example.com:8443/x/",
        ),
        (
            "https://api.example.com?a=1&b=//..",
            "https://api.example.com/?a=1&b=//..",
        ),
        (
            "https://api.example.com/x?q=%2f..%2f",
            "https://api.example.com/x?q=%2f..%2f",
        ),
        (
            "https://api.example.com/a%20b",
            "https://api.example.com/a%20b",
        ),
        (
            "https://api.example.com/x#fragment",
            "https://api.example.com/x",
        ),
        (
            "https://_srv.example-1.com/x",
            "https://_srv.example-1.com/x",
        ),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ("http://127.0.0.1./x", "http://127.0.0.1/x"),
        ("http://[::1]/x", "http://[::1]/x"),
        ("http://[0:0:0:0:0:0:0:1]:80/x", "http://[::1]/x"),
        (
            "http://[2001:DB8:0::7]:8080/x",
            "http://[2001:db8::7]:8080/x",
        ),
        (
            "http://localhost:9000/x.y-z_~",
            "http://localhost:9000/x.y-z_~",
        ),
    ];
    for (text, normal) in table {
        assert_eq!(parse(text).as_deref(), Ok(normal), "{text}");
    }
}

#[test]
fn attacks_are_refused_by_name() {
    use HostFault::*;
    let table = [
        // Where does it go?
        ("/example.Jobs/Create", UriFault::NotAbsolute),
        ("api.example.com:443", UriFault::NotAbsolute),
        ("*", UriFault::NotAbsolute),
        ("ftp://api.example.com/", UriFault::Scheme),
        ("file://api.example.com/etc/passwd", UriFault::Scheme),
        ("https+unix://api.example.com/", UriFault::Scheme),
        ("https://user@api.example.com/", UriFault::UserInfo),
        ("https://user:password@evil.example/", UriFault::UserInfo),
        ("https://api.example.com@evil.example/", UriFault::UserInfo),
        ("https://@evil.example/", UriFault::UserInfo),
        // Ports.
        ("https://api.example.com:0/", UriFault::Port),
        ("https://api.example.com:/", UriFault::Port),
        ("https://api.example.com:00443/", UriFault::Port),
        ("https://api.example.com:65536/", UriFault::Port),
        ("https://api.example.com:99999999999/", UriFault::Port),
        // Names.
        ("https://./", UriFault::Host(Empty)),
        ("https://api.example.com../", UriFault::Host(MalformedName)),
        ("https://api..example.com/", UriFault::Host(MalformedName)),
        ("https://.example.com/", UriFault::Host(MalformedName)),
        ("https://-api.example.com/", UriFault::Host(MalformedName)),
        ("https://api-.example.com/", UriFault::Host(MalformedName)),
        ("https://api!example.com/", UriFault::Host(MalformedName)),
        (
            "https://xn--pi-5ka.example.com/",
            UriFault::Host(International),
        ),
        (
            "https://XN--PI-5KA.example.com/",
            UriFault::Host(International),
        ),
        // Addresses in disguise.
        ("http://2130706433/", UriFault::Host(NumericV4)),
        ("http://127.1/", UriFault::Host(NumericV4)),
        ("http://127.0.1/", UriFault::Host(NumericV4)),
        ("http://0x7f.1/", UriFault::Host(NumericV4)),
        ("http://0x7f.0.0.1/", UriFault::Host(NumericV4)),
        ("http://0x7f000001/", UriFault::Host(NumericV4)),
        ("http://0X7F000001/", UriFault::Host(NumericV4)),
        ("http://0x/", UriFault::Host(NumericV4)),
        ("http://0177.0.0.1/", UriFault::Host(NumericV4)),
        ("http://017700000001/", UriFault::Host(NumericV4)),
        ("http://127.0.0.01/", UriFault::Host(NumericV4)),
        ("http://127.0.0.256/", UriFault::Host(NumericV4)),
        ("http://127.0.0.1.5/", UriFault::Host(NumericV4)),
        ("http://0/", UriFault::Host(NumericV4)),
        ("http://example.0x1/", UriFault::Host(NumericV4)),
        ("http://[::ffff:127.0.0.1]/", UriFault::Host(V4InV6)),
        ("http://[::ffff:7f00:1]/", UriFault::Host(V4InV6)),
        ("http://[::127.0.0.1]/", UriFault::Host(V4InV6)),
        ("http://[::7f00:1]/", UriFault::Host(V4InV6)),
        ("http://[fe80::1%25eth0]/", UriFault::Host(ZoneId)),
        ("http://[v1.fe80]/", UriFault::Host(MalformedV6)),
        ("http://[1]/", UriFault::Host(MalformedV6)),
        ("http://[127.0.0.1]/", UriFault::Host(MalformedV6)),
        // Paths that lead elsewhere.
        ("https://api.example.com/a/../b", UriFault::DotSegment),
        ("https://api.example.com/..", UriFault::DotSegment),
        ("https://api.example.com/a/.", UriFault::DotSegment),
        ("https://api.example.com/./a", UriFault::DotSegment),
        ("https://api.example.com/a/%2e%2e/b", UriFault::DotSegment),
        ("https://api.example.com/a/.%2E/b", UriFault::DotSegment),
        ("https://api.example.com//a", UriFault::EmptySegment),
        ("https://api.example.com/a//b", UriFault::EmptySegment),
        ("https://api.example.com/a//", UriFault::EmptySegment),
        ("https://api.example.com//", UriFault::EmptySegment),
        ("https://api.example.com/a%2fb", UriFault::EncodedSlash),
        ("https://api.example.com/a%2Fb", UriFault::EncodedSlash),
        ("https://api.example.com/a%5cb", UriFault::EncodedSlash),
        ("https://api.example.com/a%252fb", UriFault::EncodedSlash),
        ("https://api.example.com/a;b", UriFault::PathParameter),
        ("https://api.example.com/..;/b", UriFault::PathParameter),
        ("https://api.example.com/a%3bb", UriFault::PathParameter),
        ("https://api.example.com/a%", UriFault::BrokenEncoding),
        ("https://api.example.com/a%2", UriFault::BrokenEncoding),
        ("https://api.example.com/a%zz", UriFault::BrokenEncoding),
        ("https://api.example.com/a%00", UriFault::BrokenEncoding),
        (
            "https://api.example.com/a%0d%0ahost:evil",
            UriFault::BrokenEncoding,
        ),
        ("https://api.example.com/a%7f", UriFault::BrokenEncoding),
    ];
    let wrong: Vec<_> = table
        .into_iter()
        .filter(|(text, fault)| parse(text) != Err(*fault))
        .map(|(text, fault)| (text, parse(text), fault))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn hosts_refuse_what_uris_cannot_hold() {
    use HostFault::*;
    let table = [
        ("api.example.com%40evil.example", PercentEncoded),
        ("%61pi.example.com", PercentEncoded),
        ("127.0.0.1%2f.example.com", PercentEncoded),
        ("ａｐｉ.example.com", International),
        ("api。example.com", International),
        ("[::１]", International),
        ("::1", Brackets),
        ("[::1", Brackets),
        ("::1]", Brackets),
        ("a.example:80", Brackets),
        ("[[::1]]", MalformedV6),
        ("[]", MalformedV6),
        ("[::1%eth0]", ZoneId),
        ("", Empty),
        (" a.example", MalformedName),
        ("a.example\n", MalformedName),
        ("a\0.example", MalformedName),
    ];
    for (text, fault) in table {
        assert_eq!(text.parse::<Host>(), Err(fault), "{text:?}");
    }
}

#[test]
fn what_is_no_uri_stays_none() {
    // These never become an `http::Uri`; should one ever, it must be refused.
    let table = [
        "https://api.example.com\\@evil.example/",
        "https://api.example.com\\.evil.example/",
        "https://%61pi.example.com/",
        "https://api.example.com%40evil.example/",
        "https://api.exämple.com/",
        "https://ａｐｉ.example.com/",
        "https://api。example.com/",
        "https:///path",
        "https://",
        "https://[::1/",
        "https://::1/",
        "https://[::1%eth0]/",
        "https://[[::1]]/",
        "https://a b/",
        "",
    ];
    for text in table {
        assert!(parse(text).is_err(), "{text}");
    }
    let backslash = parse("https://api.example.com/a\\..\\b");
    assert!(backslash.is_err(), "{backslash:?}");
}

#[test]
fn long_uris_are_refused() {
    let fits = format!("https://a.example/{}", "x".repeat(8192 - 18));
    assert_eq!(parse(&fits), Ok(fits.clone()));
    assert_eq!(parse(&format!("{fits}x")), Err(UriFault::TooLong));
    let name = format!("https://{}.example/", "a".repeat(64));
    assert_eq!(parse(&name), Err(UriFault::Host(HostFault::MalformedName)));
}

#[test]
fn only_two_plain_segments_are_a_grpc_call() {
    let call = |path: &str| {
        let uri: Uri = format!("https://a.example{path}").parse().unwrap();
        let target = Target::parse(&uri).unwrap();
        target
            .grpc_call()
            .map(|(service, method)| format!("{service} {method}"))
    };
    assert_eq!(
        call("/example.v1.Jobs/Create").as_deref(),
        Some("example.v1.Jobs Create")
    );
    assert_eq!(call("/Jobs/Create").as_deref(), Some("Jobs Create"));
    for path in [
        "/",
        "/example.Jobs",
        "/example.Jobs/",
        "/example.Jobs/Create/",
        "/example.Jobs/Create/More",
        "/example.Jobs/Create?x=1",
        "/example.Jobs/%43reate",
        "/example..Jobs/Create",
        "/.Jobs/Create",
        "/example.Jobs/1",
        "/example-Jobs/Create",
        "/a/example.Jobs/Create",
    ] {
        assert_eq!(call(path), None, "{path}");
    }
}

#[test]
fn origins_parse_from_urls_without_a_path() {
    let origin = |text: &str| text.parse::<Origin>().map(|origin| origin.to_string());
    assert_eq!(
        origin("https://Example.com:443/").as_deref(),
        Ok("https://example.com")
    );
    assert_eq!(
        origin("http://[::1]:8080").as_deref(),
        Ok("http://[::1]:8080")
    );
    assert_eq!(origin("https://example.com/x"), Err(UriFault::NotAnOrigin));
    assert_eq!(origin("https://example.com/?x"), Err(UriFault::NotAnOrigin));
    assert_eq!(origin("example.com"), Err(UriFault::NotAbsolute));
    assert_eq!(origin("no url"), Err(UriFault::Malformed));
}

#[test]
fn loopback_is_told_by_the_host() {
    let loopback = |text: &str| text.parse::<Host>().unwrap().is_loopback();
    for host in ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "[::1]"] {
        assert!(loopback(host), "{host}");
    }
    for host in [
        "localhost.example.com",
        "a.localhost",
        "128.0.0.1",
        "[2001:db8::1]",
        "0.0.0.0",
    ] {
        assert!(!loopback(host), "{host}");
    }
}

#[test]
fn path_prefixes_cover_whole_segments() {
    let covers = |prefix: &str, path: &str| prefix.parse::<PathPrefix>().unwrap().covers(path);
    assert!(covers("/api/v1", "/api/v1"));
    assert!(covers("/api/v1", "/api/v1/"));
    assert!(covers("/api/v1/", "/api/v1/runs"));
    assert!(covers("/", "/"));
    assert!(covers("/", "/anything"));
    assert!(!covers("/api/v1", "/api/v10"));
    assert!(!covers("/api/v1", "/api"));
    assert!(!covers("/api/v1", "/API/v1"));
    for text in [
        "", "api", "//", "/a//b", "/a/../b", "/.", "/a%20b", "/a;b", "/a?b", "/a b", "/ä",
    ] {
        assert!(text.parse::<PathPrefix>().is_err(), "{text}");
    }
}
