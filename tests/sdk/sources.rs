//! The names of checks, and of the behaviours that they hold in place, read off
//! the sources of the suites.

use crate::software::SUITES;
use std::fs;
use std::path::{Path, PathBuf};

/// A check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// `file::name`
    pub(crate) name: String,
    /// Numbers of behaviours, as in the table of `parity`.
    pub(crate) behaviours: Vec<usize>,
}

/// All checks in a directory of the suites, by file, then as written.
pub(crate) fn checks(directory: &str) -> Vec<Check> {
    let directory = Path::new(SUITES).join(directory);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .expect("the directory of a suite")
        .map(|entry| entry.expect("a directory entry").path())
        .collect();
    files.sort();
    files.iter().flat_map(|file| checks_of(file)).collect()
}

fn checks_of(file: &Path) -> Vec<Check> {
    let group = file.file_stem().expect("a name").to_str().expect("a text");
    let read = || fs::read_to_string(file).expect("a source");
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("py") => python(group, &read()),
        Some("mjs") => javascript(group, &read()),
        _ => Vec::new(),
    }
}

/// `@check(1, 2)`, and the function below it.
fn python(group: &str, source: &str) -> Vec<Check> {
    let lines: Vec<&str> = source.lines().collect();
    let pairs = lines.windows(2).filter_map(|pair| {
        let behaviours = pair[0].strip_prefix("@check(")?;
        let name = pair[1].strip_prefix("def ");
        let name = name.unwrap_or_else(|| panic!("{group}: no function below {}", pair[0]));
        Some(check(group, until(name, '('), until(behaviours, ')')))
    });
    pairs.collect()
}

/// `check("name", [1, 2], …`
fn javascript(group: &str, source: &str) -> Vec<Check> {
    let calls = source.lines().filter_map(|line| {
        let rest = line.strip_prefix("check(\"")?;
        let (name, rest) = rest.split_once("\", [").unwrap_or_else(|| {
            panic!("{group}: name and behaviours are to be on one line: {line}")
        });
        Some(check(group, name, until(rest, ']')))
    });
    calls.collect()
}

fn check(group: &str, name: &str, behaviours: &str) -> Check {
    let number = |text: &str| text.trim().parse().expect("the number of a behaviour");
    let texts = behaviours.split(',').filter(|text| !text.trim().is_empty());
    Check {
        name: format!("{group}::{name}"),
        behaviours: texts.map(number).collect(),
    }
}

fn until(text: &str, end: char) -> &str {
    text.split_once(end).expect("its end on the same line").0
}
