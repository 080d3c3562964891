//! Cases about lines out of pieces of output.

use super::Input;
use super::encode::ok;
use super::python;
use crate::sandbox::lines::lines;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::Value;

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    let mut pieces: Vec<Result<Bytes, &str>> =
        pieces(input.field("chunks"))?.into_iter().map(Ok).collect();
    match operation {
        "line_buffer" => {}
        "line_buffer_broken_source" => pieces.push(Err(input.text("then_raises")?)),
        _ => return None,
    }
    let lines: Vec<Result<String, &str>> = lines(stream::iter(pieces)).collect().now_or_never()?;
    let lines: Vec<String> = lines
        .into_iter()
        .map(|line| line.unwrap_or_else(|error| format!("error: {error}")))
        .collect();
    Some(ok(lines))
}

/// Pieces of output. A stream of bytes is all there is here; texts and other
/// values, which Python's streams also give, are put as the bytes of their text.
pub(super) fn pieces(chunks: &Value) -> Option<Vec<Bytes>> {
    let chunks = chunks.as_array()?.iter();
    chunks.filter(|chunk| !chunk.is_null()).map(piece).collect()
}

/// One piece of output.
pub(super) fn piece(chunk: &Value) -> Option<Bytes> {
    if let Some(text) = chunk.as_str().or_else(|| chunk.get("text")?.as_str()) {
        return Some(text.to_owned().into());
    }
    if let Some(digits) = chunk.get("hex") {
        return bytes(digits.as_str()?);
    }
    Some(python::text(chunk.get("other")?).into())
}

fn bytes(digits: &str) -> Option<Bytes> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
