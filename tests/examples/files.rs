//! Which examples there are.

use std::{fs, path::Path};

use serde_json::Value;

use crate::world::{World, examples};

#[test]
fn every_example_is_valid_and_in_the_readme() {
    let world = World::new();
    let readme = fs::read_to_string(examples().join("README.md")).unwrap();
    let mut pipelines = Vec::new();
    find_pipelines(&examples(), "", &mut pipelines);
    pipelines.sort();
    assert_eq!(
        pipelines,
        [
            "harvest/pipeline.yaml",
            "modal-gpu.yaml",
            "modal-hello.yaml"
        ]
    );
    for pipeline in pipelines {
        let path = examples().join(&pipeline);
        let output = world.flavor(&["validate", path.to_str().unwrap(), "--json"]);
        assert!(output.status.success(), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["valid"], true, "{pipeline}: {answer}");
        assert_eq!(answer["warnings"], Value::Array(vec![]), "{pipeline}");
        let command = format!("run examples/{pipeline}");
        assert!(readme.contains(&command), "README.md lacks `{command}`");
    }
}

/// Adds the pipeline files below a directory, as paths from the first one.
fn find_pipelines(directory: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{below}{name}");
        if entry.file_type().unwrap().is_dir() {
            find_pipelines(&entry.path(), &format!("{path}/"), found);
        } else if name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json") {
            found.push(path);
        }
    }
}
