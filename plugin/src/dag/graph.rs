//! The graph itself: which step waits for which. A [`Graph`] that exists has
//! no unknown names and no cycles.

use std::collections::{HashMap, VecDeque};
use std::fmt;

/// Position of a step in the order of declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(u32);

impl StepIndex {
    /// Position as a list index.
    pub fn get(self) -> usize {
        // Lossless: the guest's usize has 32 bits, the others' more.
        self.0 as usize
    }

    fn new(position: usize) -> Option<Self> {
        u32::try_from(position).ok().map(Self)
    }
}

/// A directed acyclic graph of steps.
#[derive(Debug, Clone)]
pub struct Graph {
    names: Vec<String>,
    upstream_counts: Vec<u32>,
    downstream: Vec<Vec<StepIndex>>,
}

impl Graph {
    /// Builds a graph from names and the names that each of them waits for.
    /// Naming the same upstream step twice counts once.
    ///
    /// # Errors
    ///
    /// All defects at once: repeated names, unknown upstream steps (with the
    /// nearest known name) and one entry per cycle, self-loops included.
    pub fn new<'a>(
        steps: impl IntoIterator<Item = (&'a str, &'a [String])>,
    ) -> Result<Self, Vec<GraphError>> {
        let steps: Vec<_> = steps.into_iter().collect();
        let mut errors = Vec::new();
        let mut by_name = HashMap::with_capacity(steps.len());
        for (position, (name, _)) in steps.iter().enumerate() {
            let Some(index) = StepIndex::new(position) else {
                return Err(vec![GraphError::TooManySteps]);
            };
            if by_name.insert(*name, index).is_some() {
                errors.push(GraphError::Repeated {
                    step: (*name).to_owned(),
                });
            }
        }

        let mut upstream = Vec::with_capacity(steps.len());
        for (name, after) in &steps {
            let mut indices = Vec::with_capacity(after.len());
            for upstream_name in *after {
                match by_name.get(upstream_name.as_str()) {
                    Some(index) => indices.push(*index),
                    None => errors.push(GraphError::UnknownUpstream {
                        step: (*name).to_owned(),
                        upstream: upstream_name.clone(),
                        nearest: nearest(upstream_name, by_name.keys().copied()),
                    }),
                }
            }
            indices.sort_unstable();
            indices.dedup();
            upstream.push(indices);
        }
        if !errors.is_empty() {
            return Err(errors);
        }

        let names: Vec<String> = steps.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut downstream = vec![Vec::new(); names.len()];
        let mut upstream_counts = Vec::with_capacity(names.len());
        for (position, indices) in upstream.iter().enumerate() {
            upstream_counts.push(u32::try_from(indices.len()).unwrap_or(u32::MAX));
            for index in indices {
                if let (Some(list), Some(this)) =
                    (downstream.get_mut(index.get()), StepIndex::new(position))
                {
                    list.push(this);
                }
            }
        }
        let graph = Self {
            names,
            upstream_counts,
            downstream,
        };
        let cyclic = graph.steps_on_or_below_cycles();
        if cyclic.iter().any(|on| *on) {
            return Err(find_cycles(&graph.names, &upstream, &cyclic));
        }
        Ok(graph)
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no steps at all.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All steps in the order of declaration.
    pub fn steps(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..self.names.len()).filter_map(StepIndex::new)
    }

    /// The name of a step. Empty for an index of another graph.
    pub fn name(&self, step: StepIndex) -> &str {
        self.names.get(step.get()).map_or("", String::as_str)
    }

    /// How many different steps a step waits for.
    pub fn upstream_count(&self, step: StepIndex) -> u32 {
        self.upstream_counts.get(step.get()).copied().unwrap_or(0)
    }

    /// The steps that wait for a step, in the order of declaration.
    pub fn downstream(&self, step: StepIndex) -> &[StepIndex] {
        self.downstream.get(step.get()).map_or(&[], Vec::as_slice)
    }

    /// Kahn's algorithm; what it cannot remove lies on a cycle or below one.
    fn steps_on_or_below_cycles(&self) -> Vec<bool> {
        let mut missing = self.upstream_counts.clone();
        let mut free: VecDeque<StepIndex> = self
            .steps()
            .filter(|step| self.upstream_count(*step) == 0)
            .collect();
        let mut left = vec![true; self.len()];
        while let Some(step) = free.pop_front() {
            if let Some(left) = left.get_mut(step.get()) {
                *left = false;
            }
            for next in self.downstream(step) {
                if let Some(count) = missing.get_mut(next.get()) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        free.push_back(*next);
                    }
                }
            }
        }
        left
    }
}

/// What is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphError {
    /// More steps than can be numbered.
    TooManySteps,
    /// Two steps of one name.
    Repeated {
        /// The name.
        step: String,
    },
    /// A step waits for one that does not exist.
    UnknownUpstream {
        /// The step that waits.
        step: String,
        /// What it waits for.
        upstream: String,
        /// The existing step whose name looks most like it, if any does.
        nearest: Option<String>,
    },
    /// Steps that wait for each other, so that none can ever start.
    Cycle {
        /// The steps on it, each waiting for the next and the last for the
        /// first. One step: it waits for itself.
        steps: Vec<String>,
    },
}

