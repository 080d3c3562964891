//! When an earlier result of a step stands for it.

use super::python;
use md5::{Digest as _, Md5};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use uuid::Uuid;

/// Whether a switch such as the one for caching is on: what the step says, else
/// what the pipeline says, else yes.
pub fn is_enabled(step: Option<bool>, pipeline: Option<bool>) -> bool {
    step.or(pipeline).unwrap_or(true)
}

/// Where results are kept. Part of the key: results of one store are not looked for
/// in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactStore {
    /// Its id.
    pub id: Uuid,
    /// Its root, such as `s3://bucket/path`.
    pub path: String,
    /// What else its configuration wants in the key.
    pub custom_key: Option<Vec<u8>>,
}

/// One version of an input of a step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InputArtifact {
    /// Its id.
    pub id: Uuid,
    /// Stands for its content. An empty one counts as none.
    #[serde(default)]
    pub content_hash: Option<String>,
    /// Which part of it is taken.
    #[serde(default)]
    pub chunk_index: Option<u64>,
    /// How many parts there are. Absent or 0: one.
    #[serde(default)]
    pub chunk_size: Option<u64>,
}

/// The inputs of a step out of their JSON form, an object of names and lists. Their
/// order is part of the key.
///
/// # Errors
///
/// When it is something else.
pub fn parse_inputs(document: &Value) -> Result<Vec<(String, Vec<InputArtifact>)>, CacheKeyError> {
    let inputs = Map::deserialize(document).map_err(CacheKeyError::Inputs)?;
    inputs
        .into_iter()
        .map(|(name, versions)| {
            let versions = Vec::deserialize(versions).map_err(CacheKeyError::Inputs)?;
            Ok((name, versions))
        })
        .collect()
}

/// What the key of a step is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct StepToCache {
    source: Source,
    config: Config,
}

impl StepToCache {
    /// Reads the JSON form of a step that ZenML's server knows. What has no part in
    /// the key is ignored.
    ///
    /// # Errors
    ///
    /// When it is no step.
    pub fn parse(document: &Value) -> Result<Self, CacheKeyError> {
        #[derive(Deserialize)]
        struct Document {
            spec: Spec,
            config: Config,
        }
        #[derive(Deserialize)]
        struct Spec {
            source: Source,
        }
        let Document { spec, config } =
            Document::deserialize(document).map_err(CacheKeyError::Step)?;
        Ok(Self {
            source: spec.source,
            config,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Config {
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    caching_parameters: Map<String, Value>,
    #[serde(default)]
    environment: Map<String, Value>,
    #[serde(default)]
    secrets: Vec<String>,
    /// In order: it is part of the key.
    #[serde(default)]
    outputs: Map<String, Value>,
    #[serde(default, deserialize_with = "policy")]
    cache_policy: Policy,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Output {
    #[serde(default)]
    materializer_source: OneOrMany,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Source>),
    One(Source),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// What goes into the key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Policy {
    include_step_code: bool,
    include_step_parameters: bool,
    include_artifact_values: bool,
    include_artifact_ids: bool,
    ignored_inputs: Option<Vec<String>>,
    file_dependencies: Option<Vec<Value>>,
    source_dependencies: Option<Vec<Value>>,
    cache_func: Option<Value>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            include_step_code: true,
            include_step_parameters: true,
            include_artifact_values: true,
            include_artifact_ids: true,
            ignored_inputs: None,
            file_dependencies: None,
            source_dependencies: None,
            cache_func: None,
        }
    }
}

/// A policy, or the name of one. There is one that has a name.
fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
    let document = Value::deserialize(deserializer)?;
    match document.as_str() {
        Some(name) if name.eq_ignore_ascii_case("default") => Ok(Policy::default()),
        Some(name) => Err(D::Error::custom(format!("Invalid cache policy: {name}"))),
        None => Policy::deserialize(document).map_err(D::Error::custom),
    }
}

impl Policy {
    fn ignores(&self, input: &str) -> bool {
        let ignored = self.ignored_inputs.as_deref().unwrap_or_default();
        ignored.iter().any(|name| name == input)
    }

