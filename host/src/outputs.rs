//! What the steps of a run wrote, kept on disk.
//!
//! One file per attempt. A file is a sequence of frames: a byte that says what it
//! is, a length of four bytes (little endian), and so many bytes. A process that
//! dies while writing leaves half a frame at the end, which readers ignore.

use crate::contract::{Event, OutputStream};
use cap_std::fs::{Dir, File, OpenOptions};
use std::collections::{HashMap, VecDeque};
use std::io::{self, BufReader, Read as _, Write as _};

/// The outputs of a run.
#[derive(Debug)]
pub struct Outputs {
    directory: Dir,
}

/// A piece of what a step wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes, as they came.
    Data {
        /// Where they were written to.
        stream: OutputStream,
        /// What.
        data: Vec<u8>,
    },
    /// Bytes that were not kept.
    Lost {
        /// How many, when that is known.
        bytes: Option<u64>,
    },
}

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const LOST: u8 = 3;
/// Lost, and nobody knows how much.
const LOST_UNKNOWN: u8 = 4;

impl Outputs {
    pub(crate) fn new(directory: Dir) -> Self {
        Self { directory }
    }

    /// For writing, with a limit for each attempt and for all together, in
    /// bytes.
    #[must_use]
    pub fn writer(self, per_attempt: u64, total: u64) -> OutputWriter {
        OutputWriter {
            directory: self.directory,
            per_attempt,
            left: total,
            open: VecDeque::new(),
            attempts: HashMap::new(),
        }
    }

    /// Attempts of a step that wrote something, in order.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn attempts(&self, step: &str) -> io::Result<Vec<u32>> {
        let mut attempts = Vec::new();
        for entry in self.directory.entries()? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| {
                name.strip_prefix(step)?
                    .strip_prefix('@')?
                    .parse::<u32>()
                    .ok()
            });
            attempts.extend(number);
        }
        attempts.sort_unstable();
        Ok(attempts)
    }

    /// What an attempt wrote, piece by piece.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn read(&self, step: &str, attempt: u32) -> io::Result<Pieces> {
        let file = self.directory.open(file_name(step, attempt))?;
        Ok(Pieces {
            reader: BufReader::new(file),
        })
    }
}

/// Keeps what steps write.
#[derive(Debug)]
pub struct OutputWriter {
    directory: Dir,
    per_attempt: u64,
    left: u64,
    /// Attempts that may have an open file, the longest open first.
    open: VecDeque<(String, u32)>,
    attempts: HashMap<(String, u32), Attempt>,
}

#[derive(Debug, Default)]
struct Attempt {
    file: Option<File>,
    kept: u64,
    dropped: u64,
}

impl OutputWriter {
    /// Takes in an event of a run. Only those about output and about the end of
    /// attempts matter here.
    ///
    /// # Errors
    ///
    /// When a file cannot be written. What was to be written counts as dropped.
    pub fn record(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Output(output) => {
                self.keep(&output.step, output.attempt, output.stream, &output.data)
            }
            Event::OutputLost(lost) => {
                let attempt = self.attempt(&lost.step, lost.attempt)?;
                attempt.note_lost(lost.bytes)
            }
            Event::RunFinished(_) => self.finish(),
            Event::StepStarted(_) | Event::StepFinished(_) | Event::Warning(_) => Ok(()),
        }
    }

    fn keep(
        &mut self,
        step: &str,
        attempt: u32,
        stream: OutputStream,
        data: &[u8],
    ) -> io::Result<()> {
        let (per_attempt, left) = (self.per_attempt, self.left);
        let attempt = self.attempt(step, attempt)?;
        let room = per_attempt.saturating_sub(attempt.kept).min(left);
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
        let (kept, dropped) = data.split_at_checked(fits).unwrap_or((data, &[]));
        let tag = match stream {
            OutputStream::Stdout => STDOUT,
            OutputStream::Stderr => STDERR,
        };
        let written = match kept.is_empty() {
            true => Ok(()),
            false => attempt.write(tag, kept),
        };
        if let Err(error) = written {
            attempt.dropped += data.len() as u64;
            return Err(error);
        }
        attempt.kept += kept.len() as u64;
        attempt.dropped += dropped.len() as u64;
        self.left -= kept.len() as u64;
        Ok(())
    }

    /// Writes down how much was dropped.
    fn finish(&mut self) -> io::Result<()> {
        let dropped: Vec<(String, u32)> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.dropped > 0)
            .map(|(key, _)| key.clone())
            .collect();
        let mut result = Ok(());
        for (step, number) in dropped {
            let noted = self.attempt(&step, number).and_then(|attempt| {
                let dropped = std::mem::take(&mut attempt.dropped);
                attempt.note_lost(Some(dropped))
            });
            result = result.and(noted);
        }
        self.close();
        result
    }

    fn close(&mut self) {
        for key in self.open.drain(..) {
            if let Some(attempt) = self.attempts.get_mut(&key) {
                attempt.file = None;
            }
        }
    }

    fn attempt(&mut self, step: &str, number: u32) -> io::Result<&mut Attempt> {
        let key = (step.to_owned(), number);
        let known = self.attempts.get(&key);
        if known.is_none_or(|attempt| attempt.file.is_none()) {
            self.make_room();
        }
        let attempt = self.attempts.entry(key.clone()).or_default();
        if attempt.file.is_none() {
            let mut options = OpenOptions::new();
            options.create(true).append(true);
            let name = file_name(step, number);
            attempt.file = Some(self.directory.open_with(name, &options)?);
            self.open.push_back(key);
        }
        Ok(attempt)
    }

    /// Closes the file that has been open for longest, when there are as many as
    /// there may be.
    fn make_room(&mut self) {
        if self.open.len() >= OPEN_FILES
            && let Some(key) = self.open.pop_front()
            && let Some(attempt) = self.attempts.get_mut(&key)
        {
            attempt.file = None;
        }
    }
}

