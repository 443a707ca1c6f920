//! How it looks: a table redrawn in place on a terminal, one line for each change elsewhere.

use console::{Style, Term, measure_text_width, pad_str, truncate_str};
use functiongraph_operator::api::ConditionStatus;
use jiff::Timestamp;
use serde_json::Value;
use std::fmt::Display;
use std::io;
use std::time::Duration;
use testkit::examples::{Board, Row};

/// The columns of wide and narrow terminals, each with the room that it must leave for the message: the first that
/// does is taken.
const LAYOUTS: [(usize, &[Column]); 5] = {
    use Column::{Attempts, Function, Message, Name, Next, Ready, Reason, RequestId, ShortId};
    [
        (40, &[Name, Function, Ready, Reason, RequestId, Attempts, Next, Message]),
        (40, &[Name, Function, Ready, Reason, ShortId, Attempts, Next, Message]),
        (40, &[Name, Ready, Reason, ShortId, Attempts, Next, Message]),
        (24, &[Name, Ready, Reason, Attempts, Next, Message]),
        (0, &[Name, Reason, Attempts, Next, Message]),
    ]
};

/// Room for the longest reason of the examples, so that columns do not move when one appears.
const REASON: usize = "WaitingForProvider".len();

/// Between two columns.
const GAP: &str = "  ";

/// How much of a request id is shown where there is no room for all of it.
const SHORT_ID: usize = 8;

/// Width of names in lines: the longest of the examples.
const NAME: usize = "disabled-function".len();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Name,
    Function,
    Ready,
    Reason,
    RequestId,
    /// The first digits of it.
    ShortId,
    Attempts,
    Next,
    Message,
}

/// Standard output.
pub struct Screen {
    term: Term,
    live: bool,
    /// Lines of the table that the next one replaces.
    drawn: usize,
}

// === impl Column ===

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Function => "FUNCTION",
            Self::Ready => "READY",
            Self::Reason => "REASON",
            Self::RequestId | Self::ShortId => "REQUEST-ID",
            Self::Attempts => "ATTEMPTS",
            Self::Next => "NEXT",
            Self::Message => "MESSAGE",
        }
    }

    fn text(self, name: &str, row: &Row, now: Timestamp) -> String {
        match self {
            Self::Name => name.to_owned(),
            Self::Function => short_function(&row.function).to_owned(),
            Self::Ready => row.ready.map(|ready| format!("{ready:?}")).unwrap_or_default(),
            Self::Reason => row.reason.clone(),
            Self::RequestId => row.request_id.clone(),
            Self::ShortId => row.request_id.chars().take(SHORT_ID).collect(),
            Self::Attempts => row.attempts.to_string(),
            Self::Next => row.next.map(|next| countdown(next, now)).unwrap_or_default(),
            Self::Message if row.reason.is_empty() => "Waits for its turn.".to_owned(),
            Self::Message => row.message.clone(),
        }
    }

    fn width(self, board: &Board, now: Timestamp) -> usize {
        let texts = board.rows().iter().map(|(name, row)| measure_text_width(&self.text(name, row, now)));
        let least = if self == Self::Reason { REASON } else { self.title().len() };
        texts.fold(least, usize::max)
    }
}

// === impl Screen ===

impl Screen {
    /// On a terminal that can move its cursor it is live.
    pub fn new() -> Self {
        let term = Term::buffered_stdout();
        let live = term.is_term() && !console::is_dumb();
        Self { term, live, drawn: 0 }
    }

    /// Whether there is a table to be redrawn, rather than lines.
    pub fn live(&self) -> bool {
        self.live
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn say(&self, text: impl Display) -> io::Result<()> {
        self.term.write_str(&text.to_string())?;
        self.term.flush()
    }

    /// Draws the table over the last one; as much of it as the terminal can show at once, unless it is the last.
    /// What has ended makes room for what has not.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn draw(&mut self, board: &Board, now: Timestamp, last: bool) -> io::Result<()> {
        let (height, width) = self.term.size();
        let room = usize::from(height).saturating_sub(2); // the cursor's line, and one for a reader's Ctrl-C
        let names = if last { board.rows().keys().collect() } else { shown(board, room.saturating_sub(2)) };
        let mut lines = table(board, &names, now, width.into());
        let hidden = board.rows().len().saturating_sub(names.len());
        if hidden > 0 {
            lines.push(format!("… and {hidden} more; all of them when it is over"));
        }
        self.term.clear_last_lines(self.drawn)?;
        self.drawn = if last { 0 } else { lines.len() };
        for line in lines {
            self.term.write_line(&line)?;
        }
        self.term.flush()
    }

    /// Writes a line for what a person does.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn deed(&self, at: Duration, name: &str, patch: &Value) -> io::Result<()> {
        let at = at.as_secs_f64();
        self.term
            .write_line(&format!("{at:>6.1} s  {name:<NAME$}{GAP}{:<REASON$}{GAP}{patch}", "(by hand)"))?;
        self.term.flush()
    }

    /// Writes a line for one change, this long after the start.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn change(&self, at: Duration, name: &str, row: &Row) -> io::Result<()> {
        let start = format!("{:>6.1} s  {name:<NAME$}{GAP}", at.as_secs_f64());
        let reason = pad_str(&row.reason, REASON, console::Alignment::Left, None).into_owned();
        let (_, width) = self.term.size();
        let used = measure_text_width(&start) + measure_text_width(&reason) + GAP.len();
        let room = if self.live { usize::from(width).saturating_sub(used) } else { usize::MAX };
        let message = truncate_str(&row.message, room, "…");
        self.term.write_line(&format!("{start}{}{GAP}{message}", colour(row).apply_to(reason)))?;
        self.term.flush()
    }
}

