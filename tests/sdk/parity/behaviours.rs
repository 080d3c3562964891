//! Behaviours, and the tests that hold them in place.

use crate::sources;
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// The directory in which paths of tests begin.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// One behaviour.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Behaviour {
    side: Side,
    text: String,
    /// `path::name`
    #[serde(default)]
    tests: Vec<String>,
    /// `suite::file::name`
    #[serde(skip)]
    checks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Client,
    Server,
}

/// All, with the checks of the suites that name them.
pub(super) fn all() -> Vec<Behaviour> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        behaviour: Vec<Behaviour>,
    }
    let list: List = toml::from_str(include_str!("behaviours.toml")).expect("a list");
    let mut behaviours = list.behaviour;
    for suite in ["python", "js", "zenml"] {
        for check in sources::checks(suite) {
            for number in &check.behaviours {
                let name = format!("{suite}::{}", check.name);
                let named = number.checked_sub(1).and_then(|at| behaviours.get_mut(at));
                let named = named.unwrap_or_else(|| panic!("{name}: no behaviour {number}"));
                named.checks.push(name);
            }
        }
    }
    behaviours
}

impl Behaviour {
    pub(super) fn side(&self) -> &'static str {
        match self.side {
            Side::Client => "client",
            Side::Server => "server",
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// As they are shown.
    pub(super) fn tests(&self) -> Vec<String> {
        let tests = self.tests.iter().chain(&self.checks);
        tests.map(|name| format!("`{name}`")).collect()
    }

    /// Tests that are named and do not exist.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.tests.iter().filter(|test| !exists(test));
        missing.cloned().collect()
    }
}

/// Whether there is such a test: a function with a test's attribute, or an entry
/// in a table of tests.
fn exists(test: &str) -> bool {
    let Some((path, name)) = test.split_once("::") else {
        return false;
    };
    let Ok(source) = fs::read_to_string(Path::new(ROOT).join(path)) else {
        return false;
    };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_function = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('('))
    };
    let is_test = |at: usize| {
        let above = lines[..at].iter().rev();
        let mut attributes =
            above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    let function = (0..lines.len()).any(|at| is_function(lines[at]) && is_test(at));
    function || source.contains(&format!("::{name}\""))
}
