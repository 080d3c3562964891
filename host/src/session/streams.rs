//! Streams between a host app and a guest. Each is taken or fed as fast as the other
//! side reads: what waits in between is bounded.

use super::worker::Worker;
use crate::contract;
use crate::error::Error;
use crate::guest::GuestState;
use crate::limits::{INPUT_PIECE, LINE_BATCH, LINE_BATCHES, Limits, OUTPUT_PIECE};
use crate::room::Room;
use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::io::StreamReader;
use tokio_util::sync::PollSender;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Destination, FutureConsumer, FutureReader, Source, StreamConsumer, StreamProducer,
    StreamReader as GuestStream, StreamResult,
};

type Ended = Result<(), contract::Error>;

/// Bytes as they come from a sandbox: one output of a command, or a file.
///
/// Not reading it holds the command up, once the service's own buffers are full;
/// dropping it does not: the rest is thrown away. It is a
/// [`Stream`](futures::Stream) of pieces of any size; [`Self::into_reader`] makes an
/// [`AsyncRead`](tokio::io::AsyncRead) of it.
pub struct Bytestream {
    worker: Arc<Worker>,
    pieces: mpsc::Receiver<Bytes>,
    end: End,
}

/// The lines of one output of a command, without their ends.
///
/// As with [`Bytestream`], not reading holds the command up.
pub struct Lines {
    worker: Arc<Worker>,
    batches: mpsc::Receiver<LineBatch>,
    waiting: VecDeque<String>,
    end: End,
}

/// How a stream ends: said by the guest, after the last piece.
enum End {
    Unsaid(oneshot::Receiver<Ended>),
    BrokenOff(BoxFuture<'static, Error>),
    Told,
}

/// Some lines, and the room that they take until they are read.
struct LineBatch {
    lines: Vec<String>,
    _room: OwnedSemaphorePermit,
}

impl Bytestream {
    /// The next piece, which is not empty; none at the end.
    ///
    /// # Errors
    ///
    /// When the rest cannot be read, or the plugin fails. Nothing follows then.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The same bytes to be read with tokio's tools. Errors become
    /// [`io::Error`](std::io::Error)s that hold an [`Error`].
    pub fn into_reader(self) -> impl AsyncRead + Send + Unpin {
        StreamReader::new(futures::TryStreamExt::map_err(self, io::Error::other))
    }
}

impl Stream for Bytestream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match ready!(this.pieces.poll_recv(cx)) {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None => this.end.poll(&this.worker, cx).map(|error| error.map(Err)),
        }
    }
}

impl Lines {
    /// The next line; none at the end.
    ///
    /// # Errors
    ///
    /// As [`Bytestream::next`].
    pub async fn next(&mut self) -> Option<Result<String, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Lines {
    type Item = Result<String, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(line) = this.waiting.pop_front() {
                return Poll::Ready(Some(Ok(line)));
            }
            match ready!(this.batches.poll_recv(cx)) {
                Some(batch) => this.waiting.extend(batch.lines),
                None => return this.end.poll(&this.worker, cx).map(|error| error.map(Err)),
            }
        }
    }
}

impl End {
    /// What went wrong, if anything did; told once.
    fn poll(&mut self, worker: &Arc<Worker>, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        loop {
            let error = match self {
                Self::Told => return Poll::Ready(None),
                Self::BrokenOff(reason) => Some(ready!(reason.as_mut().poll(cx))),
                Self::Unsaid(end) => match ready!(Pin::new(end).poll(cx)) {
                    Ok(ended) => ended.err().map(|error| worker.shown(Error::Plugin(error))),
                    Err(_) => {
                        *self = Self::BrokenOff(Box::pin(Arc::clone(worker).broken_off()));
                        continue;
                    }
                },
            };
            *self = Self::Told;
            return Poll::Ready(error);
        }
    }
}

/// Both ends of a stream of bytes, and of the word about how it ends.
pub(super) fn bytes(limits: &Limits) -> (BytesIn, BytesOut) {
    let pieces = limits.output_bytes_waiting.div_ceil(OUTPUT_PIECE).max(1);
    let (sender, pieces) = mpsc::channel(pieces);
    let (end, ended) = oneshot::channel();
    let sender = PollSender::new(sender);
    (BytesIn { sender, end }, BytesOut { pieces, ended })
}

/// The guest's end.
pub(super) struct BytesIn {
    sender: PollSender<Bytes>,
    end: oneshot::Sender<Ended>,
}

/// The host app's end.
pub(super) struct BytesOut {
    pieces: mpsc::Receiver<Bytes>,
    ended: oneshot::Receiver<Ended>,
}

impl BytesIn {
    /// Takes what the guest has to give.
    pub(super) fn take(
        self,
        mut store: StoreContextMut<'_, GuestState>,
        (stream, end): (GuestStream<u8>, FutureReader<Ended>),
    ) -> wasmtime::Result<()> {
        stream.pipe(&mut store, BytesConsumer(self.sender))?;
        end.pipe(&mut store, EndConsumer(Some(self.end)))
    }
}

impl BytesOut {
    pub(super) fn with(self, worker: &Arc<Worker>) -> Bytestream {
        Bytestream {
            worker: Arc::clone(worker),
            pieces: self.pieces,
            end: End::Unsaid(self.ended),
        }
    }
}

/// Both ends of a stream of lines.
pub(super) fn lines(room: Room) -> (LinesIn, LinesOut) {
    let (sender, batches) = mpsc::channel(LINE_BATCHES);
    let (end, ended) = oneshot::channel();
    let consumer = LinesConsumer {
        sender: PollSender::new(sender),
        room,
    };
    (LinesIn { consumer, end }, LinesOut { batches, ended })
}

