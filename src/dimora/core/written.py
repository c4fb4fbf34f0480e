"""Reads what people write in settings: text, lists, hosts, URLs, credentials, proxies.

What is wrong is told by a ValueError that never holds what was written.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

DEFAULT_HUB = "https://huggingface.co"


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What one host is shown: user and password, or a token alone."""

    user: str = ""
    password: str = ""
    token: str = ""


def read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value.strip().strip("\"'")


def read_words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list, or words with commas between them")
    return tuple(w for w in (read_text(v) for v in value) if w)


def read_credentials(value: Any) -> dict[str, Credential]:
    """A table of tables by host (file, or JSON), or `host=user:password,host=token`."""
    if isinstance(value, str):
        value = _written_credentials(value)
    if not isinstance(value, dict):
        raise ValueError("must be a table of hosts, each with user and password, or with token")
    return {_host(str(host)): _credential(host, entry) for host, entry in value.items()}


def _written_credentials(text: str) -> Any:
    if text.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise ValueError("is no valid JSON") from None
    found = {}
    for entry in text.split(","):
        host, _, word = entry.strip().partition("=")
        user, colon, password = word.partition(":")
        if word:
            found[host] = {"user": user, "password": password} if colon else {"token": word}
        elif host:
            raise ValueError("must be host=user:password or host=token, with commas between")
    return found


def _credential(host: Any, entry: Any) -> Credential:
    try:
        found = msgspec.convert(entry, Credential, strict=True)
    except msgspec.ValidationError:
        # Its message may hold what was written.
        raise ValueError(f"needs user and password, or token, as text for {host}") from None
    if not isinstance(entry, dict) or set(entry) - {"user", "password", "token"}:
        raise ValueError(f"knows user, password and token for {host}, nothing else")
    if bool(found.user) == bool(found.token):
        raise ValueError(f"needs either user and password, or token, for {host}")
    shown = found.token or f"{found.user}{found.password}"
    if ":" in found.user or any(c < " " or c == "\x7f" for c in shown):
        raise ValueError(f"has a character for {host} that no header can hold")
    return found


def read_proxy(value: Any) -> str:
    """`[scheme://][user:password@]host[:port]`; http is meant when no scheme is written."""
    text = read_text(value)
    if not text:
        return ""
    text = text if "://" in text else f"http://{text}"
    scheme, _, rest = text.partition("://")
    host = rest.rpartition("@")[2].split("/")[0]
    if scheme.lower() not in ("http", "https", "socks5", "socks5h") or not host.partition(":")[0]:
        raise ValueError("must be http://[user:password@]host:port")
    return text


def show_proxy(value: str) -> str:
    scheme, _, rest = value.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{'***@' if at and user else ''}{host}" if value else ""


def read_token(value: Any) -> str:
    text = read_text(value)
    if any(not "!" <= c <= "~" for c in text):
        raise ValueError("has a character that no header can hold")
    return text


def read_url(value: Any) -> str:
    text = read_text(value).rstrip("/")
    if text and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", text):
        raise ValueError("must be a URL like https://hub.example.org")
    return text


def read_hosts(value: Any) -> tuple[str, ...]:
    hosts = tuple(_host(word) for word in read_words(value))
    for host in hosts:
        if "/" in host or "@" in host or ("*" in host and host != "*"):
            raise ValueError("must name hosts like registry.example.org or localhost:5000, or be *")
    return hosts


def _host(text: str) -> str:
    """As all the house writes a host: lower case, and the port of https left out."""
    return text.strip().lower().rstrip("/").removesuffix(":443")
