"""What goes wrong while engines are measured costs a row or a reason, never the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from dimora.core.settings import Settings
from dimora.core.types import Principal, Progress
from dimora.runtime.house import House
from dimora.tasks.bench_model import BenchModel, ModelBenched
from dimora.tasks.profile import BenchWish
from tests.conftest import CHAT_MODEL, environment
from tests.faults.test_read_only_store import _bound_by_rights

OWNER = Principal(user="ada", workspace="main", roles=("owner",), proof="loopback")


def workers() -> list[psutil.Process]:
    family = psutil.Process().children(recursive=True)
    return [p for p in family if "dimora.runtime.worker" in " ".join(p.cmdline())]


@pytest.mark.parametrize("step", ["reading", "writing 4 answers at once"])
async def test_a_worker_that_dies_is_a_row_with_the_reason_and_the_next_is_measured(
    home: Path, step: str
):
    house = House(Settings(home=home, llama_server="none"))
    wish = BenchWish(engines=("llama_cpp", "echo"), quick=True, apply=True)
    of_other_servers = workers()
    found = None
    async with aclosing(house.run(OWNER, BenchModel(model=CHAT_MODEL, wish=wish))) as events:
        async for event in events:
            if isinstance(event, Progress) and event.status == f"llama_cpp: {step}":
                (worker,) = (one for one in workers() if one not in of_other_servers)
                os.kill(worker.pid, signal.SIGKILL)
            elif isinstance(event, ModelBenched):
                found = event.benched
    assert found is not None
    assert "unexpectedly stopped" in found.failed["llama_cpp"]
    assert [one.engine for one in found.figures] == ["echo"]
    assert not found.applied and found.not_applied
    assert house.lending.requests() == 0 and house.lending.running() == []
    await house.close()
    assert all(one in of_other_servers for one in workers())
    assert not (home / "profiles.json").exists()


def test_in_a_home_that_cannot_be_written_the_figures_are_shown_and_the_reason(home: Path):
    for name in ("log", "cache", "run"):
        (home / name).mkdir()
    home.chmod(0o555)
    words = ("bench", CHAT_MODEL, "--engine", "llama_cpp", "--quick", "--apply", "--force")
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "dimora", *words],
            env=environment(home, DIMORA_LLAMA_SERVER="none"),
            capture_output=True,
            text=True,
            timeout=120,
            preexec_fn=_bound_by_rights,
            check=False,
        )
    finally:
        home.chmod(0o755)
    assert ran.returncode == 1
    assert ran.stdout.startswith("ENGINE") and "it could not be stored" in ran.stdout
    assert "cannot be written" in ran.stderr and "Traceback" not in ran.stderr
    assert not (home / "profiles.json").exists()
