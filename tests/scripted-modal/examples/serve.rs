//! The scripted server by itself, for measuring a client from outside:
//! `cargo run --release -p scripted-modal --example serve -- [DELAY_MS CREATE_MS]`.
//! Prints its URL; a line on standard input makes it print what it counted.

use scripted_modal::{Script, Server};
use std::io::{BufRead as _, Write as _};
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let mut milliseconds = std::env::args()
        .skip(1)
        .map(|text| text.parse().map_or(Duration::ZERO, Duration::from_millis));
    let server = Server::start(Script {
        delay: milliseconds.next().unwrap_or_default(),
        create_delay: milliseconds.next().unwrap_or_default(),
        ..Script::default()
    })?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", server.url())?;
    for line in std::io::stdin().lock().lines() {
        line?;
        writeln!(
            out,
            "{:?}, {} created, {} running, {:?} of CPU",
            server.counts(),
            server.created(),
            server.running(),
            server.cpu()?
        )?;
    }
    Ok(())
}
