//! Documents to types, with every problem on the way: for pipelines, and for files
//! of other kinds that have pipelines in them.
//!
//! A decoding function answers `None` when it has reported why, and its caller
//! goes on with what else there is: one reading of a file finds all that is wrong
//! with it. [`document`] reads a whole file.
//!
//! ```
//! use pipeline_file::decode::{Decoder, Place, document};
//!
//! fn greeting(decoder: &mut Decoder<'_>, root: Place<'_>) -> Option<String> {
//!     let fields = decoder.fields(root, "a greeting's keys", &["whom", "how"])?;
//!     decoder.required(&fields, "whom", "name somebody", |decoder, place| {
//!         decoder.filled_text(place, "a name")
//!     })
//! }
//!
//! let parse = |text: &str| document("g.yaml", text.as_bytes(), "greet somebody", greeting);
//! assert_eq!(parse("whom: world"), Ok("world".to_owned()));
//! let wrong = parse("whom: world\nhows: loudly").unwrap_err().to_string();
//! assert!(wrong.starts_with("g.yaml:2:1: hows: the key is unknown; the nearest known key is `how`"));
//! ```

mod map;
mod object;
mod pipeline;
mod place;
mod scalar;

use std::fmt;

pub use self::map::{Fields, Keyed};
pub(crate) use self::object::object;
use self::place::Path;
pub use self::place::Place;
pub use crate::document::document;
use crate::node::{Node, Value};
use crate::pipeline::PipelineFile;
use crate::problems::{Found, Problems};

/// Decodes a document; `None` exactly when there are problems.
pub(crate) fn decode(
    root: &Node<'_>,
    source: &str,
    problems: &mut Problems,
) -> Option<PipelineFile> {
    let mut decoder = Decoder { source, problems };
    let pipeline = decoder.pipeline(Place::root(root));
    pipeline.filter(|_| decoder.problems.is_empty())
}

/// What every decoding function needs: the text, for the spelling of numbers, and
/// a place for what is wrong.
#[derive(Debug)]
pub struct Decoder<'d> {
    pub(crate) source: &'d str,
    pub(crate) problems: &'d mut Problems,
}

impl Decoder<'_> {
    /// Reports what is wrong at a value.
    pub fn report(&mut self, place: Place<'_>, what: impl fmt::Display, help: impl fmt::Display) {
        self.report_at(place.node.at(), place.path, what, help);
    }

    /// Reports what is wrong with a key of a map.
    pub fn report_key(
        &mut self,
        map: Place<'_>,
        keyed: &Keyed<'_>,
        what: impl fmt::Display,
        help: impl fmt::Display,
    ) {
        self.report_at(keyed.at, map.path.key(keyed.key), what, help);
    }

    /// Reports what is wrong at a place of its own, such as a key.
    fn report_at(
        &mut self,
        at: usize,
        path: Path<'_>,
        what: impl fmt::Display,
        help: impl fmt::Display,
    ) {
        if self.problems.omit() {
            return;
        }
        self.problems.add(Found {
            at: Some(at),
            path: path.to_string(),
            what: what.to_string(),
            first: None,
            help: help.to_string(),
        });
    }

    /// Reports a value of the wrong type.
    pub fn mismatch(&mut self, place: Place<'_>, expected: &str, help: impl fmt::Display) {
        let found = place.node.describe(self.source);
        self.report(
            place,
            format_args!("expected {expected}, found {found}"),
            help,
        );
    }

    /// The elements of a list, each decoded; those that fail are left out.
    pub fn list<T>(
        &mut self,
        place: Place<'_>,
        expected: &str,
        help: &str,
        mut item: impl FnMut(&mut Self, Place<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::List(nodes) = &place.node.value else {
            self.mismatch(place, expected, help);
            return None;
        };
        let items = nodes.iter().enumerate();
        let decoded = items.filter_map(|(index, node)| item(self, place.item(index, node)));
        Some(decoded.collect())
    }
}
