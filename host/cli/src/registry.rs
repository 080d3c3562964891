//! Logins for image registries.

use crate::exit::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flavor_host::contract::RegistryCredentials;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The login for a registry: `FLAVOR_REGISTRY_USERNAME` and
/// `FLAVOR_REGISTRY_PASSWORD`, else the entry of docker's configuration for
/// exactly that registry. None: images are pulled without a login.
pub(crate) fn login(registry: &str) -> Result<Option<RegistryCredentials>, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let pair = (
        variable("FLAVOR_REGISTRY_USERNAME"),
        variable("FLAVOR_REGISTRY_PASSWORD"),
    );
    let (username, password) = match pair {
        (Some(username), Some(password)) => (username, password),
        (None, None) => match docker_config().map(|file| from_docker(&file, registry)) {
            Some(found) => match found? {
                Some(pair) => pair,
                None => return Ok(None),
            },
            None => return Ok(None),
        },
        (Some(_), None) => return Err(half("FLAVOR_REGISTRY_PASSWORD")),
        (None, Some(_)) => return Err(half("FLAVOR_REGISTRY_USERNAME")),
    };
    Ok(Some(RegistryCredentials {
        registry: registry.to_owned(),
        username,
        password,
    }))
}

fn half(missing: &str) -> Failure {
    Failure::bad_input(format!(
        "{missing} is not set, but its counterpart is: set both, or neither"
    ))
}

fn docker_config() -> Option<PathBuf> {
    let directory = match std::env::var_os("DOCKER_CONFIG") {
        Some(directory) => PathBuf::from(directory),
        None => Path::new(&std::env::var_os("HOME")?).join(".docker"),
    };
    Some(directory.join("config.json"))
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    auth: Option<String>,
}

fn from_docker(file: &Path, registry: &str) -> Result<Option<(String, String)>, Failure> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::bad_input(format!(
                "{} cannot be read: {error}",
                file.display()
            )));
        }
    };
    // The parser's own words may quote a password.
    let config: DockerConfig = serde_json::from_str(&text).map_err(|error| {
        Failure::bad_input(format!(
            "{}:{}:{}: this is not what docker writes; log in again with `docker login`",
            file.display(),
            error.line(),
            error.column()
        ))
    })?;
    let Some(encoded) = config
        .auths
        .get(registry)
        .and_then(|entry| entry.auth.as_ref())
    else {
        return Ok(None);
    };
    let pair = STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| {
            let (username, password) = text.split_once(':')?;
            Some((username.to_owned(), password.to_owned()))
        });
    match pair {
        Some(pair) => Ok(Some(pair)),
        None => Err(Failure::bad_input(format!(
            "{}: the entry for {registry} holds no user name and password",
            file.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::from_docker;
    use std::fs;

    #[test]
    fn only_the_entry_for_exactly_that_registry_counts() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config.json");
        assert!(from_docker(&file, "reg.io").unwrap().is_none());
        fs::write(
            &file,
            r#"{"auths": {"reg.io/team": {"auth": "Ym9iOnA6dw=="}, "odd": {"auth": "?"}}}"#,
        )
        .unwrap();
        assert!(from_docker(&file, "reg.io").unwrap().is_none());
        let pair = from_docker(&file, "reg.io/team").unwrap().unwrap();
        assert_eq!(pair, ("bob".to_owned(), "p:w".to_owned()));
        assert!(from_docker(&file, "odd").is_err());
    }
}
