//! Writes to the log, and complains.

use super::bindings::zenml::flavor::log::{Level, emit};
use super::bindings::zenml::flavor::types::{Error, ServiceError};
use super::{number, text};

pub(super) fn attack(name: &str, arguments: &[&str]) -> Result<Option<String>, Error> {
    match name {
        "log" => emit(Level::Warn, text(arguments, 0)),
        "log-flood" => {
            let line = "x".repeat(number(arguments, 1));
            for _ in 0..number(arguments, 0) {
                emit(Level::Info, &line);
            }
        }
        // As an honest plugin would pass on what a server said.
        "fail" => {
            return Err(Error::Service(ServiceError {
                operation: "Operation".to_owned(),
                code: 16,
                message: text(arguments, 0).to_owned(),
            }));
        }
        _ => return Ok(None),
    }
    Ok(Some(String::new()))
}
