//! Cache keys of steps, and what they are made of.
//!
//! The keys are ZenML's, made from what a step of a pipeline file is: its command and
//! image are parameters, the `files` count like code, and what came before it counts
//! as its inputs. What it asks of a machine does not count, as in ZenML.

use crate::convert::DEFAULT_IMAGE;
use crate::exit::{Exit, Failure};
use crate::local::LocalFiles;
use crate::target::On;
use flavor_host::Digest;
use flavor_host::zenml::{ArtifactStore, InputArtifact, StepToCache, cache_key};
use pipeline_file::{Effective, PipelineFile, RunId, Step};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, VecDeque};
use uuid::Uuid;

/// What a key is made of, by name; a value is shown or, where it may be long or a
/// secret, its digest.
pub(crate) type Parts = BTreeMap<String, String>;

/// The cache keys of a run, by steps. Those that do not cache have none.
#[derive(Debug, Default)]
pub(crate) struct CacheKeys {
    pub(crate) keys: BTreeMap<String, String>,
    /// What each of them is made of, as it is recorded.
    pub(crate) parts: BTreeMap<String, String>,
}

/// Makes the cache keys of a run.
pub(crate) fn keys(
    file: &PipelineFile,
    run: &RunId,
    on: &On,
    files: &LocalFiles,
) -> Result<CacheKeys, Failure> {
    let caches = |step: &Step| step.effective(file).enable_cache;
    if !file.steps.iter().any(caches) {
        return Ok(CacheKeys::default());
    }
    let files = files
        .digest()
        .map_err(|error| Failure::bad_input(format!("files: {error}; caching has to read them")))?;
    let maker = KeyMaker {
        file,
        run,
        on,
        files: files.map(|digest| digest.to_string()),
        identities: HashMap::with_capacity(file.steps.len()),
    };
    maker.keys()
}

/// The parts of a key out of their recorded form.
pub(crate) fn parts(recorded: Option<&str>) -> Option<Parts> {
    serde_json::from_str(recorded?).ok()
}

/// Names of the parts that two keys do not have in common.
pub(crate) fn differences(one: &Parts, other: &Parts) -> Vec<String> {
    let names = one.keys().chain(other.keys());
    let mut different: Vec<String> = names
        .filter(|name| one.get(*name) != other.get(*name))
        .cloned()
        .collect();
    different.sort_unstable();
    different.dedup();
    different
}

/// Makes keys, those of a step after those of all before it.
struct KeyMaker<'k> {
    file: &'k PipelineFile,
    run: &'k RunId,
    on: &'k On,
    files: Option<String>,
    /// What stands for the result of a step, for those that come after it.
    identities: HashMap<&'k str, String>,
}

impl<'k> KeyMaker<'k> {
    fn keys(mut self) -> Result<CacheKeys, Failure> {
        let mut made = CacheKeys::default();
        for step in in_order(self.file) {
            let name = step.name.as_str();
            let effective = step.effective(self.file);
            let identity = match effective.enable_cache {
                // Nothing stands for it but itself.
                false => format!("run {}", self.run),
                true => {
                    let key = self.key(step, &effective)?;
                    let parts = json!(self.parts(step, &effective)).to_string();
                    made.keys.insert(name.to_owned(), key.clone());
                    made.parts.insert(name.to_owned(), parts);
                    key
                }
            };
            self.identities.insert(name, identity);
        }
        Ok(made)
    }

    fn key(&self, step: &Step, effective: &Effective<'_>) -> Result<String, Failure> {
        let document = json!({
            "spec": {"source": {"module": "flavor", "attribute": "command"}},
            "config": {
                "parameters": {"command": step.command, "image": image(effective)},
                "caching_parameters": self.files.as_ref().map_or_else(
                    || json!({}),
                    |files| json!({"files": files}),
                ),
                "environment": environment(effective),
            },
        });
        let inputs: Vec<(String, Vec<InputArtifact>)> = self
            .inputs(step)
            .map(|(name, identity)| (name.to_owned(), vec![artifact(identity)]))
            .collect();
        // No project and no artifact store: a target keeps the results of its own.
        let results = ArtifactStore {
            id: Uuid::nil(),
            path: self.on.name().to_owned(),
            custom_key: None,
        };
        let step = StepToCache::parse(&document).map_err(no_key)?;
        cache_key(Uuid::nil(), &results, &step, &inputs).map_err(no_key)
    }

    fn parts(&self, step: &Step, effective: &Effective<'_>) -> Parts {
        let mut parts = Parts::new();
        let mut add = |name: String, value: String| parts.insert(name, value);
        add("target".into(), self.on.name().into());
        add("command".into(), digest(&json!(step.command).to_string()));
        add("image".into(), image(effective).into());
        if let Some(files) = &self.files {
            add("files".into(), files.clone());
        }
        for (key, value) in environment(effective) {
            add(format!("environment.{key}"), digest(&value));
        }
        for (name, identity) in self.inputs(step) {
            add(format!("after {name}"), identity.to_owned());
        }
        parts
    }

    /// The steps before a step, each once, with what stands for their results.
    fn inputs<'s>(&'s self, step: &'s Step) -> impl Iterator<Item = (&'s str, &'s str)> {
        let mut names: Vec<&str> = step.after.iter().map(|name| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| {
            let identity = self.identities.get(name)?;
            Some((name, identity.as_str()))
        })
    }
}

