//! How much memory `flavor` needs for what steps write.

use std::{
    io::{self, Read as _},
    process::{Command, Stdio},
};

use crate::harness::{Fifo, Home, Process, Stream};

/// Bytes of one line without an end.
const LINE: usize = 10_000_000;

/// What `flavor` may need at most, in bytes.
const MOST: u64 = 100_000_000;

/// What a step writes that comes with the next piece, or with the end, in bytes.
const HELD_BACK: usize = 200_000;

/// Runs a command until so many bytes have been read of its output, and waits for
/// a reader of the rest: how much memory it needed.
fn peak_memory(mut command: Command, bytes: usize) -> u64 {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut first = output.by_ref().take(bytes as u64);
    io::copy(&mut first, &mut io::sink()).unwrap();
    let needed = Process::of_child(&child).peak_memory();
    io::copy(&mut output, &mut io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
    needed
}

#[test]
fn a_line_of_ten_megabytes_is_not_held_in_memory() {
    for json in [&[][..], &["--json"]] {
        let home = Home::new();
        let mut gate = Fifo::new(&home, "gate");
        let zeros = format!("head -c {LINE} /dev/zero");
        let pipeline = format!(
            "
name: p
steps:
  a: {{command: [sh, -c, '{zeros} | tr \\\\0 x; read x <{}']}}
",
            gate.path()
        );
        home.write("p.yaml", pipeline);
        let arguments = [&["run", "p.yaml", "--run-id", "r"], json].concat();
        let run = home.flavor(arguments).start();
        // The line has come through, and the step still runs.
        run.bytes(Stream::Stdout, LINE - HELD_BACK);
        let needed = run.process().peak_memory();
        gate.release();
        let run = run.finish().expect(0);
        assert!(needed < MOST, "run {json:?}: {needed} bytes");
        let count = run.stdout.iter().filter(|byte| **byte == b'x').count();
        // In JSON the word `text` has one, too.
        assert!(
            count == LINE || (count > LINE && !json.is_empty()),
            "{count}"
        );

        for step in [&[][..], &["a"]] {
            let arguments = [&["logs", "r"], step, json].concat();
            let logs = home.flavor(arguments).into_command();
            let needed = peak_memory(logs, LINE - HELD_BACK);
            assert!(needed < MOST, "logs {step:?} {json:?}: {needed} bytes");
        }
    }
}
