//! Rules about sandbox sessions.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
