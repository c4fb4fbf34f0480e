"""The text of a file on this machine. The one place where a command reads one to work with it."""

from __future__ import annotations

from pathlib import Path

from dimora.core.errors import BadRequest

_BYTES_AT_MOST = 64 * 2**20


def text_of(path: Path) -> str:
    """Raises BadRequest for what cannot be read, is too large, or is no UTF-8 text."""
    data = bytes_of(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise BadRequest(f"{path.name} is no text in UTF-8", hint="convert it to text first")
    return text


def bytes_of(path: Path) -> bytes:
    """Raises BadRequest for what cannot be read or is too large."""
    try:
        if path.stat().st_size > _BYTES_AT_MOST:
            raise BadRequest(f"{path.name} is larger than {_BYTES_AT_MOST // 2**20} MiB")
        return path.read_bytes()
    except OSError as why:
        raise BadRequest(f"{path.name} cannot be read: {why.strerror}") from None
