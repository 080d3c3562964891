//! The directory that the tool works in.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use cap_std::{ambient_authority, fs::Dir};

use super::failure::{Failure, Kind};
use crate::executor::process::directory;

/// A sandbox's own directory. No path leads out of it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    root: PathBuf,
}

/// A path in that directory.
pub(super) struct Inside {
    pub(super) root: Dir,
    /// `.` for the directory itself.
    pub(super) path: PathBuf,
}

impl Place {
    /// `sandbox` is the directory with everything of it.
    pub(super) fn new(sandbox: &Path) -> Self {
        Self {
            root: directory::files(sandbox),
        }
    }

    pub(super) fn open(&self) -> io::Result<Dir> {
        Dir::open_ambient_dir(&self.root, ambient_authority())
    }

    /// Finds an absolute path of this machine in the directory.
    pub(super) fn inside(&self, path: &Path) -> Result<Inside, Failure> {
        if !path.is_absolute() {
            return Err(Failure::new(
                Kind::InvalidArgument,
                "the path is not absolute",
            ));
        }
        let real = fs::canonicalize(&self.root)?;
        let below = path
            .strip_prefix(&self.root)
            .or_else(|_| path.strip_prefix(real));
        let below = below.map_err(|_| self.outside())?;
        let path = match below.components().next() {
            None => PathBuf::from("."),
            Some(_) => below.to_owned(),
        };
        Ok(Inside {
            root: self.open()?,
            path,
        })
    }

    /// How a path in the directory is shown to clients.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        if path == Path::new("") {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }

    pub(super) fn outside(&self) -> Failure {
        Failure::new(
            Kind::PermissionDenied,
            format!(
                "outside of the sandbox's directory {}: the local Modal gives the file \
                 operations nothing else of this machine",
                self.root.display()
            ),
        )
    }
}

impl Inside {
    /// Whether it is the directory itself.
    pub(super) fn is_root(&self) -> bool {
        let mut components = self.path.components();
        components.all(|component| component == Component::CurDir)
    }
}