/// The steps of a pipeline, each after those that it comes after. Those of a cycle are
/// left out; it was refused before.
fn in_order(file: &PipelineFile) -> Vec<&Step> {
    let by_name: HashMap<&str, usize> = file
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| (step.name.as_str(), index))
        .collect();
    let mut below: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut missing: Vec<usize> = Vec::with_capacity(file.steps.len());
    for (index, step) in file.steps.iter().enumerate() {
        let known = step.after.iter().map(|name| name.as_str());
        let known: Vec<&str> = known.filter(|name| by_name.contains_key(name)).collect();
        missing.push(known.len());
        for name in known {
            below.entry(name).or_default().push(index);
        }
    }
    let ready = missing.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut ready: VecDeque<usize> = ready.map(|(index, _)| index).collect();
    let mut ordered = Vec::with_capacity(file.steps.len());
    while let Some(step) = ready.pop_front().and_then(|index| file.steps.get(index)) {
        ordered.push(step);
        for index in below.remove(step.name.as_str()).unwrap_or_default() {
            let Some(count) = missing.get_mut(index) else {
                continue;
            };
            *count = count.saturating_sub(1);
            if *count == 0 {
                ready.push_back(index);
            }
        }
    }
    ordered
}

fn artifact(identity: &str) -> InputArtifact {
    InputArtifact {
        id: Uuid::nil(),
        content_hash: Some(identity.to_owned()),
        chunk_index: None,
        chunk_size: None,
    }
}

fn image<'e>(effective: &Effective<'e>) -> &'e str {
    effective.image.unwrap_or(DEFAULT_IMAGE)
}

fn environment(effective: &Effective<'_>) -> BTreeMap<String, String> {
    let variables = effective.environment.iter();
    variables
        .map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned()))
        .collect()
}

fn digest(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

fn no_key(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("a cache key cannot be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{CacheKeys, Parts, differences, keys, parts};
    use crate::local::LocalFiles;
    use crate::target::On;
    use pipeline_file::PipelineFile;
    use std::path::Path;

    const TWO: &str = "name: p
enable_cache: true
environment: {A: x}
steps:
  b: {command: [b], after: [a]}
  a: {command: [a]}
";

    fn of(run: &str, on: &str, directory: &Path, text: &str) -> CacheKeys {
        let file = PipelineFile::from_slice("p.yaml", text.as_bytes()).unwrap();
        let files = LocalFiles::new(&directory.join("p.yaml"), &file.files).unwrap();
        keys(
            &file,
            &run.parse().unwrap(),
            &On::parse(on).unwrap(),
            &files,
        )
        .unwrap()
    }

    fn told(one: &CacheKeys, other: &CacheKeys, step: &str) -> Vec<String> {
        let parts = |made: &CacheKeys| -> Parts {
            parts(made.parts.get(step).map(String::as_str)).unwrap()
        };
        let told = differences(&parts(one), &parts(other));
        // What is told is all that is in the key.
        assert_eq!(
            told.is_empty(),
            one.keys[step] == other.keys[step],
            "{step}: {told:?}"
        );
        told
    }

    #[test]
    fn what_a_step_is_decides_about_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let of = |run, on, text: &str| of(run, on, directory.path(), text);
        let first = of("1", "local", TWO);
        assert_eq!(first.keys.len(), 2);
        assert_ne!(first.keys["a"], first.keys["b"]);
        let again = of("2", "local", TWO);
        assert_eq!(first.keys, again.keys);
        let none: [&str; 0] = [];
        assert_eq!(told(&first, &again, "b"), none);

        let changes = [
            (
                "command: [a]",
                "command: [a, a]",
                vec!["command"],
                vec!["after a"],
            ),
            ("command: [b]", "command: [c]", vec![], vec!["command"]),
            (
                "{A: x}",
                "{A: y, B: z}",
                vec!["environment.A", "environment.B"],
                vec!["after a", "environment.A", "environment.B"],
            ),
            ("after: [a]", "image: i", vec![], vec!["after a", "image"]),
            (
                "command: [b]",
                "command: [b], resources: {cpu_count: 2}",
                vec![],
                vec![],
            ),
        ];
        for (from, to, in_a, in_b) in changes {
            let changed = of("2", "local", &TWO.replace(from, to));
            assert_eq!(told(&first, &changed, "a"), in_a, "{to}");
            assert_eq!(told(&first, &changed, "b"), in_b, "{to}");
        }
        let elsewhere = of("2", "modal", TWO);
        assert_eq!(told(&first, &elsewhere, "a"), ["target"]);
    }

    #[test]
    fn what_comes_after_a_step_that_ran_runs_too() {
        let directory = tempfile::tempdir().unwrap();
        let text = TWO.replace("command: [a]", "command: [a], enable_cache: false");
        let first = of("1", "local", directory.path(), &text);
        let second = of("2", "local", directory.path(), &text);
        assert_eq!(first.keys.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(told(&first, &second, "b"), ["after a"]);
    }

    #[test]
    fn files_count_with_all_that_is_in_them() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("data/in.csv");
        std::fs::create_dir(directory.path().join("data")).unwrap();
        std::fs::write(&file, "1").unwrap();
        let text = format!("{TWO}files: [data]\n");
        let of = |run| of(run, "local", directory.path(), &text);
        let first = of("1");
        let none: [&str; 0] = [];
        assert_eq!(told(&first, &of("2"), "a"), none);
        std::fs::write(&file, "2").unwrap();
        let second = of("2");
        assert_eq!(told(&first, &second, "a"), ["files"]);
        std::fs::rename(&file, directory.path().join("data/out.csv")).unwrap();
        assert_eq!(told(&second, &of("3"), "a"), ["files"]);
    }

    #[test]
    fn without_caching_nothing_is_read_and_there_are_no_keys() {
        let directory = tempfile::tempdir().unwrap();
        let text = "name: p\nsteps: {a: {command: [a]}}\n";
        let made = of("1", "local", directory.path(), text);
        assert!(made.keys.is_empty());
        assert!(made.parts.is_empty());
    }
}
