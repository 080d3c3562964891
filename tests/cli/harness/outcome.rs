//! What a command that ended said.

use std::{fmt, path::PathBuf, process::ExitStatus, time::Duration};

use serde_json::Value;

/// What differs from run to run, and what stands for it in snapshots.
pub(crate) const FILTERS: [(&str, &str); 12] = [
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "[RUN]"),
    (r"\bsb-[0-9A-Za-z]{22,26}\b", "[SANDBOX]"),
    (r"\b(ak|as)-[0-9A-Za-z]{22}\b", "$1-[TOKEN]"),
    (r"\bmodal-local-[0-9A-Za-z]{6}\b", "modal-local-[STATE]"),
    (r"\bsha256:[0-9a-f]{64}\b", "sha256:[DIGEST]"),
    (r"\b(127\.0\.0\.\d):[0-9]{2,5}\b", "$1:[PORT]"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "[WHEN]"),
    (r#"("(created|ended)_at":)\d{16}\b"#, "$1[WHEN]"),
    // Columns are as wide as their widest cell.
    (r"\b\d+\.\ds {2,}", "[TIME]  "),
    (r"\b\d+m \d\ds {2,}", "[TIME]  "),
    (r"\b\d+\.\ds\b", "[TIME]"),
    (r"\b\d+m \d\ds\b", "[TIME]"),
];

/// A command that ended.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) line: String,
    pub(crate) root: PathBuf,
    pub(crate) status: ExitStatus,
    /// What it wrote to stdout, byte for byte.
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// From its start to its end.
    pub(crate) took: Duration,
}

impl Outcome {
    /// Checks the exit code.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> &str {
        std::str::from_utf8(&self.stderr).unwrap()
    }

    /// The objects on stdout, one a line.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        self.stdout().lines().map(parse).collect()
    }

    /// All of it, with the lines of both outputs sorted: for steps that run side
    /// by side.
    pub(crate) fn sorted(mut self) -> Self {
        for output in [&mut self.stdout, &mut self.stderr] {
            let mut lines: Vec<&[u8]> = output.split_inclusive(|byte| *byte == b'\n').collect();
            // First by what stays the same: times differ from run to run.
            let words = |line: &&[u8]| {
                let letters = line.iter().filter(|byte| !byte.is_ascii_digit());
                letters.copied().collect::<Vec<u8>>()
            };
            lines.sort_by_cached_key(|line| (words(line), line.to_vec()));
            *output = lines.concat();
        }
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.to_str().unwrap();
        let shown = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(root, "[ROOT]");
            text.replace(env!("CARGO_TARGET_TMPDIR"), "[TARGET]")
        };
        let line = self.line.replace(root, "[ROOT]");
        writeln!(f, "$ {line}")?;
        writeln!(f, "{}", self.status)?;
        for (name, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !output.is_empty() {
                writeln!(f, "-------- {name}")?;
                f.write_str(&shown(output))?;
            }
        }
        Ok(())
    }
}

/// Several commands, for one snapshot.
pub(crate) fn all(outcomes: &[Outcome]) -> String {
    let texts: Vec<String> = outcomes.iter().map(ToString::to_string).collect();
    texts.join("\n\n")
}
