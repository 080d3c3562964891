//! Sessions that lie, stall and crash. What a session does is the name it was asked
//! for; what a command does, its words; what a file does, its path.

use super::bindings::exports::zenml::flavor::sandbox::{
    Arguments, Collected, Command, Context, Guest, GuestProcess, GuestSession, Listed, Process,
    Session, SessionOptions, Snapshot,
};
use super::bindings::zenml::flavor::log::{Level, emit};
use super::bindings::zenml::flavor::types::{Error, OutputStream, ServiceError};
use super::bindings::{wit_future, wit_stream};
use super::{Hostile, attack_of_process, computing, crashing, unsupported};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wit_bindgen::{FutureReader, StreamReader, StreamResult};

type Ended = Result<(), Error>;
type Bytes = (StreamReader<u8>, FutureReader<Ended>);
type Lines = (StreamReader<String>, FutureReader<Ended>);

impl Guest for Hostile {
    type Session = Attack;
    type Process = Deed;

    async fn list(_: Context, tags: Vec<(String, String)>, _: bool) -> Result<Vec<Listed>, Error> {
        let words: Vec<&str> = tags.iter().map(|(key, _)| key.as_str()).collect();
        misbehave(&words).await?;
        Ok(Vec::new())
    }
}

/// Trouble that any call can make. The rest is a matter of the call.
async fn misbehave(words: &[&str]) -> Result<(), Error> {
    match words {
        ["trap", ..] => crashing::trap(),
        ["spin", ..] => computing::spin(),
        ["never", ..] => crashing::never().await,
        ["fail", message, ..] => Err(failure(message)),
        _ => Ok(()),
    }
}

fn failure(message: &str) -> Error {
    Error::Service(ServiceError {
        operation: "Attack".to_owned(),
        code: 13,
        message: message.to_owned(),
    })
}

/// A session: the words of its name.
pub(super) struct Attack(String);

impl Attack {
    fn words(&self) -> Vec<&str> {
        self.0.split(' ').collect()
    }

    async fn open(options: SessionOptions) -> Result<Session, Error> {
        let attack = Self(options.name.unwrap_or_default());
        match attack.words()[..] {
            ["open", ref rest @ ..] => misbehave(rest).await?,
            // Nobody would hear of it but for the log.
            ["say", text] => emit(Level::Error, text),
            _ => {}
        }
        Ok(Session::new(attack))
    }

    /// What this session does in a call of that name.
    async fn call(&self, name: &str) -> Result<(), Error> {
        match self.words()[..] {
            [called, ref rest @ ..] if called == name => misbehave(rest).await,
            _ => Ok(()),
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        match self.words()[..] {
            ["drop", "trap"] => crashing::trap(),
            ["drop", "spin"] => computing::spin(),
            _ => {}
        }
    }
}

impl GuestSession for Attack {
    async fn create(_: Context, options: SessionOptions) -> Result<Session, Error> {
        Self::open(options).await
    }

    async fn attach(_: Context, _: String) -> Result<Session, Error> {
        unsupported()
    }

    async fn attach_named(_: Context, _: String) -> Result<Session, Error> {
        unsupported()
    }

    async fn restore(_: Context, _: Snapshot, options: SessionOptions) -> Result<Session, Error> {
        Self::open(options).await
    }

    fn id(&self) -> String {
        match self.words()[..] {
            ["id", "trap"] => crashing::trap(),
            ["id", "flood"] => "x".repeat(128 << 20),
            _ => "sb-hostile".to_owned(),
        }
    }

    fn dashboard_url(&self) -> String {
        String::new()
    }

    fn metadata(&self) -> String {
        "{}".to_owned()
    }

    async fn exec(&self, command: Command) -> Result<Process, Error> {
        self.call("exec").await?;
        match command.arguments {
            Arguments::Words(words) => Ok(Process::new(Deed::new(words))),
            Arguments::Text(_) => unsupported(),
        }
    }

    async fn upload(&self, path: String, data: StreamReader<u8>) -> Result<u64, Error> {
        match path.as_str() {
            "/deaf" => return Ok(0),
            "/some" => return Ok(read_some(data).await),
            "/refused" => return Err(failure("no such directory")),
            _ => {}
        }
        let count = read_all(data).await;
        Ok(match path.as_str() {
            "/more" => count + 1,
            "/less" => count / 2,
            _ => count,
        })
    }

    async fn download(&self, path: String) -> Result<Bytes, Error> {
        let words: Vec<String> = path.split('/').skip(1).map(ToOwned::to_owned).collect();
        Ok(bytes(Rc::new(Shared::new(words))))
    }

    async fn snapshot(&self) -> Result<Snapshot, Error> {
        self.call("snapshot").await?;
        Ok(Snapshot {
            image: "im-1".to_owned(),
            component: None,
        })
    }

    async fn set_tags(&self, _: Vec<(String, String)>) -> Result<(), Error> {
        self.call("set-tags").await
    }

    async fn tags(&self) -> Result<Vec<(String, String)>, Error> {
        self.call("tags").await?;
        Ok(Vec::new())
    }

