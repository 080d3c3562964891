//! The disk that a directory takes.

use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt, path::Path};

/// The bytes that are allocated for everything below a directory, files with
/// several names once. What goes meanwhile is left out. Blocks.
pub(super) fn of(directory: &Path) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    let mut seen = BTreeSet::new();
    let mut below = vec![directory.to_owned()];
    while let Some(path) = below.pop() {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // Removed, or closed even to its owner.
            Err(_) if path != directory => continue,
            Err(error) => return Err(error),
        };
        for entry in entries.flatten() {
            // Links are not followed.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let is_first = metadata.nlink() < 2
                || metadata.is_dir()
                || seen.insert((metadata.dev(), metadata.ino()));
            if is_first {
                bytes = bytes.saturating_add(metadata.blocks().saturating_mul(BLOCK));
            }
            if metadata.is_dir() {
                below.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

/// The unit of a file's block count, whatever the file system's own is.
const BLOCK: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_and_links_not() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let empty = of(root).unwrap();
        fs::create_dir(root.join("a")).unwrap();
        let beside = of(root).unwrap();
        fs::write(root.join("a/file"), vec![1; 1_000_000]).unwrap();
        let with_file = of(root).unwrap();
        assert!(with_file >= beside + 1_000_000 && beside >= empty);
        fs::hard_link(root.join("a/file"), root.join("link")).unwrap();
        std::os::unix::fs::symlink("/usr", root.join("elsewhere")).unwrap();
        let slack = 64 * 1024;
        assert!(of(root).unwrap() < with_file + slack);
        assert!(of(&root.join("no")).is_err());
    }
}
