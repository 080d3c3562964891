//! Compiled code on disk.
//!
//! Compiled code is native code: whoever can write a file here can run anything
//! as the user. So the directory and every file must belong to the user alone;
//! anything else found there is not loaded but made anew. A file's name says
//! which component it was made from and which engine with which settings made
//! it.

use crate::digest::Digest;
use cap_std::ambient_authority;
use cap_std::fs::{
    Dir, DirBuilder, DirBuilderExt as _, MetadataExt as _, OpenOptions, OpenOptionsExt as _,
    PermissionsExt as _,
};
use rustix::rand::{GetRandomFlags, getrandom};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use wasmtime::Engine;
use wasmtime::component::Component;

/// A directory of compiled components.
#[derive(Debug)]
pub(crate) struct CompiledCache {
    directory: Dir,
    owner: u32,
}

impl CompiledCache {
    /// Opens the directory, and creates it if need be.
    ///
    /// # Errors
    ///
    /// When it cannot be created, or others than the user can write to it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        match Dir::open_ambient_dir(path, ambient_authority()) {
            Ok(directory) => Self::check(directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, name) = match (path.parent(), path.file_name()) {
                    (Some(parent), Some(name)) => (parent, name),
                    _ => return Err(error),
                };
                let parent = Dir::open_ambient_dir(parent, ambient_authority())?;
                match parent.create_dir_with(name, &builder) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => {}
                }
                Self::check(parent.open_dir(name)?)
            }
            Err(error) => Err(error),
        }
    }

    fn check(directory: Dir) -> io::Result<Self> {
        let metadata = directory.dir_metadata()?;
        let owner = rustix::process::geteuid().as_raw();
        if metadata.uid() != owner || metadata.permissions().mode() & 0o022 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "others than you can write to the directory for compiled code; make it yours with \
                 mode 700, or remove it",
            ));
        }
        Ok(Self { directory, owner })
    }

    /// The compiled component, if a usable one is there.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let mut file = self.directory.open(file_name(engine, digest)).ok()?;
        let metadata = file.metadata().ok()?;
        let is_ours = metadata.is_file()
            && metadata.uid() == self.owner
            && metadata.permissions().mode() & 0o022 == 0;
        if !is_ours {
            tracing::warn!("compiled code that others can write to is not used");
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.read_to_end(&mut bytes).ok()?;
        #[allow(
            unsafe_code,
            reason = "only this user could have written the file, see above; wasmtime itself checks \
                      version and settings"
        )]
        // SAFETY: the bytes come from a file in a directory that only this user
        // can write to, under a name that only `store` gives.
        let component = unsafe { Component::deserialize(engine, &bytes) };
        component
            .inspect_err(|error| tracing::warn!("compiled code is not usable: {error:#}"))
            .ok()
    }

    /// Keeps a compiled component. A cache that cannot be written costs time
    /// only, so failures are logged.
    pub(crate) fn store(&self, engine: &Engine, digest: &Digest, component: &Component) {
        let result = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|bytes| self.write(&file_name(engine, digest), &bytes));
        if let Err(error) = result {
            tracing::warn!("compiled code could not be kept: {error}");
        }
    }

    /// Written under a name of its own first: nobody sees half a file, whoever
    /// else writes the same one.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut tag = [0; 8];
        getrandom(&mut tag, GetRandomFlags::empty())?;
        let temporary = format!("{name}.{:016x}", u64::from_ne_bytes(tag));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = self
            .directory
            .open_with(&temporary, &options)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| self.directory.rename(&temporary, &self.directory, name));
        if written.is_err() {
            let _ = self.directory.remove_file(&temporary);
        }
        written
    }
}

fn file_name(engine: &Engine, digest: &Digest) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{digest}-{:016x}.cwasm", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::CompiledCache;
    use crate::digest::Digest;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use wasmtime::Engine;
    use wasmtime::component::Component;

    fn component(engine: &Engine) -> Component {
        Component::new(engine, EMPTY_COMPONENT).unwrap()
    }

    /// A component without anything in it.
    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn what_was_stored_is_loaded_until_others_can_write_to_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("cache/compiled");
        let engine = Engine::new(&super::super::config()).unwrap();
        let digest = Digest::of(EMPTY_COMPONENT);

        let cache = CompiledCache::open(&path).unwrap();
        assert!(cache.load(&engine, &digest).is_none());
        cache.store(&engine, &digest, &component(&engine));
        assert!(cache.load(&engine, &digest).is_some());

        let file = fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(cache.load(&engine, &digest).is_none());

        cache.store(&engine, &digest, &component(&engine));
        fs::write(&file, b"garbage").unwrap();
        assert!(cache.load(&engine, &digest).is_none());
    }

    #[test]
    fn several_writers_of_one_component_do_not_spoil_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("compiled");
        let engine = Engine::new(&super::super::config()).unwrap();
        let digest = Digest::of(EMPTY_COMPONENT);
        let cache = CompiledCache::open(&path).unwrap();
        let component = component(&engine);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        cache.store(&engine, &digest, &component);
                        assert!(cache.load(&engine, &digest).is_some());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("compiled");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(CompiledCache::open(&path).is_err());
    }
}
