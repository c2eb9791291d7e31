//! Identifiers. In the database each is a bare ULID; the prefix belongs to the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use ulid::Ulid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Ulid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// The form of the database: 26 characters, no prefix.
            #[must_use]
            pub fn bare(self) -> String {
                self.0.to_string()
            }
        }

        /// The form of the wire.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Self::PREFIX)?;
                fmt::Display::fmt(&self.0, f)
            }
        }

        /// The form of the wire, so not for what the database keeps.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        /// Reads the form of the wire and the bare form.
        impl FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                let bare = text.strip_prefix(Self::PREFIX).unwrap_or(text);
                Ulid::from_string(bare).map(Self).map_err(|_| ())
            }
        }
    )+};
}

ids! {
    /// A shop.
    TenantId "";
    /// A login.
    IdentityId "authid_";
    /// A customer of a shop.
    CustomerId "cus_";
    /// An address of a customer.
    AddressId "cuaddr_";
    /// A member of a shop's staff.
    UserId "user_";
    /// One sign-in and every token made from it.
    SessionId "";
    /// A signing key; also its `kid`.
    KeyId "";
    /// A publishable or secret API key.
    ApiKeyId "apk_";
    /// Work that runs after commit.
    JobId "";
    /// Something that happened.
    EventId "evt_";
    /// One event on its way to one subscriber.
    DeliveryId "";
}