    /// Keys of such policies depend on code that only its own process has.
    fn needs_the_code(&self) -> Option<&'static str> {
        let given = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if given(&self.file_dependencies) {
            Some("file_dependencies")
        } else if given(&self.source_dependencies) {
            Some("source_dependencies")
        } else {
            self.cache_func.as_ref().map(|_| "cache_func")
        }
    }
}

/// Where code is found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Source {
    /// A path with dots; what follows an `@` pins a version.
    Path(String),
    Parts {
        module: String,
        #[serde(default)]
        attribute: Option<String>,
    },
}

impl Source {
    fn import_path(&self) -> String {
        match self {
            Self::Path(path) => path.split('@').next().unwrap_or_default().to_owned(),
            Self::Parts { module, attribute } => match attribute.as_deref() {
                None | Some("") => module.clone(),
                Some(attribute) => format!("{module}.{attribute}"),
            },
        }
    }
}

/// The caching parameter that holds the hash of a step's code.
const CODE_HASH: &str = "step_source";

/// The key under which results of a step are found again: the hexadecimal MD5 that
/// ZenML 0.98.0 computes, so that a result of either is found by the other.
///
/// # Errors
///
/// When the step's policy wants files or code of the pipeline in the key: only the
/// process that has them can compute it.
pub fn cache_key(
    project: Uuid,
    store: &ArtifactStore,
    step: &StepToCache,
    inputs: &[(String, Vec<InputArtifact>)],
) -> Result<String, CacheKeyError> {
    let config = &step.config;
    if let Some(option) = config.cache_policy.needs_the_code() {
        return Err(CacheKeyError::NeedsCode { option });
    }
    let mut key = Key::default();
    key.bytes(project.as_bytes());
    key.bytes(store.id.as_bytes());
    key.text(&store.path);
    key.bytes(store.custom_key.as_deref().unwrap_or_default());
    key.text(&step.source.import_path());
    if config.cache_policy.include_step_parameters {
        key.sorted(config.parameters.iter());
    }
    key.inputs(inputs, &config.cache_policy);
    key.outputs(&config.outputs)?;
    let counts = |name: &str| name != CODE_HASH || config.cache_policy.include_step_code;
    key.sorted(
        config
            .caching_parameters
            .iter()
            .filter(|(name, _)| counts(name)),
    );
    key.sorted(config.environment.iter());
    let mut secrets: Vec<&String> = config.secrets.iter().collect();
    secrets.sort_unstable();
    secrets.into_iter().for_each(|secret| key.text(secret));
    Ok(key.finish())
}

#[derive(Default)]
struct Key(Md5);

impl Key {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Names and values in the order of the names. Python orders texts by code
    /// points, which is the order of their bytes.
    fn sorted<'a>(&mut self, values: impl Iterator<Item = (&'a String, &'a Value)>) {
        let mut values: Vec<(&String, &Value)> = values.collect();
        values.sort_unstable_by_key(|(name, _)| *name);
        for (name, value) in values {
            self.text(name);
            self.text(&python::text(value));
        }
    }

    fn inputs(&mut self, inputs: &[(String, Vec<InputArtifact>)], policy: &Policy) {
        for (name, versions) in inputs {
            if policy.ignores(name) {
                continue;
            }
            self.text(name);
            for version in versions {
                match version.content_hash.as_deref().unwrap_or_default() {
                    hash if !hash.is_empty() && policy.include_artifact_values => self.text(hash),
                    _ if policy.include_artifact_ids => self.bytes(version.id.as_bytes()),
                    _ => {}
                }
                if let Some(index) = version.chunk_index {
                    self.text(&index.to_string());
                    self.text(&version.chunk_size.unwrap_or_default().max(1).to_string());
                }
            }
        }
    }

    fn outputs(&mut self, outputs: &Map<String, Value>) -> Result<(), CacheKeyError> {
        for (name, output) in outputs {
            let output = Output::deserialize(output).map_err(CacheKeyError::Step)?;
            self.text(name);
            match output.materializer_source {
                OneOrMany::Many(sources) => {
                    sources
                        .iter()
                        .for_each(|source| self.text(&source.import_path()));
                }
                OneOrMany::One(source) => self.text(&source.import_path()),
            }
        }
        Ok(())
    }

    fn finish(self) -> String {
        let mut digits = String::new();
        for byte in self.0.finalize() {
            // Writing to a text cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        digits
    }
}

