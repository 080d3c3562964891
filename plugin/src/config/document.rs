//! Documents of the classes: read once, with everything that is wrong.

use super::class::{Class, Field, Holds, Role};
use super::fault::FieldFault;
use super::fields::{LONGEST_TIMEOUT, TOKEN_ID, TOKEN_SECRET};
use super::lax::{self, Integer, Mismatch};
use super::reference::{Resolved, SecretError, SecretReference, Secrets, resolve};
use crate::catalog::Kind;
use crate::resources::memory::Measure;
use crate::text::strip;
use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;

/// A document that is what its class says. Values are converted, defaults
/// filled in, unknown keys kept. It cannot be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    class: &'static Class,
    /// The fields of the class in its order, then unknown keys.
    values: Map<String, Value>,
    /// One bit for each field of the class that was given. Unknown keys always
    /// were.
    given: u32,
}

/// A document and what is allowed in it but probably not meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The document, or what is wrong with it.
    pub result: Result<Document, DocumentError>,
    /// Warnings, also beside an error.
    pub warnings: Vec<String>,
}

/// Why a document is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentError {
    /// Everything that is wrong with it.
    Invalid(Vec<FieldFault>),
    /// A reference in it leads nowhere.
    Secret(SecretError),
}

impl DocumentError {
    /// The error as faults of places.
    pub fn into_faults(self) -> Vec<FieldFault> {
        match self {
            Self::Invalid(faults) => faults,
            Self::Secret(error) => vec![FieldFault::new([error.field.as_str()], "secret", &error)],
        }
    }
}

/// Asks for memory in the unit that Modal reckons in.
const EXACT_MEMORY: &str = "exact_memory";

/// A key of old orchestrators that is taken and ignored.
const OLD_IMAGE_KEY: &str = "custom_docker_base_image_name";
const OLD_IMAGE_WARNING: &str = "The 'custom_docker_base_image_name' field has been deprecated. To \
     use a custom base container image with your orchestrators, please use the DockerSettings in \
     your pipeline (see https://docs.zenml.io/concepts/containerization).";

/// Where ZenML explains secrets.
const SECRETS_URL: &str = "https://docs.zenml.io/deploying-zenml/deploying-zenml/secret-management";

impl Class {
    /// Reads a document. References to secrets stay in it; those of the token
    /// pair are looked up, as the rule about the pair is about their values.
    pub fn read(&'static self, mut values: Map<String, Value>, secrets: &dyn Secrets) -> Checked {
        let mut warnings = self.plain_secrets(&values);
        if self.role == Role::Configuration(Kind::Orchestrator)
            && values
                .shift_remove(OLD_IMAGE_KEY)
                .is_some_and(|value| is_true(&value))
        {
            warnings.push(OLD_IMAGE_WARNING.to_owned());
        }
        let result = self
            .unpack_texts(&mut values)
            .map_err(|fault| DocumentError::Invalid(vec![fault]))
            .and_then(|()| self.convert(values).map_err(DocumentError::Invalid))
            .and_then(|document| {
                document.check_token_pair(secrets)?;
                Ok(document)
            });
        Checked { result, warnings }
    }

