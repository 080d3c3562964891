//! What the steps of a run wrote, kept on disk.
//!
//! One file per run: creating one per attempt costs a wide pipeline more than all
//! else that it does on disk. The file is a sequence of frames, each of
//! which knows where the one before it of the same attempt begins. A process that
//! dies while writing leaves half a frame at the end, which readers ignore and the
//! next writer cuts off.

use crate::contract::{Event, OutputStream};
use crate::limits::STEP_OUTPUT_PIECES;
use cap_std::fs::{Dir, OpenOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

/// The outputs of a run.
#[derive(Debug)]
pub struct Outputs {
    run: Dir,
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

/// Name of the file in the directory of a run.
const FILE: &str = "outputs";

impl Outputs {
    pub(crate) fn new(run: Dir) -> Self {
        Self { run }
    }

    /// For writing, with a limit for each attempt and for all together, in bytes.
    /// What is there already stays, and counts.
    ///
    /// # Errors
    ///
    /// When the file cannot be created, or is damaged.
    pub fn writer(self, per_attempt: u64, total: u64) -> io::Result<OutputWriter> {
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true).truncate(false);
        let file = self.run.open_with(FILE, &options)?.into_std();
        let Scanned {
            attempts,
            kept,
            end,
        } = scan(&file)?;
        file.set_len(end)?;
        Ok(OutputWriter {
            file,
            end,
            per_attempt,
            left: total.saturating_sub(kept),
            attempts,
        })
    }

    /// For reading. What is written later is not in it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is damaged.
    pub fn reader(&self) -> io::Result<OutputReader> {
        let file = match self.run.open(FILE) {
            Ok(file) => file.into_std(),
            // Nothing was ever written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(OutputReader {
                    file: None,
                    attempts: Attempts::new(),
                });
            }
            Err(error) => return Err(error),
        };
        Ok(OutputReader {
            attempts: scan(&file)?.attempts,
            file: Some(file),
        })
    }
}

type Attempts = BTreeMap<(String, u32), Attempt>;

/// What is known about the output of one attempt.
#[derive(Debug, Default)]
struct Attempt {
    /// Where its last frame begins.
    last: Option<u64>,
    pieces: u32,
    kept: u64,
    dropped: u64,
}

impl Attempt {
    fn note(&mut self, at: u64, head: &Head) {
        self.last = Some(at);
        self.pieces = self.pieces.saturating_add(1);
        self.kept += head.kept();
    }
}

/// What is in a file.
struct Scanned {
    attempts: Attempts,
    /// Bytes of output, those that nobody reads any more included.
    kept: u64,
    /// Where the last whole frame ends.
    end: u64,
}

/// Goes through all heads.
fn scan(file: &File) -> io::Result<Scanned> {
    let size = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0))?;
    let mut attempts = Attempts::new();
    let (mut at, mut kept) = (0, 0);
    loop {
        let head = match Head::read(&mut reader) {
            Ok(head) => head,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        };
        let next = at + head.size() + u64::from(head.data);
        if next > size {
            break;
        }
        reader.seek_relative(i64::from(head.data))?;
        let attempt = attempts
            .entry((head.step.clone(), head.attempt))
            .or_default();
        if head.previous.is_none() {
            // Whoever took the run up again has read it from its beginning.
            *attempt = Attempt::default();
        }
        if head.previous != attempt.last {
            return Err(damaged());
        }
        attempt.note(at, &head);
        kept += head.kept();
        at = next;
    }
    Ok(Scanned {
        attempts,
        kept,
        end: at,
    })
}

/// Keeps what steps write.
#[derive(Debug)]
pub struct OutputWriter {
    file: File,
    /// Where the last whole frame ends.
    end: u64,
    per_attempt: u64,
    left: u64,
    attempts: Attempts,
}

