//! A command in a session.

use super::error::{ProcessError, Seconds};
use super::lines::lines;
use super::log::SessionLog;
use super::service::{Level, RunningCommand, Surroundings};
use crate::limits;
use crate::modal::output::OutputStream;
use bytes::Bytes;
use futures::future::Either;
use futures::{Stream, StreamExt as _, future, pin_mut};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// A command that was started.
#[derive(Debug)]
pub struct Process<C, U> {
    command: C,
    surroundings: Rc<U>,
    log: Rc<SessionLog<U>>,
    started_at: Duration,
    is_collected: Cell<bool>,
}

/// What a command wrote, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Lines of the standard output.
    pub stdout: Text,
    /// Lines of the standard error.
    pub stderr: Text,
    /// 0 when the service does not know it.
    pub exit_code: i32,
}

/// Lines up to a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// Those that fit.
    pub text: String,
    /// Whether lines were left out.
    pub is_truncated: bool,
}

impl<C: RunningCommand, U: Surroundings> Process<C, U> {
    pub(super) fn new(
        command: C,
        surroundings: Rc<U>,
        log: Rc<SessionLog<U>>,
        started_at: Duration,
    ) -> Self {
        Self {
            command,
            surroundings,
            log,
            started_at,
            is_collected: Cell::new(false),
        }
    }

    /// The lines of the standard output. They go to the session's log as they are
    /// read.
    pub fn stdout(&self) -> impl Stream<Item = Result<String, C::Error>> {
        self.logged(lines(self.command.stdout()), Level::Info)
    }

    /// The lines of the standard error. They go to the session's log as they are
    /// read.
    pub fn stderr(&self) -> impl Stream<Item = Result<String, C::Error>> {
        self.logged(lines(self.command.stderr()), Level::Error)
    }

    /// The bytes of one output, as they come.
    pub fn bytes(&self, output: OutputStream) -> impl Stream<Item = Result<Bytes, C::Error>> {
        match output {
            OutputStream::Stdout => Either::Left(self.command.stdout()),
            OutputStream::Stderr => Either::Right(self.command.stderr()),
        }
    }

    /// Writes what the command reads from its standard input, and closes that.
    ///
    /// # Errors
    ///
    /// When the service fails.
    pub async fn feed(
        &self,
        input: impl Stream<Item = Bytes> + Unpin,
    ) -> Result<(), ProcessError<C::Error>> {
        let fed = self.command.feed(input).await;
        fed.map_err(ProcessError::Service)
    }

    fn logged(
        &self,
        lines: impl Stream<Item = Result<String, C::Error>>,
        level: Level,
    ) -> impl Stream<Item = Result<String, C::Error>> {
        lines.inspect(move |line| {
            if let Ok(line) = line {
                self.log.output(level, line);
            }
        })
    }

    /// Waits for the end. With a time limit the service is asked every
    /// [`limits::COMMAND_POLL`], at least once, and no more once the limit is
    /// reached.
    ///
    /// # Errors
    ///
    /// When the service fails, and when the command runs on.
    pub async fn wait(&self, timeout: Option<Seconds>) -> Result<i32, ProcessError<C::Error>> {
        let Some(timeout) = timeout else {
            let code = self.command.wait().await.map_err(ProcessError::Service)?;
            return Ok(code.unwrap_or_default());
        };
        let deadline = deadline(self.surroundings.now(), timeout);
        let is_over = || self.surroundings.now() >= deadline;
        loop {
            if let Some(code) = self.exit_code().await? {
                return Ok(code);
            }
            if !is_over() {
                self.surroundings.sleep(limits::COMMAND_POLL).await;
            }
            if is_over() {
                return Err(ProcessError::StillRunning { timeout });
            }
        }
    }

    /// The exit code, when the command has ended.
    ///
    /// # Errors
    ///
    /// When the service fails.
    pub async fn exit_code(&self) -> Result<Option<i32>, ProcessError<C::Error>> {
        self.command.poll().await.map_err(ProcessError::Service)
    }

