//! Figures beside their goals: on the terminal, as Markdown and as JSON.

use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;

/// One figure.
pub struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    goal: Option<(Sense, f64)>,
    note: String,
}

/// On which side of its goal a figure shall be.
#[derive(Clone, Copy)]
enum Sense {
    AtLeast,
    AtMost,
}

impl Figure {
    pub fn at_least(name: &'static str, value: f64, goal: f64, unit: &'static str) -> Self {
        Self { goal: Some((Sense::AtLeast, goal)), ..Self::plain(name, value, unit) }
    }

    pub fn at_most(name: &'static str, value: f64, goal: f64, unit: &'static str) -> Self {
        Self { goal: Some((Sense::AtMost, goal)), ..Self::plain(name, value, unit) }
    }

    pub fn plain(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit, goal: None, note: String::new() }
    }

    pub fn note(mut self, note: &str) -> Self {
        self.note = note.into();
        self
    }

    fn goal(&self) -> String {
        match self.goal {
            Some((Sense::AtLeast, goal)) => format!("≥ {goal}"),
            Some((Sense::AtMost, goal)) => format!("≤ {goal}"),
            None => String::new(),
        }
    }

    fn met(&self) -> &'static str {
        match self.goal {
            Some((Sense::AtLeast, goal)) if self.value >= goal => "met",
            // A hair above a goal of a whole number is rounding in the counting, not a miss.
            Some((Sense::AtMost, goal)) if self.value <= goal + 0.0005 => "met",
            Some(_) => "missed",
            None => "",
        }
    }
}

/// All figures of a run.
pub struct Report(Vec<Figure>);

impl Report {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn add(&mut self, figure: Figure) {
        println!(
            "{:<36} {:>10.3} {:<4} {:<8} {}",
            figure.name,
            figure.value,
            figure.unit,
            figure.goal(),
            figure.met()
        );
        self.0.push(figure);
    }

    /// Writes the files.
    pub fn finish(self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        let (when, machine) = (jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(), machine());
        let mut text = format!(
            "# Results of `make bench`\n\nMeasured on {when}, {machine}. A ratio within one run counts; single figures depend on the machine.\n\n| figure | value | goal | | |\n|---|---|---|---|---|\n"
        );
        let mut json = Map::new();
        for figure in &self.0 {
            let _ = writeln!(
                text,
                "| `{}` | {:.3} {} | {} | {} | {} |",
                figure.name,
                figure.value,
                figure.unit,
                figure.goal(),
                figure.met(),
                figure.note
            );
            json.insert(
                figure.name.into(),
                json!({"value": figure.value, "goal": figure.goal.map(|(_, goal)| goal)}),
            );
        }
        json.insert("date".into(), when.into());
        json.insert("machine".into(), machine.into());
        std::fs::write(folder.join("results.md"), text).unwrap();
        std::fs::write(folder.join("results.json"), format!("{:#}\n", Value::Object(json))).unwrap();
        println!("\nwritten to benches/results.md and benches/results.json");
    }
}

/// Cores and memory of this machine.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let gib = kib.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1_048_576.0;
    format!("{cores} cores, {gib:.0} GiB")
}

/// The middle value.
pub fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which a part of all lie.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length")]
    let at = ((values.len() - 1) as f64 * part).round() as usize;
    values[at]
}