    /// Reads a document as text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(
        &'static self,
        document: &str,
        secrets: &dyn Secrets,
    ) -> Result<Document, Vec<FieldFault>> {
        self.read(object(document)?, secrets)
            .result
            .map_err(DocumentError::into_faults)
    }

    /// Secrets in plain sight, in the order of the document.
    fn plain_secrets(&self, values: &Map<String, Value>) -> Vec<String> {
        let is_plain = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => SecretReference::parse(text).is_none(),
            _ => true,
        };
        let warning = |name: &String| {
            let (of, what) = match self.role {
                Role::Configuration(_) => (
                    format!(" for a `{}` stack component", self.name),
                    "your stack components",
                ),
                Role::Settings | Role::Part => (String::new(), "values"),
            };
            format!(
                "You specified a plain-text value for the sensitive attribute `{name}`{of}. This \
                 is currently only a warning, but future versions of ZenML will require you to \
                 pass in sensitive information as secrets. Check out the documentation on how to \
                 configure {what} with secrets here: {SECRETS_URL}"
            )
        };
        values
            .iter()
            .filter(|(name, _)| self.field(name).is_some_and(|field| field.sensitive))
            .filter(|(_, value)| is_plain(value))
            .map(|(name, _)| warning(name))
            .collect()
    }

    /// In a configuration, a text for a map is JSON.
    fn unpack_texts(&self, values: &mut Map<String, Value>) -> Result<(), FieldFault> {
        if !matches!(self.role, Role::Configuration(_)) {
            return Ok(());
        }
        for field in self
            .fields
            .iter()
            .filter(|field| field.holds == Holds::TextMap)
        {
            let Some(value) = values.get_mut(field.name) else {
                continue;
            };
            if let Value::String(text) = value {
                let message = format!("Value error, Invalid json string '{text}'");
                *value = serde_json::from_str(text)
                    .map_err(|_| FieldFault::new([], "value_error", message))?;
            }
        }
        Ok(())
    }

    /// Converts what is known, fills in what is missing, and keeps the rest.
    fn convert(&'static self, mut values: Map<String, Value>) -> Result<Document, Vec<FieldFault>> {
        let mut given = 0;
        let mut faults = Vec::new();
        let mut converted = Map::with_capacity(self.fields.len().max(values.len()));
        for (bit, field) in bits().zip(self.fields) {
            let (key, value) = match values.shift_remove_entry(field.name) {
                None => (field.name.to_owned(), field.default()),
                Some((key, value)) => {
                    given |= bit;
                    (key, field.convert(value, &mut faults))
                }
            };
            converted.insert(key, value);
        }
        converted.append(&mut values);
        match faults.is_empty() {
            true => Ok(Document {
                class: self,
                values: converted,
                given,
            }),
            false => Err(faults),
        }
    }
}

/// One bit for each field of a class. No class has as many.
fn bits() -> impl Iterator<Item = u32> {
    (0..u32::BITS).map(|position| 1 << position)
}

impl Field {
    /// The value as the field holds it. What does not fit goes on the list.
    fn convert(&self, value: Value, faults: &mut Vec<FieldFault>) -> Value {
        let converted = match (self.holds, value) {
            (Holds::OptionalText | Holds::OptionalInteger, Value::Null) => Ok(Value::Null),
            (Holds::OptionalText | Holds::Text { .. }, value) => {
                lax::text(&value).map(|_| ()).map(|()| value)
            }
            (Holds::OptionalInteger, value) => {
                lax::integer(&value).map(|number| number_of(&number))
            }
            (Holds::Bounded { least, most, .. }, value) => {
                bounded(&value, least, most).map(Value::from)
            }
            (Holds::Boolean { .. }, value) => lax::boolean(&value).map(Value::from),
            (Holds::TextMap, Value::Object(entries)) => {
                for (key, entry) in &entries {
                    if let Err(mismatch) = lax::text(entry) {
                        faults.push(FieldFault::mismatch([self.name, key], mismatch));
                    }
                }
                Ok(Value::Object(entries))
            }
            (Holds::TextMap, _) => Err(DICT_TYPE),
        };
        converted.unwrap_or_else(|mismatch| {
            faults.push(FieldFault::mismatch([self.name], mismatch));
            Value::Null
        })
    }
}

const DICT_TYPE: Mismatch = Mismatch {
    kind: "dict_type",
    message: "Input should be a valid dictionary",
};
const TOO_SMALL: Mismatch = Mismatch {
    kind: "greater_than_equal",
    message: "Input should be greater than or equal to 1",
};
const TOO_LARGE: Mismatch = Mismatch {
    kind: "less_than_equal",
    message: "Input should be less than or equal to 86400",
};

fn bounded(value: &Value, least: u32, most: u32) -> Result<u32, Mismatch> {
    let number = lax::integer(value)?;
    if number.compare(i64::from(least)).is_lt() {
        return Err(TOO_SMALL);
    }
    number
        .to_u32()
        .filter(|number| *number <= most)
        .ok_or(TOO_LARGE)
}

