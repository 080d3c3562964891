//! Requests against grants.

use flavor_policy::{
    Access, Grant, GrpcAccess, Host, HostFault, Methods, Missing, Permit, Policy, Reason, Refusal,
    Remedy, RequestView, UriFault,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

fn jobs() -> Grant {
    let methods = Methods::only(["Create".parse().unwrap(), "Wait".parse().unwrap()]).unwrap();
    let access = GrpcAccess::new("example.Jobs".parse().unwrap(), methods)
        .with_lane("Wait".parse().unwrap(), "waits".parse().unwrap())
        .unwrap();
    Grant::new(
        "https://api.example.com".parse().unwrap(),
        Access::Grpc(access),
    )
    .with_credential("account".parse().unwrap())
}

fn reads() -> Grant {
    let origin = "https://store.example.com:8443".parse().unwrap();
    Grant::http(origin, Method::GET, "/api/v1".parse().unwrap()).unwrap()
}

fn local() -> Grant {
    let origin = "http://127.0.0.1:9000".parse().unwrap();
    Grant::grpc(origin, "example.Jobs".parse().unwrap(), Methods::all()).with_private()
}

fn policy() -> Policy {
    Policy::new([jobs(), reads(), local()])
        .with_credential_headers([HeaderName::from_static("x-account-token")])
}

fn ask(policy: &Policy, method: Method, uri: &str) -> Result<Permit, Refusal> {
    ask_with(policy, method, uri, &HeaderMap::new())
}

fn ask_with(
    policy: &Policy,
    method: Method,
    uri: &str,
    headers: &HeaderMap,
) -> Result<Permit, Refusal> {
    let uri: Uri = uri.parse().unwrap();
    policy.decide(&RequestView {
        method: &method,
        uri: &uri,
        headers,
    })
}

#[test]
fn a_granted_call_gets_credential_and_lane() {
    let policy = policy();
    let create = ask(
        &policy,
        Method::POST,
        "https://api.example.com/example.Jobs/Create",
    )
    .unwrap();
    assert_eq!(create.credential().unwrap().as_str(), "account");
    assert_eq!(create.lane(), None);
    assert!(!create.private());
    assert!(!create.learns());
    let wait = ask(
        &policy,
        Method::POST,
        "HTTPS://Api.Example.Com.:443/example.Jobs/Wait",
    )
    .unwrap();
    assert_eq!(wait.uri(), "https://api.example.com/example.Jobs/Wait");
    assert_eq!(wait.lane().unwrap().as_str(), "waits");
}

#[test]
fn an_http_grant_covers_its_method_below_its_path() {
    let policy = policy();
    let uri = "https://store.example.com:8443/api/v1/runs?size=10";
    let permit = ask(&policy, Method::GET, uri).unwrap();
    assert_eq!(permit.uri(), uri);
    assert_eq!(permit.credential(), None);
    for (method, uri) in [
        (Method::POST, "https://store.example.com:8443/api/v1/runs"),
        (Method::GET, "https://store.example.com:8443/api/v10"),
        (Method::GET, "https://store.example.com:8443/"),
        (Method::HEAD, "https://store.example.com:8443/api/v1"),
    ] {
        let refusal = ask(&policy, method, uri).unwrap_err();
        assert!(
            matches!(refusal.reason(), Reason::NotGranted(_)),
            "{refusal}"
        );
    }
}

#[test]
fn what_differs_in_any_part_is_refused() {
    let policy = policy();
    let service = |name: &str| Missing::Service(name.parse().unwrap());
    let table = [
        (
            Method::POST,
            "http://api.example.com/example.Jobs/Create",
            Missing::Origin,
        ),
        (
            Method::POST,
            "https://api.example.com:444/example.Jobs/Create",
            Missing::Origin,
        ),
        (
            Method::POST,
            "https://example.com/example.Jobs/Create",
            Missing::Origin,
        ),
        (
            Method::POST,
            "https://a.api.example.com/example.Jobs/Create",
            Missing::Origin,
        ),
        (
            Method::POST,
            "https://api.example.com.evil.example/example.Jobs/Create",
            Missing::Origin,
        ),
        (
            Method::POST,
            "https://api.example.com/example.Secrets/Create",
            service("example.Secrets"),
        ),
        (
            Method::POST,
            "https://api.example.com/example.jobs/Create",
            service("example.jobs"),
        ),
        (
            Method::POST,
            "https://api.example.com/example.Jobs/Delete",
            Missing::Method("example.Jobs".parse().unwrap(), "Delete".parse().unwrap()),
        ),
        (
            Method::POST,
            "https://api.example.com/example.Jobs/create",
            Missing::Method("example.Jobs".parse().unwrap(), "create".parse().unwrap()),
        ),
        (
            Method::GET,
            "https://api.example.com/example.Jobs/Create",
            Missing::Path,
        ),
        (
            Method::PUT,
            "https://api.example.com/example.Jobs/Create",
            Missing::Path,
        ),
        (
            Method::POST,
            "https://api.example.com/example.Jobs/Create?x=1",
            Missing::Path,
        ),
        (
            Method::POST,
            "https://api.example.com/example.Jobs/Create/",
            Missing::Path,
        ),
        (
            Method::POST,
            "https://api.example.com/example.Jobs/%43reate",
            Missing::Path,
        ),
        (Method::POST, "https://api.example.com/", Missing::Path),
    ];
    for (method, uri, missing) in table {
        let refusal = ask(&policy, method, uri).unwrap_err();
        assert_eq!(*refusal.reason(), Reason::NotGranted(missing), "{uri}");
    }
}

#[test]
fn the_suggested_grant_covers_the_request() {
    let empty = Policy::new([]);
    for (method, uri) in [
        (Method::POST, "https://api.example.com/example.Jobs/Create"),
        (Method::GET, "https://api.example.com/a/b?c"),
        (Method::GET, "https://api.example.com/a%20b/c"),
        (Method::POST, "http://127.0.0.1:9000/example.Jobs/Create"),
        (Method::DELETE, "http://[::1]/"),
    ] {
        let refusal = ask(&empty, method.clone(), uri).unwrap_err();
        let Remedy::Grant(grant) = refusal.remedy() else {
            panic!("{refusal}");
        };
        ask(&Policy::new([(**grant).clone()]), method, uri).unwrap();
    }
}

#[test]
fn literal_addresses_need_a_private_grant() {
    let policy = policy();
    let permit = ask(
        &policy,
        Method::POST,
        "http://127.0.0.1:9000/example.Jobs/Any",
    )
    .unwrap();
    assert!(permit.private());
    permit.vet("127.0.0.1".parse().unwrap()).unwrap();

    let origin = "http://10.0.0.5".parse().unwrap();
    let public = Grant::grpc(origin, "example.Jobs".parse().unwrap(), Methods::all());
    let refusal = ask(
        &Policy::new([public]),
        Method::POST,
        "http://10.0.0.5/example.Jobs/Any",
    )
    .unwrap_err();
    assert!(matches!(refusal.reason(), Reason::Address(_)), "{refusal}");
    assert_eq!(*refusal.remedy(), Remedy::AllowPrivate);
}

#[test]
fn no_grant_reaches_the_metadata_service() {
    for uri in [
        "http://169.254.169.254/latest",
        "http://[fd00:ec2::254]/latest",
        "http://0.0.0.0/",
    ] {
        let origin: Uri = uri.parse().unwrap();
        let origin = format!("http://{}", origin.authority().unwrap())
            .parse()
            .unwrap();
        let grant = Grant::http(origin, Method::GET, "/".parse().unwrap())
            .unwrap()
            .with_private();
        let refusal = ask(&Policy::new([grant]), Method::GET, uri).unwrap_err();
        assert!(matches!(refusal.reason(), Reason::Address(_)), "{refusal}");
        assert_eq!(*refusal.remedy(), Remedy::Never);
    }
}

#[test]
fn a_name_for_this_machine_stays_on_it() {
    let origin = "http://localhost:9000".parse().unwrap();
    let grant = Grant::grpc(origin, "example.Jobs".parse().unwrap(), Methods::all()).with_private();
    let policy = Policy::new([grant]);
    let permit = ask(
        &policy,
        Method::POST,
        "http://localhost:9000/example.Jobs/Any",
    )
    .unwrap();
    permit.vet("127.0.0.1".parse().unwrap()).unwrap();
    permit.vet("::1".parse().unwrap()).unwrap();
    for other in ["8.8.8.8", "10.0.0.1"] {
        let refusal = permit.vet(other.parse().unwrap()).unwrap_err();
        assert_eq!(*refusal.reason(), Reason::NotLoopback, "{other}");
    }
}

#[test]
fn tunnels_and_reflections_are_refused() {
    for method in [Method::CONNECT, Method::TRACE] {
        let refusal = ask(&policy(), method.clone(), "https://api.example.com/").unwrap_err();
        assert_eq!(*refusal.reason(), Reason::Method);
        let origin = "https://api.example.com".parse().unwrap();
        assert!(Grant::http(origin, method, "/".parse().unwrap()).is_err());
    }
}

#[test]
fn headers_of_the_host_are_refused_in_any_case() {
    let policy = policy();
    for name in [
        "x-account-token",
        "X-Account-Token",
        "X-ACCOUNT-TOKEN",
        "host",
        "Host",
        "Connection",
        "keep-alive",
        "Proxy-Authorization",
        "proxy-anything",
        "Transfer-Encoding",
        "upgrade",
        "HTTP2-Settings",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "X-Forwarded-Host",
    ] {
        assert!(policy.is_forbidden_header(name), "{name}");
        let mut headers = HeaderMap::new();
        headers.insert(
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_static("x"),
        );
        let uri = "https://api.example.com/example.Jobs/Create";
        let refusal = ask_with(&policy, Method::POST, uri, &headers).unwrap_err();
        assert_eq!(*refusal.reason(), Reason::ForbiddenHeader, "{name}");
        // The same judgement serves for trailers.
        assert!(
            policy.forbidden_headers().check(&headers).is_err(),
            "{name}"
        );
    }
    for name in [
        "authorization",
        "content-type",
        "grpc-timeout",
        "te",
        "x-account-token2",
        "user-agent",
    ] {
        assert!(!policy.is_forbidden_header(name), "{name}");
    }
}

#[test]
fn te_says_trailers_and_nothing_else() {
    let ask_te = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("te", HeaderValue::from_static(value));
        }
        ask_with(
            &policy(),
            Method::POST,
            "https://api.example.com/example.Jobs/Create",
            &headers,
        )
    };
    ask_te(&["trailers"]).unwrap();
    for values in [&["gzip"][..], &["trailers", "gzip"], &["trailers, deflate"]] {
        let refusal = ask_te(values).unwrap_err();
        assert_eq!(*refusal.reason(), Reason::ForbiddenHeader, "{values:?}");
    }
}

