//! Grants and limits as they are stored.

use flavor_policy::{Grant, Limits};

#[derive(Debug, serde::Serialize, serde::Deserialize, PartialEq)]
struct File {
    grant: Vec<Grant>,
}

const FULL: &str = r#"
[[grant]]
scheme = "https"
host = "API.example.com."
port = 8443
credential = "account"
private = true

[grant.grpc]
service = "example.v1.Jobs"
methods = ["Wait", "Create"]
lanes = { Wait = "waits" }

[[grant.learn]]
method = "Create"
url = "5.2"
key = "response:1"
grpc = { service = "example.v1.Worker", methods = "*", lanes = { Follow = "streams" } }

[[grant]]
scheme = "http"
host = "[::1]"
http = { method = "GET", path = "/api/v1/", lane = "reads" }
"#;

#[test]
fn grants_come_back_as_they_were_stored() {
    let file: File = toml::from_str(FULL).unwrap();
    let texts: Vec<String> = file.grant.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "https://api.example.com:8443 gRPC example.v1.Jobs [Create, Wait], with the credential \
             account, private addresses allowed, Create opens gRPC example.v1.Worker [all methods]",
            "http://[::1] HTTP GET /api/v1",
        ]
    );
    let again: File = toml::from_str(&toml::to_string(&file).unwrap()).unwrap();
    assert_eq!(again, file);
    let json = serde_json::to_string(&file).unwrap();
    assert_eq!(serde_json::from_str::<File>(&json).unwrap(), file);
}

#[test]
fn the_documented_grants_are_grants() {
    let source = include_str!("../../src/grant.rs");
    let blocks: Vec<String> = source
        .split("//! ```toml\n")
        .skip(1)
        .map(|block| block.split("//! ```\n").next().unwrap().replace("//!", ""))
        .collect();
    let [grpc, http] = blocks.as_slice() else {
        panic!("{blocks:?}");
    };
    let grant: Grant = toml::from_str(grpc).unwrap();
    assert_eq!(grant.learn().len(), 1);
    let origin = "scheme = 'https'\nhost = 'a.example'\n";
    toml::from_str::<Grant>(&format!("{origin}{http}")).unwrap();
}

#[test]
fn a_minimal_grant_stays_minimal() {
    let json = r#"{"scheme":"https","host":"a.example","grpc":{"service":"S","methods":"*"}}"#;
    let grant: Grant = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&grant).unwrap(), json);
}

#[test]
fn what_a_document_must_not_say_is_refused() {
    let table = [
        // Unknown keys, at every level.
        (r#""methods":"*""#, "unknown field `methods`"),
        (
            r#""grpc":{"service":"S","method":"M"}"#,
            "unknown field `method`",
        ),
        (
            r#""http":{"method":"GET","path":"/","x":1}"#,
            "unknown field `x`",
        ),
        (
            r#""grpc":{"service":"S","methods":"*"},"learn":[{"method":"M","url":"1","key":"request:1","x":1,"grpc":{"service":"W","methods":"*"}}]"#,
            "unknown field `x`",
        ),
        // One access, and not an empty one.
        (r#""private":true"#, "either `grpc` or `http`"),
        (
            r#""grpc":{"service":"S","methods":"*"},"http":{"method":"GET","path":"/"}"#,
            "either `grpc` or `http`",
        ),
        (r#""grpc":{"service":"S"}"#, "missing field `methods`"),
        (
            r#""grpc":{"service":"S","methods":[]}"#,
            "without methods allows nothing",
        ),
        (
            r#""grpc":{"service":"S","methods":"Create"}"#,
            r#"a list of methods, or "*" for all"#,
        ),
        (
            r#""grpc":{"service":"S","methods":["*"]}"#,
            "`*` is not a gRPC method",
        ),
        (
            r#""grpc":{"service":"S/M","methods":"*"}"#,
            "`S/M` is not a gRPC service",
        ),
        // What is said about a method that is not granted.
        (
            r#""grpc":{"service":"S","methods":["A"],"lanes":{"B":"x"}}"#,
            "does not include `B` of `S`",
        ),
        (
            r#""grpc":{"service":"S","methods":["A"]},"learn":[{"method":"B","url":"1","key":"request:1","grpc":{"service":"W","methods":"*"}}]"#,
            "does not include `B` of `S`",
        ),
        (
            r#""http":{"method":"GET","path":"/"},"learn":[{"method":"B","url":"1","key":"request:1","grpc":{"service":"W","methods":"*"}}]"#,
            "need `grpc`",
        ),
        // Texts.
        (
            r#""http":{"method":"get","path":"/"}"#,
            "`get` is not an HTTP method",
        ),
        (
            r#""http":{"method":"CONNECT","path":"/"}"#,
            "`CONNECT` is not an HTTP method",
        ),
        (
            r#""http":{"method":"GET","path":"/a/../b"}"#,
            "is not a path prefix",
        ),
        (
            r#""credential":"a b","grpc":{"service":"S","methods":"*"}"#,
            "`a b` is not a label",
        ),
        (
            r#""port":0,"grpc":{"service":"S","methods":"*"}"#,
            "nonzero u16",
        ),
        (
            r#""grpc":{"service":"S","methods":"*"},"learn":[{"method":"B","url":"x","key":"request:1","grpc":{"service":"W","methods":"*"}}]"#,
            "`x` is not a field path",
        ),
        (
            r#""grpc":{"service":"S","methods":"*"},"learn":[{"method":"B","url":"1","key":"header:1","grpc":{"service":"W","methods":"*"}}]"#,
            "`header:1` is not a key source",
        ),
    ];
    for (rest, part) in table {
        let json = format!(r#"{{"scheme":"https","host":"a.example",{rest}}}"#);
        let error = serde_json::from_str::<Grant>(&json)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{json}: {error}");
    }
    for host in [
        "127.1",
        "a..b",
        "xn--a.example",
        "a.example:80",
        "user@a.example",
        "[::ffff:1.2.3.4]",
        "::1",
    ] {
        let json = format!(
            r#"{{"scheme":"https","host":"{host}","grpc":{{"service":"S","methods":"*"}}}}"#
        );
        assert!(serde_json::from_str::<Grant>(&json).is_err(), "{host}");
    }
}

#[test]
fn a_credential_in_plain_text_is_told() {
    let exposes = |origin: &str| {
        let origin = origin.parse().unwrap();
        Grant::grpc(origin, "S".parse().unwrap(), flavor_policy::Methods::all())
            .with_credential("account".parse().unwrap())
            .exposes_credential()
    };
    assert!(exposes("http://10.0.0.5"));
    assert!(!exposes("http://127.0.0.1:9000"));
    assert!(!exposes("https://10.0.0.5"));
}

#[test]
fn limits_fill_in_their_defaults() {
    let limits: Limits = toml::from_str("egress_bytes = 5").unwrap();
    assert_eq!(limits.egress_bytes, 5);
    assert_eq!(
        limits.requests_in_flight,
        Limits::default().requests_in_flight
    );
    assert!(toml::from_str::<Limits>("egress = 5").is_err());
}