/// Files that are kept open between two writes. A process may commonly have
/// 1,024.
const OPEN_FILES: usize = 128;

impl Attempt {
    fn note_lost(&mut self, bytes: Option<u64>) -> io::Result<()> {
        match bytes {
            Some(bytes) => self.write(LOST, &bytes.to_le_bytes()),
            None => self.write(LOST_UNKNOWN, &[]),
        }
    }

    fn write(&mut self, tag: u8, data: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the file is not open"));
        };
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        // One write for small frames: what appends appends whole.
        let mut frame = Vec::with_capacity(5 + data.len());
        frame.push(tag);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(data);
        file.write_all(&frame)
    }
}

/// The pieces of an attempt's output.
#[derive(Debug)]
pub struct Pieces {
    reader: BufReader<File>,
}

/// Frames are written in pieces of at most this size; a longer one is damage.
const LONGEST_FRAME: usize = 16 * 1024 * 1024;

impl Iterator for Pieces {
    type Item = io::Result<Piece>;

    fn next(&mut self) -> Option<io::Result<Piece>> {
        match self.read_frame() {
            Ok(piece) => piece.map(Ok),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Pieces {
    fn read_frame(&mut self) -> io::Result<Option<Piece>> {
        let mut tag = [0];
        self.reader.read_exact(&mut tag)?;
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST_FRAME {
            return Err(damaged());
        }
        let mut data = vec![0; length];
        self.reader.read_exact(&mut data)?;
        let [tag] = tag;
        Ok(Some(match tag {
            STDOUT => Piece::Data {
                stream: OutputStream::Stdout,
                data,
            },
            STDERR => Piece::Data {
                stream: OutputStream::Stderr,
                data,
            },
            LOST => Piece::Lost {
                bytes: Some(u64::from_le_bytes(data.try_into().map_err(|_| damaged())?)),
            },
            LOST_UNKNOWN => Piece::Lost { bytes: None },
            _ => return Err(damaged()),
        }))
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the recorded output is damaged")
}

/// `@` occurs in no step name, so names cannot be taken for each other.
fn file_name(step: &str, attempt: u32) -> String {
    format!("{step}@{attempt}")
}

#[cfg(test)]
mod tests {
    use super::{Outputs, Piece};
    use crate::contract::{Event, Output, OutputStream, RunFinished, RunStatus};
    use cap_std::ambient_authority;
    use cap_std::fs::Dir;
    use std::io::Write as _;

    fn outputs(directory: &tempfile::TempDir) -> Outputs {
        Outputs::new(Dir::open_ambient_dir(directory.path(), ambient_authority()).unwrap())
    }

    fn output(step: &str, data: &[u8]) -> Event {
        Event::Output(Output {
            step: step.into(),
            attempt: 0,
            stream: OutputStream::Stdout,
            data: data.to_vec(),
        })
    }

    fn end() -> Event {
        Event::RunFinished(RunFinished {
            status: RunStatus::Completed,
            error: None,
            steps: Vec::new(),
        })
    }

    fn stdout(data: &[u8]) -> Piece {
        Piece::Data {
            stream: OutputStream::Stdout,
            data: data.to_vec(),
        }
    }

    fn read(directory: &tempfile::TempDir, step: &str) -> Vec<Piece> {
        outputs(directory)
            .read(step, 0)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn what_was_written_is_read_up_to_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = outputs(&directory).writer(5, 8);
        for event in [
            output("a", b"abc"),
            output("a", b"def"),
            output("b", b"0123"),
            end(),
        ] {
            writer.record(&event).unwrap();
        }
        let lost = |bytes| Piece::Lost { bytes: Some(bytes) };
        assert_eq!(
            read(&directory, "a"),
            [stdout(b"abc"), stdout(b"de"), lost(1)]
        );
        assert_eq!(read(&directory, "b"), [stdout(b"012"), lost(1)]);
        assert_eq!(outputs(&directory).attempts("a").unwrap(), [0]);
    }

    #[test]
    fn half_a_frame_at_the_end_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        outputs(&directory)
            .writer(99, 99)
            .record(&output("a", b"whole"))
            .unwrap();
        let path = directory.path().join("a@0");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(&[1, 9, 0, 0, 0, b'h']).unwrap();
        assert_eq!(read(&directory, "a"), [stdout(b"whole")]);
    }

    #[test]
    fn more_attempts_than_files_may_be_open() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = outputs(&directory).writer(99, 9_999);
        let steps = 2 * super::OPEN_FILES;
        for round in [b"1", b"2"] {
            for step in 0..steps {
                writer.record(&output(&format!("s{step}"), round)).unwrap();
                assert!(writer.open.len() <= super::OPEN_FILES);
            }
        }
        for step in 0..steps {
            let written = read(&directory, &format!("s{step}"));
            assert_eq!(written, [stdout(b"1"), stdout(b"2")]);
        }
        writer.record(&end()).unwrap();
        assert!(
            writer
                .attempts
                .values()
                .all(|attempt| attempt.file.is_none())
        );
    }

    #[test]
    fn names_are_not_taken_for_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = outputs(&directory).writer(99, 99);
        writer.record(&output("a", b"x")).unwrap();
        writer.record(&output("a.b", b"y")).unwrap();
        assert_eq!(outputs(&directory).attempts("a").unwrap(), [0]);
    }
}
