//! Makes text that comes from elsewhere fit to be kept and shown.

/// `text` on one line: control characters and those that hide or reorder what a reader sees become spaces, runs of
/// spaces become one.
pub(crate) fn clean(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control() || is_invisible(c));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The first `limit` characters of `text`.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    text.char_indices().nth(limit).map_or(text, |(end, _)| text.split_at(end).0)
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
}
