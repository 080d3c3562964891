//! The commands by which ZenML's own code is started in a sandbox: four kinds,
//! each a Python module with options.

use uuid::Uuid;

/// A command that starts ZenML's own code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entrypoint {
    /// The controller of a static pipeline.
    StaticController {
        /// The compiled pipeline.
        snapshot: String,
        /// The run; a controller without one makes it.
        run: Option<String>,
    },
    /// The controller of a dynamic pipeline.
    DynamicPipeline {
        /// The compiled pipeline.
        snapshot: String,
        /// The run; a controller without one makes it.
        run: Option<String>,
    },
    /// A step of an orchestrator.
    Step {
        /// The compiled pipeline.
        snapshot: String,
        /// The step's name.
        step: String,
    },
    /// A step of the step operator, or an isolated one of the orchestrator.
    StepOperator {
        /// The compiled pipeline.
        snapshot: String,
        /// The step's name.
        step: String,
        /// The step run.
        step_run: String,
    },
}

/// The kinds of entrypoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// See [`Entrypoint::StaticController`].
    StaticController,
    /// See [`Entrypoint::DynamicPipeline`].
    DynamicPipeline,
    /// See [`Entrypoint::Step`].
    Step,
    /// See [`Entrypoint::StepOperator`].
    StepOperator,
}

/// An option of an entrypoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntrypointOption {
    /// Its name without dashes.
    pub name: &'static str,
    /// Whether it must be there.
    pub is_required: bool,
}

const fn required(name: &'static str) -> EntrypointOption {
    EntrypointOption {
        name,
        is_required: true,
    }
}

/// The option that names the class to run.
const SOURCE: &str = "entrypoint_config_source";
/// The option that names the compiled pipeline.
const SNAPSHOT: &str = "snapshot_id";
/// The option that names the run.
pub const RUN: &str = "run_id";
const STEP: &str = "step_name";
const STEP_RUN: &str = "step_run_id";

/// The command that all kinds share.
pub const COMMAND: [&str; 3] = ["python", "-m", "zenml.entrypoints.entrypoint"];

const OF_CONTROLLER: [EntrypointOption; 3] = [
    required(SOURCE),
    required(SNAPSHOT),
    EntrypointOption {
        name: RUN,
        is_required: false,
    },
];
const OF_STEP: [EntrypointOption; 3] = [required(SOURCE), required(SNAPSHOT), required(STEP)];
const OF_STEP_OPERATOR: [EntrypointOption; 4] = [
    required(SOURCE),
    required(SNAPSHOT),
    required(STEP),
    required(STEP_RUN),
];

