//! Where a run goes: `--on`.

use crate::exit::{Exit, Failure};
use flavor_host::Target;
use flavor_host::credentials::modal::Surroundings;

/// What `--on` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum On {
    /// A local Modal that lives as long as the run.
    Local,
    /// Modal's cloud.
    Modal,
    /// The Modal server at this URL.
    Url(String),
}

impl On {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "local" => Ok(Self::Local),
            "modal" => Ok(Self::Modal),
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Ok(Self::Url(url.to_owned()))
            }
            other => Err(Failure::new(
                Exit::BadInput,
                format!(
                    "`--on {other}`: write `local`, `modal`, or a URL with http:// or https://"
                ),
            )),
        }
    }

    /// How the run store names it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Local => "local",
            Self::Modal => "modal",
            Self::Url(url) => url,
        }
    }
}

/// A target outside this process, with the user's credentials.
pub(crate) fn remote(url: Option<&str>) -> Result<Target, Failure> {
    let (credentials, _) = Surroundings::of_process().token_pair()?;
    Ok(match url {
        Some(url) => Target::new(url, credentials)?,
        None => Target::modal(credentials)?,
    })
}
