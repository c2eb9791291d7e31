//! Every error that a caller can get, and a request that gets it. `docs/errors.md` is written from this table, and `errors.rs` sends each request.

use vestibule_engine::error::Code;

/// What is true before a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// The address `spent@example.com` has used up its failed sign-ins.
    GuessesSpent,
    /// The customer has 200 addresses.
    AddressesFull,
    /// The customer has 70 addresses with much metadata.
    ProfileLarge,
    /// A request of the customer with the key `used` was answered.
    KeyUsed,
    /// The process died that answered a request with the key `in-flight`.
    KeyInFlight,
    /// The first three events are no longer kept.
    EventsSwept,
    /// The next password cannot be hashed.
    HashingFails,
    /// The database refuses to commit.
    CommitFails,
    /// The connection is lost during the commit.
    CommitLost,
    /// The database cannot begin a transaction.
    BeginFails,
    /// Another transaction wins, three times.
    Conflict,
}

/// One way to get an error.
pub struct Trigger {
    pub status: u16,
    /// What the engine calls it. `None`: the server answers before the engine is asked.
    pub code: Option<Code>,
    pub when: &'static str,
    pub routes: &'static str,
    pub before: Before,
    /// Method and path, header lines, an empty line, the body. `{customer}` and its like are filled in.
    pub request: &'static str,
    /// The body, to the byte.
    pub body: &'static str,
    /// Headers of the answer that this error is about.
    pub headers: &'static [(&'static str, &'static str)],
}

const CHALLENGE: &[(&str, &str)] = &[("WWW-Authenticate", "Bearer"), ("Vary", "Accept")];
const EMAILPASS: &str = "`/auth/{actor_type}/emailpass`, `…/register`";
const PROVIDERS: &str = "`/auth/{actor_type}/{auth_provider}` and below";
const STORE: &str = "`/store/*`";
const ADMIN_LIST: &str = "`GET /admin/customers`";
const EVENTS: &str = "`GET /admin/events`";
const ME: &str = "`/store/customers/me`";
const ADDRESSES: &str = "`/store/customers/me/addresses`";
const ADDRESS: &str = "`/store/customers/me/addresses/{id}`";
const CUSTOMERS: &str = "`POST /store/customers`";
const SIGN_IN_BY: &str = "`/auth/{actor_type}/{auth_provider}` of a third party";
const CALLBACK: &str = "`…/callback`";
const IDENTITIES: &str = "`POST /auth/identities`, `DELETE /auth/identities/{id}`";
const CHANGE: &str = "`POST …/change-password`";
const UPDATE: &str = "`POST …/update`";
const WITH_BODY: &str = "every route that reads a body";
const KEYED: &str = "every `POST` of `/auth` and `/store`";
const WRITES: &str = "every route that writes";

const fn row(status: u16, code: Code, when: &'static str, routes: &'static str, request: &'static str, body: &'static str) -> Trigger {
    Trigger { status, code: Some(code), when, routes, before: Before::Nothing, request, body, headers: &[] }
}

impl Trigger {
    const fn before(self, before: Before) -> Self {
        Self { before, ..self }
    }

    const fn headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    const fn of_the_server(self) -> Self {
        Self { code: None, ..self }
    }
}

