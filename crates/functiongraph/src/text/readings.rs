//! Finds a secret in a text, in any encoding.
//!
//! Text and secret are both reduced to lower-case letters and digits, so case, folding and separators do not matter.
//! The text is read unchanged, without escapes, decoded from base64, and each of these backwards. The secret is
//! spelled plainly, in hex, in decimal and in base64. A match is any ten consecutive characters that one spelling and
//! one reading share, so a part of a secret is found as well.

use std::collections::HashSet;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use icu_normalizer::DecomposingNormalizerBorrowed;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// Consecutive characters that are a match.
const SHINGLE: usize = 10;

/// Minimum number of different characters in a shingle: ten zeros occur in many texts.
const DIFFERENT: usize = 4;

/// Shorter secrets are not searched for: one to a few characters occur in every text.
const SHORTEST: usize = 6;

/// Shortest run of base64 that is decoded.
const SHORTEST_RUN: usize = 12;

/// Number of escape layers that are removed: a gateway may escape a text that the service has already escaped.
const LAYERS: usize = 3;

/// Size of the bit set that quickly rules out most shingles.
const QUICK_BITS: usize = 1 << 16;

/// Accepts base64 without padding and base64 that is cut.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A text in all its possible readings.
pub(super) struct Readings {
    /// With all its escapes, and with fewer of them, in lower case.
    texts: Vec<String>,
    /// Reduced, forwards and backwards.
    reduced: Vec<String>,
    /// All shingles of `reduced`.
    shingles: HashSet<u128>,
    /// A bit for each shingle. Several shingles may share a bit.
    quick: Vec<u64>,
}

// === impl Readings ===

impl Readings {
    pub(super) fn of(text: &str) -> Self {
        let mut texts = vec![text.to_owned()];
        for _ in 0..LAYERS {
            let next = texts.last().map(|text| unescaped(text));
            match next.filter(|next| texts.last() != Some(next)) {
                Some(next) => texts.push(next),
                None => break,
            }
        }
        let mut reduced: Vec<String> =
            texts.iter().flat_map(|text| [reduced(text), from_base64(text)]).collect();
        let backwards: Vec<String> = reduced.iter().map(|text| text.chars().rev().collect()).collect();
        reduced.extend(backwards);
        reduced.retain(|text| text.len() >= SHORTEST);
        let mut readings = Self {
            texts: texts.iter().map(|text| text.to_lowercase()).collect(),
            reduced: Vec::new(),
            shingles: HashSet::new(),
            quick: vec![0; QUICK_BITS / 64],
        };
        for shingle in reduced.iter().flat_map(|text| shingles(text)) {
            let (word, bit) = quick(shingle);
            if let Some(word) = readings.quick.get_mut(word) {
                *word |= bit;
            }
            readings.shingles.insert(shingle);
        }
        Self { reduced, ..readings }
    }

    /// Whether the text repeats one of these secrets or a part of it.
    pub(super) fn any_repeats(&self, secrets: &[SecretString]) -> bool {
        secrets.iter().map(ExposeSecret::expose_secret).any(|secret| self.repeats(secret.trim()))
    }

    fn repeats(&self, secret: &str) -> bool {
        if secret.len() < SHORTEST {
            return false;
        }
        let plain = Zeroizing::new(reduced(secret));
        // A password of mostly punctuation leaves too little to search for.
        if plain.len() < SHORTEST && self.texts.iter().any(|text| text.contains(&secret.to_lowercase())) {
            return true;
        }
        self.holds(&plain) || spellings(secret).iter().any(|spelling| self.holds(spelling))
    }

    /// Whether a reading holds a spelling: a short one completely, otherwise any shingle of it.
    fn holds(&self, spelling: &str) -> bool {
        if spelling.len() < SHINGLE {
            return spelling.len() >= SHORTEST && self.reduced.iter().any(|text| text.contains(spelling));
        }
        shingles(spelling).any(|shingle| {
            let (word, bit) = quick(shingle);
            self.quick.get(word).is_some_and(|word| word & bit != 0)
                && self.shingles.contains(&shingle)
                && is_varied(shingle)
        })
    }
}

/// All runs of [`SHINGLE`] bytes, each as a number.
fn shingles(text: &str) -> impl Iterator<Item = u128> {
    const MASK: u128 = (1 << (8 * SHINGLE)) - 1;
    text.bytes()
        .scan(0_u128, |window, byte| {
            *window = ((*window << 8) | u128::from(byte)) & MASK;
            Some(*window)
        })
        .skip(SHINGLE - 1)
}

