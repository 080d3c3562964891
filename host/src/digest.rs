//! What identifies a component, or any other content.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Read};

/// SHA-256, printed in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of what there is to read, whatever its size.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<Self> {
        let mut hasher = Hasher(Sha256::new());
        io::copy(reader, &mut hasher)?;
        Ok(Self(hasher.0.finalize().into()))
    }
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
