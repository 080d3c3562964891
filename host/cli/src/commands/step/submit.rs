//! `flavor step submit`

use crate::args::{SubmitArgs, environment};
use crate::exit::{Exit, Failure};
use crate::{plugin, remote, terminal};
use flavor_host::contract::{Resources, StepSubmission};
use pipeline_file::{RunId, StepName};
use serde_json::Value;

pub(crate) async fn submit(args: SubmitArgs) -> Result<Exit, Failure> {
    let run_id = crate::commands::run_id(args.run_id.as_deref())?;
    let step = step_name(&args.name)?;
    let settings = remote::settings(&args.machine)?;
    let connection = remote::connection(&args.on, Some(&args.registry))?;
    let url = connection.target.url();
    let submission = submission(args, &run_id, &step, Value::Object(settings));
    let plugin = plugin::load().await?;
    let submitting = async {
        let metadata = plugin.submit_step(connection, submission).await;
        metadata.map_err(|error| remote::failure(error, &url))
    };
    let left = format!("the step may have been started: look for the app `zenml-{run_id}-{step}`");
    let metadata = remote::interruptible(submitting, &left).await?;
    terminal::say(&terminal::escape(&metadata));
    Ok(Exit::Done)
}

fn step_name(name: &str) -> Result<StepName, Failure> {
    name.parse().map_err(|error| {
        Failure::bad_input(format!(
            "--name {name:?}: {error}; write 1 to {} of A-Z, a-z, 0-9, `.`, `_` and `-`, not \
             beginning with `.` or `-`",
            StepName::MAX
        ))
    })
}

fn submission(args: SubmitArgs, run: &RunId, step: &StepName, settings: Value) -> StepSubmission {
    StepSubmission {
        run_id: run.to_string(),
        step: step.to_string(),
        command: args.command,
        image: args.image,
        settings: settings.to_string(),
        resources: Resources {
            cpu_count: args.cpu,
            gpu_count: args.gpu_count,
            memory: args.machine.memory,
        },
        environment: environment(&args.env),
    }
}
