//! Which registry an image belongs to.

/// Whether an image reference names an image of this registry: the same host
/// and port, and the registry's path segment by segment. ZenML 0.98.0 compares
/// texts, so that `reg/team` also matches `reg/teammate`.
pub fn holds(registry: &str, image: &str) -> bool {
    let registry = registry.trim_end_matches('/');
    let registry = registry
        .strip_prefix("https://")
        .or_else(|| registry.strip_prefix("http://"))
        .unwrap_or(registry);
    if registry.is_empty() {
        return false;
    }
    let mut ours = registry.split('/');
    let mut theirs = image.split('/');
    let same_host = match (ours.next(), theirs.next()) {
        (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
        _ => false,
    };
    // Something must be left of the image after the registry: its name.
    same_host && ours.all(|segment| theirs.next() == Some(segment)) && theirs.next().is_some()
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
        assert!(!holds("", "image"));
    }
}
