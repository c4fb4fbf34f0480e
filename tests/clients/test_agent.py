"""`dimora agent` as a person runs it: what is trusted is called, everything else is asked about.

The echo engine writes the smallest call that a schema allows, so that every step is known before.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import CHAT_MODEL, environment, run_dimora

TOOLS = """
[[tools]]
kind = "commands"
name = "mark"
description = "Leave a mark."
command = ["/usr/bin/touch", "{marks}/{{name}}"]
trusted = {trusted}
[tools.parameters.name]
type = "choice"
choices = ["done", "other"]
"""


@pytest.fixture
def ready(home, tmp_path):
    """A home with one tool, and where it leaves its mark."""
    marks = tmp_path / "marks"
    marks.mkdir()

    def make(trusted: bool = False) -> Path:
        text = TOOLS.format(marks=marks, trusted=str(trusted).lower())
        (home / "dimora.toml").write_text(text)
        return marks / "done"

    return make


def agent(home, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return run_dimora(
        "agent", "--forced", "--model", CHAT_MODEL, *words,
        home=home, check=False, DIMORA_ENGINE="echo", **extra,
    )  # fmt: skip


def records(home) -> list[dict]:
    lines = (home / "log" / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_without_a_terminal_nothing_untrusted_is_called(home, ready):
    mark = ready()
    done = agent(home, "--tools", "mark", "Leave a mark")
    assert not mark.exists()
    assert "nobody to ask" in done.stderr
    assert "call_tool" not in {line["request"] for line in records(home)}


@pytest.mark.parametrize("how", ["trusted", "--yes-to"])
def test_what_is_trusted_is_called_once_shown_and_recorded(home, ready, how):
    mark = ready(trusted=how == "trusted")
    done = agent(
        home, *(() if how == "trusted" else ("--yes-to", "mark")), "--tools", "mark", "Leave a mark"
    )
    assert mark.exists()
    assert "mark\n    name: " in done.stderr
    # The echo engine asks for the very same again and again.
    assert done.returncode == 1
    assert "the same call again" in done.stderr
    calls = [line for line in records(home) if line["request"] == "call_tool"]
    assert [(line["tool"], line["proof"]) for line in calls] == [("mark", "terminal")]
    assert "marks" not in json.dumps(calls) and "name" not in calls[0]


def test_beside_a_server_the_model_runs_there_and_the_tools_here(make_server, ready, home):
    server = make_server(DIMORA_ENGINE="echo")
    mark = ready(trusted=True)
    done = agent(
        home, "--tools", "mark", "Leave a mark", DIMORA_HOST=server.url.removeprefix("http://")
    )
    assert mark.exists(), done.stderr
    assert {line["request"] for line in records(home)} == {"list_tools", "call_tool"}
    there = {line["request"] for line in records(server.home)}
    assert "chat" in there
    assert "call_tool" not in there


def test_tools_are_narrowed_listed_and_unknown_ones_named(home, ready):
    ready()
    listed = json.loads(run_dimora("agent", "--list", "--json", home=home).stdout)
    rows = {row["name"]: row for row in listed}
    assert (rows["mark"]["kind"], rows["mark"]["asks"]) == ("commands", "yes")
    assert rows["summarize"]["asks"] == "no"
    done = agent(home, "--tools", "hammer", "x")
    assert done.returncode == 1
    assert "'hammer'" in done.stderr
    # With a tool of the house alone, that one is what the echo engine calls.
    done = agent(home, "--tools", "sentiment", "x")
    assert "  sentiment\n" in done.stderr


def test_a_table_that_is_wrong_is_told_by_its_key(home):
    (home / "dimora.toml").write_text('[[tools]]\nkind = "commands"\nname = "x"\ncommand = ["ls"]')
    done = agent(home, "x")
    assert done.returncode == 1
    assert "'x'" in done.stderr and "description" in done.stderr


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, home: Path, *words: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dimora", "agent", "--forced", "--model", CHAT_MODEL, *words],
            env=environment(home, DIMORA_ENGINE="echo"),
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            # Who runs these tests in the background of a shell ignores it, and children do then.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        os.close(slave)
        self.shown = ""

    def wait_for(self, words: str, seconds: float = 60) -> None:
        give_up = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < give_up, self.shown
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self._master, 4096).decode(errors="replace")
                except OSError:
                    assert words in self.shown, self.shown

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> int:
        try:
            return self.process.wait(30)
        finally:
            os.close(self._master)


@pytest.mark.parametrize(("keys", "marked"), [("y\n", True), ("n\n", False)])
def test_a_person_is_asked_and_decides(home, ready, keys, marked):
    mark = ready()
    terminal = Terminal(home, "--steps", "1", "--tools", "mark", "Leave a mark")
    terminal.wait_for("call it?")
    assert 'name: "done"' in terminal.shown
    assert not mark.exists()
    terminal.type(keys)
    terminal.wait_for("too many steps")
    assert terminal.end() == 1
    assert mark.exists() == marked


def test_ctrl_c_at_the_question_ends_it_and_calls_nothing(home, ready):
    mark = ready()
    terminal = Terminal(home, "--tools", "mark", "Leave a mark")
    terminal.wait_for("call it?")
    for _ in range(20):
        # One that comes in the moment before the terminal is read is seen with the next key.
        if terminal.process.poll() is None:
            os.killpg(terminal.process.pid, signal.SIGINT)
            time.sleep(0.5)
    # The next one may come while the interpreter goes.
    assert terminal.end() in (130, -signal.SIGINT)
    assert not mark.exists()
