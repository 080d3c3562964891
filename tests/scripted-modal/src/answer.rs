//! Answers of gRPC as HTTP has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use modal_proto::RETRY_POLICY_TYPE;
use modal_proto::client::{RpcRetryPolicy, RpcStatus};
use prost::Message;
use std::convert::Infallible;
use std::time::Duration;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Statuses of gRPC that are used here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Code {
    Ok = 0,
    NotFound = 5,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
}

/// A failure.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) retry_after: Option<Duration>,
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self {
            code,
            retry_after: None,
        }
    }
}

/// One message, or none, and a status.
pub(crate) fn unary(result: Result<Bytes, Failure>) -> http::Response<Body> {
    let frames = match result {
        Ok(message) => vec![Frame::data(message), Frame::trailers(trailers(Code::Ok))],
        Err(failure) => vec![Frame::trailers(failure.trailers())],
    };
    streaming(futures::stream::iter(frames))
}

/// An answer whose frames come as they come.
pub(crate) fn streaming(
    frames: impl futures::Stream<Item = Frame<Bytes>> + Send + 'static,
) -> http::Response<Body> {
    use futures::StreamExt as _;
    let mut response = http::Response::new(StreamBody::new(frames.map(Ok)).boxed_unsync());
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

/// A message with gRPC's prefix: a flag and four bytes of length.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(5 + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // Room for all of it was made above.
    let _ = message.encode(&mut framed);
    framed.freeze()
}

pub(crate) fn trailers(code: Code) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as u16));
    trailers
}

impl Failure {
    fn trailers(&self) -> HeaderMap {
        let mut trailers = trailers(self.code);
        if let Some(wait) = self.retry_after {
            let status = RpcStatus {
                code: self.code as i32,
                message: String::new(),
                details: vec![prost_types::Any {
                    type_url: format!("type.modal.com/{RETRY_POLICY_TYPE}"),
                    value: RpcRetryPolicy {
                        retry_after_secs: wait.as_secs_f32(),
                    }
                    .encode_to_vec(),
                }],
            };
            if let Ok(value) = HeaderValue::try_from(STANDARD_NO_PAD.encode(status.encode_to_vec()))
            {
                trailers.insert("grpc-status-details-bin", value);
            }
        }
        trailers
    }
}
