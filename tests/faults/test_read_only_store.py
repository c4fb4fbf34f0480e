"""A store that cannot be written: of another user, on a read-only share, in an image."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import (
    CHAT_MODEL,
    Server,
    _wait_until_healthy,
    copy_home,
    environment,
    free_port,
)
from tests.unit.models.making import OllamaStore, tiny_gguf

# prctl(2) and capabilities(7): by these two root writes where nobody may.
_DROP, _OVERRIDE, _SEARCH = 24, 1, 2


def _bound_by_rights() -> None:
    """In the child: the rights of files hold for root as they do for everybody."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (_OVERRIDE, _SEARCH):
            libc.prctl(_DROP, capability, 0, 0, 0)


@pytest.fixture
def models(tmp_path: Path, model_home: Path) -> Iterator[Path]:
    root = copy_home(model_home, tmp_path / "share") / "models"
    (root / ".dimora.lock").unlink(missing_ok=True)
    weights = tiny_gguf(tmp_path / "m.gguf").read_bytes()
    ollama = OllamaStore(root)
    for name, system in (("one", b"Be kind."), ("two", b"Be brief.")):
        layers = [("model", weights), ("license", b"Licence A"), ("system", system)]
        ollama.model(("registry.ollama.ai", "library", name, "latest"), layers)
    directories = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for path in directories:
        path.chmod(0o555)
    before = tree(root)
    yield root
    assert tree(root) == before, "the store is as it was"
    for path in directories:
        path.chmod(0o755)


def tree(root: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(root)): (state.st_ino, state.st_size, state.st_mtime_ns)
        for path in root.rglob("*")
        if (state := path.lstat())
    }


@pytest.fixture
def ask(tmp_path: Path, models: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The terminal program, bound by the rights of files, with a home of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dimora", *arguments],
            env=environment(tmp_path / "home", DIMORA_MODELS=str(models)),
            capture_output=True,
            text=True,
            timeout=120,
            preexec_fn=_bound_by_rights,
        )

    return run


def test_the_rights_of_files_hold_in_these_tests(models: Path) -> None:
    code = f"open({str(models / 'blobs' / 'x')!r}, 'w')"
    tried = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=_bound_by_rights, capture_output=True, text=True
    )
    assert "PermissionError" in tried.stderr


def test_it_is_listed_shown_verified_run_and_exported(ask, tmp_path: Path) -> None:
    assert CHAT_MODEL in ask("list").stdout
    shown = json.loads(ask("show", "--json", CHAT_MODEL).stdout)
    assert shown
    verified = ask("verify")
    assert verified.returncode == 0, verified.stderr
    assert "all right" in verified.stdout
    answered = ask("run", CHAT_MODEL, "Say hello.")
    assert answered.returncode == 0, answered.stderr
    assert answered.stdout.strip()
    exported = ask("bundle", "export", CHAT_MODEL, str(tmp_path / "bundle"))
    assert exported.returncode == 0, exported.stderr
    imported = ask("bundle", "import", str(tmp_path / "bundle"))
    assert imported.returncode == 1
    assert "cannot be written" in imported.stderr


def test_models_that_ollama_wrote_and_that_share_files_are_adopted(ask) -> None:
    assert {"one:latest", "two:latest"} <= set(ask("list").stdout.split())
    assert "Be brief." in ask("show", "two").stdout
    verified = ask("verify", "one", "two")
    assert verified.returncode == 0, verified.stderr
    assert "2 models, 6 files" in verified.stdout
    assert "cannot be written" in ask("rm", "one").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("rm", CHAT_MODEL),
        ("cp", CHAT_MODEL, "again"),
        ("pull", CHAT_MODEL),
        ("verify", "--repair"),
    ],
)
def test_what_would_change_it_says_so_in_a_sentence(ask, models: Path, arguments) -> None:
    tried = ask(*arguments)
    assert tried.returncode == 1
    assert "the model store cannot be written: " in tried.stderr
    assert "Traceback" not in tried.stderr
    assert str(models) not in tried.stderr


def test_a_server_starts_on_it_and_answers(tmp_path: Path, models: Path) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    with (home / "server.out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dimora", "serve"],
            env=environment(
                home,
                DIMORA_MODELS=str(models),
                DIMORA_HOST=f"127.0.0.1:{port}",
                DIMORA_ENGINE="echo",
            ),
            stdout=out,
            stderr=out,
            preexec_fn=_bound_by_rights,
        )
    server = Server(process, port, home)
    try:
        _wait_until_healthy(server)
        asked = {"model": CHAT_MODEL, "prompt": "hello", "stream": False}
        request = urllib.request.Request(
            f"{server.url}/api/generate", json.dumps(asked).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["done"]
    finally:
        server.stop()
    assert "Traceback" not in server.log
