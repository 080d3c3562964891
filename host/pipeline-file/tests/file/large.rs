//! Files that are large on purpose: what is allowed is read, what is not is
//! refused soon, and with little memory.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use pipeline_file::{InvalidFile, PipelineFile, limits};

/// The promise is two seconds; debug builds on busy machines get their share.
const SOON: Duration = if cfg!(debug_assertions) {
    Duration::from_secs(20)
} else {
    Duration::from_secs(2)
};

fn refuse(name: &str, document: &str) -> InvalidFile {
    let start = Instant::now();
    let error = PipelineFile::from_slice(name, document.as_bytes()).unwrap_err();
    let took = start.elapsed();
    assert!(took < SOON, "{took:?}: {error}");
    error
}

/// The one thing that is wrong with a file.
fn what(error: &InvalidFile) -> &str {
    let [problem] = error.problems() else {
        panic!("{error}");
    };
    problem.what()
}

#[test]
fn alias_bombs_are_refused() {
    let repeats = "aliases and merge keys repeat more than the document's size allows";
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let aliases = format!("*a{}, ", level - 1).repeat(10);
        laughs += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let wide = format!(
        "a: &a [{}]\nb: [{}]\n",
        "x, ".repeat(20_000),
        "*a, ".repeat(90_000)
    );
    let keys: String = (0..1_000).map(|i| format!("k{i}: 1, ")).collect();
    let merges = format!("a: &a {{{keys}}}\nb: {{<<: [{}]}}\n", "*a, ".repeat(90_000));
    let mut merge_chain = "a0: &a0 {k: 1}\n".to_owned();
    for level in 1..20_000 {
        merge_chain += &format!("a{level}: &a{level} {{<<: *a{}, k{level}: 1}}\n", level - 1);
    }
    let anchors = format!("{}{}", "&a [".repeat(10), "x, ".repeat(90_000));
    for document in [&laughs, &wide, &merges, &anchors] {
        assert_eq!(what(&refuse("p.yaml", document)), repeats);
    }
    assert!(what(&refuse("p.yaml", &merge_chain)).contains("nested more than 16 deep"));
    let text = format!(
        "a: &a \"{}\"\nb: [{}]\n",
        "x\\n".repeat(2_000_000),
        "*a, ".repeat(90_000)
    );
    assert!(what(&refuse("p.yaml", &text)).contains("more values"));
}

#[test]
fn deep_nesting_is_refused() {
    let deep = "maps and lists are nested more than 16 deep";
    let megabytes = 8 << 20;
    for part in ["[", "{a: ", "[{", "- ", "? ", "!!seq ["] {
        let document = part.repeat(megabytes / part.len());
        assert_eq!(what(&refuse("p.yaml", &document)), deep, "{part}");
    }
    let indented: String = (0..2_000)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    assert_eq!(what(&refuse("p.yaml", &indented)), deep);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let levels = megabytes / 8;
        let document = format!("{}1{}", open.repeat(levels), close.repeat(levels));
        assert_eq!(what(&refuse("p.json", &document)), deep, "{open}");
    }
    let sixteen = format!("{}1{}", "[".repeat(16), "]".repeat(16));
    let seventeen = format!("{}1{}", "[".repeat(17), "]".repeat(17));
    for name in ["p.json", "p.yaml"] {
        assert_eq!(
            what(&refuse(name, &sixteen)),
            "expected a map of a pipeline's keys, found a list"
        );
        assert_eq!(what(&refuse(name, &seventeen)), deep);
    }
}

#[test]
fn a_json_file_at_its_deepest_is_refused_soon() {
    // Every level is scanned once: this is the most that can be asked for.
    let items = "1,".repeat((limits::DOCUMENT_BYTES - 64) / 2);
    let document = format!("{}{items}1{}", "[".repeat(16), "]".repeat(16));
    assert!(document.len() <= limits::DOCUMENT_BYTES);
    assert!(what(&refuse("p.json", &document)).contains("more than 100000 entries"));
}

#[test]
fn crowds_are_refused() {
    let crowd = "more than 100000 entries in one map or list";
    assert!(crowd.contains(&limits::STEPS.to_string()));
    let keys: String = (0..200_000).map(|i| format!("k{i}: 1\n")).collect();
    let numbers: String = (0..200_000).map(|i| format!("{i}: 1\n")).collect();
    let list = "- 1\n".repeat(200_000);
    for document in [&keys, &numbers, &list] {
        assert_eq!(what(&refuse("p.yaml", document)), crowd);
    }
    let list = format!("[{}1]", "1,".repeat(200_000));
    assert_eq!(what(&refuse("p.json", &list)), crowd);
    // Many small crowds are one large one.
    let many = format!("[{}1]", format!("[{}1],", "1,".repeat(99_998)).repeat(26));
    for name in ["p.json", "p.yaml"] {
        let error = refuse(name, &many);
        assert!(
            what(&error).contains("more values than a pipeline can have"),
            "{error}"
        );
    }
}

