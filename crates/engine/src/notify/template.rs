//! A shop's own templates, judged before they are kept.

use super::render::{MailContext, Part, Template, environment, locales, try_own};
use super::smtp;
use crate::model::locale::{is_locale, language};
use crate::model::tenant::Message;

/// The largest part, in bytes.
const PART_BYTES: usize = 64 * 1024;
/// Most blocks of a part, words of a condition and bytes of a word. The library parses and compiles conditions, and each `elif` within the one before, by
/// functions that call themselves, and watches over few of them: without bounds a template could take a thread's whole stack, and the process with it.
const BLOCKS: usize = 200;
const WORDS: usize = 16;
const WORD_BYTES: usize = 32;
/// The longest subject, in characters, as it is shown.
const SUBJECT_LIMIT: usize = 250;
/// A link as samples have it. It is no token.
pub const SAMPLE_LINK: &str = "https://shop.example/reset-password?token=sample&from=mail";

/// Judges a template of a shop: its grammar, what it uses, and whether a mail made from it would do.
///
/// # Errors
/// A sentence for the operator.
pub fn check(template: &Template) -> Result<(), String> {
    let Template { message, locale, sender, .. } = template;
    if !is_locale(locale) {
        return Err(format!("`{locale}` is no language: 2 to 16 letters, digits and hyphens, de or pt-BR say"));
    }
    let parts = Part::ALL.map(|part| (part, part.of(template)));
    let translated = locales(*message).any(|known| known == locale || known == language(locale));
    if !translated && parts.iter().any(|(_, source)| source.is_none()) {
        let known: Vec<_> = locales(*message).collect();
        return Err(format!("{locale} has no built-in words ({} have): give subject, text and HTML", known.join(", ")));
    }
    if let Some(sender) = sender {
        if sender.contains(char::is_control) {
            return Err("the sender holds a control character".to_owned());
        }
        smtp::sender(sender)?;
    }
    if template.is_empty() {
        return Err("nothing is given: no sender, subject, text or HTML".to_owned());
    }
    for (part, source) in parts {
        if let Some(source) = source {
            check_part(*message, part, source).map_err(|why| format!("{}: {why}", part.file()))?;
        }
    }
    Ok(())
}

fn check_part(message: Message, part: Part, source: &str) -> Result<(), String> {
    if source.contains('\0') {
        return Err("it holds a NUL character".to_owned());
    }
    grammar(source)?;
    let environment = environment();
    let template = environment.template_from_named_str(part.file(), source).map_err(|e| match e.line() {
        Some(line) => format!("line {line}: {}", e.detail().map_or_else(|| e.kind().to_string(), str::to_owned)),
        None => e.kind().to_string(),
    })?;
    let mut unknown: Vec<_> = template.undeclared_variables(false).into_iter().filter(|name| !message.variables().contains(&name.as_str())).collect();
    unknown.sort();
    if let Some(name) = unknown.first() {
        return Err(format!("`{name}` is not known to {}: there are {}", message.as_str(), message.variables().join(", ")));
    }
    let linked = message.variables().contains(&"url");
    for minutes in [1, 15] {
        let text = try_own(part, source, &sample(message, "Acme", "ann@example.com", minutes))?;
        let holds_link = text.contains("token=sample");
        match part {
            Part::Subject if text.trim().is_empty() => return Err("the subject is empty".to_owned()),
            Part::Subject if text.trim().contains('\n') => return Err("the subject has more than one line".to_owned()),
            Part::Subject if text.chars().count() > SUBJECT_LIMIT => return Err(format!("the subject is longer than {SUBJECT_LIMIT} characters")),
            Part::Subject if holds_link => return Err("the link must not stand in the subject, which others see".to_owned()),
            Part::Text | Part::Html if linked && !holds_link => return Err("`{{ url }}` is missing: the customer would have no link".to_owned()),
            _ => {}
        }
    }
    Ok(())
}

/// What a mail of this kind could say and these words do not, in sentences for the operator.
#[must_use]
pub fn unused(template: &Template) -> Vec<String> {
    let environment = environment();
    let mut out = Vec::new();
    for part in [Part::Text, Part::Html] {
        let parsed = part
            .of(template)
            .filter(|source| grammar(source).is_ok())
            .and_then(|source| environment.template_from_named_str(part.file(), source).ok());
        let Some(used) = parsed.map(|parsed| parsed.undeclared_variables(false)) else { continue };
        let left_out = template.message.variables().iter().filter(|name| !used.contains(**name));
        out.extend(left_out.map(|name| format!("{} does not use `{name}`", part.file())));
    }
    out
}

/// What a sample of `message` says.
#[must_use]
pub fn sample(message: Message, shop: &str, address: &str, minutes: u64) -> MailContext {
    let linked = message.variables().contains(&"url");
    MailContext {
        shop: shop.to_owned(),
        address: address.to_owned(),
        url: linked.then(|| SAMPLE_LINK.to_owned()),
        minutes: linked.then_some(minutes),
    }
}

