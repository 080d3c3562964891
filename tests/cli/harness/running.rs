//! A command that runs.

use std::{
    io::{Read, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{BOUND, Outcome, processes::Process};

/// One of the two outputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// What a command finds on its standard input.
pub(super) enum Input {
    None,
    Whole(Vec<u8>),
    Endless,
}

/// A command that runs, its outputs read as they come. Killed when dropped.
pub(crate) struct Running {
    line: String,
    root: PathBuf,
    child: Child,
    started: Instant,
    stdout: Capture,
    stderr: Capture,
    /// Kept open.
    _input: Option<ChildStdin>,
}

impl Running {
    pub(super) fn start(mut command: Command, line: String, root: PathBuf, input: Input) -> Self {
        command
            .stdin(match input {
                Input::None => Stdio::null(),
                Input::Whole(_) | Input::Endless => Stdio::piped(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut kept = child.stdin.take();
        if let Input::Whole(bytes) = input {
            let mut stdin = kept.take().unwrap();
            // The command need not read all of it.
            thread::spawn(move || stdin.write_all(&bytes));
        }
        Self {
            line,
            root,
            started,
            stdout: Capture::start(child.stdout.take().unwrap()),
            stderr: Capture::start(child.stderr.take().unwrap()),
            _input: kept,
            child,
        }
    }

    pub(crate) fn process(&self) -> Process {
        Process::of_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for a line that contains a text.
    pub(crate) fn line(&self, stream: Stream, text: &str) -> String {
        self.wait(stream, text, |bytes| {
            let whole = bytes.iter().rposition(|byte| *byte == b'\n')?;
            let lines = String::from_utf8_lossy(&bytes[..whole]).into_owned();
            let line = lines.lines().find(|line| line.contains(text))?;
            Some(line.to_owned())
        })
    }

    /// Waits for so many bytes.
    pub(crate) fn bytes(&self, stream: Stream, count: usize) {
        let what = format!("{count} bytes");
        self.wait(stream, &what, |bytes| (bytes.len() >= count).then_some(()));
    }

    fn wait<T>(&self, stream: Stream, what: &str, found: impl FnMut(&[u8]) -> Option<T>) -> T {
        let capture = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        capture.wait(found).unwrap_or_else(|| {
            let said = [&self.stdout, &self.stderr].map(Capture::so_far);
            panic!("`{}` did not say: {what}\n{}", self.line, said.join("\n"))
        })
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Outcome {
        let process = self.process();
        if !process.is_gone_within(BOUND) {
            let said = [&self.stdout, &self.stderr].map(Capture::so_far);
            panic!("`{}` does not end\n{}", self.line, said.join("\n"));
        }
        let status: ExitStatus = self.child.wait().unwrap();
        let took = self.started.elapsed();
        Outcome {
            line: std::mem::take(&mut self.line),
            root: std::mem::take(&mut self.root),
            status,
            stdout: self.stdout.finish(),
            stderr: self.stderr.finish(),
            took,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing happens to one that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An output, read by a thread.
struct Capture {
    shared: Arc<(Mutex<Captured>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: bool,
}

impl Capture {
    fn start(mut output: impl Read + Send + 'static) -> Self {
        let shared = Arc::<(Mutex<Captured>, Condvar)>::default();
        let writer = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = output.read(&mut buffer).unwrap_or(0);
                let mut captured = writer.0.lock().unwrap();
                captured.bytes.extend_from_slice(&buffer[..count]);
                captured.ended = count == 0;
                writer.1.notify_all();
                if captured.ended {
                    return;
                }
            }
        });
        Self {
            shared,
            reader: Some(reader),
        }
    }

    /// Waits until something is found; none when the output ends or time runs
    /// out before.
    fn wait<T>(&self, mut found: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let start = Instant::now();
        let mut captured = self.shared.0.lock().unwrap();
        loop {
            if let Some(value) = found(&captured.bytes) {
                return Some(value);
            }
            let left = BOUND.checked_sub(start.elapsed())?;
            if captured.ended {
                return None;
            }
            captured = self.shared.1.wait_timeout(captured, left).unwrap().0;
        }
    }

    fn so_far(&self) -> String {
        let captured = self.shared.0.lock().unwrap();
        String::from_utf8_lossy(&captured.bytes).into_owned()
    }

    fn finish(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        std::mem::take(&mut self.shared.0.lock().unwrap().bytes)
    }
}
