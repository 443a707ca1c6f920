//! The commands in the documents: what is fenced as `console`, and what a page says about running it.
//!
//! A line that begins with `$ ` is a command; it goes on after a backslash at its end, and to the end of a here-document.
//! The lines up to the next command are what it prints. Directly above the fence may stand why the block is not run here:
//! `<!-- not run: reason -->`, or `<!-- run by: make target -->`, or the file of a test instead of the target.

use std::collections::VecDeque;

/// One fenced block.
#[derive(Debug, PartialEq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// Why it is not run here, if it is not.
    pub waiver: Option<Waiver>,
    /// Its commands, in order.
    pub commands: Vec<Command>,
}

/// Why a block is not run here.
#[derive(Debug, PartialEq)]
pub enum Waiver {
    /// It cannot be, for this reason.
    NotRun(String),
    /// Something else runs it.
    RunBy(String),
}

/// One command.
#[derive(Debug, PartialEq)]
pub struct Command {
    /// Its line, from 1.
    pub line: usize,
    /// For a shell.
    pub text: String,
    /// What it prints, as the page shows it.
    pub output: Vec<String>,
}

/// What a page cuts out of an output.
const CUT: &str = "…";

/// All blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut lines: VecDeque<_> = page.lines().enumerate().map(|(index, line)| (index + 1, line)).collect();
    let (mut found, mut above) = (Vec::new(), "");
    while let Some((line, text)) = lines.pop_front() {
        let indent = text.len() - text.trim_start().len();
        if let Some(kind) = text.trim_start().strip_prefix("```") {
            let mut inside = VecDeque::new();
            while let Some((line, text)) = lines.pop_front().filter(|(_, text)| text.trim() != "```") {
                inside.push_back((line, text.get(indent..).unwrap_or_default()));
            }
            if kind == "console" {
                found.push(Block { line, waiver: waiver(above), commands: commands(inside) });
            }
        }
        above = text.trim();
    }
    found
}

fn waiver(above: &str) -> Option<Waiver> {
    let said = above.strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    if let Some(what) = said.strip_prefix("run by") {
        return Some(Waiver::RunBy(what.trim_start_matches(':').trim().into()));
    }
    let (_, why) = said.strip_prefix("not run")?.split_once(':')?;
    Some(Waiver::NotRun(why.trim().into()))
}

fn commands(mut lines: VecDeque<(usize, &str)>) -> Vec<Command> {
    let mut found: Vec<Command> = Vec::new();
    while let Some((line, text)) = lines.pop_front() {
        let Some(first) = text.strip_prefix("$ ") else {
            if let Some(command) = found.last_mut() {
                command.output.push(text.into());
            }
            continue;
        };
        let mut whole = first.to_owned();
        let mut last = first;
        while last.trim_end().ends_with('\\') {
            let Some((_, more)) = lines.pop_front() else { break };
            (whole, last) = (format!("{whole}\n{more}"), more);
        }
        // The word that ends a here-document, with or without quotes.
        if let Some(word) = whole.split("<<").nth(1).and_then(|rest| rest.split_whitespace().next()) {
            let word = word.trim_matches('\'').to_owned();
            while let Some((_, more)) = lines.pop_front() {
                whole = format!("{whole}\n{more}");
                if more == word {
                    break;
                }
            }
        }
        found.push(Command { line, text: whole, output: Vec::new() });
    }
    found
}

/// The lines that a page shows and that were not printed, in this order; ids, ages and widths do not count.
pub fn missing(shown: &[String], printed: &str) -> Vec<String> {
    let mut printed = printed.lines().map(masked);
    let shown = shown.iter().filter(|line| !line.trim().is_empty() && line.trim() != CUT);
    shown.filter(|line| !printed.any(|one| fits(&masked(line), &one))).cloned().collect()
}

/// Whether a printed line is the one that is shown, which may be cut.
fn fits(shown: &str, printed: &str) -> bool {
    match shown.split_once(CUT) {
        Some((begin, end)) => printed.starts_with(begin.trim_end()) && printed.ends_with(end.trim_start()),
        None => shown == printed,
    }
}

/// A line without what is another every time.
fn masked(line: &str) -> String {
    line.split_whitespace()
        .map(|word| if is_age(word) || is_id(word) { "*" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

/// As in `3s`, `2m10s`, `4d`, or a time.
fn is_age(word: &str) -> bool {
    let age = word.ends_with(['s', 'm', 'h', 'd'])
        && word.starts_with(|letter: char| letter.is_ascii_digit())
        && word.chars().all(|letter| letter.is_ascii_digit() || "smhd".contains(letter));
    let time = word.len() >= 20 && word.ends_with('Z') && word.contains('T') && word.starts_with("20");
    age || time
}

/// A UUID.
fn is_id(word: &str) -> bool {
    let parts: Vec<_> = word.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && word.chars().all(|letter| letter == '-' || letter.is_ascii_hexdigit())
}

#[test]
fn commands_their_input_and_their_output_are_told_apart() {
    let page = "text\n<!-- not run: no cloud here -->\n```console\n$ one\n```\n\n```yaml\n$ none\n```\n```console\n\
                $ two \\\n    --more # why\nprinted\n$ three <<'EOF'\n$ not a command\nEOF\nso\n```\n";
    let found = blocks(page);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found[0].waiver, Some(Waiver::NotRun("no cloud here".into())));
    let command =
        |line, text: &str, output: &str| Command { line, text: text.into(), output: vec![output.into()] };
    let two = command(11, "two \\\n    --more # why", "printed");
    let three = command(14, "three <<'EOF'\n$ not a command\nEOF", "so");
    assert_eq!(found[1], Block { line: 10, waiver: None, commands: vec![two, three] });
}

#[test]
fn what_is_another_every_time_may_differ_and_nothing_else() {
    let id = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";
    let printed = format!("NAME   ID   AGE\nfirst  {id} 12s\nlast line");
    let lines = |text: &str| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>();
    assert_eq!(
        missing(&lines("NAME ID AGE\nfirst 00000000-0000-0000-0000-000000000000 2m3s\n…\nlast …"), &printed),
        [""; 0]
    );
    assert_eq!(missing(&lines("NAME ID AGE\nsecond 1s 1s"), &printed), ["second 1s 1s"]);
}