#[test]
fn refusals_hide_user_names_and_queries() {
    let policy = policy();
    for uri in [
        "https://user:secret@api.example.com/example.Jobs/Create",
        "https://evil.example/a?token=secret",
    ] {
        let refusal = ask(&policy, Method::POST, uri).unwrap_err();
        assert!(!refusal.to_string().contains("secret"), "{refusal}");
    }
}

#[test]
fn refusals_say_what_why_and_what_next() {
    let policy = policy();
    let text = |method, uri| ask(&policy, method, uri).unwrap_err().to_string();
    assert_eq!(
        text(Method::POST, "https://evil.example/example.Jobs/Create"),
        "refused POST https://evil.example/example.Jobs/Create: \
         no grant names this scheme, host and port; \
         to allow it, add the grant: https://evil.example gRPC example.Jobs [Create]"
    );
    assert_eq!(
        text(Method::GET, "http://127.1/x"),
        "refused GET http://127.1/x: the host is a number but not an IPv4 address of four decimal \
         parts; write an IPv4 address as four decimal numbers, such as `192.0.2.7`"
    );
    assert_eq!(
        text(Method::GET, "http://192.168.0.1/x"),
        "refused GET http://192.168.0.1/x: no grant names this scheme, host and port; to allow it, \
         add the grant: http://192.168.0.1 HTTP GET /x, private addresses allowed"
    );
}

