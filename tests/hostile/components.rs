//! Components that are none, or want what no plugin gets.

use crate::harness::{host, limits};
use flavor_host::{Host, LoadError};
use hostile_component::HOSTILE;

async fn load(component: &[u8]) -> LoadError {
    match Host::new().unwrap().load(component).await {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    let half = &HOSTILE[..HOSTILE.len() / 2];
    let mut spoiled = HOSTILE.to_vec();
    spoiled[100..200].fill(0xff);
    let core_module = wat::parse_str("(module (func (export \"run\")))").unwrap();
    for bytes in [&b""[..], b"#!/bin/sh", half, &spoiled, &core_module] {
        let error = load(bytes).await;
        assert!(matches!(error, LoadError::Invalid(_)), "{error}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_compiled() {
    let size = HOSTILE.len();
    let host = host(limits(|limits| limits.component_bytes = size - 1));
    match host.build().unwrap().load(HOSTILE).await {
        Err(LoadError::TooLarge { size: is, limit }) => assert_eq!((is, limit), (size, size - 1)),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn imports_that_no_plugin_gets_are_named() {
    for import in [
        "wasi:filesystem/types@0.2.6",
        "wasi:filesystem/preopens@0.2.6",
        "wasi:filesystem/types@0.3.0",
        "wasi:sockets/tcp@0.2.6",
        "wasi:sockets/types@0.3.0",
        "wasi:sockets/ip-name-lookup@0.3.0",
        "wasi:http/outgoing-handler@0.2.6",
        "wasi:http/handler@0.3.0",
        "wasi:cli/environment@0.3.0",
        "wasi:cli/stdout@0.3.0",
        "zenml:flavor/secrets@0.1.0",
        "zenml:flavor/run-store@0.2.0",
        "modal:api/client",
    ] {
        let text = format!("(component (import \"{import}\" (instance (export \"f\" (func)))))");
        let error = load(&wat::parse_str(text).unwrap()).await;
        assert!(
            matches!(&error, LoadError::WrongWorld(what) if what.contains(import)),
            "{import}: {error}"
        );
    }
}

#[tokio::test]
async fn a_component_without_the_exports_is_no_plugin() {
    let error = load(&wat::parse_str("(component)").unwrap()).await;
    assert!(
        matches!(&error, LoadError::WrongWorld(what) if what.contains("zenml:flavor/")),
        "{error}"
    );
}
