"""Web origins that may call."""

from __future__ import annotations

import pytest

from dimora.server.origins import AllowedOrigins

HOST = "dimora.example:11434"


@pytest.mark.parametrize(
    "origin",
    [
        f"{scheme}://{host}{port}"
        for scheme in ("http", "https")
        for host in ("localhost", "127.0.0.1", "0.0.0.0")
        for port in ("", ":3000")
    ]
    + ["app://obsidian.md", "file://", "tauri://localhost", "vscode-webview://abc"]
    + ["vscode-file://vscode-app", "HTTP://LOCALHOST:1"],
)
def test_pages_of_this_machine_are_always_allowed(origin):
    assert AllowedOrigins().allow(origin, HOST)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://localhost:1@evil.example",
        "http://localhost:1/evil",
        "http://evil.example#http://localhost",
        "http://evil.example http://localhost",
        "xapp://x",
        "http://[::1]:1",
        "chrome-extension://abc",
        "http://localhost\x01",
    ],
)
def test_other_pages_are_not(origin):
    assert not AllowedOrigins().allow(origin, HOST)


def test_a_page_we_served_ourselves_is_allowed():
    assert AllowedOrigins().allow("https://dimora.example:11434", HOST)
    assert not AllowedOrigins().allow("https://dimora.example", HOST)


def test_the_owners_origins_may_hold_a_star():
    origins = AllowedOrigins(("https://*.team.example", "chrome-extension://*", "http://a.b/"))
    assert origins.allow("https://x.team.example", HOST)
    assert origins.allow("chrome-extension://abc", HOST)
    assert origins.allow("http://a.b", HOST)
    assert not origins.allow("https://team.example", HOST)
    assert not origins.allow("https://x.team.example.evil", HOST)
    assert not origins.allow("http://aXb", HOST)


def test_a_lone_star_allows_everyone():
    origins = AllowedOrigins(("*",))
    assert origins.allow("https://evil.example", HOST)
    assert origins.allow("null", HOST)
