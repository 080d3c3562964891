//! Rules about environment variables and credentials.

use super::{Difference, Rule};
use serde_json::{Map, Value, json};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "token-halves",
    areas: &["environment"],
    inputs: "an id and a secret of a Modal token that come from different places: the component's \
             configuration, the process' variables, the active profile",
    real: "puts them together, each half from the first place that has it",
    here: "takes the pair of one place or none",
    why: "halves of different accounts authenticate nobody, and hand one account's secret out \
          under another one's name",
    differences: halves,
}];

/// What Python's `str.strip` takes away.
fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// A half and the number of the place that it comes from. A blank in the
/// configuration says nothing; an empty variable hides the profile.
fn half(configured: &Value, ambient: &Value, name: &str) -> Option<(u8, String)> {
    let configured = configured[name].as_str().map(strip);
    if let Some(token) = configured.filter(|token| !token.is_empty()) {
        return Some((0, token.to_owned()));
    }
    let variable = format!("MODAL_{}", name.to_uppercase());
    let profile = ambient["profile"].as_str().unwrap_or("default");
    let (place, token) = match ambient["env"][variable.as_str()].as_str() {
        Some(token) => (1, token),
        None => (2, ambient["file"][profile][name].as_str()?),
    };
    let token = strip(token);
    (!token.is_empty()).then(|| (place, token.to_owned()))
}

fn halves(input: &Value) -> Vec<Difference> {
    let injects = match input["op"].as_str() {
        Some("resolve_token_pair") => false,
        Some("inject_credentials") => true,
        _ => return Vec::new(),
    };
    let configured = if injects { &input["config"] } else { input };
    let half = |name| half(configured, &input["ambient"], name);
    let (Some((of_id, id)), Some((of_secret, secret))) = (half("token_id"), half("token_secret"))
    else {
        return Vec::new();
    };
    if of_id == of_secret {
        return Vec::new();
    }
    if !injects {
        return Difference::whole(json!({"ok": [id, secret]}), json!({"ok": null}));
    }
    let environment = input["environment"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let mut injected: Map<String, Value> = environment.clone();
    injected.insert("MODAL_TOKEN_ID".to_owned(), id.into());
    injected.insert("MODAL_TOKEN_SECRET".to_owned(), secret.into());
    let warning = "No Modal credentials could be resolved for the controller sandbox. The \
         controller will fail to create child sandboxes unless Modal credentials are available in \
         its environment. Configure token_id and token_secret on the Modal orchestrator or run \
         `modal setup` before submitting the pipeline.";
    Difference::whole(
        json!({"ok": injected}),
        json!({"ok": environment, "warnings": [warning]}),
    )
}
