//! The table of flags: reads the command line's own description, and knows the chart's name for each.

use crate::cell;
use clap::{Arg, CommandFactory};
use functiongraph_operator::args::Cli;
use std::fmt::Write as _;

/// Flags that the chart does not call `settings.` and their own name: what sets them there.
const ELSEWHERE: &[(&str, &str)] = &[
    ("kubeconfig", "–"),
    ("namespaces", "`watchNamespaces`"),
    ("own-namespace", "–"),
    ("pod-name", "–"),
    ("pod-uid", "–"),
    ("probe-listen", "–"),
    ("metrics-listen", "–"),
    ("metrics-auth", "`metrics.auth.enabled`"),
    ("token-folder", "`projectedTokens`"),
    ("pod-identity-url", "–"),
    ("pod-identity-token-file", "–"),
    ("metadata-url", "–"),
];

/// What stands above the table.
const TOP: &str = "
## Flags of `functiongraph-operator run`

Each flag has an environment variable; the flag wins. The chart's value is the ordinary way to set one in a cluster; where
it is –, the Pod needs no other than the default, or use `extraEnv`.

| flag, environment variable | chart value | default | |
|---|---|---|---|
";

/// The table.
pub fn section() -> String {
    let mut text = TOP.to_owned();
    for flag in run() {
        let Some(name) = flag.get_long().filter(|name| *name != "help") else { continue };
        let variable = flag.get_env().map(|name| format!("<br>`{}`", name.display())).unwrap_or_default();
        let values: Vec<_> = flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if values.is_empty() { String::new() } else { format!("`{}`", values.join(",")) };
        let help = flag.get_long_help().or(flag.get_help()).map(ToString::to_string).unwrap_or_default();
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "| `--{name}`{variable} | {} | {} | {} |",
            value_of(name),
            if default == "`false`" { "" } else { &default },
            cell(&help),
        );
    }
    text
}

/// Those that a user should know.
fn run() -> Vec<Arg> {
    let command = Cli::command();
    let run = command.find_subcommand("run").into_iter().flat_map(clap::Command::get_arguments);
    run.filter(|flag| !flag.is_hide_set()).cloned().collect()
}

/// What the chart calls a flag.
fn value_of(flag: &str) -> String {
    let other = ELSEWHERE.iter().find(|(name, _)| *name == flag);
    other.map_or_else(|| format!("`settings.{}`", camel_case(flag)), |(_, value)| (*value).to_owned())
}

fn camel_case(flag: &str) -> String {
    let mut parts = flag.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    // `strict-503` is `strict503`.
    parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn every_setting_of_the_chart_is_a_flag_and_the_other_way_round() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/functiongraph-operator/values.yaml");
        let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let settings = values["settings"].as_object().unwrap();
        let there: BTreeSet<_> = settings.keys().map(|key| format!("`settings.{key}`")).collect();

        let named = run()
            .iter()
            .filter_map(Arg::get_long)
            .filter(|name| *name != "help")
            .map(value_of)
            .collect::<BTreeSet<_>>();
        let named: BTreeSet<_> = named.into_iter().filter(|name| name.starts_with("`settings.")).collect();

        assert_eq!(named, there);
    }
}
