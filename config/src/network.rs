//! IP networks, such as `10.0.0.0/8`.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::parsed::from_text;

/// The addresses that share a prefix; a single address is a network of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address. Never an IPv4 address in IPv6 form.
    address: IpAddr,
    /// The length of the prefix in bits; at least 1.
    length: u8,
}

impl Network {
    /// Whether the address is in this network. An IPv4 address may be in IPv6 form.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.length) == Some(self.address)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => {
                let length = length.parse::<u8>().map_err(|_| NetworkError::Form)?;
                (address, Some(length))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        let address = address.to_canonical();
        let length = length.unwrap_or_else(|| width(address));
        match masked(address, length) {
            None => Err(NetworkError::Form),
            Some(_) if length == 0 => Err(NetworkError::Everyone),
            Some(first) if first != address => Err(NetworkError::HostBits),
            Some(address) => Ok(Self { address, length }),
        }
    }
}

from_text!(Network);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The first address of the network that `address` is in; `None` if its addresses are shorter than
/// the prefix.
fn masked(address: IpAddr, length: u8) -> Option<IpAddr> {
    let rest = u32::from(width(address).checked_sub(length)?);
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    })
}

/// The number of bits of an address.
fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Why a text is not a network. Errors never repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor a network.
    #[error("expected an IP address or a network, such as 192.0.2.7 or 10.0.0.0/8")]
    Form,
    /// The address has bits that the prefix does not cover, so one of the two is wrong.
    #[error("the address is not the first one of its network; expected for example 10.0.0.0/8")]
    HostBits,
    /// A prefix of length 0, which would mean that every client is trusted.
    #[error("/0 is every address; name the networks that the proxies are in")]
    Everyone,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        let network: Network = network.parse().unwrap();
        network.contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("128.0.0.0/1", "255.255.255.255", "127.255.255.255"),
            ("192.0.2.4/31", "192.0.2.5", "192.0.2.6"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            assert!(contains(network, inside), "{network} {inside}");
            assert!(!contains(network, outside), "{network} {outside}");
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn invalid_networks_are_refused() {
        for (text, expected) in [
            ("", NetworkError::Form),
            ("proxy.internal", NetworkError::Form),
            ("10.0.0.0/33", NetworkError::Form),
            ("10.0.0.0/-1", NetworkError::Form),
            ("10.0.0.0/8/8", NetworkError::Form),
            ("::/129", NetworkError::Form),
            ("::ffff:10.0.0.0/104", NetworkError::Form),
            ("10.0.0.1/8", NetworkError::HostBits),
            ("2001:db8::1/64", NetworkError::HostBits),
            ("0.0.0.0/0", NetworkError::Everyone),
            ("::/0", NetworkError::Everyone),
        ] {
            assert_eq!(text.parse::<Network>(), Err(expected), "{text}");
        }
    }
}
