//! Whose account it is that somebody comes to by a third party. A pure rule; `docs/providers.md` shows its table.

use crate::model::tenant::SameAddress;

/// The login of this provider, issuer and subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Unknown,
    /// It was here before, and has no customer.
    OfNobody,
    OfCustomer,
}

/// A customer who has the address that the provider told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    None,
    /// Nobody has shown the address to be the customer's.
    Unproven,
    /// It was shown: by a link that was mailed to it, or by another provider.
    Proven,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Sign the known login in.
    SignIn,
    /// Make the login, or keep it, without a customer. Whether to say that the address has an account.
    Stranger { account_exists: bool },
    /// Link the login to the customer who has the address.
    Join,
}

/// Decides. The address never chooses the account by itself: it must be proven on both sides, and the shop must have asked for that.
#[must_use]
pub fn decide(login: Login, address_proven: bool, account: Account, policy: SameAddress) -> Outcome {
    if login == Login::OfCustomer {
        return Outcome::SignIn;
    }
    match (policy, account) {
        // An address that the provider does not vouch for may be anybody's, and tells nothing about who has an account.
        _ if !address_proven => Outcome::Stranger { account_exists: false },
        (SameAddress::Never, _) | (_, Account::None) => Outcome::Stranger { account_exists: false },
        (SameAddress::Auto, Account::Proven) => Outcome::Join,
        (SameAddress::Auto | SameAddress::Ask, _) => Outcome::Stranger { account_exists: true },
    }
}

#[cfg(test)]
mod tests {
    use super::Account::{None, Proven, Unproven};
    use super::Login::{OfCustomer, OfNobody, Unknown};
    use super::Outcome::{Join, SignIn, Stranger};
    use super::SameAddress::{Ask, Auto, Never};
    use super::*;

    /// All cases: what `docs/providers.md` shows.
    pub(super) fn table() -> Vec<(Login, bool, Account, SameAddress, Outcome)> {
        let mut rows = Vec::new();
        for login in [Unknown, OfNobody, OfCustomer] {
            for proven in [false, true] {
                for account in [None, Unproven, Proven] {
                    for policy in [Ask, Auto, Never] {
                        rows.push((login, proven, account, policy, decide(login, proven, account, policy)));
                    }
                }
            }
        }
        rows
    }

    #[test]
    fn r100_a_known_login_is_signed_in_whatever_the_address_says() {
        assert!(table().iter().filter(|row| row.0 == OfCustomer).all(|row| row.4 == SignIn));
    }

    #[test]
    fn r102_only_addresses_proven_on_both_sides_are_linked_and_only_where_the_shop_asks() {
        let joined: Vec<_> =
            table().into_iter().filter(|row| row.4 == Join).map(|(login, proven, account, policy, _)| (login, proven, account, policy)).collect();
        assert_eq!(joined, [(Unknown, true, Proven, Auto), (OfNobody, true, Proven, Auto)]);
    }

    #[test]
    fn that_an_account_exists_is_told_to_the_owner_of_the_address_alone() {
        let told: Vec<_> = table()
            .into_iter()
            .filter(|row| row.0 == Unknown && row.4 == (Stranger { account_exists: true }))
            .map(|(_, proven, account, policy, _)| (proven, account, policy))
            .collect();
        assert_eq!(told, [(true, Unproven, Ask), (true, Unproven, Auto), (true, Proven, Ask)]);
    }
}
