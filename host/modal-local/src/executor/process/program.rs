//! A program that is about to be executed, down to the last pointer: nothing is
//! left to be allocated or looked up in the new process.

use std::{
    ffi::{CString, OsStr, c_char},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    ptr,
};

use rustix::process::{Pid, Rlimit};

use super::before_exec;

/// What is to be executed, and as what.
#[derive(Debug)]
pub(super) struct Program {
    /// The files to try, in order.
    pub(super) candidates: Vec<CString>,
    pub(super) arguments: Strings,
    /// The same behind a shell and one that is to be filled in: a file without a
    /// format of its own is a script.
    pub(super) script: Strings,
    pub(super) environment: Strings,
    pub(super) workdir: CString,
    /// Standard input, output and error.
    pub(super) stdio: [OwnedFd; 3],
    /// Where it writes down who it is.
    pub(super) record: OwnedFd,
    /// Its limit on open files.
    pub(super) descriptors: Rlimit,
    /// Whether it leads a session of its own, to which the terminal belongs that
    /// is its input; else it leads a process group.
    pub(super) takes_terminal: bool,
}

/// The parts of a [`Program`] that are texts.
pub(super) struct Texts<'a> {
    pub(super) program: &'a str,
    pub(super) arguments: &'a [String],
    /// Each variable once.
    pub(super) environment: Vec<(&'a str, &'a OsStr)>,
    pub(super) workdir: &'a Path,
}

/// The shell that executes scripts.
const SHELL: &std::ffi::CStr = c"/bin/sh";
/// Where the name of a script goes among its arguments.
pub(super) const SCRIPT: usize = 1;

impl Program {
    /// Writes everything down.
    ///
    /// # Errors
    ///
    /// When a text has a NUL in it.
    pub(super) fn new(
        texts: &Texts<'_>,
        stdio: [OwnedFd; 3],
        record: OwnedFd,
        descriptors: Rlimit,
        takes_terminal: bool,
    ) -> io::Result<Self> {
        let path = texts.environment.iter().find(|(key, _)| *key == "PATH");
        let path = path.map_or(OsStr::new(""), |(_, value)| value);
        let own = terminated(texts.program.as_bytes())?;
        let arguments = texts.arguments.iter();
        let arguments: Vec<CString> = arguments
            .map(|argument| terminated(argument.as_bytes()))
            .collect::<io::Result<_>>()?;
        let variables = texts
            .environment
            .iter()
            .map(|(key, value)| terminated(&[key.as_bytes(), b"=", value.as_bytes()].concat()));
        let script = [SHELL.to_owned(), own.clone()].into_iter();
        Ok(Self {
            candidates: candidates(texts.program, path)?,
            script: Strings::new(script.chain(arguments.clone()).collect()),
            arguments: Strings::new([own].into_iter().chain(arguments).collect()),
            environment: Strings::new(variables.collect::<io::Result<_>>()?),
            workdir: terminated(texts.workdir.as_os_str().as_bytes())?,
            stdio,
            record,
            descriptors,
            takes_terminal,
        })
    }

    /// Executes it in a new process, and returns once that is done. Blocks.
    ///
    /// # Errors
    ///
    /// The one that kept it from being executed.
    pub(super) fn start(self) -> io::Result<Pid> {
        before_exec::start(self)
    }
}

/// The files that a name can mean: one, if a path is given; else one in each
/// directory of `PATH`, of which an empty one is the working directory.
fn candidates(program: &str, path: &OsStr) -> io::Result<Vec<CString>> {
    if program.contains('/') || program.is_empty() {
        return Ok(vec![terminated(program.as_bytes())?]);
    }
    let directories = path.as_bytes().split(|byte| *byte == b':');
    let candidates = directories.map(|directory| match directory {
        [] => terminated(program.as_bytes()),
        directory => terminated(&[directory, b"/", program.as_bytes()].concat()),
    });
    candidates.collect()
}

fn terminated(text: &[u8]) -> io::Result<CString> {
    Ok(CString::new(text)?)
}

/// Strings, and an array of pointers to them with a null at its end, as `execve`
/// wants them.
#[derive(Debug)]
pub(super) struct Strings {
    /// Lead into `_strings`, whose texts stay where they are when this is moved.
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Strings {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr());
        Self {
            pointers: pointers.chain([ptr::null()]).collect(),
            _strings: strings,
        }
    }

    /// The array.
    pub(super) fn pointers(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }

    /// The array, with one place to be changed.
    pub(super) fn place(&mut self, index: usize) -> Option<&mut *const c_char> {
        self.pointers.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::{OsStr, candidates};

    fn files(program: &str, path: &str) -> Vec<String> {
        let candidates = candidates(program, OsStr::new(path)).unwrap();
        let text = |file: &std::ffi::CString| file.to_str().unwrap().to_owned();
        candidates.iter().map(text).collect()
    }

    #[test]
    fn names_are_looked_up_and_paths_are_not() {
        assert_eq!(files("ls", "/bin:/usr/bin"), ["/bin/ls", "/usr/bin/ls"]);
        assert_eq!(files("ls", ":/bin:"), ["ls", "/bin/ls", "ls"]);
        assert_eq!(files("./ls", "/bin"), ["./ls"]);
        assert_eq!(files("a/b", "/bin"), ["a/b"]);
        assert_eq!(files("", "/bin"), [""]);
        assert!(candidates("a\0b", OsStr::new("/bin")).is_err());
    }
}
