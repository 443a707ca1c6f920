//! IPv4 addresses embedded in IPv6 addresses: a connection to `64:ff9b::7f00:1` may reach `127.0.0.1`.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// An IPv6 network that embeds IPv4 addresses, and the position of the first of the four bytes.
const PLAIN: [(Ipv6Net, usize); 6] = [
    // IPv4-compatible, deprecated (RFC 4291, 2.5.5.1).
    (net(0, 96), 12),
    // IPv4-mapped (RFC 4291, 2.5.5.2).
    (net(0xffff << 32, 96), 12),
    // IPv4-translated (RFC 2765).
    (net(0xffff << 48, 96), 12),
    // NAT64 (RFC 6052).
    (net(0x64_ff9b << 96, 96), 12),
    // 6to4 (RFC 3056).
    (net(0x2002 << 112, 16), 2),
    // The server of a Teredo client (RFC 4380).
    (net(0x2001 << 112, 32), 4),
];

/// Teredo addresses hold the address of the client in the last four bytes, with every bit inverted.
const TEREDO: Ipv6Net = net(0x2001 << 112, 32);

/// NAT64 prefixes for local use (RFC 8215). The length of a prefix in this network is known only to its owner.
const LOCAL_NAT64: Ipv6Net = net(0x64_ff9b_0001 << 80, 48);

/// Positions of the four bytes for prefixes of 48, 56, 64 and 96 bits (RFC 6052, 2.2). Byte 8 and all bytes after the
/// address are zero.
const LOCAL_NAT64_BYTES: [[usize; 4]; 4] = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];

/// Every ISATAP address (RFC 5214) has `5efe` before its last four bytes, in any network.
const ISATAP: [[u8; 4]; 2] = [[0, 0, 0x5e, 0xfe], [2, 0, 0x5e, 0xfe]];

const fn net(bits: u128, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), length)
}

/// The IPv4 addresses that an IPv6 address may embed; none for an ordinary one. Leaves out `0.0.0.0`, because many
/// unrelated addresses contain that many zeros, and `::` is a network of its own.
pub(super) fn ipv4_in(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let bytes = address.octets();
    let at = move |positions: [usize; 4]| Ipv4Addr::from(positions.map(|position| bytes[position]));
    let from = move |first: usize| at([first, first + 1, first + 2, first + 3]);
    let plain = PLAIN.into_iter().filter(move |(net, _)| net.contains(&address)).map(move |(_, at)| from(at));
    let client = TEREDO.contains(&address).then(|| Ipv4Addr::from_bits(!from(12).to_bits()));
    let isatap = ISATAP.iter().any(|middle| bytes[8..12] == *middle).then(|| from(12));
    let rest_is_zero =
        move |positions: [usize; 4]| bytes[8] == 0 && bytes[positions[3] + 1..].iter().all(|b| *b == 0);
    let local = LOCAL_NAT64_BYTES
        .into_iter()
        .filter(move |positions| LOCAL_NAT64.contains(&address) && rest_is_zero(*positions))
        .map(at)
        // A first byte of zero means the wrong prefix length: no such address can be reached.
        .filter(|found| found.octets()[0] != 0);
    plain.chain(client).chain(isatap).chain(local).filter(|found| !found.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::{LOCAL_NETWORKS, may_lead_into};

    #[test]
    fn t01_every_way_to_write_ipv4_as_ipv6_is_read() {
        for disguise in [
            "::a9fe:a9fe",
            "::ffff:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:abcd:0:1:169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:0:a9:fea9:fe00:0",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::1",
            "2001:0:5050:5050:0:0:5601:5601",
            "fd00::5efe:169.254.169.254",
            "2001:db8::200:5efe:169.254.169.254",
        ] {
            let found: Vec<_> = ipv4_in(disguise.parse().unwrap()).collect();
            assert!(found.contains(&Ipv4Addr::new(169, 254, 169, 254)), "{disguise}: {found:?}");
        }
    }

    #[test]
    fn t01_an_ordinary_address_embeds_none_and_a_public_one_may() {
        for ordinary in
            ["2001:db8::1", "2a00:1450:4001::200e", "fe80::1", "fd00:ec2::254", "::", "2003::7f00:1"]
        {
            assert_eq!(ipv4_in(ordinary.parse().unwrap()).count(), 0, "{ordinary}");
        }
        for public in
            ["64:ff9b::80.158.0.1", "64:ff9b:1::80.158.0.1", "64:ff9b:1:509e:0:100::", "2002:509e:1::"]
        {
            let address: Ipv6Addr = public.parse().unwrap();
            assert!(ipv4_in(address).any(|found| found == Ipv4Addr::new(80, 158, 0, 1)), "{public}");
            assert!(!may_lead_into(&LOCAL_NETWORKS, address.into()), "{public}");
        }
    }
}
