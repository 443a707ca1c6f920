//! The name of a function: `urn:fss:<region>:<project>:function:<package>:<name>[:<version>|:!<alias>]`.

use std::fmt;
use std::str::FromStr;

use crate::percent;

/// Longest URN the service takes, in characters.
pub const MAX_LENGTH: usize = 269;

/// Package of a function that was created without naming one.
pub const DEFAULT_PACKAGE: &str = "default";

/// Longest name of a function, in characters.
const MAX_NAME: usize = 60;

/// Longest alias, in characters.
const MAX_ALIAS: usize = 64;

/// Longest version, in characters.
const MAX_VERSION: usize = 42;

/// A region becomes one label of a host name, and DNS limits those.
const MAX_REGION: usize = 63;

/// The full name of a version or an alias of a function.
///
/// # Guarantees
/// Every part is valid: a value of this type is safe in a path or a header, and `region` in a host name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionUrn {
    region: String,
    project_id: String,
    package: String,
    name: String,
    qualifier: Qualifier,
}

/// The code of a function that a URN means.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qualifier {
    /// The newest code; `latest` in a URN.
    #[default]
    Latest,
    /// A published version, by its name.
    Version(String),
    /// An alias, by its name without the `!` that marks it in a URN.
    Alias(String),
}

/// Why a text is not the URN of a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrnError {
    /// It is not one of the two full forms. The short forms take region and project from the credential.
    #[error(
        "not a full function URN: expected urn:fss:<region>:<project id>:function:<package>:<name>, \
         with or without :<version> or :!<alias> at the end"
    )]
    Form,
    /// It is longer than the service accepts.
    #[error("the URN has {0} characters; at most {MAX_LENGTH} are allowed")]
    TooLong(usize),
    /// One part breaks its rule.
    #[error("{part} of the URN is not valid: expected {rule}")]
    Part {
        /// Name of the part, for use in a sentence.
        part: &'static str,
        /// Description of a valid part.
        rule: &'static str,
    },
}

// === impl FunctionUrn ===

impl FunctionUrn {
    /// Builds a URN from its parts.
    ///
    /// # Errors
    /// The first invalid part, or a total of more than [`MAX_LENGTH`] characters.
    pub fn new(
        region: &str,
        project_id: &str,
        package: &str,
        name: &str,
        qualifier: Qualifier,
    ) -> Result<Self, UrnError> {
        check(
            region.len() <= MAX_REGION
                && starts_with(region, is_lower_or_digit)
                && ends_with(region, is_lower_or_digit)
                && region.bytes().all(|byte| is_lower_or_digit(byte) || byte == b'-'),
            "the region",
            "lower-case letters, digits and inner hyphens, such as eu-de",
        )?;
        check(
            !project_id.is_empty() && project_id.bytes().all(is_word),
            "the project id",
            "letters, digits, '_' and '-', usually 32 hexadecimal digits",
        )?;
        check(
            !package.is_empty() && package.bytes().all(is_word_or_dot),
            "the package",
            "letters, digits, '_', '-' and '.', usually default",
        )?;
        check(
            is_name(name, MAX_NAME),
            "the function name",
            "1 to 60 letters, digits, '_' and '-', a letter first, a letter or digit last",
        )?;
        check_qualifier(&qualifier)?;
        let urn = Self {
            region: region.to_owned(),
            project_id: project_id.to_owned(),
            package: package.to_owned(),
            name: name.to_owned(),
            qualifier,
        };
        let length = urn.to_string().len();
        if length > MAX_LENGTH { Err(UrnError::TooLong(length)) } else { Ok(urn) }
    }

    /// Region of the function, such as `eu-de`.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Project the function belongs to.
    #[must_use]
    pub fn project_id(&self) -> &str {
        &self.project_id
    }

    /// Package (group) of the function.
    #[must_use]
    pub fn package(&self) -> &str {
        &self.package
    }

    /// Name of the function.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version or alias of the function.
    #[must_use]
    pub fn qualifier(&self) -> &Qualifier {
        &self.qualifier
    }

    /// `package:name:qualifier`, for readers who know the project.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}:{}:{}", self.package, self.name, self.qualifier)
    }

    /// The whole URN as one percent-encoded path segment: `:` is `%3A`, `!` is `%21`.
    ///
    /// General URL libraries do not encode these characters in a path; the official SDK does.
    #[must_use]
    pub fn path_segment(&self) -> String {
        percent::encode(&self.to_string())
    }
}

/// The full form with eight fields. A URN parsed from seven fields gets `:latest`.
impl fmt::Display for FunctionUrn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, project_id, package, name, qualifier } = self;
        write!(f, "urn:fss:{region}:{project_id}:function:{package}:{name}:{qualifier}")
    }
}

impl FromStr for FunctionUrn {
    type Err = UrnError;

    fn from_str(text: &str) -> Result<Self, UrnError> {
        // Check the length first, so that a huge text is never split.
        let length = text.chars().count();
        if length > MAX_LENGTH {
            return Err(UrnError::TooLong(length));
        }
        let fields: Vec<&str> = text.split(':').collect();
        let (full, qualifier) = match fields.as_slice() {
            [full @ .., qualifier] if full.len() == 7 => (full, qualifier.parse()?),
            full => (full, Qualifier::Latest),
        };
        let ["urn", "fss", region, project_id, "function", package, name] = full else {
            return Err(UrnError::Form);
        };
        Self::new(region, project_id, package, name, qualifier)
    }
}

// === impl Qualifier ===

/// As in a URN: `latest`, a version, or `!` and an alias.
impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Version(version) => f.write_str(version),
            Self::Alias(alias) => write!(f, "!{alias}"),
        }
    }
}

impl FromStr for Qualifier {
    type Err = UrnError;

    fn from_str(text: &str) -> Result<Self, UrnError> {
        let qualifier = match text.strip_prefix('!') {
            Some(alias) => Self::Alias(alias.to_owned()),
            None if text == "latest" => Self::Latest,
            None => Self::Version(text.to_owned()),
        };
        check_qualifier(&qualifier)?;
        Ok(qualifier)
    }
}

// === rules ===

fn check_qualifier(qualifier: &Qualifier) -> Result<(), UrnError> {
    match qualifier {
        Qualifier::Latest => Ok(()),
        // A version called "latest" would be read back as the latest code.
        Qualifier::Version(version) => check(
            version != "latest"
                && version.len() <= MAX_VERSION
                && starts_with(version, |byte| byte.is_ascii_alphanumeric())
                && ends_with(version, |byte| byte.is_ascii_alphanumeric())
                && version.bytes().all(is_word_or_dot),
            "the version",
            "1 to 42 letters, digits, '_', '-' and '.', a letter or digit first and last",
        ),
        Qualifier::Alias(alias) => check(
            is_name(alias, MAX_ALIAS),
            "the alias",
            "1 to 64 letters, digits, '_' and '-' after the '!', a letter first, a letter or digit last",
        ),
    }
}

fn check(holds: bool, part: &'static str, rule: &'static str) -> Result<(), UrnError> {
    if holds { Ok(()) } else { Err(UrnError::Part { part, rule }) }
}

fn is_name(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && starts_with(text, |byte| byte.is_ascii_alphabetic())
        && ends_with(text, |byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(is_word)
}

fn starts_with(text: &str, rule: fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(rule)
}

fn ends_with(text: &str, rule: fn(u8) -> bool) -> bool {
    text.bytes().next_back().is_some_and(rule)
}

fn is_lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_word_or_dot(byte: u8) -> bool {
    is_word(byte) || byte == b'.'
}

#[cfg(test)]
mod tests;
