//! What is found wrong with a pipeline before anything starts.

use super::{pipeline, step};
use crate::dag::machine::ExecutionMode;
use crate::modal::image::RegistryLogin;
use crate::run::plan::{Pipeline, Plan, RegistryCredentials, Step};

fn faults(pipeline: Pipeline) -> Vec<(String, String)> {
    let faults = Plan::new(pipeline, None).unwrap_err();
    faults
        .into_iter()
        .map(|fault| (fault.path.join("."), fault.kind))
        .collect()
}

fn places(steps: Vec<Step>) -> Vec<(String, String)> {
    faults(pipeline(ExecutionMode::FailFast, steps))
}

#[test]
fn everything_wrong_is_found_at_once_and_in_its_place() {
    let odd = Step {
        command: Vec::new(),
        image: " ".into(),
        settings: r#"{"timeout": 0, "gpu": 4}"#.into(),
        cpu_count: Some(0.0),
        memory: Some("2G".into()),
        environment: vec![("1A".into(), String::new()), ("B".into(), "\0".into())],
        delay: -1.0,
        backoff: 0.5,
        ..step("odd", &["other"])
    };
    let found = places(vec![odd]);
    let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(
        places,
        [
            "steps.odd.after",
            "steps.odd.command",
            "steps.odd.image",
            "steps.odd.environment.1A",
            "steps.odd.environment.B",
            "steps.odd.resources.cpu_count",
            "steps.odd.resources.memory",
            "steps.odd.settings.gpu",
            "steps.odd.settings.timeout",
            "steps.odd.retry.delay",
            "steps.odd.retry.backoff",
        ]
    );
}

#[test]
fn gpu_rules_are_applied() {
    let counted = Step {
        gpu_count: Some(1),
        ..step("a", &[])
    };
    assert_eq!(
        places(vec![counted.clone()]),
        [("steps.a.settings.gpu".into(), "gpu".into())]
    );
    let ignored = Step {
        gpu_count: Some(0),
        settings: r#"{"gpu": "T4"}"#.into(),
        ..counted
    };
    let plan = Plan::new(pipeline(ExecutionMode::FailFast, vec![ignored]), None).unwrap();
    assert!(plan.steps[0].template.gpu.is_none());
    assert_eq!(plan.warnings.len(), 1);
}

#[test]
fn arguments_are_bounded_as_the_sdk_bounds_them() {
    let long = |length: usize| Step {
        command: vec!["x".repeat(length)],
        ..step("a", &[])
    };
    assert!(Plan::new(pipeline(ExecutionMode::FailFast, vec![long(65_536)]), None).is_ok());
    assert_eq!(places(vec![long(65_537)]).len(), 1);
}

#[test]
fn a_login_goes_to_images_of_its_registry_only() {
    let image = |name: &str, image: &str| Step {
        image: image.into(),
        ..step(name, &[])
    };
    let credentials = RegistryCredentials {
        registry: "reg.io/team".into(),
        login: RegistryLogin {
            username: "bob".into(),
            password: "pw".into(),
        },
    };
    let steps = vec![
        image("ours", "reg.io/team/x"),
        image("theirs", "reg.io/teammate/x"),
    ];
    let plan = Plan::new(pipeline(ExecutionMode::FailFast, steps), Some(&credentials)).unwrap();
    let logins: Vec<bool> = plan.steps.iter().map(|step| step.login.is_some()).collect();
    assert_eq!(logins, [true, false]);
}

#[test]
fn an_empty_pipeline_is_no_pipeline() {
    assert_eq!(places(Vec::new()), [("steps".into(), "empty".into())]);
}
