//! Services for what outlives the command that made it: steps and sandboxes.

use crate::args::{Machine, OnArg, RegistryArg};
use crate::exit::{Exit, Failure};
use crate::registry;
use crate::signals::Interrupts;
use crate::target::{self, On};
use flavor_host::{Connection, Error, StartError, contract};
use pipeline_file::object_from_reader;
use serde_json::{Map, Value};
use std::fs::File;

/// The way to the service, for one whose images come from a registry perhaps.
pub(crate) fn connection(
    on: &OnArg,
    registry: Option<&RegistryArg>,
) -> Result<Connection, Failure> {
    let target = match On::parse(&on.target)? {
        On::Local => return Err(no_server()),
        On::Modal => target::remote(None)?,
        On::Url(url) => target::remote(Some(&url))?,
    };
    let mut connection = Connection::new(target);
    if let Some(server) = registry.and_then(|registry| registry.server.as_ref()) {
        connection.registry = registry::login(server)?;
    }
    Ok(connection)
}

/// The local Modal of a single command ends with it, and so does all that is on it.
fn no_server() -> Failure {
    Failure::bad_input(
        "`--on local` is a server that ends with the command that started it, so it keeps no \
         sandbox for the next one: start one that stays with `flavor modal-local`, set the two \
         variables that it prints, and give its URL, such as `--on http://127.0.0.1:8765`; or \
         use `--on modal`",
    )
}

/// The settings document of a machine: what the file says, and the flags over it.
pub(crate) fn settings(machine: &Machine) -> Result<Map<String, Value>, Failure> {
    let mut settings = match &machine.settings {
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path)
                .map_err(|error| Failure::bad_input(format!("{name} cannot be read: {error}")))?;
            object_from_reader(&name, file).map_err(Failure::bad_input)?
        }
        None => Map::new(),
    };
    if let Some(gpu) = &machine.gpu {
        settings.insert("gpu".to_owned(), gpu.as_str().into());
    }
    if let Some(timeout) = machine.timeout {
        settings.insert("timeout".to_owned(), timeout.into());
    }
    Ok(settings)
}

/// Does something that an interrupt cuts off; `left` says what that may leave behind.
pub(crate) async fn interruptible<T>(
    work: impl Future<Output = Result<T, Failure>>,
    left: &str,
) -> Result<T, Failure> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        biased;
        () = interrupts.next() => Err(Failure::new(Exit::Stopped, format!("interrupted; {left}"))),
        result = work => result,
    }
}

/// Says which server it is that cannot be reached.
pub(crate) fn failure(error: StartError, url: &str) -> Failure {
    match &error {
        StartError::Run(Error::Plugin(contract::Error::Unreachable(fault))) => Failure::new(
            Exit::Service,
            format!(
                "{url} cannot be reached: {}; see whether it is up, and whether this machine has a \
                 way there",
                fault.reason
            ),
        ),
        _ => error.into(),
    }
}
