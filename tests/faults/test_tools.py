"""Tools that crash, hang, flood and lie: each costs one call, and leaves nothing running."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from dimora.core.errors import BadRequest, DimoraError, NotFound, SourceFailed
from dimora.core.tool_tables import ToolTable
from dimora.tools.toolbox import Toolbox
from tests.faults.site import Asked, Reply

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and programs of POSIX")

SERVER = Path(__file__).parent / "tool_server.py"


def box(kind: str, **values) -> Toolbox:
    return Toolbox((ToolTable(kind=kind, name="it", values=values),))


def program(code: str, **values) -> Toolbox:
    command = [sys.executable, "-c", code]
    return box("commands", description="d", command=command, **values)


def server(way: str, **values) -> Toolbox:
    return box("mcp", command=[sys.executable, str(SERVER), way], **values)


def still_running() -> list[str]:
    """Programs of these tests that outlived their call, given a moment to go."""
    for _ in range(50):
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if SERVER.name in line or "sleep" in line or "-c" in line:
                found.append(line)
        if not found:
            return []
        time.sleep(0.1)
    return found


async def test_a_program_that_takes_too_long_is_ended_with_all_it_started():
    code = "import subprocess, time; subprocess.Popen(['sleep', '301']); time.sleep(301)"
    began = time.monotonic()
    output = await program(code, timeout_seconds=1).call("it", {})
    assert output.failed
    assert "ended after 1 seconds" in output.text
    assert time.monotonic() - began < 10
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "301"]
    ]


async def test_a_program_that_ignores_the_signal_to_end_is_ended_all_the_same():
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True); time.sleep(302)"
    )
    began = time.monotonic()
    output = await program(code, timeout_seconds=2).call("it", {})
    assert output.failed
    assert output.text.startswith("deaf")
    assert time.monotonic() - began < 15
    assert still_running() == []


async def cancel_twice(tools: Toolbox, name: str, sign: Path) -> None:
    """Call a tool, and press Ctrl-C two times once it has given a sign of life."""
    calling = asyncio.create_task(tools.call(name, {}))
    while not sign.exists():
        await asyncio.sleep(0.05)
    calling.cancel()
    await asyncio.sleep(0.2)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


DEAF = (
    "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "pathlib.Path(sys.argv[1]).touch(); time.sleep(30)"
)


async def test_a_program_that_ignores_the_signal_does_not_outlive_a_second_ctrl_c(tmp_path):
    command = [sys.executable, "-c", DEAF, str(tmp_path / "sign")]
    await cancel_twice(box("commands", description="d", command=command), "it", tmp_path / "sign")
    assert still_running() == []


async def test_a_server_that_ignores_the_signal_does_not_outlive_a_second_ctrl_c(tmp_path):
    command = [sys.executable, "-c", DEAF, str(tmp_path / "sign")]
    await cancel_twice(box("mcp", command=command), "it__look", tmp_path / "sign")
    assert still_running() == []


async def test_a_program_that_writes_without_end_is_cut_and_ended():
    code = "import sys\nwhile True: sys.stdout.write('x' * 2**20)"
    before = psutil.Process().memory_info().rss
    output = await program(code, output_bytes=1000).call("it", {})
    assert output.cut
    assert len(output.text) <= 1100
    assert psutil.Process().memory_info().rss - before < 32 * 2**20
    assert still_running() == []


async def test_a_program_sees_nothing_of_our_environment_and_no_input(monkeypatch):
    monkeypatch.setenv("DIMORA_API_KEY", "canary-4711")
    code = "import os, sys; print(sorted(os.environ), repr(sys.stdin.read()), os.getcwd())"
    output = await program(code, environment={"MINE": "1"}, folder="/tmp").call("it", {})
    assert "canary" not in output.text and "DIMORA" not in output.text
    assert "'MINE'" in output.text and "''" in output.text and "/tmp" in output.text


async def test_an_exit_code_and_a_missing_program_are_told():
    output = await program("import sys; sys.exit(7)").call("it", {})
    assert output.failed and "code 7" in output.text
    with pytest.raises(SourceFailed, match="cannot be started"):
        await box("commands", description="d", command=["/no/such/program"]).call("it", {})


async def test_attempts_to_inject_reach_the_program_as_one_argument_or_not_at_all(tmp_path):
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--to={who}", "{who}"]
    tools = box("commands", description="d", command=command, parameters={"who": {"type": "text"}})
    for value in ("; touch x", "$(touch x)", "`touch x`", "a' 'b", "{who}", "* ~", "&& touch x"):
        output = await tools.call("it", {"who": value})
        assert json.loads(output.text) == [f"--to={value}", value]
    for value in ("--option", "-x", "a\nb", "a\0b"):
        with pytest.raises(BadRequest):
            await tools.call("it", {"who": value})


async def test_a_server_that_behaves_gives_its_tool_and_sees_nothing_of_ours(monkeypatch):
    monkeypatch.setenv("DIMORA_API_KEY", "canary-4711")
    tools = server("well", environment={"MINE": "1"})
    offered, silent = await tools.offered()
    assert silent == []
    assert [tool.name for tool in offered] == ["it__look"]
    assert offered[0].foreign and not offered[0].trusted
    assert "\u202e" not in offered[0].description
    told = json.loads((await tools.call("it__look", {"at": "x"})).text)
    assert told["at"] == {"at": "x"}
    assert "DIMORA_API_KEY" not in told["env"] and "MINE" in told["env"]
    assert still_running() == []


@pytest.mark.parametrize("way", ["crash", "flood", "hang"])
async def test_a_server_that_fails_costs_one_call_and_leaves_nothing(way):
    tools = server(way, timeout_seconds=3 if way == "hang" else 20)
    began = time.monotonic()
    try:
        output = await tools.call("it__look", {})
    except SourceFailed as why:
        assert "xxxx" not in why.text
    else:
        assert output.failed
    assert time.monotonic() - began < 25
    assert still_running() == []


async def test_a_server_that_sends_notices_without_end_is_given_up():
    with pytest.raises(SourceFailed, match="within 2 seconds"):
        await server("notices", timeout_seconds=2).call("it__look", {})
    assert still_running() == []


async def test_nonsense_before_an_answer_is_passed_over():
    output = await server("nonsense", output_bytes=500).call("it__look", {})
    assert output.text == "y" * 500
    assert output.cut


@pytest.mark.parametrize("way", ["silent", "wrong"])
async def test_a_server_that_tells_no_tools_is_named_and_the_others_are_there(way):
    tables = (
        ToolTable(kind="mcp", name="bad", values={"command": [sys.executable, str(SERVER), way]}),
        ToolTable(kind="commands", name="good", values={
            "description": "d", "command": ["/bin/true"]}),
    )  # fmt: skip
    offered, silent = await Toolbox(tables).offered()
    assert [tool.name for tool in offered] == ["good"]
    assert [one.source for one in silent] == ["bad"]


async def test_a_server_with_too_many_tools_and_bad_names_is_cut():
    offered, _ = await server("many").offered()
    assert 0 < len(offered) <= 64
    assert all("bad name" not in tool.name for tool in offered)
    only = server("many", only=["t7"])
    assert [tool.name for tool in (await only.offered())[0]] == ["it__t7"]
    with pytest.raises(NotFound):
        await only.call("it__t8", {})


@pytest.mark.parametrize("name", ["", "no", "it__", "no__look", "it__it", "../it", "__it"])
async def test_a_name_that_no_tool_has_is_not_found(name):
    with pytest.raises(NotFound):
        await program("pass").call(name, {})


async def test_arguments_beyond_all_measure_are_refused():
    with pytest.raises(DimoraError):
        await program("pass").call("it", {"x": "y" * 10**6})


def answer(asked: Asked) -> Reply:
    """What an address under test says, by its path."""
    match asked.path:
        case "/away":
            return Reply(302, headers={"Location": "/elsewhere"})
        case "/broken":
            return Reply(500)
        case "/slow":
            return Reply(body=b"late", pause=lambda: time.sleep(3))
        case "/flood":
            return Reply(body=b"20.5 degrees" * 5_000_000)
        case _:
            return Reply(body=b"20.5 degrees")


@pytest.fixture
def site(open_site):
    return open_site(answer)


async def test_an_address_is_asked_once_as_the_table_says(site, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    tools = box(
        "http", description="d", method="POST", url=site.url + "/rooms/{room}",
        json={"to": "{room}"}, headers={"X-Key": "k"}, parameters={"room": {"type": "text"}},
    )  # fmt: skip
    output = await tools.call("it", {"room": "a?b"})
    assert output.text == "20.5 degrees"
    (asked,) = site.asked
    assert (asked.method, asked.path) == ("POST", "/rooms/a%3Fb")
    assert asked.body == b'{"to":"a?b"}'
    assert asked.headers["x-key"] == "k"


async def test_redirects_errors_floods_and_slowness_of_an_address(site):
    away = await box("http", description="d", url=site.url + "/away").call("it", {})
    assert away.failed and "302" in away.text
    assert len(site.asked) == 1
    broken = await box("http", description="d", url=site.url + "/broken").call("it", {})
    assert broken.failed and "500" in broken.text
    flood = await box("http", description="d", url=site.url + "/flood", output_bytes=100).call(
        "it", {}
    )
    assert flood.cut and len(flood.text) == 100
    with pytest.raises(SourceFailed):
        await box("http", description="d", url=site.url + "/slow", timeout_seconds=0.5).call(
            "it", {}
        )
    with pytest.raises(SourceFailed, match="ConnectError"):
        await box("http", description="d", url="http://127.0.0.1:1/x").call("it", {})
