//! Which addresses a guest's request may reach.
//!
//! A name that is granted can still lead anywhere: DNS answers are data of
//! whoever runs the zone, and may change between two look-ups. So the host
//! resolves once, passes every address through [`vet`] and connects to nothing
//! else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::origin::Host;
use crate::refusal::{Reason, Refusal, Remedy};

/// Accepts addresses of the public internet, and those of private networks when
/// the grant says so.
///
/// Addresses are judged in canonical form: an IPv4-mapped IPv6 address is the
/// IPv4 address it carries, because a socket makes no difference between them.
/// An address of the well-known NAT64 prefix is refused unless the IPv4 address
/// inside is public (a network that has IPv6 only reaches IPv4 that way).
///
/// # Errors
///
/// A [`Refusal`] with [`Reason::Address`] that names the class of the address.
pub fn vet(address: IpAddr, private_allowed: bool) -> Result<(), Refusal> {
    let Some(class) = classify(address) else {
        return Ok(());
    };
    if private_allowed && class.is_private() {
        return Ok(());
    }
    let remedy = if class.is_private() {
        Remedy::AllowPrivate
    } else {
        Remedy::Never
    };
    Err(Refusal::new(
        format!("a connection to {address}"),
        Reason::Address(class),
        remedy,
    ))
}

/// As [`vet`], for a host that is known by name: what calls itself `localhost` must
/// lead to this machine, or plain HTTP to it would not stay here.
pub(crate) fn vet_for(host: &Host, address: IpAddr, private: bool) -> Result<(), Refusal> {
    if host.is_loopback() && classify(address) != Some(AddressClass::Loopback) {
        return Err(Refusal::new(
            format!("a connection to {address} for {host}"),
            Reason::NotLoopback,
            Remedy::Never,
        ));
    }
    vet(address, private)
}

/// The class of an address that is not of the public internet, or `None`.
#[must_use]
pub fn classify(address: IpAddr) -> Option<AddressClass> {
    match address.to_canonical() {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

/// Why an address is special. Its `Display` is a noun phrase for messages.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// A service that hands credentials to whoever runs on a cloud machine.
    Metadata,
    /// `0.0.0.0` or `::`, which many systems take for the machine itself.
    Unspecified,
    /// `127.0.0.0/8` or `::1`.
    Loopback,
    /// RFC 1918: `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`.
    Private,
    /// RFC 6598: `100.64.0.0/10`, between a carrier and its customers; overlay
    /// networks use it too.
    CarrierNat,
    /// RFC 4193: `fc00::/7`, what IPv6 has for private networks.
    UniqueLocal,
    /// `fec0::/10`, deprecated by RFC 3879 and still private.
    SiteLocal,
    /// `169.254.0.0/16` or `fe80::/10`.
    LinkLocal,
    /// `224.0.0.0/4` or `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// Ranges for use in texts only.
    Documentation,
    /// Ranges for measuring network equipment.
    Benchmarking,
    /// Ranges with no public use (yet).
    Reserved,
    /// `::/96`, deprecated by RFC 4291: an IPv4 address in disguise.
    V4Compatible,
    /// `2002::/16` and its relay `192.88.99.0/24`: a tunnel to an IPv4 address.
    SixToFour,
    /// `64:ff9b::/96` (unless to a public address) and `64:ff9b:1::/48`:
    /// translated to an IPv4 address on the way.
    Nat64,
    /// `2001::/32`: a tunnel to an IPv4 address.
    Teredo,
}

impl AddressClass {
    /// Whether a grant with `private` reaches this class.
    ///
    /// Link-local addresses are left out: the metadata services live there, and
    /// nothing that a person names in a grant does.
    #[must_use]
    pub fn is_private(self) -> bool {
        matches!(
            self,
            Self::Loopback | Self::Private | Self::CarrierNat | Self::UniqueLocal | Self::SiteLocal
        )
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "a cloud metadata address",
            Self::Unspecified => "the unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::CarrierNat => "a shared carrier (CGNAT) address",
            Self::UniqueLocal => "a unique local address",
            Self::SiteLocal => "a site-local address",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Documentation => "a documentation address",
            Self::Benchmarking => "a benchmarking address",
            Self::Reserved => "a reserved address",
            Self::V4Compatible => "an IPv4-compatible IPv6 address",
            Self::SixToFour => "a 6to4 address",
            Self::Nat64 => "a NAT64 address",
            Self::Teredo => "a Teredo address",
        })
    }
}

fn classify_v4(address: Ipv4Addr) -> Option<AddressClass> {
    first_match(V4, u128::from(address.to_bits()) << 96)
}

fn classify_v6(address: Ipv6Addr) -> Option<AddressClass> {
    let bits = address.to_bits();
    if NAT64_WELL_KNOWN.holds(bits) {
        let [.., a, b, c, d] = address.octets();
        // RFC 6052, 3.1: the prefix is not for addresses that are not global.
        return classify_v4(Ipv4Addr::new(a, b, c, d)).map(|_| AddressClass::Nat64);
    }
    // Only 2000::/3 has been handed out for public use (RFC 4291, IANA registry).
    first_match(V6, bits)
        .or_else(|| (!GLOBAL_UNICAST.holds(bits)).then_some(AddressClass::Reserved))
}

