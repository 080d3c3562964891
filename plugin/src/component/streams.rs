//! Streams of the contract, as the plugin's logic has them.

use super::bindings::zenml::flavor::types::Error;
use crate::limits;
use crate::sandbox::modal::Sink;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use std::pin::pin;
use wit_bindgen::{StreamReader, StreamResult, StreamWriter};

/// Hands pieces to the host, one after the other: the next is not asked for before
/// the host has taken this one.
///
/// # Errors
///
/// When the pieces end with one. A host that takes no more is none.
pub(super) async fn hand_on<T: 'static>(
    pieces: impl Stream<Item = Result<Vec<T>, Error>>,
    mut writer: StreamWriter<T>,
) -> Result<(), Error> {
    let mut pieces = pin!(pieces);
    while let Some(piece) = pieces.next().await {
        if !writer.write_all(piece?).await.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}

/// The contents of a file on their way to the host.
pub(super) struct StreamSink(StreamWriter<u8>);

impl StreamSink {
    pub(super) fn new(writer: StreamWriter<u8>) -> Self {
        Self(writer)
    }
}

impl Sink for StreamSink {
    async fn write(&mut self, piece: Bytes) -> bool {
        self.0.write_all(piece.into()).await.is_empty()
    }
}

/// What the host gives, in pieces of [`limits::INPUT_PIECE`] but for the last.
pub(super) fn full(reader: StreamReader<u8>) -> impl Stream<Item = Bytes> {
    stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        let mut piece = Vec::with_capacity(limits::INPUT_PIECE);
        while piece.len() < limits::INPUT_PIECE {
            let (result, longer) = reader.read(piece).await;
            piece = longer;
            if !matches!(result, StreamResult::Complete(_)) {
                return (!piece.is_empty()).then(|| (piece.into(), None));
            }
        }
        Some((piece.into(), Some(reader)))
    })
}

/// What the host gives, as it comes, in pieces of at most [`limits::INPUT_PIECE`].
pub(super) fn as_they_come(reader: StreamReader<u8>) -> impl Stream<Item = Bytes> {
    stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        loop {
            let room = Vec::with_capacity(limits::INPUT_PIECE);
            let (result, piece) = reader.read(room).await;
            let is_over = !matches!(result, StreamResult::Complete(_));
            if !piece.is_empty() {
                return Some((piece.into(), (!is_over).then_some(reader)));
            }
            if is_over {
                return None;
            }
        }
    })
}
