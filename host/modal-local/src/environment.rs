//! The variables of a command, gathered from a request.

use std::collections::BTreeMap;

use modal_proto::client::secret_source::Source;
use tonic::Status;

use crate::{ids::SecretId, store::Store};

/// Lays variables over one another, in this order.
pub(crate) fn overlay(
    store: &Store,
    sources: impl IntoIterator<Item = Source>,
) -> Result<BTreeMap<String, String>, Status> {
    let mut env = BTreeMap::new();
    for source in sources {
        match source {
            Source::Env(map) => env.extend(map.contents),
            Source::SecretId(id) => {
                let secret = store.secrets.get(&SecretId::from_text(id.clone()));
                let secret =
                    secret.ok_or_else(|| Status::not_found(format!("secret {id} not found")))?;
                env.extend(secret.env.contents.clone());
            }
        }
    }
    for (key, value) in &env {
        if key.is_empty() || key.contains('=') || has_nul(key) {
            return Err(Status::invalid_argument(format!(
                "{key:?} cannot be the name of an environment variable"
            )));
        }
        if has_nul(value) {
            return Err(Status::invalid_argument(format!(
                "the value of the environment variable {key} contains a NUL byte"
            )));
        }
    }
    Ok(env)
}

/// Checks what is to be executed, and where: it can be given to `execve`.
pub(crate) fn check_command(argv: &[String], workdir: Option<&str>) -> Result<(), Status> {
    let invalid = |text: &str| Err(Status::invalid_argument(text));
    if workdir.is_some_and(|workdir| !workdir.starts_with('/')) {
        return invalid("the working directory must be an absolute path");
    }
    if workdir.is_some_and(has_nul) || argv.iter().any(has_nul) {
        return invalid("the command or its working directory contains a NUL byte");
    }
    if argv.first().is_some_and(String::is_empty) {
        return invalid("the command is the empty text");
    }
    Ok(())
}

fn has_nul(text: impl AsRef<str>) -> bool {
    text.as_ref().contains('\0')
}
