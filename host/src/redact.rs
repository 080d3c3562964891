//! Keeps secrets out of what a plugin says: texts that are shown, and records.

use crate::contract::{self, Change, Event};
use crate::credentials::Secret;
use serde_json::{Map, Value};

/// Replaces secrets by `***`: those that it knows, and whatever looks like a JWT. A
/// service hands out short-lived ones at run time; the guest holds them, and they
/// open sandboxes.
///
/// It guards against secrets that turn up by mistake, such as in a server's
/// answer that repeats them. What a plugin was given, such as the login of a
/// registry, it can always spell differently; the credentials of the service it
/// never has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redactor {
    secrets: Vec<Secret>,
}

/// A shorter text turns up everywhere: replacing it would garble messages and
/// give the secret away by where it is missing.
const SHORTEST: usize = 6;

impl Redactor {
    pub(crate) fn new(secrets: Vec<Secret>) -> Self {
        let mut secrets: Vec<Secret> = secrets
            .into_iter()
            .filter(|secret| secret.reveal().len() >= SHORTEST)
            .collect();
        // A secret that contains another one goes first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        Self { secrets }
    }

    /// The text without the secrets.
    pub(crate) fn redact(&self, text: String) -> String {
        let mut text = text;
        for secret in &self.secrets {
            if text.contains(secret.reveal()) {
                text = text.replace(secret.reveal(), "***");
            }
        }
        without_tokens(text)
    }

    /// An error of the contract without the secrets.
    pub(crate) fn error(&self, error: contract::Error) -> contract::Error {
        use contract::{Error, StoreError};
        match error {
            Error::Invalid(mut faults) => {
                for fault in &mut faults {
                    self.clean(&mut fault.kind);
                    self.clean(&mut fault.message);
                    fault.path.iter_mut().for_each(|key| self.clean(key));
                }
                Error::Invalid(faults)
            }
            Error::Refused(mut refusal) => {
                self.clean(&mut refusal.asked);
                self.clean(&mut refusal.reason);
                Error::Refused(refusal)
            }
            Error::Service(mut error) => {
                self.clean(&mut error.operation);
                self.clean(&mut error.message);
                Error::Service(error)
            }
            Error::Unreachable(mut error) => {
                self.clean(&mut error.operation);
                self.clean(&mut error.reason);
                Error::Unreachable(error)
            }
            Error::Store(StoreError::Unavailable(reason)) => {
                Error::Store(StoreError::Unavailable(self.redact(reason)))
            }
            Error::NotFound(what) => Error::NotFound(self.redact(what)),
            Error::Unsupported(what) => Error::Unsupported(self.redact(what)),
            Error::Internal(what) => Error::Internal(self.redact(what)),
            same @ (Error::Store(_) | Error::Cancelled) => same,
        }
    }

    /// An event without the secrets. What steps wrote stays as it is: it is
    /// theirs, and comes in pieces of which none need hold a whole secret.
    pub(crate) fn event(&self, event: Event) -> Event {
        match event {
            Event::StepStarted(mut started) => {
                self.clean(&mut started.sandbox);
                Event::StepStarted(started)
            }
            Event::StepFinished(mut finished) => {
                finished.reason = finished.reason.map(|reason| self.redact(reason));
                Event::StepFinished(finished)
            }
            Event::Warning(mut warning) => {
                self.clean(&mut warning.message);
                Event::Warning(warning)
            }
            Event::RunFinished(mut finished) => {
                finished.error = finished.error.map(|error| self.error(error));
                Event::RunFinished(finished)
            }
            same @ (Event::Output(_) | Event::OutputLost(_)) => same,
        }
    }

