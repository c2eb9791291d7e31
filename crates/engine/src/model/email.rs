//! E-mail addresses: one look-up form per mailbox, and nothing that could pass for somebody else's.
//!
//! An address has two faces. Mail goes to the one its owner wrote; accounts are found by the other, the key:
//! local part in NFKC and lower case, domain as lower-case A-labels. Folding can make two spellings meet, so
//! whatever would fold from outside ASCII into it is refused instead of folded.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest address and longest local part, in octets (RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.3).
const MAX_ADDRESS: usize = 254;
const MAX_LOCAL: usize = 64;

/// Longest text that is looked at, white space around the address included: even trimming must not cost a megabyte.
const MAX_TEXT: usize = 2 * MAX_ADDRESS;

/// An address that is valid by its type.
///
/// Equality is that of the spelling. Whether two addresses mean one account is a question to [`Email::key`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email {
    as_written: String,
    key: String,
    /// Where the at sign stands in `key`.
    at: usize,
}

/// The text is no address, or one that could be taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Invalid email address")]
pub struct InvalidEmail;

impl Email {
    /// Reads exactly one bare address; white space around it is dropped.
    ///
    /// Accepted are a dot-atom, with letters of any script, and a host name, also one of a single label
    /// (`a@localhost`), as browsers do and as development needs. Not accepted are display names, comments,
    /// quoted local parts, IP addresses, and characters that mapping would turn into ASCII or drop.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        if text.len() > MAX_TEXT {
            return Err(InvalidEmail);
        }
        let written = text.trim();
        // An at sign may also be born of normalisation: U+FF20, U+FE6B.
        let at_signs = written.nfkc().filter(|c| *c == '@').count();
        if written.len() > MAX_ADDRESS || at_signs != 1 || written.chars().any(folds_into_ascii) {
            return Err(InvalidEmail);
        }
        let (local, domain) = written.split_once('@').ok_or(InvalidEmail)?;
        let local = local_key(local)?;
        let key = format!("{local}@{}", domain_key(domain)?);
        if key.len() > MAX_ADDRESS {
            return Err(InvalidEmail);
        }
        Ok(Self { as_written: written.into(), key, at: local.len() })
    }

    /// The address as its owner wrote it, trimmed. Mail goes here.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.as_written
    }

    /// The form for look-up: equal for all spellings of one address. A key is itself an address, and its own key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What stands before the at sign in the key.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.key.split_at_checked(self.at).map_or("", |(local, _)| local)
    }
}

/// Folds a local part. The rules hold before and after, because normalisation lengthens text and turns symbols into letters.
fn local_key(local: &str) -> Result<String, InvalidEmail> {
    let key: String = local.nfkc().collect::<String>().to_lowercase().nfkc().collect();
    // A composed character may fold where its parts did not: I with U+0307 is U+0130.
    if is_local_part(local) && is_local_part(&key) && !local.nfkc().any(folds_into_ascii) { Ok(key) } else { Err(InvalidEmail) }
}

/// Maps a domain to lower-case A-labels.
fn domain_key(domain: &str) -> Result<String, InvalidEmail> {
    let idna = Uts46::new();
    // Decoding proves every `xn--` label: one that holds plain ASCII or does not encode back to itself is refused.
    let key = idna.to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify).map_err(|_| InvalidEmail)?;
    let (unicode, valid) = idna.to_unicode(key.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    // UTS 46 also drops characters (U+00AD) and makes full stops (U+3002), so what it made must be what was written.
    let faithful = domain.split('.').count() == unicode.split('.').count()
        && domain.split('.').zip(unicode.split('.')).all(|(written, mapped)| is_a_label(written) || folded(written) == mapped);
    if valid.is_ok() && faithful && !ends_in_number(&key) { Ok(key.into_owned()) } else { Err(InvalidEmail) }
}

/// Whether NFKC or lower-casing makes ASCII of a character outside ASCII, wholly or in part: the Kelvin sign, ſ, ﬁ, Ａ, ½.
fn folds_into_ascii(c: char) -> bool {
    !c.is_ascii() && (c.nfkc().any(|n| n.is_ascii()) || c.to_lowercase().any(|l| l.is_ascii()))
}

/// A dot-atom (RFC 5322, section 3.2.3) whose atoms may also hold letters and digits of other scripts (RFC 6531).
fn is_local_part(text: &str) -> bool {
    text.len() <= MAX_LOCAL && text.split('.').all(|atom| !atom.is_empty() && is_atom(atom))
}

