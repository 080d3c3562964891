//! The table of addresses that a name must not lead to.

use std::net::IpAddr;

use flavor_policy::{AddressClass, Reason, Remedy, classify, vet};

#[test]
fn every_special_address_has_its_class() {
    use AddressClass::*;
    let table = [
        // Metadata services, in every form.
        ("169.254.169.254", Metadata),
        ("169.254.170.2", Metadata),
        ("169.254.170.23", Metadata),
        ("100.100.100.200", Metadata),
        ("168.63.129.16", Metadata),
        ("192.0.0.192", Metadata),
        ("fd00:ec2::254", Metadata),
        ("fd00:ec2::23", Metadata),
        ("fd20:ce::254", Metadata),
        ("::ffff:169.254.169.254", Metadata),
        ("64:ff9b::169.254.169.254", Nat64),
        ("2002:a9fe:a9fe::", SixToFour),
        // Private networks.
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("172.16.0.1", Private),
        ("172.31.255.255", Private),
        ("192.168.0.1", Private),
        ("::ffff:10.0.0.1", Private),
        ("100.64.0.0", CarrierNat),
        ("100.127.255.255", CarrierNat),
        ("fc00::1", UniqueLocal),
        ("fdff:ffff::1", UniqueLocal),
        ("fec0::1", SiteLocal),
        // The machine itself.
        ("127.0.0.1", Loopback),
        ("127.255.255.254", Loopback),
        ("::1", Loopback),
        ("::ffff:127.0.0.1", Loopback),
        ("0.0.0.0", Unspecified),
        ("::", Unspecified),
        ("::ffff:0.0.0.0", Unspecified),
        // Links and groups.
        ("169.254.0.1", LinkLocal),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("224.0.0.1", Multicast),
        ("239.255.255.255", Multicast),
        ("ff02::1", Multicast),
        ("255.255.255.255", Broadcast),
        // IPv4 behind IPv6.
        ("::127.0.0.1", V4Compatible),
        ("::8.8.8.8", V4Compatible),
        ("2002:7f00:1::", SixToFour),
        ("2002:808:808::1", SixToFour),
        ("192.88.99.1", SixToFour),
        ("64:ff9b::10.0.0.1", Nat64),
        ("64:ff9b::127.0.0.1", Nat64),
        ("64:ff9b:1::8.8.8.8", Nat64),
        ("2001::1", Teredo),
        ("2001:0:7f00:1::", Teredo),
        // Not for use.
        ("192.0.2.1", Documentation),
        ("198.51.100.1", Documentation),
        ("203.0.113.1", Documentation),
        ("2001:db8::1", Documentation),
        ("3fff::1", Documentation),
        ("198.18.0.1", Benchmarking),
        ("198.19.255.255", Benchmarking),
        ("2001:2::1", Benchmarking),
        ("0.1.2.3", Reserved),
        ("192.0.0.1", Reserved),
        ("240.0.0.1", Reserved),
        ("254.255.255.255", Reserved),
        ("100::1", Reserved),
        ("2001:10::1", Reserved),
        ("2001:20::1", Reserved),
        ("::ffff:0:127.0.0.1", Reserved),
        ("5f00::1", Reserved),
        ("4000::1", Reserved),
        ("1::1", Reserved),
    ];
    for (text, class) in table {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(classify(address), Some(class), "{text}");
        let refusal = vet(address, false).unwrap_err();
        assert_eq!(*refusal.reason(), Reason::Address(class), "{text}");
        assert_eq!(vet(address, true).is_ok(), class.is_private(), "{text}");
    }
}

#[test]
fn neighbours_of_special_ranges_are_public() {
    let table = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700:4700::1111",
        "3ffe::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ];
    for text in table {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(classify(address), None, "{text}");
        vet(address, false).unwrap();
    }
}

#[test]
fn private_grants_never_reach_link_local_or_metadata() {
    for text in [
        "169.254.1.1",
        "fe80::1",
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
    ] {
        let refusal = vet(text.parse().unwrap(), true).unwrap_err();
        assert_eq!(*refusal.remedy(), Remedy::Never, "{text}");
    }
}

#[test]
fn refusals_name_the_class_and_the_way_out() {
    let private = vet("10.1.2.3".parse().unwrap(), false).unwrap_err();
    assert_eq!(
        private.to_string(),
        "refused a connection to 10.1.2.3: it is a private address; \
         to allow it, set `private = true` in the grant that names this host"
    );
    let metadata = vet("169.254.169.254".parse().unwrap(), true).unwrap_err();
    assert_eq!(
        metadata.to_string(),
        "refused a connection to 169.254.169.254: it is a cloud metadata address; no grant allows this"
    );
}