impl Entrypoint {
    /// An entrypoint from the values of its options; `value` gives the one of an
    /// option, if there is one. Options that the kind does not have are not asked
    /// for.
    ///
    /// # Errors
    ///
    /// When a value is missing or the snapshot's id is no UUID.
    pub fn new<'a>(
        kind: Kind,
        value: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, CommandError> {
        let snapshot = value(SNAPSHOT)
            .filter(|snapshot| is_uuid(snapshot))
            .ok_or_else(|| CommandError::Snapshot {
                class: kind.class(),
            })?
            .to_owned();
        let run = || value(RUN).map(ToOwned::to_owned);
        let required = |name: &'static str| {
            let value = value(name).map(ToOwned::to_owned);
            value.ok_or(CommandError::Missing(name))
        };
        Ok(match kind {
            Kind::StaticController => Self::StaticController {
                snapshot,
                run: run(),
            },
            Kind::DynamicPipeline => Self::DynamicPipeline {
                snapshot,
                run: run(),
            },
            Kind::Step => Self::Step {
                snapshot,
                step: required(STEP)?,
            },
            Kind::StepOperator => Self::StepOperator {
                snapshot,
                step: required(STEP)?,
                step_run: required(STEP_RUN)?,
            },
        })
    }

    /// The kind it is of.
    pub fn kind(&self) -> Kind {
        match self {
            Self::StaticController { .. } => Kind::StaticController,
            Self::DynamicPipeline { .. } => Kind::DynamicPipeline,
            Self::Step { .. } => Kind::Step,
            Self::StepOperator { .. } => Kind::StepOperator,
        }
    }

    /// The command and all its arguments.
    pub fn argv(&self) -> Vec<String> {
        let values = match self {
            Self::StaticController { snapshot, run } | Self::DynamicPipeline { snapshot, run } => {
                let run = run.as_deref().filter(|run| !run.is_empty());
                vec![(SNAPSHOT, Some(snapshot.as_str())), (RUN, run)]
            }
            Self::Step { snapshot, step } => {
                vec![(SNAPSHOT, Some(snapshot.as_str())), (STEP, Some(step))]
            }
            Self::StepOperator {
                snapshot,
                step,
                step_run,
            } => vec![
                (SNAPSHOT, Some(snapshot.as_str())),
                (STEP, Some(step)),
                (STEP_RUN, Some(step_run)),
            ],
        };
        let mut argv: Vec<String> = COMMAND.map(ToOwned::to_owned).to_vec();
        let source = [(SOURCE, Some(self.kind().source()))];
        for (name, value) in source.into_iter().chain(values) {
            if let Some(value) = value {
                argv.extend([format!("--{name}"), value.to_owned()]);
            }
        }
        argv
    }
}

impl Kind {
    /// The Python class that is started.
    fn source(self) -> &'static str {
        match self {
            Self::StaticController => {
                "zenml.integrations.modal.orchestrators.modal_orchestrator_entrypoint.\
                 ModalOrchestratorEntrypointConfiguration"
            }
            Self::DynamicPipeline => {
                "zenml.pipelines.dynamic.entrypoint_configuration.\
                 DynamicPipelineEntrypointConfiguration"
            }
            Self::Step => {
                "zenml.entrypoints.step_entrypoint_configuration.StepEntrypointConfiguration"
            }
            Self::StepOperator => {
                "zenml.step_operators.step_operator_entrypoint_configuration.\
                 StepOperatorEntrypointConfiguration"
            }
        }
    }

    /// The options, in their order.
    pub fn options(self) -> &'static [EntrypointOption] {
        match self {
            Self::StaticController | Self::DynamicPipeline => &OF_CONTROLLER,
            Self::Step => &OF_STEP,
            Self::StepOperator => &OF_STEP_OPERATOR,
        }
    }

    /// Reads the arguments of such a command, as Python's `argparse` does: an
    /// option may be cut short while it is clear which one is meant, the last one
    /// of a name counts, and what is not known is passed over. The values stand
    /// in the order of the options, without that of the class.
    ///
    /// # Errors
    ///
    /// When an option has no value, is not clear, or is missing.
    pub fn parse(
        self,
        arguments: &[String],
    ) -> Result<Vec<(&'static str, Option<String>)>, ArgumentError> {
        let options = self.options().iter();
        let options: Vec<EntrypointOption> = options
            .filter(|option| option.name != SOURCE)
            .copied()
            .collect();
        let mut values: Vec<(&'static str, Option<String>)> =
            options.iter().map(|option| (option.name, None)).collect();
        let mut words = classify(arguments, &options)?.into_iter().peekable();
        while let Some(word) = words.next() {
            let (name, attached) = match word {
                Word::Option { name, attached } => (name, attached),
                Word::Value(_) | Word::Unknown => continue,
                // Everything behind it is a value of nothing.
                Word::End => break,
            };
            if name == HELP {
                return Err(ArgumentError::Help);
            }
            let value = match attached {
                Some(value) => value,
                None => match words.next_if(|next| matches!(next, Word::Value(_))) {
                    Some(Word::Value(value)) => value,
                    _ => return Err(ArgumentError::NoValue(name)),
                },
            };
            if let Some(known) = values.iter_mut().find(|(known, _)| *known == name) {
                known.1 = Some(value.to_owned());
            }
        }
        let is_missing = |option: &&EntrypointOption| {
            option.is_required
                && values
                    .iter()
                    .any(|(name, value)| *name == option.name && value.is_none())
        };
        let missing: Vec<&'static str> = options
            .iter()
            .filter(is_missing)
            .map(|option| option.name)
            .collect();
        match missing.is_empty() {
            true => Ok(values),
            false => Err(ArgumentError::Missing(missing)),
        }
    }

    /// The class without its module.
    fn class(self) -> &'static str {
        let source = self.source();
        source.rsplit_once('.').map_or(source, |(_, class)| class)
    }
}