/// A whole number in JSON. One that JSON's readers could not hold stays a text.
fn number_of(number: &Integer) -> Value {
    match number {
        Integer::Small(value) => Value::Number(Number::from(*value)),
        Integer::Large { .. } => number.to_string().into(),
    }
}

/// Python's idea of what is true.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Reads a JSON object.
///
/// # Errors
///
/// When the text is no JSON or no object.
pub fn object(document: &str) -> Result<Map<String, Value>, Vec<FieldFault>> {
    match serde_json::from_str(document) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(vec![FieldFault::new(
            [],
            "model_type",
            "Input should be a valid dictionary",
        )]),
        Err(error) => Err(vec![FieldFault::new([], "json_invalid", error)]),
    }
}

impl Document {
    /// The class it is one of.
    pub fn class(&self) -> &'static Class {
        self.class
    }

    /// Everything in it, defaults included, in the order of the class.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// The document itself.
    pub fn into_values(self) -> Map<String, Value> {
        self.values
    }

    /// The keys that were given, in the order of [`values`](Self::values).
    pub fn given(&self) -> impl Iterator<Item = &str> {
        self.given_entries().map(|(key, _)| key.as_str())
    }

    /// What was given, as the base for settings of a run.
    pub(super) fn given_values(&self) -> Map<String, Value> {
        self.given_entries()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn given_entries(&self) -> impl Iterator<Item = (&String, &Value)> {
        let of_class = bits().take(self.class.fields.len());
        let is_given = of_class.map(|bit| self.given & bit != 0);
        self.values
            .iter()
            .zip(is_given.chain(std::iter::repeat(true)))
            .filter_map(|(entry, is_given)| is_given.then_some(entry))
    }

    /// A text, as it stands.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    /// A text, or the default of its field.
    pub(super) fn text_or_default(&self, field: &Field) -> String {
        let default = field.default();
        let text = self.text(field.name).or(default.as_str());
        text.unwrap_or_default().to_owned()
    }

    /// Seconds that a sandbox may live. Every class with settings has it.
    pub fn timeout(&self) -> u32 {
        let seconds = self.values.get("timeout").and_then(Value::as_u64);
        let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
        seconds.unwrap_or(LONGEST_TIMEOUT)
    }

    /// In which unit memory goes to Modal. ZenML does not know the key, so that
    /// it travels among the unknown ones, and is in no schema.
    ///
    /// # Errors
    ///
    /// When it holds something else than a truth value.
    pub fn measure(&self) -> Result<Measure, FieldFault> {
        let Some(value) = self.values.get(EXACT_MEMORY) else {
            return Ok(Measure::default());
        };
        match lax::boolean(value) {
            Ok(true) => Ok(Measure::Exact),
            Ok(false) => Ok(Measure::AsZenml),
            Err(mismatch) => Err(FieldFault::mismatch([EXACT_MEMORY], mismatch)),
        }
    }

    /// A text with its reference resolved.
    ///
    /// # Errors
    ///
    /// For a reference that leads nowhere.
    pub fn resolved(
        &self,
        name: &str,
        secrets: &dyn Secrets,
    ) -> Result<Option<Resolved>, SecretError> {
        self.text(name)
            .map(|text| resolve(name, text, self.class.reference_passes(), secrets))
            .transpose()
    }

    /// The secrets that it points to, sorted.
    pub fn required_secrets(&self) -> BTreeSet<SecretReference> {
        let texts = self.values.values().filter_map(Value::as_str);
        texts.filter_map(SecretReference::parse).collect()
    }

    /// What a component that is configured so is like; empty for settings.
    pub fn properties(&self) -> Vec<(&'static str, bool)> {
        let Role::Configuration(kind) = self.class.role else {
            return Vec::new();
        };
        let mut properties = vec![("is_remote", true), ("is_local", false), ("is_valid", true)];
        if kind == Kind::Orchestrator {
            let is_synchronous = self.values.get("synchronous") == Some(&Value::Bool(true));
            properties.extend([
                ("is_synchronous", is_synchronous),
                ("is_schedulable", false),
                ("supports_client_side_caching", false),
                ("handles_step_retries", false),
            ]);
        }
        properties
    }

    /// Both tokens or none.
    fn check_token_pair(&self, secrets: &dyn Secrets) -> Result<(), DocumentError> {
        if !self.class.has_token_pair() {
            return Ok(());
        }
        let is_there = |name| {
            let resolved = self
                .resolved(name, secrets)
                .map_err(DocumentError::Secret)?;
            Ok(match resolved {
                None => false,
                Some(Resolved::Concealed) => true,
                Some(Resolved::Text(text)) => !strip(&text).is_empty(),
            })
        };
        if is_there(TOKEN_ID.name)? == is_there(TOKEN_SECRET.name)? {
            return Ok(());
        }
        let message = format!("Value error, {TOKEN_PAIR}");
        let fault = FieldFault::new([], "value_error", message);
        Err(DocumentError::Invalid(vec![fault]))
    }
}

