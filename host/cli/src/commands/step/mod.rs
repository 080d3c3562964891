//! `flavor step`

mod cancel;
mod status;
mod submit;
mod wait;

use crate::args::{StepCommand, Submitted};
use crate::exit::{Exit, Failure};
use crate::terminal;
use flavor_host::contract::StepStatus;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Read};

pub(crate) async fn dispatch(command: StepCommand) -> Result<Exit, Failure> {
    match command {
        StepCommand::Submit(args) => submit::submit(*args).await,
        StepCommand::Status(args) => status::status(args).await,
        StepCommand::Wait(args) => wait::wait(args).await,
        StepCommand::Cancel(args) => cancel::cancel(args).await,
    }
}

/// Under which key the plugin notes the sandbox of a step.
const SANDBOX: &str = "sandbox_id";

/// How ids of sandboxes begin.
const ID: &str = "sb-";

/// Most bytes of what finds a step again; the plugin writes some hundred.
const METADATA: u64 = 1024 * 1024;

/// What finds a step again, as JSON text.
fn metadata(step: &Submitted) -> Result<String, Failure> {
    let name = step.metadata.as_str();
    if name.starts_with(ID) {
        return Ok(json!({ SANDBOX: name }).to_string());
    }
    let (name, text) = match name {
        "-" => ("standard input", read(io::stdin())),
        path => (path, File::open(path).and_then(read)),
    };
    let text = text.map_err(|error| {
        Failure::bad_input(format!(
            "{name} cannot be read: {error}; give a file with what `flavor step submit` printed, \
             `-`, or the id of the step's sandbox"
        ))
    })?;
    let object: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
        Failure::bad_input(format!(
            "{name}: this is not what `flavor step submit` printed: {error}"
        ))
    })?;
    Ok(Value::Object(object).to_string())
}

fn read(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(METADATA + 1).read_to_string(&mut text)?;
    match u64::try_from(text.len()) {
        Ok(length) if length <= METADATA => Ok(text),
        _ => Err(io::Error::other(format!(
            "it has more than {METADATA} bytes"
        ))),
    }
}

/// Says how a step stands.
fn tell(status: StepStatus, json: bool) {
    terminal::say(&match json {
        true => json!({ "status": status.word() }).to_string(),
        false => status.word().to_owned(),
    });
}
