-- Times are microseconds since 1970, booleans 0 or 1, ids bare ULIDs, JSON is text.
-- Every table of a tenant has tenant_id first in its primary key and in every index.

-- One row, rewritten after a failed COMMIT, so that nothing of the failed batch can come back from the log.
CREATE TABLE store_state (
    id BIGINT NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL
);
INSERT INTO store_state (id, generation) VALUES (1, 0);

CREATE TABLE tenants (
    id TEXT NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    -- Sealed JSON of the settings: it holds secrets.
    settings BYTEA NOT NULL,
    -- Rises with every change to the tenant, its hosts and its keys.
    version BIGINT NOT NULL,
    disabled_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE tenant_hosts (
    host TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id)
);
CREATE INDEX tenant_hosts_by_tenant ON tenant_hosts (tenant_id);

CREATE TABLE signing_keys (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    -- Sealed key material.
    material BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    -- When it stopped signing; it verifies until the last token made with it has expired.
    retired_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE api_keys (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    token_hash BYTEA NOT NULL,
    redacted TEXT NOT NULL,
    title TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (tenant_id, token_hash);

CREATE TABLE identities (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    actor_type TEXT NOT NULL,
    provider TEXT NOT NULL,
    issuer TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    -- Empty where a provider told none.
    address TEXT NOT NULL,
    -- When the address was shown to be the owner's: by a provider, or by a link that was mailed to it.
    proven_at BIGINT,
    password_hash TEXT,
    actor_id TEXT,
    -- JSON: what a provider told of the person.
    user_metadata TEXT,
    -- The newest reset request that was issued: an older one is not issued after it.
    newest_reset TEXT,
    -- When all its sessions were last ended: a token that no session row knows is good if it was issued later.
    sessions_ended_at BIGINT,
    -- When a request was last refused because the address had asked for too many.
    reset_refused_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX identities_by_key ON identities (tenant_id, actor_type, provider, issuer, entity_id);
CREATE INDEX identities_by_actor ON identities (tenant_id, actor_type, actor_id);
-- Imported hashes that nobody has signed in with yet. Without the CASE, PostgreSQL takes any row for one and walks the table for the first.
CREATE INDEX identities_foreign ON identities (tenant_id) WHERE CASE WHEN substr(password_hash, 1, 10) <> '$argon2id$' THEN 1 END = 1;

CREATE TABLE customers (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    email TEXT,
    -- The address in its look-up form.
    -- By its bytes, as SQLite orders it: a search reads all that begin alike.
    email_key TEXT COLLATE "C",
    has_account BIGINT NOT NULL,
    company_name TEXT,
    first_name TEXT,
    last_name TEXT,
    phone TEXT,
    metadata TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX customers_by_email ON customers (tenant_id, email_key, has_account) WHERE deleted_at IS NULL;
-- In the order in which they were made: an id begins with its time.
CREATE INDEX customers_by_age ON customers (tenant_id, id) WHERE deleted_at IS NULL;

-- How many customers there are, so that a list can say it without counting.
CREATE TABLE customer_counts (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    live BIGINT NOT NULL,
    PRIMARY KEY (tenant_id)
);

CREATE TABLE customer_addresses (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    customer_id TEXT NOT NULL,
    id TEXT NOT NULL,
    first_name TEXT,
    last_name TEXT,
    phone TEXT,
    company TEXT,
    address_1 TEXT,
    address_2 TEXT,
    city TEXT,
    country_code TEXT,
    province TEXT,
    postal_code TEXT,
    -- What the customer calls it.
    address_name TEXT,
    metadata TEXT,
    is_default_shipping BIGINT NOT NULL,
    is_default_billing BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, customer_id, id)
);
-- A customer has at most one default of each kind.
CREATE UNIQUE INDEX customer_addresses_default_shipping ON customer_addresses (tenant_id, customer_id) WHERE is_default_shipping = 1;
CREATE UNIQUE INDEX customer_addresses_default_billing ON customer_addresses (tenant_id, customer_id) WHERE is_default_billing = 1;

CREATE TABLE users (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX users_by_email ON users (tenant_id, email_key) WHERE deleted_at IS NULL;

CREATE TABLE sessions (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    identity_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    -- What the client called itself at the sign-in, cut: so that its owner can tell sessions apart.
    user_agent TEXT,
    -- SHA-256 of the cookie that stands for the session in a browser, once it was given one.
    cookie_hash BYTEA,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX sessions_by_identity ON sessions (tenant_id, identity_id, id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX sessions_by_cookie ON sessions (tenant_id, cookie_hash) WHERE cookie_hash IS NOT NULL;
CREATE INDEX sessions_by_end ON sessions (tenant_id, expires_at);

CREATE TABLE password_resets (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- The token's jti: a version 4 UUID.
    id TEXT NOT NULL,
    identity_id TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- When the hosted page was shown first with this link.
    opened_at BIGINT,
    used_at BIGINT,
    voided_at BIGINT,
    -- How often its request's link had been issued anew before.
    reissues BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
-- At most one live reset per identity.
CREATE UNIQUE INDEX password_resets_live ON password_resets (tenant_id, identity_id) WHERE used_at IS NULL AND voided_at IS NULL;
CREATE INDEX password_resets_by_end ON password_resets (tenant_id, expires_at);

-- Sign-ins that are away at a third party.
CREATE TABLE callback_states (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- SHA-256 of the state. What the provider is shown besides, code verifier and nonce, is derived from the state and rests nowhere.
    id BYTEA NOT NULL,
    actor_type TEXT NOT NULL,
    provider TEXT NOT NULL,
    -- Where the provider sends the customer back to.
    redirect_uri TEXT NOT NULL,
    -- The shop's page, where it is the server that the provider sends back to.
    return_to TEXT,
    -- SHA-256 of the cookie that the browser was given.
    browser BYTEA,
    -- Whether the cookie must come back; otherwise it must only be no other.
    browser_required BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX callback_states_by_end ON callback_states (tenant_id, expires_at);

-- One-time codes that a shop's page changes for a token.
CREATE TABLE callback_codes (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- SHA-256 of the code and the state together.
    id BYTEA NOT NULL,
    identity_id TEXT NOT NULL,
    actor_type TEXT NOT NULL,
    provider TEXT NOT NULL,
    -- The origin of the shop's page.
    origin TEXT NOT NULL,
    -- As in the state that it ends.
    browser BYTEA,
    browser_required BIGINT NOT NULL,
    account_exists BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX callback_codes_by_end ON callback_codes (tenant_id, expires_at);

-- A shop's own words for a message in a language; what is NULL is the built-in's.
CREATE TABLE templates (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    message TEXT NOT NULL,
    locale TEXT NOT NULL,
    sender TEXT,
    subject TEXT,
    body_text TEXT,
    body_html TEXT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, message, locale)
);

CREATE TABLE limits (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    -- Keyed hash of what is limited: no address stands here.
    subject BYTEA NOT NULL,
    spent BIGINT NOT NULL,
    -- How many windows in a row were used up.
    strikes BIGINT NOT NULL,
    resets_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name, subject)
);
CREATE INDEX limits_by_end ON limits (tenant_id, resets_at);

-- Requests that name an Idempotency-Key, and their answers.
CREATE TABLE idempotency_keys (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- Keyed hash of caller, method, path and the client's key: the key itself rests nowhere.
    id BYTEA NOT NULL,
    -- Keyed hash of the query, the body and what authorises.
    request BYTEA NOT NULL,
    -- Who is answering, and until when nobody else may.
    lease TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    -- Sealed under a key that needs the client's: without it nobody reads this.
    answer BYTEA,
    -- The session of the token or the cookie in the answer.
    session_id TEXT,
    -- How many other requests came with the key.
    mismatches BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX idempotency_keys_by_end ON idempotency_keys (tenant_id, expires_at);

CREATE TABLE jobs (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    -- When it may be claimed; a claim moves it to the end of its lease.
    due_at BIGINT NOT NULL,
    lease TEXT,
    attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX jobs_due ON jobs (tenant_id, due_at, id);

-- How many jobs of a kind wait, so that their number can be bounded without counting.
CREATE TABLE backlogs (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    waiting BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, kind)
);

CREATE TABLE events (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    data TEXT NOT NULL,
    -- Whom it is of: the id of a login or a customer, or actor type and address of a login.
    subject TEXT NOT NULL,
    -- The row from which secret fields are made at delivery.
    secret_ref TEXT,
    -- The order of the writes, drawn while the rows of the change are locked. It says nothing once there is a number.
    place BIGINT NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    -- 1, 2, 3 … of the tenant, without a gap: given after the commit.
    number BIGINT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX events_unnumbered ON events (tenant_id, place) WHERE number IS NULL;
CREATE UNIQUE INDEX events_by_number ON events (tenant_id, number) WHERE number IS NOT NULL;

CREATE INDEX events_by_subject ON events (tenant_id, subject, id);

-- How far a tenant's events are numbered.
CREATE TABLE sequences (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    last BIGINT NOT NULL,
    -- Events up to this number are no longer kept.
    swept BIGINT NOT NULL,
    -- Whoever numbers now, and until when.
    lease TEXT,
    lease_ends_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id)
);

CREATE TABLE deliveries (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    -- waiting, delivered, superseded, expired or dead.
    state TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    lease TEXT,
    attempts BIGINT NOT NULL,
    -- What the subscriber answered last.
    answer TEXT,
    -- When its tries began: three days later it is given up. A retry by hand begins them anew.
    begun_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- When somebody asked for it: had the event replayed, or this tried again. The last time.
    by_hand_at BIGINT,
    done_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);
-- By subscriber, so that what one has waiting is never passed over on the way to another's.
CREATE INDEX deliveries_due ON deliveries (tenant_id, subscriber, due_at, id) WHERE state = 'waiting';
-- What is done, for the sweep.
CREATE INDEX deliveries_done ON deliveries (tenant_id, state, done_at, id) WHERE state <> 'waiting';
CREATE INDEX deliveries_by_event ON deliveries (tenant_id, event_id);

-- Webhooks to which nothing is sent: they answered that they are gone, or an operator switched them off.
CREATE TABLE disabled_webhooks (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- As in deliveries.
    subscriber TEXT NOT NULL,
    disabled_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, subscriber)
);
