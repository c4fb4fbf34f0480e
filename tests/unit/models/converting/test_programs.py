"""Programs of others: their lines as they come, their end when we want it, and nothing too much
of our environment."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from dimora.core.errors import InternalError
from dimora.models.converting.programs import Program

# Starts a child in a group of its own, as build tools do, tells both ids, and waits.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


def python(code: str, limit_seconds: float = 30, **more) -> Program:
    return Program([sys.executable, "-c", code], limit_seconds=limit_seconds, **more)


async def test_lines_come_however_they_end_and_are_kept_in_a_log(tmp_path: Path):
    log = tmp_path / "log"
    program = python("print('a\\rb\\n\\nc', end='')", log_path=log)
    assert [line async for line in program.lines()] == ["a", "b", "c"]
    assert program.status == 0
    assert log.read_bytes() == b"a\rb\n\nc"


async def test_errors_are_among_the_lines_and_the_status_is_told():
    program = python("import sys; print('wrong', file=sys.stderr); sys.exit(3)")
    assert await program.run() == 3
    assert program.said == "wrong"


async def test_a_line_without_end_is_cut():
    program = python("print('x' * 100_000)")
    lines = [line async for line in program.lines()]
    assert len(lines) > 1
    assert all(len(line) <= 4096 for line in lines)


async def test_what_takes_too_long_is_ended():
    program = python("import time; time.sleep(60)", limit_seconds=0.5)
    started = time.monotonic()
    assert await program.run() != 0
    assert program.timed_out
    assert time.monotonic() - started < 20


async def test_who_stops_reading_ends_it_and_all_it_started():
    program = python(PARENT)
    lines = program.lines()
    ids = [int(word) for word in (await anext(lines)).split()]
    await lines.aclose()
    assert len(ids) == 2
    gone, alive = psutil.wait_procs([psutil.Process(i) for i in ids if psutil.pid_exists(i)], 5)
    assert alive == [], gone


async def test_settings_and_secrets_of_ours_do_not_reach_it(monkeypatch):
    monkeypatch.setenv("DIMORA_API_KEYS", "anna:secret")
    monkeypatch.setenv("MY_TOKEN", "secret")
    monkeypatch.setenv("HF_HOME", "elsewhere")
    monkeypatch.setenv("PLAIN", "kept")
    program = python("import os; print(sorted(os.environ))", environment={"MORE": "1"})
    await program.run()
    named = program.said
    assert "PLAIN" in named and "MORE" in named
    assert not any(word in named for word in ("DIMORA", "TOKEN", "HF_HOME"))


async def test_it_runs_behind_everybody_else():
    program = python("import os, time; time.sleep(0.5); print(os.nice(0))")
    await program.run()
    assert int(program.said) >= 10 or os.name == "nt"


async def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(InternalError, match="nothing cannot be started"):
        await Program(["/nowhere/nothing"], limit_seconds=1).run()
