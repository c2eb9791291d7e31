//! Where we differ from the recording.

/// Cases in which our answer is another one on purpose.
pub struct Difference {
    pub ids: &'static [&'static str],
    pub status: u16,
    /// Masked: JSON, text, or empty.
    pub body: &'static str,
    /// The claims of `token` that differ, as a JSON object, or empty.
    pub claims: &'static str,
    /// Whether ours comes with a cookie, and the recorded one does not.
    pub cookie: bool,
    pub why: &'static str,
}

const fn answer(ids: &'static [&'static str], status: u16, body: &'static str, why: &'static str) -> Difference {
    Difference { ids, status, body, claims: "", cookie: false, why }
}

const fn token(ids: &'static [&'static str], claims: &'static str, why: &'static str) -> Difference {
    Difference { ids, status: 200, body: r#"{"token":"<jwt>"}"#, claims, cookie: false, why }
}

pub const DIFFERENCES: &[Difference] = &[
    answer(
        &["reg-not-an-email", "reg-nul-email"],
        400,
        r#"{"type":"invalid_data","message":"Invalid email address"}"#,
        "A login is an address, to which a mail can be sent; and no answer shows SQL.",
    ),
    answer(
        &["reg-dup-json-keys"],
        400,
        r#"{"type":"invalid_data","message":"Malformed JSON: the key \"email\" is given twice at line 1 column 54"}"#,
        "Two readers of one body could see two different values.",
    ),
    answer(
        &["reg-gzip-body"],
        415,
        r#"{"type":"unknown_error","message":"unsupported content encoding \"gzip\""}"#,
        "Compressed bodies are not read: no storefront sends them, and a small one may hide a large one.",
    ),
    answer(
        &["reg-malformed-json", "login-malformed", "upd-malformed-json"],
        400,
        r#"{"type":"invalid_data","message":"Unexpected end of JSON input"}"#,
        "The words are the parser's, and ours is another one. Status and type are the same.",
    ),
    answer(
        &["reg-malformed-json2"],
        400,
        r#"{"type":"invalid_data","message":"Malformed JSON: key must be a string at line 1 column 2"}"#,
        "As above.",
    ),
    answer(
        &["reg-unknown-actor", "login-unknown-actor", "reset-unknown-actor"],
        400,
        r#"{"type":"not_allowed","message":"The actor type robot is not allowed to use the auth provider emailpass"}"#,
        "An actor type that the settings do not declare does not exist; the typing error of a client does not make one.",
    ),
    answer(
        &["reg-bad-pct"],
        401,
        "{\"type\":\"unauthorized\",\"message\":\"\\nUnable to retrieve the auth provider with id: %ZZ\\nPlease make sure that the provider is registered in the container and it is configured correctly in your project configuration file.\"}",
        "What a client gets wrong is no fault of the server's.",
    ),
    answer(
        &["bob-create-again-other-email"],
        400,
        r#"{"type":"invalid_data","message":"Request already authenticated as a customer."}"#,
        "A login becomes a customer once; asking again is no fault of the server's.",
    ),
    answer(&["deleted-customer-me"], 401, "Unauthorized", "Whoever is deleted is signed out: the sessions end with the account."),
    token(
        &["user-reg-existing-customer-email"],
        r#"{"actor_id":"","actor_type":"user","app_metadata":{}}"#,
        "A login belongs to one actor type, so nobody's password opens another door than the one it was made for.",
    ),
    token(&["login-as-user"], r#"{"app_metadata":{}}"#, "As above: this is another login, which knows nothing of the customer."),
    answer(
        &["user-as-customer-login"],
        401,
        r#"{"type":"unauthorized","message":"Invalid email or password"}"#,
        "As above: a member of staff who has not registered as a customer is none.",
    ),
    token(
        &["login-upper-email"],
        r#"{"actor_id":"cus_<ulid>","actor_type":"customer","app_metadata":{"customer_id":"cus_<ulid>"}}"#,
        "An address is one address, however it is typed.",
    ),
    answer(
        &["reset-raw-bare", "reset-raw-jsonstring", "reset-raw-text-jsonstring"],
        201,
        "Created",
        "The published example of this route sends the bare address, and works here.",
    ),
    answer(
        &["upd-missing-password-reuse"],
        200,
        r#"{"success":true}"#,
        "A refused password does not spend the token, so the customer need not ask for another mail.",
    ),
    token(
        &["github-cb-post-body"],
        r#"{"actor_id":"","actor_type":"customer","auth_provider":"github"}"#,
        "Some providers post what they send back, so code and state may stand in the body, too.",
    ),
    answer(
        &["github-authorize-callback-evil"],
        400,
        r#"{"type":"invalid_data","message":"The callback_url is neither the provider's callback_url nor in its allowed_callback_urls; it must equal one of them letter by letter"}"#,
        "A customer is sent back only to a page that the settings name; anybody may ask for another one.",
    ),
    answer(
        &[
            "google-authorize-post",
            "google-authorize-get",
            "google-authorize-for-badcode",
            "google-authorize-for-noid",
            "google-authorize-for-unverified",
            "google-authorize-for-badsig",
            "google-authorize-for-badaud",
            "google-authorize-for-neterr",
            "google-authorize-for-ok",
            "google-authorize-for-post",
            "google-authorize-for-postbody",
            "google-authorize-for-again",
        ],
        200,
        r#"{"location":"https://accounts.google.com/o/oauth2/v2/auth?redirect_uri=http%3A%2F%2Flocalhost%3A8000%2Fauth%2Fcustomer%2Fgoogle%2Fcallback&client_id=fake-google-id&response_type=code&scope=email+profile+openid&state=<64 characters>&nonce=<43 characters>&code_challenge=<43 characters>&code_challenge_method=S256"}"#,
        "The flow is bound to who began it: PKCE, a nonce where the provider has one, and a state that carries its shop.",
    ),
    answer(
        &["google-authorize-callback-url"],
        200,
        r#"{"location":"https://accounts.google.com/o/oauth2/v2/auth?redirect_uri=http%3A%2F%2Flocalhost%3A8000%2Fcb%3Fx%3D1%26y%3D%C3%BC&client_id=fake-google-id&response_type=code&scope=email+profile+openid&state=<64 characters>&nonce=<43 characters>&code_challenge=<43 characters>&code_challenge_method=S256"}"#,
        "As above; this page is in the settings of the replay.",
    ),
    answer(
        &[
            "github-authorize-post",
            "github-authorize-get",
            "github-authorize-for-badcode",
            "github-authorize-for-err200",
            "github-authorize-for-ok",
            "github-authorize-for-post",
            "github-authorize-for-postbody",
            "github-authorize-for-noexp",
            "github-authorize-for-again",
        ],
        200,
        r#"{"location":"https://github.com/login/oauth/authorize?redirect_uri=http%3A%2F%2Flocalhost%3A8000%2Fauth%2Fcustomer%2Fgithub%2Fcallback&client_id=fake-github-id&response_type=code&state=<64 characters>&scope=read%3Auser+user%3Aemail&code_challenge=<43 characters>&code_challenge_method=S256"}"#,
        "As above; and GitHub names the customer's verified address only to whom the scope allows it.",
    ),
    answer(
        &["addr-update"],
        200,
        r#"{"customer":{"id":"cus_<ulid>","email":"bob@example.com","company_name":null,"first_name":"Bobby","last_name":"B","phone":"+441234","metadata":{"b":2},"has_account":true,"deleted_at":null,"created_at":"<iso-timestamp>","updated_at":"<iso-timestamp>","addresses":[{"id":"cuaddr_<ulid>","address_name":"Home","is_default_shipping":false,"is_default_billing":false,"company":"C","first_name":"B","last_name":"B","address_1":"1 Road","address_2":"Flat","city":"Paris","country_code":"fr","province":"LDN","postal_code":"N1","phone":"1","metadata":{"m":1},"customer_id":"cus_<ulid>","created_at":"<iso-timestamp>","updated_at":"<iso-timestamp>","deleted_at":null},{"id":"cuaddr_<ulid>","address_name":null,"is_default_shipping":false,"is_default_billing":false,"company":null,"first_name":null,"last_name":null,"address_1":null,"address_2":null,"city":null,"country_code":null,"province":null,"postal_code":null,"phone":null,"metadata":null,"customer_id":"cus_<ulid>","created_at":"<iso-timestamp>","updated_at":"<iso-timestamp>","deleted_at":null},{"id":"cuaddr_<ulid>","address_name":null,"is_default_shipping":false,"is_default_billing":false,"company":null,"first_name":null,"last_name":null,"address_1":null,"address_2":null,"city":null,"country_code":null,"province":null,"postal_code":null,"phone":null,"metadata":null,"customer_id":"cus_<ulid>","created_at":"<iso-timestamp>","updated_at":"<iso-timestamp>","deleted_at":null},{"id":"cuaddr_<ulid>","address_name":null,"is_default_shipping":true,"is_default_billing":false,"company":null,"first_name":null,"last_name":null,"address_1":"2 Road","address_2":null,"city":null,"country_code":"GB","province":null,"postal_code":null,"phone":null,"metadata":null,"customer_id":"cus_<ulid>","created_at":"<iso-timestamp>","updated_at":"<iso-timestamp>","deleted_at":null}]}}"#,
        "The oldest address is the first. Medusa's order is that in which its database happens to keep the rows.",
    ),
    Difference {
        cookie: true,
        ..answer(
            &["session-create-http"],
            200,
            r#"{"user":{"actor_id":"cus_<ulid>","actor_type":"customer","auth_identity_id":"authid_<ulid>","auth_provider":"emailpass","mfa_enabled":false,"mfa_challenge_completed_at":null,"app_metadata":{"customer_id":"cus_<ulid>"},"user_metadata":{},"iat":"<epoch>","exp":"<epoch>"}}"#,
            "The cookie is set. That a proxy ends the TLS is for the settings to say, not for a header; a browser that is not on https does not keep the cookie.",
        )
    },
];

/// Cases whose routes are not there yet: what is missing, and which. The list may only shrink.
pub const NOT_BUILT: &[(&str, &[&str])] = &[
    ("Routes of the staff", &["user-me"]),
    (
        "Verification of addresses, second factors",
        &["verif-request-none", "verif-request-bad", "mfa-factors-none", "v-login-unverified", "v-request", "v-confirm", "v-confirm-again"],
    ),
];

/// Cases that the recording sends without an answer to compare, and that Medusa by its rules answers otherwise than we do: which, our status, and why.
pub const FORESEEN: &[(&[&str], u16, &str)] = &[
    (
        &["reg-lone-surrogate-email", "reg-long-email", "reg-invalid-utf8", "login-nul"],
        400,
        "A login is an address of at most 254 bytes of UTF-8. Nothing is replaced in what was sent, and no answer shows SQL.",
    ),
    (&["reg-long-password"], 400, "A password has at most 1024 bytes, so that nobody buys work with a long one."),
    (&["reg-upper-path", "methods-robot-google"], 400, "An actor type that the settings do not declare does not exist."),
    (&["providers-robot"], 200, "As above: it may use no provider."),
    (&["cus-create-ada"], 400, "A login becomes a customer once; asking again is no fault of the server's."),
    (&["login-trailing-space-email"], 200, "An address is one address, however it is typed."),
    (&["reset-upper-id"], 201, "As above: its owner gets a link."),
    (&["me-trailing-junk"], 401, "What is not a scheme and a token is no credential (R41)."),
    (&["me-token-384", "me-token-512"], 401, "A token is good with the shop's own algorithm alone."),
    (&["me-token-noexp", "me-token-min", "refresh-min-token"], 401, "A token needs its `exp`, and the session that it was made in."),
    (&["me-token-iat-future"], 401, "Nobody has been issued a token in the future (R81)."),
    (&["addr-delete"], 200, "`id` is the address's, not the customer's."),
    (&["refresh-get"], 404, "`token` is no actor type, so the path is the one of the refresh alone, and that has no GET."),
    (&["reset-raw-text", "reset-raw-noct"], 201, "The published example of this route sends the bare address, and works here."),
    (
        &["upd-empty-password-reuse", "upd-number-password-reuse", "upd-null-password-reuse", "upd-no-body-reuse"],
        200,
        "A refused password does not spend the token, so the customer need not ask for another mail.",
    ),
    (&["user-as-customer-create"], 401, "A login belongs to one actor type: a member of staff who has not registered as a customer is none."),
    (
        &["google-authorize-callback-evil", "google-authorize-callback-nonstring", "github-authorize-callback-nonstring"],
        400,
        "A customer is sent back only to a page that the settings name.",
    ),
    (&["github-authorize-callback-url"], 200, "The flow is bound to who began it: PKCE, and a state that carries its shop."),
    (&["google-cb-error", "github-cb-error"], 401, "The provider's own word for the error instead of `undefined`."),
    (&["google-cb-neterr"], 401, "Our words for a provider that is out of reach."),
    (&["google-cb-post-body"], 200, "Some providers post what they send back, so code and state may stand in the body, too."),
    (
        &["google-create-customer", "github-create-customer"],
        200,
        "What the provider told of the customer fills what the request leaves out: name and picture.",
    ),
    (&["github-cb-noexp"], 200, "A token of GitHub's that never expires is a token, too."),
];