    async fn close(&self) {
        let _ = self.call("close").await;
    }

    async fn destroy(&self) -> Result<(), Error> {
        self.call("destroy").await
    }

    async fn leave(&self) -> Result<(), Error> {
        emit(Level::Error, "asked to leave");
        self.call("leave").await
    }
}

/// A command.
pub(super) struct Deed(Rc<Shared>);

struct Shared {
    words: Vec<String>,
    /// Bytes or lines that the host took, or that it gave.
    count: Cell<u64>,
    ends: RefCell<Vec<wit_bindgen::FutureWriter<Ended>>>,
}

impl Shared {
    fn new(words: Vec<String>) -> Self {
        Self {
            words,
            count: Cell::new(0),
            ends: RefCell::default(),
        }
    }

    fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    fn add(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.count.set(self.count.get() + count);
    }
}

impl Deed {
    fn new(words: Vec<String>) -> Self {
        Self(Rc::new(Shared::new(words)))
    }
}

impl GuestProcess for Deed {
    async fn output(&self, _: OutputStream) -> Result<Bytes, Error> {
        Ok(bytes(Rc::clone(&self.0)))
    }

    async fn lines(&self, _: OutputStream) -> Result<Lines, Error> {
        let shared = Rc::clone(&self.0);
        let (mut writer, reader) = wit_stream::new();
        let (end, ended) = wit_future::new(|| Ok(()));
        wit_bindgen::spawn_local(async move {
            let (count, length) = attack_of_process(&shared.words());
            for _ in 0..count {
                let line = "x".repeat(length);
                if !writer.write_all(vec![line]).await.is_empty() {
                    break;
                }
                shared.add(1);
            }
            drop(writer);
            let _ = end.write(Ok(())).await;
        });
        Ok((reader, ended))
    }

    async fn input(&self, data: StreamReader<u8>) -> Result<(), Error> {
        match self.0.words()[..] {
            ["deaf"] => {
                // Keeps it, and never reads.
                let _data = data;
                crashing::never().await
            }
            ["trap-at-input"] => {
                read_some(data).await;
                crashing::trap()
            }
            _ => {}
        }
        let mut data = data;
        loop {
            let (result, piece) = data.read(Vec::with_capacity(10_000)).await;
            self.0.add(piece.len());
            if !matches!(result, StreamResult::Complete(_)) {
                return Ok(());
            }
        }
    }

    async fn wait(&self, _: Option<f64>) -> Result<i32, Error> {
        match self.0.words()[..] {
            ["wait", ref rest @ ..] => misbehave(rest).await?,
            // Once: the next wait has an answer.
            ["fail-once"] if self.0.count.replace(1) == 0 => return Err(failure("once")),
            ["count-waits"] => {
                self.0.add(1);
                crashing::never().await
            }
            _ => {}
        }
        Ok(7)
    }

    async fn exit_code(&self) -> Result<Option<i32>, Error> {
        Ok(i32::try_from(self.0.count.get()).ok())
    }

    async fn collect(&self, _: Option<u64>) -> Result<Collected, Error> {
        misbehave(&self.0.words()).await?;
        Ok(Collected {
            stdout: String::new(),
            stderr: String::new(),
            exit_code: 0,
            truncated: false,
        })
    }

    async fn kill(&self) -> Result<(), Error> {
        misbehave(&self.0.words()).await
    }
}

/// Bytes as the words have it.
fn bytes(shared: Rc<Shared>) -> Bytes {
    let (mut writer, reader) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(()));
    wit_bindgen::spawn_local(async move {
        let words = shared.words();
        let (pieces, size) = attack_of_process(&words);
        for _ in 0..pieces {
            let rest = writer.write_all(vec![b'x'; size]).await;
            shared.add(size - rest.len());
            if !rest.is_empty() {
                break;
            }
        }
        match words[..] {
            ["then-trap", ..] => crashing::trap(),
            ["then-spin", ..] => computing::spin(),
            ["then-hang", ..] => {
                // Neither an end nor a word about one.
                let _kept = (writer, end);
                crashing::never().await
            }
            ["then-silence", ..] => {
                drop(writer);
                shared.ends.borrow_mut().push(end);
                let _kept = Rc::clone(&shared);
                crashing::never().await
            }
            ["then-fail", ..] => {
                drop(writer);
                let _ = end.write(Err(failure("the rest is gone"))).await;
            }
            ["fail-first", ..] => {
                let _ = end.write(Err(failure("it failed before it ended"))).await;
                let _kept = writer;
                crashing::never().await
            }
            _ => {
                drop(writer);
                let _ = end.write(Ok(())).await;
            }
        }
    });
    (reader, ended)
}

async fn read_some(data: StreamReader<u8>) -> u64 {
    let mut data = data;
    let (_, piece) = data.read(Vec::with_capacity(10)).await;
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

async fn read_all(data: StreamReader<u8>) -> u64 {
    let mut data = data;
    let mut count = 0;
    loop {
        let (result, piece) = data.read(Vec::with_capacity(100_000)).await;
        count += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if !matches!(result, StreamResult::Complete(_)) {
            return count;
        }
    }
}
