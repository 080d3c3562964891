//! The page on parity with Modal: which calls the local Modal answers, found out
//! by asking it, and which tests hold which behaviour in place. A test compares
//! the page with what the code says; `UPDATE_PARITY=1` writes it anew.

mod behaviours;
mod calls;

use behaviours::Behaviour;
use calls::Call;
use libtest_mimic::Trial;
use std::fmt::Write as _;
use std::fs;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../modal-local/PARITY.md");

/// Checks that each suite has at least.
const SIZES: [(&str, usize); 3] = [("python", 60), ("js", 35), ("zenml", 10)];

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("parity::the_page_is_what_the_code_says", page_is_current),
        trial("parity::behaviours_have_tests", behaviours_have_tests),
        trial("parity::suites_have_their_checks", suites_have_their_checks),
    ]
}

fn page_is_current() {
    let page = page(&calls::all(), &behaviours::all());
    if std::env::var_os("UPDATE_PARITY").is_some() {
        fs::write(PAGE, &page).expect("the page is written");
    }
    let written = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        written == page,
        "host/modal-local/PARITY.md is not what the code says: run this test with \
         UPDATE_PARITY=1 and look at the difference"
    );
}

/// Each has one, and all that are named exist.
fn behaviours_have_tests() {
    let behaviours = behaviours::all();
    let missing: Vec<String> = behaviours.iter().flat_map(Behaviour::missing).collect();
    assert!(missing.is_empty(), "there are no such tests: {missing:#?}");
    for (number, behaviour) in (1..).zip(&behaviours) {
        assert!(
            !behaviour.tests().is_empty(),
            "behaviour {number} has no test"
        );
    }
}

fn suites_have_their_checks() {
    for (directory, least) in SIZES {
        let checks = crate::sources::checks(directory);
        assert!(checks.len() >= least, "{directory}: {}", checks.len());
    }
}

fn page(calls: &[Call], behaviours: &[Behaviour]) -> String {
    let mut page = String::from(
        "# Parity with Modal\n\n\
         What the local Modal answers, and what holds its behaviour and the plugin's in\n\
         place. Generated from the code by the test target `sdk`\n\
         (`UPDATE_PARITY=1 cargo test --test sdk parity`).\n\n\
         ## Calls\n\n\
         All calls that the stubs of Modal's Python SDK 1.6.4 know. Each was made on a\n\
         local Modal; what it does not implement it answers UNIMPLEMENTED, naming the call.\n",
    );
    for service in calls::services(calls) {
        let of_service = |implemented: bool| -> Vec<&str> {
            let wanted = |call: &&Call| call.service == service && call.implemented == implemented;
            let names = calls.iter().filter(wanted);
            names.map(|call| call.method.as_str()).collect()
        };
        let (yes, no) = (of_service(true), of_service(false));
        let _ = write!(
            page,
            "\n### {service}\n\n{} implemented: {}.\n\n{} answered UNIMPLEMENTED: {}.\n",
            yes.len(),
            yes.join(", "),
            no.len(),
            no.join(", "),
        );
    }
    page.push_str(
        "\n## Behaviours\n\n\
         `python`, `js` and `zenml` are the suites below `tests/sdk`, in which Modal's SDKs\n\
         and ZenML's classes run against the local Modal: there the client is theirs.\n\n\
         | | of | behaviour | held in place by |\n|---|---|---|---|\n",
    );
    for (number, behaviour) in (1..).zip(behaviours) {
        let tests = behaviour.tests().join("<br>");
        let _ = writeln!(
            page,
            "| {number} | {} | {} | {tests} |",
            behaviour.side(),
            behaviour.text(),
        );
    }
    page
}