#[test]
fn names_are_looked_up_for_grants_only() {
    let policy = policy();
    policy.check_name("api.example.com").unwrap();
    policy.check_name("API.example.com.").unwrap();
    policy
        .vet_resolved("api.example.com", "8.8.8.8".parse().unwrap())
        .unwrap();
    for name in ["evil.example", "example.com", "data.api.example.com"] {
        let refusal = policy.check_name(name).unwrap_err();
        assert_eq!(
            *refusal.reason(),
            Reason::NotGranted(Missing::Origin),
            "{name}"
        );
    }
    let rebound = policy.vet_resolved("api.example.com", "127.0.0.1".parse().unwrap());
    assert!(matches!(rebound.unwrap_err().reason(), Reason::Address(_)));
    let numeric = policy.check_name("2130706433").unwrap_err();
    let fault = UriFault::Host(HostFault::NumericV4);
    assert_eq!(*numeric.reason(), Reason::Uri(fault));
    assert_eq!(
        "127.0.0.1".parse::<Host>().unwrap().to_string(),
        "127.0.0.1"
    );
}

#[test]
fn the_first_covering_grant_decides() {
    let origin = || "https://api.example.com".parse().unwrap();
    let service = || "example.Jobs".parse().unwrap();
    let plain = Grant::grpc(origin(), service(), Methods::all());
    let with = plain.clone().with_credential("account".parse().unwrap());
    let uri = "https://api.example.com/example.Jobs/Create";
    let first = |grants: [Grant; 2]| {
        let permit = ask(&Policy::new(grants), Method::POST, uri).unwrap();
        permit.credential().is_some()
    };
    assert!(first([with.clone(), plain.clone()]));
    assert!(!first([plain, with]));
}
