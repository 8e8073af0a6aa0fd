//! Which addresses the name of a provider, or of an egress proxy, may resolve to.
//!
//! Configuration may name this machine or a private network by address, or allow that a name leads
//! into a private network. A name that unexpectedly resolves there is an attack: on the resolver,
//! or through it on a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use keyside_config::is_metadata_address;

/// The addresses that a name may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressPolicy {
    /// The public internet only.
    Public,
    /// Private networks too, because the settings say `allow_private`.
    Private,
    /// Any address that an egress proxy can have. The settings or the environment name it, and it
    /// may be on this machine or its network.
    EgressProxy,
}

impl AddressPolicy {
    /// A cloud's metadata service issues credentials and is never allowed, whatever the policy.
    /// Azure's has a public address.
    pub(super) fn allows(self, address: IpAddr) -> bool {
        let within = match self {
            Self::Public => is_public(address),
            Self::Private => is_public(address) || is_private(address),
            Self::EgressProxy => true,
        };
        within && !is_metadata_address(address)
    }

    /// What was wrong with the addresses, and the remedy.
    pub(super) fn rejection(self) -> &'static str {
        match self {
            Self::Public | Self::Private => {
                "private or reserved addresses only; if a private network is meant, set \
                 allow_private = true where it is configured"
            }
            Self::EgressProxy => {
                "addresses of a cloud's metadata service only, which cannot be a proxy; check the \
                 proxy's host name"
            }
        }
    }
}

/// Whether the address belongs to the public internet (RFC 6890 and the IANA special-purpose
/// registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(embedded) => is_public_v4(embedded),
            None => is_public_v6(address) && isatap_v4(address).is_none_or(is_public_v4),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0);
    !special
}

/// Whether the address belongs to a private network (RFC 1918, RFC 4193).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(embedded) => embedded.is_private(),
            None => {
                let tunnelled = isatap_v4(address);
                address.is_unique_local()
                    && tunnelled.is_none_or(|inner| inner.is_private() || is_public_v4(inner))
            }
        },
    }
}

/// Only 2000::/3 is allocated; within it, documentation and benchmark ranges are not public.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let special = (first == 0x2001 && (second < 0x200 || second == 0xdb8)) || first == 0x3fff;
    (0x2000..0x4000).contains(&first) && !special
}

/// The IPv4 address that a host with ISATAP tunnels to (RFC 5214 section 6.1), under any prefix.
fn isatap_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., universal, isatap, high, low] = address.segments();
    let is_isatap = matches!((universal, isatap), (0 | 0x200, 0x5efe));
    is_isatap.then(|| join(high, low))
}

/// An IPv4 address in an IPv6 one: mapped, NAT64 (64:ff9b::/96) or 6to4 (2002::/16).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    match (a, b) {
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => Some(join(g, h)),
        (0x2002, _) => Some(join(b, c)),
        _ => address.to_ipv4_mapped(),
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::AddressPolicy;

    #[test]
    fn names_may_lead_to_the_public_internet_only() {
        for (address, expected) in [
            ("104.18.7.192", true),
            ("2606:4700::6812:7c0", true),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("168.63.129.17", true),
            ("192.0.0.192", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("::ffff:169.254.169.254", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("2002:a9fe:a9fe::1", false),
            ("::ffff:168.63.129.16", false),
            ("::ffff:168.63.129.17", true),
            ("64:ff9b::a83f:8110", false),
            ("64:ff9b::a83f:8111", true),
            ("2002:a83f:8110::1", false),
            // NAT64 under a network's own prefix, and under the one for local use (RFC 8215).
            ("2001:4860:1:2:3:4:a83f:8110", false),
            ("64:ff9b:1::6812:7c0", false),
            // ISATAP, Teredo, IPv4-compatible.
            ("2606:4700::5efe:7f00:1", false),
            ("2606:4700::200:5efe:a00:1", false),
            ("2606:4700::5efe:6812:7c0", true),
            ("2001:0:6812:7c0::1", false),
            ("::104.18.7.192", false),
            ("2001:db8::1", false),
            ("ff02::1", false),
        ] {
            let covered = AddressPolicy::Public.allows(address.parse().unwrap());
            assert_eq!(covered, expected, "{address}");
        }
    }

    #[test]
    fn the_private_policy_allows_private_networks_and_nothing_else_reserved() {
        for (address, expected) in [
            ("104.18.7.192", true),
            ("10.0.0.1", true),
            ("172.16.0.1", true),
            ("192.168.1.1", true),
            ("fd12:3456:789a::1", true),
            ("::ffff:10.0.0.1", true),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("192.0.0.192", false),
            ("224.0.0.1", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("fd20:ce::254", false),
            ("fd00:42::42", false),
            ("fd00:a9fe:a9fe::1", false),
            ("fd00:c1::a9fe:a9fe", false),
            ("fd12:3456::5efe:7f00:1", false),
            ("fd12:3456::5efe:a00:1", true),
            ("168.63.129.16", false),
            ("::ffff:168.63.129.16", false),
            ("2002:a83f:8110::1", false),
            ("64:ff9b:1::a00:1", false),
            ("fec0::1", false),
            ("::ffff:169.254.169.254", false),
            ("64:ff9b::7f00:1", false),
        ] {
            let covered = AddressPolicy::Private.allows(address.parse().unwrap());
            assert_eq!(covered, expected, "{address}");
        }
    }

    #[test]
    fn an_egress_proxy_may_be_anywhere_but_at_a_metadata_service() {
        for (address, expected) in [
            ("104.18.7.192", true),
            ("10.0.0.1", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("169.254.169.254", false),
            ("168.63.129.16", false),
            ("fd00:ec2::254", false),
        ] {
            let covered = AddressPolicy::EgressProxy.allows(address.parse().unwrap());
            assert_eq!(covered, expected, "{address}");
        }
    }
}
