//! Sizes and budgets.

use flavor_policy::{Limits, Meter, Reason};
use http::{HeaderMap, HeaderName, HeaderValue};

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.egress_bytes = 100;
    limits.request_header_bytes = 70;
    limits
}

#[test]
fn a_budget_is_spent_once() {
    let egress = limits().egress();
    egress.try_charge(0).unwrap();
    egress.try_charge(60).unwrap();
    let refusal = egress.try_charge(41).unwrap_err();
    let spent = Reason::Spent {
        meter: Meter::Egress,
        left: 40,
        limit: 100,
    };
    assert_eq!(*refusal.reason(), spent);
    assert_eq!(
        refusal.to_string(),
        "refused 41 bytes: the budget of all that this guest sends has 40 of 100 bytes left; \
         to allow it, raise the limit `egress_bytes`"
    );
    assert!(egress.try_charge(u64::MAX).is_err());
    egress.try_charge(40).unwrap();
    assert_eq!(egress.left(), 0);
    assert!(egress.try_charge(1).is_err());
    egress.try_charge(0).unwrap();
}

#[test]
fn a_shared_budget_never_gives_more_than_it_has() {
    let mut limits = Limits::default();
    limits.request_body_bytes = 1_000;
    let budget = limits.request_body();
    let granted: u64 = std::thread::scope(|scope| {
        let spenders: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| (0..500).filter(|_| budget.try_charge(1).is_ok()).count() as u64)
            })
            .collect();
        spenders
            .into_iter()
            .map(|spender| spender.join().unwrap())
            .sum()
    });
    assert_eq!(granted, 1_000);
}

#[test]
fn headers_are_counted_as_http2_does() {
    let mut headers = HeaderMap::new();
    headers.append(HeaderName::from_static("a"), HeaderValue::from_static("12"));
    assert_eq!(limits().check_headers(&headers).unwrap(), 35);
    headers.append(HeaderName::from_static("a"), HeaderValue::from_static("12"));
    assert_eq!(limits().check_headers(&headers).unwrap(), 70);
    headers.insert(HeaderName::from_static("b"), HeaderValue::from_static(""));
    let refusal = limits().check_headers(&headers).unwrap_err();
    let reason = Reason::HeaderBytes {
        size: 103,
        limit: 70,
    };
    assert_eq!(*refusal.reason(), reason);
}

#[test]
fn every_meter_names_the_key_of_its_limit() {
    let json = serde_json::to_value(Limits::default()).unwrap();
    for meter in [Meter::RequestBody, Meter::ResponseBody, Meter::Egress] {
        assert!(json.get(meter.limit_key()).is_some(), "{meter}");
    }
}
