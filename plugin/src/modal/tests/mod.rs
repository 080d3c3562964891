//! The client against a scripted server: what it sends, when it asks again, and
//! what it makes of the answers. Facts are those of the Python SDK 1.6.4.

mod auth;
mod calls;
mod images;
mod listing;
mod outputs;
mod recovery;
mod router;
mod sandboxes;

use super::{Client, ClientOptions};
use crate::modal::channel::Endpoint;
use crate::testing::{Fake, Reply, Sent};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use modal_proto::client::AuthTokenGetResponse;

fn client(fake: &Fake) -> Client<Fake> {
    client_with(fake, ClientOptions::default())
}

fn client_with(fake: &Fake, options: ClientOptions) -> Client<Fake> {
    let endpoint = Endpoint::parse("https://api.example.com").unwrap();
    Client::new(fake.clone(), endpoint, options)
}

/// A token that ends at a time, in seconds since 1970.
fn jwt(expires_at: u64) -> String {
    format!(
        "e30.{}.sig",
        URL_SAFE_NO_PAD.encode(format!(r#"{{"exp": {expires_at}}}"#))
    )
}

/// Answers the question for a token, and leaves the rest to the script.
fn with_auth(mut script: impl FnMut(&Sent) -> Reply + 'static) -> Fake {
    Fake::new(move |sent| match sent.method.as_str() {
        "AuthTokenGet" => Reply::ok(&AuthTokenGetResponse {
            token: jwt(1_000_000),
        }),
        _ => script(sent),
    })
}
