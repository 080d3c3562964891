//! Runs recorded cases of the original: those that the component decides
//! through its world, those of the run store through the host library.
//!
//! ```text
//! cargo test --test vectors                 # all areas
//! cargo test --test vectors -- gpu memory   # some
//! cargo test --test vectors -- --rules      # what is done otherwise, and why
//! ```
//!
//! `FLAVOR_VECTORS` names another directory with files of the same form.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what is printed is the result"
)]
#![allow(
    clippy::indexing_slicing,
    reason = "a key that a JSON value lacks gives null; the rest fails the test, as it should"
)]

mod case;
mod corrections;
mod guest;
mod public;
mod server;

use case::{Area, read_directory};
use corrections::Rules;
use guest::Guest;
use serde_json::Value;
use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

/// Who decides the cases of an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decider {
    Component,
    HostLibrary,
}

/// All areas, each a file of recordings.
const AREAS: [(&str, Decider); 13] = [
    ("gpu", Decider::Component),
    ("memory", Decider::Component),
    ("config", Decider::Component),
    ("flavor", Decider::Component),
    ("names", Decider::Component),
    ("environment", Decider::Component),
    ("status", Decider::Component),
    ("submission", Decider::Component),
    ("dag", Decider::Component),
    ("line_buffer", Decider::Component),
    ("sandbox", Decider::Component),
    ("validator", Decider::Component),
    ("server", Decider::HostLibrary),
];

fn main() -> ExitCode {
    let (flags, areas): (Vec<String>, Vec<String>) = env::args()
        .skip(1)
        .partition(|argument| argument.starts_with('-'));
    if flags.iter().any(|flag| flag == "--rules") {
        corrections::print();
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let all_passed = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(&areas)));
    match all_passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vectors: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the chosen areas, all when none is chosen; whether everything passed.
async fn run(chosen: &[String]) -> anyhow::Result<bool> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data");
    let directory = env::var_os("FLAVOR_VECTORS").map_or(own.clone(), PathBuf::from);
    let is_whole = chosen.is_empty() && directory == own;
    let mut areas = read_directory(&directory)?;
    for name in chosen {
        anyhow::ensure!(
            areas.iter().any(|area| area.name == *name),
            "there is no file {name}.json in {}",
            directory.display()
        );
    }
    areas.retain(|area| chosen.is_empty() || chosen.contains(&area.name));

    let mut rules = Rules::new()?;
    let mut guest = Guest::new()?;
    let mut all_passed = true;
    for area in &areas {
        all_passed &= run_area(area, &mut guest, &mut rules).await?;
    }
    if is_whole {
        all_passed &= nothing_is_missing(&areas);
        for id in rules.unused() {
            println!("the rule {id} applies to no case");
            all_passed = false;
        }
    }
    Ok(all_passed)
}

fn nothing_is_missing(areas: &[Area]) -> bool {
    let read: BTreeSet<&str> = areas.iter().map(|area| area.name.as_str()).collect();
    let missing: Vec<&str> = AREAS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !read.contains(name))
        .collect();
    for name in &missing {
        println!("there is no file {name}.json");
    }
    missing.is_empty()
}

/// Runs the cases of one file and prints its line; whether all passed.
async fn run_area(area: &Area, guest: &mut Guest, rules: &mut Rules) -> anyhow::Result<bool> {
    let decider = AREAS.iter().find(|(name, _)| *name == area.name);
    let mut passed = 0;
    let mut corrected = 0;
    for case in &area.cases {
        let answer = match decider {
            Some((_, Decider::Component)) => public::answer(guest, &area.name, &case.input).await?,
            Some((_, Decider::HostLibrary)) => server::answer(&case.input),
            None => serde_json::json!({"unknown": format!("the area {}", area.name)}),
        };
        let recorded = case::normalised(case.expected.clone());
        let (expected, applied) = match rules.correct(&area.name, &case.input, recorded) {
            Ok(correction) => correction,
            Err(reason) => {
                println!("{} {}: {reason}", area.name, case.id);
                continue;
            }
        };
        let answer = case::normalised(answer);
        if answer == expected {
            passed += 1;
            corrected += usize::from(!applied.is_empty());
        } else {
            report(area, &case.id, &case.input, &expected, &answer, &applied);
        }
    }
    let total = area.cases.len();
    let note = match corrected {
        0 => String::new(),
        corrected => format!(" ({corrected} corrected)"),
    };
    println!("vectors {}: {passed}/{total}{note}", area.name);
    Ok(passed == total)
}

/// Says what is wrong with one case: as much as shows the difference.
fn report(
    area: &Area,
    id: &str,
    input: &Value,
    expected: &Value,
    answer: &Value,
    applied: &[&str],
) {
    println!("{} {id}: differs", area.name);
    println!("    input    {input}");
    for rule in applied {
        println!("    rule     {rule}");
    }
    let mut differences = Vec::new();
    case::differences("", expected, answer, &mut differences);
    for difference in differences {
        println!("    {difference}");
    }
}
