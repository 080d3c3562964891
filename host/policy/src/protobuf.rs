//! Reads one text out of a protobuf message without knowing its schema.
//!
//! The messages come from a server, or from the guest, and nobody vouches for
//! them. The walker borrows from the message, allocates nothing, looks at every
//! byte at most once per level of the path (eight levels at most), and answers
//! every input.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::NameError;

/// Field numbers from the outside in, such as `5.2`: field 2 of the message in
/// field 5.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPath {
    outer: Vec<u32>,
    last: u32,
}

impl FieldPath {
    /// Reads the text at this path.
    ///
    /// Where a field occurs more than once the last one counts, and the parts of
    /// a message that is split over several occurrences count as one: the rules by
    /// which every protobuf decoder reads a field that is not repeated. So the
    /// guest sees the same text. `None` when the field is absent.
    ///
    /// # Errors
    ///
    /// A [`WireError`] when the message is malformed along the path, or the path
    /// leads through something that is no message, or to something that is no text.
    pub fn last_text<'m>(&self, message: &'m [u8]) -> Result<Option<&'m str>, WireError> {
        walk(message, &self.outer, self.last)
    }
}

impl FromStr for FieldPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let numbers: Option<Vec<u32>> = text.split('.').map(parse_number).collect();
        match numbers.as_deref() {
            Some([outer @ .., last]) if outer.len() < MAX_LEVELS => Ok(Self {
                outer: outer.to_vec(),
                last: *last,
            }),
            _ => Err(NameError::new(
                "field path",
                text,
                "write 1 to 8 protobuf field numbers with dots between, such as `5.2`",
            )),
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for number in &self.outer {
            write!(f, "{number}.")?;
        }
        write!(f, "{}", self.last)
    }
}

impl TryFrom<String> for FieldPath {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.to_string()
    }
}

/// Why a message could not be read.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The message ends inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("the message holds a number of more than 64 bits")]
    Varint,
    /// A field number outside of 1 to 536,870,911.
    #[error("the message holds an impossible field number")]
    FieldNumber,
    /// A wire type that proto3 does not have.
    #[error("the message holds a wire type that proto3 does not have")]
    WireType,
    /// The path asks for a text or message, the message holds something else.
    #[error("field {0} is neither a text nor a message")]
    NotDelimited(u32),
    /// The text is not UTF-8.
    #[error("field {0} is not valid UTF-8")]
    Utf8(u32),
}

/// Deeper than any path that a grant needs; bounds the recursion.
const MAX_LEVELS: usize = 8;

/// Field numbers have 29 bits.
const MAX_NUMBER: u32 = (1 << 29) - 1;

fn parse_number(digits: &str) -> Option<u32> {
    let plain = digits.chars().all(|c| c.is_ascii_digit()) && !digits.starts_with('0');
    let number = digits.parse().ok().filter(|_| plain)?;
    (number <= MAX_NUMBER).then_some(number)
}

fn walk<'m>(message: &'m [u8], outer: &[u32], last: u32) -> Result<Option<&'m str>, WireError> {
    let mut found = None;
    let mut rest = Reader(message);
    while !rest.0.is_empty() {
        let (number, value) = rest.field()?;
        match outer.split_first() {
            Some((&wanted, deeper)) if number == wanted => {
                let inner = value.ok_or(WireError::NotDelimited(number))?;
                found = walk(inner, deeper, last)?.or(found);
            }
            None if number == last => {
                let text = value.ok_or(WireError::NotDelimited(number))?;
                found = Some(str::from_utf8(text).map_err(|_| WireError::Utf8(number))?);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What is left of a message.
struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    /// The next field's number, and its bytes when it is length-delimited.
    fn field(&mut self) -> Result<(u32, Option<&'m [u8]>), WireError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|number| (1..=MAX_NUMBER).contains(number))
            .ok_or(WireError::FieldNumber)?;
        let value = match tag & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => {
                self.take(8)?;
                None
            }
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
                Some(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                None
            }
            _ => return Err(WireError::WireType),
        };
        Ok((number, value))
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(WireError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Varint)
    }

    fn take(&mut self, length: usize) -> Result<&'m [u8], WireError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}
