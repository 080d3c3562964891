//! What is wrong with a graph, and how that is told here.

/// A step and the steps before it.
pub(super) type Edges = Vec<(String, Vec<String>)>;

/// All that is wrong with a graph, in words.
pub(super) fn faults(edges: &Edges) -> Vec<String> {
    let position = |name: &String| edges.iter().position(|(step, _)| step == name);
    let mut unknown = Vec::new();
    for (step, before) in edges {
        for name in before.iter().filter(|name| position(name).is_none()) {
            let nearest = edges
                .iter()
                .map(|(known, _)| (strsim::jaro_winkler(name, known), known))
                .filter(|(likeness, _)| *likeness > 0.8)
                .max_by(|one, other| one.0.total_cmp(&other.0).then(other.1.cmp(one.1)));
            let hint = nearest.map_or(String::new(), |(_, known)| {
                format!("; did you mean `{known}`?")
            });
            unknown.push(format!(
                "step `{step}` comes after `{name}`, but there is no such step{hint}"
            ));
        }
    }
    if !unknown.is_empty() {
        return unknown;
    }
    let before: Vec<Vec<usize>> = edges
        .iter()
        .map(|(_, before)| {
            let mut before: Vec<usize> = before.iter().filter_map(position).collect();
            before.sort_unstable();
            before
        })
        .collect();
    cycles(&before)
        .into_iter()
        .map(|cycle| in_words(edges, &cycle))
        .collect()
}

/// One cycle for each walk against the edges that closes one, walking only where
/// no step can ever start.
fn cycles(before: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut stuck: Vec<bool> = vec![true; before.len()];
    while let Some(free) = (0..before.len())
        .find(|step| stuck[*step] && before[*step].iter().all(|other| !stuck[*other]))
    {
        stuck[free] = false;
    }
    let mut seen = vec![false; before.len()];
    let mut cycles = Vec::new();
    for start in (0..before.len()).filter(|step| stuck[*step]) {
        let mut path = Vec::new();
        let mut step = start;
        while !seen[step] {
            seen[step] = true;
            path.push(step);
            match before[step].iter().find(|other| stuck[**other]) {
                Some(next) => step = *next,
                None => break,
            }
        }
        if let Some(at) = path.iter().position(|on| *on == step) {
            cycles.push(path.split_off(at));
        }
    }
    cycles
}

fn in_words(edges: &Edges, cycle: &[usize]) -> String {
    let name = |step: &usize| edges[*step].0.as_str();
    if let [step] = cycle {
        return format!(
            "step `{}` comes after itself, so it can never start",
            name(step)
        );
    }
    let chain: String = cycle
        .iter()
        .map(|step| format!("`{}` after ", name(step)))
        .collect();
    let first = cycle.first().map_or("", name);
    format!("these steps wait for each other, so none can ever start: {chain}`{first}`")
}
