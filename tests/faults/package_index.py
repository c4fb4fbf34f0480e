"""A package index on the loopback that breaks in every way a network can, and a store that pulls
from it."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dimora.core.errors import NotFound
from dimora.core.types import Progress
from dimora.models.catalogue import Catalogue, Entry, PythonPackage
from dimora.models.names import parse_name
from dimora.models.store import ModelStore
from tests.unit.models.making import digest_of, metadata_of

PACKAGE, VERSION, MEMBER = "tiny-model", "1.0", "tiny_model/tiny.gguf"
WHEEL = "tiny_model-1.0-py3-none-any.whl"
# One that only a proxy can find.
FAR_INDEX = "http://index.example"
# Enough for several network reads, small enough to be quick.
PADDING_BYTES = 3_000_000


class Index:
    """A package index with one wheel; its faults are set by the test."""

    def __init__(self, wheel: bytes) -> None:
        self.wheel = wheel
        self.sha256 = hashlib.sha256(wheel).hexdigest()
        self.etag = '"one"'
        self.ranges = True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.pace_bytes = 65536
        self.pace_seconds = 0.0
        self.stall = threading.Event()
        self.stall.set()
        self.asked: list[str] = []
        self.hosts: list[str] = []
        self.sent_bytes = 0
        answering = type("Answering", (_Answering,), {"index": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), answering)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.stall.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Answering(BaseHTTPRequestHandler):
    """One request to the index."""

    index: Index
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # A proxy is asked with the whole address.
            path = self.path.removeprefix(FAR_INDEX)
            self.index.hosts.append(self.headers["Host"])
            if path == f"/simple/{PACKAGE}/":
                link = f"/files/{WHEEL}#sha256={self.index.sha256}"
                page = f'<a href="{link}" data-core-metadata="true">{WHEEL}</a>'
                self._send(200, page.encode(), "text/html")
            elif path == f"/files/{WHEEL}.metadata":
                self._send(200, metadata_of(PACKAGE, VERSION).encode())
            elif path == f"/files/{WHEEL}":
                self._send_wheel()
            else:
                self._send(404, b"no")

    def _send(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_wheel(self) -> None:
        index, size = self.index, len(self.index.wheel)
        wanted = self.headers.get("Range", "")
        index.asked.append(wanted)
        if index.statuses:
            self._send(index.statuses.pop(0), b"later")
            return
        start = self._start(wanted)
        missing = max(0, size - start)
        self.send_response((206 if start else 200) if missing else 416)
        self.send_header("ETag", index.etag)
        self.send_header("Content-Length", str(missing))
        if start:
            self.send_header(
                "Content-Range",
                f"bytes {start}-{size - 1}/{size}" if missing else f"bytes */{size}",
            )
        self.end_headers()
        self._send_body(index.wheel[start:])

    def _start(self, wanted: str) -> int:
        unchanged = self.headers.get("If-Range", self.index.etag) == self.index.etag
        if not (self.index.ranges and unchanged and wanted):
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def _send_body(self, body: bytes) -> None:
        index = self.index
        cut = index.cuts.pop(0) if index.cuts else len(body)
        for at in range(0, min(cut, len(body)), index.pace_bytes):
            index.stall.wait(20)
            piece = body[at : min(at + index.pace_bytes, cut)]
            self.wfile.write(piece)
            index.sent_bytes += len(piece)
            time.sleep(index.pace_seconds)
        self.close_connection = cut < len(body)


def entry_for(index: Index, data: bytes) -> Entry:
    return Entry(
        name="tiny:1b",
        description="A model for tests",
        type="instruct",
        parameters=1000,
        quantization="F32",
        size_bytes=len(data),
        context_length=128,
        languages=("en",),
        license="MIT",
        notice="Made by the tests.",
        place=PythonPackage(
            package=PACKAGE,
            version=VERSION,
            package_bytes=len(index.wheel),
            file=MEMBER,
            sha256=digest_of(data)[7:],
            size_bytes=len(data),
        ),
    )


def package_of(entry: Entry) -> PythonPackage:
    assert isinstance(entry.place, PythonPackage)
    return entry.place


def changed(entry: Entry, **changes: Any) -> Entry:
    """The same model in another package."""
    place = msgspec.structs.replace(package_of(entry), **changes)
    return msgspec.structs.replace(entry, place=place)


def store_at(home: Path, entry: Entry) -> ModelStore:
    return ModelStore(home / "models", cache_path=home / "cache", catalogue=Catalogue([entry]))


async def pull(store: ModelStore, name: str = "tiny:1b") -> list[Progress]:
    return [progress async for progress in store.pull(name)]


def statuses(steps: list[Progress]) -> list[str]:
    """Status words in their order, each once."""
    return list(dict.fromkeys(step.status for step in steps))


def files_in(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.blobs.directory.glob("*"))


def assert_whole(store: ModelStore, data: bytes) -> None:
    """The model is there, right, and nothing else is."""
    model = store.find("tiny:1b")
    assert model.weights_digest == digest_of(data)
    assert Path(store.verified_files(model).weights).read_bytes() == data
    assert model.licenses == ("Made by the tests.\nSPDX: MIT\n",)
    manifest = store.manifests.read(store.manifests.locate(parse_name("tiny:1b"))).manifest
    assert files_in(store) == sorted(digest.replace(":", "-") for digest in manifest.digests)


def assert_nothing_shown(store: ModelStore) -> None:
    """No model, no complete blob: at most something to go on with."""
    assert store.all() == []
    with pytest.raises(NotFound):
        store.find("tiny:1b")
    for name in files_in(store):
        assert "-partial" in name or name.startswith("tmp-"), name
