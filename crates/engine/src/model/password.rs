//! What a new password must be: long enough, short enough to hash, and not the first thing an attacker tries.
//!
//! There are no rules about kinds of characters. The whole password counts: nothing is cut off, trimmed or folded.
//!
//! `common_passwords.txt` holds the 5000 most frequent passwords of eight characters and more, sorted by byte, from
//! the frequency list of the Python package `zxcvbn` 4.5.0 (MIT licence, copyright 2016 Daniel Wolf), a port of
//! Dropbox's zxcvbn (MIT licence, copyright 2012-2016 Dan Wheeler and Dropbox, Inc.).

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Longest password in bytes of UTF-8, as sent and after [`normalise`]: hashing a request body must have a price limit.
pub const MAX_BYTES: usize = 1024;

/// Least length at which the further rules apply. Below it a shop has asked for Medusa's answers.
const RULES_FROM: usize = 8;

/// How many characters before and after a context word do not yet make a password of it.
const MARGIN: usize = 4;

/// Context words below this length occur in good passwords by chance.
const SHORTEST_CONTEXT: usize = 4;

/// Why a password is not taken. The text is for the person who chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("Password must be at least {min} characters long")]
    TooShort { min: usize },
    #[error("Password must be at most {} bytes long", MAX_BYTES)]
    TooLong,
    #[error("Password is too common")]
    TooCommon,
    #[error("Password must not contain the name of the shop or your address")]
    Context,
}

/// The form that is hashed: NFC, so that an accent typed on another keyboard is the same accent. Nothing else is changed.
///
/// The work grows with the input, so callers refuse more than [`MAX_BYTES`] before.
#[must_use]
pub fn normalise(password: &str) -> Zeroizing<String> {
    // NFC makes UTF-8 at most three times longer. A string that grew would leave a copy behind that nobody wipes.
    let mut normal = Zeroizing::new(String::with_capacity(password.len().saturating_mul(3)));
    normal.extend(password.nfc());
    normal
}

/// Checks a password that somebody wants to set. `min_length` counts code points of the normalised password.
///
/// `context` holds words that an attacker would guess for this account: the shop's slug, the local part of the address.
/// A password that is such a word, in any case, with up to four further characters before and after it, is refused.
/// Below a `min_length` of 8 neither these words nor the list of common passwords are consulted.
pub fn check(password: &str, min_length: usize, context: &[&str]) -> Result<(), Refused> {
    // Before normalising, whose work grows with the input; and after, because it may lengthen.
    if password.len() > MAX_BYTES {
        return Err(Refused::TooLong);
    }
    let normal = normalise(password);
    if normal.len() > MAX_BYTES {
        return Err(Refused::TooLong);
    }
    if normal.chars().count() < min_length {
        return Err(Refused::TooShort { min: min_length });
    }
    if min_length < RULES_FROM {
        return Ok(());
    }
    let lower = lower_case(&normal);
    if COMMON.binary_search(&lower.as_str()).is_ok() {
        return Err(Refused::TooCommon);
    }
    if context.iter().any(|word| is_built_on(&lower, word)) { Err(Refused::Context) } else { Ok(()) }
}

/// The common passwords, lower case, in the order of the file, which is that of their bytes.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// Whether `password`, in lower case, is `word` with little around it.
fn is_built_on(password: &str, word: &str) -> bool {
    let word = lower_case(&normalise(word));
    if word.chars().count() < SHORTEST_CONTEXT {
        return false;
    }
    // Every start within the margin is tried, because a word may overlap itself: `nananana`.
    password.char_indices().take(MARGIN + 1).any(|(start, _)| {
        let rest = password.get(start..).and_then(|tail| tail.strip_prefix(word.as_str()));
        rest.is_some_and(|rest| rest.chars().count() <= MARGIN)
    })
}