/// A shop's template holds values, `{{ shop }}`, and conditions, `{% if minutes == 1 %} … {% elif … %} … {% else %} … {% endif %}`, and nothing
/// else of the language: no text, list or sum in them, so it cannot grow, loop, load or switch the escaping off. Nothing is handed to the library that has
/// not passed here.
///
/// # Errors
/// Which line holds something else, or what there is too much of.
pub(super) fn grammar(source: &str) -> Result<(), String> {
    if source.len() > PART_BYTES {
        return Err(format!("longer than {PART_BYTES} bytes"));
    }
    let (mut rest, mut blocks) = (source, 0);
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        let (_, block) = rest.split_at(start);
        let end = if block.starts_with("{{") {
            "}}"
        } else if block.starts_with("{%") {
            "%}"
        } else {
            "#}"
        };
        blocks += 1;
        if blocks > BLOCKS {
            return Err(format!("more than {BLOCKS} values, conditions and remarks"));
        }
        let line = 1 + source.get(..source.len() - block.len()).unwrap_or_default().matches('\n').count();
        let inside = block.get(2..).unwrap_or_default();
        let Some((inside, after)) = inside.split_once(end) else { return Err(format!("line {line}: `{}` has no `{end}`", &end_opening(end))) };
        let words: Vec<&str> = inside.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).split_whitespace().collect();
        let fine = match (end, words.as_slice()) {
            ("#}", _) | ("%}", ["else" | "endif"]) => true,
            ("}}", [name]) => is_name(name),
            ("%}", ["if" | "elif", condition @ ..]) => (1..=WORDS).contains(&condition.len()) && condition.iter().all(|word| is_operand(word)),
            _ => false,
        };
        if !fine {
            return Err(format!("line {line}: only values, {{{{ shop }}}}, and {{% if minutes == 1 %}} with elif, else and endif can be used"));
        }
        rest = after;
    }
    Ok(())
}

fn end_opening(end: &str) -> String {
    end.chars().rev().map(|c| if c == '}' { '{' } else { c }).collect()
}

