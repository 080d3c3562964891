//! Problems while they are collected.

use std::collections::HashMap;

use crate::error::{InvalidFile, Location, Problem};
use crate::limits;

/// The problems of one document, by byte offset.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Found>,
    omitted: usize,
}

/// A problem whose place is still a byte offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where; `None` for the file as a whole.
    pub(crate) at: Option<usize>,
    /// The path of keys; empty for the file as a whole.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) what: String,
    /// Where the same key stands for the first time.
    pub(crate) first: Option<usize>,
    /// What to do.
    pub(crate) help: String,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: Found) {
        // What is wrong in one place may be used in many, by aliases.
        let known = |other: &Found| other.at == problem.at && other.what == problem.what;
        if !self.found.iter().any(known) && !self.omit() {
            self.found.push(problem);
        }
    }

    /// Counts a problem that is one too many, so that nobody spells it out.
    pub(crate) fn omit(&mut self) -> bool {
        let full = self.found.len() >= limits::PROBLEMS;
        if full {
            self.omitted += 1;
        }
        full
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Turns offsets into lines and columns of the text.
    pub(crate) fn into_error(mut self, file: &str, text: &str) -> InvalidFile {
        self.found.sort_by_key(|problem| problem.at);
        let offsets = self.found.iter().flat_map(|found| [found.at, found.first]);
        let located = locate(text, offsets.flatten().collect());
        let place = |at: Option<usize>| at.and_then(|at| located.get(&at).copied());
        let problems = self.found.into_iter().map(|found| Problem {
            location: place(found.at),
            path: found.path,
            what: found.what,
            first: place(found.first),
            help: found.help,
        });
        InvalidFile {
            file: file.to_owned(),
            problems: problems.collect(),
            omitted: self.omitted,
        }
    }
}

/// Line and column of byte offsets, in one pass over the text.
fn locate(text: &str, mut offsets: Vec<usize>) -> HashMap<usize, Location> {
    offsets.sort_unstable();
    let mut located = HashMap::new();
    let mut line = 1;
    let mut line_start = 0;
    let mut scanned = 0;
    for offset in offsets {
        // An offset inside of a character, or past the end, is its nearest boundary.
        let end = text.floor_char_boundary(offset);
        let passed = text.get(scanned..end).unwrap_or_default();
        line += passed.bytes().filter(|byte| *byte == b'\n').count();
        if let Some(newline) = passed.rfind('\n') {
            line_start = scanned + newline + 1;
        }
        scanned = end;
        let column = text
            .get(line_start..end)
            .map_or(0, |line| line.chars().count())
            + 1;
        located.insert(offset, Location { line, column });
    }
    located
}
