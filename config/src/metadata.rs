//! The addresses and names of cloud metadata services, which hand out credentials. No provider is
//! there, so Keyside never connects to them, whatever a name resolves to, whatever the settings
//! say, and whether Keyside or a proxy resolves the name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether this is the address of a metadata service or a related one, also if it is embedded in an
/// IPv6 address.
pub fn is_metadata_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => SERVICES.contains(&address),
        IpAddr::V6(address) => {
            is_cloud_prefix(address) || embedded(address).any(|inner| SERVICES.contains(&inner))
        }
    }
}

/// Whether a host, as a name or as an address in the usual form, is a metadata service. Needed for
/// names, because Keyside does not see what an egress proxy resolves them to.
pub fn is_metadata_host(host: &str) -> bool {
    match host.parse() {
        Ok(address) => is_metadata_address(address),
        Err(_) => {
            let name = host.strip_suffix('.').unwrap_or(host);
            NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
        }
    }
}

/// Unique local prefixes in which clouds have such services, at one or two addresses each.
fn is_cloud_prefix(address: Ipv6Addr) -> bool {
    matches!(
        address.segments(),
        // AWS: fd00:ec2::254 and adjacent ones.
        [0xfd00, 0xec2, ..]
        // Google Cloud: fd20:ce::254.
        | [0xfd20, 0xce, ..]
        // Oracle: fd00:c1::a9fe:a9fe.
        | [0xfd00, 0xc1, ..]
        // Scaleway: fd00:42::42.
        | [0xfd00, 0x42, ..]
        // Akamai (Linode): fd00:a9fe:a9fe::1.
        | [0xfd00, 0xa9fe, 0xa9fe, ..]
    )
}

/// The IPv4 addresses that an IPv6 address may be translated or tunnelled to. The length of a NAT64
/// prefix decides where its IPv4 address is, and only the local network knows that length, so all
/// positions are checked. A false match has a chance of one in four thousand million.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let octets = address.octets();
    EMBEDDED_IPV4_OFFSETS
        .into_iter()
        .filter_map(move |beginning| {
            // Bits 64 to 71 are never part of the IPv4 address (RFC 6052 section 2.2).
            let is_part = |at: &usize| *at != 8 || beginning > 8;
            let mut inner = (beginning..16).filter(is_part).map(|at| octets[at]);
            Some(Ipv4Addr::new(
                inner.next()?,
                inner.next()?,
                inner.next()?,
                inner.next()?,
            ))
        })
}

/// Byte offsets: for 6to4 (RFC 3056), then for NAT64 with prefixes of 32, 40, 48, 56, 64 and 96
/// bits (RFC 6052). The last is also the offset in mapped, compatible and ISATAP addresses (RFC
/// 5214).
const EMBEDDED_IPV4_OFFSETS: [usize; 7] = [2, 4, 5, 6, 7, 8, 12];

const SERVICES: [Ipv4Addr; 9] = [
    // Most clouds: AWS, Azure, Google, DigitalOcean, Hetzner, Huawei, IBM, OpenStack, Oracle,
    // Vultr.
    Ipv4Addr::new(169, 254, 169, 254),
    // AWS: the resolver, and credentials of ECS tasks and of EKS pods.
    Ipv4Addr::new(169, 254, 169, 253),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Tencent, Scaleway.
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(169, 254, 42, 42),
    // Alibaba, and formerly Oracle.
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    // Azure's WireServer: a public address at which every virtual machine reaches its host
    // (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
    Ipv4Addr::new(168, 63, 129, 16),
];

const NAMES: [&str; 8] = [
    // Google Cloud, including the short names that its resolver completes.
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    // AWS.
    "instance-data.ec2.internal",
    "instance-data",
    // Tencent, IBM, Equinix.
    "metadata.tencentyun.com",
    "api.metadata.cloud.ibm.com",
    "metadata.platformequinix.com",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_services_are_known_by_name_too() {
        for (host, expected) in [
            ("metadata.google.internal", true),
            ("Metadata.Google.Internal", true),
            ("metadata.google.internal.", true),
            ("metadata", true),
            ("instance-data", true),
            ("169.254.169.254", true),
            ("fd00:ec2::254", true),
            ("metadata.google.internal.example", false),
            ("metadata.example.com", false),
            ("api.openai.com", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_metadata_host(host), expected, "{host}");
        }
    }

    #[test]
    fn metadata_services_are_known_in_every_form() {
        for (address, expected) in [
            ("169.254.169.254", true),
            ("168.63.129.16", true),
            ("100.100.100.200", true),
            ("192.0.0.192", true),
            ("169.254.0.23", true),
            ("::ffff:168.63.129.16", true),
            ("::168.63.129.16", true),
            ("64:ff9b::a83f:8110", true),
            ("64:ff9b:1::a83f:8110", true),
            ("2002:a83f:8110::1", true),
            ("2606:4700::5efe:a9fe:a9fe", true),
            ("2001:4860:a9fe:a9fe::", true),
            ("2001:4860:1a9:fea9:fe::", true),
            ("2001:4860:1:a9fe:a9:fe00::", true),
            ("2001:4860:1:2a9:fe:a9fe::", true),
            ("2001:4860:1:2:a9:fea9:fe00:0", true),
            ("2001:4860:1:2:3:4:a9fe:a9fe", true),
            ("fd00:ec2::254", true),
            ("fd20:ce::254", true),
            ("fd00:42::42", true),
            ("fd00:c1::a9fe:a9fe", true),
            ("fd00:a9fe:a9fe::1", true),
            ("168.63.129.17", false),
            ("169.254.1.1", false),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("::1", false),
            ("::", false),
            ("fd12:3456:789a::1", false),
            ("2606:4700::6812:7c0", false),
        ] {
            let found = is_metadata_address(address.parse().unwrap());
            assert_eq!(found, expected, "{address}");
        }
    }
}
