//! The examples for Modal's cloud, on this machine.

use std::collections::BTreeMap;

use crate::world::{World, examples};

#[test]
fn hello_works_out_pi_on_this_machine() {
    let world = World::new();
    let run = world.run(&examples().join("modal-hello.yaml")).expect(0);
    let names = ["chance", "integral", "pi", "series", "where"];
    assert_eq!(run.steps(), names.map(|name| (name, "completed")).into());
    assert!(world.log("where").starts_with("hello from "));
    assert_eq!(world.log("series"), "Machin's series:  3.141592653590\n");
    // How sums of many numbers are rounded differs between machines.
    let last_number = |step: &str| -> f64 {
        let log = world.log(step);
        log.split_whitespace().last().unwrap().parse().unwrap()
    };
    assert!((last_number("integral") - std::f64::consts::PI).abs() < 1e-9);
    assert!((last_number("chance") - std::f64::consts::PI).abs() < 1e-2);
}

#[test]
fn without_a_gpu_the_gpu_example_says_so() {
    let world = World::with_a_shell_alone();
    let run = world.run(&examples().join("modal-gpu.yaml")).expect(1);
    assert_eq!(
        run.steps(),
        BTreeMap::from([("device", "failed"), ("multiply", "skipped")])
    );
    assert_eq!(
        world.log("device"),
        "There is no NVIDIA GPU here: nvidia-smi is not installed. Run this with --on modal.\n"
    );
}
