//! Which registry an image belongs to.

/// Whether an image reference names an image of this registry: the same host
/// and port, and the registry's path segment by segment. ZenML 0.98.0 compares
/// texts, so that `reg/team` also matches `reg/teammate`, and an empty registry
/// everything.
///
/// Docker Hub goes by two names, and is meant where no host is named.
pub fn holds(registry: &str, image: &str) -> bool {
    let registry = registry.trim_end_matches('/');
    let registry = registry
        .strip_prefix("https://")
        .or_else(|| registry.strip_prefix("http://"))
        .unwrap_or(registry);
    if registry.is_empty() || image.is_empty() {
        return false;
    }
    let (our_host, our_path) = match registry.split_once('/') {
        None if is_host(registry) => (registry, ""),
        _ => host_and_path(registry),
    };
    let (their_host, their_path) = host_and_path(image);
    if !canonical(our_host).eq_ignore_ascii_case(canonical(their_host)) {
        return false;
    }
    let mut theirs = their_path.split('/');
    let mut ours = our_path.split('/').filter(|segment| !segment.is_empty());
    // Something must be left of the image after the registry: its name.
    ours.all(|segment| theirs.next() == Some(segment))
        && theirs.next().is_some_and(|name| !name.is_empty())
}

const DOCKER_HUB: &str = "docker.io";

/// The host in front of a reference. A reference without a `/` is a name alone.
fn host_and_path(reference: &str) -> (&str, &str) {
    match reference.split_once('/') {
        Some((host, path)) if is_host(host) => (host, path),
        _ => (DOCKER_HUB, reference),
    }
}

/// Docker's rule: what stands first is a host when it could not be a name.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text.eq_ignore_ascii_case("localhost")
}

fn canonical(host: &str) -> &str {
    match host.eq_ignore_ascii_case("index.docker.io") {
        true => DOCKER_HUB,
        false => host,
    }
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn segments_are_compared_whole() {
        assert!(holds("reg.io/team", "reg.io/team/image:1"));
        assert!(holds("REG.io/team/", "reg.io/team/image"));
        assert!(holds("https://reg.io", "reg.io/a/b@sha256:0"));
        assert!(!holds("reg.io/team", "reg.io/teammate/image"));
        assert!(!holds("reg.io", "reg.io.evil.com/image"));
        assert!(!holds("reg.io:5000", "reg.io/image"));
        assert!(!holds("reg.io/team", "reg.io/team"));
        assert!(!holds("reg.io/team", "reg.io/team/"));
        assert!(!holds("", "image"));
    }

    #[test]
    fn docker_hub_goes_by_two_names_and_by_none() {
        for image in ["bob/x:1", "docker.io/bob/x", "index.docker.io/bob/x"] {
            assert!(holds("docker.io/bob", image), "{image}");
            assert!(holds("index.docker.io/bob", image), "{image}");
            assert!(holds("bob", image), "{image}");
            assert!(holds("docker.io", image), "{image}");
            assert!(!holds("docker.io/bobby", image), "{image}");
            assert!(!holds("reg.io/bob", image), "{image}");
        }
        assert!(holds("docker.io", "python:3.11-slim"));
        assert!(!holds("localhost:5000", "python:3.11-slim"));
    }
}