/// The names that there is room for, in order. Those whose end is reached are the first to go.
fn shown(board: &Board, room: usize) -> Vec<&String> {
    let mut names: Vec<_> = board.rows().keys().collect();
    let mut surplus = names.len().saturating_sub(room);
    names.retain(|name| {
        let goes = surplus > 0 && board.has_ended(name);
        surplus -= usize::from(goes);
        !goes
    });
    names.truncate(room);
    names
}

fn table(board: &Board, names: &[&String], now: Timestamp, width: usize) -> Vec<String> {
    let fixed = |layout: &[Column]| -> usize {
        let fixed = layout.iter().filter(|column| **column != Column::Message);
        fixed.map(|column| column.width(board, now) + GAP.len()).sum()
    };
    let fits = |(message, layout): &&(usize, &[Column])| fixed(layout) + message <= width;
    let (_, layout) = LAYOUTS.iter().find(fits).unwrap_or(&LAYOUTS[LAYOUTS.len() - 1]);
    let room = width.saturating_sub(fixed(layout));
    let line = |text: &dyn Fn(Column) -> String, style: &dyn Fn(Column) -> Style| -> String {
        let cell = |column: &Column| {
            let width = if *column == Column::Message { room } else { column.width(board, now) };
            let text = text(*column);
            let text = truncate_str(&text, width, "…");
            let text = pad_str(&text, width, console::Alignment::Left, None);
            style(*column).apply_to(text).to_string()
        };
        layout.iter().map(cell).collect::<Vec<_>>().join(GAP)
    };
    let titles = line(&|column| column.title().to_owned(), &|_| Style::new().bold());
    let rows = names.iter().filter_map(|name| board.rows().get_key_value(*name)).map(|(name, row)| {
        line(&|column| column.text(name, row, now), &|column| match column {
            Column::Ready | Column::Reason => colour(row),
            _ => Style::new(),
        })
    });
    std::iter::once(titles).chain(rows).collect()
}

fn colour(row: &Row) -> Style {
    match row.ready {
        Some(ConditionStatus::True) => Style::new().green(),
        Some(ConditionStatus::False) => Style::new().red(),
        Some(ConditionStatus::Unknown) => Style::new().yellow(),
        None => Style::new().dim(),
    }
}

/// `package:name:qualifier` without what is so by default.
fn short_function(function: &str) -> &str {
    let function = function.strip_prefix("default:").unwrap_or(function);
    function.strip_suffix(":latest").unwrap_or(function)
}

/// How long it is until then, in whole seconds.
fn countdown(then: Timestamp, now: Timestamp) -> String {
    let seconds = then.duration_since(now).as_secs_f64().max(0.0).ceil();
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use testkit::examples::Plan;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let object = serde_json::json!({"apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
            "metadata": {"name": "payload"}, "spec": {"function": {"name": "f"}},
            "status": {"function": "default:f:latest", "requestID": "x".repeat(36), "attempts": 12, "conditions": [{
                "type": "Ready", "status": "Unknown", "reason": "WaitingForProvider",
                "message": "größer ".repeat(100), "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let mut board = Board::new(BTreeMap::new());
        board.update(&[std::sync::Arc::new(serde_json::from_value(object).unwrap())]);
        let names: Vec<_> = board.rows().keys().collect();
        for width in 80..200 {
            for line in table(&board, &names, Timestamp::UNIX_EPOCH, width) {
                assert_eq!(measure_text_width(&line), width, "{line}");
            }
        }
    }

    #[test]
    fn what_has_ended_makes_room_for_what_has_not() {
        let object = |name: &str, reason: &str| {
            let condition = serde_json::json!({"type": "Ready", "status": "True", "reason": reason, "message": "",
                "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let object = serde_json::json!({"apiVersion": "functiongraph.io/v1alpha1",
                "kind": "FunctionInvocation", "metadata": {"name": name}, "spec": {"function": {"name": "f"}},
                "status": {"conditions": [condition]}});
            std::sync::Arc::new(serde_json::from_value(object).unwrap())
        };
        let plan = Plan { reason: "Accepted".into(), status: serde_json::json!({}), ..Plan::default() };
        let mut board = Board::new(["a", "b", "c", "d"].map(|name| (name.to_owned(), plan.clone())).into());
        let reasons = ["Accepted", "Throttled", "Accepted", "Throttled"];
        let objects =
            ["a", "b", "c", "d"].into_iter().zip(reasons).map(|(name, reason)| object(name, reason));
        board.update(&objects.collect::<Vec<_>>());
        for (room, names) in
            [(4, vec!["a", "b", "c", "d"]), (3, vec!["b", "c", "d"]), (2, vec!["b", "d"]), (1, vec!["b"])]
        {
            assert_eq!(shown(&board, room), names);
        }
    }

    #[test]
    fn a_function_is_shown_without_its_defaults() {
        assert_eq!(short_function("default:resize:latest"), "resize");
        assert_eq!(short_function("orders:notify:!prod"), "orders:notify:!prod");
    }

    #[test]
    fn the_countdown_ends_at_zero() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(countdown(now + Duration::from_millis(1500), now), "2 s");
        assert_eq!(countdown(now, now + Duration::from_secs(5)), "0 s");
    }
}
