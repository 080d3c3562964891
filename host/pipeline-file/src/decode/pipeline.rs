//! The pipeline and its steps.

use serde_json::{Map, Value as Json};

use super::Decoder;
use super::map::{Fields, Keyed};
use super::place::Place;
use crate::limits;
use crate::names::StepName;
use crate::node::{Value, excerpt};
use crate::pipeline::{ExecutionMode, PipelineFile, Resources, Retry, Settings, Step};
use crate::values::{CpuCount, EnvKey, EnvValue, Environment, MemorySize};

const PIPELINE_KEYS: &[&str] = &[
    "name",
    "steps",
    "execution_mode",
    "image",
    "registry",
    "settings",
    "resources",
    "environment",
    "enable_cache",
    "run_dir",
    "files",
];

const STEP_KEYS: &[&str] = &[
    "command",
    "after",
    "image",
    "settings",
    "resources",
    "environment",
    "retry",
    "enable_cache",
];

const RESOURCE_KEYS: &[&str] = &["cpu_count", "gpu_count", "memory"];

const RETRY_KEYS: &[&str] = &["max_retries", "delay", "backoff"];

impl Decoder<'_> {
    /// A pipeline, as the root of a pipeline file has it.
    pub fn pipeline(&mut self, root: Place<'_>) -> Option<PipelineFile> {
        if matches!(root.node.value, Value::Null) {
            self.report(
                root,
                "the file holds no pipeline",
                "write at least `name` and `steps`",
            );
            return None;
        }
        let fields = self.fields(root, "a pipeline's keys", PIPELINE_KEYS)?;
        let common = self.common(&fields);
        let name_help = "give the pipeline a name, such as `name: train`";
        let name = self.required(&fields, "name", name_help, |decoder, place| {
            decoder.filled_text(place, "the pipeline's name")
        });
        let steps_help = "list the steps below `steps:`, each with its `command`";
        let steps = self.required(&fields, "steps", steps_help, |decoder, place| {
            decoder.steps(place, &common.environment)
        });
        let execution_mode = fields
            .get("execution_mode")
            .and_then(|place| self.execution_mode(place));
        let registry = fields
            .get("registry")
            .and_then(|place| self.filled_text(place, "a registry's server name"));
        let run_dir = fields.get("run_dir").and_then(|place| self.boolean(place));
        let files = fields.get("files").and_then(|place| {
            let help =
                "write a path relative to this file and below its folder, such as `data/in.csv`";
            self.list(
                place,
                "a list of paths",
                "write a list, such as `[data/in.csv]`",
                |decoder, item| decoder.parsed(item, "a relative path", help),
            )
        });
        let caches = |step: &Step| step.enable_cache == Some(true);
        let any_caches = common.enable_cache == Some(true)
            || steps.as_ref().is_some_and(|steps| steps.iter().any(caches));
        if let Some(place) = fields.get("run_dir").filter(|_| run_dir == Some(true))
            && any_caches
        {
            self.report(
                place,
                "the steps share a directory, so none of them can have `enable_cache: true`: one \
                 that does not run leaves nothing there for the others",
                "remove one of the two",
            );
        }
        Some(PipelineFile {
            name: name?,
            execution_mode: execution_mode.unwrap_or_default(),
            image: common.image,
            registry,
            settings: common.settings,
            resources: common.resources,
            environment: common.environment,
            enable_cache: common.enable_cache,
            run_dir: run_dir.unwrap_or_default(),
            files: files.unwrap_or_default(),
            steps: steps?,
        })
    }

    fn steps(&mut self, place: Place<'_>, inherited: &Environment) -> Option<Vec<Step>> {
        let entries = self.entries(place, "step names")?;
        if matches!(&place.node.value, Value::Map(entries) if entries.is_empty()) {
            self.report(
                place,
                "the pipeline has no steps",
                "add one, such as `hello: {command: [echo, hello]}`",
            );
        }
        let inherited_bytes = inherited.bytes();
        let steps = entries.iter().filter_map(|keyed| {
            let name = self.step_name(place, keyed);
            let step = self.step(place.under(keyed.key, keyed.node), name)?;
            let own_bytes = step.environment.bytes();
            // The sum is an upper bound: most steps need no merging to be fine. What
            // is too much by itself has been told.
            if own_bytes > 0
                && own_bytes <= limits::ENVIRONMENT_BYTES
                && own_bytes + inherited_bytes > limits::ENVIRONMENT_BYTES
            {
                let merged = step.environment.over(inherited).bytes();
                self.check_environment(place.under(keyed.key, keyed.node), merged);
            }
            Some(step)
        });
        Some(steps.collect())
    }

    fn step_name(&mut self, place: Place<'_>, keyed: &Keyed<'_>) -> Option<StepName> {
        match keyed.key.parse() {
            Ok(name) => Some(name),
            Err(reason) => {
                let what = format!("`{}` is not a step's name: {reason}", excerpt(keyed.key));
                let help = "write 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`, not beginning with `.` or `-`";
                self.report_at(keyed.at, place.path.key(keyed.key), what, help);
                None
            }
        }
    }

    /// Takes the name as it came out: the rest of a misnamed step is read as well.
    fn step(&mut self, place: Place<'_>, name: Option<StepName>) -> Option<Step> {
        let fields = self.fields(place, "a step's keys", STEP_KEYS)?;
        let common = self.common(&fields);
        let help = "write program and arguments as a list, such as `command: [echo, hello]`";
        let command = self.required(&fields, "command", help, Self::command);
        let after = fields.get("after").and_then(|place| {
            let help = "write the name of a step of this file";
            self.list(
                place,
                "a list of steps",
                "write a list, such as `[prepare]`",
                |decoder, item| decoder.parsed(item, "a step's name", help),
            )
        });
        let retry = fields.get("retry").and_then(|place| self.retry(place));
        Some(Step {
            name: name?,
            command: command?,
            after: after.unwrap_or_default(),
            image: common.image,
            settings: common.settings,
            resources: common.resources,
            environment: common.environment,
            retry,
            enable_cache: common.enable_cache,
        })
    }

    fn command(&mut self, place: Place<'_>) -> Option<Vec<String>> {
        let help = "write program and arguments as a list, such as `[sh, -c, \"echo hello\"]`";
        let words = self.list(
            place,
            "a list of program and arguments",
            help,
            |decoder, item| {
                let text = decoder.text(item, "a text")?;
                if text.contains('\0') {
                    let what =
                        "the argument contains a NUL character, which no program can be handed";
                    decoder.report(item, what, "remove it, or write it to a file");
                    return None;
                }
                Some(text.to_owned())
            },
        )?;
        let Value::List(nodes) = &place.node.value else {
            return None;
        };
        match nodes.first() {
            None => self.report(place, "the command is empty", help),
            Some(program) if matches!(&program.value, Value::Text(text) if text.is_empty()) => {
                self.report(
                    place.item(0, program),
                    "the program is an empty text",
                    "name a program",
                );
            }
            Some(_) => {}
        }
        Some(words)
    }

    /// The keys that pipeline and step share.
    fn common(&mut self, fields: &Fields<'_>) -> Common {
        let image = fields
            .get("image")
            .and_then(|place| self.filled_text(place, "an image"));
        let settings = fields
            .get("settings")
            .and_then(|place| self.settings(place));
        let resources = fields
            .get("resources")
            .and_then(|place| self.resources(place));
        let environment = fields
            .get("environment")
            .and_then(|place| self.environment(place));
        let enable_cache = fields
            .get("enable_cache")
            .and_then(|place| self.boolean(place));
        Common {
            image,
            settings: settings.unwrap_or_default(),
            resources: resources.unwrap_or_default(),
            environment: environment.unwrap_or_default(),
            enable_cache,
        }
    }

    fn execution_mode(&mut self, place: Place<'_>) -> Option<ExecutionMode> {
        let expected = "an execution mode";
        let text = self.text(place, expected)?;
        let mode = ExecutionMode::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text);
        if mode.is_none() {
            let help = "write `fail_fast`, `stop_on_failure` or `continue_on_failure`";
            self.mismatch(place, expected, help);
        }
        mode
    }

    fn settings(&mut self, place: Place<'_>) -> Option<Settings> {
        let fields = self.fields(place, "settings", &Settings::KEYS)?;
        let mut values = Map::new();
        for key in Settings::KEYS {
            let Some(place) = fields.get_or_null(key) else {
                continue;
            };
            let value = match &place.node.value {
                _ if key == "timeout" => self.integer(place, i64::MIN..=i64::MAX).map(Json::from),
                _ if key == "exact_memory" => self.boolean(place).map(Json::from),
                Value::Null => Some(Json::Null),
                _ => self.text(place, "a text or null").map(Json::from),
            };
            if let Some(value) = value {
                values.insert(key.to_owned(), value);
            }
        }
        let in_order = fields
            .keys()
            .filter_map(|key| values.remove_entry(key))
            .collect();
        Some(Settings::new(in_order))
    }

    fn resources(&mut self, place: Place<'_>) -> Option<Resources> {
        let fields = self.fields(place, "resources", RESOURCE_KEYS)?;
        let cpu_count = fields.get("cpu_count").and_then(|place| {
            let expected = "a finite number above 0";
            self.number(place, expected, |number| CpuCount::try_from(number).ok())
        });
        let gpu_count = fields
            .get("gpu_count")
            .and_then(|place| self.integer(place, 0..=i64::from(u32::MAX)));
        let memory = fields.get("memory").and_then(|place| {
            let help = format!(
                "write digits and one of {}, such as `512MiB`",
                MemorySize::UNITS.join(", ")
            );
            self.parsed(place, "an amount of memory", &help)
        });
        Some(Resources {
            cpu_count,
            gpu_count: gpu_count.and_then(|count| u32::try_from(count).ok()),
            memory,
        })
    }

    fn environment(&mut self, place: Place<'_>) -> Option<Environment> {
        let entries = self.entries(place, "environment variables")?;
        let variables = entries.iter().filter_map(|keyed| {
            let key = self.variable_name(place, keyed);
            let value = self.variable_value(place.under(keyed.key, keyed.node));
            Some((key?, value?))
        });
        let environment: Environment = variables.collect();
        self.check_environment(place, environment.bytes());
        Some(environment)
    }

    fn variable_name(&mut self, place: Place<'_>, keyed: &Keyed<'_>) -> Option<EnvKey> {
        keyed
            .key
            .parse()
            .map_err(|reason| {
                let help = "write a name such as `LOG_LEVEL`";
                self.report_at(keyed.at, place.path.key(keyed.key), reason, help);
            })
            .ok()
    }

    /// Values may be secrets: what is wrong is said without showing them.
    fn variable_value(&mut self, place: Place<'_>) -> Option<EnvValue> {
        let Value::Text(text) = &place.node.value else {
            let what = format!("expected a text, found {}", place.node.kind());
            let help = match &place.node.value {
                Value::Null => "write \"\" for an empty value, or leave the key out",
                Value::List(_) | Value::Map(_) => "write one text here",
                _ => "put the value in quotes",
            };
            self.report(place, what, help);
            return None;
        };
        text.parse()
            .map_err(|reason| self.report(place, reason, "write a text without it"))
            .ok()
    }

    fn check_environment(&mut self, place: Place<'_>, bytes: usize) {
        let limit = limits::ENVIRONMENT_BYTES;
        if bytes > limit {
            let what = format!("the environment takes {bytes} bytes of the {limit} allowed");
            self.report(place, what, "hand large data to the step in a file");
        }
    }

    fn retry(&mut self, place: Place<'_>) -> Option<Retry> {
        let fields = self.fields(place, "a retry's keys", RETRY_KEYS)?;
        let default = Retry::default();
        let max_retries = fields
            .get("max_retries")
            .and_then(|place| self.integer(place, 0..=i64::from(u32::MAX)))
            .and_then(|count| u32::try_from(count).ok());
        let delay_seconds = fields.get("delay").and_then(|place| {
            let range = 0.0..=limits::RETRY_DELAY_SECONDS;
            let expected = format!("a number of seconds from 0 to {}", range.end());
            self.number(place, &expected, |number| {
                range.contains(&number).then_some(number)
            })
        });
        let backoff = fields.get("backoff").and_then(|place| {
            let range = 0.0..=f64::MAX;
            let expected = "a finite number from 0 on";
            self.number(place, expected, |number| {
                range.contains(&number).then_some(number)
            })
        });
        Some(Retry {
            max_retries: max_retries.unwrap_or(default.max_retries),
            delay_seconds: delay_seconds.unwrap_or(default.delay_seconds),
            backoff: backoff.unwrap_or(default.backoff),
        })
    }
}

/// What pipeline and step have in common.
struct Common {
    image: Option<String>,
    settings: Settings,
    resources: Resources,
    environment: Environment,
    enable_cache: Option<bool>,
}
