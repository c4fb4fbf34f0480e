from __future__ import annotations

import pytest

from dimora.core.errors import SourceFailed
from dimora.models.remote.places import Place, goes_direct, place_of


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://Registry.Example.ORG/v2/", "registry.example.org"),
        ("https://registry.example.org:443/v2/", "registry.example.org"),
        ("https://registry.example.org./v2/", "registry.example.org"),
        ("http://registry.example.org:80/", "registry.example.org"),
        ("http://registry.example.org:443/", "registry.example.org:443"),
        ("http://localhost:5000/v2/a", "localhost:5000"),
        ("https://[::1]:5000/", "[::1]:5000"),
        ("https://10.0.0.1/", "10.0.0.1"),
        ("https://münchen.example/", "xn--mnchen-3ya.example"),
    ],
)
def test_a_place_is_named_as_the_settings_name_it(url, key):
    assert place_of(url).key == key


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.org", "/v2/", "//example.org/", "ftp://example.org/", "file:///etc/passwd"),
        *("https:///v2/", "https://user:secret@example.org/", "https://user@example.org/"),
        *("http://127.1/", "http://2130706433/", "http://0x7f.0.0.1/", "http://0177.0.0.1/"),
        *("http://[fe80::1%25eth0]/", "http://a b/", "http://a\nb/", "https://ex%61mple.org/"),
        *("https://example.org:99999/", "https://-example.org/", "https://[::1/", "gopher://x/"),
        *("https://ex..:x/", "http://a\\@example.org/", "https://１２７.0.0.1/"),
    ],
)
def test_what_is_no_plain_url_is_refused_without_repeating_it(url):
    with pytest.raises(SourceFailed) as caught:
        place_of(url)
    assert "secret" not in caught.value.text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("x.localhost", True), ("127.0.0.9", True), ("::1", True), ("a", False)],
)
def test_loopback_is_known_by_name(host, loopback):
    assert Place("http", host, 80).is_loopback is loopback


@pytest.mark.parametrize(
    ("host", "entry", "direct"),
    [
        ("example.org", "*", True),
        ("example.org", "example.org", True),
        ("a.example.org", "example.org", True),
        ("a.example.org", ".example.org", True),
        ("a.example.org", "*.example.org", True),
        ("badexample.org", "example.org", False),
        ("example.org", "Example.Org ", True),
        ("example.org", "example.org:443", True),
        ("example.org", "example.org:8443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::5", "[fd00::5]:443", True),
        ("fd00::5", "fd00::/8", True),
        ("example.org", "10.0.0.0/8", False),
        ("example.org", "", False),
        ("example.org", ".", False),
    ],
)
def test_who_is_reached_without_the_proxy(host, entry, direct):
    assert goes_direct(Place("https", host, 443), (entry,)) is direct
