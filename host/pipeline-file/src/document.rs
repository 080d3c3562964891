//! From a file's bytes to a pipeline.

use std::io::Read;

use crate::decode::decode;
use crate::error::{InvalidFile, LoadError};
use crate::limits::DOCUMENT_BYTES;
use crate::pipeline::PipelineFile;
use crate::problems::{Found, Problems};
use crate::{json, yaml};

impl PipelineFile {
    /// Reads and parses a file; `name` is what messages call it, and tells JSON by
    /// its ending (see the [crate's documentation](crate)).
    ///
    /// At most [`DOCUMENT_BYTES`] and one byte more are read.
    ///
    /// # Errors
    ///
    /// [`LoadError::Read`] when reading fails, [`LoadError::Invalid`] as
    /// [`PipelineFile::from_slice`].
    pub fn from_reader(name: &str, reader: impl Read) -> Result<Self, LoadError> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(DOCUMENT_BYTES).unwrap_or(u64::MAX);
        reader
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|source| LoadError::Read {
                file: name.to_owned(),
                source,
            })?;
        Ok(Self::from_slice(name, &bytes)?)
    }

    /// Parses a file's bytes; `name` as for [`PipelineFile::from_reader`].
    ///
    /// # Errors
    ///
    /// [`InvalidFile`] with everything that is wrong, each with its place. Where
    /// the syntax is broken, that is the only problem reported.
    pub fn from_slice(name: &str, bytes: &[u8]) -> Result<Self, InvalidFile> {
        let mut problems = Problems::default();
        let text = match text(bytes) {
            Ok(text) => text,
            Err(problem) => {
                problems.add(problem);
                let readable = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
                return Err(problems.into_error(name, readable));
            }
        };
        let json = has_json_ending(name) || json::is_document(text);
        let root = if json {
            json::parse(text)
        } else {
            yaml::parse(text)
        };
        let pipeline = match &root {
            Ok(root) => decode(root, text, &mut problems),
            Err(problem) => {
                problems.add(problem.clone());
                None
            }
        };
        pipeline.ok_or_else(|| problems.into_error(name, text))
    }
}

fn has_json_ending(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("json"))
}

/// The text of a file, without the mark that some editors put in front.
fn text(bytes: &[u8]) -> Result<&str, Found> {
    let whole = |what: String, help: &str| Found {
        at: None,
        path: String::new(),
        what,
        first: None,
        help: help.to_owned(),
    };
    if bytes.len() > DOCUMENT_BYTES {
        let what = format!("the file is larger than {} MiB", DOCUMENT_BYTES >> 20);
        return Err(whole(
            what,
            "split the pipeline, and keep data in files of its own",
        ));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(whole("the file is UTF-16".to_owned(), SAVE_AS_UTF8));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let byte = bytes.get(at).copied().unwrap_or_default();
        Found {
            at: Some(at),
            path: String::new(),
            what: format!("byte {at} (0x{byte:02x}) is not valid UTF-8"),
            first: None,
            help: SAVE_AS_UTF8.to_owned(),
        }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(whole(
            "the file is empty".to_owned(),
            "write at least `name` and `steps`",
        ));
    }
    Ok(text)
}

const SAVE_AS_UTF8: &str = "save the file as UTF-8";
