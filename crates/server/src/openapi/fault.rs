//! Errors as examples. Status and body of each are made by the code that makes them on the wire.

use serde_json::Value;
use vestibule_engine::error::{Code, Error};

use crate::error::ApiError;

/// One way in which a route can fail.
pub struct Fault {
    /// Its key among the examples.
    pub name: &'static str,
    pub when: &'static str,
    kind: Kind,
}

enum Kind {
    Engine(Code, &'static str),
    TooLarge,
    Unsupported(&'static str),
}

impl Fault {
    /// Status and body.
    #[must_use]
    pub fn answer(&self) -> (u16, Value) {
        let error = match self.kind {
            Kind::Engine(code, message) => ApiError::from(Error::new(code, message)),
            Kind::TooLarge => ApiError::TooLarge,
            Kind::Unsupported(text) => ApiError::Unsupported(text.to_owned()),
        };
        let (status, body) = error.answer();
        (status.as_u16(), body)
    }

    /// Whether its body is negotiated: plain text for whoever does not ask for JSON.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Engine(Code::Unauthorized | Code::Unauthenticated, "Unauthorized"))
    }
}

const fn fault(code: Code, name: &'static str, when: &'static str, message: &'static str) -> Fault {
    Fault { name, when, kind: Kind::Engine(code, message) }
}

const fn invalid(name: &'static str, when: &'static str, message: &'static str) -> Fault {
    fault(Code::InvalidData, name, when, message)
}

const fn unauthorized(name: &'static str, when: &'static str, message: &'static str) -> Fault {
    fault(Code::Unauthorized, name, when, message)
}

// 400: what is sent breaks a rule.
pub const MISSING_FIELD: Fault = invalid("missing_field", "A field is missing.", "Invalid request: Field 'identifier' is required");
pub const CURRENT_PASSWORD_MISSING: Fault = invalid(
    "current_password_missing",
    "current_password or password is missing or no text.",
    "Invalid request: Field 'current_password' is required; Expected type: 'string' for field 'password', got: '5'",
);
pub const WRONG_FIELDS: Fault = invalid(
    "wrong_fields",
    "Fields have wrong types or are unknown; the first three faults are named.",
    "Invalid request: Expected type: 'string' for field 'first_name', got: '5'; Expected type: 'record' for field 'metadata', got: '1'; Unrecognized fields: 'role'",
);
pub const PATH_NO_UTF8: Fault = invalid("path_no_utf8", "The path is no UTF-8.", "The path holds a character that is no UTF-8");
pub const UNKNOWN_PARAMETER: Fault = invalid("unknown_parameter", "A query parameter is unknown.", "Invalid request: Unrecognized fields: 'expand'");
pub const FIELDS_TWICE: Fault =
    invalid("fields_twice", "fields is more than one text.", "Invalid request: Expected type: 'string' for field 'fields', got: 'id,email'");
pub const NO_COUNT: Fault = invalid(
    "no_count",
    "limit or offset is no number, or a negative one.",
    "Invalid request: Value for field 'offset' too small, expected at least: '0'; Expected type: 'number' for field 'limit', got: 'abc'",
);
pub const UNKNOWN_ORDER: Fault = invalid("unknown_order", "order names no field of an address.", "Order field nope is not valid");
pub const COUNT_TOO_BIG: Fault = invalid(
    "count_too_big",
    "limit or offset is more than a list of customers goes.",
    "Invalid request: Value for field 'offset' too big, expected at most: '10000'; Value for field 'limit' too big, expected at most: '200'",
);
pub const EVENT_COUNTS: Fault = invalid(
    "event_counts",
    "after, limit or wait is no number, or out of its bounds.",
    "Invalid request: Value for field 'limit' too big, expected at most: '500'; Value for field 'wait' too big, expected at most: '30'",
);
pub const UNKNOWN_EVENT: Fault = invalid("unknown_event", "name covers no event.", "There is no event auth.nothing");
pub const EVENT_AHEAD: Fault =
    invalid("event_ahead", "after is higher than the last number: the database was restored, say.", "There is no event with number 999999 yet");
pub const EVENT_REPLACED: Fault = invalid(
    "event_replaced",
    "after_id is no event's id, or not the id of the event after: the database was restored.",
    "The event with number 1 is another one: the database was restored from a backup",
);
pub const UNKNOWN_STAFF_ORDER: Fault = invalid("unknown_staff_order", "order is neither id nor created_at.", "Order field email is not valid");
pub const NO_TIME: Fault = invalid(
    "no_time",
    "created_at has another operator, or no time.",
    "Invalid request: Field 'created_at, $gt' is neither $gt, $gte, $lt nor $lte with a time such as 2026-11-23T15:16:40.973Z",
);
pub const ADDRESSES_FULL: Fault =
    invalid("addresses_full", "The customer has as many addresses as it may have.", "A customer can have at most 200 addresses");
pub const KEY_MALFORMED: Fault = invalid(
    "key_malformed",
    "The Idempotency-Key is empty, longer than 255 characters, not of visible ASCII, or given twice.",
    "The Idempotency-Key must be 1 to 255 visible ASCII characters",
);
pub const TOO_LARGE_TO_KEEP: Fault = invalid(
    "too_large_to_keep",
    "The answer is too large to be kept for an Idempotency-Key; nothing was changed.",
    "With an Idempotency-Key an answer may have at most 32768 bytes; ask for fewer fields",
);
pub const NO_EMAIL_ADDRESS: Fault = invalid("no_email_address", "A text is no e-mail address, or could pass for another.", "Invalid email address");
pub const SHORT_PASSWORD: Fault =
    invalid("short_password", "The new password is too short for this store.", "Password must be at least 8 characters long");
pub const COMMON_PASSWORD: Fault = invalid("common_password", "The new password is one of the commonest.", "Password is too common");
pub const LONG_PASSWORD: Fault = invalid("long_password", "The new password is longer than 1024 bytes.", "Password must be at most 1024 bytes long");
pub const TELLING_PASSWORD: Fault = invalid(
    "telling_password",
    "The new password is little more than the store's name or the address.",
    "Password must not contain the name of the shop or your address",
);
pub const CREDENTIALS_IN_QUERY: Fault =
    invalid("credentials_in_query", "Credentials stand in the query and in the body.", "The field 'password' is given in the query, too");
pub const ALREADY_CUSTOMER: Fault = invalid("already_customer", "The login is a customer already.", "Request already authenticated as a customer.");
pub const EMAIL_MISSING: Fault = invalid("email_missing", "No e-mail address is given.", "Email is required to create a customer");
pub const EMAIL_OF_ANOTHER: Fault =
    invalid("email_of_another", "The e-mail address is not the login's own.", "The email must be the address that you registered with");
pub const JSON_ENDS_EARLY: Fault = invalid("json_ends_early", "The JSON ends too early.", "Unexpected end of JSON input");
pub const JSON_MALFORMED: Fault = invalid("json_malformed", "The JSON is malformed.", "Malformed JSON: key must be a string at line 1 column 2");
pub const JSON_NO_OBJECT: Fault =
    invalid("json_no_object", "The JSON is neither an object nor an array.", "Unexpected token 'n', \"null\" is not valid JSON");
pub const REPEATED_FIELD: Fault =
    invalid("repeated_field", "A key of the JSON or a field of a form is repeated.", "The field 'email' is given twice");
pub const UNKNOWN_CALLBACK_URL: Fault = invalid(
    "unknown_callback_url",
    "callback_url is not one of the provider's.",
    "The callback_url is neither the provider's callback_url nor in its allowed_callback_urls; it must equal one of them letter by letter",
);
pub const CALLBACK_URL_NO_TEXT: Fault = invalid("callback_url_no_text", "callback_url is no text.", "callback_url must be a string");
pub const NO_SWITCH: Fault =
    invalid("no_switch", "all is neither true nor false.", "Invalid request: Expected type: 'boolean' for field 'all', got: '2'");
pub const PARAMETER_TWICE: Fault = invalid("parameter_twice", "A parameter of the callback has two values.", "The parameter 'code' is given twice");
pub const NO_ACCOUNT: Fault = invalid("no_account", "The login has no account that another could be linked to.", "The login has no account yet");

// 400: the store does not allow it.
pub const NO_PASSWORD: Fault = fault(
    Code::NotAllowed,
    "no_password",
    "The provider has no passwords, or the login has none.",
    "The auth provider certified has no password to change",
);
pub const LAST_WAY_IN: Fault = fault(Code::NotAllowed, "last_way_in", "It is the last way in.", "The last way in to an account cannot be removed");
pub const LOGIN_TAKEN: Fault =
    fault(Code::NotAllowed, "login_taken", "The login to be linked has an account already.", "The login belongs to an account already");
pub const PROVIDER_NOT_ALLOWED: Fault = fault(
    Code::NotAllowed,
    "provider_not_allowed",
    "The store does not know the actor type, or does not let it use the provider.",
    "The actor type user is not allowed to use the auth provider google",
);
pub const KEY_MISSING: Fault = fault(
    Code::NotAllowed,
    "key_missing",
    "The publishable key is missing or empty.",
    "Publishable API key required in the request header: x-publishable-api-key. You can manage your keys in settings in the dashboard.",
);
pub const KEY_UNKNOWN: Fault = fault(
    Code::NotAllowed,
    "key_unknown",
    "The publishable key is unknown here, revoked, or a secret key.",
    "A valid publishable key is required to proceed with the request",
);

// 401
pub const UNAUTHENTICATED: Fault = fault(
    Code::Unauthenticated,
    "unauthenticated",
    "There is no token, or one that is malformed, expired, another store's, of an ended session, or of another kind.",
    "Unauthorized",
);
pub const KEY_AS_BEARER: Fault = unauthorized(
    "key_as_bearer",
    "A secret key is sent as a bearer.",
    "A secret API key was passed as a Bearer token. Secret API keys must be sent using HTTP Basic authentication instead (Authorization: Basic <secret-api-key>).",
);
pub const NO_NEW_PASSWORD: Fault =
    unauthorized("no_new_password", "The new password is missing, empty or no text; the token is not spent.", "Unauthorized");
pub const WRONG_CREDENTIALS: Fault = unauthorized("wrong_credentials", "The address is unknown, or the password wrong.", "Invalid email or password");
pub const PASSWORD_NO_TEXT: Fault = unauthorized("password_no_text", "password is missing, empty or no text.", "Password should be a string");
pub const EMAIL_NO_TEXT: Fault = unauthorized("email_no_text", "email is missing, empty or no text.", "Email should be a string");
pub const WRONG_CURRENT_PASSWORD: Fault =
    unauthorized("wrong_current_password", "The current password is wrong; it counts as a failed sign-in.", "The current password is wrong");
pub const ALREADY_REGISTERED: Fault =
    unauthorized("already_registered", "The address has a login already, with a customer or another password.", "Identity with email already exists");
pub const NOT_INSTALLED: Fault = unauthorized(
    "not_installed",
    "The store allows the provider and does not have it.",
    "\nUnable to retrieve the auth provider with id: nope\nPlease make sure that the provider is registered in the container and it is configured correctly in your project configuration file.",
);
pub const NO_REGISTRATION: Fault = unauthorized(
    "no_registration",
    "The provider takes no registrations.",
    "Certified does not support registration. Use method `authenticate` instead.",
);
pub const NO_CALLBACK: Fault = unauthorized(
    "no_callback",
    "The provider signs in with a password and has no callback.",
    "Callback authentication not implemented for provider emailpass",
);
pub const NO_CODE: Fault = unauthorized("no_code", "The callback has no code.", "No code provided");
pub const NO_STATE: Fault = unauthorized(
    "no_state",
    "The state is missing, unknown, spent, expired, another store's, or was made for another provider or actor type.",
    "No state provided, or session expired",
);
pub const PROVIDER_REFUSED: Fault =
    unauthorized("provider_refused", "The provider says that it went wrong, in its own words.", "User denied, read more at: https://x/y");
pub const MISCONFIGURED: Fault =
    unauthorized("misconfigured", "The provider's settings are wrong.", "The auth provider unfinished is not configured: callback_url is missing");
pub const INVALID_TOKEN: Fault = unauthorized(
    "invalid_token",
    "The token is missing, malformed, expired, used, replaced by a newer one, or for another store, actor type or provider.",
    "Invalid token",
);

// 403
pub const STALE_SIGN_IN: Fault = fault(
    Code::Forbidden,
    "stale_sign_in",
    "The sign-in is older than ten minutes.",
    "Sign in again: how an account is reached can be changed within ten minutes of a sign-in",
);
pub const UNPROVEN_ADDRESS: Fault = fault(
    Code::Forbidden,
    "unproven_address",
    "Nobody has shown the account's address to be its owner's, and the new login does not either.",
    "Show first that your address is yours: ask for a new password and follow the link in the mail",
);

pub const ORIGIN_REFUSED: Fault = fault(
    Code::Forbidden,
    "origin_refused",
    "A cookie comes from a page that is neither the API's own nor in the store's CORS.",
    "A page of this origin may not use the cookie to change anything",
);

// 404
pub const NO_STORE: Fault = fault(Code::NotFound, "no_store", "No store is at this host, or it is disabled.", "There is no store at this host");
pub const CUSTOMER_DELETED: Fault =
    fault(Code::NotFound, "customer_deleted", "The customer was deleted.", "Customer with id: cus_01K0A2B3C4D5E6F7G8H9J0KMNP was not found");
pub const UNKNOWN_CUSTOMER: Fault =
    fault(Code::NotFound, "unknown_customer", "The store has no such customer, whichever other may have it.", "Customer with id: cus_nope not found");
pub const UNKNOWN_ADDRESS: Fault = fault(
    Code::NotFound,
    "unknown_address",
    "The customer has no such address, whoever else may have it.",
    "Address with id: cuaddr_nope was not found",
);
pub const UNKNOWN_LOGIN: Fault = fault(
    Code::NotFound,
    "unknown_login",
    "The account has no such login, or the login was deleted while its session was in use.",
    "AuthIdentity with id: authid_01K0A2B3C4D5E6F7G8H9J0KMNP was not found",
);

pub const UNKNOWN_SESSION: Fault = fault(
    Code::NotFound,
    "unknown_session",
    "The account has no such living session, whoever else may have it.",
    "Session with id: nope was not found",
);

// 409, 413, 415, 422, 429
pub const CONFLICT: Fault = fault(
    Code::Conflict,
    "conflict",
    "Other requests changed the same rows, three times in a row; or a request with this Idempotency-Key is being answered, or its answer held a token whose session has ended or a cookie that was replaced: then take a new key.",
    "The request conflicted with another request. You may retry the request with the provided Idempotency-Key.",
);
pub const EVENTS_GONE: Fault =
    fault(Code::Gone, "events_gone", "Events behind after are no longer kept.", "Events up to number 3 are no longer kept");
pub const TOO_LARGE: Fault = Fault { name: "too_large", when: "The body is larger than 100 KiB.", kind: Kind::TooLarge };
pub const UNSUPPORTED_CHARSET: Fault =
    Fault { name: "unsupported_charset", when: "The charset is not UTF-8.", kind: Kind::Unsupported("unsupported charset \"FOO\"") };
pub const UNSUPPORTED_ENCODING: Fault =
    Fault { name: "unsupported_encoding", when: "The body is compressed.", kind: Kind::Unsupported("unsupported content encoding \"gzip\"") };
pub const EMAIL_TAKEN: Fault =
    fault(Code::Duplicate, "email_taken", "Another customer has the address.", "Customer with this email already has an account");
pub const KEY_REUSED: Fault = fault(
    Code::Duplicate,
    "key_reused",
    "The Idempotency-Key was sent with another body, query, session, token or origin.",
    "The Idempotency-Key was sent with another request already",
);
pub const BUDGET_SPENT: Fault = fault(
    Code::TooManyRequests,
    "budget_spent",
    "A budget of the client, the address, the customer, the store or the Idempotency-Key is spent.",
    "Too many requests. Please try again later.",
);

// 500, 503
pub const HASHING_FAILED: Fault =
    fault(Code::HashingFailed, "hashing_failed", "A password could not be hashed; nothing was changed.", "An error occured while hashing password");
pub const STORAGE_FAILED: Fault =
    fault(Code::StorageFailed, "storage_failed", "The database refused; nothing was changed.", "An error occurred while accessing the database");
pub const UNEXPECTED: Fault =
    fault(Code::Unexpected, "unexpected", "A defect of ours or damaged data; the log says more.", "An unknown error occurred.");
pub const BUSY: Fault = fault(
    Code::Busy,
    "busy",
    "The database is out of reach, or too much work waits; nothing was changed.",
    "The service is busy. Please try again shortly.",
);
pub const OUTCOME_UNKNOWN: Fault = fault(
    Code::Busy,
    "outcome_unknown",
    "The connection to the database broke: nobody knows whether the change is stored.",
    "The connection to the database was lost; the request may or may not have taken effect.",
);
