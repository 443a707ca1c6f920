//! What the module graph must look like. Each rule returns one sentence for each place that breaks it.

use crate::graph::{Graph, Use, is_within};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Every module is in a layer, and uses only modules of lower layers. `shared`: modules of the lowest layer that the others
/// of that layer may use too.
pub fn upward_uses(graph: &Graph, layers: &[&[&str]], shared: &[&str]) -> Vec<String> {
    let layer_of = |module: &str| layers.iter().position(|layer| layer.contains(&top(module)));
    let unknown = graph.top_modules().filter(|(module, _)| layer_of(module).is_none());
    let unknown = unknown.map(|(module, file)| {
        format!("src/{file}: the module {module} is in no layer: add it to LAYERS and to ARCHITECTURE.md")
    });
    let upward = graph.uses.iter().filter(|one| top(&one.from) != top(&one.to)).filter_map(|one| {
        let Use { from, to, written, file, line, .. } = one;
        let (upper, lower) = (layer_of(from)?, layer_of(to)?);
        let allowed = lower < upper || (upper, lower) == (0, 0) && shared.contains(&top(to));
        let (upper, lower) = (upper + 1, lower + 1);
        (!allowed).then(|| {
            format!("{file}:{line}: {from} (layer {upper}) must not use {to} (layer {lower}), in `{written}`")
        })
    });
    unknown.chain(upward).collect()
}

/// A module imports an item from the module that defines it, or from a re-export above that module.
pub fn detours(graph: &Graph) -> Vec<String> {
    let passed_on = graph.uses.iter().filter(|one| one.passed_on && !one.test);
    passed_on
        .map(|Use { to, written, file, line, .. }| {
            format!("{file}:{line}: {to} only imports what `{written}` names: use the module that defines it")
        })
        .collect()
}

/// Sibling modules, each together with all modules below it, do not use each other in a cycle.
pub fn cycles(graph: &Graph) -> Vec<String> {
    let mut levels: BTreeMap<&str, Uses<'_>> = BTreeMap::new();
    for one in graph.uses.iter().filter(|one| !one.test) {
        if let Some((level, from, to)) = beside(&one.from, &one.to) {
            levels.entry(level).or_default().entry(from).or_default().entry(to).or_insert(one);
        }
    }
    let mut cycles = BTreeSet::new();
    for uses in levels.values() {
        for (from, others) in uses {
            cycles.extend(others.iter().filter_map(|(to, first)| cycle(uses, from, to, first)));
        }
    }
    cycles.into_iter().collect()
}

/// The uses among sibling modules: from which, to which, and one place as the example.
type Uses<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Use>>;

/// The shortest cycle through the use `first` of `to` by `from`; always told from the same module on.
fn cycle<'a>(uses: &Uses<'a>, from: &str, to: &'a str, first: &'a Use) -> Option<String> {
    let mut paths = VecDeque::from([(to, vec![first])]);
    let mut seen = BTreeSet::from([to]);
    let mut chain = loop {
        let (at, path) = paths.pop_front()?;
        if at == from {
            break path;
        }
        for (next, one) in uses.get(at).into_iter().flatten() {
            if seen.insert(next) {
                paths.push_back((next, path.iter().copied().chain([*one]).collect()));
            }
        }
    };
    let start = (0..chain.len()).min_by_key(|index| &chain[*index].from)?;
    chain.rotate_left(start);
    let steps = chain.iter().map(|Use { from, to, written, file, line, .. }| {
        format!("\n  {file}:{line}: {from} uses {to}, in `{written}`")
    });
    Some(format!("a cycle of {} modules:{}", chain.len(), steps.collect::<String>()))
}

/// The module that both are in, and its two children that hold them; `None` if one of them holds the other.
fn beside<'a>(from: &'a str, to: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let ends = |name: &'a str| name.match_indices("::").map(|(at, _)| at).chain([name.len()]);
    if is_within(from, to) || is_within(to, from) {
        return None;
    }
    let (end, other) = ends(from).zip(ends(to)).find(|(end, other)| from[..*end] != to[..*other])?;
    let level = from[..end].rsplit_once("::").map_or("", |(level, _)| level);
    Some((level, &from[..end], &to[..other]))
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}
