//! A sandbox's output as log entries, the way V1 sandboxes are read.

use std::{io, sync::Arc};

use futures::{StreamExt, future::OptionFuture, stream};
use modal_proto::client::{self as pb, FileDescriptor};
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status};

use super::{Answer, ControlPlane, life, text::Decoder};
use crate::{
    core::Core,
    executor::{Chunk, Outputs, Stream},
    ids::SandboxId,
    limits,
    sandbox::{Phase, Sandbox},
};

type Batches = stream::BoxStream<'static, Result<pb::TaskLogsBatch, Status>>;

impl ControlPlane {
    /// Streams entries after `last_entry_id` for up to `timeout` seconds, at
    /// most 55. A last batch with `eof` says that the sandbox has ended and
    /// everything was sent; a stream that ends without it is to be reopened.
    pub(super) fn logs(&self, request: pb::SandboxGetLogsRequest) -> Answer<Batches> {
        if request.sandbox_id.is_empty() {
            return Err(Status::invalid_argument("sandbox_id is empty"));
        }
        let descriptor = request.file_descriptor();
        let position = Position::parse(&request.last_entry_id)?;
        let hold = life::hold(request.timeout)?.clamp(limits::LOG_HOLD_MIN, limits::LOG_HOLD);
        let sandbox = self
            .core
            .sandbox(&SandboxId::from_text(request.sandbox_id))?;
        let wants = |stream| match descriptor {
            FileDescriptor::Unspecified => true,
            FileDescriptor::Stdout => stream == Stream::Stdout,
            FileDescriptor::Stderr => stream == Stream::Stderr,
            FileDescriptor::Info => false,
        };
        let reader = |stream, offset| Reader {
            stream,
            offset,
            decoder: Decoder::default(),
            open: wants(stream),
        };
        let follower = Follower {
            core: Arc::clone(&self.core),
            stdout: reader(Stream::Stdout, position.stdout),
            stderr: reader(Stream::Stderr, position.stderr),
            sandbox,
            deadline: Instant::now() + hold,
        };
        let batches = stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Next::Batch(batch) => Some((Ok(batch), Some(follower))),
                Next::Last(batch) => Some((Ok(batch), None)),
                Next::Failed(status) => Some((Err(status), None)),
                Next::TimeIsUp => None,
            }
        });
        Ok(Response::new(batches.boxed()))
    }
}

/// How far a client has read, which is what an entry id says: the offsets in
/// stdout and stderr. The id that some clients start with, `0-0`, is the
/// beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    stdout: u64,
    stderr: u64,
}

impl Position {
    fn parse(id: &str) -> Result<Self, Status> {
        if id.is_empty() {
            return Ok(Self::default());
        }
        id.split_once('-')
            .and_then(|(stdout, stderr)| {
                Some(Self {
                    stdout: stdout.parse().ok()?,
                    stderr: stderr.parse().ok()?,
                })
            })
            .ok_or_else(|| {
                Status::invalid_argument(format!("last_entry_id {id:?} is not from this server"))
            })
    }
}

struct Follower {
    core: Arc<Core>,
    sandbox: Arc<Sandbox>,
    stdout: Reader,
    stderr: Reader,
    deadline: Instant,
}

enum Next {
    Batch(pb::TaskLogsBatch),
    /// The end of everything.
    Last(pb::TaskLogsBatch),
    Failed(Status),
    TimeIsUp,
}

impl Follower {
    async fn next(&mut self) -> Next {
        let deadline = self.deadline;
        match timeout_at(deadline, self.entries()).await {
            Err(_) => Next::TimeIsUp,
            Ok(Err(error)) => Next::Failed(output_gone(&self.sandbox, &error)),
            Ok(Ok(Some(item))) => Next::Batch(pb::TaskLogsBatch {
                items: vec![item],
                ..self.batch()
            }),
            Ok(Ok(None)) => Next::Last(pb::TaskLogsBatch {
                eof: true,
                ..self.batch()
            }),
        }
    }

    /// The next entry of either stream; `None` when both are over and the
    /// sandbox has ended.
    async fn entries(&mut self) -> io::Result<Option<pb::TaskLogs>> {
        if let Some(outputs) = self.sandbox.outputs().await {
            while self.stdout.open || self.stderr.open {
                let text = tokio::select! {
                    biased;
                    Some(text) = self.stdout.next(&outputs) => self.entry(Stream::Stdout, text?),
                    Some(text) = self.stderr.next(&outputs) => self.entry(Stream::Stderr, text?),
                    else => None,
                };
                if text.is_some() {
                    return Ok(text);
                }
            }
        }
        self.sandbox.reaches(Phase::is_final).await;
        Ok(None)
    }

    /// Nothing for the empty text: clients stumble over empty entries.
    fn entry(&self, stream: Stream, text: String) -> Option<pb::TaskLogs> {
        if text.is_empty() {
            return None;
        }
        let now = self.core.clock.now();
        Some(pb::TaskLogs {
            data: text,
            timestamp: now.seconds(),
            file_descriptor: match stream {
                Stream::Stdout => FileDescriptor::Stdout,
                Stream::Stderr => FileDescriptor::Stderr,
            }
            .into(),
            timestamp_ns: u64::try_from(now.micros()).map_or(0, |micros| micros * 1_000),
        })
    }

    fn batch(&self) -> pb::TaskLogsBatch {
        pb::TaskLogsBatch {
            task_id: self.sandbox.task_id.to_string(),
            sandbox_id: self.sandbox.id.to_string(),
            entry_id: format!("{}-{}", self.stdout.sent(), self.stderr.sent()),
            ..pb::TaskLogsBatch::default()
        }
    }
}

/// Reads one stream as text.
struct Reader {
    stream: Stream,
    /// Of the next byte to read.
    offset: u64,
    decoder: Decoder,
    /// False at the end, and for a stream nobody asked for.
    open: bool,
}

impl Reader {
    /// The next piece of text, possibly empty; `None` when the stream is over.
    async fn next(&mut self, outputs: &Outputs) -> Option<io::Result<String>> {
        let output = self.open.then(|| outputs.stream(self.stream));
        let read = OptionFuture::from(output.map(|output| output.read(self.offset))).await?;
        Some(read.map(|chunk| self.take(chunk)))
    }

    fn take(&mut self, chunk: Option<Chunk>) -> String {
        let Some(chunk) = chunk else {
            self.open = false;
            return self.decoder.finish();
        };
        let mut text = if chunk.start == self.offset {
            String::new()
        } else {
            self.decoder.finish()
        };
        text.push_str(&self.decoder.push(&chunk.bytes));
        self.offset = chunk.end();
        text
    }

    /// Up to where everything was sent.
    fn sent(&self) -> u64 {
        self.offset.saturating_sub(self.decoder.pending())
    }
}

/// The answer when output can no longer be read.
pub(crate) fn output_gone(sandbox: &Sandbox, error: &io::Error) -> Status {
    if error.kind() == io::ErrorKind::NotFound {
        return Status::not_found(format!("sandbox {} was forgotten", sandbox.id));
    }
    Status::internal(format!(
        "the output of {} cannot be read: {error}",
        sandbox.id
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_id_is_a_position() {
        assert_eq!(Position::parse("").unwrap(), Position::default());
        assert_eq!(Position::parse("0-0").unwrap(), Position::default());
        let position = Position::parse("12-3456789012").unwrap();
        assert_eq!((position.stdout, position.stderr), (12, 3_456_789_012));
        for bad in ["x", "1", "1-", "-1", "1-2-3", "1--2"] {
            assert!(Position::parse(bad).is_err(), "{bad}");
        }
    }
}