/// The rule about the token pair, in ZenML's words.
pub const TOKEN_PAIR: &str = "Modal token_id and token_secret must be configured together.";

#[cfg(test)]
mod tests {
    use super::super::class::{
        ORCHESTRATOR_CONFIG, ORCHESTRATOR_SETTINGS, SANDBOX_CONFIG, SANDBOX_SETTINGS,
    };
    use super::super::reference::KeptByHost;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn kinds(class: &'static super::Class, document: &str) -> Vec<String> {
        let faults = class.parse(document, &KeptByHost).unwrap_err();
        faults.into_iter().map(|fault| fault.kind).collect()
    }

    #[test]
    fn all_faults_come_at_once_in_the_order_of_the_class() {
        let document = r#"{"timeout": 0, "synchronous": 7, "gpu": 1}"#;
        let expected = ["string_type", "greater_than_equal", "bool_parsing"];
        assert_eq!(kinds(&ORCHESTRATOR_SETTINGS, document), expected);
    }

    #[test]
    fn only_objects_are_documents() {
        assert_eq!(kinds(&ORCHESTRATOR_SETTINGS, "[]"), ["model_type"]);
        assert_eq!(kinds(&ORCHESTRATOR_SETTINGS, "{"), ["json_invalid"]);
    }

    #[test]
    fn a_token_that_the_host_keeps_counts_as_one() {
        let whole = r#"{"token_id": "{{modal.id}}", "token_secret": "as-1"}"#;
        assert!(ORCHESTRATOR_CONFIG.parse(whole, &KeptByHost).is_ok());
        let half = r#"{"token_id": "{{modal.id}}"}"#;
        assert_eq!(kinds(&ORCHESTRATOR_CONFIG, half), ["value_error"]);
    }

    #[test]
    fn only_a_configuration_takes_a_text_for_a_map() {
        let document = r#"{"sandbox_environment": "{\"A\": \"1\"}"}"#;
        let config = SANDBOX_CONFIG.parse(document, &KeptByHost).unwrap();
        assert_eq!(config.values()["sandbox_environment"], json!({"A": "1"}));
        assert_eq!(kinds(&SANDBOX_SETTINGS, document), ["dict_type"]);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0_i64..90_000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ -~]{0,9}".prop_map(Value::from),
            "[0-9_.+ -]{0,6}".prop_map(Value::from),
            Just(json!({"A": "1"})),
            Just(json!([])),
        ]
    }

    proptest! {
        #[test]
        fn a_document_read_again_is_itself(
            values in proptest::collection::vec(
                (proptest::sample::select(vec![
                    "gpu", "timeout", "cpu", "memory", "sandbox_environment", "image", "app_name",
                    "token_id", "token_secret", "synchronous", "other",
                ]), any_value()), 0..6)
        ) {
            let values: Map<String, Value> =
                values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            for class in super::super::class::CLASSES {
                let Ok(document) = class.read(values.clone(), &KeptByHost).result else {
                    continue;
                };
                let again = class.read(document.values().clone(), &KeptByHost).result.unwrap();
                prop_assert_eq!(again.values(), document.values());
            }
        }
    }
}