    /// A change for the run store without the secrets.
    ///
    /// # Errors
    ///
    /// When its metadata is not what the contract says: one JSON object.
    pub(crate) fn change(&self, change: Change) -> serde_json::Result<Change> {
        Ok(match change {
            Change::Created(mut created) => {
                self.clean(&mut created.sandbox);
                Change::Created(created)
            }
            Change::Step(mut step) => {
                step.reason = step.reason.map(|reason| self.redact(reason));
                Change::Step(step)
            }
            Change::Run(mut run) => {
                run.reason = run.reason.map(|reason| self.redact(reason));
                Change::Run(run)
            }
            Change::Metadata(mut metadata) => {
                let values: Map<String, Value> = serde_json::from_str(&metadata.values)?;
                metadata.values = self.value(Value::Object(values)).to_string();
                Change::Metadata(metadata)
            }
            same @ Change::Intent(_) => same,
        })
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact(text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| (self.redact(key), self.value(value)))
                .collect(),
            same @ (Value::Null | Value::Bool(_) | Value::Number(_)) => same,
        }
    }

    fn clean(&self, text: &mut String) {
        *text = self.redact(std::mem::take(text));
    }
}

/// How the JSON object in front of every JWT begins, in base64.
const TOKEN_START: &str = "eyJ";

/// The text without JWTs: three parts of URL-safe base64 with dots in between, the
/// last of which, the signature, may be cut off.
fn without_tokens(text: String) -> String {
    if !text.contains(TOKEN_START) {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, found)) = rest
        .find(TOKEN_START)
        .and_then(|at| rest.split_at_checked(at))
    {
        let (token, after) = match token_length(found) {
            Some(length) => ("***", found.get(length..).unwrap_or_default()),
            None => (
                TOKEN_START,
                found.strip_prefix(TOKEN_START).unwrap_or_default(),
            ),
        };
        clean.push_str(before);
        clean.push_str(token);
        rest = after;
    }
    clean.push_str(rest);
    clean
}

/// How long the JWT is that a text begins with, if it is one.
fn token_length(text: &str) -> Option<usize> {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let length = text.bytes().take_while(|byte| is_of_token(byte)).count();
    let mut parts = text.get(..length)?.split('.');
    let is_full = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
    (is_full(parts.next()) && is_full(parts.next())).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::Redactor;
    use crate::contract::{Change, Error, Event, Metadata, RunFinished, RunStatus, ServiceError};
    use crate::credentials::Secret;

    #[test]
    fn secrets_are_replaced_longest_first() {
        let redactor = Redactor::new(vec![
            Secret::new("secret"),
            Secret::new("secret-and-more"),
            Secret::new("abc"),
        ]);
        let text = "abc secret-and-more secret".to_owned();
        assert_eq!(redactor.redact(text), "abc *** ***");
    }

    #[test]
    fn secrets_are_replaced_deep_inside() {
        let redactor = Redactor::new(vec![Secret::new("pass\"word")]);
        let event = redactor.event(Event::RunFinished(RunFinished {
            status: RunStatus::Failed,
            error: Some(Error::Service(ServiceError {
                operation: "Create".into(),
                code: 16,
                message: "no user pass\"word".into(),
            })),
            steps: Vec::new(),
        }));
        assert!(!format!("{event:?}").contains("word"), "{event:?}");

        let metadata = |values: &str| {
            Change::Metadata(Metadata {
                step: None,
                values: values.into(),
            })
        };
        let escaped = r#"{"a":[{"pass\"word":"x pass\u0022word y"}],"b":1}"#;
        assert_eq!(
            redactor.change(metadata(escaped)).unwrap(),
            metadata(r#"{"a":[{"***":"x *** y"}],"b":1}"#)
        );
    }

    #[test]
    fn tokens_of_the_service_are_replaced_unknown_as_they_are() {
        let redactor = Redactor::default();
        for (text, expected) in [
            (
                "Bearer eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln-_!",
                "Bearer ***!",
            ),
            ("a eyJh.eyJl b eyJh.eyJl.c", "a *** b ***"),
            ("eyJhbGciOiJ", "eyJhbGciOiJ"),
            ("eyJ. eyJ eyJa.", "eyJ. eyJ eyJa."),
            ("äeyJh.eyJl.sö", "ä***ö"),
        ] {
            assert_eq!(redactor.redact(text.to_owned()), expected);
        }
    }

    #[test]
    fn metadata_is_one_object() {
        for values in ["", "[1]", "7", "{", "{} {}", &"[".repeat(100_000)] {
            let change = Change::Metadata(Metadata {
                step: None,
                values: values.into(),
            });
            assert!(Redactor::default().change(change).is_err(), "{values:.20}");
        }
    }
}
