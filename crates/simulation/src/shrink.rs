//! Shortens what happens in a simulation that breaks a promise, as long as it breaks it.

use std::collections::BTreeSet;

/// The shortest list that is found by leaving out parts, halves first and then ever smaller ones. `fails` plays what is kept
/// and returns what of it has happened, if it still breaks the promise.
pub fn shrink(
    mut names: Vec<String>,
    mut fails: impl FnMut(&BTreeSet<String>) -> Option<Vec<String>>,
) -> Vec<String> {
    let mut size = names.len().div_ceil(2);
    while size > 0 {
        let mut begin = 0;
        let before = names.len();
        while begin < names.len() {
            let end = (begin + size).min(names.len());
            let kept = names[..begin].iter().chain(&names[end..]).cloned().collect();
            match fails(&kept) {
                // What was kept and did not happen is not needed either.
                Some(happened) => names = happened,
                None => begin = end,
            }
        }
        if size > 1 || names.len() == before {
            size /= 2;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_needed() {
        let all = (0..100).map(|number| number.to_string()).collect();
        let mut played = 0;
        let shortest = shrink(all, |kept| {
            played += 1;
            let fails = ["7", "8", "93"].iter().all(|needed| kept.contains(*needed));
            fails.then(|| kept.iter().cloned().collect())
        });
        assert_eq!(shortest, ["7", "8", "93"]);
        assert!(played < 60, "{played}");
    }
}
