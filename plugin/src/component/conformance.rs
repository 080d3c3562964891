//! Export `cases` of the world for tests.

use super::Plugin;
use super::bindings::exports::zenml::flavor::cases::Guest;
use crate::conformance::run_case;
use serde_json::Value;

impl Guest for Plugin {
    async fn run_case(area: String, input: String) -> String {
        match serde_json::from_str::<Value>(&input) {
            Ok(input) => run_case(&area, &input).to_string(),
            Err(error) => serde_json::json!({"unknown": error.to_string()}).to_string(),
        }
    }
}
