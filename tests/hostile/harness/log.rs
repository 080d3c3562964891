//! What the host logs on this thread.

use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Catches log lines of the current thread as long as it lives.
pub(crate) struct Captured {
    written: Written,
    _guard: DefaultGuard,
}

impl Captured {
    /// Begins to catch lines of this level and above.
    pub(crate) fn start(level: Level) -> Self {
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(level)
            .with_writer(written.clone())
            .finish();
        Self {
            written,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// All of them.
    pub(crate) fn text(&self) -> String {
        let bytes = self.written.0.lock().unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
