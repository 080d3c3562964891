//! Sessions through the plugin, over sockets: commands, files and snapshots, while
//! connections break, tokens end and routers move.

mod equality;
mod files;
mod input;
mod life;
mod output;
mod router;
mod steps;

use crate::Test;
use crate::flavor::{plugin, target};
use crate::foreign::Foreign;
use flavor_host::contract::{self, SessionOptions};
use flavor_host::session::{Bytestream, Process, Session, command, options};
use flavor_host::{Connection, Error, StartError};
use serde_json::{Map, Value, json};

pub(crate) fn tests() -> Vec<Test> {
    [
        output::TESTS,
        input::TESTS,
        files::TESTS,
        router::TESTS,
        life::TESTS,
        steps::TESTS,
        equality::TESTS,
    ]
    .concat()
}

/// A server whose sandboxes run until somebody ends them.
fn server() -> Foreign {
    let server = Foreign::start();
    server.script("*", json!({"duration": 3600.0}));
    server
}

fn connection(server: &Foreign) -> Connection {
    Connection::new(target(server))
}

/// The same with options of the plugin's client.
fn connection_with(server: &Foreign, options: Map<String, Value>) -> Connection {
    Connection {
        service_options: options,
        ..connection(server)
    }
}

fn image() -> SessionOptions {
    options("python:3.11-slim")
}

async fn create(server: &Foreign) -> Session {
    let created = plugin().create_session(connection(server), image());
    created.await.expect("a session")
}

/// Runs a line of shell.
async fn shell(session: &Session, line: &str) -> Process {
    let started = session.exec(command(["sh", "-c", line]));
    started.await.expect("the command starts")
}

/// All of an output.
async fn all(stream: &mut Bytestream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece.expect("the output goes on"));
    }
    all
}

/// An output until it holds a text.
async fn until(stream: &mut Bytestream, text: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let piece = stream.next().await.expect("there is more");
        read.extend_from_slice(&piece.expect("the output goes on"));
    }
    String::from_utf8(read).expect("text")
}

/// Bytes that tell where they belong: no two blocks of eight are the same.
fn numbered(length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0_u64..)
        .take(length / 8 + 1)
        .flat_map(u64::to_le_bytes)
        .collect();
    bytes.truncate(length);
    bytes
}

/// Compares without showing megabytes.
fn assert_same(one: &[u8], other: &[u8]) {
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    assert_eq!((one.len(), differs), (other.len(), None));
}

/// The contract's error in an error of the host.
fn plugins(error: Error) -> contract::Error {
    match error {
        Error::Plugin(error) => error,
        other => panic!("not the plugin's: {other}"),
    }
}

/// The same for what was not even opened.
fn not_opened(error: StartError) -> contract::Error {
    match error {
        StartError::Run(error) => plugins(error),
        other => panic!("not the plugin's: {other}"),
    }
}
