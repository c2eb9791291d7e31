//! Cryptography: how passwords are kept, how secrets lie at rest, how tokens are signed and verified. Knows no database and no HTTP.

mod argon2id;
pub mod keyring;
pub(crate) mod medusa_scrypt;
pub mod password_hash;
pub mod token;
pub(crate) mod unique;

use aws_lc_rs::digest;

/// SHA-256 of `parts`, one after the other: where one could run into the next, the caller keeps them apart.
#[must_use]
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    // A context that takes one part after the other costs more than a copy of what is hashed here.
    let digest = match parts {
        [whole] => digest::digest(&digest::SHA256, whole),
        parts => digest::digest(&digest::SHA256, &parts.concat()),
    };
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

#[cfg(test)]
mod tests_former_secret;
#[cfg(test)]
mod tests_medusa_scrypt;
#[cfg(test)]
mod tests_password_hash;
#[cfg(test)]
mod tests_token;
