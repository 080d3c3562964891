//! What a run is started from. Kept with the run, so that another process can take
//! it up again when the pipeline file has changed or is gone.

use crate::exit::Failure;
use crate::target::On;
use pipeline_file::PipelineFile;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::path::PathBuf;

/// What a run is started from. No credentials are in it: these are looked for
/// anew.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// The pipeline as its file had it.
    pub(crate) pipeline: PipelineFile,
    /// The pipeline file: what `files` names is next to it.
    pub(crate) file: PathBuf,
    /// Where the run goes.
    pub(crate) on: On,
    /// Most steps that run at the same time.
    pub(crate) max_parallelism: Option<u32>,
    /// Whether what is recorded survives a power cut.
    pub(crate) durable: bool,
}

/// A recipe as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Document<P, T> {
    /// Grows with every change of this form.
    version: u32,
    pipeline: P,
    /// Absolute; none when the system's name for it is no text.
    file: Option<T>,
    on: T,
    max_parallelism: Option<u32>,
    durable: bool,
}

const VERSION: u32 = 1;

impl Recipe {
    /// As it is kept with the run.
    pub(crate) fn to_json(&self) -> String {
        let file = std::path::absolute(&self.file).unwrap_or_else(|_| self.file.clone());
        let document = Document {
            version: VERSION,
            pipeline: &self.pipeline,
            file: file.to_str(),
            on: self.on.name(),
            max_parallelism: self.max_parallelism,
            durable: self.durable,
        };
        // Keys are texts and numbers are finite, so it cannot fail.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// What was kept with a run.
    ///
    /// # Errors
    ///
    /// When it was kept by another version of this program, or is damaged.
    pub(crate) fn of_run(run: &str, document: Option<&str>) -> Result<Self, Failure> {
        let unusable = |why: &str| {
            Failure::bad_input(format!(
                "run `{run}` cannot be taken up again: {why}; use the version of this program that \
                 started it, or run the pipeline again under another id"
            ))
        };
        let document =
            document.ok_or_else(|| unusable("what it was started from was not kept with it"))?;
        let document: Document<Box<RawValue>, String> = serde_json::from_str(document)
            .map_err(|error| unusable(&format!("what was kept with it is damaged: {error}")))?;
        if document.version != VERSION {
            return Err(unusable("another version of this program started it"));
        }
        let name = format!("the pipeline of run {run}.json");
        let pipeline = PipelineFile::from_reader(&name, document.pipeline.get().as_bytes())
            .map_err(|error| unusable(&error.to_string()))?;
        let file = match document.file {
            Some(file) => PathBuf::from(file),
            None if pipeline.files.is_empty() => PathBuf::new(),
            None => return Err(unusable("the path of its pipeline file is no text")),
        };
        Ok(Self {
            pipeline,
            file,
            on: On::parse(&document.on)?,
            max_parallelism: document.max_parallelism,
            durable: document.durable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Recipe;
    use crate::target::On;
    use pipeline_file::PipelineFile;

    fn recipe(text: &str) -> Recipe {
        Recipe {
            pipeline: PipelineFile::from_reader("p.yaml", text.as_bytes()).unwrap(),
            file: "/somewhere/p.yaml".into(),
            on: On::Url("http://127.0.0.1:1".into()),
            max_parallelism: Some(3),
            durable: true,
        }
    }

    #[test]
    fn a_recipe_comes_back_as_it_was() {
        let one = recipe(
            "
name: one
execution_mode: fail_fast
settings: {region: null}
environment: {A: '1.10'}
files: [data]
run_dir: true
steps:
  z: {command: [echo, \"\\u00e9\\n\"], retry: {max_retries: 2, delay: 0.5}}
  a: {command: ['true'], after: [z], resources: {cpu_count: 0.25, memory: 1GiB}}
",
        );
        let again = Recipe::of_run("r", Some(&one.to_json())).unwrap();
        assert_eq!(again.pipeline, one.pipeline);
        assert_eq!(again.file, one.file);
        assert_eq!(again.on, one.on);
        assert_eq!(again.max_parallelism, one.max_parallelism);
        assert_eq!(again.durable, one.durable);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let newer = recipe("name: n\nsteps: {a: {command: ['true']}}\n").to_json();
        let newer = newer.replacen("\"version\":1", "\"version\":2", 1);
        let documents = [
            (None, "was not kept"),
            (Some("{"), "damaged"),
            (Some(&*newer), "another version"),
        ];
        for (document, says) in documents {
            let failure = Recipe::of_run("r", document).unwrap_err();
            assert!(failure.message().contains(says), "{}", failure.message());
        }
    }
}