impl GraphError {
    /// The step whose declaration has to change.
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::TooManySteps => None,
            Self::Repeated { step } | Self::UnknownUpstream { step, .. } => Some(step),
            Self::Cycle { steps } => steps.first().map(String::as_str),
        }
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManySteps => write!(f, "too many steps"),
            Self::Repeated { step } => write!(f, "there is more than one step `{step}`"),
            Self::UnknownUpstream {
                step,
                upstream,
                nearest,
            } => {
                write!(
                    f,
                    "step `{step}` comes after `{upstream}`, but there is no such step"
                )?;
                match nearest {
                    Some(name) => write!(f, "; did you mean `{name}`?"),
                    None => Ok(()),
                }
            }
            Self::Cycle { steps } => match steps.as_slice() {
                [step] => write!(f, "step `{step}` comes after itself, so it can never start"),
                steps => {
                    write!(
                        f,
                        "these steps wait for each other, so none can ever start: "
                    )?;
                    for step in steps {
                        write!(f, "`{step}` after ")?;
                    }
                    write!(f, "`{}`", steps.first().map_or("", String::as_str))
                }
            },
        }
    }
}

impl std::error::Error for GraphError {}

/// Walks upstream from each step that Kahn's algorithm left over until a step
/// repeats: the walk closes a cycle. Each step is walked through once.
fn find_cycles(names: &[String], upstream: &[Vec<StepIndex>], cyclic: &[bool]) -> Vec<GraphError> {
    let on_cycle = |step: &StepIndex| cyclic.get(step.get()).copied().unwrap_or(false);
    // 0: not seen; n: seen during walk n.
    let mut seen = vec![0_usize; names.len()];
    let mut errors = Vec::new();
    for start in (0..names.len()).filter_map(StepIndex::new).filter(on_cycle) {
        let walk = start.get() + 1;
        let mut path: Vec<StepIndex> = Vec::new();
        let mut step = start;
        loop {
            match seen.get_mut(step.get()) {
                Some(mark) if *mark == 0 => *mark = walk,
                Some(mark) if *mark == walk => {
                    let cycle = path.iter().skip_while(|other| **other != step);
                    let steps = cycle
                        .filter_map(|on| names.get(on.get()).cloned())
                        .collect();
                    errors.push(GraphError::Cycle { steps });
                    break;
                }
                _ => break,
            }
            path.push(step);
            let next = upstream
                .get(step.get())
                .and_then(|indices| indices.iter().copied().find(on_cycle));
            match next {
                Some(next) => step = next,
                None => break,
            }
        }
    }
    errors
}

/// The candidate that looks most like `name`, if one is close enough to be
/// meant.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, left), (b, right)| a.total_cmp(b).then(right.cmp(left)))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Graph, GraphError};

    fn graph(steps: &[(&str, &[&str])]) -> Result<Graph, Vec<GraphError>> {
        let owned: Vec<(String, Vec<String>)> = steps
            .iter()
            .map(|(name, after)| {
                let after = after.iter().map(|name| (*name).to_owned()).collect();
                ((*name).to_owned(), after)
            })
            .collect();
        Graph::new(
            owned
                .iter()
                .map(|(name, after)| (name.as_str(), after.as_slice())),
        )
    }

    fn texts(steps: &[(&str, &[&str])]) -> Vec<String> {
        graph(steps)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_diamond_counts_edges_once() {
        let graph = graph(&[
            ("a", &[]),
            ("b", &["a", "a"]),
            ("c", &["a"]),
            ("d", &["b", "c"]),
        ])
        .unwrap();
        let steps: Vec<_> = graph.steps().collect();
        assert_eq!(graph.upstream_count(steps[1]), 1);
        assert_eq!(graph.upstream_count(steps[3]), 2);
        assert_eq!(graph.downstream(steps[0]), [steps[1], steps[2]]);
    }

    #[test]
    fn unknown_upstream_names_the_nearest() {
        assert_eq!(
            texts(&[("ingest", &[]), ("train", &["injest"])]),
            [
                "step `train` comes after `injest`, but there is no such step; did you mean `ingest`?"
            ]
        );
        assert_eq!(
            texts(&[("ingest", &["zzz"])]),
            ["step `ingest` comes after `zzz`, but there is no such step"]
        );
    }

    #[test]
    fn a_cycle_is_named_step_by_step() {
        assert_eq!(
            texts(&[
                ("a", &["c"]),
                ("b", &["a"]),
                ("c", &["b"]),
                ("below", &["c"])
            ]),
            [
                "these steps wait for each other, so none can ever start: `a` after `c` after `b` after `a`"
            ]
        );
    }

    #[test]
    fn a_self_loop_is_a_cycle_of_one() {
        assert_eq!(
            texts(&[("a", &["a"])]),
            ["step `a` comes after itself, so it can never start"]
        );
    }

    #[test]
    fn each_cycle_is_named_once() {
        let errors = texts(&[
            ("a", &["b"]),
            ("b", &["a"]),
            ("x", &["x"]),
            ("y", &["x", "b"]),
        ]);
        assert_eq!(errors.len(), 2, "{errors:?}");
    }

    #[test]
    fn all_defects_come_at_once() {
        let errors = texts(&[("a", &[]), ("a", &[]), ("b", &["q"]), ("c", &["r"])]);
        assert_eq!(errors.len(), 3, "{errors:?}");
    }
}