/// Why there is no key for a step.
#[derive(Debug, thiserror::Error)]
pub enum CacheKeyError {
    /// The document is not what the server has of a step.
    #[error("this is not the JSON form of a step: {0}")]
    Step(serde_json::Error),
    /// The document does not hold the inputs of a step.
    #[error("this is not the JSON form of a step's inputs: {0}")]
    Inputs(serde_json::Error),
    /// The key depends on the pipeline's code.
    #[error(
        "the cache policy's `{option}` puts code or files of the pipeline into the cache key, which \
         only the pipeline's own process can read: leave it out, or run the step without caching"
    )]
    NeedsCode {
        /// The option of the cache policy.
        option: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::{ArtifactStore, CacheKeyError, StepToCache, cache_key, parse_inputs};
    use serde_json::{Value, json};
    use uuid::Uuid;

    fn key_of(config: Value, inputs: Value) -> Result<String, CacheKeyError> {
        let store = ArtifactStore {
            id: Uuid::from_u128(2),
            path: "s3://bucket".to_owned(),
            custom_key: None,
        };
        let step = json!({"spec": {"source": {"module": "m", "attribute": "f"}}, "config": config});
        let step = StepToCache::parse(&step)?;
        cache_key(Uuid::from_u128(1), &store, &step, &parse_inputs(&inputs)?)
    }

    fn key(config: Value, inputs: Value) -> String {
        key_of(config, inputs).unwrap()
    }

    #[test]
    fn the_order_of_names_matters_where_it_does_in_python() {
        let one = key(json!({"parameters": {"a": 1, "b": 2}}), json!({}));
        let other = key(json!({"parameters": {"b": 2, "a": 1}}), json!({}));
        assert_eq!(one, other);
        let x = json!([{"id": Uuid::from_u128(7)}]);
        let y = json!([{"id": Uuid::from_u128(8)}]);
        let one = key(json!({}), json!({"x": x, "y": y}));
        let other = key(json!({}), json!({"y": y, "x": x}));
        assert_ne!(one, other);
    }

    #[test]
    fn the_policy_says_what_counts() {
        let one = json!({"x": [{"id": Uuid::from_u128(7), "content_hash": "c0ffee"}]});
        let other = json!({"x": [{"id": Uuid::from_u128(8), "content_hash": "c0ffee"}]});
        assert_eq!(key(json!({}), one.clone()), key(json!({}), other.clone()));
        let by_id = json!({"cache_policy": {"include_artifact_values": false}});
        assert_ne!(key(by_id.clone(), one.clone()), key(by_id, other));
        let ignored = json!({"cache_policy": {"ignored_inputs": ["x"]}});
        assert_eq!(key(ignored.clone(), one), key(ignored, json!({})));
    }

    #[test]
    fn a_policy_may_go_by_its_name() {
        let named = json!({"cache_policy": "Default"});
        assert_eq!(key(named, json!({})), key(json!({}), json!({})));
        let error = key_of(json!({"cache_policy": "none"}), json!({})).unwrap_err();
        assert!(
            error.to_string().contains("Invalid cache policy: none"),
            "{error}"
        );
    }

    #[test]
    fn a_key_that_needs_the_code_is_refused() {
        for (option, value) in [
            ("file_dependencies", json!(["a.txt"])),
            ("source_dependencies", json!(["m.g"])),
            ("cache_func", json!("m.h")),
        ] {
            let error = key_of(json!({"cache_policy": {option: value}}), json!({})).unwrap_err();
            assert!(error.to_string().contains(option), "{error}");
        }
        let empty = json!({"cache_policy": {"file_dependencies": []}});
        assert_eq!(key(empty, json!({})), key(json!({}), json!({})));
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for document in [
            json!(null),
            json!({}),
            json!({"spec": {"source": 1}, "config": {}}),
        ] {
            assert!(StepToCache::parse(&document).is_err(), "{document}");
        }
        assert!(parse_inputs(&json!({"x": [{"id": "7"}]})).is_err());
    }
}
