//! Rules about stacks.

use super::{Difference, Rule};
use serde_json::{Value, json};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "registry-by-segments",
    areas: &["validator"],
    inputs: "an image whose text begins with the registry's although it is not of it, or the \
             other way round",
    real: "compares texts: `reg/team` holds `reg/teammate/x`, an empty registry holds everything, \
           `docker.io` holds nothing",
    here: "compares the host, in any case, and the path segment by segment; something must be \
           left; without a host Docker Hub is meant",
    why: "an image of a registry gets its login: it must not be handed to a neighbour",
    differences: by_segments,
}];

fn by_segments(input: &Value) -> Vec<Difference> {
    let (Some("image_in_registry"), Some(uri), Some(image)) = (
        input["op"].as_str(),
        input["uri"].as_str(),
        input["image"].as_str(),
    ) else {
        return Vec::new();
    };
    let real = by_text(uri, image);
    let right = holds(uri, image);
    match real == right {
        true => Vec::new(),
        false => Difference::whole(json!({"ok": real}), json!({"ok": right})),
    }
}

fn by_text(uri: &str, image: &str) -> bool {
    let bare = |text: &str| -> String {
        let text = text.strip_prefix("index.docker.io/").unwrap_or(text);
        text.strip_prefix("docker.io/").unwrap_or(text).to_owned()
    };
    bare(image).starts_with(&bare(uri.trim_end_matches('/')))
}

fn holds(uri: &str, image: &str) -> bool {
    let uri = uri.trim_end_matches('/');
    let uri = uri
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let mut ours = segments(uri);
    if !uri.contains('/') && names_host(uri) {
        ours = vec![uri.to_lowercase()];
    }
    let ours = with_one_name(ours);
    let theirs = with_one_name(segments(image));
    !uri.is_empty()
        && !image.is_empty()
        && theirs.len() > ours.len()
        && theirs.starts_with(&ours)
        && !theirs[ours.len()].is_empty()
}

/// The host in lower case, Docker Hub's when there is none, and the path.
fn segments(reference: &str) -> Vec<String> {
    let parts: Vec<String> = reference.split('/').map(str::to_owned).collect();
    match parts.as_slice() {
        [host, path @ ..] if !path.is_empty() && names_host(host) => {
            [&[host.to_lowercase()], path].concat()
        }
        path => [&["docker.io".to_owned()], path].concat(),
    }
}

fn names_host(text: &str) -> bool {
    text.contains('.') || text.contains(':') || text.to_lowercase() == "localhost"
}

fn with_one_name(mut segments: Vec<String>) -> Vec<String> {
    if let Some(host) = segments
        .first_mut()
        .filter(|host| *host == "index.docker.io")
    {
        *host = "docker.io".to_owned();
    }
    segments
}
