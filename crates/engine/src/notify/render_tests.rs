use super::*;

const LINK: &str = "https://acme.example/reset-password?from=mail&token=a.b-c_d";

fn context(shop: &str) -> MailContext {
    MailContext { shop: shop.to_owned(), address: "ann@example.com".to_owned(), url: Some(LINK.to_owned()), minutes: Some(15) }
}

fn in_words(message: Message, locale: &str, context: &MailContext) -> Content {
    render(message, &[locale.to_owned()], &[], context).unwrap().content
}

#[test]
fn every_language_has_every_part_of_every_message() {
    let languages: Vec<_> = locales(Message::PasswordReset).collect();
    assert_eq!(languages, ["de", "en"]);
    for message in Message::ALL {
        assert_eq!(locales(message).collect::<Vec<_>>(), languages);
        for (locale, part) in languages.iter().flat_map(|locale| Part::ALL.map(|part| (locale, part))) {
            assert!(source(&format!("{}/{locale}/{}", message.as_str(), part.file())).is_some(), "{locale} {part:?}");
        }
    }
    assert_eq!(FILES.len(), languages.len() * Message::ALL.len() * Part::ALL.len(), "no file is for nothing");
}

#[test]
fn every_message_renders_in_every_language() {
    for message in Message::ALL {
        for locale in locales(message) {
            let rendered = render(message, &[locale.to_owned()], &[], &context("Acme")).unwrap();
            assert_eq!((rendered.locale.as_str(), rendered.faults.len()), (locale, 0));
            let mail = rendered.content;
            assert!(mail.html.contains(&format!("<html lang=\"{locale}\"")));
            for part in [&mail.subject, &mail.text, &mail.html] {
                assert!(part.contains("Acme") && !part.contains("{{") && !part.contains("{%"), "{locale} {part}");
            }
            assert!(!mail.subject.contains('\n') && mail.subject.trim() == mail.subject && mail.subject.len() < 78);
            assert!(mail.text.contains("ann@example.com") && mail.html.contains("ann@example.com"));
            assert!(mail.text.lines().all(|line| line.chars().count() <= 78), "{}", mail.text);
            for remote in ["src=", "url(", "<link", "<script", "@import"] {
                assert!(!mail.html.contains(remote), "{remote}");
            }
        }
    }
}

#[test]
fn the_reset_mail_holds_the_link_in_both_parts() {
    for (locale, one, many) in [("en", "1 minute", "15 minutes"), ("de", "1 Minute", "15 Minuten")] {
        let mail = in_words(Message::PasswordReset, locale, &context("Acme"));
        assert!(mail.text.lines().any(|line| line == LINK), "{}", mail.text);
        let escaped = LINK.replace('&', "&amp;");
        assert!(mail.html.contains(&format!("href=\"{escaped}\"")), "{}", mail.html);
        assert_eq!(mail.html.matches(&escaped).count(), 3, "{}", mail.html);
        assert!(!mail.html.contains(LINK));
        assert!(mail.text.contains(many) && mail.html.contains(many));
        let mail = in_words(Message::PasswordReset, locale, &MailContext { minutes: Some(1), ..context("Acme") });
        assert!([" ", ".", ","].iter().any(|end| mail.text.contains(&format!("{one}{end}"))), "{}", mail.text);
    }
}

#[test]
fn what_others_typed_stays_literal() {
    for name in ["{{7*7}}", "{% if true %}", "${7*7}", "<% 7 %>", "<script>alert(1)</script>", r#"O'Neill & "Sons""#, "{# gone #}"] {
        let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;");
        for message in Message::ALL {
            let mail = in_words(message, "en", &context(name));
            assert!(mail.subject.contains(name) && mail.text.contains(name), "{name}");
            assert!(mail.html.contains(&escaped), "{name}");
            assert!(escaped == name || !mail.html.contains(name), "{name}");
        }
    }
}

