//! Valid names of a Secret, a ConfigMap, a ServiceAccount or a provider. A name becomes part of a URL path.

/// The rule of the schema: a DNS subdomain, as in Kubernetes.
pub const OBJECT_NAME: &str =
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";

/// The schema's message for an invalid name.
pub const NO_OBJECT_NAME: &str = "this is not a valid object name: use lower-case letters, digits, '-' and '.', and begin and end with a letter or a digit";

/// The same rule, for objects that were stored before the schema had it.
pub fn is_object_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

/// Whether a text may be the name of a namespace: a DNS label, as Kubernetes has it.
pub fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

fn is_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(|first| is_word(*first))
        && bytes.last().is_some_and(|last| is_word(*last))
        && bytes.iter().all(|byte| is_word(*byte) || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t21_only_valid_names_get_into_a_path() {
        for name in ["a", "0", "my-map.v1", "a--b", &"a".repeat(253)] {
            assert!(is_object_name(name), "{name}");
        }
        let long = "a".repeat(254);
        for name in [
            "",
            ".",
            "..",
            "../../x/secrets/y",
            "x?y",
            "a b",
            "a/b",
            "A",
            "-a",
            "a-",
            "a..b",
            "a%2fb",
            "ä",
            "a\n",
            &long,
        ] {
            assert!(!is_object_name(name), "{name:?}");
            assert!(!is_label(name), "{name:?}");
        }
    }

    #[test]
    fn the_name_of_a_namespace_has_no_dot_and_at_most_63_characters() {
        assert!(is_label("team-a") && is_label(&"a".repeat(63)));
        assert!(!is_label("team.a") && !is_label(&"a".repeat(64)));
    }
}
