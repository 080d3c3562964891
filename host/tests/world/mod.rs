//! A local Modal, and the plugin that comes with the project.

use flavor_host::credentials::{Secret, modal::TokenPair};
use flavor_host::{Connection, Host, Plugin, Target};

pub(crate) struct World {
    pub(crate) plugin: Plugin,
    server: modal_local::Server,
}

impl World {
    pub(crate) async fn new() -> Self {
        let server = modal_local::Server::start(modal_local::Options::default());
        let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/default-compiled");
        let host = Host::builder().cache(cache).build().unwrap();
        Self {
            plugin: host.load(default_plugin::COMPONENT).await.unwrap(),
            server: server.await.unwrap(),
        }
    }

    pub(crate) fn connection(&self) -> Connection {
        let account = self.server.credentials();
        let pair = TokenPair::new(&account.token_id, Secret::new(&account.token_secret));
        Connection::new(Target::new(&self.server.url(), pair.unwrap()).unwrap())
    }
}
