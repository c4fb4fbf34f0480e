"""Sites on the loopback, for every test that speaks with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.faults.registry_site import RegistrySite
from tests.faults.site import Authority, Site, site


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
