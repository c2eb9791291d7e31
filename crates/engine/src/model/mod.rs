//! Plain types and pure rules. No I/O.

pub mod account;
pub mod address;
pub mod customer;
pub mod email;
pub mod event;
pub mod identity;
pub mod ids;
pub mod locale;
pub mod password;
pub mod provider;
pub mod template;
pub mod tenant;
pub mod time;
pub mod token;

/// Two lower-case digits for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_print_as_lower_case_digits() {
        assert_eq!(super::hex(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }
}
