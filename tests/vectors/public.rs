//! How a case reaches the component. What the public world expresses goes
//! through it and takes the place of what the function for tests said about the
//! same thing, so that both must be right.

use crate::guest::Guest;
use serde_json::{Value, json};

/// The component's answer to a case.
pub(crate) async fn answer(guest: &mut Guest, area: &str, input: &Value) -> anyhow::Result<Value> {
    let (of, document) = (area.to_owned(), input.to_string());
    let called = guest
        .call(async move |accessor, component| {
            component
                .zenml_flavor_cases()
                .call_run_case(accessor, of, document)
                .await
        })
        .await;
    match called {
        Ok(text) => Ok(serde_json::from_str(&text)?),
        Err(error) => Ok(json!({"died": format!("{error:#}")})),
    }
}