/// A UUID in one of the forms that Python takes.
fn is_uuid(text: &str) -> bool {
    let text = text.replace("urn:", "").replace("uuid:", "");
    let digits = text.trim_matches(['{', '}']).replace('-', "");
    Uuid::try_parse(&digits).is_ok()
}

/// The option that `argparse` adds to every command.
const HELP: &str = "help";

/// What an argument is, before it is known what it belongs to.
#[derive(Debug, Clone, Copy)]
enum Word<'a> {
    /// A known option, with the value behind its equals sign.
    Option {
        name: &'static str,
        attached: Option<&'a str>,
    },
    /// Something that looks like an option.
    Unknown,
    /// Two dashes alone.
    End,
    Value(&'a str),
}

/// Tells options from values. An option that is not clear is an error wherever it
/// stands, except behind two dashes.
fn classify<'a>(
    arguments: &'a [String],
    options: &[EntrypointOption],
) -> Result<Vec<Word<'a>>, ArgumentError> {
    let mut words = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let word = match words.last() {
            Some(Word::End) => break,
            _ => classify_one(argument, options)?,
        };
        words.push(word);
    }
    Ok(words)
}

fn classify_one<'a>(
    argument: &'a str,
    options: &[EntrypointOption],
) -> Result<Word<'a>, ArgumentError> {
    if argument == "--" {
        return Ok(Word::End);
    }
    let Some(dashed) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
        return Ok(Word::Value(argument));
    };
    if let Some(body) = dashed.strip_prefix('-')
        && let Some((name, attached)) = recognise(argument, body, options)?
    {
        return Ok(Word::Option { name, attached });
    }
    if dashed == "h" {
        return Ok(Word::Option {
            name: HELP,
            attached: None,
        });
    }
    match is_digits_with_point(dashed) || argument.contains(' ') {
        true => Ok(Word::Value(argument)),
        false => Ok(Word::Unknown),
    }
}

/// An option with the value that is attached to it.
type Recognised<'a> = (&'static str, Option<&'a str>);

/// The option that is meant by what follows two dashes, if any.
fn recognise<'a>(
    argument: &str,
    body: &'a str,
    options: &[EntrypointOption],
) -> Result<Option<Recognised<'a>>, ArgumentError> {
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    let known = || {
        [HELP]
            .into_iter()
            .chain(options.iter().map(|option| option.name))
    };
    if let Some(known) = known().find(|known| *known == name) {
        return Ok(Some((known, value)));
    }
    let matches: Vec<&'static str> = known().filter(|known| known.starts_with(name)).collect();
    match matches.as_slice() {
        [] => Ok(None),
        [known] => Ok(Some((known, value))),
        _ => Err(ArgumentError::Ambiguous {
            argument: argument.to_owned(),
            matches,
        }),
    }
}

/// Whether a text is digits, with a point and digits behind it or without.
fn is_digits_with_point(text: &str) -> bool {
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, part)) => are_digits(whole) && are_digits(part) && !part.is_empty(),
        None => are_digits(text) && !text.is_empty(),
    }
}

/// Why there is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The snapshot's id is missing or no UUID. ZenML words it so.
    #[error(
        "Missing or invalid snapshot ID as argument for entrypoint configuration. Please make sure \
         to pass a valid UUID to `{class}.get_entrypoint_arguments(snapshot_id=<UUID>)`."
    )]
    Snapshot {
        /// The Python class.
        class: &'static str,
    },
    /// A required option has no value.
    #[error("{0}")]
    Missing(&'static str),
}

