//! Where calls can be held up.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

type Passing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What every call passes twice: before anything is done, and before its answer
/// leaves. A call that is not let pass has no effect any more, and no answer.
#[derive(Clone, Default)]
pub struct Gate(Option<Arc<dyn Fn() -> Passing + Send + Sync>>);

impl Gate {
    /// Lets a call pass when the future is ready.
    pub fn new<F>(pass: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Some(Arc::new(move || Box::pin(pass()))))
    }

    pub(crate) async fn pass(&self) {
        if let Some(pass) = &self.0 {
            pass().await;
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}
