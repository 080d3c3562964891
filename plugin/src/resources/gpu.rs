//! GPUs: from ZenML's settings to the argument of Modal's SDK, and from there to
//! the request.

use crate::config::lax::Integer;
use crate::text::{non_blank, strip};
use modal_proto::client::GpuConfig;
use std::fmt;

/// What a flavor calls its setting, for the error about a missing type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wording<'a> {
    /// The setting's name.
    pub field: &'a str,
    /// What a user might write.
    pub example: &'a str,
}

/// The orchestrator's words.
pub const ORCHESTRATOR: Wording<'_> = Wording {
    field: "ModalOrchestratorSettings.gpu",
    example: "Set ModalOrchestratorSettings(gpu='<TYPE>') together with \
              ResourceSettings(gpu_count=1) on the pipeline or step that requests GPU resources, \
              or set gpu_count=0 to run on CPU.",
};

/// The step operator's words, which the sandbox uses too.
pub const STEP_OPERATOR: Wording<'_> = Wording {
    field: "ModalStepOperatorSettings.gpu",
    example: "For example with @step(settings={'step_operator': \
              ModalStepOperatorSettings(gpu='<TYPE>'), 'resources': ResourceSettings(gpu_count=1)}), \
              or set gpu_count=0 to run on CPU.",
};

/// GPUs of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    kind: String,
    count: Option<u32>,
}

impl Gpu {
    /// The argument as ZenML passes it to Modal's SDK: `A100` or `A100:2`.
    pub fn argument(&self) -> String {
        match self.count {
            Some(count) => format!("{}:{count}", self.kind),
            None => self.kind.clone(),
        }
    }

    /// The part of the request: the type in capitals; one when no number was
    /// given.
    pub fn config(&self) -> GpuConfig {
        GpuConfig {
            count: self.count.unwrap_or(1),
            gpu_type: self.kind.to_uppercase(),
            ..GpuConfig::default()
        }
    }
}

/// What a step gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// No GPU.
    Cpu,
    /// No GPU, although a type is set: the count says zero.
    CpuDespite {
        /// The type that is set.
        kind: String,
    },
    /// GPUs.
    Gpu(Gpu),
}

impl Choice {
    /// The warning that goes with the choice.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::CpuDespite { kind } => Some(format!(
                "Modal GPU type '{kind}' is configured but ResourceSettings.gpu_count is 0. \
                 Ignoring the GPU type and running on CPU only."
            )),
            Self::Cpu | Self::Gpu(_) => None,
        }
    }
}

/// Brings the GPU type of the settings and the count of the resources together.
///
/// A type may carry a count of its own (`A100:2`), as Modal writes it. ZenML
/// 0.98.0 appends a second one to it, which Modal refuses; here the two must
/// agree.
///
/// # Errors
///
/// When a count is given without a type, when the type's own count is not a
/// number, and when the two counts differ.
pub fn choose(
    gpu: Option<&str>,
    count: Option<u32>,
    wording: Wording<'_>,
) -> Result<Choice, GpuError> {
    choose_of(gpu, count.map(Integer::from).as_ref(), wording)
}

/// Like [`choose`], for a count of any size.
///
/// # Errors
///
/// As [`choose`], and for more GPUs of a type than Modal's request can hold.
pub fn choose_of(
    gpu: Option<&str>,
    count: Option<&Integer>,
    wording: Wording<'_>,
) -> Result<Choice, GpuError> {
    let is_none = count.is_none_or(|count| count.compare(0).is_eq());
    let Some(kind) = non_blank(gpu) else {
        return match is_none {
            true => Ok(Choice::Cpu),
            false => Err(GpuError::NoType {
                field: wording.field.to_owned(),
                example: wording.example.to_owned(),
            }),
        };
    };
    if count.is_some() && is_none {
        return Ok(Choice::CpuDespite {
            kind: kind.to_owned(),
        });
    }
    let too_many = |count: &Integer| GpuError::TooMany {
        count: count.to_string(),
    };
    let count = count
        .map(|count| count.to_u32().ok_or_else(|| too_many(count)))
        .transpose()?;
    let Some((base, own_count)) = kind.split_once(':') else {
        return Ok(Choice::Gpu(Gpu {
            kind: kind.to_owned(),
            count,
        }));
    };
    let own_count: u32 = strip(own_count).parse().map_err(|_| GpuError::BadCount {
        kind: kind.to_owned(),
    })?;
    if own_count == 0 {
        return Err(GpuError::BadCount {
            kind: kind.to_owned(),
        });
    }
    match count {
        Some(count) if count != own_count => Err(GpuError::TwoCounts {
            kind: kind.to_owned(),
            count,
        }),
        _ => Ok(Choice::Gpu(Gpu {
            kind: strip(base).to_owned(),
            count: Some(own_count),
        })),
    }
}

