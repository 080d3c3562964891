//! A command on a terminal.

use std::{
    fs::File,
    io::{Read, Write as _},
    num::NonZero,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};

use super::BOUND;

/// Rows and columns of the terminal.
const SIZE: (NonZero<u16>, NonZero<u16>) = (NonZero::new(30).unwrap(), NonZero::new(120).unwrap());

/// A command whose three streams are a terminal, and what the terminal shows.
pub(crate) struct Terminal {
    child: Guarded,
    master: File,
    screen: vt100::Parser,
    written: Vec<u8>,
    root: PathBuf,
    before: Termios,
}

/// Outputs that do not go to the terminal.
#[derive(Default)]
pub(super) struct Files {
    pub(super) stdout: Option<File>,
    pub(super) stderr: Option<File>,
}

/// A command that ended on a terminal.
pub(crate) struct Shown {
    /// Whether keys do what they did before.
    pub(crate) is_as_before: bool,
    pub(crate) code: Option<i32>,
    /// The lines on the terminal, and those that have scrolled away.
    pub(crate) text: String,
    /// Whether the cursor is to be seen.
    pub(crate) cursor: bool,
    /// Whether the cursor is in the first column.
    pub(crate) at_line_start: bool,
    /// All that was written to it.
    pub(crate) written: Vec<u8>,
}

impl Terminal {
    /// Starts a command; an output that has a file goes there.
    pub(super) fn start(mut command: Command, root: PathBuf, files: Files) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: SIZE.0.get(),
            ws_col: SIZE.1.get(),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let before = tcgetattr(&master).unwrap();
        let stream = || Stdio::from(ioctl_tiocgptpeer(&master, flags).unwrap());
        command
            .stdin(stream())
            .stdout(files.stdout.map_or_else(stream, Stdio::from))
            .stderr(files.stderr.map_or_else(stream, Stdio::from));
        let child = Guarded(command.spawn().unwrap());
        // The command's ends must not stay open here.
        drop(command);
        Self {
            child,
            master: File::from(master),
            screen: vt100::Parser::new(SIZE.0, SIZE.1, 1000),
            written: Vec::new(),
            root,
            before,
        }
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether keys are handed on as they are.
    pub(crate) fn is_raw(&self) -> bool {
        let now = tcgetattr(&self.master).unwrap();
        !now.local_modes
            .intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits until the terminal shows what is wanted.
    pub(crate) fn wait(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        loop {
            let shown = self.screen.screen().contents();
            if is_so(&shown) {
                return shown;
            }
            assert!(self.read(), "not on the terminal: {what}\n{shown}");
        }
    }

    /// Closes the terminal, under the command.
    pub(crate) fn close(self) -> Orphan {
        Orphan(self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Shown {
        while self.read() {}
        let code = self.child.0.wait().unwrap().code();
        let text = self.scrolled_away() + &self.screen.screen().contents();
        let screen = self.screen.screen();
        let now = tcgetattr(&self.master).unwrap();
        Shown {
            is_as_before: now.local_modes == self.before.local_modes
                && now.input_modes == self.before.input_modes
                && now.output_modes == self.before.output_modes,
            code,
            text: text.replace(self.root.to_str().unwrap(), "[ROOT]"),
            cursor: !screen.hide_cursor(),
            at_line_start: screen.cursor_position().1 == 0,
            written: std::mem::take(&mut self.written),
        }
    }

    /// The lines above those that the terminal shows.
    fn scrolled_away(&mut self) -> String {
        let screen = self.screen.screen_mut();
        screen.set_scrollback(usize::MAX);
        let mut text = String::new();
        for above in (1..=screen.scrollback()).rev() {
            screen.set_scrollback(above);
            text += &screen.rows(0, SIZE.1.get()).next().unwrap();
            text += "\n";
        }
        screen.set_scrollback(0);
        text
    }

    /// Takes in what is written next; false at the end.
    fn read(&mut self) -> bool {
        let time = Timespec::try_from(BOUND).unwrap();
        let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
        let ready = poll(&mut polled, Some(&time)).unwrap();
        assert!(ready > 0, "nothing is written any more");
        let mut buffer = [0; 4096];
        // EIO when nobody has the other end any more.
        let count = self.master.read(&mut buffer).unwrap_or(0);
        self.screen.process(&buffer[..count]);
        self.written.extend_from_slice(&buffer[..count]);
        count > 0
    }
}

/// A child that is killed when dropped.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command whose terminal is gone.
pub(crate) struct Orphan(Guarded);

impl Orphan {
    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.0.0.wait().unwrap().code()
    }
}
