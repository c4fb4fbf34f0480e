"""Brings a file of this machine to a running server, unless the server has it already."""

from __future__ import annotations

import hashlib
import http.client
import os
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import msgspec

from dimora.core.errors import (
    BadRequest,
    DimoraError,
    Forbidden,
    InternalError,
    NotAuthenticated,
    NotFound,
    StorageFull,
)
from dimora.core.settings import Settings
from dimora.core.types import Event, Progress
from dimora.storage.blobs import BlobStore
from dimora.tasks.take_file import FileTaken

_PIECE_BYTES = 1 << 20
_KINDS: dict[int, type[DimoraError]] = {
    kind.status: kind for kind in (BadRequest, NotAuthenticated, Forbidden, NotFound, StorageFull)
}

Connect = Callable[[], http.client.HTTPConnection]


class _Refusal(msgspec.Struct):
    error: str = ""


def upload(
    path: Path, has: Callable[[str], bool], connect: Connect, headers: dict[str, str]
) -> Generator[Event, None, None]:
    """Send a file unless the server `has` it already: Progress, then one FileTaken.

    Raises DimoraError as the server tells it; OSError, http.client.HTTPException.
    """
    with _opened(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        sha256 = hashlib.sha256()
        while data := file.read(_PIECE_BYTES):
            sha256.update(data)
            yield _told(f"reading {path.name}", "", size_bytes, file.tell())
        digest = f"sha256:{sha256.hexdigest()}"
        if not has(digest):
            file.seek(0)
            with closing(connect()) as connection:
                connection.putrequest("POST", f"/api/blobs/{digest}")
                for name, value in {**headers, "Content-Length": str(size_bytes)}.items():
                    connection.putheader(name, value)
                connection.endheaders()
                try:
                    while data := file.read(_PIECE_BYTES):
                        connection.send(data)
                        yield _told(f"sending {path.name}", digest, size_bytes, file.tell())
                except ConnectionError:
                    # It may have answered already, and then closed.
                    pass
                _require_success(connection.getresponse())
    yield FileTaken(digest=digest, size_bytes=size_bytes, linked=False)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as why:
        raise BadRequest(f"{path.name!r} cannot be read: {why.strerror}") from None


def shares_store(settings: Settings, has: Callable[[str], bool]) -> bool:
    """Whether the server's store is the one of our settings: a small file put here is there."""
    blobs = BlobStore(settings.models_path)
    if not blobs.directory.is_dir():
        return False
    try:
        digest = blobs.put(os.urandom(32))
    except (DimoraError, OSError):
        return False
    try:
        return has(digest)
    finally:
        blobs.remove(digest)


def _require_success(answer: http.client.HTTPResponse) -> None:
    body = answer.read()
    if answer.status in (http.client.OK, http.client.CREATED):
        return
    try:
        message = msgspec.json.decode(body, type=_Refusal).error
    except msgspec.DecodeError:
        message = ""
    kind = _KINDS.get(answer.status, InternalError)
    raise kind(
        message or f"the server refused the file with status {answer.status}",
        hint=answer.getheader("X-Dimora-Hint") or "",
    )


def _told(status: str, digest: str, total: int, completed: int) -> Progress:
    return Progress(status, digest=digest, total_bytes=total, completed_bytes=completed)