pub const TRIGGERS: &[Trigger] = &[
    row(400, Code::InvalidData, "A field is missing", "`POST …/reset-password`",
        "POST /auth/customer/emailpass/reset-password\n\n{}",
        r#"{"type":"invalid_data","message":"Invalid request: Field 'identifier' is required"}"#),
    row(400, Code::InvalidData, "Fields have wrong types or are unknown; the first three issues, unknown fields last", "`/store/customers` and below, `POST …/reset-password`",
        "POST /store/customers/me\nauthorization: Bearer {customer}\n\n{\"role\":\"admin\",\"first_name\":5,\"metadata\":[1]}",
        r#"{"type":"invalid_data","message":"Invalid request: Expected type: 'string' for field 'first_name', got: '5'; Expected type: 'record' for field 'metadata', got: '1'; Unrecognized fields: 'role'"}"#),
    row(400, Code::InvalidData, "A query parameter is unknown", "`/store/customers` and below",
        "GET /store/customers/me?expand=x\nauthorization: Bearer {customer}",
        r#"{"type":"invalid_data","message":"Invalid request: Unrecognized fields: 'expand'"}"#),
    row(400, Code::InvalidData, "`fields` is more than one text", "`/store/customers` and below",
        "GET /store/customers/me?fields=id&fields=email\nauthorization: Bearer {customer}",
        r#"{"type":"invalid_data","message":"Invalid request: Expected type: 'string' for field 'fields', got: 'id,email'"}"#),
    row(400, Code::InvalidData, "`limit` or `offset` is no number, or a negative one", ADDRESSES,
        "GET /store/customers/me/addresses?limit=abc&offset=-1\nauthorization: Bearer {customer}",
        r#"{"type":"invalid_data","message":"Invalid request: Value for field 'offset' too small, expected at least: '0'; Expected type: 'number' for field 'limit', got: 'abc'"}"#),
    row(400, Code::InvalidData, "`order` names no field of an address", ADDRESSES,
        "GET /store/customers/me/addresses?order=-nope\nauthorization: Bearer {customer}",
        r#"{"type":"invalid_data","message":"Order field nope is not valid"}"#),
    row(400, Code::InvalidData, "`limit` or `offset` is more than a list of customers goes", ADMIN_LIST,
        "GET /admin/customers?limit=201&offset=10001\nauthorization: {program}",
        r#"{"type":"invalid_data","message":"Invalid request: Value for field 'offset' too big, expected at most: '10000'; Value for field 'limit' too big, expected at most: '200'"}"#),
    row(400, Code::InvalidData, "`order` is neither `id` nor `created_at`", ADMIN_LIST,
        "GET /admin/customers?order=email\nauthorization: {program}",
        r#"{"type":"invalid_data","message":"Order field email is not valid"}"#),
    row(400, Code::InvalidData, "`created_at` has another operator, or no time", ADMIN_LIST,
        "GET /admin/customers?created_at[$gt]=x\nauthorization: {program}",
        r#"{"type":"invalid_data","message":"Invalid request: Field 'created_at, $gt' is neither $gt, $gte, $lt nor $lte with a time such as 2026-11-23T15:16:40.973Z"}"#),
    row(400, Code::InvalidData, "`after`, `limit` or `wait` is no number, or out of its bounds", EVENTS,
        "GET /admin/events?limit=501&wait=31\nauthorization: {program}",
        r#"{"type":"invalid_data","message":"Invalid request: Value for field 'limit' too big, expected at most: '500'; Value for field 'wait' too big, expected at most: '30'"}"#),
    row(400, Code::InvalidData, "`name` covers no event", EVENTS,
        "GET /admin/events?name=customer.*&name=auth.nothing\nauthorization: {program}",
        r#"{"type":"invalid_data","message":"There is no event auth.nothing"}"#),
    row(400, Code::InvalidData, "`after` is higher than the last number: the database was restored, say", EVENTS,
        "GET /admin/events?after=999999\nauthorization: {program}",
        r#"{"type":"invalid_data","message":"There is no event with number 999999 yet"}"#),
    row(400, Code::InvalidData, "`after_id` is no event's id, or not the id of the event `after`: the database was restored", EVENTS,
        "GET /admin/events?after=1&after_id=evt_00000000000000000000000000\nauthorization: {program}",
        r#"{"type":"invalid_data","message":"The event with number 1 is another one: the database was restored from a backup"}"#),
    row(400, Code::InvalidData, "The customer has as many addresses as it may have", "`POST /store/customers/me/addresses`",
        "POST /store/customers/me/addresses\nauthorization: Bearer {customer}\n\n{}",
        r#"{"type":"invalid_data","message":"A customer can have at most 200 addresses"}"#).before(Before::AddressesFull),
    row(400, Code::InvalidData, "The answer is too large to be kept for an Idempotency-Key; nothing was changed", "`/store/customers/me` and below",
        "POST /store/customers/me\nidempotency-key: large\nauthorization: Bearer {customer}\n\n{}",
        r#"{"type":"invalid_data","message":"With an Idempotency-Key an answer may have at most 32768 bytes; ask for fewer fields"}"#).before(Before::ProfileLarge),
    row(400, Code::InvalidData, "The Idempotency-Key is empty, longer than 255 characters, or not of visible ASCII", KEYED,
        "POST /auth/customer/emailpass\nidempotency-key: a b\n\n{}",
        r#"{"type":"invalid_data","message":"The Idempotency-Key must be 1 to 255 visible ASCII characters"}"#),
    row(400, Code::InvalidData, "A string is no address, or could pass for another", "`/auth/{actor_type}/emailpass`, `…/register`, `…/reset-password`",
        "POST /auth/customer/emailpass\n\n{\"email\":\"ann\",\"password\":\"an-Old-pass-8\"}",
        r#"{"type":"invalid_data","message":"Invalid email address"}"#),
    row(400, Code::InvalidData, "The new password is too short for this shop", "`…/register`, `…/update`, `…/change-password`",
        "POST /auth/customer/emailpass/register\n\n{\"email\":\"new@example.com\",\"password\":\"zkwmqxv\"}",
        r#"{"type":"invalid_data","message":"Password must be at least 8 characters long"}"#),
    row(400, Code::InvalidData, "The new password is one of the 5000 commonest", "`…/register`, `…/update`, `…/change-password`",
        "POST /auth/customer/emailpass/update\nauthorization: Bearer {reset}\n\n{\"password\":\"password1\"}",
        r#"{"type":"invalid_data","message":"Password is too common"}"#),
    row(400, Code::InvalidData, "The new password is longer than 1024 bytes", "`…/register`, `…/update`, `…/change-password`",
        "POST /auth/customer/emailpass/register\n\n{\"email\":\"new@example.com\",\"password\":\"{1025 letters}\"}",
        r#"{"type":"invalid_data","message":"Password must be at most 1024 bytes long"}"#),
    row(400, Code::InvalidData, "The new password is little more than the shop's name or the address", "`…/register`, `…/update`, `…/change-password`",
        "POST /auth/customer/emailpass/register\n\n{\"email\":\"new@example.com\",\"password\":\"Acme2026\"}",
        r#"{"type":"invalid_data","message":"Password must not contain the name of the shop or your address"}"#),
    row(400, Code::InvalidData, "Credentials stand in the query and in the body", EMAILPASS,
        "POST /auth/customer/emailpass?password=x\n\n{\"email\":\"ann@example.com\",\"password\":\"an-Old-pass-8\"}",
        r#"{"type":"invalid_data","message":"The field 'password' is given in the query, too"}"#),
    row(400, Code::InvalidData, "The token names a customer already, or its login became one meanwhile", CUSTOMERS,
        "POST /store/customers\nauthorization: Bearer {customer}\n\n{\"email\":\"ann@example.com\"}",
        r#"{"type":"invalid_data","message":"Request already authenticated as a customer."}"#),
    row(400, Code::InvalidData, "No address is given", CUSTOMERS,
        "POST /store/customers\nauthorization: Bearer {login}\n\n{}",
        r#"{"type":"invalid_data","message":"Email is required to create a customer"}"#),
    row(400, Code::InvalidData, "The address is not the login's own (`customers.email_must_match_identity`)", CUSTOMERS,
        "POST /store/customers\nauthorization: Bearer {login}\n\n{\"email\":\"victim@example.com\"}",
        r#"{"type":"invalid_data","message":"The email must be the address that you registered with"}"#),
    row(400, Code::InvalidData, "The JSON ends too early", WITH_BODY,
        "POST /auth/customer/emailpass\n\n{\"email\":",
        r#"{"type":"invalid_data","message":"Unexpected end of JSON input"}"#),
    row(400, Code::InvalidData, "The JSON is malformed; the text names the place", WITH_BODY,
        "POST /auth/customer/emailpass\n\n{email:1}",
        r#"{"type":"invalid_data","message":"Malformed JSON: key must be a string at line 1 column 2"}"#),
    row(400, Code::InvalidData, "The JSON is neither an object nor an array", WITH_BODY,
        "POST /auth/customer/emailpass\n\nnull",
        r#"{"type":"invalid_data","message":"Unexpected token 'n', \"null\" is not valid JSON"}"#),
    row(400, Code::InvalidData, "A key of the JSON or a field of a form is repeated", WITH_BODY,
        "POST /auth/customer/emailpass\ncontent-type: application/x-www-form-urlencoded\n\nemail=a&email=b",
        r#"{"type":"invalid_data","message":"The field 'email' is given twice"}"#),
    row(400, Code::InvalidData, "`callback_url` is not one of the provider's", SIGN_IN_BY,
        "POST /auth/customer/certified\n\n{\"callback_url\":\"https://evil.example/cb\"}",
        r#"{"type":"invalid_data","message":"The callback_url is neither the provider's callback_url nor in its allowed_callback_urls; it must equal one of them letter by letter"}"#),
    row(400, Code::InvalidData, "The path is no UTF-8", "everywhere under `/auth` where the path has a name or an id",
        "GET /auth/%ff/providers\n\n{}",
        r#"{"type":"invalid_data","message":"The path holds a character that is no UTF-8"}"#),
    row(400, Code::InvalidData, "`all` is neither true nor false", "`DELETE /auth/sessions`",
        "DELETE /auth/sessions?all=2\nauthorization: Bearer {customer}\n\n{}",
        r#"{"type":"invalid_data","message":"Invalid request: Expected type: 'boolean' for field 'all', got: '2'"}"#),
    row(400, Code::InvalidData, "`callback_url` is no string", SIGN_IN_BY,
        "POST /auth/customer/certified\n\n{\"callback_url\":5}",
        r#"{"type":"invalid_data","message":"callback_url must be a string"}"#),
    row(400, Code::InvalidData, "A parameter of the callback has two values", CALLBACK,
        "GET /auth/customer/certified/callback?code=a&code=b",
        r#"{"type":"invalid_data","message":"The parameter 'code' is given twice"}"#),
    row(400, Code::InvalidData, "The login has no account that another could be linked to", IDENTITIES,
        "DELETE /auth/identities/{login id}\nauthorization: Bearer {login}",
        r#"{"type":"invalid_data","message":"The login has no account yet"}"#),
    row(400, Code::InvalidData, "`current_password` or `password` is missing or no string", CHANGE,
        "POST /auth/customer/emailpass/change-password\nauthorization: Bearer {customer}\n\n{\"password\":5}",
        r#"{"type":"invalid_data","message":"Invalid request: Field 'current_password' is required; Expected type: 'string' for field 'password', got: '5'"}"#),
    row(400, Code::NotAllowed, "The provider has no passwords; of a login that has none: `This login has no password to change`", CHANGE,
        "POST /auth/customer/certified/change-password\nauthorization: Bearer {customer}\n\n{\"current_password\":\"an-Old-pass-8\",\"password\":\"a-New-pass-9\"}",
        r#"{"type":"not_allowed","message":"The auth provider certified has no password to change"}"#),
    row(400, Code::NotAllowed, "It is the last way in", "`DELETE /auth/identities/{id}`",
        "DELETE /auth/identities/{customer id}\nauthorization: Bearer {customer}",
        r#"{"type":"not_allowed","message":"The last way in to an account cannot be removed"}"#),
    row(400, Code::NotAllowed, "The login to be linked has an account already", "`POST /auth/identities`",
        "POST /auth/identities\nauthorization: Bearer {proven}\n\n{\"token\":\"{customer}\"}",
        r#"{"type":"not_allowed","message":"The login belongs to an account already"}"#),
    row(400, Code::NotAllowed, "The shop does not know the actor type or does not let it use the provider", PROVIDERS,
        "POST /auth/user/google\n\n{}",
        r#"{"type":"not_allowed","message":"The actor type user is not allowed to use the auth provider google"}"#),
    row(400, Code::NotAllowed, "The publishable key is missing or empty", STORE,
        "GET /store/customers/me\nx-publishable-api-key: \nauthorization: Bearer {customer}",
        r#"{"type":"not_allowed","message":"Publishable API key required in the request header: x-publishable-api-key. You can manage your keys in settings in the dashboard."}"#),
    row(400, Code::NotAllowed, "The publishable key is unknown here, revoked, or a secret key", STORE,
        "GET /store/customers/me\nx-publishable-api-key: pk_x\nauthorization: Bearer {customer}",
        r#"{"type":"not_allowed","message":"A valid publishable key is required to proceed with the request"}"#),
    row(401, Code::Unauthenticated, "No token, or one that is malformed, expired, another shop's, of an ended session, or of another kind; no such cookie either; `Accept` names JSON", "`/store/customers`, `…/me`, `/auth/session`, `/auth/sessions`, `…/change-password`, `/admin/*`",
        "GET /store/customers/me\nauthorization: Bearer {login}",
        r#"{"type":"unauthorized","message":"Unauthorized"}"#).headers(CHALLENGE),
    row(401, Code::Unauthenticated, "As above; `Accept` does not name JSON", "`/store/customers`, `…/me`",
        "GET /store/customers/me\naccept: */*", "Unauthorized")
        .headers(&[("WWW-Authenticate", "Bearer"), ("Vary", "Accept"), ("Content-Type", "text/plain; charset=utf-8")]),
    row(401, Code::Unauthorized, "A secret key is sent as a bearer", "`/admin/*`",
        "GET /admin/customers\nauthorization: Bearer sk_x",
        r#"{"type":"unauthorized","message":"A secret API key was passed as a Bearer token. Secret API keys must be sent using HTTP Basic authentication instead (Authorization: Basic <secret-api-key>)."}"#)
        .headers(CHALLENGE),
    row(401, Code::Unauthorized, "The address is unknown, or the password wrong", "`POST /auth/{actor_type}/emailpass`",
        "POST /auth/customer/emailpass\n\n{\"email\":\"ann@example.com\",\"password\":\"a-Wrong-pass-1\"}",
        r#"{"type":"unauthorized","message":"Invalid email or password"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "`password` is missing, empty or no string", EMAILPASS,
        "POST /auth/customer/emailpass\n\n{\"email\":\"ann@example.com\",\"password\":1}",
        r#"{"type":"unauthorized","message":"Password should be a string"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "`email` is missing, empty or no string", EMAILPASS,
        "POST /auth/customer/emailpass\n\n{\"email\":[\"ann@example.com\"],\"password\":\"an-Old-pass-8\"}",
        r#"{"type":"unauthorized","message":"Email should be a string"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The address has a login already, with an actor or another password", "`…/register`",
        "POST /auth/customer/emailpass/register\n\n{\"email\":\"ann@example.com\",\"password\":\"an-Old-pass-8\"}",
        r#"{"type":"unauthorized","message":"Identity with email already exists"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The provider passes the list and is not installed", "`/auth/{actor_type}/{auth_provider}`, `…/register`",
        "POST /auth/customer/nope\n\n{}",
        r#"{"type":"unauthorized","message":"\nUnable to retrieve the auth provider with id: nope\nPlease make sure that the provider is registered in the container and it is configured correctly in your project configuration file."}"#)
        .headers(CHALLENGE),
    row(401, Code::Unauthorized, "The provider takes no registrations", "`…/register`",
        "POST /auth/customer/certified/register\n\n{}",
        r#"{"type":"unauthorized","message":"Certified does not support registration. Use method `authenticate` instead."}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The provider signs in with a password and has no callback", CALLBACK,
        "GET /auth/customer/emailpass/callback",
        r#"{"type":"unauthorized","message":"Callback authentication not implemented for provider emailpass"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The callback has no code", CALLBACK,
        "GET /auth/customer/certified/callback",
        r#"{"type":"unauthorized","message":"No code provided"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The state is missing, unknown, spent, expired, another shop's, or was made for another provider or actor type", CALLBACK,
        "GET /auth/customer/certified/callback?code=x&state=deadbeef",
        r#"{"type":"unauthorized","message":"No state provided, or session expired"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The provider says that it went wrong: its own words, on one line", CALLBACK,
        "GET /auth/customer/certified/callback?error=access_denied&error_description=User+denied&error_uri=https://x/y",
        r#"{"type":"unauthorized","message":"User denied, read more at: https://x/y"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The provider's settings are wrong; `vestibule check` says how, too", SIGN_IN_BY,
        "POST /auth/customer/unfinished\n\n{}",
        r#"{"type":"unauthorized","message":"The auth provider unfinished is not configured: callback_url is missing"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The token to be linked is none", "`POST /auth/identities`",
        "POST /auth/identities\nauthorization: Bearer {customer}\n\n{\"token\":\"garbage\"}",
        r#"{"type":"unauthorized","message":"Invalid token"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The reset token is missing, malformed, expired, used, replaced by a newer one, or for another shop, actor type or provider", UPDATE,
        "POST /auth/customer/emailpass/update\nauthorization: Bearer {customer}\n\n{\"password\":\"a-New-pass-9\"}",
        r#"{"type":"unauthorized","message":"Invalid token"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The current password is wrong; it counts as a failed sign-in", CHANGE,
        "POST /auth/customer/emailpass/change-password\nauthorization: Bearer {customer}\n\n{\"current_password\":\"a-Wrong-pass-1\",\"password\":\"a-New-pass-9\"}",
        r#"{"type":"unauthorized","message":"The current password is wrong"}"#).headers(CHALLENGE),
    row(401, Code::Unauthorized, "The new password is missing, empty or no string; the token is not spent", UPDATE,
        "POST /auth/customer/emailpass/update\nauthorization: Bearer {reset}\n\n{\"password\":5}",
        r#"{"type":"unauthorized","message":"Unauthorized"}"#).headers(CHALLENGE),
    row(403, Code::Forbidden, "A session's cookie comes with a write from a page that is neither the API's own nor in `[tenants.cors]`", "every route that takes a cookie and writes",
        "DELETE /auth/session\norigin: https://evil.example\ncookie: {cookie}",
        r#"{"type":"forbidden","message":"A page of this origin may not use the cookie to change anything"}"#),
    row(403, Code::Forbidden, "The sign-in is older than ten minutes", IDENTITIES,
        "DELETE /auth/identities/{customer id}\nauthorization: Bearer {stale}",
        r#"{"type":"forbidden","message":"Sign in again: how an account is reached can be changed within ten minutes of a sign-in"}"#),
    row(403, Code::Forbidden, "Nobody has shown the account's address to be its owner's, and the new login does not either", "`POST /auth/identities`",
        "POST /auth/identities\nauthorization: Bearer {customer}\n\n{\"token\":\"{login}\"}",
        r#"{"type":"forbidden","message":"Show first that your address is yours: ask for a new password and follow the link in the mail"}"#),
    row(404, Code::NotFound, "No shop is at this host, or it is disabled", "all but `/health`, `/livez`, `/readyz`, `/dev/inbox…` and, where the path names the shop, `/t/{slug}/…`",
        "POST /auth/customer/emailpass\nhost: nope.api.example.com\n\n{}",
        r#"{"type":"not_found","message":"There is no store at this host"}"#),
    row(404, Code::NotFound, "The customer was deleted", ME,
        "GET /store/customers/me\nauthorization: Bearer {deleted}",
        r#"{"type":"not_found","message":"Customer with id: {deleted id} was not found"}"#),
    row(404, Code::NotFound, "The customer has no such address, whoever else may have it", ADDRESS,
        "GET /store/customers/me/addresses/cuaddr_nope\nauthorization: Bearer {customer}",
        r#"{"type":"not_found","message":"Address with id: cuaddr_nope was not found"}"#),
    row(404, Code::NotFound, "The account has no such living session, whoever else may have it", "`DELETE /auth/sessions/{id}`",
        "DELETE /auth/sessions/nope\nauthorization: Bearer {customer}",
        r#"{"type":"not_found","message":"Session with id: nope was not found"}"#),
    row(404, Code::NotFound, "The shop has no such customer, whichever other may have it", "`GET /admin/customers/{id}`",
        "GET /admin/customers/cus_nope\nauthorization: {program}",
        r#"{"type":"not_found","message":"Customer with id: cus_nope not found"}"#),
    row(404, Code::NotFound, "The account has no such login", "`DELETE /auth/identities/{id}`",
        "DELETE /auth/identities/{login id}\nauthorization: Bearer {customer}",
        r#"{"type":"not_found","message":"AuthIdentity with id: {login id} was not found"}"#),
    row(404, Code::NotFound, "The login was deleted while its session was in use", CUSTOMERS,
        "POST /store/customers\nauthorization: Bearer {orphan}\n\n{\"email\":\"orphan@example.com\"}",
        r#"{"type":"not_found","message":"AuthIdentity with id: {orphan id} was not found"}"#),
    row(404, Code::NotFound, "There is no such route, or not with this method: there is no 405", "everywhere",
        "DELETE /auth/customer/emailpass\n\n{}",
        r#"{"type":"not_found","message":"Cannot DELETE /auth/customer/emailpass"}"#).of_the_server(),
    row(409, Code::Conflict, "Other requests changed the same rows, three times in a row", WRITES,
        "POST /store/customers/me\nidempotency-key: of-the-caller\nauthorization: Bearer {customer}\n\n{}",
        r#"{"code":"unknown_error","type":"QueryRunnerAlreadyReleasedError","message":"The request conflicted with another request. You may retry the request with the provided Idempotency-Key."}"#)
        .before(Before::Conflict).headers(&[("Idempotency-Key", "of-the-caller")]),
    row(409, Code::Conflict, "A request with this Idempotency-Key is being answered, or its answer held a token whose session has ended or a cookie that was replaced: then take a new key", KEYED,
        "POST /store/customers/me\nidempotency-key: in-flight\nauthorization: Bearer {customer}\n\n{\"role\":\"admin\"}",
        r#"{"code":"unknown_error","type":"QueryRunnerAlreadyReleasedError","message":"The request conflicted with another request. You may retry the request with the provided Idempotency-Key."}"#)
        .before(Before::KeyInFlight).headers(&[("Idempotency-Key", "in-flight")]),
    row(410, Code::Gone, "Events behind `after` are no longer kept", EVENTS,
        "GET /admin/events?after=2\nauthorization: {program}",
        r#"{"type":"gone","message":"Events up to number 3 are no longer kept"}"#).before(Before::EventsSwept),
    row(413, Code::InvalidData, "The body is larger than 100 KiB", WITH_BODY,
        "POST /auth/customer/emailpass\n\n{\"email\":\"{102400 letters}\"}",
        r#"{"type":"unknown_error","message":"request entity too large"}"#).of_the_server(),
    row(415, Code::InvalidData, "The charset is not UTF-8", WITH_BODY,
        "POST /auth/customer/emailpass\ncontent-type: application/json; charset=foo\n\n{}",
        r#"{"type":"unknown_error","message":"unsupported charset \"FOO\""}"#).of_the_server(),
    row(415, Code::InvalidData, "The body is compressed", WITH_BODY,
        "POST /auth/customer/emailpass\ncontent-encoding: gzip\n\n{}",
        r#"{"type":"unknown_error","message":"unsupported content encoding \"gzip\""}"#).of_the_server(),
    row(422, Code::Duplicate, "Another customer has the address", CUSTOMERS,
        "POST /store/customers\nhost: globex.api.example.com\nx-publishable-api-key: {globex key}\nauthorization: Bearer {second}\n\n{\"email\":\"ann@example.com\"}",
        r#"{"code":"invalid_request_error","type":"duplicate_error","message":"Customer with this email already has an account"}"#),
    row(422, Code::Duplicate, "The Idempotency-Key was sent with another body, query, session, token or origin", KEYED,
        "POST /store/customers/me\nidempotency-key: used\nauthorization: Bearer {customer}\n\n{}",
        r#"{"code":"invalid_request_error","type":"duplicate_error","message":"The Idempotency-Key was sent with another request already"}"#).before(Before::KeyUsed),
    row(429, Code::TooManyRequests, "A budget is spent: failed sign-ins of an address; sign-ins, registrations or resets of a client; sign-ins or registrations of a shop; changes of a customer; new Idempotency-Keys of a caller or a shop; other requests with one Idempotency-Key. The address need not exist", "`/auth/*`, `POST /store/customers`, `POST /store/customers/me`, writes to `/store/customers/me/addresses`",
        "POST /auth/customer/emailpass\n\n{\"email\":\"spent@example.com\",\"password\":\"a-Wrong-pass-1\"}",
        r#"{"type":"too_many_requests","message":"Too many requests. Please try again later."}"#)
        .before(Before::GuessesSpent).headers(&[("Retry-After", "901")]),
    row(500, Code::HashingFailed, "A password could not be hashed; nothing was changed", "`/auth/{actor_type}/emailpass`, `…/register`, `…/update`, `…/change-password`",
        "POST /auth/customer/emailpass/register\n\n{\"email\":\"new@example.com\",\"password\":\"an-Old-pass-8\"}",
        r#"{"code":"api_error","type":"database_error","message":"An error occured while hashing password"}"#).before(Before::HashingFails),
    row(500, Code::StorageFailed, "The database refused; nothing was changed", WRITES,
        "POST /auth/customer/emailpass/register\n\n{\"email\":\"new@example.com\",\"password\":\"an-Old-pass-8\"}",
        r#"{"code":"api_error","type":"database_error","message":"An error occurred while accessing the database"}"#).before(Before::CommitFails),
    row(500, Code::Unexpected, "A defect of ours or damaged data; the log says more", "everywhere",
        "POST /auth/customer/emailpass\n\n{\"email\":\"damaged@example.com\",\"password\":\"an-Old-pass-8\"}",
        r#"{"code":"unknown_error","type":"unknown_error","message":"An unknown error occurred."}"#),
    row(503, Code::Busy, "The database is out of reach, or too much work waits; nothing was changed", WRITES,
        "POST /store/customers/me\nauthorization: Bearer {customer}\n\n{}",
        r#"{"type":"service_unavailable","message":"The service is busy. Please try again shortly."}"#)
        .before(Before::BeginFails).headers(&[("Retry-After", "1")]),
    row(503, Code::Busy, "The connection to the database broke during the commit: nobody knows whether the change is stored", WRITES,
        "POST /store/customers/me\nauthorization: Bearer {customer}\n\n{}",
        r#"{"type":"service_unavailable","message":"The connection to the database was lost; the request may or may not have taken effect."}"#)
        .before(Before::CommitLost).headers(&[("Retry-After", "1")]),
];
