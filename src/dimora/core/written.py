"""Reads what people write in settings: text, numbers, lists, hosts, URLs, credentials, proxies.

What is wrong is told by a ValueError that never holds what was written.
"""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path
from typing import Any

import msgspec

from dimora.core.durations import bounded, parse_duration

DEFAULT_HUB = "https://huggingface.co"

_SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What one host is shown: user and password, a token, or a signature of the Ed25519 key in
    the file `key`, which is how Ollama's registry knows its people."""

    user: str = ""
    password: str = ""
    token: str = ""
    key: str = ""


def read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value.strip().strip("\"'")


def read_path(value: Any) -> Path:
    return Path(read_text(value)).expanduser().absolute()


def read_truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("must be true or false")


def read_whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be a whole number")
    try:
        number = int(value)
    except ValueError:
        raise ValueError("must be a whole number") from None
    if number < 0:
        raise ValueError("must not be negative")
    return number


def read_share(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("must be a share such as 0.1") from None
    if isinstance(value, bool) or not 0 <= number <= 100:
        raise ValueError("must be a share such as 0.1")
    return number


def read_seconds(value: Any) -> float:
    """A duration; bare numbers are seconds, negative is forever."""
    with contextlib.suppress(TypeError, ValueError):
        number = float(value)
        if not isinstance(value, bool) and not math.isnan(number):
            return bounded(number)
    with contextlib.suppress(ValueError):
        return parse_duration(read_text(value))
    raise ValueError("must be a duration like 30s, 5m or 1h30m")


def read_bytes(value: Any) -> int:
    text = str(value).strip().upper().removesuffix("IB").removesuffix("B")
    number = text.rstrip("KMGT")
    try:
        size = int(float(number) * _SIZE_UNITS[text[len(number) :]])
    except (ValueError, KeyError, OverflowError):
        raise ValueError("must be a size like 800M or 16G") from None
    if size < 0:
        raise ValueError("must not be negative")
    return size


def read_words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list, or words with commas between them")
    return tuple(w for w in (read_text(v) for v in value) if w)


def read_credentials(value: Any) -> dict[str, Credential]:
    """A table of tables by host (file, or JSON), or `host=user:password,host=token`, or
    `host=ed25519:FILE`."""
    if isinstance(value, str):
        value = _written_credentials(value)
    if not isinstance(value, dict):
        raise ValueError("must be a table of hosts, each with user and password, token or key")
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
        if word:
            found[host] = _written_credential(word)
        elif host:
            raise ValueError(
                "must be host=user:password, host=token or host=ed25519:FILE, with commas between"
            )
    return found


def _written_credential(word: str) -> dict[str, str]:
    user, colon, password = word.partition(":")
    if user == "ed25519" and colon:
        return {"key": password}
    return {"user": user, "password": password} if colon else {"token": word}


def _credential(host: Any, entry: Any) -> Credential:
    try:
        found = msgspec.convert(entry, Credential, strict=True)
    except msgspec.ValidationError:
        # Its message may hold what was written.
        raise ValueError(f"needs user and password, token or key, as text for {host}") from None
    if not isinstance(entry, dict) or set(entry) - set(Credential.__struct_fields__):
        raise ValueError(f"knows user, password, token and key for {host}, nothing else")
    if bool(found.user) + bool(found.token) + bool(found.key) != 1:
        raise ValueError(f"needs either user and password, or token, or key, for {host}")
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
