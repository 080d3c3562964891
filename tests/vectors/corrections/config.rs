//! Rules about configurations.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
