//! The frame around a gRPC message.

/// Takes the one message out of the body of a unary call.
///
/// `None` when bytes are still missing. Bodies of streaming calls are refused:
/// what opens a server must stand in one place.
///
/// # Errors
///
/// A [`FrameError`] when the body cannot be, or become, one readable message of
/// at most `limit` bytes.
pub fn unary_message(body: &[u8], limit: u64) -> Result<Option<&[u8]>, FrameError> {
    let Some((&[compressed, a, b, c, d], rest)) = body.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    if compressed != 0 {
        return Err(FrameError::Compressed);
    }
    let length = u32::from_be_bytes([a, b, c, d]);
    if u64::from(length) > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    // A length that no slice can have is one that no body reaches.
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match rest.len().checked_sub(length) {
        None => Ok(None),
        Some(0) => Ok(Some(rest)),
        Some(_) => Err(FrameError::Surplus),
    }
}

/// Why a body is not one readable gRPC message.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The sender compressed the message.
    #[error("the message is compressed")]
    Compressed,
    /// The message is longer than is kept in memory for reading.
    #[error("the message has {length} bytes where at most {limit} are read")]
    TooLong {
        /// Bytes announced.
        length: u32,
        /// Bytes allowed.
        limit: u64,
    },
    /// Something follows the message.
    #[error("the body holds more than one message")]
    Surplus,
}

/// One byte of flags, four of length.
const HEADER: usize = 5;
