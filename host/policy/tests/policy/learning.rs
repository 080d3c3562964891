//! Grants that responses open, and what they must not open.

use flavor_policy::{
    Access, Exchange, Grant, GrpcAccess, LearnError, LearnRule, Learnt, Methods, Permit, Policy,
    Refusal, RequestView, UriFault,
};
use http::{HeaderMap, Method, Uri};

use crate::messages::field;

const CREATE: &str = "/example.Jobs/Create";

/// Create answers with an id in field 1 and, in the message of field 5, the URL
/// of the job's worker in field 2.
fn teacher(origin: &str) -> Grant {
    let worker = GrpcAccess::new("example.Worker".parse().unwrap(), Methods::all())
        .with_lane("Follow".parse().unwrap(), "streams".parse().unwrap())
        .unwrap();
    let rule = LearnRule {
        method: "Create".parse().unwrap(),
        url: "5.2".parse().unwrap(),
        key: "response:1".parse().unwrap(),
        grpc: worker,
    };
    let jobs = GrpcAccess::new("example.Jobs".parse().unwrap(), Methods::all());
    Grant::new(origin.parse().unwrap(), Access::Grpc(jobs))
        .with_credential("account".parse().unwrap())
        .with_learn(rule)
        .unwrap()
}

fn answer(id: &str, url: &str) -> Vec<u8> {
    [field(1, id.as_bytes()), field(5, &field(2, url.as_bytes()))].concat()
}

fn ask(policy: &Policy, uri: &str) -> Result<Permit, Refusal> {
    let uri: Uri = uri.parse().unwrap();
    policy.decide(&RequestView {
        method: &Method::POST,
        uri: &uri,
        headers: &HeaderMap::new(),
    })
}

/// What the policy makes of one answer to `Create`.
fn learn(policy: &mut Policy, origin: &str, response: &[u8]) -> Option<Result<Learnt, LearnError>> {
    let permit = ask(policy, &format!("{origin}{CREATE}")).unwrap();
    assert!(permit.learns());
    let request = &[];
    let mut results = policy.learn(&permit, &Exchange { request, response });
    assert!(results.len() <= 1);
    results.pop()
}

fn learn_error(origin: &str, private: bool, url: &str) -> LearnError {
    let grant = teacher(origin);
    let grant = if private { grant.with_private() } else { grant };
    let mut policy = Policy::new([grant]);
    learn(&mut policy, origin, &answer("job-1", url))
        .unwrap()
        .unwrap_err()
}

#[test]
fn a_worker_is_reachable_until_its_key_is_forgotten() {
    let mut policy = Policy::new([teacher("https://api.example.com")]);
    let follow = "https://w7.example.net:8443/example.Worker/Follow";
    assert!(ask(&policy, follow).is_err());
    assert!(policy.check_name("w7.example.net").is_err());

    let response = answer("job-1", "https://W7.example.net:8443");
    let learnt = learn(&mut policy, "https://api.example.com", &response)
        .unwrap()
        .unwrap();
    assert_eq!(learnt.key, "job-1");
    assert_eq!(learnt.origin.to_string(), "https://w7.example.net:8443");
    assert_eq!(learnt.service.as_str(), "example.Worker");

    let permit = ask(&policy, follow).unwrap();
    assert_eq!(permit.credential(), None);
    assert_eq!(permit.lane().unwrap().as_str(), "streams");
    assert!(!permit.private());
    assert!(!permit.learns());
    policy.check_name("w7.example.net").unwrap();
    assert!(
        policy
            .vet_resolved("w7.example.net", "10.0.0.1".parse().unwrap())
            .is_err()
    );
    // One service on it, and nothing else.
    assert!(ask(&policy, "https://w7.example.net:8443/example.Jobs/Create").is_err());
    assert!(ask(&policy, "https://w7.example.net/example.Worker/Follow").is_err());

    assert_eq!(policy.forget("job-2"), 0);
    assert_eq!(policy.forget("job-1"), 1);
    assert!(ask(&policy, follow).is_err());
    assert!(policy.check_name("w7.example.net").is_err());
}

