"""Names, digests and file names: whatever they are, no path leads out of its directory."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

from dimora.core.errors import BadRequest
from dimora.models.manifests import Manifests
from dimora.models.names import is_relative_path, parse_name
from dimora.storage.blobs import BlobStore, is_digest

REFUSAL = BadRequest
_STORE = Path("/store")


def seeds() -> list[bytes]:
    return [
        b"smollm2:135m",
        b"host.example:5000/me/model:tag",
        b"sha256:" + b"a" * 64,
        b"sha256-" + b"a" * 64,
        b"../../etc/passwd",
        b"a/b/../c",
        b"folder/config.json",
        b"C:\\x",
    ]


def read(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    name = parse_name(text)
    if name is not None:
        path = Manifests(_STORE).path(name)
        _require(path.is_relative_to(_STORE / "manifests") and ".." not in path.parts)
        _require(len(path.relative_to(_STORE).parts) == 5)
    if is_relative_path(text):
        path = _STORE / text
        _require(path.is_relative_to(_STORE) and ".." not in path.parts and path != _STORE)
        windows = PureWindowsPath(text)
        _require(not windows.drive and not windows.root and ".." not in windows.parts)
    blobs = BlobStore(_STORE)
    if is_digest(text):
        for path in (blobs.path(text), blobs.partial_path(text), blobs.lock_path(text)):
            _require(path.parent == _STORE / "blobs")
    else:
        blobs.path(text)


def _require(condition: bool) -> None:
    if not condition:
        raise AssertionError("a path leads out of its directory")
