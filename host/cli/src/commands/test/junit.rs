//! The report as JUnit XML, as build servers read it.

use super::markup::Escaped;
use super::report::{Report, Results, Tested};
use std::fmt::Write as _;
use std::path::Path;

/// The whole document: a suite for each directory, and a test case for each scenario.
pub(crate) fn document(report: &Report<'_>) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let cases = report.cases();
    let failures = cases.iter().filter(|results| results.failed > 0).count();
    let _ = writeln!(
        xml,
        "<testsuites name=\"flavor test\" tests=\"{}\" failures=\"{failures}\" time=\"{:.6}\">",
        cases.len(),
        report.took().as_secs_f64()
    );
    let mut rest = cases;
    while let Some(first) = rest.first() {
        let directory = directory(first);
        let others = rest
            .iter()
            .position(|results| self::directory(results) != directory);
        let (suite, further) = rest.split_at(others.unwrap_or(rest.len()));
        self::suite(&mut xml, directory, suite);
        rest = further;
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn directory<'r>(results: &'r Results<'_>) -> &'r Path {
    results.case.file.parent().unwrap_or(Path::new(""))
}

fn suite(xml: &mut String, directory: &Path, cases: &[Results<'_>]) {
    let failures = cases.iter().filter(|results| results.failed > 0).count();
    let time: f64 = cases.iter().map(|results| results.took.as_secs_f64()).sum();
    let name = Escaped(directory.display());
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" \
         skipped=\"0\" time=\"{time:.6}\">",
        cases.len()
    );
    for results in cases {
        case(xml, directory, results);
    }
    xml.push_str("  </testsuite>\n");
}

fn case(xml: &mut String, directory: &Path, results: &Results<'_>) {
    let file = results.case.file.file_name().unwrap_or_default();
    let _ = writeln!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.6}\">",
        Escaped(directory.display()),
        Escaped(file.to_string_lossy()),
        results.took.as_secs_f64()
    );
    for tested in &results.failures {
        failure(xml, tested);
    }
    for tested in results.shown() {
        let _ = writeln!(
            xml,
            "      <system-out>seed {} trace {}</system-out>",
            tested.seed, tested.outcome.trace_hash
        );
    }
    xml.push_str("    </testcase>\n");
}

fn failure(xml: &mut String, tested: &Tested<'_>) {
    let complaints: Vec<String> = tested.complaints().collect();
    let first = complaints.first().map_or("", String::as_str);
    let first = first.lines().next().unwrap_or_default();
    let _ = write!(
        xml,
        "      <failure message=\"seed {}: {}\">{}\nagain: {}",
        tested.seed,
        Escaped(first),
        Escaped(complaints.join("\n")),
        Escaped(tested.again())
    );
    if let Some(smallest) = tested.smallest() {
        let _ = write!(xml, "\n\n{}", Escaped(smallest));
    }
    xml.push_str("</failure>\n");
}