#[test]
fn a_worker_of_two_jobs_lives_as_long_as_the_longer() {
    let origin = "https://api.example.com";
    let mut policy = Policy::new([teacher(origin)]);
    for id in ["job-1", "job-2", "job-1"] {
        learn(&mut policy, origin, &answer(id, "https://w.example.net"))
            .unwrap()
            .unwrap();
    }
    assert_eq!(policy.learned_len(), 2);
    let call = "https://w.example.net/example.Worker/Follow";
    assert_eq!(policy.forget("job-1"), 1);
    ask(&policy, call).unwrap();
    assert_eq!(policy.forget("job-2"), 1);
    assert!(ask(&policy, call).is_err());
}

#[test]
fn an_answer_without_a_url_opens_nothing() {
    let origin = "https://api.example.com";
    let mut policy = Policy::new([teacher(origin)]);
    assert_eq!(learn(&mut policy, origin, &field(1, b"job-1")), None);
    assert_eq!(learn(&mut policy, origin, &answer("job-1", "")), None);
    assert_eq!(learn(&mut policy, origin, &[]), None);
    assert_eq!(policy.learned_len(), 0);
}

#[test]
fn the_key_may_stand_in_the_request() {
    let rule = LearnRule {
        method: "Access".parse().unwrap(),
        url: "2".parse().unwrap(),
        key: "request:1".parse().unwrap(),
        grpc: GrpcAccess::new("example.Worker".parse().unwrap(), Methods::all()),
    };
    let origin = "https://api.example.com".parse().unwrap();
    let grant = Grant::grpc(origin, "example.Jobs".parse().unwrap(), Methods::all());
    let mut policy = Policy::new([grant.with_learn(rule).unwrap()]);
    let permit = ask(&policy, "https://api.example.com/example.Jobs/Access").unwrap();
    let exchange = Exchange {
        request: &field(1, b"job-9"),
        response: &field(2, b"https://w.example.net"),
    };
    let learnt = policy.learn(&permit, &exchange).pop().unwrap().unwrap();
    assert_eq!(learnt.key, "job-9");
    // Other methods of the service teach nothing.
    assert!(
        !ask(&policy, "https://api.example.com/example.Jobs/Create")
            .unwrap()
            .learns()
    );
}

#[test]
fn a_url_without_a_usable_key_opens_nothing() {
    let origin = "https://api.example.com";
    let mut policy = Policy::new([teacher(origin)]);
    let url = field(5, &field(2, b"https://w.example.net"));
    for response in [url.clone(), [field(1, b""), url].concat()] {
        let error = learn(&mut policy, origin, &response).unwrap().unwrap_err();
        assert!(matches!(error, LearnError::NoKey(_)), "{error}");
    }
    assert_eq!(policy.learned_len(), 0);
}

#[test]
fn urls_that_are_no_plain_origin_are_refused() {
    for (url, fault) in [
        ("https://w.example.net/path", UriFault::NotAnOrigin),
        ("https://w.example.net?x", UriFault::NotAnOrigin),
        ("https://user@w.example.net", UriFault::UserInfo),
        ("w.example.net:443", UriFault::NotAbsolute),
        ("https://w example", UriFault::Malformed),
        ("unix://w.example.net", UriFault::Scheme),
    ] {
        match learn_error("https://api.example.com", false, url) {
            LearnError::Url { fault: found, .. } => assert_eq!(found, fault, "{url}"),
            other => panic!("{url}: {other}"),
        }
    }
}

