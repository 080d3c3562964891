//! Rules about the order of steps and the controller.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
