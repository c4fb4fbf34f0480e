"""Keys of bundles: this house's own, those it trusts, signing and checking (Ed25519, RFC 8032).

A public key is written `ed25519:` and the base64 of its 32 bytes; its fingerprint is the sha256
of those bytes, in eight groups that people can read to each other.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dimora.core.errors import ConfigurationError
from dimora.storage.disk import disk_errors, make_private_directory, write_whole
from dimora.storage.locks import held
from dimora.tasks.keeping import BundleKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PREFIX = "ed25519:"
_KEY_BYTES = 32
_PLACE = "the directory of keys"
_FILE_LIMIT_BYTES = 1 << 20


def public_text(key: bytes) -> str:
    return _PREFIX + base64.b64encode(key).decode()


def parse_public(text: str) -> bytes | None:
    """The 32 bytes of a public key, None when it is none."""
    if not text.startswith(_PREFIX):
        return None
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == _KEY_BYTES else None


def fingerprint(key: bytes) -> str:
    """64 hex digits in eight groups."""
    digits = hashlib.sha256(key).hexdigest()
    return "-".join(digits[at : at + 8] for at in range(0, 64, 8))


def same_fingerprint(told: str, key: bytes) -> bool:
    """Whether a person's writing of a fingerprint, all of it, is this key's."""
    plain = told.lower().strip().removeprefix("sha256:")
    return "".join(c for c in plain if c not in "-: ") == fingerprint(key).replace("-", "")


def is_signed_by(key: bytes, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


class BundleKeys:
    """The keys in `directory`; `trusted` are keys, or files of them, from the settings."""

    def __init__(self, directory: Path, trusted: Sequence[str] = ()) -> None:
        self._directory = directory
        self._own_path = directory / "bundle-ed25519"
        self._remembered_path = directory / "trusted"
        self._trusted = tuple(trusted)

    def public_key(self) -> bytes:
        """This house's own, made at first use. Raises ConfigurationError, StorageFull."""
        return self._private_key().public_key().public_bytes_raw()

    def told(self) -> BundleKey:
        """The same for people. Raises ConfigurationError, StorageFull."""
        key = self.public_key()
        return BundleKey(public_key=public_text(key), fingerprint=fingerprint(key))

    def sign(self, data: bytes) -> bytes:
        """64 bytes, the same for the same data. Raises ConfigurationError, StorageFull."""
        return self._private_key().sign(data)

    def is_trusted(self, key: bytes) -> bool:
        """Whether the key is ours, is in the settings, or was remembered.

        Raises ConfigurationError for a setting that is no key and no file of keys.
        """
        if self._own_path.exists() and self.public_key() == key:
            return True
        if self._remembered_path.exists() and key in _keys_in(self._remembered_path, "trusted"):
            return True
        return any(key in self._keys_of(entry) for entry in self._trusted)

    def remember(self, key: bytes) -> None:
        """Trust this key from now on. Raises ConfigurationError, StorageFull."""
        with self._changing():
            if self.is_trusted(key):
                return
            path = self._remembered_path
            there = path.read_bytes() if path.exists() else b""
            write_whole(path, there + f"{public_text(key)}\n".encode())

    def _keys_of(self, entry: str) -> list[bytes]:
        key = parse_public(entry)
        if key is not None:
            return [key]
        # A relative path is meant from the home, where the settings are.
        path = self._directory.parent / Path(entry).expanduser()
        return _keys_in(path, f"trusted_keys has {entry[:200]!r}, which")

    def _private_key(self) -> Ed25519PrivateKey:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self._own_path
        with disk_errors(_PLACE):
            if not path.exists():
                with self._changing():
                    if not path.exists():
                        write_whole(path, _new_key(), mode=0o600)
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_FILE_LIMIT_BYTES)
        if os.name == "posix" and mode & 0o077:
            raise ConfigurationError(
                "the key that signs bundles can be read by others", hint=f"chmod 600 {path.name}"
            )
        try:
            key = load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(
                f"the file {path.name} in the directory of keys is no Ed25519 key",
                hint="put the right file back; without it, remove it and a new key is made",
            )
        return key

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with disk_errors(_PLACE):
            make_private_directory(self._directory)
            with held(self._directory / ".lock", what=_PLACE):
                yield


def _new_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _keys_in(path: Path, what: str) -> list[bytes]:
    """The public keys in a file: one a line, `#` begins a comment; or one in PEM.

    Raises ConfigurationError when it is no such file; `what` begins the message.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_LIMIT_BYTES)
    except (OSError, ValueError):
        raise ConfigurationError(
            f"{what} is no public key and no file that can be read",
            hint="a key is what `dimora bundle key` prints in the house that signs",
        ) from None
    if data.lstrip().startswith(b"-----BEGIN"):
        return [_pem_key(data, what)]
    keys = []
    for line in data.decode("utf-8", "replace").splitlines():
        words = line.partition("#")[0].split()
        key = parse_public(words[0]) if words else None
        if words and key is None:
            raise ConfigurationError(f"{what} has a line that is no public key")
        keys += [key] if key is not None else []
    return keys


def _pem_key(data: bytes, what: str) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{what} is no public Ed25519 key")
    return key.public_bytes_raw()
