//! Which process exactly: pid, start time and boot.
//!
//! A pid alone names a different process after a while.

use std::{fs, io, path::Path};

use rustix::process::Pid;

/// One process of one boot of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) boot: String,
    pub(super) pid: Pid,
    /// Clock ticks since the boot.
    pub(super) started: u64,
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: Pid,
    pub(super) group: i32,
    pub(super) started: u64,
    /// Address of the environment; 0 inside `execve` before it is laid out,
    /// and for kernel threads.
    pub(super) environ: u64,
}

impl Identity {
    /// Reads a record: a line with the boot, then the line that the process
    /// wrote about itself. `None` when the process never got to write it.
    pub(super) fn parse(record: &str) -> Option<Self> {
        let (boot, stat) = record.split_once('\n')?;
        let stat = Stat::parse(stat)?;
        Some(Self {
            boot: boot.to_owned(),
            pid: stat.pid,
            started: stat.started,
        })
    }

    /// Whether this process still exists.
    pub(super) fn is_alive(&self, boot: &str) -> bool {
        self.boot == boot && Stat::of(self.pid).is_some_and(|stat| stat.started == self.started)
    }
}

impl Stat {
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&text)
    }

    /// The second field is a program's name in parentheses and may hold
    /// anything, parentheses and spaces too.
    fn parse(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(' ')?;
        let (_, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // `rest` starts at field 3.
        let field = |number: usize| fields.get(number - 3);
        Some(Self {
            pid: Pid::from_raw(pid.parse().ok()?)?,
            group: field(5)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
            environ: field(50)?.parse().ok()?,
        })
    }
}

/// The present boot of this machine.
pub(super) fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Reads a record from its file; an unreadable one counts as none.
pub(super) fn recorded(path: &Path) -> Option<Identity> {
    let bytes = fs::read(path).ok()?;
    Identity::parse(&String::from_utf8_lossy(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_itself() {
        let pid = rustix::process::getpid();
        let stat = Stat::of(pid).unwrap();
        assert_eq!(stat.pid, pid);
        assert_eq!(
            stat.group,
            rustix::process::getpgrp().as_raw_nonzero().get()
        );
        assert_ne!(stat.environ, 0);
        let here = boot().unwrap();
        let mut identity = Identity {
            boot: here.clone(),
            pid,
            started: stat.started,
        };
        assert!(identity.is_alive(&here));
        assert!(!identity.is_alive("another boot"));
        identity.started += 1;
        assert!(!identity.is_alive(&here));
    }

    #[test]
    fn a_record_survives_odd_program_names() {
        let mut fields: Vec<String> = (3..=52).map(|number| number.to_string()).collect();
        fields[0] = "S".to_owned();
        let record = format!("boot\n7 (a) b (\n) {}\n", fields.join(" "));
        let identity = Identity::parse(&record).unwrap();
        assert_eq!(identity.boot, "boot");
        assert_eq!(identity.pid.as_raw_nonzero().get(), 7);
        assert_eq!(identity.started, 22);
        assert_eq!(Identity::parse("boot\n"), None);
        assert_eq!(Identity::parse(""), None);
        assert_eq!(Identity::parse("boot\n0 (x) S"), None);
    }
}
