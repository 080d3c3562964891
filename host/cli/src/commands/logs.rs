//! `flavor logs`

use super::known_run;
use crate::args::LogsArgs;
use crate::exit::{Exit, Failure};
use crate::render::{Characters, output_object};
use crate::{paths, terminal};
use flavor_host::contract::OutputStream;
use flavor_host::outputs::{OutputReader, Piece, Pieces};
use flavor_host::store::RunRecord;
use serde_json::{Value, json};
use std::io;

pub(crate) async fn logs(args: LogsArgs) -> Result<Exit, Failure> {
    let state = paths::open_state(false)?;
    let run = known_run(&state, &args.run).await?;
    let steps = steps(&run, args.step.as_deref())?;
    let outputs = state
        .run_dir(&args.run)
        .and_then(|directory| directory.outputs()?.reader())
        .map_err(unreadable)?;
    for step in steps {
        match show(&outputs, step, &args) {
            // The reader went away: it has all it wants.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            result => result.map_err(unreadable)?,
        }
    }
    Ok(Exit::Done)
}

fn steps<'r>(run: &'r RunRecord, asked: Option<&str>) -> Result<Vec<&'r str>, Failure> {
    let all = run.steps.iter().map(|step| step.name.as_str());
    let Some(asked) = asked else {
        return Ok(all.collect());
    };
    let found: Vec<&str> = all.filter(|name| *name == asked).collect();
    match found.is_empty() {
        false => Ok(found),
        true => Err(Failure::bad_input(format!(
            "run `{}` has no step `{asked}`: see `flavor status {}`",
            run.summary.id, run.summary.id
        ))),
    }
}

fn show(outputs: &OutputReader, step: &str, args: &LogsArgs) -> io::Result<()> {
    for attempt in outputs.attempts(step) {
        let pieces = outputs.read(step, attempt)?;
        match args.json {
            true => show_objects(pieces, step, attempt)?,
            false => show_text(pieces, step, args.step.is_none())?,
        }
    }
    Ok(())
}

fn show_objects(pieces: Pieces<'_>, step: &str, attempt: u32) -> io::Result<()> {
    let put = |object: Value| terminal::put(format!("{object}\n").as_bytes());
    let mut stdout = Characters::default();
    let mut stderr = Characters::default();
    for piece in pieces {
        match piece? {
            Piece::Data { stream, data } => {
                let data = match stream {
                    OutputStream::Stdout => stdout.push(&data),
                    OutputStream::Stderr => stderr.push(&data),
                };
                if !data.is_empty() {
                    put(output_object(step, attempt, stream, &data))?;
                }
            }
            Piece::Lost { bytes } => put(json!({
                "event": "warning",
                "step": step,
                "attempt": attempt,
                "message": "output is lost",
                "bytes": bytes,
            }))?,
        }
    }
    for (stream, characters) in [
        (OutputStream::Stdout, stdout),
        (OutputStream::Stderr, stderr),
    ] {
        if let Some(rest) = characters.rest() {
            put(output_object(step, attempt, stream, &rest))?;
        }
    }
    Ok(())
}

fn show_text(pieces: Pieces<'_>, step: &str, with_labels: bool) -> io::Result<()> {
    let mut at_line_start = true;
    for piece in pieces {
        match piece? {
            Piece::Data { data, .. } if with_labels => {
                terminal::put(&labelled(step, &data, &mut at_line_start))?;
            }
            Piece::Data { data, .. } => terminal::put(&data)?,
            Piece::Lost { bytes } => terminal::complain(&match bytes {
                Some(bytes) => format!("{step}: {bytes} bytes were dropped"),
                None => format!("{step}: some output was dropped"),
            }),
        }
    }
    if with_labels && !at_line_start {
        terminal::put(b"\n")?;
    }
    Ok(())
}

/// Puts the step's name in front of every line.
fn labelled(step: &str, data: &[u8], at_line_start: &mut bool) -> Vec<u8> {
    let mut shown = Vec::with_capacity(data.len() + 16);
    for part in data.split_inclusive(|byte| *byte == b'\n') {
        if *at_line_start {
            shown.extend_from_slice(format!("{step} | ").as_bytes());
        }
        shown.extend_from_slice(part);
        *at_line_start = part.ends_with(b"\n");
    }
    shown
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the output cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::labelled;

    #[test]
    fn labels_stand_at_line_starts_only() {
        let mut at_line_start = true;
        assert_eq!(labelled("a", b"x\ny", &mut at_line_start), b"a | x\na | y");
        assert_eq!(labelled("a", b"z\n", &mut at_line_start), b"z\n");
        assert_eq!(labelled("a", b"\n", &mut at_line_start), b"a | \n");
    }
}
