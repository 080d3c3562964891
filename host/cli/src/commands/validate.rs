//! `flavor validate`

use crate::args::ValidateArgs;
use crate::convert;
use crate::exit::{Exit, Failure};
use crate::local::LocalFiles;
use crate::render::counted;
use crate::{plugin, terminal};
use flavor_host::Error;
use flavor_host::contract::{self, Context, Service};
use pipeline_file::RunId;
use pipeline_file::limits::PROBLEMS;
use serde_json::json;
use std::path::Path;

pub(crate) async fn validate(args: ValidateArgs) -> Result<Exit, Failure> {
    let result = check(&args.file).await;
    if args.json {
        let object = match &result {
            Ok((steps, warnings)) => json!({"valid": true, "steps": steps, "warnings": warnings}),
            Err(failure) => json!({"valid": false, "error": failure.message()}),
        };
        terminal::say(&object.to_string());
    }
    let (steps, warnings) = result?;
    if !args.json {
        for warning in warnings {
            terminal::complain(&format!("warning: {}", terminal::escape(&warning)));
        }
        let steps = counted(steps, "step");
        terminal::say(&format!("{}: valid, {steps}", args.file.display()));
    }
    Ok(Exit::Done)
}

async fn check(path: &Path) -> Result<(usize, Vec<String>), Failure> {
    let file = convert::read(path)?;
    LocalFiles::new(path, &file.files)?;
    let plugin = plugin::load().await?;
    let id = RunId::from_bits(0);
    let pipeline = convert::pipeline(&file, &id, None, None);
    let warnings = plugin
        .check(no_service(), pipeline)
        .await
        .map_err(|error| in_file(error, path))?;
    Ok((file.steps.len(), warnings))
}

/// Surroundings for a check, which asks nobody.
pub(crate) fn no_service() -> Context {
    Context {
        service: Service {
            url: flavor_host::MODAL_URL.to_owned(),
            options: "{}".to_owned(),
        },
        config: "{}".to_owned(),
        registry: None,
        outputs: false,
    }
}

/// What a plugin says about a pipeline, with the file's name in front of each
/// line.
pub(crate) fn in_file(error: Error, path: &Path) -> Failure {
    let Error::Plugin(contract::Error::Invalid(faults)) = error else {
        return error.into();
    };
    let line = |fault: &contract::FieldError| {
        let place = fault.path.join(".");
        format!("{}: {place}: {}", path.display(), fault.message)
    };
    let mut lines: Vec<String> = faults.iter().take(PROBLEMS).map(line).collect();
    if faults.len() > PROBLEMS {
        lines.push(format!(
            "{}: {} more problems; the first {PROBLEMS} are shown",
            path.display(),
            faults.len() - PROBLEMS
        ));
    }
    Failure::bad_input(lines.join("\n"))
}
