//! One page of a list: the query, and the markers in the answer.

use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::request::Request;

/// One page. A marker is the number of entries before the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    marker: usize,
    limit: usize,
}

impl Page {
    /// Reads `marker` and the limit, whose name depends on the API. The limit is `default` if absent or zero, and at
    /// most `max`.
    pub(super) fn read(request: &Request, limit: &str, default: usize, max: usize) -> Result<Self, Refusal> {
        let number = |name| match request.parameter(name) {
            Some(value) => value.parse().map_err(|_| Refusal::InvalidParameter),
            None => Ok(0),
        };
        let marker = number("marker")?;
        let limit = match number(limit)? {
            0 => default,
            limit => limit.min(max),
        };
        Ok(Self { marker, limit })
    }

    /// The entries on this page.
    pub(super) fn of<'t, T>(&self, all: &'t [T]) -> &'t [T] {
        let rest = all.get(self.marker..).unwrap_or_default();
        rest.get(..self.limit).unwrap_or(rest)
    }

    /// The marker of the next page, if there is one.
    pub(super) fn next(&self, shown: usize) -> usize {
        self.marker.saturating_add(shown)
    }

    /// `page_info`, which has the next marker also on the last page.
    pub(super) fn info(&self, shown: usize) -> Value {
        json!({
            "next_marker": self.next(shown),
            "previous_marker": self.marker.saturating_sub(self.limit),
            "current_count": shown,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;

    fn page(query: &str) -> Result<Page, Refusal> {
        let uri: Uri = format!("/?{query}").parse().unwrap();
        Page::read(&Request::new(Method::GET, &uri, HeaderMap::new(), "".into()), "limit", 2, 3)
    }

    #[test]
    fn a_limit_is_the_default_the_number_or_the_most_there_is() {
        for (query, expected) in [("", 2), ("limit=", 2), ("limit=0", 2), ("limit=1", 1), ("limit=9", 3)] {
            assert_eq!(page(query).unwrap().of(&[1, 2, 3, 4, 5]).len(), expected, "{query}");
        }
        for query in ["limit=-1", "limit=x", "marker=-1", "marker=x"] {
            assert_eq!(page(query), Err(Refusal::InvalidParameter), "{query}");
        }
    }

    #[test]
    fn a_page_knows_its_neighbours() {
        let all = [1, 2, 3, 4, 5];
        let middle = page("marker=3&limit=1").unwrap();
        assert_eq!(middle.of(&all), [4]);
        assert_eq!(middle.info(1), json!({"next_marker": 4, "previous_marker": 2, "current_count": 1}));
        let behind = page("marker=9").unwrap();
        assert_eq!(behind.of(&all), [] as [i32; 0]);
        assert_eq!(behind.info(0), json!({"next_marker": 9, "previous_marker": 7, "current_count": 0}));
    }
}