/// Why GPUs cannot be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpuError {
    /// A count without a type.
    NoType {
        /// The setting's name, in the flavor's words.
        field: String,
        /// What a user might write.
        example: String,
    },
    /// What follows the colon is not a positive number.
    BadCount {
        /// The type as it was given.
        kind: String,
    },
    /// More than Modal's request can hold.
    TooMany {
        /// What was asked for.
        count: String,
    },
    /// The type carries another count than the resources.
    TwoCounts {
        /// The type as it was given.
        kind: String,
        /// The count of the resources.
        count: u32,
    },
}

impl fmt::Display for GpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoType { field, example } => write!(
                f,
                "GPU resources requested (gpu_count > 0) but no GPU type was specified in Modal \
                 settings. Please set a GPU type (e.g., 'T4', 'A100') via {field}. {example}"
            ),
            Self::BadCount { kind } => write!(
                f,
                "GPU type '{kind}' ends in something that is not a positive number. Write the type \
                 alone ('A100') or with a count ('A100:2')."
            ),
            Self::TooMany { count } => write!(
                f,
                "gpu_count={count} is more than can be asked for (the limit is {}).",
                u32::MAX
            ),
            Self::TwoCounts { kind, count } => write!(
                f,
                "GPU type '{kind}' and gpu_count={count} ask for different numbers of GPUs. Leave \
                 one of the two out."
            ),
        }
    }
}

impl std::error::Error for GpuError {}

#[cfg(test)]
mod tests {
    use super::{Choice, GpuError, ORCHESTRATOR, choose, choose_of};
    use proptest::prelude::*;

    fn argument(gpu: &str, count: Option<u32>) -> Option<String> {
        match choose(Some(gpu), count, ORCHESTRATOR).unwrap() {
            Choice::Gpu(gpu) => Some(gpu.argument()),
            _ => None,
        }
    }

    #[test]
    fn type_and_count_are_joined() {
        assert_eq!(argument("T4", None).unwrap(), "T4");
        assert_eq!(argument("  A100  ", Some(2)).unwrap(), "A100:2");
        assert_eq!(argument("H100!", Some(1)).unwrap(), "H100!:1");
        assert_eq!(argument(" ", None), None);
    }

    #[test]
    fn a_count_of_its_own_must_agree() {
        assert_eq!(argument("A100:2", None).unwrap(), "A100:2");
        assert_eq!(argument(" H100 : 4 ", Some(4)).unwrap(), "H100:4");
        assert!(matches!(
            choose(Some("A100:2"), Some(3), ORCHESTRATOR),
            Err(GpuError::TwoCounts { count: 3, .. })
        ));
        for bad in ["A100:x", "A100:", "A100:0", "A100:2:2", "A100:-1"] {
            assert!(
                matches!(
                    choose(Some(bad), None, ORCHESTRATOR),
                    Err(GpuError::BadCount { .. })
                ),
                "{bad}"
            );
        }
    }

    #[test]
    fn zero_means_cpu_and_says_so() {
        let choice = choose(Some(" T4 "), Some(0), ORCHESTRATOR).unwrap();
        assert_eq!(
            choice.warning().unwrap(),
            "Modal GPU type 'T4' is configured but ResourceSettings.gpu_count is 0. Ignoring the GPU \
             type and running on CPU only."
        );
    }

    #[test]
    fn a_count_needs_a_type() {
        let error = choose(None, Some(1), ORCHESTRATOR).unwrap_err().to_string();
        assert!(error.starts_with("GPU resources requested (gpu_count > 0) but no GPU type"));
        assert!(error.ends_with("or set gpu_count=0 to run on CPU."));
    }

    #[test]
    fn the_request_has_capitals_and_a_count() {
        let Choice::Gpu(gpu) = choose(Some("a100-80gb"), None, ORCHESTRATOR).unwrap() else {
            panic!("no GPU");
        };
        assert_eq!(
            (gpu.config().gpu_type.as_str(), gpu.config().count),
            ("A100-80GB", 1)
        );
    }

    #[test]
    fn more_than_the_request_holds_is_refused() {
        let count = crate::config::lax::integer(&serde_json::json!("4294967296")).unwrap();
        let error = |gpu| {
            choose_of(gpu, Some(&count), ORCHESTRATOR)
                .unwrap_err()
                .to_string()
        };
        assert!(error(Some("T4")).starts_with("gpu_count=4294967296 is more"));
        assert!(error(None).starts_with("GPU resources requested"));
    }

    proptest! {
        #[test]
        fn an_argument_read_back_is_itself(kind in "[A-Za-z0-9!-]{1,12}", count in 1_u32..) {
            let argument = argument(&kind, Some(count)).unwrap();
            let again = choose(Some(&argument), None, ORCHESTRATOR).unwrap();
            prop_assert_eq!(again, choose(Some(&kind), Some(count), ORCHESTRATOR).unwrap());
        }
    }
}
