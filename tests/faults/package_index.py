"""A package index on the loopback that breaks in every way a network can, and a store that pulls
from it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dimora.core.errors import NotFound
from dimora.core.types import Progress
from dimora.models.catalogue import Catalogue, Entry, PythonPackage
from dimora.models.names import parse_name
from dimora.models.store import ModelStore
from tests.faults.site import Asked, Reply, Site, ranged
from tests.unit.models.making import digest_of, metadata_of

PACKAGE, VERSION, MEMBER = "tiny-model", "1.0", "tiny_model/tiny.gguf"
WHEEL = "tiny_model-1.0-py3-none-any.whl"
# One that only a proxy can find.
FAR_INDEX = "http://index.example"
# Enough for several network reads, small enough to be quick.
PADDING_BYTES = 3_000_000


class Index:
    """A package index with one wheel; its faults are set by the test."""

    def __init__(self, wheel: bytes, open_site: Callable[..., Site]) -> None:
        self.wheel = wheel
        self.sha256 = hashlib.sha256(wheel).hexdigest()
        self.etag = '"one"'
        self.ranges = True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.pace_bytes = 65536
        self.pace_seconds = 0.0
        # Cleared, it keeps everything back that is not sent yet.
        self.flowing = threading.Event()
        self.flowing.set()
        self.sent_bytes = 0
        self._site = open_site(self._answer)
        self.url = self._site.url

    @property
    def asked(self) -> list[str]:
        """What part of the wheel was asked for, each time."""
        wheel = [asked for asked in self._site.asked if asked.path.endswith(f"/files/{WHEEL}")]
        return [asked.headers.get("range", "") for asked in wheel]

    @property
    def hosts(self) -> set[str]:
        """Whom those who asked meant."""
        return {asked.headers["host"] for asked in self._site.asked}

    def _answer(self, asked: Asked) -> Reply:
        # A proxy is asked with the whole address.
        path = asked.path.removeprefix(FAR_INDEX)
        if path == f"/simple/{PACKAGE}/":
            link = f"/files/{WHEEL}" + (f"#sha256={self.sha256}" if self.sha256 else "")
            page = f'<a href="{link}" data-core-metadata="true">{WHEEL}</a>'
            return Reply(body=page.encode(), headers={"Content-Type": "text/html"})
        if path == f"/files/{WHEEL}.metadata":
            return Reply(body=metadata_of(PACKAGE, VERSION).encode())
        if path == f"/files/{WHEEL}":
            return self._wheel(asked)
        return Reply(404, b"no")

    def _wheel(self, asked: Asked) -> Reply:
        if self.statuses:
            return Reply(self.statuses.pop(0), b"later")
        unchanged = asked.headers.get("if-range", self.etag) == self.etag
        reply = ranged(asked, self.wheel, ranges=self.ranges and unchanged)
        return reply._replace(
            headers=reply.headers | {"ETag": self.etag},
            cut=self.cuts.pop(0) if self.cuts else None,
            pause=self._wait,
            sent=self._sent,
            piece_bytes=self.pace_bytes,
        )

    def _sent(self, size: int) -> None:
        self.sent_bytes += size
        time.sleep(self.pace_seconds)
        self._wait()

    def _wait(self) -> None:
        self.flowing.wait(20)


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