/// By character, so that the result does not depend on the neighbours.
fn lower_case(text: &str) -> Zeroizing<String> {
    // No lower-case form is more than twice as long in UTF-8; see `normalise` for why it must not grow.
    let mut lower = Zeroizing::new(String::with_capacity(text.len().saturating_mul(2)));
    lower.extend(text.chars().flat_map(char::to_lowercase));
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_the_documented_ones() {
        assert_eq!(Refused::TooShort { min: 8 }.to_string(), "Password must be at least 8 characters long");
        assert_eq!(Refused::TooShort { min: 15 }.to_string(), "Password must be at least 15 characters long");
        assert_eq!(Refused::TooLong.to_string(), "Password must be at most 1024 bytes long");
        assert_eq!(Refused::TooCommon.to_string(), "Password is too common");
        assert_eq!(Refused::Context.to_string(), "Password must not contain the name of the shop or your address");
    }

    #[test]
    fn r16_length_is_counted_in_code_points_after_nfc() {
        // Seven and fourteen code points; one more is enough. An emoji counts once, its parts each, a composed pair once.
        for (text, min) in [("zkwmqxv", 8), ("zkwmqxvzkwmqxv", 15), ("\u{1F511}zkwmqx", 8), ("\u{1F511}zkwmqxvzkwmqx", 15), ("e\u{301}zkwmqx", 8)] {
            assert_eq!(check(text, min, &[]), Err(Refused::TooShort { min }), "{text:?}");
            assert_eq!(check(&format!("{text}\u{1F510}"), min, &[]), Ok(()), "{text:?}");
        }
        assert_eq!(check("\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}\u{200D}\u{1F466}\u{1F511}", 8, &[]), Ok(()));
        assert_eq!(check("", 1, &[]), Err(Refused::TooShort { min: 1 }));
    }

    #[test]
    fn r17_the_maximum_is_1024_bytes() {
        for length in [64, 1023, MAX_BYTES] {
            assert_eq!(check(&"z".repeat(length), 8, &[]), Ok(()));
        }
        assert_eq!(check(&"z".repeat(MAX_BYTES + 1), 8, &[]), Err(Refused::TooLong));
        assert_eq!(check(&"\u{1F511}".repeat(256), 8, &[]), Ok(()));
        assert_eq!(check(&"\u{1F511}".repeat(257), 8, &[]), Err(Refused::TooLong));
        // NFC takes U+1D160 apart, from 4 bytes to 12.
        assert_eq!(check(&"\u{1D160}".repeat(86), 8, &[]), Err(Refused::TooLong));
        assert_eq!(check(&"\u{1D160}".repeat(85), 8, &[]), Ok(()));
        // The length decides alone, also where all else is off.
        assert_eq!(check(&"\u{1D160}".repeat(2_500_000), 1, &[]), Err(Refused::TooLong));
    }

    #[test]
    fn r18_nothing_is_asked_of_the_composition() {
        for text in
            ["zkwmqxvbnthrdplsgfjc", "9174028365", "        ", "\u{5BC6}\u{7801}\u{5BC6}\u{7801}\u{5BC6}\u{7801}\u{5BC6}\u{7801}", "supersecret1!"]
        {
            assert_eq!(check(text, 8, &[]), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn r19_common_passwords_are_refused_in_any_case() {
        let samples = "password 12345678 123456789 1234567890 baseball football qwertyuiop superman 1qaz2wsx trustno1 sunshine iloveyou \
            computer starwars princess 11111111 corvette 1234qwer internet samantha q1w2e3r4t5 maverick whatever mercedes steelers \
            qwer1234 hardcore q1w2e3r4 midnight bigdaddy password1 PASSWORD Password PassWord1 QwertyUiop ILoveYou TRUSTNO1";
        for text in samples.split_whitespace() {
            assert_eq!(check(text, 8, &[]), Err(Refused::TooCommon), "{text}");
        }
        for text in ["supersecret1!", "supersecret", "password1!!", " password", "password ", "password\0"] {
            assert_eq!(check(text, 8, &[]), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn r19_the_list_is_complete_and_in_order() {
        assert_eq!(COMMON.len(), 5000);
        assert!(COMMON.is_sorted_by(|a, b| a < b), "binary search needs the order");
        for word in COMMON.iter() {
            assert!(word.len() >= 8 && word.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()), "{word:?}");
            assert_eq!(check(word, 8, &[]), Err(Refused::TooCommon), "{word}");
        }
    }

    #[test]
    fn r19_words_of_the_context_are_refused() {
        const CONTEXT: [&str; 5] = ["blumenladen", "ann.lee", "\u{D6}zg\u{FC}r", "bob", ""];
        for text in
            ["blumenladen", "BLUMENladen", "blumenladen2024", "2024blumenladen", "!!blumenladen!!", "2024Blumenladen2024", "Ann.Lee1", "1ann.lee"]
        {
            assert_eq!(check(text, 8, &CONTEXT), Err(Refused::Context), "{text}");
        }
        assert_eq!(check("o\u{308}zgu\u{308}r123", 8, &CONTEXT), Err(Refused::Context));
        for text in ["blumenladen20245", "12024blumenladen", "blumen-laden", "bob12345", "bobbobbob", "zkwmqxvb"] {
            assert_eq!(check(text, 8, &CONTEXT), Ok(()), "{text}");
        }
        assert_eq!(check("nananananana", 8, &["nananana"]), Err(Refused::Context));
        assert_eq!(check("\u{1F511}\u{1F511}\u{1F511}\u{1F511}acme", 8, &["acme"]), Err(Refused::Context));
    }

    #[test]
    fn below_eight_only_the_length_counts() {
        for text in ["password", "acmeacme", "1"] {
            assert_eq!(check(text, 1, &["acmeacme"]), Ok(()), "{text}");
        }
        assert_eq!(check("secret", 7, &[]), Err(Refused::TooShort { min: 7 }));
        assert_eq!(check("password", 7, &[]), Ok(()));
    }

    #[test]
    fn r21_the_whole_password_counts() {
        let long = "z".repeat(MAX_BYTES);
        for byte in [72, 73, 128, 129, MAX_BYTES] {
            let mut other = long.clone();
            other.replace_range(byte - 1..byte, "y");
            assert_ne!(normalise(&long), normalise(&other), "byte {byte}");
        }
        for text in [" zkwmqxvb ", "zkwmqxvb\n", "a\0b", "a\0c", "ZkWmQxVb", "\u{FB01}\u{212B}ﬀ"] {
            assert_eq!(normalise(text).as_str(), text.replace('\u{212B}', "\u{C5}"), "{text:?}");
        }
        assert_ne!(normalise("a\0b"), normalise("a\0c"));
    }

    #[test]
    fn r22_composed_and_decomposed_are_one_password() {
        assert_eq!(normalise("\u{E9}t\u{E9}-\u{1EC7}\u{D55C}"), normalise("e\u{301}te\u{301}-e\u{323}\u{302}\u{1112}\u{1161}\u{11AB}"));
        // Compatibility forms are different characters, and a person may have meant them.
        assert_ne!(normalise("\u{FF41}"), normalise("a"));
    }

    #[test]
    fn no_character_outgrows_the_room_set_aside_for_it() {
        for c in '\0'..=char::MAX {
            let bytes = |text: &mut dyn Iterator<Item = char>| text.map(char::len_utf8).sum::<usize>();
            assert!(bytes(&mut c.nfc()) <= 3 * c.len_utf8() && bytes(&mut c.to_lowercase()) <= 2 * c.len_utf8(), "{c:?}");
        }
    }
}