#[test]
fn plain_text_is_learned_on_this_machine_only() {
    for (origin, url) in [
        ("https://api.example.com", "http://w.example.net"),
        ("https://api.example.com", "http://127.0.0.1:9001"),
        ("http://api.example.com", "http://api.example.com:81"),
        ("http://127.0.0.1:9000", "http://w.example.net"),
        ("https://127.0.0.1:9000", "http://127.0.0.1:9001"),
    ] {
        let error = learn_error(origin, true, url);
        assert!(
            matches!(error, LearnError::Plaintext(_)),
            "{origin} {url}: {error}"
        );
    }
    let origin = "http://127.0.0.1:9000";
    let mut policy = Policy::new([teacher(origin).with_private()]);
    for url in [
        "http://127.0.0.1:9001",
        "http://localhost:9002",
        "http://[::1]:9000",
    ] {
        learn(&mut policy, origin, &answer("job-1", url))
            .unwrap()
            .unwrap();
        let permit = ask(&policy, &format!("{url}/example.Worker/Follow")).unwrap();
        assert!(permit.private(), "{url}");
        permit.vet("127.0.0.1".parse().unwrap()).unwrap();
    }
    assert_eq!(policy.forget("job-1"), 3);
}

#[test]
fn a_worker_on_the_teachers_own_port_does_not_inherit_its_credential() {
    let origin = "http://127.0.0.1:9000";
    let mut policy = Policy::new([teacher(origin).with_private()]);
    learn(&mut policy, origin, &answer("job-1", origin))
        .unwrap()
        .unwrap();
    let worker = ask(&policy, &format!("{origin}/example.Worker/Follow")).unwrap();
    assert_eq!(worker.credential(), None);
    let control = ask(&policy, &format!("{origin}{CREATE}")).unwrap();
    assert!(control.credential().is_some());
}

#[test]
fn private_addresses_are_not_opened_by_an_answer() {
    for (origin, private, url) in [
        ("https://api.example.com", false, "https://10.0.0.1"),
        ("https://api.example.com", true, "https://10.0.0.1"),
        ("https://api.example.com", true, "https://127.0.0.1"),
        ("https://10.0.0.5", true, "https://10.0.0.6"),
        ("https://10.0.0.5", true, "https://169.254.169.254"),
    ] {
        let error = learn_error(origin, private, url);
        assert!(
            matches!(error, LearnError::Address { .. }),
            "{origin} {url}: {error}"
        );
    }
    // A name that later resolves to such an address is caught by vetting.
    let origin = "https://10.0.0.5";
    let mut policy = Policy::new([teacher(origin).with_private()]);
    for (url, private) in [
        ("https://10.0.0.5:8443", true),
        ("https://w.example.net", false),
    ] {
        learn(&mut policy, origin, &answer("job-1", url))
            .unwrap()
            .unwrap();
        let permit = ask(&policy, &format!("{url}/example.Worker/Follow")).unwrap();
        assert_eq!(permit.private(), private, "{url}");
    }
}

#[test]
fn learned_grants_are_bounded() {
    let origin = "https://api.example.com";
    let mut policy = Policy::new([teacher(origin)]).with_learned_limit(2);
    for id in ["job-1", "job-2"] {
        learn(&mut policy, origin, &answer(id, "https://w.example.net"))
            .unwrap()
            .unwrap();
    }
    let third = answer("job-3", "https://w.example.net");
    let error = learn(&mut policy, origin, &third).unwrap().unwrap_err();
    assert_eq!(error, LearnError::Full { limit: 2 });
    // What is known already needs no place.
    let again = answer("job-2", "https://w.example.net");
    learn(&mut policy, origin, &again).unwrap().unwrap();
    policy.forget("job-1");
    learn(&mut policy, origin, &third).unwrap().unwrap();
}

#[test]
fn messages_nobody_can_read_open_nothing() {
    let origin = "https://api.example.com";
    let mut policy = Policy::new([teacher(origin)]);
    for response in [&[0xff; 12][..], &[5 << 3, 1], &field(5, b"\xff")] {
        let error = learn(&mut policy, origin, response).unwrap().unwrap_err();
        assert!(matches!(error, LearnError::Unreadable { .. }), "{error}");
    }
}
