//! Makes text that comes from elsewhere fit to be kept and shown.

/// `text` on one line: control characters and those that hide or reorder what a reader sees become spaces, runs of
/// spaces become one.
pub(crate) fn clean(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control() || is_invisible(c));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// As [`clean`], line by line; lines without text are left out.
pub(crate) fn clean_lines(text: &str) -> String {
    text.lines().map(clean).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The first `limit` characters of `text`.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    text.char_indices().nth(limit).map_or(text, |(end, _)| text.split_at(end).0)
}

/// The last `limit` characters of `text`.
pub(crate) fn tail(text: &str, limit: usize) -> &str {
    match limit.checked_sub(1) {
        Some(last) => text.char_indices().nth_back(last).map_or(text, |(start, _)| text.split_at(start).1),
        None => "",
    }
}

/// Zero-width characters and those that change the direction of writing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_gone() {
        assert_eq!(clean("\u{1b}[31mred\r\n\t and\0 more \u{85}\u{202e}txt "), "[31mred and more txt");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("aäöü", 2), "aä");
        assert_eq!(cut("aä", 2), "aä");
        assert_eq!(cut("", 0), "");
        assert_eq!(cut("ä", 0), "");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(clean_lines("a\u{1b}[1m  b\r\n\n \t\nc\u{2028}d\n"), "a [1m b\nc d");
    }

    #[test]
    fn a_tail_never_splits_a_character() {
        assert_eq!(tail("aäöü", 2), "öü");
        assert_eq!(tail("aä", 2), "aä");
        assert_eq!(tail("aä", 9), "aä");
        assert_eq!(tail("ä", 0), "");
        assert_eq!(tail("", 3), "");
    }
}
