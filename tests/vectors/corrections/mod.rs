//! Where the original's behaviour is a defect and the product does otherwise.
//!
//! One table of rules, one file of them for each area. A rule looks at the input
//! of a case alone and says at which places of the result the original is wrong:
//! what it answered there, and what is right. Neither is taken from product code.
//! A case whose recording does not hold what the rule says of the original fails;
//! everything outside those places must be as recorded.

mod dag;
mod environment;
mod gpu;
mod line_buffer;
mod memory;
mod sandbox;
mod status;
mod submission;
mod validator;

use crate::case::normalised;
use serde_json::Value;
use std::collections::BTreeSet;

/// More rules than this would be a second specification.
const MOST_RULES: usize = 30;

/// All rules.
const TABLE: [&[Rule]; 9] = [
    gpu::RULES,
    memory::RULES,
    environment::RULES,
    status::RULES,
    submission::RULES,
    dag::RULES,
    line_buffer::RULES,
    sandbox::RULES,
    validator::RULES,
];

/// One defect.
pub(crate) struct Rule {
    /// Stable name.
    pub(crate) id: &'static str,
    /// The files whose cases it looks at.
    pub(crate) areas: &'static [&'static str],
    /// Which inputs.
    pub(crate) inputs: &'static str,
    /// What the original does with them.
    pub(crate) real: &'static str,
    /// What is done here.
    pub(crate) here: &'static str,
    /// Why.
    pub(crate) why: &'static str,
    /// The places where the two differ for an input; empty when the rule does
    /// not apply to it.
    pub(crate) differences: fn(&Value) -> Vec<Difference>,
}

/// One place where the original is wrong.
#[derive(Debug)]
pub(crate) struct Difference {
    /// JSON pointer into the result; empty for all of it.
    at: String,
    real: Option<Value>,
    right: Option<Value>,
    /// There is a list there, and both values are lists that it ends with.
    is_ending: bool,
}

impl Difference {
    /// The whole result differs.
    pub(crate) fn whole(real: Value, right: Value) -> Vec<Self> {
        vec![Self::at("", real, right)]
    }

    /// Both have something else there. `null` counts as something.
    pub(crate) fn at(at: impl Into<String>, real: Value, right: Value) -> Self {
        Self {
            at: at.into(),
            real: Some(real),
            right: Some(right),
            is_ending: false,
        }
    }

    /// A list ends otherwise.
    pub(crate) fn ending(at: &str, real: Vec<Value>, right: Vec<Value>) -> Vec<Self> {
        vec![Self {
            is_ending: true,
            ..Self::at(at, real.into(), right.into())
        }]
    }

    /// Only the right one has something there.
    #[allow(dead_code, reason = "for rules to come")]
    pub(crate) fn added(at: impl Into<String>, right: Value) -> Self {
        Self {
            at: at.into(),
            real: None,
            right: Some(right),
            is_ending: false,
        }
    }

    /// Only the original has something there.
    #[allow(dead_code, reason = "for rules to come")]
    pub(crate) fn removed(at: impl Into<String>, real: Value) -> Self {
        Self {
            at: at.into(),
            real: Some(real),
            right: None,
            is_ending: false,
        }
    }
}

/// The table in use.
pub(crate) struct Rules {
    used: BTreeSet<&'static str>,
}

impl Rules {
    /// Looks at the table itself.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let ids: BTreeSet<&str> = all().map(|rule| rule.id).collect();
        let count = all().count();
        anyhow::ensure!(ids.len() == count, "two rules have the same id");
        anyhow::ensure!(
            count <= MOST_RULES,
            "there are {count} rules; {MOST_RULES} are allowed"
        );
        Ok(Self {
            used: BTreeSet::new(),
        })
    }

    /// What is right for a case, and the rules that say so.
    ///
    /// # Errors
    ///
    /// When the recording is not the defect that a rule describes.
    pub(crate) fn correct(
        &mut self,
        area: &str,
        input: &Value,
        recorded: Value,
    ) -> Result<(Value, Vec<&'static str>), String> {
        let mut right = recorded;
        let mut applied = Vec::new();
        for rule in all().filter(|rule| rule.areas.contains(&area)) {
            let differences = (rule.differences)(input);
            if differences.is_empty() {
                continue;
            }
            for difference in differences {
                apply(&mut right, difference)
                    .map_err(|reason| format!("rule {}: {reason}", rule.id))?;
            }
            self.used.insert(rule.id);
            applied.push(rule.id);
        }
        Ok((right, applied))
    }

    /// Rules that were of no use.
    pub(crate) fn unused(&self) -> Vec<&'static str> {
        all()
            .map(|rule| rule.id)
            .filter(|id| !self.used.contains(id))
            .collect()
    }
}

fn all() -> impl Iterator<Item = &'static Rule> {
    TABLE.into_iter().flatten()
}

fn apply(result: &mut Value, difference: Difference) -> Result<(), String> {
    let Difference {
        at,
        real,
        right,
        is_ending,
    } = difference;
    let (real, right) = (real.map(normalised), right.map(normalised));
    if is_ending {
        return change_ending(result.pointer_mut(&at), real, right);
    }
    let recorded = result.pointer(&at);
    if recorded != real.as_ref() {
        return Err(format!(
            "the original was to have {} at {at:?}, the recording has {}",
            shown(real.as_ref()),
            shown(recorded)
        ));
    }
    let Some((parent, name)) = at.rsplit_once('/') else {
        *result = right.unwrap_or_default();
        return Ok(());
    };
    match (result.pointer_mut(parent), right) {
        (Some(Value::Object(fields)), Some(right)) => {
            fields.insert(name.replace("~1", "/").replace("~0", "~"), right);
        }
        (Some(Value::Object(fields)), None) => {
            fields.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        (Some(Value::Array(values)), Some(right)) => {
            let place = name
                .parse()
                .ok()
                .and_then(|index: usize| values.get_mut(index));
            *place.ok_or_else(|| format!("there is no place {at:?}"))? = right;
        }
        _ => return Err(format!("there is no place {at:?}")),
    }
    Ok(())
}

fn change_ending(
    list: Option<&mut Value>,
    real: Option<Value>,
    right: Option<Value>,
) -> Result<(), String> {
    match (list, real, right) {
        (Some(Value::Array(list)), Some(Value::Array(real)), Some(Value::Array(right))) => {
            if !list.ends_with(&real) {
                let (real, list) = (Value::from(real), Value::from(list.clone()));
                return Err(format!(
                    "the original was to end with {real}, the recording has {list}"
                ));
            }
            list.truncate(list.len() - real.len());
            list.extend(right);
            Ok(())
        }
        _ => Err("the recording has no list there".to_owned()),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or("nothing".to_owned(), ToString::to_string)
}

/// Prints the table.
pub(crate) fn print() {
    for rule in all() {
        println!("{} ({})", rule.id, rule.areas.join(", "));
        println!("    inputs    {}", rule.inputs);
        println!("    original  {}", rule.real);
        println!("    here      {}", rule.here);
        println!("    why       {}", rule.why);
    }
}