/// Why arguments cannot be read. `argparse` words it so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// An option stands there without a value.
    #[error("Failed to parse entrypoint arguments: argument --{0}: expected one argument")]
    NoValue(&'static str),
    /// Several options begin like this.
    #[error(
        "Failed to parse entrypoint arguments: ambiguous option: {argument} could match {}",
        dashed(.matches)
    )]
    Ambiguous {
        /// What was given.
        argument: String,
        /// What it could be.
        matches: Vec<&'static str>,
    },
    /// Help was asked for, for which the original ends its process.
    #[error("help was asked for, which a controller does not give")]
    Help,
    /// Options that must be there are not.
    #[error(
        "Failed to parse entrypoint arguments: the following arguments are required: {}",
        dashed(.0)
    )]
    Missing(Vec<&'static str>),
}

fn dashed(names: &[&str]) -> String {
    let dashed: Vec<String> = names.iter().map(|name| format!("--{name}")).collect();
    dashed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{ArgumentError, Entrypoint, Kind};
    use proptest::prelude::*;

    const ID: &str = "0d9a7a52-9e1c-4c5e-8a59-0f2f8f0e7c11";

    fn parse(kind: Kind, arguments: &[&str]) -> Result<Vec<Option<String>>, ArgumentError> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let values = kind.parse(&arguments)?;
        Ok(values.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn values_that_begin_with_a_dash_need_an_equals_sign() {
        let arguments = ["--snapshot_id", ID, "--step_name", "--x"];
        assert_eq!(
            parse(Kind::Step, &arguments),
            Err(ArgumentError::NoValue("step_name"))
        );
        let arguments = ["--snapshot_id", ID, "--step_name=--x"];
        let values = parse(Kind::Step, &arguments).unwrap();
        assert_eq!(values, [Some(ID.to_owned()), Some("--x".to_owned())]);
        let arguments = ["--snapshot_id", ID, "--step_name", "-5"];
        assert!(parse(Kind::Step, &arguments).is_ok());
    }

    #[test]
    fn an_unclear_option_is_told_with_what_it_could_be() {
        let told = |arguments: &[&str]| {
            parse(Kind::StepOperator, arguments)
                .unwrap_err()
                .to_string()
        };
        let expected = "ambiguous option: --step could match --step_name, --step_run_id";
        assert!(told(&["--step", "x"]).ends_with(expected));
        assert!(told(&["--snapshot_id", "--step"]).ends_with(expected));
        let expected = "--=x could match --help, --snapshot_id, --step_name, --step_run_id";
        assert!(told(&["--=x"]).ends_with(expected));
        assert!(!told(&["--", "--step"]).ends_with(expected));
    }

    proptest! {
        #[test]
        fn a_command_is_read_back(step in "[^-].{0,20}", step_run in "[0-9a-f]{1,36}") {
            let snapshot = ID.to_owned();
            let entrypoint = Entrypoint::StepOperator { snapshot, step, step_run };
            let argv = entrypoint.argv();
            let (command, arguments) = argv.split_at(3);
            prop_assert_eq!(command, super::COMMAND);
            let values = Kind::StepOperator.parse(arguments).unwrap();
            let value = |name: &str| {
                let found = values.iter().find(|(known, _)| *known == name);
                found.and_then(|(_, value)| value.as_deref())
            };
            prop_assert_eq!(Entrypoint::new(Kind::StepOperator, value), Ok(entrypoint));
        }

        #[test]
        fn any_arguments_are_answered(arguments in proptest::collection::vec("(--)?[a-z_=-]{0,12}|.{0,5}", 0..8)) {
            for kind in [Kind::StaticController, Kind::StepOperator] {
                let _ = kind.parse(&arguments);
            }
        }
    }
}
