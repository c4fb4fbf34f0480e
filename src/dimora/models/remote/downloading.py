"""Fetches a file over HTTP into a partial file; goes on where an earlier try ended.

Whether the bytes are the right ones is for the caller to find out by their digest.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncGenerator
from io import FileIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2

from dimora.core.errors import SourceFailed
from dimora.models.remote.network import AGAIN, add_certificates, trusting
from dimora.models.remote.pip_query import IndexAccess
from dimora.models.remote.places import Place, proxy_for
from dimora.storage.disk import write_all

CONNECT_SECONDS = 20.0
STALL_SECONDS = 30.0
# Tries in a row that bring not one byte.
TRIES = 6
_REPORT_SECONDS = 0.06
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class Transfer(NamedTuple):
    """How far a download is; `total_bytes` is 0 while unknown."""

    completed_bytes: int
    total_bytes: int


class _Interrupted(Exception):
    """A try ended early; another may help."""


def open_client(access: IndexAccess, url: str, *, stall_seconds: float) -> httpx2.AsyncClient:
    """A client that trusts what the system, pip and our settings trust, and knows pip's proxy and
    passwords; our proxy where pip has none."""
    parts = urlsplit(url)
    place = Place(parts.scheme, parts.hostname or "", parts.port or 0)
    context = trusting(())
    for certificate in filter(None, (*access.certificates, access.ours.certificates)):
        # What pip cannot read it passes over as well.
        with contextlib.suppress(OSError):
            add_certificates(context, certificate)
    return httpx2.AsyncClient(
        verify=context,
        proxy=access.proxy or proxy_for(place, access.ours) or None,
        auth=access.passwords.get(place.host),
        follow_redirects=True,
        timeout=httpx2.Timeout(CONNECT_SECONDS, read=stall_seconds),
        headers={"Accept-Encoding": "identity", "User-Agent": "dimora"},
    )


class Download:
    """One file on its way. `limit_bytes` is the most it may have."""

    def __init__(
        self,
        url: str,
        partial: Path,
        *,
        limit_bytes: int,
        access: IndexAccess,
        stall_seconds: float = STALL_SECONDS,
        pause_seconds: float = 0.5,
    ) -> None:
        self._url = url
        self._partial = partial
        self._limit_bytes = limit_bytes
        self._access = access
        self._stall_seconds = stall_seconds
        self._pause_seconds = pause_seconds
        self._etag = ""
        self._total = 0

    async def run(self) -> AsyncGenerator[Transfer, None]:
        """Bytes so far, some times a second and at the end. What came stays in the partial file.

        Raises SourceFailed, and OSError of the disk.
        """
        idle = 0
        async with open_client(
            self._access, self._url, stall_seconds=self._stall_seconds
        ) as client:
            while True:
                before = self._have()
                try:
                    async with contextlib.aclosing(self._try(client)) as transfers:
                        async for transfer in transfers:
                            yield transfer
                    return
                except (_Interrupted, httpx2.TransportError) as why:
                    idle = 0 if self._have() > before else idle + 1
                    if idle >= TRIES or isinstance(why, httpx2.UnsupportedProtocol):
                        raise self._failure(why) from None
                # Not all at once when many lost the same server.
                await asyncio.sleep(
                    min(10.0, self._pause_seconds * 2**idle) * random.uniform(0.5, 1.0)
                )

    def _have(self) -> int:
        try:
            return self._partial.stat().st_size
        except FileNotFoundError:
            return 0

    async def _try(self, client: httpx2.AsyncClient) -> AsyncGenerator[Transfer, None]:
        have = self._have()
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and self._etag:
            headers["If-Range"] = self._etag
        async with client.stream("GET", self._url, headers=headers) as response:
            start = self._start(response, have)
            if start is None:
                yield Transfer(have, have)
                return
            with self._partial.open("r+b" if have else "wb", buffering=0) as file:
                file.seek(start)
                file.truncate()
                async with contextlib.aclosing(self._receive(response, file, start)) as transfers:
                    async for transfer in transfers:
                        yield transfer
        if self._total and self._have() < self._total:
            raise _Interrupted("the connection ended early")

    def _start(self, response: httpx2.Response, have: int) -> int | None:
        """Where the answer's bytes belong, None when all of them are here already."""
        status = response.status_code
        if status == 416:
            if self._range(response)[1] == have:
                return None
            self._partial.unlink(missing_ok=True)
            raise _Interrupted("the server no longer has the rest of the file")
        if status in AGAIN:
            raise _Interrupted(f"the server answered {status}")
        if status not in (200, 206):
            raise SourceFailed(
                f"{self._host()} answered {status} instead of the file",
                hint="check the index in `pip config list`, and its password"
                if status in (401, 403)
                else "",
            )
        if status == 206:
            start = self._checked_range(response, have)
        else:
            length = response.headers.get("Content-Length", "")
            start, self._total = 0, int(length) if length.isdecimal() else 0
        self._etag = _strong_etag(response)
        if self._total > self._limit_bytes:
            raise SourceFailed(f"{self._host()} sends a file of {self._total} bytes, too many")
        return start

    def _checked_range(self, response: httpx2.Response, have: int) -> int:
        start, total = self._range(response)
        changed = self._etag and _strong_etag(response) not in ("", self._etag)
        if start != have or changed:
            self._partial.unlink(missing_ok=True)
            raise _Interrupted("the file on the server has changed")
        self._total = total
        return have

    def _range(self, response: httpx2.Response) -> tuple[int, int]:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None:
            return -1, 0
        start, total = found.groups()
        return int(start) if start else -1, int(total) if total != "*" else 0

    async def _receive(
        self, response: httpx2.Response, file: FileIO, start: int
    ) -> AsyncGenerator[Transfer, None]:
        completed, reported = start, 0.0
        async for chunk in response.aiter_raw():
            # Written as it comes, so that however the try ends, what is in the file is a
            # beginning of the whole without gaps.
            write_all(file.fileno(), chunk)
            completed += len(chunk)
            if completed > self._limit_bytes:
                raise SourceFailed(f"{self._host()} sends more than {self._limit_bytes} bytes")
            if time.monotonic() - reported >= _REPORT_SECONDS:
                reported = time.monotonic()
                yield Transfer(completed, self._total)
        yield Transfer(completed, self._total or completed)

    def _host(self) -> str:
        return urlsplit(self._url).hostname or "the server"

    def _failure(self, why: Exception) -> SourceFailed:
        said = str(why) or type(why).__name__
        return SourceFailed(
            f"the download from {self._host()} failed: {said[:200]}",
            hint="what came is kept; ask for the same model again to go on",
        )


def _strong_etag(response: httpx2.Response) -> str:
    """The version of the file on the server, empty when it does not promise equal bytes."""
    etag = str(response.headers.get("ETag", ""))
    return "" if etag.startswith("W/") else etag
