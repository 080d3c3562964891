//! Cases of the run store's own logic, put to the host library.

use flavor_host::zenml::{
    ArtifactStore, CacheKeyError, ExecutionStatus, StepToCache, cache_key, is_enabled,
    parse_inputs, run_status,
};
use serde_json::{Value, json};

/// The host library's answer to a case.
pub(crate) fn answer(input: &Value) -> Value {
    let operation = input["op"].as_str().unwrap_or_default();
    let answer = match operation {
        "static_run_status" => static_run_status(input),
        "setting_enabled" => Some(json!({
            "ok": is_enabled(input["step"].as_bool(), input["pipeline"].as_bool()),
        })),
        "cache_key" => key(input),
        _ => None,
    };
    answer.unwrap_or_else(|| json!({"unknown": format!("{operation} of server: {input}")}))
}

fn static_run_status(input: &Value) -> Option<Value> {
    let status = |word: &Value| ExecutionStatus::from_word(word.as_str()?);
    let run = status(&input["requested_or_current"])?;
    let steps = input["step_statuses"].as_array()?.iter();
    let steps: Vec<ExecutionStatus> = steps.map(status).collect::<Option<_>>()?;
    let number_of_steps = usize::try_from(input["number_of_steps"].as_u64()?).ok()?;
    Some(json!({"ok": run_status(run, &steps, number_of_steps).word()}))
}

fn key(input: &Value) -> Option<Value> {
    let store = ArtifactStore {
        id: input["store_id"].as_str()?.parse().ok()?,
        path: input["store_path"].as_str()?.to_owned(),
        custom_key: input["store_custom_key"]
            .as_str()
            .map(|key| key.as_bytes().to_vec()),
    };
    let project = input["project_id"].as_str()?.parse().ok()?;
    let key = || -> Result<String, CacheKeyError> {
        let step = StepToCache::parse(&input["step"])?;
        cache_key(project, &store, &step, &parse_inputs(&input["inputs"])?)
    };
    Some(match key() {
        Ok(key) => json!({"ok": key}),
        Err(error) => json!({"error": {"type": "ValueError", "message": error.to_string()}}),
    })
}
