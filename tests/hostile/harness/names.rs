//! Names that lead where a test wants, and who asked for them.

use flavor_host::{Resolved, Resolver};
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;

/// A resolver that knows one name and remembers every question.
#[derive(Debug)]
pub(crate) struct Names {
    name: &'static str,
    addresses: Vec<IpAddr>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn new(name: &'static str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        Self {
            name,
            addresses: addresses.collect(),
            asked: Mutex::default(),
        }
    }

    /// The names that were looked up.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolver for Names {
    fn resolve<'r>(&'r self, name: &'r str) -> Resolved<'r> {
        self.asked.lock().unwrap().push(name.to_owned());
        let found = match name == self.name {
            true => Ok(self.addresses.clone()),
            false => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        Box::pin(std::future::ready(found))
    }
}
