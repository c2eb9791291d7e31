//! `/.well-known/jwks.json`.

use serde_json::json;

use super::AUTH;
use super::operation::Operation;
use super::schema::{list_of, object, text};

pub fn get() -> Operation {
    let names = ["kty", "crv", "x", "kid", "alg", "use"];
    let key = object(&names, names.map(|name| (name, text())));
    let example = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "01K0A2B3C4D5E6F7G8H9J0KMNP",
        "alg": "EdDSA", "use": "sig"});
    Operation::new(
        AUTH,
        "List the Store's Public Keys",
        "With them a backend verifies tokens. A store that signs with a secret of its own (HS256) has none.",
    )
    .answers(200, "A JSON Web Key Set.", object(&["keys"], [("keys", list_of(&key))]), json!({"keys": [example]}))
}
