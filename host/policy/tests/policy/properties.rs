//! What holds for every input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flavor_policy::grpc::unary_message;
use flavor_policy::{
    Exchange, FieldPath, Grant, GrpcAccess, Host, LearnRule, Methods, Policy, Remedy, RequestView,
    Target, classify,
};
use http::{HeaderMap, Method, Uri};
use proptest::prelude::*;

/// URIs that come close to good ones: parts that parsers disagree about, put
/// together at random.
fn near_uri() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec!["https://", "http://", "HTTPS://", "ftp://", "//", ""]);
    let user = prop::sample::select(vec!["", "", "", "user@", "a:b@", "@"]);
    let host = prop_oneof![
        prop::sample::select(vec![
            "api.example.com",
            "API.Example.com.",
            "evil.example",
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[fe80::1%25lo]",
            "xn--a.b",
            "a..b",
            "%61",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9.x_-]{1,20}",
        any::<Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<Ipv6Addr>().prop_map(|address| format!("[{address}]")),
    ];
    let port = prop::sample::select(vec![
        "", "", ":443", ":80", ":0", ":", ":0443", ":70000", ":9000",
    ]);
    let segment = prop::sample::select(vec![
        "/",
        "example.Jobs",
        "Create",
        "..",
        ".",
        "%2e",
        "%2f",
        "%",
        ";",
        "a",
        "?q=1",
        "#",
        "\\",
        "é",
    ]);
    let path = prop::collection::vec(segment, 0..6).prop_map(|parts| parts.concat());
    (scheme, user, host, port, path)
        .prop_map(|(scheme, user, host, port, path)| format!("{scheme}{user}{host}{port}{path}"))
}

fn any_uri() -> impl Strategy<Value = Uri> {
    prop_oneof![near_uri(), ".{0,60}"].prop_filter_map("no URI", |text| text.parse().ok())
}

fn policy() -> Policy {
    let origin = "https://api.example.com".parse().unwrap();
    let methods = Methods::only(["Create".parse().unwrap()]).unwrap();
    let rule = LearnRule {
        method: "Create".parse().unwrap(),
        url: "5.2".parse().unwrap(),
        key: "response:1".parse().unwrap(),
        grpc: GrpcAccess::new("example.Worker".parse().unwrap(), Methods::all()),
    };
    let grant = Grant::grpc(origin, "example.Jobs".parse().unwrap(), methods);
    Policy::new([grant.with_learn(rule).unwrap()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn only_what_is_granted_passes(uri in any_uri(), post in any::<bool>()) {
        let method = if post { Method::POST } else { Method::GET };
        let headers = HeaderMap::new();
        let view = RequestView { method: &method, uri: &uri, headers: &headers };
        match policy().decide(&view) {
            Ok(permit) => {
                prop_assert!(post);
                prop_assert_eq!(permit.uri(), "https://api.example.com/example.Jobs/Create");
            }
            Err(refusal) => {
                prop_assert!(Policy::new([]).decide(&view).is_err());
                if let Remedy::Grant(grant) = refusal.remedy() {
                    let widened = Policy::new([(**grant).clone()]);
                    prop_assert!(widened.decide(&view).is_ok(), "{}", refusal);
                }
            }
        }
    }

    #[test]
    fn normal_form_is_its_own_normal_form(uri in any_uri()) {
        if let Ok(target) = Target::parse(&uri) {
            let again = Target::parse(target.uri());
            prop_assert_eq!(again.as_ref(), Ok(&target));
            // And a text that parses back, in any other parser's eyes too.
            let text: Uri = target.uri().to_string().parse().unwrap();
            prop_assert_eq!(Target::parse(&text), Ok(target));
        }
    }

    #[test]
    fn hosts_are_total_and_stable(text in prop_oneof![".{0,40}", "[0-9a-fx.:%\\[\\]-]{0,20}"]) {
        if let Ok(host) = text.parse::<Host>() {
            prop_assert_eq!(host.to_string().parse::<Host>(), Ok(host));
        }
    }

    #[test]
    fn every_address_is_judged_like_its_mapped_form(address in any::<Ipv4Addr>()) {
        let mapped = IpAddr::V6(address.to_ipv6_mapped());
        prop_assert_eq!(classify(mapped), classify(IpAddr::V4(address)));
        // No other way to write an IPv4 address inside IPv6 is more permissive.
        let nat64 = Ipv6Addr::from(0x64_ff9b << 96 | u128::from(address.to_bits()));
        prop_assert_eq!(classify(nat64.into()).is_none(), classify(address.into()).is_none());
        let compatible = Ipv6Addr::from(u128::from(address.to_bits()));
        prop_assert!(classify(compatible.into()).is_some());
    }

    #[test]
    fn the_walker_answers_every_message(
        message in prop::collection::vec(any::<u8>(), 0..200),
        path in prop::collection::vec(1_u32..6, 1..8),
    ) {
        let path = path.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        let path: FieldPath = path.parse().unwrap();
        if let Ok(Some(text)) = path.last_text(&message) {
            let bytes = text.as_bytes();
            prop_assert!(bytes.is_empty() || message.windows(bytes.len()).any(|part| part == bytes));
        }
        let _ = unary_message(&message, 100);
    }

    #[test]
    fn nothing_is_learned_that_was_not_said(
        request in prop::collection::vec(any::<u8>(), 0..60),
        response in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut policy = policy();
        let uri = Uri::from_static("https://api.example.com/example.Jobs/Create");
        let headers = HeaderMap::new();
        let view = RequestView { method: &Method::POST, uri: &uri, headers: &headers };
        let permit = policy.decide(&view).unwrap();
        let exchange = Exchange { request: &request, response: &response };
        let learned = policy.learn(&permit, &exchange).into_iter().filter(Result::is_ok).count();
        prop_assert_eq!(policy.learned_len(), learned);
    }
}