/// The guest's end.
pub(super) struct LinesIn {
    consumer: LinesConsumer,
    end: oneshot::Sender<Ended>,
}

/// The host app's end.
pub(super) struct LinesOut {
    batches: mpsc::Receiver<LineBatch>,
    ended: oneshot::Receiver<Ended>,
}

impl LinesIn {
    /// Takes what the guest has to give.
    pub(super) fn take(
        self,
        mut store: StoreContextMut<'_, GuestState>,
        (stream, end): (GuestStream<String>, FutureReader<Ended>),
    ) -> wasmtime::Result<()> {
        stream.pipe(&mut store, self.consumer)?;
        end.pipe(&mut store, EndConsumer(Some(self.end)))
    }
}

impl LinesOut {
    pub(super) fn with(self, worker: &Arc<Worker>) -> Lines {
        Lines {
            worker: Arc::clone(worker),
            batches: self.batches,
            waiting: VecDeque::new(),
            end: End::Unsaid(self.ended),
        }
    }
}

struct BytesConsumer(PollSender<Bytes>);

impl StreamConsumer<GuestState> for BytesConsumer {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, GuestState>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        match self.0.poll_reserve(cx) {
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
            // Nobody reads any more.
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(Ok(())) => {}
        }
        let mut source = source.as_direct(store);
        let there = source.remaining();
        let piece = there.get(..OUTPUT_PIECE).unwrap_or(there);
        if piece.is_empty() {
            self.0.abort_send();
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let piece = Bytes::copy_from_slice(piece);
        source.mark_read(piece.len());
        let _ = self.0.send_item(piece);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct LinesConsumer {
    sender: PollSender<LineBatch>,
    room: Room,
}

impl StreamConsumer<GuestState> for LinesConsumer {
    type Item = String;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, GuestState>,
        mut source: Source<'_, String>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let reserved = match self.sender.poll_reserve(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(Ok(())) => self.room.poll_some(cx),
            Poll::Pending => Poll::Pending,
        };
        let mut room = match reserved {
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(Some(room)) => room,
        };
        let count = source.remaining(&mut store).min(LINE_BATCH);
        let mut lines = Vec::with_capacity(count);
        source.read(&mut store, &mut lines)?;
        let bytes = lines.iter().map(|line| size_of::<String>() + line.len());
        self.room.widen(&mut room, bytes.sum());
        let batch = LineBatch { lines, _room: room };
        let _ = self.sender.send_item(batch);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct EndConsumer(Option<oneshot::Sender<Ended>>);

impl FutureConsumer<GuestState> for EndConsumer {
    type Item = Ended;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<'_, GuestState>,
        mut source: Source<'_, Ended>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut ended = None;
        source.read(&mut store, &mut ended)?;
        if let (Some(sender), Some(ended)) = (self.0.take(), ended) {
            let _ = sender.send(ended);
        }
        Poll::Ready(Ok(()))
    }
}

/// What a host app feeds a guest, and how far it came.
pub(super) struct Feed {
    progress: Arc<Mutex<Progress>>,
    /// Dropped, it ends the stream.
    _more: oneshot::Sender<Infallible>,
}

#[derive(Debug, Default)]
struct Progress {
    bytes: u64,
    is_whole: bool,
    fault: Option<io::Error>,
}

/// What a guest took of what it was fed.
pub(super) struct Taken {
    pub(super) bytes: u64,
    /// Whether that is all.
    pub(super) is_whole: bool,
}

/// A stream that gives a guest what can be read here, and the means to look after
/// it.
pub(super) fn feed(reader: impl AsyncRead + Send + 'static) -> (Producer, Feed) {
    let progress = Arc::<Mutex<Progress>>::default();
    let (more, is_over) = oneshot::channel();
    let producer = Producer {
        reader: Box::pin(reader),
        progress: Arc::clone(&progress),
        is_over,
    };
    (
        producer,
        Feed {
            progress,
            _more: more,
        },
    )
}

impl Feed {
    /// What the guest took, or why there was no more.
    pub(super) fn taken(&self) -> io::Result<Taken> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match progress.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(Taken {
                bytes: progress.bytes,
                is_whole: progress.is_whole,
            }),
        }
    }
}

/// The guest's end.
pub(super) struct Producer {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    progress: Arc<Mutex<Progress>>,
    is_over: oneshot::Receiver<Infallible>,
}

impl StreamProducer<GuestState> for Producer {
    type Item = u8;
    type Buffer = Option<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, GuestState>,
        destination: Destination<'a, u8, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if Pin::new(&mut self.is_over).poll(cx).is_ready() {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut destination = destination.as_direct(store, INPUT_PIECE);
        let there = destination.remaining();
        let length = there.len().min(INPUT_PIECE);
        let mut buffer = ReadBuf::new(there.get_mut(..length).unwrap_or_default());
        let read = self.reader.as_mut().poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        Poll::Ready(Ok(match read {
            Poll::Pending if finish => StreamResult::Cancelled,
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if count == 0 => {
                progress.is_whole = true;
                StreamResult::Dropped
            }
            Poll::Ready(Ok(())) => {
                progress.bytes += u64::try_from(count).unwrap_or(u64::MAX);
                destination.mark_written(count);
                StreamResult::Completed
            }
            Poll::Ready(Err(fault)) => {
                progress.fault = Some(fault);
                StreamResult::Dropped
            }
        }))
    }
}
