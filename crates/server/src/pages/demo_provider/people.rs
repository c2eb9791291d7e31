//! Who can sign in at the demo provider.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Somebody who exists at the demo provider alone.
#[derive(Debug, Serialize)]
pub struct Person {
    /// What the form sends, and the name of the picture.
    pub choice: &'static str,
    pub subject: &'static str,
    pub given_name: &'static str,
    pub family_name: &'static str,
    pub email: &'static str,
    pub email_verified: bool,
    /// What to expect of this choice.
    pub remark: &'static str,
}

pub const PEOPLE: [Person; 3] = [
    Person {
        choice: "robin",
        subject: "demo-robin",
        given_name: "Robin",
        family_name: "Demo",
        email: "customer@gmail.com",
        email_verified: true,
        remark: "Has the address of the demo customer, who signs in with a password.",
    },
    Person {
        choice: "kim",
        subject: "demo-kim",
        given_name: "Kim",
        family_name: "Example",
        email: "kim@example.com",
        email_verified: true,
        remark: "Is new to both shops.",
    },
    Person {
        choice: "lee",
        subject: "demo-lee",
        given_name: "Lee",
        family_name: "Unproven",
        email: "lee@example.com",
        email_verified: false,
        remark: "Never proved to own the address.",
    },
];

/// The person whom the form chose.
#[must_use]
pub fn chosen(choice: &str) -> Option<&'static Person> {
    PEOPLE.iter().find(|person| person.choice == choice)
}

impl Person {
    /// What the scopes tell of this person, apart from the subject. `origin` is where the pictures are.
    #[must_use]
    pub fn claims(&self, scope: &str, origin: &str) -> Map<String, Value> {
        let mut claims = Map::new();
        let asked = |name: &str| scope.split_ascii_whitespace().any(|word| word == name);
        if asked("email") {
            claims.insert("email".into(), json!(self.email));
            claims.insert("email_verified".into(), json!(self.email_verified));
        }
        if asked("profile") {
            claims.insert("name".into(), json!(format!("{} {}", self.given_name, self.family_name)));
            claims.insert("given_name".into(), json!(self.given_name));
            claims.insert("family_name".into(), json!(self.family_name));
            claims.insert("picture".into(), json!(format!("{origin}/dev/assets/{}.svg", self.choice)));
        }
        claims
    }

    /// A picture: the initial on a coloured ground.
    #[must_use]
    pub fn picture(&self) -> String {
        let ground = match self.choice {
            "robin" => "#225a49",
            "kim" => "#6b3f78",
            _ => "#7a4a1e",
        };
        let initial = self.given_name.get(..1).unwrap_or_default();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\"><rect width=\"64\" height=\"64\" fill=\"{ground}\"/>\
             <text x=\"32\" y=\"43\" font-family=\"sans-serif\" font-size=\"32\" text-anchor=\"middle\" fill=\"#ffffff\">{initial}</text></svg>"
        )
    }
}