fn is_name(word: &str) -> bool {
    word.len() <= WORD_BYTES && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_operand(word: &str) -> bool {
    is_name(word) || matches!(word, "==" | "!=" | "<" | "<=" | ">" | ">=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(part: Part, source: &str) -> Template {
        let of = |wanted: Part| (part == wanted).then(|| source.to_owned());
        let (subject, text, html) = (of(Part::Subject), of(Part::Text), of(Part::Html));
        Template { message: Message::PasswordReset, locale: "de".into(), sender: None, subject, text, html }
    }

    #[test]
    fn values_and_conditions_are_all_that_there_is() {
        for good in [
            "",
            "plain { text } %} }} #}",
            "{{ shop }}{{shop}} {{- address -}}",
            "{% if minutes == 1 %}a{% elif minutes >= 5 and not minutes > 9 %}b{%- else -%}c{% endif %}",
            "{# a remark, with {{ anything }} #}",
        ] {
            assert_eq!(grammar(good), Ok(()), "{good}");
        }
        for bad in [
            "{{ shop | upper }}",
            "{{ shop.x }}",
            "{{ shop[0] }}",
            "{{ 'text' }}",
            "{{ shop ~ shop }}",
            "{{ 9 * 9 }}",
            "{{ range(9) }}",
            "{{ }}",
            "{% for x in shop %}{% endfor %}",
            "{% set x = shop %}",
            "{% raw %}{{ shop }}{% endraw %}",
            "{% autoescape false %}{{ address }}{% endautoescape %}",
            "{% include 'x' %}",
            "{% if shop is defined() %}x{% endif %}",
            "{% if 'a' %}x{% endif %}",
            "{% if %}x{% endif %}",
            "{{ shop",
            "{% if minutes == 1",
            "{# no end",
        ] {
            assert!(grammar(bad).unwrap_err().starts_with("line 1: "), "{bad}");
        }
        assert!(grammar("a\n\n{{ x.y }}").unwrap_err().starts_with("line 3: "));
    }

    /// On a thread as small as those that answer requests, whoever asks: the check, the preview of what the check refuses, and what is not used.
    #[test]
    fn no_condition_takes_the_stack() {
        let (not, and, glued) = ("not ".repeat(10_000), "1 and ".repeat(10_000), "1and".repeat(10_000));
        let elif = |count| format!("{{{{ url }}}}{{% if minutes == 1 %}}{}{{% endif %}}", "{% elif minutes == 2 %}".repeat(count));
        let long = format!("{{% if {}minutes %}}x{{% endif %}}{{{{ url }}}}", "not ".repeat(WORDS - 1));
        let cases = [
            (format!("{{{{ url }}}}{{% if {not}minutes %}}x{{% endif %}}"), false),
            (format!("{{{{ url }}}}{{% if {and}minutes %}}x{{% endif %}}"), false),
            (format!("{{{{ url }}}}{{% if {glued}1 %}}x{{% endif %}}"), false),
            (format!("{{{{ url }}}}{{{{ {glued}1 }}}}"), false),
            (elif(BLOCKS - 2), false),
            (elif(BLOCKS - 3), true),
            (long, true),
            (format!("{{{{ url }}}}{}", "{##}".repeat(BLOCKS)), false),
        ];
        let judge = move || {
            for (source, fine) in cases {
                let own = with(Part::Text, &source);
                assert_eq!(check(&own).is_ok(), fine, "{}", &source[..60]);
                assert!(!unused(&own).is_empty() || !fine);
                let context = sample(Message::PasswordReset, "Acme", "ann@example.com", 15);
                let rendered = super::super::render::render(Message::PasswordReset, &["de".into()], &[own], &context).unwrap();
                assert_eq!(rendered.faults.is_empty(), fine);
            }
        };
        std::thread::Builder::new().stack_size(2 << 20).spawn(judge).unwrap().join().unwrap();
    }

    #[test]
    fn what_would_make_no_good_mail_is_refused() {
        let html = "<p>{{ shop }}</p><a href=\"{{ url }}\">{{ url }}</a>";
        for (part, good) in [(Part::Subject, "Moin {{ shop }}"), (Part::Text, "{{ url }}"), (Part::Html, html)] {
            assert_eq!(check(&with(part, good)), Ok(()));
        }
        for (part, bad, words) in [
            (Part::Subject, "", "the subject is empty"),
            (Part::Subject, "a\nb", "more than one line"),
            (Part::Subject, "{{ url }}", "must not stand in the subject"),
            (Part::Subject, &"x".repeat(251), "longer than 250"),
            (Part::Subject, "{{ name }}", "`name` is not known to password_reset: there are shop, address, url, minutes"),
            (Part::Text, "Hello {{ shop }}", "`{{ url }}` is missing"),
            (Part::Text, "{% if minutes == 1 %}{{ url }}{% endif %}", "`{{ url }}` is missing"),
            (Part::Text, "\0{{ url }}", "NUL"),
            (Part::Html, "<a>{{ url | safe }}</a>", "line 1: only values"),
            (Part::Html, "{% if minutes == 1 %}{{ url }}", "unexpected end"),
            (Part::Html, &"x".repeat(PART_BYTES + 1), "longer than 65536 bytes"),
        ] {
            let why = check(&with(part, bad)).unwrap_err();
            assert!(why.contains(words) && why.starts_with(part.file()), "{why}");
        }
        // However deep: an answer, and no overflow.
        let deep = format!("{{{{ url }}}}{}{}", "{% if minutes %}".repeat(1_500), "{% endif %}".repeat(1_500));
        assert!(check(&with(Part::Text, &deep)).is_err());
    }

    #[test]
    fn a_language_without_built_in_words_needs_all_parts() {
        let whole = Template { subject: Some("Bonjour".into()), html: Some("{{ url }}".into()), ..with(Part::Text, "{{ url }}") };
        assert_eq!(check(&Template { locale: "fr".into(), ..whole.clone() }), Ok(()));
        let part = Template { locale: "fr-CA".into(), html: None, ..whole.clone() };
        assert!(check(&part).unwrap_err().contains("give subject, text and HTML"));
        assert_eq!(check(&Template { locale: "de-AT".into(), ..part }), Ok(()));
        for locale in ["", "d", "de_AT", "../en", "a-very-long-locale"] {
            assert!(check(&Template { locale: locale.into(), ..whole.clone() }).unwrap_err().contains("is no language"), "{locale}");
        }
        let nothing = with(Part::Text, "x");
        let nothing = Template { text: None, ..nothing };
        assert!(check(&nothing).unwrap_err().contains("nothing is given"));
        assert_eq!(check(&Template { sender: Some("Moin <a@b.example>".into()), ..nothing.clone() }), Ok(()));
        for sender in ["", "Moin", "a@b.example\r\nBcc: x@y.example"] {
            assert!(check(&Template { sender: Some(sender.into()), ..nothing.clone() }).is_err(), "{sender}");
        }
    }

    #[test]
    fn what_is_left_out_is_told() {
        let own = Template { html: Some("<p>{{ url }} {{ shop }}</p>".into()), ..with(Part::Text, "{{ url }} {% if minutes == 1 %}x{% endif %}") };
        let expected = [
            "body.txt does not use `shop`",
            "body.txt does not use `address`",
            "body.html does not use `address`",
            "body.html does not use `minutes`",
        ];
        assert_eq!(unused(&own), expected);
    }

    #[test]
    fn what_a_person_typed_is_escaped_in_a_shops_html() {
        let hostile = MailContext { address: "\"<b>\"@example.com".into(), ..sample(Message::PasswordReset, "<i>", "", 1) };
        let html = try_own(Part::Html, "{{ shop }} {{ address }} {{ url }}", &hostile).unwrap();
        assert_eq!(html, "&lt;i&gt; &quot;&lt;b&gt;&quot;@example.com https://shop.example/reset-password?token=sample&amp;from=mail");
    }
}
