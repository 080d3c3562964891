//! Recorded cases of the original, put to the functions that make the decisions.
//!
//! Exists for tests only: in the world `conformance`, which includes the public
//! one and adds one function, and in native tests. Nothing is decided here. The
//! modules below turn the input of a case into arguments, call what production
//! calls, and put the result the way the recordings put it.
//!
//! The shape of a result: `{"ok": …}` or `{"error": {"type", "message", …}}`,
//! and beside it what was observed, such as `warnings` or `calls`.

pub(crate) mod clock;
mod config;
mod dag;
mod encode;
mod environment;
mod fakes;
mod flavor;
mod gpu;
mod line_buffer;
mod memory;
mod names;
mod python;
mod sandbox;
mod session_fakes;
mod status;
mod submission;
mod validator;

use encode::object;
use serde_json::Value;

/// Decides one case of an area, the name of a file of recordings without its
/// ending.
pub fn run_case(area: &str, input: &Value) -> Value {
    let Some(operation) = input.get("op").and_then(Value::as_str) else {
        return unknown("a case without an operation");
    };
    let input = Input { fields: input };
    let answer = match area {
        "config" => config::run(operation, &input),
        "dag" => dag::run(operation, &input),
        "environment" => environment::run(operation, &input),
        "flavor" => flavor::run(operation, &input),
        "gpu" => gpu::run(operation, &input),
        "line_buffer" => line_buffer::run(operation, &input),
        "memory" => memory::run(operation, &input),
        "names" => names::run(operation, &input),
        "sandbox" => sandbox::run(operation, &input),
        "status" => status::run(operation, &input),
        "submission" => submission::run(operation, &input),
        "validator" => validator::run(operation, &input),
        _ => return unknown(&format!("the area {area}")),
    };
    answer.unwrap_or_else(|| unknown(&format!("{operation} of {area}")))
}

/// The answer to what is not known here. No recording looks like it.
fn unknown(what: &str) -> Value {
    object([("unknown", what.into())])
}

/// The input of a case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    fields: &'a Value,
}

impl<'a> Input<'a> {
    /// A field, `null` when it is absent.
    pub(crate) fn field(&self, name: &str) -> &'a Value {
        self.fields.get(name).unwrap_or(&Value::Null)
    }

    /// A field, when it is there.
    pub(crate) fn given(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name)
    }

    /// A text, when the field holds one.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.field(name).as_str()
    }
}
