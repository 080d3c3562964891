//! What a new process does between `fork` and `execve`: the one unsafe place.
//!
//! Only async-signal-safe calls may happen there, because another thread may
//! have held any lock (the allocator's, say) when the process was forked.
#![allow(
    unsafe_code,
    reason = "the only way to run code before execve, and to close descriptors there"
)]

use std::{io, os::fd::OwnedFd, os::unix::process::CommandExt, process::Command};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{read, write},
    process::{Resource, Rlimit, ioctl_tiocsctty, setrlimit, setsid},
    stdio::stdin,
};

/// Makes the new process write down who it is before it becomes the command,
/// keep none of this program's descriptors, and take back the limit on open
/// files that this program raised for itself.
///
/// So there is never a command without a record: a server killed at any
/// instruction leaves either nothing or something the next one can find.
/// Nothing is forced to the disk, because no process survives the machine.
///
/// With a terminal as its input it leads a session of its own, to which that
/// terminal belongs: so the terminal's interrupt character reaches it.
pub(super) fn record_itself(
    command: &mut Command,
    record: OwnedFd,
    descriptors: Rlimit,
    takes_terminal: bool,
) {
    let before_exec = move || {
        if takes_terminal {
            setsid()?;
            ioctl_tiocsctty(stdin())?;
        }
        write_stat(&record)?;
        inherit_none();
        setrlimit(Resource::Nofile, descriptors)?;
        Ok(())
    };
    // SAFETY: the closure makes system calls (setsid, ioctl, open, read, write,
    // close, close_range, prlimit) on a stack buffer and on descriptors it owns. It
    // does not allocate, take locks, unwind or touch memory shared with other
    // threads; an error is an errno, made without allocating.
    unsafe {
        command.pre_exec(before_exec);
    }
}

/// Copies `/proc/self/stat`, in which the pid, the process group and the start
/// time stand, to the record.
fn write_stat(record: &OwnedFd) -> io::Result<()> {
    // The line is below 400 bytes.
    let mut buffer = [0; 1024];
    let stat = open(c"/proc/self/stat", OFlags::RDONLY, Mode::empty())?;
    let length = read(&stat, &mut buffer)?;
    let mut rest = buffer.get(..length).unwrap_or_default();
    while !rest.is_empty() {
        let written = write(record, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Has every descriptor but the standard ones closed by `execve`: this program
/// may itself have inherited some that stay open. (Closing them here would
/// take away the one by which a failed start is reported.)
///
/// Kernels before 5.11 cannot do it, and leave them open.
fn inherit_none() {
    // SAFETY: the call changes flags of this process's own descriptor table,
    // which no other thread shares after fork, and no memory.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}
