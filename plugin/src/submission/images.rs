//! The images that were built for a pipeline.

use std::collections::BTreeMap;
use std::fmt;

/// Key under which an image for the orchestrator is kept.
pub const ORCHESTRATOR_KEY: &str = "orchestrator";
/// Key under which an image for the step operator is kept.
pub const STEP_OPERATOR_KEY: &str = "modal_step_operator";

/// Images by their keys: `KEY` for the whole pipeline, `STEP.KEY` for one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuiltImages(BTreeMap<String, String>);

impl BuiltImages {
    /// Images by their keys.
    pub fn new(images: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(images.into_iter().collect())
    }

    /// The image of a step, or else that of the pipeline.
    ///
    /// # Errors
    ///
    /// When there is neither.
    pub fn of_step(&self, key: &str, step: &str) -> Result<&str, MissingImage> {
        match self.0.get(&format!("{step}.{key}")) {
            Some(image) if !step.is_empty() => Ok(image),
            _ => self.of_pipeline(key),
        }
    }

    /// The image of the pipeline.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn of_pipeline(&self, key: &str) -> Result<&str, MissingImage> {
        self.0
            .get(key)
            .map(String::as_str)
            .ok_or_else(|| MissingImage {
                key: key.to_owned(),
                available: self.0.keys().cloned().collect(),
            })
    }
}

/// No image was built under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingImage {
    key: String,
    available: Vec<String>,
}

impl fmt::Display for MissingImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available = match self.available.is_empty() {
            true => "set()".to_owned(),
            false => {
                let keys = self.available.iter().map(|key| crate::text::quoted(key));
                format!("{{{}}}", keys.collect::<Vec<_>>().join(", "))
            }
        };
        write!(
            f,
            "Unable to find image for key {}. Available keys: {available}.",
            self.key
        )
    }
}

impl std::error::Error for MissingImage {}

#[cfg(test)]
mod tests {
    use super::{BuiltImages, ORCHESTRATOR_KEY};

    #[test]
    fn a_step_without_an_image_of_its_own_gets_the_pipelines() {
        let image = |key: &str, image: &str| (key.to_owned(), image.to_owned());
        let images = BuiltImages::new([image("orchestrator", "all"), image("a.orchestrator", "a")]);
        assert_eq!(images.of_step(ORCHESTRATOR_KEY, "a"), Ok("a"));
        assert_eq!(images.of_step(ORCHESTRATOR_KEY, "b"), Ok("all"));
        let nothing = BuiltImages::default();
        assert_eq!(
            nothing
                .of_pipeline(ORCHESTRATOR_KEY)
                .unwrap_err()
                .to_string(),
            "Unable to find image for key orchestrator. Available keys: set()."
        );
    }
}