impl OutputWriter {
    /// Takes in an event of a run. Those about output and about the end of the run
    /// matter here, and the start of an attempt: its output begins again when the run
    /// was taken up again meanwhile.
    ///
    /// # Errors
    ///
    /// When the file cannot be written. What was to be written counts as dropped.
    pub fn record(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Output(output) => {
                let tag = match output.stream {
                    OutputStream::Stdout => Tag::Stdout,
                    OutputStream::Stderr => Tag::Stderr,
                };
                self.keep(&output.step, output.attempt, tag, &output.data)
            }
            Event::OutputLost(lost) => self.note_lost(&lost.step, lost.attempt, lost.bytes),
            Event::RunFinished(_) => self.finish(),
            Event::StepStarted(started) => {
                let key = (started.step.clone(), started.attempt);
                self.attempts.remove(&key);
                Ok(())
            }
            Event::StepFinished(_) | Event::Warning(_) => Ok(()),
        }
    }

    fn keep(&mut self, step: &str, number: u32, tag: Tag, data: &[u8]) -> io::Result<()> {
        let (per_attempt, left) = (self.per_attempt, self.left);
        let attempt = self.attempt(step, number);
        let room = match attempt.pieces < STEP_OUTPUT_PIECES {
            true => per_attempt.saturating_sub(attempt.kept).min(left),
            false => 0,
        };
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
        let (kept, dropped) = data.split_at_checked(fits).unwrap_or((data, &[]));
        attempt.dropped += dropped.len() as u64;
        let mut result = Ok(());
        for piece in kept.chunks(LONGEST_PIECE) {
            let written = match result {
                Ok(()) => self.write(step, number, tag, piece),
                failed => failed,
            };
            match written {
                Ok(()) => self.left -= piece.len() as u64,
                Err(_) => self.attempt(step, number).dropped += piece.len() as u64,
            }
            result = written;
        }
        result
    }

    /// Writes down how much was dropped.
    fn finish(&mut self) -> io::Result<()> {
        let dropped = self.attempts.iter_mut().filter_map(|(key, attempt)| {
            let bytes = std::mem::take(&mut attempt.dropped);
            (bytes > 0).then(|| (key.clone(), bytes))
        });
        let dropped: Vec<_> = dropped.collect();
        let mut result = Ok(());
        for ((step, number), bytes) in dropped {
            result = result.and(self.note_lost(&step, number, Some(bytes)));
        }
        result
    }

    fn note_lost(&mut self, step: &str, attempt: u32, bytes: Option<u64>) -> io::Result<()> {
        match bytes {
            Some(bytes) => self.write(step, attempt, Tag::Lost, &bytes.to_le_bytes()),
            None => self.write(step, attempt, Tag::LostUnknown, &[]),
        }
    }

    fn attempt(&mut self, step: &str, number: u32) -> &mut Attempt {
        self.attempts.entry((step.to_owned(), number)).or_default()
    }

    fn write(&mut self, step: &str, number: u32, tag: Tag, data: &[u8]) -> io::Result<()> {
        let head = Head {
            tag,
            attempt: number,
            previous: self.attempt(step, number).last,
            data: u32::try_from(data.len()).map_err(io::Error::other)?,
            step: step.to_owned(),
        };
        let mut frame = head.bytes()?;
        frame.extend_from_slice(data);
        if let Err(error) = self.file.write_all_at(&frame, self.end) {
            // The next frame overwrites what came of this one, or nothing follows.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        let at = self.end;
        self.end += frame.len() as u64;
        self.attempt(step, number).note(at, &head);
        Ok(())
    }
}

/// What is recorded of the outputs of a run.
#[derive(Debug)]
pub struct OutputReader {
    file: Option<File>,
    attempts: Attempts,
}

impl OutputReader {
    /// Attempts of a step that wrote something, in order.
    pub fn attempts(&self, step: &str) -> Vec<u32> {
        let all = (step.to_owned(), 0)..=(step.to_owned(), u32::MAX);
        let attempts = self.attempts.range(all);
        attempts.map(|((_, number), _)| *number).collect()
    }

    /// What an attempt wrote, piece by piece. Takes 8 bytes of memory per piece.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn read(&self, step: &str, attempt: u32) -> io::Result<Pieces<'_>> {
        let key = (step.to_owned(), attempt);
        let last = self.attempts.get(&key).and_then(|attempt| attempt.last);
        let Some(file) = &self.file else {
            return Ok(Pieces::none());
        };
        let mut backwards = Vec::new();
        let mut next = last;
        while let Some(at) = next {
            backwards.push(at);
            let head = Head::read(&mut FileAt::buffered(file, at))?;
            // It only ever leads back: a damaged file is no endless one.
            if head.previous.is_some_and(|previous| previous >= at) {
                return Err(damaged());
            }
            next = head.previous;
        }
        Ok(Pieces {
            file: Some(file),
            backwards,
        })
    }
}

/// The pieces of an attempt's output.
#[derive(Debug)]
pub struct Pieces<'r> {
    file: Option<&'r File>,
    /// Where they begin, the last one first.
    backwards: Vec<u64>,
}

impl Pieces<'_> {
    fn none() -> Self {
        Self {
            file: None,
            backwards: Vec::new(),
        }
    }
}

