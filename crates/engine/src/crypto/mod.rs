//! Cryptography: how passwords are kept, how secrets lie at rest, how tokens are signed and verified. Knows no database and no HTTP.

pub mod keyring;
pub mod password_hash;
pub mod token;
pub(crate) mod unique;

#[cfg(test)]
mod tests_password_hash;
#[cfg(test)]
mod tests_token;
