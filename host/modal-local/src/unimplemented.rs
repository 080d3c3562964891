//! Counts the calls that nobody answers.

use std::{collections::BTreeMap, sync::Mutex};

use crate::{limits, sync::lock};

/// Calls per path.
#[derive(Debug, Default)]
pub(crate) struct Unimplemented(Mutex<BTreeMap<String, u64>>);

impl Unimplemented {
    pub(crate) fn count(&self, path: &str) {
        let mut counts = lock(&self.0);
        let known = counts.contains_key(path) || counts.len() < limits::COUNTED_PATHS;
        let path = if known { path } else { "other" };
        let count = counts.entry(path.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.0).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_paths_is_counted_together() {
        let unimplemented = Unimplemented::default();
        for number in 0..limits::COUNTED_PATHS + 5 {
            unimplemented.count(&format!("/{number}"));
        }
        unimplemented.count("/0");
        let counts = unimplemented.counts();
        assert_eq!(counts.len(), limits::COUNTED_PATHS + 1);
        assert_eq!((counts["/0"], counts["other"]), (2, 5));
    }
}
