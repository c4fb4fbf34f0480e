"""What a worker is told of our environment, and how it ends."""

from __future__ import annotations

import ast
import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import dimora
from dimora.core.worker_processes import kill_family, reap, start_process, worker_environment


def test_a_worker_is_given_no_keys_and_no_proxies():
    ours = {"PATH": "/bin", "LC_ALL": "C", "DIMORA_API_KEY": "k", "HTTPS_PROXY": "p", "HOME": "/h"}
    given = worker_environment(ours)
    assert {"PATH", "LC_ALL", "HOME"} <= set(given)
    assert not {"DIMORA_API_KEY", "HTTPS_PROXY"} & set(given)


async def test_a_worker_that_does_not_end_is_ended_with_all_it_started():
    program = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    await asyncio.wait_for(reap(process, 0), 10)
    assert process.returncode is not None
    kill_family(process.pid)


def test_a_worker_takes_no_module_from_the_folder_a_person_is_in(tmp_path, monkeypatch):
    sign = tmp_path / "sign"
    for name in ("dimora/__init__.py", "msgspec.py", "random.py", "asyncio.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(sign)!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "log").open("wb") as log:
        process = start_process("dimora.documents.worker", theirs, log)
        ours.shutdown(socket.SHUT_WR)
        process.wait(30)
    assert not sign.exists()
    assert process.returncode == 0, (tmp_path / "log").read_text()


def test_every_python_we_start_takes_no_module_from_the_folder_a_person_is_in():
    """Wherever `sys.executable` begins a list or a call, `-P` comes next."""
    found = 0
    for path in Path(dimora.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            words = getattr(node, "elts", None) or getattr(node, "args", None)
            if isinstance(words, list) and words and ast.unparse(words[0]) == "sys.executable":
                assert ast.unparse(words[1]) == "'-P'", f"{path.name}:{node.lineno}"
                found += 1
    assert found >= 6
