//! What a new process does before `execve`: the one unsafe place.
//!
//! The new process shares this one's memory until it executes its program, and the
//! thread that starts it stands still as long (as in `vfork`). Forking would
//! instead copy the page tables of a large process, and make it fault on
//! every page that it writes to afterwards: for a server in the same process as a
//! WebAssembly engine that is the better part of starting a command.
//!
//! So nothing here may allocate, take locks, unwind or touch what other threads
//! may be using: system calls on what [`Program`] has laid out, and nothing else.
#![allow(
    unsafe_code,
    reason = "the only way to run code before execve, and to close descriptors there"
)]

use std::{
    ffi::{c_int, c_void},
    io,
    mem::{MaybeUninit, zeroed},
    os::fd::OwnedFd,
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, read, write},
    process::{
        Pid, Resource, WaitId, WaitIdOptions, chdir, ioctl_tiocsctty, setpgid, setrlimit, setsid,
        waitid,
    },
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin},
};

use super::program::{Program, SCRIPT};

/// Stack for the new process, 64 KiB in units that are aligned as a stack wants it:
/// system calls need little.
const STACK: usize = 4096;

/// Starts a program; see [`Program::start`].
pub(super) fn start(program: Program) -> io::Result<Pid> {
    let mut child = Child {
        program,
        failure: AtomicI32::new(0),
    };
    let mut stack = vec![0_u128; STACK];
    let held = HeldSignals::hold()?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: `run` gets a stack of its own and a pointer to `child`, which nobody
    // else touches: with CLONE_VFORK this thread goes on only when the new
    // process has executed its program or ended. It returns and never unwinds.
    // Signals are held, so that no handler of this program runs in it.
    let pid = unsafe {
        // It grows downwards.
        let top = stack.as_mut_ptr_range().end;
        libc::clone(run, top.cast(), flags, ptr::from_mut(&mut child).cast())
    };
    let result = match pid {
        -1 => Err(io::Error::last_os_error()),
        pid => Pid::from_raw(pid).ok_or_else(|| io::Error::other("a process without an id")),
    };
    drop(held);
    let pid = result?;
    match child.failure.into_inner() {
        0 => Ok(pid),
        errno => {
            // It has ended already.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// What the new process needs, and where it says why it failed.
struct Child {
    program: Program,
    failure: AtomicI32,
}

extern "C" fn run(child: *mut c_void) -> c_int {
    // SAFETY: `start` passes a `Child` that only this process uses until it ends.
    let child = unsafe { &mut *child.cast::<Child>() };
    if let Err(errno) = become_program(&mut child.program) {
        child.failure.store(errno.raw_os_error(), Ordering::Relaxed);
    }
    1
}

/// Makes this process the program; comes back only when that fails.
///
/// It first writes down who it is, so that there is never a command without a
/// record: a server killed at any instruction leaves either nothing or
/// something the next one can find. Nothing is forced to the disk, because no
/// process survives the machine.
fn become_program(program: &mut Program) -> Result<(), Errno> {
    let [input, output, error] = &program.stdio;
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(error)?;
    if program.takes_terminal {
        // The terminal's interrupt character reaches whoever leads its session.
        setsid()?;
        ioctl_tiocsctty(stdin())?;
    } else {
        setpgid(None, None)?;
    }
    chdir(program.workdir.as_c_str())?;
    write_stat(&program.record)?;
    inherit_none();
    setrlimit(Resource::Nofile, program.descriptors)?;
    forget_handlers();
    take_signals();
    Err(execute(program))
}

/// Copies `/proc/self/stat`, in which the pid, the process group and the start
/// time stand, to the record.
fn write_stat(record: &OwnedFd) -> Result<(), Errno> {
    // The line is below 400 bytes.
    let mut buffer = [0; 1024];
    let stat = open(
        c"/proc/self/stat",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let length = read(&stat, &mut buffer)?;
    let mut rest = buffer.get(..length).unwrap_or_default();
    while !rest.is_empty() {
        let written = write(record, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Has every descriptor but the standard ones closed by `execve`: this program
/// may itself have inherited some that stay open.
///
/// Kernels before 5.11 cannot do it, and leave them open.
fn inherit_none() {
    // SAFETY: the call changes flags of this process's own descriptor table,
    // which is a copy, and no memory.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// Signals do what they do by default, except those that whoever started this
/// program wanted ignored. Rust ignores SIGPIPE by itself.
fn forget_handlers() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the actions are this process's own, without CLONE_SIGHAND, and
        // the structures are its own too. Signals that cannot be changed give an
        // error, which changes nothing.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            let is_known = libc::sigaction(signal, ptr::null(), &raw mut action) == 0;
            if is_known && (action.sa_sigaction != libc::SIG_IGN || signal == libc::SIGPIPE) {
                action = zeroed();
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, ptr::null_mut());
            }
        }
    }
}

/// No signal is held any more.
fn take_signals() {
    let mut none = MaybeUninit::uninit();
    // SAFETY: the set is emptied before it is used, and the mask is that of this
    // process only.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

/// Tries one file after the other, by the rules of `execvp`.
fn execute(program: &mut Program) -> Errno {
    let mut failure = Errno::NOENT;
    for candidate in &program.candidates {
        let file = candidate.as_ptr();
        let environment = program.environment.pointers();
        // SAFETY: strings and arrays end as they have to, and live in `program`.
        let mut errno = unsafe {
            libc::execve(file, program.arguments.pointers(), environment);
            last_errno()
        };
        if errno == Errno::NOEXEC {
            // What has no format of its own is for the shell.
            if let Some(script) = program.script.place(SCRIPT) {
                *script = file;
            }
            // SAFETY: as above.
            errno = unsafe {
                let arguments = program.script.pointers();
                libc::execve(*arguments, arguments, environment);
                last_errno()
            };
        }
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT => {}
            // There may be another one.
            Errno::ACCESS => failure = Errno::ACCESS,
            errno => return errno,
        }
    }
    failure
}

/// That of the last call of the C library.
///
/// # Safety
///
/// Always safe; unsafe like the calls that it follows.
unsafe fn last_errno() -> Errno {
    // SAFETY: the place is this thread's own. The one that stands still shares it,
    // and reads it only after a call of its own.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

/// Holds all signals back in this thread, and so in the process that it starts,
/// until it is dropped.
struct HeldSignals {
    before: libc::sigset_t,
}

impl HeldSignals {
    fn hold() -> io::Result<Self> {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: the first set is filled before it is used, and the call fills the
        // second one unless it fails.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) {
                0 => Ok(Self {
                    before: before.assume_init(),
                }),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // SAFETY: the set is the one that was in force.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut());
        }
    }
}
