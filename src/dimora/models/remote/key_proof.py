"""Proves who asks for a token as Ollama does: by a signature of an OpenSSH Ed25519 key.

Ollama makes such a key at `~/.ollama/id_ed25519`; its owner tells the registry the public half.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from pathlib import Path
from urllib.parse import urlencode

from dimora.core.errors import ConfigurationError

_FILE_LIMIT_BYTES = 64 << 10
_NONCE_BYTES = 16
_HINT = "registry_credentials: host=ed25519:FILE, for Ollama's own ed25519:~/.ollama/id_ed25519"


def sign_request(key_path: str, url: str) -> tuple[str, str]:
    """The URL to GET, which holds for this moment only, and its Authorization header.

    Raises ConfigurationError when the key cannot be used.
    """
    separator = "&" if "?" in url else "?"
    moment = {"ts": int(time.time()), "nonce": secrets.token_urlsafe(_NONCE_BYTES)}
    url = f"{url}{separator}{urlencode(moment)}"
    no_body = base64.b64encode(hashlib.sha256().hexdigest().encode()).decode()
    public, signature = _sign(key_path, f"GET,{url},{no_body}".encode())
    return url, f"{public}:{signature}"


def _sign(key_path: str, data: bytes) -> tuple[str, str]:
    """The public key as OpenSSH writes it, and the signature, in base64."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_ssh_private_key,
    )

    try:
        with Path(key_path).expanduser().open("rb") as file:
            key = load_ssh_private_key(file.read(_FILE_LIMIT_BYTES), password=None)
    except OSError as why:
        message = f"the key for the registry cannot be read: {why.strerror}"
        raise ConfigurationError(message, hint=_HINT) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Also one behind a passphrase; what the library says may hold bytes of the file.
        message = "the key for the registry is no OpenSSH key without a passphrase"
        raise ConfigurationError(message, hint=_HINT) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError("the key for the registry is not of Ed25519", hint=_HINT)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public.split()[1].decode(), base64.b64encode(key.sign(data)).decode()
