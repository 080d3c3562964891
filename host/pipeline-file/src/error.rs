//! What is wrong with a pipeline file, all of it at once.

use std::fmt;
use std::io;

use crate::limits;

/// Why a pipeline file could not be loaded.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its bytes could not be read.
    #[error("{file}: the file could not be read: {source}; check the path and its permissions")]
    Read {
        /// The name given for the file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It was read, and is no pipeline file.
    #[error(transparent)]
    Invalid(#[from] InvalidFile),
}

/// Everything that is wrong with one file, in the order of the file.
///
/// Its `Display` has one line for each problem, such as
/// `p.yaml:4:12: steps.train.retry: found a list where …; write …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidFile {
    pub(crate) file: String,
    pub(crate) problems: Vec<Problem>,
    pub(crate) omitted: usize,
}

impl InvalidFile {
    /// The name given for the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The problems, at least one and at most
    /// [`limits::PROBLEMS`].
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many further problems were found and left out.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl fmt::Display for InvalidFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if let Some(location) = problem.location {
                write!(f, ":{}:{}", location.line, location.column)?;
            }
            write!(f, ": {problem}")?;
        }
        if self.omitted > 0 {
            write!(
                f,
                "\n{}: {} more problems; the first {} are shown",
                self.file,
                self.omitted,
                limits::PROBLEMS
            )?;
        }
        Ok(())
    }
}

/// One thing that is wrong.
///
/// Its `Display` leaves the location out, which belongs to the file's name. No
/// value of an environment variable is ever in it: they may be secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(crate) location: Option<Location>,
    pub(crate) path: String,
    pub(crate) what: String,
    pub(crate) first: Option<Location>,
    pub(crate) help: String,
}

impl Problem {
    /// Where in the file; `None` for the file as a whole.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        self.location
    }

    /// The path of keys, such as `steps.train.resources.memory`; empty for the
    /// file as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Where the same key stands for the first time, when this is its second.
    #[must_use]
    pub fn first(&self) -> Option<Location> {
        self.first
    }

    /// What to do.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if let Some(first) = self.first {
            write!(f, " (first at {}:{})", first.line, first.column)?;
        }
        write!(f, "; {}", self.help)
    }
}

/// A place in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}