impl Iterator for Pieces<'_> {
    type Item = io::Result<Piece>;

    fn next(&mut self) -> Option<io::Result<Piece>> {
        let at = self.backwards.pop()?;
        Some(read_piece(self.file?, at))
    }
}

fn read_piece(file: &File, at: u64) -> io::Result<Piece> {
    let mut reader = FileAt::buffered(file, at);
    let head = Head::read(&mut reader)?;
    let mut data = vec![0; head.data as usize];
    reader.read_exact(&mut data)?;
    Ok(match head.tag {
        Tag::Stdout => Piece::Data {
            stream: OutputStream::Stdout,
            data,
        },
        Tag::Stderr => Piece::Data {
            stream: OutputStream::Stderr,
            data,
        },
        Tag::Lost => Piece::Lost {
            bytes: Some(u64::from_le_bytes(data.try_into().map_err(|_| damaged())?)),
        },
        Tag::LostUnknown => Piece::Lost { bytes: None },
    })
}

/// What stands before the data of a frame: a byte that says what it is, the number
/// of the attempt, where the attempt's frame before it begins (all ones: there is
/// none), how long the step's name is and how long the data, and the name. Numbers
/// are little endian.
#[derive(Debug)]
struct Head {
    tag: Tag,
    attempt: u32,
    previous: Option<u64>,
    data: u32,
    step: String,
}

#[derive(Debug, Clone, Copy)]
enum Tag {
    Stdout = 1,
    Stderr = 2,
    Lost = 3,
    /// Lost, and nobody knows how much.
    LostUnknown = 4,
}

/// Bytes of a head without the name.
const HEAD: u64 = 19;

const NO_FRAME: u64 = u64::MAX;

/// The most data in one frame, in bytes; a longer one is damage.
const LONGEST_PIECE: usize = 16 * 1024 * 1024;

impl Head {
    fn size(&self) -> u64 {
        HEAD + self.step.len() as u64
    }

    /// Bytes of output behind it.
    fn kept(&self) -> u64 {
        match self.tag {
            Tag::Stdout | Tag::Stderr => u64::from(self.data),
            Tag::Lost | Tag::LostUnknown => 0,
        }
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let name = u16::try_from(self.step.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(self.step.len() + self.data as usize + 32);
        bytes.push(self.tag as u8);
        bytes.extend_from_slice(&self.attempt.to_le_bytes());
        bytes.extend_from_slice(&self.previous.unwrap_or(NO_FRAME).to_le_bytes());
        bytes.extend_from_slice(&name.to_le_bytes());
        bytes.extend_from_slice(&self.data.to_le_bytes());
        bytes.extend_from_slice(self.step.as_bytes());
        Ok(bytes)
    }

    fn read(reader: &mut impl Read) -> io::Result<Self> {
        let [tag] = number(reader)?;
        let tag = match tag {
            1 => Tag::Stdout,
            2 => Tag::Stderr,
            3 => Tag::Lost,
            4 => Tag::LostUnknown,
            _ => return Err(damaged()),
        };
        let attempt = u32::from_le_bytes(number(reader)?);
        let previous = u64::from_le_bytes(number(reader)?);
        let name = u16::from_le_bytes(number(reader)?);
        let data = u32::from_le_bytes(number(reader)?);
        if data as usize > LONGEST_PIECE {
            return Err(damaged());
        }
        let mut step = vec![0; usize::from(name)];
        reader.read_exact(&mut step)?;
        Ok(Self {
            tag,
            attempt,
            previous: (previous != NO_FRAME).then_some(previous),
            data,
            step: String::from_utf8(step).map_err(|_| damaged())?,
        })
    }
}

fn number<const BYTES: usize>(reader: &mut impl Read) -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file from some place on, whoever else reads it.
struct FileAt<'f> {
    file: &'f File,
    at: u64,
}

impl<'f> FileAt<'f> {
    fn buffered(file: &'f File, at: u64) -> BufReader<Self> {
        BufReader::with_capacity(256, Self { file, at })
    }
}

impl Read for FileAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the recorded output is damaged: nothing behind the damage can be read",
    )
}

