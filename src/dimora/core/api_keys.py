"""Who may call, as it is written in settings."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key's holder; the key itself is kept only as its sha256."""

    user: str
    sha256: str
    workspace: str = "main"
    roles: tuple[str, ...] = ("user",)


def read_api_keys(value: Any) -> tuple[ApiKey, ...]:
    """A list of tables (file), or `name:key[:role],...` (environment).

    An error names an entry by its number: where a name is forgotten, the key stands in its place.
    """
    if isinstance(value, str):
        value = [_written_key(entry) for entry in value.split(",") if entry.strip()]
    if not isinstance(value, list):
        raise ValueError("must be a list of tables with user and key")
    keys = []
    for number, entry in enumerate(value, 1):
        try:
            keys.append(_api_key(entry))
        except ValueError as why:
            raise ValueError(f"cannot be used: entry {number} {why}") from None
    return tuple(keys)


def _written_key(entry: str) -> dict[str, str] | None:
    words = [word.strip() for word in entry.split(":")]
    if len(words) > 3:
        return None
    return dict(zip(("user", "key", "role"), words, strict=False))


def _api_key(entry: Any) -> ApiKey:
    if not isinstance(entry, dict) or not entry.get("user"):
        raise ValueError("must be name:key[:role], or a table with user and key")
    known = {"user", "key", "sha256", "workspace", "role", "roles"}
    if unknown := set(entry) - known:
        raise ValueError(f"has unknown words: {', '.join(sorted(unknown))}")
    key = str(entry.get("key", ""))
    if key and len(key) < 16:
        raise ValueError("has a key that is shorter than 16 characters")
    digest = entry.get("sha256") or (key and hashlib.sha256(key.encode()).hexdigest())
    if not digest:
        raise ValueError("has no key")
    if not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise ValueError("has a sha256 that is not 64 hexadecimal digits")
    roles = entry.get("roles", [entry.get("role", "user")])
    if not (isinstance(roles, list) and roles and all(isinstance(r, str) and r for r in roles)):
        raise ValueError("must name a role, or none at all, which means user")
    return ApiKey(
        user=str(entry["user"]),
        sha256=digest.lower(),
        workspace=str(entry.get("workspace", "main")),
        roles=tuple(roles),
    )
