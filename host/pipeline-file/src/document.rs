//! From a file's bytes to a pipeline, or to any object.

use std::io::Read;

use serde_json::{Map, Value};

use crate::decode::{Decoder, Place, decode, object};
use crate::error::{InvalidFile, LoadError};
use crate::limits::DOCUMENT_BYTES;
use crate::node::Node;
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
        Ok(Self::from_slice(name, &read(name, reader)?)?)
    }

    /// Parses a file's bytes; `name` as for [`PipelineFile::from_reader`].
    ///
    /// # Errors
    ///
    /// [`InvalidFile`] with everything that is wrong, each with its place. Where
    /// the syntax is broken, that is the only problem reported.
    pub fn from_slice(name: &str, bytes: &[u8]) -> Result<Self, InvalidFile> {
        parse(name, bytes, "write at least `name` and `steps`", decode)
    }
}

/// Reads a document whose keys are not known here, such as the configuration of a
/// flavor: YAML or JSON with a map at its root, under the limits of a pipeline
/// file. `name` as for [`PipelineFile::from_reader`].
///
/// # Errors
///
/// As [`PipelineFile::from_reader`].
pub fn object_from_reader(name: &str, reader: impl Read) -> Result<Map<String, Value>, LoadError> {
    let bytes = read(name, reader)?;
    Ok(parse(
        name,
        &bytes,
        "write `{}` if nothing is to be set",
        object,
    )?)
}

/// Parses the bytes of a file of another kind with a decoder of its own: YAML or
/// JSON, under the limits of a pipeline file. `name` as for
/// [`PipelineFile::from_reader`]; `when_empty` is the advice for a file with
/// nothing in it. A decoder that answers `None` has reported why.
///
/// # Errors
///
/// As [`PipelineFile::from_slice`].
pub fn document<T>(
    name: &str,
    bytes: &[u8],
    when_empty: &str,
    decode: impl FnOnce(&mut Decoder<'_>, Place<'_>) -> Option<T>,
) -> Result<T, InvalidFile> {
    parse(name, bytes, when_empty, |root, source, problems| {
        let mut decoder = Decoder { source, problems };
        let decoded = decode(&mut decoder, Place::root(root));
        decoded.filter(|_| problems.is_empty())
    })
}

/// At most one byte more than a document may have.
fn read(name: &str, reader: impl Read) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(DOCUMENT_BYTES).unwrap_or(u64::MAX);
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| LoadError::Read {
            file: name.to_owned(),
            source,
        })?;
    Ok(bytes)
}

/// Parses a document; `when_empty` is the advice for one with nothing in it.
fn parse<T>(
    name: &str,
    bytes: &[u8],
    when_empty: &str,
    decode: impl FnOnce(&Node<'_>, &str, &mut Problems) -> Option<T>,
) -> Result<T, InvalidFile> {
    let mut problems = Problems::default();
    let text = match text(bytes, when_empty) {
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
    let decoded = match &root {
        Ok(root) => decode(root, text, &mut problems),
        Err(problem) => {
            problems.add(problem.clone());
            None
        }
    };
    decoded.ok_or_else(|| problems.into_error(name, text))
}

fn has_json_ending(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("json"))
}

/// The text of a file, without the mark that some editors put in front.
fn text<'b>(bytes: &'b [u8], when_empty: &str) -> Result<&'b str, Found> {
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
        return Err(whole("the file is empty".to_owned(), when_empty));
    }
    Ok(text)
}

const SAVE_AS_UTF8: &str = "save the file as UTF-8";
