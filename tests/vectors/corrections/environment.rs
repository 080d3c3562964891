//! Rules about environment variables and credentials.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
