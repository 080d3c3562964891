//! A local Modal until Ctrl-C: `cargo run -p modal-local --example serve`.
#![allow(clippy::print_stdout, reason = "a program, not the library")]

use std::{error::Error, net::SocketAddr};

use modal_local::{Options, Server, State};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut options = Options::default();
    if let Some(listen) = arguments.next() {
        options.listen = listen.parse::<SocketAddr>()?;
    }
    if let Some(directory) = arguments.next() {
        options.state = State::Kept(directory.into());
    }
    let server = Server::start(options).await?;
    println!("export MODAL_SERVER_URL={}", server.url());
    println!("export MODAL_TOKEN_ID={}", server.credentials().token_id);
    println!(
        "export MODAL_TOKEN_SECRET={}",
        server.credentials().token_secret
    );
    tokio::signal::ctrl_c().await?;
    for (path, count) in server.unimplemented() {
        println!("unimplemented: {path} ({count})");
    }
    server.shutdown().await;
    Ok(())
}
