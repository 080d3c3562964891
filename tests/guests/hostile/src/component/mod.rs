//! The exports, and the attacks by name.

mod computing;
mod crashing;
mod logging;
mod looking;
mod memory;
mod mode;
mod network;
mod records;
mod session;
mod telling;
mod unused;

/// Bindings to the world, generated from `wit/`.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::mem_forget,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unused_qualifications,
    reason = "generated code"
)]
pub(crate) mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "flavor",
    });
}

/// What the exports are hung on.
struct Hostile;

/// The exported functions, generated.
#[allow(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Hostile, bindings};

    bindings::export!(Hostile with_types_in bindings);
}

use bindings::exports::zenml::flavor::orchestrator::{Context, Event, Pipeline, Step};
use bindings::wit_stream;
use bindings::zenml::flavor::types::{Error, FieldError};
use telling::Teller;
use wit_bindgen::StreamReader;

/// Pipelines of this name have their attacks made before the run is accepted.
const BEFORE: &str = "before";

/// What came of an attack.
enum Outcome {
    /// This; go on with the next one.
    Told(String),
    /// Nothing more is to be said, not even that the run has ended.
    Silence,
}

impl From<String> for Outcome {
    fn from(text: String) -> Self {
        Self::Told(text)
    }
}

async fn check(context: Context, pipeline: Pipeline) -> Result<Vec<String>, Error> {
    let mut outcomes = Vec::new();
    for step in &pipeline.steps {
        match attack(&context, step, None).await? {
            Outcome::Told(outcome) => outcomes.push(outcome),
            Outcome::Silence => break,
        }
    }
    Ok(outcomes)
}

async fn run(context: Context, pipeline: Pipeline) -> Result<StreamReader<Event>, Error> {
    let (writer, reader) = wit_stream::new();
    let mut teller = Teller::new(writer, &pipeline);
    if pipeline.name == BEFORE {
        let outcomes = check(context, pipeline).await?;
        wit_bindgen::spawn_local(async move {
            for outcome in outcomes {
                teller.warn(None, outcome).await;
            }
            teller.complete().await;
        });
        return Ok(reader);
    }
    wit_bindgen::spawn_local(async move {
        for step in &pipeline.steps {
            match attack(&context, step, Some(&mut teller)).await {
                Ok(Outcome::Told(outcome)) => teller.warn(Some(&step.name), outcome).await,
                Ok(Outcome::Silence) => return,
                Err(error) => return teller.fail(error).await,
            }
        }
        teller.complete().await;
    });
    Ok(reader)
}

async fn attack(
    context: &Context,
    step: &Step,
    teller: Option<&mut Teller>,
) -> Result<Outcome, Error> {
    let mut words = step.command.iter().map(String::as_str);
    let name = words.next().unwrap_or_default();
    let arguments: Vec<&str> = words.collect();
    if let Some(teller) = teller
        && let Some(outcome) = telling::attack(teller, name, &arguments).await?
    {
        return Ok(outcome);
    }
    if let Some(outcome) = computing::attack(name).await {
        return Ok(outcome.into());
    }
    if let Some(outcome) = crashing::attack(name).await {
        return Ok(outcome);
    }
    if let Some(outcome) = memory::attack(name, &arguments) {
        return Ok(outcome.into());
    }
    if let Some(outcome) = looking::attack(name, context, &arguments) {
        return Ok(outcome.into());
    }
    if let Some(outcome) = logging::attack(name, &arguments)? {
        return Ok(outcome.into());
    }
    if let Some(outcome) = records::attack(name, &arguments).await {
        return Ok(outcome.into());
    }
    if let Some(outcome) = network::attack(name, &arguments).await {
        return Ok(outcome.into());
    }
    Err(Error::Invalid(vec![FieldError {
        path: vec!["steps".into(), step.name.clone()],
        kind: "attack".into(),
        message: format!("there is no attack `{name}`"),
    }]))
}

/// What this plugin does not do.
fn unsupported<T>() -> Result<T, Error> {
    Err(Error::Unsupported("this plugin only attacks".to_owned()))
}

/// Pieces and their size, behind the word for what a command does.
fn attack_of_process(words: &[&str]) -> (u64, usize) {
    (number(words, 1), number(words, 2))
}

/// An argument that is a number.
fn number<T: std::str::FromStr + Default>(arguments: &[&str], position: usize) -> T {
    let argument = arguments.get(position).copied();
    argument
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// The arguments from a position on.
fn rest<'s, 'a>(arguments: &'s [&'a str], from: usize) -> &'s [&'a str] {
    arguments.get(from..).unwrap_or_default()
}

/// An argument that is a text.
fn text<'a>(arguments: &[&'a str], position: usize) -> &'a str {
    arguments.get(position).copied().unwrap_or_default()
}
