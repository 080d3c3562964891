//! A value together with the path of keys that leads to it.

use std::fmt;

use crate::node::{Node, Value, excerpt};

/// A node and how it is reached. Paths are chains of references on the stack:
/// they cost nothing until one is printed.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    pub(super) node: &'p Node<'p>,
    pub(super) path: Path<'p>,
}

impl<'p> Place<'p> {
    pub(crate) fn root(node: &'p Node<'p>) -> Self {
        let path = Path {
            parent: None,
            segment: Segment::Root,
        };
        Self { node, path }
    }

    /// Whether a text stands here.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    /// Whether a list stands here.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Whether a map stands here.
    #[must_use]
    pub fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// The value of a key.
    pub(super) fn under<'c>(&'c self, key: &'c str, node: &'c Node<'c>) -> Place<'c> {
        Place {
            node,
            path: self.path.key(key),
        }
    }

    /// An element of a list.
    pub(super) fn item<'c>(&'c self, index: usize, node: &'c Node<'c>) -> Place<'c> {
        let path = Path {
            parent: Some(&self.path),
            segment: Segment::Index(index),
        };
        Place { node, path }
    }
}

/// Keys and indices from the outside in, such as `steps.train.command[2]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    segment: Segment<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Segment<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    pub(super) fn key<'c>(&'c self, key: &'c str) -> Path<'c> {
        Path {
            parent: Some(self),
            segment: Segment::Key(key),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let below_root = self
            .parent
            .is_some_and(|parent| matches!(parent.segment, Segment::Root));
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) => {
                if !below_root {
                    f.write_str(".")?;
                }
                // Quoted where the dots of a key would read as those of the path.
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                if !key.is_empty() && key.chars().all(plain) {
                    write!(f, "{}", excerpt(key))
                } else {
                    write!(f, "\"{}\"", excerpt(key))
                }
            }
        }
    }
}
