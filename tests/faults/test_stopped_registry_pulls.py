"""Pulls from a registry that are given up, killed or made twice at once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from dimora.models.store import ModelStore
from tests.conftest import environment, run_dimora
from tests.faults.registry_pulls import (
    NAME,
    assert_nothing_shown,
    assert_whole,
    pull,
    store_for,
)
from tests.faults.registry_site import RegistrySite
from tests.unit.models.making import digest_of

# So that small files come in several parts, and trouble is over soon.
pytestmark = pytest.mark.usefixtures("small_parts")


class Killer:
    """Ends a pull once so many bytes left the server."""

    def __init__(self, site_of_registry: RegistrySite, strike: Callable[[], object]) -> None:
        self._left = 0
        self._strike = strike
        site_of_registry.sent = self._count

    def aim(self, after_bytes: int) -> None:
        self._left = after_bytes

    def _count(self, size: int) -> None:
        before, self._left = self._left, self._left - size
        if before > 0 >= self._left:
            self._strike()


async def test_a_pull_given_up_at_200_random_points_ends_with_the_same_model(
    open_site, registry, weights, tmp_path
):
    chance = random.Random(7)
    registry.add_model(weights, system=b"Be kind.", template=b"{{ .Prompt }}")
    here = open_site(registry)
    loop, total = asyncio.get_running_loop(), weights.stat().st_size
    current: list[asyncio.Task[object]] = []
    killer = Killer(registry, lambda: loop.call_soon_threadsafe(lambda: current[-1].cancel()))
    name = f"http://{here.key}/{NAME}"
    given_up = attempt = 0

    async def pull_all(store: ModelStore) -> None:
        async for _ in store.pull(name):
            pass

    while given_up < 200:
        attempt += 1
        store = store_for(tmp_path / str(attempt), here)
        for _ in range(20):
            killer.aim(chance.randrange(1, total // 4))
            current.append(asyncio.create_task(pull_all(store)))
            try:
                await current[-1]
                break
            except asyncio.CancelledError:
                given_up += 1
                assert_nothing_shown(store)
        killer.aim(0)
        await pull_all(store)
        store.sweep(grace_seconds=0.0)
        assert_whole(store, here, weights)
    assert given_up >= 200


async def test_a_pull_given_up_at_any_of_its_steps_leaves_the_old_or_the_new(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights, system=b"old")
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    old = store.find(f"{here.key}/{NAME}").summary.digest
    registry.add_model(weights, system=b"new")
    seen = set()
    for last in range(40):
        steps = store.pull(f"{here.key}/{NAME}")
        ended = True
        at = 0
        async for _ in steps:
            at += 1
            if at > last:
                ended = False
                break
        await steps.aclose()
        model = store.find(f"{here.key}/{NAME}")
        store.verified_files(model)
        seen.add((model.summary.digest == old, model.system))
        if ended:
            break
    assert ended
    assert seen == {(True, "old"), (False, "new")}
    store.sweep(grace_seconds=0.0)
    assert_whole(store, here, weights)


def test_a_killed_pull_is_taken_up_by_the_next_process(open_site, registry, weights, tmp_path):
    chance = random.Random(11)
    with weights.open("ab") as file:
        file.write(os.urandom(40_000_000))
    registry.add_model(weights)
    here = open_site(registry)
    total = weights.stat().st_size
    running: list[subprocess.Popen[bytes]] = []
    killer = Killer(registry, lambda: running[-1].send_signal(signal.SIGKILL))
    settings = environment(tmp_path, DIMORA_REGISTRIES=here.key)
    killed = 0
    for _ in range(8):
        killer.aim(chance.randrange(1, total // 6))
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "dimora", "pull", f"{here.key}/{NAME}"],
                env=settings,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        if running[-1].wait(60) == -signal.SIGKILL:
            killed += 1
            assert_nothing_shown(ModelStore(tmp_path / "models"))
    assert killed >= 4
    killer.aim(0)
    run_dimora("pull", f"{here.key}/{NAME}", home=tmp_path, DIMORA_REGISTRIES=here.key)
    store = ModelStore(tmp_path / "models")
    store.sweep(grace_seconds=0.0)
    assert_whole(store, here, weights)


async def test_two_pulls_at_once_share_one_download(open_site, registry, weights, tmp_path):
    registry.add_model(weights)
    registry.sent = lambda _: time.sleep(0.005)
    here = open_site(registry)
    one, two = store_for(tmp_path, here), store_for(tmp_path, here)
    await asyncio.gather(pull(one, here), pull(two, here))
    asked = [a for a in here.asked if a.path.endswith(digest_of(weights.read_bytes()))]
    assert len(asked) == 8
    assert_whole(two, here, weights)