fn first_match(table: &[(Network, AddressClass)], address: u128) -> Option<AddressClass> {
    table
        .iter()
        .find(|(network, _)| network.holds(address))
        .map(|(_, class)| *class)
}

/// A network prefix, kept in the upper bits for both families.
struct Network {
    bits: u128,
    length: u8,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Self {
        Self {
            bits: (Ipv4Addr::new(a, b, c, d).to_bits() as u128) << 96,
            length,
        }
    }

    const fn v6(segments: [u16; 8], length: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = segments;
        Self {
            bits: Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits(),
            length,
        }
    }

    fn holds(&self, address: u128) -> bool {
        let shift = u128::BITS - u32::from(self.length);
        let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
        address & mask == self.bits
    }
}

/// The first network that holds an address decides, so narrow ones come first.
///
/// Sources: IANA IPv4 special-purpose registry; metadata addresses from the
/// clouds' own documentation.
const V4: &[(Network, AddressClass)] = &[
    // EC2, Google, Azure, DigitalOcean, OpenStack and most others.
    (Network::v4(169, 254, 169, 254, 32), AddressClass::Metadata),
    // Credentials of ECS tasks and of EKS pods.
    (Network::v4(169, 254, 170, 2, 32), AddressClass::Metadata),
    (Network::v4(169, 254, 170, 23, 32), AddressClass::Metadata),
    // Alibaba Cloud, inside the carrier range.
    (Network::v4(100, 100, 100, 200, 32), AddressClass::Metadata),
    // Azure's wire server, a public address in form only.
    (Network::v4(168, 63, 129, 16, 32), AddressClass::Metadata),
    // Oracle Cloud.
    (Network::v4(192, 0, 0, 192, 32), AddressClass::Metadata),
    (Network::v4(0, 0, 0, 0, 32), AddressClass::Unspecified),
    (Network::v4(0, 0, 0, 0, 8), AddressClass::Reserved),
    (Network::v4(10, 0, 0, 0, 8), AddressClass::Private),
    (Network::v4(100, 64, 0, 0, 10), AddressClass::CarrierNat),
    (Network::v4(127, 0, 0, 0, 8), AddressClass::Loopback),
    (Network::v4(169, 254, 0, 0, 16), AddressClass::LinkLocal),
    (Network::v4(172, 16, 0, 0, 12), AddressClass::Private),
    (Network::v4(192, 0, 0, 0, 24), AddressClass::Reserved),
    (Network::v4(192, 0, 2, 0, 24), AddressClass::Documentation),
    (Network::v4(192, 88, 99, 0, 24), AddressClass::SixToFour),
    (Network::v4(192, 168, 0, 0, 16), AddressClass::Private),
    (Network::v4(198, 18, 0, 0, 15), AddressClass::Benchmarking),
    (
        Network::v4(198, 51, 100, 0, 24),
        AddressClass::Documentation,
    ),
    (Network::v4(203, 0, 113, 0, 24), AddressClass::Documentation),
    (Network::v4(224, 0, 0, 0, 4), AddressClass::Multicast),
    (Network::v4(255, 255, 255, 255, 32), AddressClass::Broadcast),
    (Network::v4(240, 0, 0, 0, 4), AddressClass::Reserved),
];

/// As [`V4`]; what is in no network and outside [`GLOBAL_UNICAST`] is reserved.
const V6: &[(Network, AddressClass)] = &[
    // EC2, EKS pods, Google.
    (
        Network::v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
        AddressClass::Metadata,
    ),
    (
        Network::v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128),
        AddressClass::Metadata,
    ),
    (
        Network::v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
        AddressClass::Metadata,
    ),
    (
        Network::v6([0, 0, 0, 0, 0, 0, 0, 0], 128),
        AddressClass::Unspecified,
    ),
    (
        Network::v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
        AddressClass::Loopback,
    ),
    (
        Network::v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
        AddressClass::V4Compatible,
    ),
    (
        Network::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
        AddressClass::Nat64,
    ),
    (
        Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
        AddressClass::Teredo,
    ),
    (
        Network::v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
        AddressClass::Benchmarking,
    ),
    (
        Network::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
        AddressClass::Documentation,
    ),
    // IETF protocol assignments, ORCHIDs among them.
    (
        Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
        AddressClass::Reserved,
    ),
    (
        Network::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
        AddressClass::SixToFour,
    ),
    (
        Network::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
        AddressClass::Documentation,
    ),
    (
        Network::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
        AddressClass::UniqueLocal,
    ),
    (
        Network::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        AddressClass::LinkLocal,
    ),
    (
        Network::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
        AddressClass::SiteLocal,
    ),
    (
        Network::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
        AddressClass::Multicast,
    ),
];

const NAT64_WELL_KNOWN: Network = Network::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const GLOBAL_UNICAST: Network = Network::v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