/// Outside ASCII only what is visible. A mark must follow the letter that carries it; on a sign it would compose to another.
fn is_atom(text: &str) -> bool {
    let mut after_letter = false;
    text.chars().all(|c| {
        let mark = is_combining_mark(c) && after_letter;
        after_letter = c.is_alphanumeric() || mark;
        !is_invisible(c) && (after_letter || "!#$%&'*+-/=?^_`{|}~".contains(c))
    })
}

/// The letters and marks that show nothing (`Default_Ignorable_Code_Point`); other invisible characters are neither.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FFA0}' | '\u{E0100}'..='\u{E01EF}')
}

fn is_a_label(label: &str) -> bool {
    label.is_ascii() && label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"))
}

/// A label as UTS 46 has to leave it. By character: in a domain a capital sigma becomes σ also at the end of a word.
fn folded(label: &str) -> String {
    label.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// No host name ends in a number (RFC 1123, section 2.1), but IPv4 addresses do, written as `127.0.0.1`, `2130706433` or `0x7f000001`.
fn ends_in_number(domain: &str) -> bool {
    let last = domain.rsplit('.').next().unwrap_or_default();
    let (digits, radix) = last.strip_prefix("0x").map_or((last, 10), |hex| (hex, 16));
    digits.chars().all(|c| c.is_digit(radix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        Email::parse(text).unwrap_or_else(|_| panic!("{text:?} should be an address")).key().to_owned()
    }

    fn assert_refused<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) {
        for text in texts {
            let text = text.as_ref();
            assert_eq!(Email::parse(text), Err(InvalidEmail), "{text:?}");
        }
    }

    /// The characters outside ASCII, without spaces, which are trimmed, and without the scripts that know no case and no compatibility with ASCII.
    fn folding_characters() -> impl Iterator<Item = char> {
        let ranges = ['\u{80}'..='\u{33FF}', '\u{A000}'..='\u{ABFF}', '\u{F900}'..='\u{10FFF}', '\u{1D000}'..='\u{1FBFF}', '\u{E0000}'..='\u{E01FF}'];
        ranges.into_iter().flatten().filter(|c| !c.is_whitespace())
    }

    #[test]
    fn the_message_is_the_documented_one() {
        assert_eq!(InvalidEmail.to_string(), "Invalid email address");
    }

    #[test]
    fn r1_every_spelling_of_an_address_has_one_key() {
        for text in ["a@x.test", "A@X.test", "a@X.TEST", "  a@x.test\t", "\u{3000}a@x.test\u{A0}", "a@x.test\r\n"] {
            assert_eq!(key(text), "a@x.test", "{text:?}");
        }
    }

    #[test]
    fn mail_goes_to_the_address_as_written() {
        let email = Email::parse(" Ann.Lee@B\u{FC}cher.Example ").unwrap();
        assert_eq!(email.as_written(), "Ann.Lee@B\u{FC}cher.Example");
        assert_eq!(email.key(), "ann.lee@xn--bcher-kva.example");
        assert_eq!(email.local_part(), "ann.lee");
    }

    #[test]
    fn ordinary_and_rare_forms_are_accepted() {
        let table = [
            ("o'brien+tag@mail.example.com", "o'brien+tag@mail.example.com"),
            ("!#$%&'*+-/=?^_`{|}~@x.test", "!#$%&'*+-/=?^_`{|}~@x.test"),
            ("a@localhost", "a@localhost"),
            ("a@3com.test", "a@3com.test"),
            ("a@1.2.3.test", "a@1.2.3.test"),
            ("JÖRG@x.test", "jörg@x.test"),
            ("jo\u{308}rg@x.test", "jörg@x.test"),
            ("用户@例え.テスト", "用户@xn--r8jz45g.xn--zckzah"),
            ("क्षि@x.test", "क्षि@x.test"),
        ];
        for (text, expected) in table {
            assert_eq!(key(text), expected, "{text:?}");
        }
    }

    #[test]
    fn r2_exactly_one_at_sign_before_and_after_nfkc() {
        assert_refused(["", "a", "@", "a@", "@x.test", "a@@x.test", "a@b@x.test", "v@x.test\u{FF20}evil.test", "v\u{FF20}x.test"]);
        assert_refused(["v\u{FE6B}x.test", "v@x.test\u{FE6B}evil.test", "v\u{FE6B}evil@x.test"]);
    }

    #[test]
    fn r3_look_alikes_that_fold_into_ascii_are_refused() {
        // Kelvin sign, long s, ligature, fullwidth, superscript, ordinal, digraph, ŉ, İ whole and in parts, fraction.
        for local in [
            "\u{212A}im",
            "li\u{17F}a",
            "\u{FB01}n",
            "\u{FF41}nn",
            "a\u{B2}",
            "ann\u{AA}",
            "\u{1C4}on",
            "\u{149}",
            "\u{130}da",
            "I\u{307}da",
            "\u{BD}",
        ] {
            assert_refused([format!("{local}@x.test")]);
        }
        // The same, ignored characters and foreign full stops in a domain.
        for domain in [
            "\u{FF45}xample.com",
            "\u{212A}.test",
            "x\u{17F}.test",
            "x\u{AD}y.test",
            "x\u{200B}.test",
            "x\u{3002}test",
            "x\u{FF0E}test",
            "x\u{FF61}test",
        ] {
            assert_refused([format!("a@{domain}")]);
        }
        assert_refused(["a@xn--bcher-kva\u{AD}.test", "a@x\u{AD}n--bcher-kva.test", "a@\u{FF58}n--bcher-kva.test", "a@\u{33C7}.test"]);
    }

    #[test]
    fn r3_look_alikes_that_stay_themselves_match_nobody_else() {
        for (look_alike, victim) in [("\u{131}da@x.test", "ida@x.test"), ("gro\u{DF}@x.test", "gross@x.test"), ("\u{430}nn@x.test", "ann@x.test")] {
            assert_ne!(key(look_alike), key(victim), "{look_alike:?}");
        }
        for (look_alike, victim) in [("a@fa\u{DF}.test", "a@fass.test"), ("a@\u{131}.test", "a@i.test"), ("a@\u{430}.test", "a@a.test")] {
            assert_ne!(key(look_alike), key(victim), "{look_alike:?}");
        }
    }

    #[test]
    fn r3_no_character_outside_ascii_gives_an_ascii_key() {
        for c in folding_characters() {
            if let Ok(email) = Email::parse(&format!("a{c}@x.test")) {
                assert!(!email.key().is_ascii(), "{c:?}");
            }
        }
        for c in folding_characters() {
            if let Ok(email) = Email::parse(&format!("a@x{c}y")) {
                assert!(email.key().contains("@xn--"), "{c:?}");
            }
        }
    }

    #[test]
    fn r4_domains_compare_as_a_labels() {
        for text in ["a@b\u{FC}cher.test", "a@BU\u{308}CHER.TEST", "a@xn--bcher-kva.test", "a@XN--BCHER-KVA.test"] {
            assert_eq!(key(text), "a@xn--bcher-kva.test", "{text:?}");
        }
        // The final sigma is a letter of its own in IDNA, the capital one is not.
        assert_eq!(key("a@\u{39F}\u{3A3}.test"), key("a@\u{3BF}\u{3C3}.test"));
    }

    #[test]
    fn r4_false_labels_are_refused() {
        assert_refused([
            "a@xn--example-.test",
            "a@xn--.test",
            "a@xn--a.test",
            "a@xn--a-\u{FC}.test",
            "a@xn--999999999.test",
            "a@xn--B\u{FC}cher-kva.test",
        ]);
        // These hold a capital Ü and a Kelvin sign: no mapping would have produced them.
        assert_refused(["a@xn--bcher-2pa.test", "a@xn--im-0qu.test"]);
        assert_refused(["a@-x.test", "a@x-.test", "a@ab--c.test", "a@x..test", "a@.test", "a@x.test.", "a@x_y.test"]);
        assert_refused([format!("a@{}.test", "x".repeat(64))]);
    }

    #[test]
    fn ip_addresses_are_refused() {
        assert_refused(["a@127.0.0.1", "a@[127.0.0.1]", "a@[IPv6:::1]", "a@::1", "a@2130706433", "a@0x7f000001", "a@0X7F.1", "a@x.0x"]);
    }

    #[test]
    fn r5_the_text_is_one_bare_address() {
        assert_refused([
            "v,a",
            "v;a",
            "v@x.test,a@evil.test",
            "v@x.test;a",
            "\"a@evil.test\"@x.test",
            "\"a\"@x.test",
            "v\r\nBcc: a",
            "v@x.test\r\nBcc: a",
        ]);
        assert_refused([
            "Ann <a@x.test>",
            "<a@x.test>",
            "a(b)@x.test",
            "a@x.test(b)",
            "a b@x.test",
            "a @x.test",
            "a@ x.test",
            "a@x .test",
            "mailto:a@x.test",
        ]);
        assert_refused([
            "a\\b@x.test",
            "a[b]@x.test",
            "a:b@x.test",
            "a,b@x.test",
            "a;b@x.test",
            "a\0@x.test",
            "a@x\0.test",
            "\0a@x.test",
            "a\u{7F}@x.test",
        ]);
        assert_refused([
            "a\u{85}b@x.test",
            "a\tb@x.test",
            "a\u{2028}b@x.test",
            "a\u{202E}b@x.test",
            "a\u{200D}b@x.test",
            "a\u{FEFF}b@x.test",
            "\u{1F600}@x.test",
        ]);
        assert_refused([".a@x.test", "a.@x.test", "a..b@x.test", ".@x.test", "\u{301}a@x.test", "a.\u{301}@x.test", "a=\u{338}@x.test"]);
        assert_refused(["a\u{34F}@x.test", "a\u{FE0F}@x.test", "a\u{3164}@x.test", "a\u{1160}@x.test", "a\u{E0100}@x.test"]);
    }

    #[test]
    fn r6_length_is_bounded_in_octets() {
        let domain = |octets: usize| format!("{}.{}.{}.test", "x".repeat(63), "y".repeat(63), "z".repeat(octets - 133));
        let address = |octets: usize| format!("{}@{}", "a".repeat(64), domain(octets - 65));
        assert_eq!(address(254).len(), 254);
        assert_eq!(key(&address(254)), address(254));
        assert_eq!(key(&format!("{}{}", address(254), " ".repeat(254))), address(254));
        assert_refused([address(255), format!("{}{}", address(254), " ".repeat(255))]);
        // As it is written, too, however short its key.
        assert_refused([format!("a@{}.test", ["u\u{308}".repeat(20).as_str(); 5].join("."))]);
        assert!(key(&format!("a@{}.test", ["u\u{308}".repeat(20).as_str(); 4].join("."))).len() < 150);
        assert_eq!(key(&format!("{}@x.test", "a".repeat(64))).len(), 71);
        assert_refused([format!("{}@x.test", "a".repeat(65)), format!("{}@x.test", "é".repeat(33))]);
        // Normalisation lengthens: U+FDF2 from 3 octets to 8. So do A-labels.
        assert_eq!(key(&format!("{}@x.test", "\u{FDF2}".repeat(8))).len(), 71);
        assert_refused([format!("{}@x.test", "\u{FDF2}".repeat(9))]);
        let umlauts = |labels: usize| ["\u{FC}1"].repeat(labels).join(".");
        assert!(key(&format!("a@{}", umlauts(20))).len() > 190);
        assert_refused([format!("{}@{}", "a".repeat(64), umlauts(20)), format!("a@{}", umlauts(40))]);
        for size in [10_000, 1_000_000] {
            assert_refused(["a".repeat(size), format!("a@{}.test", "x".repeat(size)), format!("{}@x.test", "\u{FDFA}".repeat(size))]);
        }
    }

    /// Characters that fold, compose or reorder.
    const ALPHABET: [char; 24] = [
        'a', 'Z', 'i', 'I', '.', '-', '1', 'Σ', 'σ', 'ς', 'ẞ', 'ß', 'Å', 'Ω', '\u{301}', '\u{307}', '\u{345}', '\u{327}', 'ᾼ', 'ﾞ', 'ｶ', '\u{1100}',
        '\u{1161}', 'Ⴀ',
    ];

    #[test]
    fn a_key_is_its_own_key() {
        let check = |text: &str| {
            if let Ok(email) = Email::parse(text) {
                let again = Email::parse(email.key()).unwrap_or_else(|_| panic!("key of {text:?} should be an address"));
                assert_eq!((again.key(), again.as_written()), (email.key(), email.key()), "{text:?}");
            }
        };
        for c in ('\u{21}'..='\u{7F}').chain(folding_characters()) {
            check(&format!("{c}@x.test"));
        }
        // Mixtures, drawn by a small generator with a fixed seed.
        let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut draw = |length: usize| -> String {
            let pick = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ALPHABET[usize::try_from(state >> 33).unwrap() % ALPHABET.len()]
            };
            (0..length).map(pick).collect()
        };
        for round in 0..10_000 {
            check(&format!("{}@{}.test", draw(1 + round % 7), draw(1 + round % 4)));
        }
    }
}
