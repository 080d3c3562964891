//! Rules about lines out of pieces of output.

use super::{Difference, Rule};
use serde_json::{Value, json};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "characters-across-pieces",
    areas: &["line_buffer", "sandbox"],
    inputs: "bytes of which a piece ends in the middle of a character",
    real: "decodes each piece by itself: U+FFFD for both parts of the character",
    here: "decodes the output as a whole",
    why: "where output is cut is chance, and what a command wrote is garbled by it",
    differences: across_pieces,
}];

fn across_pieces(input: &Value) -> Vec<Difference> {
    let Some(chunks) = input["chunks"].as_array() else {
        return super::sandbox::across_pieces(input);
    };
    let Some(pieces) = bytes_of(chunks) else {
        return Vec::new();
    };
    let real: String = pieces
        .iter()
        .map(|piece| String::from_utf8_lossy(piece))
        .collect();
    let whole = pieces.concat();
    let right = String::from_utf8_lossy(&whole);
    if real == right {
        return Vec::new();
    }
    let result = |text: &str| {
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        if let Some(error) = input["then_raises"].as_str() {
            lines.retain(|line| line.ends_with('\n'));
            lines.push(format!("error: {error}"));
        }
        json!({"ok": lines})
    };
    Difference::whole(result(&real), result(&right))
}

/// The bytes of each piece, none for what is neither bytes nor text.
pub(super) fn bytes_of(chunks: &[Value]) -> Option<Vec<Vec<u8>>> {
    let pieces = chunks.iter().filter(|chunk| !chunk.is_null());
    pieces
        .map(|chunk| match (&chunk["hex"], &chunk["text"], chunk) {
            (Value::String(digits), _, _) => (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
                .collect(),
            (_, Value::String(text), _) | (_, _, Value::String(text)) => {
                Some(text.clone().into_bytes())
            }
            _ => None,
        })
        .collect()
}