    /// Always refused: Modal cannot end a single command, and ending the sandbox
    /// would end all of them.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn kill(&self) -> Result<(), ProcessError<C::Error>> {
        Err(ProcessError::CannotKill)
    }

    /// Reads both outputs to their ends, at once so that neither holds the command
    /// up, and waits for the end. Of each output those lines are kept that fit into
    /// `limit` characters together: ZenML 0.98.0 drops everything after the first
    /// one that does not.
    ///
    /// # Errors
    ///
    /// When it was done before, and when the service fails. A failed output does
    /// not count as collected; the end of the command is waited for all the same.
    pub async fn collect(&self, limit: usize) -> Result<Collected, ProcessError<C::Error>> {
        if self.is_collected.get() {
            return Err(ProcessError::Collected);
        }
        let outputs = future::join(kept(self.stdout(), limit), kept(self.stderr(), limit));
        let (stdout, stderr) = match outputs.await {
            (Ok(stdout), Ok(stderr)) => (stdout, stderr),
            (Err(error), _) | (_, Err(error)) => {
                // Its own failure would only hide the first one.
                let _ = self.wait(None).await;
                return Err(ProcessError::Service(error));
            }
        };
        let exit_code = self.wait(None).await?;
        self.is_collected.set(true);
        let after = self.surroundings.now().saturating_sub(self.started_at);
        self.log.ended(exit_code, after);
        Ok(Collected {
            stdout,
            stderr,
            exit_code,
        })
    }
}

/// When a time limit is reached: at once when it is not positive, never when it is
/// beyond all reckoning.
fn deadline(now: Duration, timeout: Seconds) -> Duration {
    let seconds = timeout.as_f64();
    match Duration::try_from_secs_f64(seconds) {
        Ok(timeout) => now.saturating_add(timeout),
        Err(_) if seconds > 0.0 => Duration::MAX,
        Err(_) => now,
    }
}

/// The lines of an output that fit. All of it is read.
async fn kept<E>(lines: impl Stream<Item = Result<String, E>>, limit: usize) -> Result<Text, E> {
    pin_mut!(lines);
    let mut kept = Text::default();
    let mut room = limit;
    let mut is_inside_dropped = false;
    while let Some(line) = lines.next().await {
        let line = line?;
        let length = line.chars().count();
        if is_inside_dropped || length > room {
            kept.is_truncated = true;
            // The rest of a line that comes in parts is no line of its own.
            is_inside_dropped = !line.ends_with('\n');
            continue;
        }
        room -= length;
        kept.text.push_str(&line);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::{Seconds, deadline, kept};
    use futures::{FutureExt as _, stream};
    use std::convert::Infallible;
    use std::time::Duration;

    fn keep(lines: &[&str], limit: usize) -> (String, bool) {
        let lines = stream::iter(
            lines
                .iter()
                .map(|line| Ok::<_, Infallible>((*line).to_owned())),
        );
        let Ok(text) = kept(lines, limit).now_or_never().unwrap();
        (text.text, text.is_truncated)
    }

    #[test]
    fn lines_that_fit_are_kept_also_after_one_that_does_not() {
        let lines = ["a\n", "long line\n", "é\n", "b"];
        assert_eq!(keep(&lines, 0), (String::new(), true));
        assert_eq!(keep(&lines, 4), ("a\né\n".to_owned(), true));
        assert_eq!(keep(&lines, 5), ("a\né\nb".to_owned(), true));
        assert_eq!(keep(&lines, 15), (lines.concat(), false));
    }

    #[test]
    fn the_rest_of_a_dropped_line_is_dropped() {
        let parts = ["xxxx", "y", "z\n", "a\n"];
        assert_eq!(keep(&parts, 3), ("a\n".to_owned(), true));
    }

    #[test]
    fn odd_time_limits_are_no_trouble() {
        let now = Duration::from_secs(5);
        for (timeout, expected) in [
            (Seconds::Whole(2), Duration::from_secs(7)),
            (Seconds::Whole(0), now),
            (Seconds::Whole(-1), now),
            (Seconds::Real(-0.5), now),
            (Seconds::Real(f64::NAN), now),
            (Seconds::Real(f64::INFINITY), Duration::MAX),
            (Seconds::Real(1e300), Duration::MAX),
        ] {
            assert_eq!(deadline(now, timeout), expected, "{timeout}");
        }
    }
}
