//! Which scenarios are meant.

use crate::convert;
use crate::exit::Failure;
use flavor_harness::scenario::{Chance, Expectations, Scenario};
use pipeline_file::object_from_reader;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A scenario, and the file that it is from.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) file: PathBuf,
    pub(crate) scenario: Scenario,
    /// Whether everything is left to chance.
    pub(crate) is_chaotic: bool,
}

/// All scenarios of these files and directories; under chaos those of pipeline files
/// too.
///
/// # Errors
///
/// With all that is wrong with any of them: nothing is run before everything is
/// right.
pub(crate) fn cases(paths: &[PathBuf], chaos: bool) -> Result<Vec<Case>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => {
                let before = files.len();
                below(path, 0, &mut files)?;
                if files.len() == before {
                    return Err(Failure::bad_input(format!(
                        "{}: no scenario is in this directory: their names end in .yaml, .yml or \
                         .json",
                        path.display()
                    )));
                }
            }
            false => files.push(path.clone()),
        }
    }
    let mut cases = Vec::with_capacity(files.len());
    let mut wrong = Vec::new();
    for file in files {
        let case = match chaos {
            true => chaotic(&file),
            false => scenario(&file),
        };
        match case {
            Ok(case) => cases.push(case),
            Err(failure) => wrong.push(failure.message()),
        }
    }
    match wrong.is_empty() {
        true => Ok(cases),
        false => Err(Failure::bad_input(wrong.join("\n"))),
    }
}

/// The scenario of one file.
pub(crate) fn scenario(file: &Path) -> Result<Case, Failure> {
    let scenario = Scenario::load(file).map_err(Failure::bad_input)?;
    Ok(Case {
        file: file.to_owned(),
        scenario,
        is_chaotic: false,
    })
}

/// The scenario of a file, or the pipeline of one, with everything left to chance and
/// nothing expected.
fn chaotic(file: &Path) -> Result<Case, Failure> {
    let mut case = match is_scenario(file)? {
        true => scenario(file)?,
        false => {
            let mut scenario = Scenario::of(convert::read(file)?);
            // Named by its path, so that no value of it is printed.
            scenario.pipeline_path = Some(file.display().to_string());
            Case {
                file: file.to_owned(),
                scenario,
                is_chaotic: true,
            }
        }
    };
    case.is_chaotic = true;
    case.scenario.chance = Chance::CHAOS;
    case.scenario.expect = Expectations::default();
    Ok(case)
}

/// Scenarios have pipelines in them, and pipelines have none.
fn is_scenario(file: &Path) -> Result<bool, Failure> {
    let name = file.display().to_string();
    let opened = File::open(file).map_err(|error| {
        Failure::bad_input(format!(
            "{name}: the file could not be read: {error}; check the path and its permissions"
        ))
    })?;
    let object = object_from_reader(&name, opened).map_err(Failure::bad_input)?;
    Ok(object.contains_key("pipeline"))
}

/// How deep directories are searched.
const DEPTH: usize = 16;

/// The files of a directory and those below it, by name. Folders that begin with a dot
/// are left out, and so are files in a folder `pipelines`: scenarios name them.
fn below(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| {
        let place = directory.display();
        Failure::bad_input(format!("{place}: the directory cannot be read: {error}"))
    };
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let is_document = [".yaml", ".yml", ".json"]
            .iter()
            .any(|ending| name.ends_with(ending));
        match path.is_dir() {
            true if name == "pipelines" || depth >= DEPTH => {}
            true => below(&path, depth + 1, files)?,
            false if is_document => files.push(path),
            false => {}
        }
    }
    Ok(())
}
