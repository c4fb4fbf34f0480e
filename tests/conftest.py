"""Models, homes and servers for the tests.

Models come the way users get them: `dimora pull`, once, into `.cache/home`, checked by hash.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dimora.models.toolchain.installed import Toolchain

CACHE = Path(__file__).resolve().parent.parent / ".cache"
CHAT_MODEL = "smollm2:135m"
EMBED_MODEL = "multilingual-e5-small"
TOOLCHAIN_SECONDS = 1800.0
# What takes long is for the night: `make nightly`.
LONG = os.environ.get("DIMORA_TEST_LONG") == "1"
AT_NIGHT = pytest.mark.skipif(not LONG, reason="takes long; DIMORA_TEST_LONG=1")


@contextlib.contextmanager
def only_one(what: str) -> Iterator[None]:
    """What is in the cache is made by one process of the tests; others wait and find it."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def model_home() -> Path:
    """A home with both models; tests must not change it."""
    home = CACHE / "home"
    with only_one("home"):
        for name in (CHAT_MODEL, EMBED_MODEL):
            run_dimora("pull", name, home=home, timeout_seconds=600)
    return home


def blob_of(home: Path, name: str) -> Path:
    """The model file of a model in a home's store."""
    from dimora.models.store import ModelStore

    store = ModelStore(home / "models", cache_path=home / "cache")
    return Path(store.verified_files(store.find(name)).weights)


@pytest.fixture(scope="session")
def smollm2_path(model_home: Path) -> Path:
    """SmolLM2-135M-Instruct, Q4_1, as a file with its usual ending."""
    return _linked(blob_of(model_home, CHAT_MODEL), CACHE / "smollm2-135m.gguf")


@pytest.fixture(scope="session")
def e5_path(model_home: Path) -> Path:
    """multilingual-e5-small, Q4_0."""
    return _linked(blob_of(model_home, EMBED_MODEL), CACHE / "multilingual-e5-small.gguf")


def _linked(source: Path, target: Path) -> Path:
    with only_one("links"):
        if not target.exists() or target.stat().st_ino != source.stat().st_ino:
            target.unlink(missing_ok=True)
            os.link(source, target)
    return target


@pytest.fixture(scope="session")
def smollm2_hf(smollm2_path: Path) -> Path:
    """The chat model as a folder of 16-bit safetensors."""
    from tests.machines.checkpoints import export_folder

    return _made("smollm2-hf", lambda target: export_folder(smollm2_path, target))


@pytest.fixture(scope="session")
def smollm2_ir(smollm2_hf: Path) -> Path:
    """The chat model as OpenVINO IR, its weights in 8 bits."""
    from tests.machines.engine_folders import export_openvino

    return _made("smollm2-ir", lambda target: export_openvino(smollm2_hf, target, "int8"))


@pytest.fixture(scope="session")
def smollm2_onnx(smollm2_hf: Path) -> Path:
    """The chat model as a folder of ONNX Runtime GenAI, its weights in 8 bits."""
    from tests.machines.engine_folders import export_onnx

    return _made("smollm2-onnx", lambda target: export_onnx(smollm2_hf, target, "int8"))


def _made(name: str, make: Callable[[Path], object]) -> Path:
    """A folder in the cache, which is whole when it is there. Made once, in about a minute."""
    folder = CACHE / name
    with only_one(name):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                make(Path(scratch) / name)
                (Path(scratch) / name).rename(folder)
    return folder


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """llama.cpp's programs and converters, built once as a person builds them."""
    from dimora.models.toolchain.installed import find_toolchain, require_toolchain

    if not LONG and find_toolchain(CACHE / "toolchain" / "toolchain") is None:
        pytest.skip("building llama.cpp takes ten minutes: `make nightly` does, and it stays")
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.skip("cmake and a C++ compiler are needed; `tests/install-tools` gets them")
    with only_one("toolchain"):
        run_dimora(
            "toolchain", "install", home=CACHE / "toolchain", timeout_seconds=TOOLCHAIN_SECONDS
        )
    return require_toolchain(CACHE / "toolchain" / "toolchain", "the tests")


def pytest_configure() -> None:
    """Where several processes run tests at once (`-n 2 --dist loadfile`), each has cores of its
    own: threads of engines that wait for each other would wait for the other process's tests."""
    # Where Python may not keep what it compiled, every program that a test starts compiles us anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        number, count = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[number::count] or cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that uses what takes long to make may have to wait for it."""
    seconds = {"toolchain": TOOLCHAIN_SECONDS, "smollm2_hf": 600.0, "loaded": 600.0}
    for item in items:
        wanted = seconds.keys() & set(getattr(item, "fixturenames", ()))
        if wanted:
            item.add_marker(pytest.mark.timeout(300 + max(seconds[name] for name in wanted)))


@pytest.fixture
def home(tmp_path: Path, model_home: Path) -> Path:
    """A home of this test's own, with both models; blobs are hard links."""
    return copy_home(model_home, tmp_path / "home")


def copy_home(source: Path, target: Path) -> Path:
    shutil.copytree(source / "models", target / "models", copy_function=os.link)
    return target


def environment(home: Path, **extra: str) -> dict[str, str]:
    """Ours, without settings of the person who runs the tests."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("DIMORA_", "OLLAMA_"))}
    # No registry: a test that means one says which.
    ours = {"DIMORA_HOME": str(home), "DIMORA_HOST": "127.0.0.1:1", "DIMORA_REGISTRIES": "none"}
    return kept | ours | extra


def run_dimora(
    *arguments: str,
    home: Path,
    stdin: str = "",
    timeout_seconds: float = 120,
    check: bool = True,
    cwd: Path | None = None,
    **extra: str,
) -> subprocess.CompletedProcess[str]:
    """The terminal program as a person runs it."""
    return subprocess.run(
        [sys.executable, "-m", "dimora", *arguments],
        env=environment(home, **extra),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=check,
    )


class Server:
    """A running server process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, home: Path) -> None:
        self.process = process
        self.port = port
        self.home = home
        self.url = f"http://127.0.0.1:{port}"

    @property
    def log(self) -> str:
        return (self.home / "server.out").read_text(errors="replace")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(home: Path, **extra: str) -> Iterator[Server]:
    """A real server on a free loopback port."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dimora", "serve"],
            env=environment(home, **{"DIMORA_HOST": f"127.0.0.1:{port}"} | extra),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    server = Server(process, port, home)
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        server.stop()


def _wait_until_healthy(server: Server) -> None:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended at once:\n{server.log}")
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"the server does not answer:\n{server.log}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> Iterator[Server]:
    """One server with both models for all tests that only ask."""
    home = copy_home(model_home, tmp_path_factory.mktemp("server") / "home")
    with serving(home, DIMORA_KEEP_ALIVE="-1") as running:
        yield running


@pytest.fixture
def make_server(tmp_path: Path, model_home: Path) -> Iterator[Callable[..., Server]]:
    """Servers of this test's own; settings as keywords (`DIMORA_ENGINE="echo"`)."""
    with contextlib.ExitStack() as stack:

        def make(**extra: str) -> Server:
            name = f"home{len(list(tmp_path.iterdir()))}"
            return stack.enter_context(serving(copy_home(model_home, tmp_path / name), **extra))

        yield make
