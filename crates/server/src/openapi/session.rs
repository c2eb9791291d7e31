//! `/auth/session` and `/auth/sessions`.

use serde_json::{Value, json};

use super::operation::{Answer, JSON, Media, Operation};
use super::schema::{SESSION_ID, boolean, date_time, described, list_of, object, or_null, text};
use super::{AUTH, fault};

fn done() -> Media {
    Media { kind: JSON, schema: object(&["success"], [("success", boolean())]), example: json!({"success": true}) }
}

/// `POST /auth/session`.
pub fn give() -> Operation {
    let user = described("What the token says.", json!({"type": "object"}));
    let media =
        Media { kind: JSON, schema: object(&["user"], [("user", user)]), example: json!({"user": {"actor_id": "", "actor_type": "customer"}}) };
    Operation::new(
        AUTH,
        "Set Authentication Session",
        "Gives the session of the token a cookie. A cookie that the browser had shows nobody any more.",
    )
    .answers_with(Answer { status: 200, description: "What the token says, and the cookie.", media: Some(media), headers: &["Set-Cookie"] })
    .fails(&[&fault::ORIGIN_REFUSED])
    .fails(&[&fault::BUDGET_SPENT])
}

/// `DELETE /auth/session`.
pub fn end() -> Operation {
    Operation::new(AUTH, "Delete Authentication Session", "Signs out: the session ends, and with it its tokens.").answers_with(Answer {
        status: 200,
        description: "Signed out.",
        media: Some(done()),
        headers: &["Set-Cookie"],
    })
}

fn example() -> Value {
    json!({"id": SESSION_ID, "provider": "emailpass", "user_agent": "Mozilla/5.0", "current": true,
        "created_at": "2026-11-23T15:16:40.973Z", "expires_at": "2026-12-23T15:16:40.973Z"})
}

/// `components/schemas/Session`.
pub fn schema() -> Value {
    let fields = [
        ("id", text()),
        ("provider", described("The provider of the login.", text())),
        ("user_agent", described("What the client called itself when the session began.", or_null(text()))),
        ("current", described("Whether the request is of this session.", boolean())),
        ("created_at", date_time()),
        ("expires_at", date_time()),
    ];
    described("A session of the caller's login.", object(&["id", "provider", "user_agent", "current", "created_at", "expires_at"], fields))
}

/// `GET /auth/sessions`.
pub fn list() -> Operation {
    let schema = object(&["sessions"], [("sessions", list_of(&super::named("Session")))]);
    Operation::new(AUTH, "List Own Sessions", "Where the caller is signed in: the newest 100 sessions that live.").answers(
        200,
        "The sessions.",
        schema,
        json!({"sessions": [example()]}),
    )
}

/// `DELETE /auth/sessions`.
pub fn end_several() -> Operation {
    Operation::new(AUTH, "End Own Sessions", "Ends all sessions of the caller but the one of the request.")
        .query("all", "Whether the session of the request ends, too.", &boolean(), &true.into())
        .answers_with(Answer { status: 200, description: "They have ended.", media: Some(done()), headers: &[] })
        .fails(&[&fault::NO_SWITCH, &fault::UNKNOWN_PARAMETER])
}

fn ended(operation: Operation) -> Operation {
    let deleted = [("id", text()), ("object", json!({"const": "session"})), ("deleted", json!({"const": true}))];
    let schema = object(&["id", "object", "deleted"], deleted);
    operation
        .answers(200, "The session has ended.", schema, json!({"id": SESSION_ID, "object": "session", "deleted": true}))
        .fails(&[&fault::UNKNOWN_SESSION])
}

/// `DELETE /auth/sessions/current`.
pub fn end_current() -> Operation {
    ended(Operation::new(
        AUTH,
        "End the Current Session",
        "Signs out whoever has a token and no cookie. The id is current for a token of a former secret.",
    ))
}

/// `DELETE /auth/sessions/{id}`.
pub fn end_one() -> Operation {
    ended(Operation::new(AUTH, "End One Session", "Ends one of the caller's own sessions.").id("The id of the session.", SESSION_ID))
}
