"""Names a Host header may carry."""

from __future__ import annotations

import pytest

from dimora.server.hosts import AllowedHosts, local_addresses, read_address, split_host


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:11434", "localhost"),
        ("localhost.", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::1]:11434", "::1"),
        ("host:", "host"),
        ("a_b.example-1.org", "a_b.example-1.org"),
    ],
)
def test_a_host_is_split_from_its_port(value, host):
    assert split_host(value) == host


@pytest.mark.parametrize(
    "value",
    [
        "",
        ":80",
        "::1",
        "[::1",
        "[::1]x",
        "[]",
        "[localhost]",
        "host:x",
        "host:99999",
        "host:-1",
        "host:８０",
        "user@host",
        "host/path",
        "a b",
        "a,b",
        "host:80:90",
        "-a",
        "a?b",
        "h\x00",
    ],
)
def test_a_malformed_host_is_none(value):
    assert split_host(value) is None


def make(bound="127.0.0.1", extra=(), local=("192.168.7.7", "fe80::1")):
    addresses = frozenset(read_address(a) for a in local)
    return AllowedHosts(bound, tuple(extra), machine_name="Mina", addresses=lambda: addresses)


@pytest.mark.parametrize(
    "value",
    [
        "localhost",
        "app.localhost:3000",
        "127.0.0.1:11434",
        "127.8.8.8",
        "[::1]:11434",
        "[::ffff:127.0.0.1]",
        "mina",
        "MINA:11434",
        "192.168.7.7",
        "[fe80::1]",
    ],
)
def test_our_own_names_and_addresses_pass(value):
    assert make().allow(value)


@pytest.mark.parametrize(
    "value",
    [
        "evil.example",
        "evil.example:11434",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "notlocalhost",
        "192.168.7.8",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[2001:db8::1]",
        "127.1",
        "0x7f000001",
        "2130706433",
        "mina.evil.example",
        "",
    ],
)
def test_foreign_names_and_addresses_do_not(value):
    assert not make().allow(value)


def test_the_bound_address_passes_whatever_it_is():
    assert make(bound="0.0.0.0").allow("0.0.0.0:11434")
    assert make(bound="10.1.2.3").allow("10.1.2.3")
    assert make(bound="dimora.example").allow("dimora.example:80")


def test_the_owners_names_pass_and_a_star_means_all_below():
    hosts = make(extra=("Ai.example:8080", "*.team.example", "10.9.9.9"))
    assert hosts.allow("ai.example")
    assert hosts.allow("x.team.example:1")
    assert hosts.allow("10.9.9.9")
    assert not hosts.allow("team.example")
    assert not hosts.allow("xteam.example")


def test_addresses_of_this_machine_are_found_without_a_look_up():
    assert read_address("127.0.0.1") in local_addresses()
