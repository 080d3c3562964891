//! The same arguments through Modal's SDK and through the plugin, and what the
//! server gets of each.

use crate::Test;
use crate::flavor::{Order, block_on, step};
use crate::foreign::{Foreign, Recorded, TOKEN_ID, TOKEN_SECRET};
use crate::python;
use flavor_host::contract::{Event, RegistryCredentials, Resources, Step, StopMode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;

pub(crate) const TESTS: &[Test] = &[(
    "equality::requests_are_those_of_the_sdk",
    requests_are_those_of_the_sdk,
)];

fn requests_are_those_of_the_sdk() {
    let allowed = Allowed::read();
    let mut differences = Vec::new();
    for case in cases() {
        let server = Foreign::start();
        let duration = if case.is_terminated { 3600.0 } else { 0.1 };
        server.script("*", json!({"duration": duration}));
        case.through_sdk(&server);
        let theirs = server.requests();
        case.through_plugin(&server);
        let ours = server.requests();
        assert!(server.sandboxes().iter().all(|sandbox| !sandbox.running));
        let mut comparison = Comparison {
            case: case.name,
            allowed: &allowed,
            differences: &mut differences,
        };
        if case.is_terminated {
            comparison.of_only("SandboxTerminate", &theirs, &ours);
        } else {
            comparison.of_all(&theirs, &ours);
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n\n"));
    assert_eq!(allowed.idle(), [""; 0], "nothing needs these any more");
}

/// Arguments for both.
struct Case {
    name: &'static str,
    /// For the plugin.
    step: Step,
    registry: Option<RegistryCredentials>,
    options: Map<String, Value>,
    /// The same for the SDK: keyword arguments, the secret, settings.
    sdk: Value,
    secret: Value,
    app_environment: Option<&'static str>,
    variables: &'static [(&'static str, &'static str)],
    /// Whether the sandbox is ended instead of waited for.
    is_terminated: bool,
}

impl Case {
    /// A step, and the SDK's keyword arguments that mean the same.
    fn new(name: &'static str, step: Step, sdk: Value) -> Self {
        Self {
            name,
            step,
            registry: None,
            options: Map::new(),
            sdk,
            secret: json!({}),
            app_environment: None,
            variables: &[],
            is_terminated: false,
        }
    }

    fn through_plugin(&self, server: &Foreign) {
        let mut order = Order::new(vec![self.step.clone()]);
        order.registry = self.registry.clone();
        order.options = self.options.clone();
        block_on(async {
            if !self.is_terminated {
                return order.run(server).await.assert_completed();
            }
            let mut run = order.start(server).await.expect("the run starts");
            while let Some(event) = run.next().await {
                if matches!(event, Event::StepStarted(_)) {
                    run.stop(StopMode::Force).await.expect("the run stops");
                }
            }
        });
    }

    fn through_sdk(&self, server: &Foreign) {
        let mut options = self.sdk.clone();
        options["name"] = format!("{}.0", self.step.name).into();
        options["tags"] = json!({
            "zenml_run_id": "r1",
            "zenml_step": self.step.name,
            "zenml_attempt": "0",
            "zenml_epoch": "1",
        });
        let login = self.registry.as_ref().map(|registry| {
            json!({
                "REGISTRY_USERNAME": registry.username,
                "REGISTRY_PASSWORD": registry.password,
            })
        });
        let call = json!({
            "app": "zenml-r1",
            "app_environment": self.app_environment,
            "image": self.step.image,
            "registry": login,
            "command": self.step.command,
            "secret": self.secret,
            "options": options,
            "wait": !self.is_terminated,
        });
        let mut sdk = python::program("sdk.py");
        sdk.env("MODAL_SERVER_URL", server.url())
            .env("MODAL_TOKEN_ID", TOKEN_ID)
            .env("MODAL_TOKEN_SECRET", TOKEN_SECRET)
            // Nobody's own settings.
            .env("MODAL_CONFIG_PATH", "/dev/null")
            .envs(self.variables.iter().copied());
        let mut sdk = sdk.stdin(Stdio::piped()).spawn().expect("the SDK starts");
        let mut stdin = sdk.stdin.take().unwrap();
        write!(stdin, "{call}").expect("the SDK takes its call");
        drop(stdin);
        let status = sdk.wait().expect("the SDK ends");
        assert!(status.success(), "{}: the SDK failed", self.name);
    }
}

fn cases() -> Vec<Case> {
    let variables = |list: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        list.iter().map(owned).collect::<Vec<(String, String)>>()
    };
    let resources = |cpu_count, gpu_count, memory: Option<&str>| Resources {
        cpu_count,
        gpu_count,
        memory: memory.map(Into::into),
    };
    let with_settings = |settings: Value| Step {
        settings: settings.to_string(),
        ..step("train", &[])
    };
    let gpu = |text: &str| with_settings(json!({"gpu": text, "timeout": 300}));
    let login = RegistryCredentials {
        registry: "reg.example.com/team".into(),
        username: "bob".into(),
        password: "p:w".into(),
    };
    let private = Step {
        image: "reg.example.com/team/app@sha256:00".into(),
        ..gpu("L4")
    };
    let everything = Step {
        command: ["python", "-c", "print('grüße')", ""]
            .map(Into::into)
            .into(),
        resources: resources(Some(2.5), None, Some("2GB")),
        environment: variables(&[
            ("B", "2"),
            ("A", "1"),
            ("EMPTY", ""),
            ("MODAL_TOKEN_ID", "ak-x"),
            ("ZENML_STORE_API_TOKEN", "zt"),
        ]),
        settings: json!({"region": "us-east-1", "cloud": "aws", "timeout": 3600}).to_string(),
        ..step("train", &[])
    };
    let plain = json!({"B": "2", "A": "1", "EMPTY": ""});
    let secret = json!({"MODAL_TOKEN_ID": "ak-x", "ZENML_STORE_API_TOKEN": "zt"});
    let everything_sdk = json!({
        "cpu": 2.5, "memory": 2000, "env": plain,
        "region": "us-east-1", "cloud": "aws", "timeout": 3600,
    });
    let everything_on_gpu = Step {
        settings: json!({
            "region": "us-east-1", "cloud": "aws", "timeout": 3600, "gpu": "a100-80gb:4",
        })
        .to_string(),
        ..everything.clone()
    };
    let mut everything_on_gpu_sdk = everything_sdk.clone();
    everything_on_gpu_sdk["gpu"] = "a100-80gb:4".into();
    let short = || with_settings(json!({"timeout": 60}));
    let short_sdk = || json!({"timeout": 60});
    vec![
        Case::new(
            "nothing asked for",
            step("train", &[]),
            json!({"timeout": 86_400}),
        ),
        Case {
            secret: secret.clone(),
            ..Case::new("everything", everything, everything_sdk)
        },
        Case {
            secret,
            ..Case::new(
                "everything and GPUs",
                everything_on_gpu,
                everything_on_gpu_sdk,
            )
        },
        Case::new("a GPU", gpu("T4"), json!({"gpu": "T4", "timeout": 300})),
        Case::new(
            "exactly a GPU",
            gpu("H100!"),
            json!({"gpu": "H100!", "timeout": 300}),
        ),
        Case::new(
            "GPUs by number",
            Step {
                resources: resources(Some(0.125), Some(2), Some("512MiB")),
                ..gpu("A100")
            },
            json!({"gpu": "A100:2", "cpu": 0.125, "memory": 537, "timeout": 300}),
        ),
        Case {
            registry: Some(login.clone()),
            ..Case::new(
                "private image",
                private.clone(),
                json!({"gpu": "L4", "timeout": 300}),
            )
        },
        Case {
            registry: Some(login),
            ..Case::new(
                "private image without a GPU",
                Step {
                    settings: short().settings,
                    ..private
                },
                short_sdk(),
            )
        },
        Case {
            app_environment: Some("staging"),
            ..Case::new(
                "an environment for the app",
                with_settings(json!({"modal_environment": "staging", "timeout": 60})),
                short_sdk(),
            )
        },
        Case {
            app_environment: Some("staging"),
            options: options(json!({"environment": "dev"})),
            variables: &[("MODAL_ENVIRONMENT", "dev")],
            ..Case::new(
                "environments for the app and for all else",
                Step {
                    environment: variables(&[("A", "1")]),
                    ..with_settings(
                        json!({"modal_environment": "staging", "gpu": "T4", "timeout": 60}),
                    )
                },
                json!({"timeout": 60, "gpu": "T4", "env": {"A": "1"}}),
            )
        },
        Case {
            options: options(json!({"sandbox_v2": false})),
            variables: &[("MODAL_SANDBOX_V2", "0")],
            ..Case::new("the older backend by choice", short(), short_sdk())
        },
        Case {
            options: options(json!({"image_builder_version": "2026.10"})),
            variables: &[("MODAL_IMAGE_BUILDER_VERSION", "2026.10")],
            ..Case::new("another image builder", short(), short_sdk())
        },
        Case {
            is_terminated: true,
            ..Case::new("ended", short(), short_sdk())
        },
        Case {
            is_terminated: true,
            ..Case::new(
                "ended on the older backend",
                gpu("T4"),
                json!({"gpu": "T4"}),
            )
        },
    ]
}

fn options(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// Looks for differences.
pub(crate) struct Comparison<'a> {
    pub(crate) case: &'static str,
    pub(crate) allowed: &'a Allowed,
    pub(crate) differences: &'a mut Vec<String>,
}

impl Comparison<'_> {
    fn of_all(&mut self, theirs: &[Recorded], ours: &[Recorded]) {
        self.of_only("", theirs, ours);
    }

    /// Of operations whose name begins so.
    fn of_only(&mut self, prefix: &str, theirs: &[Recorded], ours: &[Recorded]) {
        let theirs = by_rpc(theirs, prefix);
        let ours = by_rpc(ours, prefix);
        assert!(!theirs.is_empty(), "{}: the SDK asked nothing", self.case);
        let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        for rpc in names {
            match (theirs.get(rpc), ours.get(rpc)) {
                (Some(theirs), Some(ours)) if theirs.len() == ours.len() => {
                    for (theirs, ours) in theirs.iter().zip(ours) {
                        self.request(rpc, theirs, ours);
                    }
                }
                (Some(_), None) if self.allowed.rpc_only(rpc, Who::Sdk) => {}
                (None, Some(_)) if self.allowed.rpc_only(rpc, Who::Plugin) => {}
                (theirs, ours) => {
                    let number = |list: Option<&Vec<_>>| list.map_or(0, Vec::len);
                    let (theirs, ours) = (number(theirs), number(ours));
                    self.report(
                        rpc,
                        &format!("asked {theirs} times"),
                        &format!("{ours} times"),
                    );
                }
            }
        }
    }

    /// Of one request.
    pub(crate) fn request(&mut self, rpc: &str, theirs: &Recorded, ours: &Recorded) {
        if theirs.message != ours.message {
            let (theirs, ours) = (sorted(&theirs.message), sorted(&ours.message));
            self.report(rpc, &theirs.to_string(), &ours.to_string());
        }
        let names: BTreeSet<&String> = theirs.headers.keys().chain(ours.headers.keys()).collect();
        for name in names {
            let is_equal = match (theirs.headers.get(name), ours.headers.get(name)) {
                (Some(theirs), Some(ours)) => {
                    theirs == ours || self.allowed.header_each(name, theirs, ours)
                }
                (Some(_), None) => self.allowed.header_only(name, Who::Sdk),
                (None, _) => self.allowed.header_only(name, Who::Plugin),
            };
            if !is_equal {
                let told = |headers: &BTreeMap<String, String>| {
                    let value = headers.get(name).map_or("absent", String::as_str);
                    format!("{name}: {value}")
                };
                self.report(rpc, &told(&theirs.headers), &told(&ours.headers));
            }
        }
    }

    pub(crate) fn report(&mut self, rpc: &str, theirs: &str, ours: &str) {
        let case = self.case;
        self.differences.push(format!(
            "{case}: {rpc}\n  SDK:    {theirs}\n  plugin: {ours}"
        ));
    }
}

/// Requests by operation, with ids replaced by what they stand for.
fn by_rpc(requests: &[Recorded], prefix: &str) -> BTreeMap<String, Vec<Recorded>> {
    let mut secrets = BTreeMap::new();
    for request in requests {
        if let Some(id) = request.answer["secret_id"].as_str() {
            let contents = format!("secret of {}", sorted(&request.message["env_dict"]));
            secrets.insert(id.to_owned(), contents);
        }
    }
    let mut by_rpc: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
    for request in requests
        .iter()
        .filter(|request| request.rpc.starts_with(prefix))
    {
        let mut request = request.clone();
        replace_ids(&mut request.message, &secrets, &request.sandbox);
        by_rpc.entry(request.rpc.clone()).or_default().push(request);
    }
    // The SDK stores secrets at the same time, in any order.
    for list in by_rpc.values_mut() {
        list.sort_by_key(|request| sorted(&request.message).to_string());
    }
    by_rpc
}

/// With the keys of all objects in order: a map of Protobuf has none.
pub(crate) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(values) => {
            let values: BTreeMap<_, _> = values.iter().map(|(k, v)| (k, sorted(v))).collect();
            json!(values)
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

fn replace_ids(value: &mut Value, secrets: &BTreeMap<String, String>, sandbox: &str) {
    match value {
        Value::String(text) => {
            if let Some(contents) = secrets.get(text) {
                text.clone_from(contents);
            } else if text.starts_with("sb-") {
                *text = format!("sandbox {sandbox}");
            } else if text.starts_with("im-") {
                // One image for each case.
                *text = "image".to_owned();
            }
        }
        Value::Array(values) => {
            for value in values {
                replace_ids(value, secrets, sandbox);
            }
        }
        Value::Object(values) => {
            for value in values.values_mut() {
                replace_ids(value, secrets, sandbox);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The reviewed list.
pub(crate) struct Allowed {
    entries: Vec<Entry>,
    used: std::cell::RefCell<BTreeSet<usize>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    header: Option<String>,
    rpc: Option<String>,
    only: Option<Who>,
    each: Option<Shape>,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Who {
    Sdk,
    Plugin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shape {
    Deadline,
    Seconds,
    Text,
    Token,
    Uuid,
}

impl Allowed {
    pub(crate) fn read() -> Self {
        Self::parse(&[include_str!("allowed-differences.toml")])
    }

    /// Understands lists, one after the other.
    pub(crate) fn parse(lists: &[&str]) -> Self {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct List {
            difference: Vec<Entry>,
        }
        let list = |text: &&str| toml::from_str::<List>(text).expect("a list").difference;
        let entries: Vec<Entry> = lists.iter().flat_map(list).collect();
        assert!(entries.iter().all(|entry| !entry.reason.is_empty()));
        Self {
            entries,
            used: Default::default(),
        }
    }

    fn rpc_only(&self, rpc: &str, who: Who) -> bool {
        self.uses(|entry| entry.rpc.as_deref() == Some(rpc) && entry.only == Some(who))
    }

    fn header_only(&self, name: &str, who: Who) -> bool {
        self.uses(|entry| entry.header.as_deref() == Some(name) && entry.only == Some(who))
    }

    fn header_each(&self, name: &str, theirs: &str, ours: &str) -> bool {
        self.uses(|entry| {
            entry.header.as_deref() == Some(name)
                && entry.each.is_some_and(|shape| shape.fits(theirs, ours))
        })
    }

    fn uses(&self, fits: impl Fn(&Entry) -> bool) -> bool {
        let found = self.entries.iter().position(fits);
        self.used.borrow_mut().extend(found);
        found.is_some()
    }

    /// Entries that allowed nothing.
    pub(crate) fn idle(&self) -> Vec<String> {
        let used = self.used.borrow();
        let idle = self.entries.iter().enumerate();
        idle.filter(|(position, _)| !used.contains(position))
            .map(|(_, entry)| format!("{entry:?}"))
            .collect()
    }
}

impl Shape {
    fn fits(self, theirs: &str, ours: &str) -> bool {
        match self {
            Self::Text => !theirs.is_empty() && !ours.is_empty(),
            Self::Uuid => [theirs, ours].into_iter().all(is_uuid),
            Self::Token => [theirs, ours]
                .into_iter()
                .all(|text| text.split('.').count() == 3),
            Self::Seconds => match (theirs.parse::<f64>(), ours.parse::<f64>()) {
                (Ok(theirs), Ok(ours)) => (theirs - ours).abs() < 3600.0,
                _ => false,
            },
            Self::Deadline => match (milliseconds(theirs), milliseconds(ours)) {
                // Whole seconds are rounded down.
                (Some(theirs), Some(ours)) => theirs <= ours && ours - theirs < 1_500,
                _ => false,
            },
        }
    }
}

pub(crate) fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hex = |c: char| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c);
    lengths == [8, 4, 4, 4, 12] && text.chars().all(is_hex)
}

/// The value of `grpc-timeout`.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text.strip_prefix(digits)? {
        "S" => Some(number * 1000),
        "m" => Some(number),
        "u" => Some(number / 1000),
        "n" => Some(number / 1_000_000),
        _ => None,
    }
}
