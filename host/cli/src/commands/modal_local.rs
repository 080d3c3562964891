//! `flavor modal-local`

use crate::args::ModalLocalArgs;
use crate::exit::{Exit, Failure};
use crate::signals::Interrupts;
use crate::terminal;
use modal_local::{Credentials, Limits, Options, Server, State};

pub(crate) async fn serve(args: ModalLocalArgs) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let credentials = credentials()?;
    let made_up = credentials.is_none();
    let options = Options {
        listen: args.listen,
        allow_remote: args.allow_remote,
        credentials,
        state: args.state.clone().map_or(State::Temporary, State::Kept),
        limits: limits(&args),
        ..Options::default()
    };
    let server = Server::start(options).await.map_err(failure)?;
    if made_up {
        let credentials = server.credentials();
        terminal::complain(&format!("export MODAL_TOKEN_ID={}", credentials.token_id));
        terminal::complain(&format!(
            "export MODAL_TOKEN_SECRET={}",
            credentials.token_secret
        ));
    }
    terminal::say(&format!("listening on {}", server.url()));
    interrupts.next().await;
    for (call, count) in server.unimplemented() {
        terminal::complain(&format!("not implemented: {call} ({count} times)"));
    }
    server.shutdown().await;
    Ok(Exit::Done)
}

fn limits(args: &ModalLocalArgs) -> Limits {
    let mut limits = Limits::default();
    if let Some(sandboxes) = args.max_sandboxes {
        limits.running_sandboxes = usize::try_from(sandboxes).unwrap_or(usize::MAX);
    }
    if let Some(mebibytes) = args.max_disk {
        limits.disk = u64::from(mebibytes) * 1024 * 1024;
    }
    limits
}

/// The pair that clients must present, when the environment names one.
fn credentials() -> Result<Option<Credentials>, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    match (variable("MODAL_TOKEN_ID"), variable("MODAL_TOKEN_SECRET")) {
        (Some(token_id), Some(token_secret)) => Ok(Some(Credentials {
            token_id,
            token_secret,
        })),
        (None, None) => Ok(None),
        _ => Err(Failure::bad_input(
            "one of MODAL_TOKEN_ID and MODAL_TOKEN_SECRET is set, the other is not: set both, or \
             neither",
        )),
    }
}

fn failure(error: modal_local::Error) -> Failure {
    match error {
        modal_local::Error::RemoteAddress(address) => Failure::bad_input(format!(
            "{address} is not a loopback address: whoever reaches the server and knows its token \
             runs commands as you; add --allow-remote if that is meant"
        )),
        error => Failure::new(Exit::Failed, error),
    }
}