#[test]
fn odd_large_documents_are_refused_soon() {
    for part in [
        " ",
        "\n",
        "\t",
        "# x\n",
        "---\n",
        "x",
        "\"",
        "'",
        "\\",
        "*a ",
        "&a ",
        ": ",
        "a: 1\n",
        "%TAG !a! b\n",
        "é",
        "9",
        "{",
        "a,",
        "! ",
        "|\n",
        ">\n x\n",
        "<<: ",
    ] {
        let document = part.repeat((4 << 20) / part.len());
        refuse("p.yaml", &document);
        refuse("p.json", &document);
    }
}

#[test]
fn no_more_is_read_than_the_limit_needs() {
    /// Endless, and counts what is taken from it.
    struct Endless(usize);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'#');
            self.0 += buffer.len();
            Ok(buffer.len())
        }
    }
    let mut endless = Endless(0);
    let error = PipelineFile::from_reader("p.yaml", &mut endless).unwrap_err();
    assert_eq!(
        error.to_string(),
        "p.yaml: the file is larger than 16 MiB; split the pipeline, and keep data in files of its own"
    );
    assert_eq!(endless.0, limits::DOCUMENT_BYTES + 1);
}

#[test]
fn a_file_of_just_the_limit_is_read() {
    let least = "name: p\nsteps: {s: {command: [a]}}\n";
    let padding = "#".repeat(limits::DOCUMENT_BYTES - least.len());
    let document = format!("{least}{padding}");
    PipelineFile::from_slice("p.yaml", document.as_bytes()).unwrap();
    let error = refuse("p.yaml", &format!("{document}#"));
    assert_eq!(what(&error), "the file is larger than 16 MiB");
}

#[test]
fn environments_are_bounded_where_they_meet() {
    let half = "x".repeat(600 * 1024);
    let document = |pipeline: &str, step: &str| {
        format!(
            "name: p\nenvironment: {{A: \"{pipeline}\"}}\nsteps:\n  s: {{command: [a], environment: {{{step}}}}}\n"
        )
    };
    // One over the other fits, both together do not.
    let over = document(&half, &format!("A: \"{half}\""));
    PipelineFile::from_slice("p.yaml", over.as_bytes()).unwrap();
    let beside = refuse("p.yaml", &document(&half, &format!("B: \"{half}\"")));
    assert_eq!(
        what(&beside),
        "the environment takes 1228802 bytes of the 1048576 allowed"
    );
    assert_eq!(beside.problems()[0].path(), "steps.s");
    let alone = refuse("p.yaml", &document(&half.repeat(2), ""));
    assert_eq!(alone.problems()[0].path(), "environment");
}

/// A pipeline of the kind that programs write.
fn generated(steps: usize) -> String {
    let mut document = "name: p\nenvironment: &env {LOG_LEVEL: debug}\nsteps:\n".to_owned();
    for step in 0..steps {
        document += &format!(
            "  step-{step}:\n    command: [python, -m, train, \"--seed={step}\"]\n    environment: *env\n    resources: {{cpu_count: 1}}\n"
        );
        if step > 0 {
            document += &format!("    after: [step-{}]\n", step - 1);
        }
    }
    document
}

#[test]
fn twenty_thousand_steps_are_read_in_no_time() {
    let document = generated(20_000);
    let start = Instant::now();
    let pipeline = PipelineFile::from_slice("p.yaml", document.as_bytes()).unwrap();
    let yaml = start.elapsed();
    assert_eq!(pipeline.steps.len(), 20_000);
    let json = serde_json::to_string(&pipeline).unwrap();
    let start = Instant::now();
    let again = PipelineFile::from_slice("p.json", json.as_bytes()).unwrap();
    let json = start.elapsed();
    assert_eq!(again, pipeline);
    println!("20,000 steps: YAML {yaml:?}, JSON {json:?}");
    assert!(yaml < SOON && json < SOON, "{yaml:?}, {json:?}");
}

#[test]
fn a_hundred_thousand_steps_are_the_most() {
    let most: String = (0..100_000)
        .map(|i| format!("  s{i}: {{command: [a]}}\n"))
        .collect();
    let document = format!("name: p\nsteps:\n{most}");
    let pipeline = PipelineFile::from_slice("p.yaml", document.as_bytes()).unwrap();
    assert_eq!(pipeline.steps.len(), limits::STEPS);
    let error = refuse("p.yaml", &format!("{document}  more: {{command: [a]}}\n"));
    assert!(what(&error).contains("more than 100000 entries"));
}