#[test]
fn a_name_cannot_leave_its_line() {
    let mail = in_words(Message::PasswordReset, "en", &context("Acme\r\nBcc: evil@example.com\u{0}\u{2028}x\u{202e}y"));
    assert!(mail.subject.contains("Acme Bcc: evil@example.com xy"), "{}", mail.subject);
    assert!(!mail.subject.contains(char::is_control));
    assert!(!mail.text.contains("\nBcc:"));
    let mail = in_words(Message::PasswordReset, "en", &context(&"x".repeat(5_000)));
    assert!(mail.subject.len() < 200);
}

#[test]
fn what_is_missing_is_an_error() {
    for context in [MailContext { url: None, ..context("Acme") }, MailContext { minutes: None, ..context("Acme") }] {
        assert!(render(Message::PasswordReset, &[], &[], &context).is_err());
        assert!(render(Message::PasswordChanged, &[], &[], &context).is_ok());
    }
    for url in ["javascript:alert(1)", "/reset", "https://acme.example/a b", "https://acme.example/\nx", "data:text/html,x", ""] {
        assert!(render(Message::PasswordReset, &[], &[], &MailContext { url: Some(url.to_owned()), ..context("Acme") }).is_err(), "{url}");
    }
    let one = |source: &str, shop: &str| environment().render_named_str("body.txt", source, Value::from(Serde(context(shop))));
    assert!(one("{{ nothing }}", "Acme").is_err());
    assert!(one("{% for x in shop %}{% for y in shop %}{{ y }}{% endfor %}{% endfor %}", &"x".repeat(900)).is_err());
}

fn chosen(wanted: &[&str], own: &[Template]) -> String {
    let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    render(Message::PasswordReset, &wanted, own, &context("Acme")).unwrap().locale
}

fn words(locale: &str, subject: Option<&str>) -> Template {
    let subject = subject.map(str::to_owned);
    Template { message: Message::PasswordReset, locale: locale.to_owned(), sender: None, subject, text: None, html: None }
}

#[test]
fn the_first_language_that_there_is_is_taken() {
    for (wanted, expected) in [
        (&[][..], "en"),
        (&["de"], "de"),
        (&["de-AT"], "de"),
        (&["DE_at"], "de"),
        (&["en-GB", "de"], "en"),
        (&["tlh", "de-CH", "en"], "de"),
        (&["tlh", "", "../../etc"], "en"),
    ] {
        assert_eq!(chosen(wanted, &[]), expected, "{wanted:?}");
    }
    let own = [words("de-AT", Some("Servus")), words("fr", Some("Bonjour"))];
    for (wanted, expected) in [("de-at", "de-AT"), ("de-CH", "de"), ("fr-CA", "fr")] {
        assert_eq!(chosen(&[wanted], &own), expected);
    }
    assert_eq!(chosen(&["fr"], &[Template { message: Message::PasswordChanged, ..words("fr", None) }]), "en", "another message's");
}

#[test]
fn a_shops_words_come_first_and_what_cannot_be_rendered_is_built_in() {
    let subject_of = |own: &[Template], wanted: &str| render(Message::PasswordReset, &[wanted.to_owned()], own, &context("A & B")).unwrap();
    let own = [words("de", Some("Moin von {{ shop }}")), Template { sender: Some("servus@acme.example".into()), ..words("de-AT", None) }];
    let german = subject_of(&own, "de");
    assert_eq!((german.content.subject.as_str(), german.sender), ("Moin von A & B", None));
    assert!(german.content.text.contains("Guten Tag"));
    let austrian = subject_of(&own, "de-AT");
    assert_eq!((austrian.content.subject.as_str(), austrian.sender.as_deref()), ("Moin von A & B", Some("servus@acme.example")));
    assert_eq!(subject_of(&own, "en").content.subject, "Choose a new password for A & B");
    for broken in ["{{ nothing }}", "{% for x in shop %}x{% endfor %}", "{{ shop", "{% if %}"] {
        let rendered = subject_of(&[words("de", Some(broken))], "de");
        assert_eq!(rendered.content.subject, "Neues Passwort für A & B", "{broken}");
        assert_eq!(rendered.faults.len(), 1, "{broken}");
        assert!(rendered.faults[0].starts_with("subject.txt of password_reset in de: "), "{:?}", rendered.faults);
    }
}
