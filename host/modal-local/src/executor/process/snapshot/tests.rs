use std::{
    fs::{File, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    time::{Duration, SystemTime},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// Everything that a snapshot keeps of a tree, as text.
fn describe(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut below = vec![root.to_owned()];
    while let Some(path) = below.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            let mode = metadata.permissions();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let content = Hash::of(&fs::read(&path).unwrap()).to_string();
            fs::set_permissions(&path, mode).unwrap();
            content
        } else {
            below.extend(
                fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .map(|entry| entry.unwrap().path()),
            );
            String::new()
        };
        found.push(format!(
            "{:?} {:o} {}.{:09} links {} {content}",
            path.strip_prefix(root).unwrap(),
            metadata.mode(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            if kind.is_dir() { 0 } else { metadata.nlink() },
        ));
    }
    found.sort();
    found
}

fn tree(root: &Path) {
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::write(root.join("a/file"), "content").unwrap();
    fs::write(root.join("a/b/same"), "content").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("ünï 🦀\n"), vec![0xff; 3_000_000]).unwrap();
    fs::hard_link(root.join("a/file"), root.join("z-link")).unwrap();
    symlink("../nowhere", root.join("a/broken")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    for (path, mode) in [
        ("a/file", 0o4751),
        ("empty", 0o000),
        ("a/b", 0o2711),
        ("a", 0o500),
    ] {
        let path = root.join(path);
        let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        if path.is_dir() {
            File::open(&path).unwrap().set_modified(old).unwrap();
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    snapshots: Snapshots,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(&directory.path().join("snapshots")).unwrap();
        fs::create_dir(directory.path().join("source")).unwrap();
        Self {
            directory,
            snapshots,
        }
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    fn restored(&self, snapshot: Hash, name: &str) -> PathBuf {
        let target = self.directory.path().join(name);
        fs::create_dir_all(target.join("a")).unwrap();
        self.snapshots.restore(snapshot, &target).unwrap();
        target
    }

    fn blobs(&self) -> usize {
        let blobs = self.directory.path().join("snapshots/blobs");
        fs::read_dir(blobs).unwrap().count()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // Directories that nobody may enter must not stay.
        super::super::remove(self.directory.path());
    }
}

#[test]
fn a_directory_comes_back_as_it_was() {
    let fixture = Fixture::new();
    tree(&fixture.source());
    // Nobody but root reads a file without any permission.
    if !rustix::process::geteuid().is_root() {
        fs::remove_file(fixture.source().join("empty")).unwrap();
    }
    let before = describe(&fixture.source());
    let snapshot = fixture.snapshots.take(&fixture.source()).unwrap();
    let restored = fixture.restored(snapshot, "restored");
    assert_eq!(describe(&restored), before);
    let (one, other) = (restored.join("a/file"), restored.join("z-link"));
    assert_eq!(
        fs::metadata(one).unwrap().ino(),
        fs::metadata(other).unwrap().ino()
    );
    // The same directory is the same snapshot, and content is kept once.
    assert_eq!(fixture.snapshots.take(&fixture.source()).unwrap(), snapshot);
    assert_eq!(fixture.snapshots.take(&restored).unwrap(), snapshot);
    let contents = if rustix::process::geteuid().is_root() {
        3
    } else {
        2
    };
    assert_eq!(fixture.blobs(), contents);
}

#[test]
fn what_a_sandbox_changes_does_not_change_a_snapshot() {
    let fixture = Fixture::new();
    let file = fixture.source().join("file");
    fs::write(&file, "first").unwrap();
    let first = fixture.snapshots.take(&fixture.source()).unwrap();
    fs::write(&file, "later").unwrap();
    let later = fixture.snapshots.take(&fixture.source()).unwrap();
    assert_ne!(first, later);
    let restored = fixture.restored(first, "one");
    fs::write(restored.join("file"), "changed").unwrap();
    let again = fixture.restored(first, "two");
    assert_eq!(fs::read(again.join("file")).unwrap(), b"first");
    let again = fixture.restored(later, "three");
    assert_eq!(fs::read(again.join("file")).unwrap(), b"later");
}

#[test]
fn what_is_forgotten_leaves_what_others_use() {
    let fixture = Fixture::new();
    fs::write(fixture.source().join("shared"), "shared").unwrap();
    fs::write(fixture.source().join("own"), "one").unwrap();
    let one = fixture.snapshots.take(&fixture.source()).unwrap();
    fs::write(fixture.source().join("own"), "two").unwrap();
    let two = fixture.snapshots.take(&fixture.source()).unwrap();
    assert_eq!(fixture.blobs(), 3);
    fixture
        .snapshots
        .retain(|snapshot| snapshot == two)
        .unwrap();
    assert_eq!(fixture.blobs(), 2);
    let target = fixture.directory.path().join("target");
    fs::create_dir(&target).unwrap();
    let gone = fixture.snapshots.restore(one, &target).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    fixture.restored(two, "two");
    fixture.snapshots.retain(|_| false).unwrap();
    assert_eq!(fixture.blobs(), 0);
}

#[test]
fn a_link_that_leads_out_is_not_followed() {
    let fixture = Fixture::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path(), fixture.source().join("link")).unwrap();
    let snapshot = fixture.snapshots.take(&fixture.source()).unwrap();
    assert_eq!(fixture.blobs(), 0);
    let restored = fixture.restored(snapshot, "restored");
    assert_eq!(
        fs::read_link(restored.join("link")).unwrap(),
        outside.path()
    );
}

#[test]
fn a_damaged_snapshot_is_an_error() {
    let fixture = Fixture::new();
    let snapshot = fixture.snapshots.take(&fixture.source()).unwrap();
    fs::write(fixture.snapshots.manifest(snapshot), [0xff; 10]).unwrap();
    let target = fixture.directory.path().join("target");
    fs::create_dir(&target).unwrap();
    let damaged = fixture.snapshots.restore(snapshot, &target).unwrap_err();
    assert_eq!(damaged.kind(), io::ErrorKind::InvalidData);
}