/// Position of a shingle's bit.
fn quick(shingle: u128) -> (usize, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "both halves count, and the rest is masked")]
    let mixed = (shingle as u64 ^ (shingle >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    let bit = usize::try_from(mixed).unwrap_or_default() % QUICK_BITS;
    (bit / 64, 1 << (bit % 64))
}

fn is_varied(shingle: u128) -> bool {
    let mut bytes = shingle.to_be_bytes();
    let kept = bytes.len() - SHINGLE;
    let (_, shingle) = bytes.split_at_mut(kept);
    shingle.sort_unstable();
    shingle.windows(2).filter(|pair| pair[0] != pair[1]).count() + 1 >= DIFFERENT
}

/// Only letters and digits, in lower case. Accented and full-width letters become plain ones.
fn reduced(text: &str) -> String {
    if text.is_ascii() {
        let kept = text.bytes().filter(u8::is_ascii_alphanumeric);
        return kept.map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    }
    let plain = DecomposingNormalizerBorrowed::new_nfkd().normalize(text);
    plain.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Other spellings of a secret, each reduced.
fn spellings(secret: &str) -> Vec<Zeroizing<String>> {
    let mut all = vec![hex(secret.as_bytes()), decimal(secret.as_bytes())];
    // Base64 encodes a secret in three ways, depending on its offset.
    for before in 0..3 {
        let bytes = Zeroizing::new([&[0; 3][..before], secret.as_bytes()].concat());
        let text = Zeroizing::new(STANDARD.encode(&*bytes));
        // The first and last characters depend on the neighbouring text.
        let first = if before == 0 { 0 } else { before + 1 };
        let last = (bytes.len() * 4) / 3;
        all.push(reduced(text.get(first..last).unwrap_or_default()));
    }
    all.into_iter().map(Zeroizing::new).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn decimal(bytes: &[u8]) -> String {
    let digit = |number: u8| char::from(b'0' + number % 10);
    let digits = |byte: u8| {
        [(byte > 99).then(|| digit(byte / 100)), (byte > 9).then(|| digit(byte / 10)), Some(digit(byte))]
    };
    bytes.iter().flat_map(|byte| digits(*byte)).flatten().collect()
}

/// The decoded runs of base64 in a text, from every offset; only their ASCII letters and digits, in lower case.
fn from_base64(text: &str) -> String {
    let packed: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let mut decoded = String::new();
    for run in packed.split(|byte| !is_part(byte)).filter(|run| run.len() >= SHORTEST_RUN) {
        for begin in 0..4 {
            let piece = run.get(begin..).unwrap_or_default();
            // A single character is less than a byte.
            let whole = piece.len() - usize::from(piece.len() % 4 == 1);
            let bytes = piece.get(..whole).and_then(|piece| LENIENT.decode(piece).ok()).unwrap_or_default();
            let kept = bytes.into_iter().filter(u8::is_ascii_alphanumeric);
            decoded.extend(kept.map(|byte| char::from(byte.to_ascii_lowercase())));
        }
    }
    decoded
}

/// `text` without one layer of escapes: of URLs, of HTML, and of strings in JSON, C and Python.
fn unescaped(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['%', '\\', '&', '0']) {
        let (before, escape) = rest.split_at(at);
        plain.extend_from_slice(before.as_bytes());
        if let Some((bytes, length)) = escaped(escape) {
            plain.extend(bytes);
            rest = escape.get(length..).unwrap_or_default();
        } else {
            let (first, after) = escape.split_at(1);
            plain.extend_from_slice(first.as_bytes());
            rest = after;
        }
    }
    plain.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&plain).into_owned()
}

/// The decoded escape at the beginning of `text`, and its length.
fn escaped(text: &str) -> Option<(Vec<u8>, usize)> {
    let hex = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    let byte = |from: usize| Some((vec![u8::try_from(hex(from, from + 2)?).ok()?], from + 2));
    let character = |code: u32, length: usize| Some((char::from_u32(code)?.to_string().into_bytes(), length));
    match text.as_bytes() {
        [b'%', ..] => byte(1),
        [b'0', b'x' | b'X', ..] | [b'\\', b'x', ..] => byte(2),
        [b'\\', b'u', ..] => character(hex(2, 6)?, 6),
        [b'\\', b'U', ..] => character(hex(2, 10)?, 10),
        [b'\\', b'0'..=b'3', ..] => {
            let digits = text.get(1..4)?;
            Some((vec![u8::from_str_radix(digits, 8).ok()?], 4))
        }
        [b'\\', other @ (b'\\' | b'/' | b'"' | b'\''), ..] => Some((vec![*other], 2)),
        [b'&', ..] => entity(text),
        _ => None,
    }
}

/// The decoded HTML entity at the beginning of `text`.
fn entity(text: &str) -> Option<(Vec<u8>, usize)> {
    /// Longest entity that is read: `&#x0010ffff;`.
    const LONGEST: usize = 12;
    let end = text.bytes().take(LONGEST).position(|byte| byte == b';')?;
    let name = text.get(1..end)?;
    let code = match (name, name.strip_prefix('#')) {
        ("amp", _) => u32::from('&'),
        ("lt", _) => u32::from('<'),
        ("gt", _) => u32::from('>'),
        ("quot", _) => u32::from('"'),
        ("apos", _) => u32::from('\''),
        (_, Some(number)) => match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        },
        _ => return None,
    };
    Some((char::from_u32(code)?.to_string().into_bytes(), end + 1))
}