#[cfg(test)]
mod tests {
    use super::{FILE, OutputWriter, Outputs, Piece};
    use crate::contract::{Event, Output, OutputStream, RunFinished, RunStatus, StepStarted};
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
        let reader = outputs(directory).reader().unwrap();
        let pieces = reader.read(step, 0).unwrap();
        pieces.map(Result::unwrap).collect()
    }

    fn writer(directory: &tempfile::TempDir) -> OutputWriter {
        outputs(directory).writer(99, 9_999).unwrap()
    }

    #[test]
    fn what_was_written_is_read_up_to_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = outputs(&directory).writer(5, 8).unwrap();
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
        assert_eq!(outputs(&directory).reader().unwrap().attempts("a"), [0]);
    }

    #[test]
    fn steps_that_write_in_turn_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(&directory);
        for round in [b"1", b"2", b"3"] {
            for step in 0..50 {
                writer.record(&output(&format!("s{step}"), round)).unwrap();
            }
        }
        for step in 0..50 {
            let written = read(&directory, &format!("s{step}"));
            assert_eq!(written, [stdout(b"1"), stdout(b"2"), stdout(b"3")]);
        }
    }

    #[test]
    fn every_half_frame_at_the_end_is_ignored_and_cut_off_by_the_next_writer() {
        let whole = {
            let directory = tempfile::tempdir().unwrap();
            writer(&directory).record(&output("a", b"whole")).unwrap();
            std::fs::read(directory.path().join(FILE)).unwrap()
        };
        for half in 0..whole.len() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(FILE);
            writer(&directory).record(&output("a", b"first")).unwrap();
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .unwrap();
            file.write_all(&whole[..half]).unwrap();
            assert_eq!(read(&directory, "a"), [stdout(b"first")]);
            writer(&directory).record(&output("a", b"second")).unwrap();
            assert_eq!(
                read(&directory, "a"),
                [stdout(b"first"), stdout(b"second")],
                "{half} bytes"
            );
        }
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let mut first = writer(&directory);
        for data in [b"one", b"two"] {
            first.record(&output("a", data)).unwrap();
        }
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            std::fs::write(&path, bad).unwrap();
            // Either it is noticed, or it is the text that changed.
            if let Ok(reader) = outputs(&directory).reader() {
                for attempt in reader.attempts("a") {
                    reader.read("a", attempt).unwrap().for_each(drop);
                }
            }
        }
    }

    #[test]
    fn a_later_writer_keeps_to_what_is_left() {
        let directory = tempfile::tempdir().unwrap();
        for data in [b"abc", b"def"] {
            let mut writer = outputs(&directory).writer(99, 5).unwrap();
            writer.record(&output("a", data)).unwrap();
            writer.record(&end()).unwrap();
        }
        let lost = Piece::Lost { bytes: Some(1) };
        assert_eq!(read(&directory, "a"), [stdout(b"abc"), stdout(b"de"), lost]);
    }

    #[test]
    fn an_attempt_that_is_gone_on_with_is_read_from_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = outputs(&directory).writer(99, 8).unwrap();
        writer.record(&output("a", b"abc")).unwrap();
        writer.record(&output("b", b"B")).unwrap();

        let mut writer = outputs(&directory).writer(99, 8).unwrap();
        let started = Event::StepStarted(StepStarted {
            step: "a".into(),
            attempt: 0,
            sandbox: "sb-1".into(),
        });
        writer.record(&started).unwrap();
        // Nothing of it may come this time.
        assert_eq!(read(&directory, "a"), [stdout(b"abc")]);
        writer.record(&output("a", b"ab")).unwrap();
        writer.record(&output("a", b"cd")).unwrap();
        writer.record(&end()).unwrap();
        assert_eq!(read(&directory, "a"), [stdout(b"ab"), stdout(b"cd")]);
        assert_eq!(read(&directory, "b"), [stdout(b"B")]);

        // What nobody reads any more takes room as well.
        let mut writer = outputs(&directory).writer(99, 8).unwrap();
        writer.record(&output("b", b"C")).unwrap();
        writer.record(&end()).unwrap();
        let lost = Piece::Lost { bytes: Some(1) };
        assert_eq!(read(&directory, "b"), [stdout(b"B"), lost]);
    }

    #[test]
    fn nothing_written_is_nothing_read() {
        let directory = tempfile::tempdir().unwrap();
        let reader = outputs(&directory).reader().unwrap();
        assert!(reader.attempts("a").is_empty());
        assert!(reader.read("a", 0).unwrap().next().is_none());
    }

    #[test]
    fn names_are_not_taken_for_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(&directory);
        writer.record(&output("a", b"x")).unwrap();
        writer.record(&output("a.b", b"y")).unwrap();
        assert_eq!(outputs(&directory).reader().unwrap().attempts("a"), [0]);
    }
}
