from __future__ import annotations

import pytest

from dimora.models.remote.addresses import (
    embedded_address,
    is_address,
    is_disguised,
    is_inner_name,
    kind_of_address,
)

LOOPBACK = ["127.0.0.1", "127.0.0.53", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1"]
PRIVATE = [
    *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
    *("192.168.255.255", "100.64.0.1", "100.127.255.255", "fc00::1", "fd12:3456::1"),
]
REFUSED = [
    *("0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "168.63.129.16", "192.0.0.1"),
    *("192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::7f00:1", "::8.8.8.8"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1"),
    *("2002:7f00:1::", "2002:808:808::1", "2001::1", "2001:0:53aa:64c:0:fbff:f5ff:fffe"),
    *("2001:db8::1", "2001:20::1", "3fff::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1"),
    *("ff02::1", "ff0e::1", "100::1", "5f00::1", "fd00:ec2::254", "fd20:ce::254", "4000::1"),
    *("", "example.org", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1:80"),
    *("[::1]", "1.2.3", "1.2.3.4.5", "256.1.1.1", " 8.8.8.8", "٨.8.8.8"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1"),
    *("126.255.255.255", "128.0.0.1", "169.253.255.255", "169.255.0.1", "168.63.129.15"),
    *("192.167.255.255", "192.169.0.1", "223.255.255.255", "198.17.255.255", "198.20.0.1"),
    *("2606:4700::1111", "2a00:1450:4001:800::200e", "2001:4860:4860::8888", "2001:200::1"),
]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        *((address, "loopback") for address in LOOPBACK),
        *((address, "private") for address in PRIVATE),
        *((address, "refused") for address in REFUSED),
        *((address, "public") for address in PUBLIC),
    ],
)
def test_every_address_is_known_for_what_it_is(address, kind):
    assert kind_of_address(address) == kind


def test_only_the_translation_of_a_network_without_ipv4_is_taken_apart():
    assert embedded_address("64:ff9b::808:808") == "8.8.8.8"
    assert embedded_address("64:ff9b::a9fe:a9fe") == "169.254.169.254"
    for other in ("::ffff:8.8.8.8", "2002:808:808::1", "64:ff9b:1::808:808", "1.1.1.1", "name"):
        assert embedded_address(other) == other


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.1",
            "127.0.1",
            "2130706433",
            "0177.0.0.1",
            "017700000001",
            "0x7f.0.0.1",
            "0x7f000001",
        ),
        *("0x7f.1", "1.2.3.0x4", "256.256.256.256", "127.0.0.01", "example.org.1", "127.0.0.1."),
    ],
)
def test_an_address_in_odd_dress_is_seen_through(host):
    assert is_disguised(host)
    assert not is_address(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "example.org", "1e100.net", "0x7f.example"])
def test_true_names_and_addresses_are_not_in_disguise(host):
    assert not is_disguised(host)


@pytest.mark.parametrize(
    ("host", "inner"),
    [
        ("localhost", True),
        ("nas", True),
        ("a.localhost", True),
        ("nas.local.", True),
        ("metadata.google.internal", True),
        ("router.home.arpa", True),
        ("example.org", False),
        ("internal.example.org", False),
    ],
)
def test_names_that_only_this_network_knows_are_recognised(host, inner):
    assert is_inner_name(host) is inner
