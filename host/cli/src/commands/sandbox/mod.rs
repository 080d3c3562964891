//! `flavor sandbox`

mod attach;
mod cp;
mod create;
mod destroy;
mod exec;
mod list;
mod restore;
mod snapshot;

use crate::args::{App, Known, NewSandbox, Pair, SandboxCommand, environment};
use crate::exit::{Exit, Failure};
use crate::{plugin, remote, terminal};
use flavor_host::contract::SessionOptions;
use flavor_host::session::Session;
use flavor_host::{Connection, Plugin, StartError};
use serde_json::{Value, json};
use std::ffi::OsString;

pub(crate) async fn dispatch(command: SandboxCommand) -> Result<Exit, Failure> {
    match command {
        SandboxCommand::Create(args) => create::create(args).await,
        SandboxCommand::Exec(args) => exec::exec(args).await,
        SandboxCommand::Cp(args) => cp::cp(args).await,
        SandboxCommand::Snapshot(args) => snapshot::snapshot(args).await,
        SandboxCommand::Restore(args) => restore::restore(args).await,
        SandboxCommand::Attach(args) => attach::attach(args).await,
        SandboxCommand::List(args) => list::list(args).await,
        SandboxCommand::Destroy(args) => destroy::destroy(args).await,
    }
}

/// Whether a command line that makes no sense was to run a command in a sandbox. Its
/// own failures have a code of their own.
pub(crate) fn is_exec(arguments: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = arguments.skip(1).take(2).collect();
    words == ["sandbox", "exec"]
}

/// How ids begin; whatever else is asked for is a name.
const ID: &str = "sb-";

/// What may be left after an interrupt while a sandbox is being created.
const PERHAPS: &str = "a sandbox may have been created: see `flavor sandbox list`";

/// The way to sandboxes of an app.
fn connection(known: &Known) -> Result<Connection, Failure> {
    Ok(of_app(remote::connection(&known.on, None)?, &known.app))
}

fn of_app(mut connection: Connection, app: &App) -> Connection {
    if let Some(app) = &app.app {
        connection.config = json!({ "app_name": app });
    }
    connection
}

/// Opens a session with a sandbox that runs.
async fn open(known: &Known, sandbox: &str) -> Result<Session, Failure> {
    let connection = connection(known)?;
    let url = connection.target.url();
    let plugin = plugin::load().await?;
    let session = attached(&plugin, connection, sandbox).await;
    session.map_err(|error| remote::failure(error, &url))
}

/// The same, by id or by name.
async fn attached(
    plugin: &Plugin,
    connection: Connection,
    sandbox: &str,
) -> Result<Session, StartError> {
    match sandbox.starts_with(ID) {
        true => plugin.attach_session(connection, sandbox).await,
        false => plugin.attach_named_session(connection, sandbox).await,
    }
}

/// What a new sandbox is to be, and the way to it.
fn new_sandbox(
    new: &NewSandbox,
    image: Option<String>,
) -> Result<(Connection, SessionOptions), Failure> {
    let connection = remote::connection(&new.on, Some(&new.registry))?;
    let mut settings = remote::settings(&new.machine)?;
    if let Some(cpu) = new.cpu {
        settings.insert("cpu".to_owned(), cpu.into());
    }
    if let Some(memory) = &new.machine.memory {
        settings.insert("memory".to_owned(), memory.as_str().into());
    }
    let options = SessionOptions {
        settings: Value::Object(settings).to_string(),
        image,
        environment: environment(&new.env),
        tags: new.tag.iter().cloned().map(Pair::into_tag).collect(),
        name: new.name.clone(),
        destroy_on_exit: false,
    };
    Ok((of_app(connection, &new.app), options))
}

/// Says which sandbox it is that now exists.
fn tell(session: &Session, json: bool) -> Result<(), Failure> {
    if !json {
        terminal::say(&terminal::escape(session.id()));
        return Ok(());
    }
    let object = json!({
        "sandbox": session.id(),
        "dashboard_url": session.dashboard_url(),
        "metadata": metadata(session)?,
    });
    terminal::say(&object.to_string());
    Ok(())
}

/// What the plugin knows of a session.
fn metadata(session: &Session) -> Result<Value, Failure> {
    serde_json::from_str(session.metadata()).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the plugin's metadata are no JSON: {error}"),
        )
    })
}
