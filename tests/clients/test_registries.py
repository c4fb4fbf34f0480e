"""Pull and push against a real registry server, Debian's docker-registry, on loopback: by the
store, by the terminal, and by Ollama's own clients through a server."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest

from dimora.core.errors import NotFound
from dimora.core.written import Credential
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.network import Refused
from dimora.models.store import ModelStore
from tests.conftest import Server, run_dimora, serving
from tests.unit.models.making import tiny_gguf

USER, PASSWORD = "anna", "correct horse"


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    missing = [name for name in ("docker-registry", "htpasswd") if shutil.which(name) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing} are needed in CI")
    if missing:
        pytest.skip(f"{missing} are not installed: registries are not tested")


class Running:
    """A registry server with a directory of its own."""

    def __init__(self, place: Path, *, basic: bool) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        self.data = place / "data"
        lines = ["version: 0.1", "storage:", f"  filesystem: {{rootdir: {self.data}}}"]
        lines += ["http:", f"  addr: {self.host}", "log: {level: error}"]
        if basic:
            words = place / "htpasswd"
            made = ["htpasswd", "-Bbn", USER, PASSWORD]
            words.write_bytes(subprocess.run(made, check=True, capture_output=True).stdout)
            lines += ["auth:", f"  htpasswd: {{realm: house, path: {words}}}"]
        config = place / "config.yml"
        config.write_text("\n".join(lines))
        self._log = (place / "log").open("wb")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=self._log, stderr=self._log
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=2).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("docker-registry did not start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self._log.close()


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("registry"), basic=False)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("locked"), basic=True)
    yield running
    running.stop()


def store_at(root: Path, host: str, credential: Credential | None = None) -> ModelStore:
    credentials = {host: credential} if credential else {}
    access = SourceAccess(registries=(host,), credentials=credentials)
    return ModelStore(root, cache_path=root.with_name(f"{root.name}-cache"), access=access)


@pytest.fixture
def weights_path(tmp_path: Path) -> Path:
    """A model file with more bytes than one piece of an upload, or one part of a download."""
    path = tiny_gguf(tmp_path / "tiny.gguf")
    with path.open("ab") as file:
        file.write(os.urandom(40 << 20))
    return path


async def statuses(steps) -> list[str]:
    return list(dict.fromkeys([step.status async for step in steps]))


def manifest_bytes(store: ModelStore, name: str) -> bytes:
    there = store.locate(name)
    assert there is not None
    return store.manifests.read_bytes(there)


async def test_what_is_pushed_comes_back_byte_for_byte(registry, tmp_path, weights_path):
    sender = store_at(tmp_path / "sender", registry.host)
    sender.import_file(weights_path, f"{registry.host}/team/tiny:v1")
    name = f"{registry.host}/team/tiny:v1"
    told = await statuses(sender.push(name))
    assert told[0] == "retrieving manifest"
    assert told[-2:] == ["pushing manifest", "success"]
    receiver = store_at(tmp_path / "receiver", registry.host)
    told = await statuses(receiver.pull(name))
    assert told[0] == "pulling manifest"
    assert told[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    assert manifest_bytes(receiver, name) == manifest_bytes(sender, name)
    assert receiver.find(name).summary.digest == sender.find(name).summary.digest
    assert Path(receiver.verified_files(receiver.find(name)).weights).read_bytes() == (
        weights_path.read_bytes()
    )
    assert {path.name for path in receiver.blobs.directory.iterdir()} == {
        digest.replace(":", "-")
        for digest in receiver.manifests.read(receiver.locate(name)).manifest.digests
    }


async def test_a_second_push_sends_nothing_again(registry, tmp_path, weights_path):
    sender = store_at(tmp_path / "sender", registry.host)
    name = f"{registry.host}/team/twice"
    sender.import_file(weights_path, name)
    await statuses(sender.push(name))
    before = {path: path.stat().st_mtime_ns for path in registry.data.rglob("data")}
    await statuses(sender.push(name))
    assert {path: path.stat().st_mtime_ns for path in registry.data.rglob("data")} == before


async def test_a_name_that_is_not_there_is_not_found(registry, tmp_path):
    store = store_at(tmp_path / "store", registry.host)
    with pytest.raises(NotFound, match="file does not exist"):
        await statuses(store.pull(f"{registry.host}/team/nobody"))


async def test_a_registry_with_a_lock_opens_to_its_user_alone(locked, tmp_path, weights_path):
    name = f"{locked.host}/team/tiny"
    known = Credential(user=USER, password=PASSWORD)
    sender = store_at(tmp_path / "sender", locked.host, known)
    sender.import_file(weights_path, name)
    await statuses(sender.push(name))
    await statuses(store_at(tmp_path / "receiver", locked.host, known).pull(name))
    for wrong in (None, Credential(user=USER, password="guess-7391")):
        stranger = store_at(tmp_path / "stranger", locked.host, wrong)
        with pytest.raises(Refused) as caught:
            await statuses(stranger.pull(name))
        assert "guess-7391" not in caught.value.text
        assert "registry_credentials" in caught.value.hint


async def test_an_artifact_of_another_tool_becomes_a_model(registry, tmp_path, weights_path):
    data = weights_path.read_bytes()
    put_artifact(
        registry.host,
        "team/artifact",
        "v1",
        {"application/vnd.example.gguf": (data, "tiny.gguf"), "text/plain": (b"readme", "README")},
    )
    store = store_at(tmp_path / "store", registry.host)
    name = f"{registry.host}/team/artifact:v1"
    await statuses(store.pull(name))
    model = store.find(name)
    assert model.weights_digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


def house_with(home: Path, host: str, weights_path: Path) -> ModelStore:
    """A home with one model, `tiny`."""
    store = store_at(home / "models", host)
    store.import_file(weights_path, "tiny")
    return store


@pytest.fixture
def moving(registry, tmp_path, weights_path) -> Iterator[Server]:
    """A server that may use the registry, and has the model `tiny`."""
    house_with(tmp_path / "home", registry.host, weights_path)
    with serving(tmp_path / "home", DIMORA_REGISTRIES=registry.host) as running:
        yield running


def test_the_python_client_of_ollama_pushes_and_pulls_with_progress(registry, moving, weights_path):
    client = ollama.Client(moving.url)
    name = f"{registry.host}/python/tiny:v1"
    client.copy("tiny", name)
    told = list(client.push(name, stream=True))
    assert told[0].status == "retrieving manifest"
    assert told[-1].status == "success"
    size = weights_path.stat().st_size
    assert any(step.total == size and 0 < (step.completed or 0) <= size for step in told)
    before = client.list().models[0].digest
    client.delete(name)
    told = list(client.pull(name, stream=True))
    assert told[0].status == "pulling manifest"
    assert [step.status for step in told][-3:] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    assert {model.digest for model in client.list().models} == {before}
    assert client.pull(name).status == "success"
    assert client.push(name).status == "success"
    with pytest.raises(ollama.ResponseError) as caught:
        client.pull(f"{registry.host}/python/nobody")
    assert caught.value.status_code == 404
    assert caught.value.error == "pull model manifest: file does not exist"
    with pytest.raises(ollama.ResponseError) as caught:
        client.pull("registry.example.org/python/tiny")
    assert caught.value.status_code == 403


def test_the_javascript_client_of_ollama_pushes_and_pulls_with_progress(registry, moving, packages):
    result = subprocess.run(
        ["node", "--test", "registry.test.mjs"],
        cwd=packages,
        env=os.environ | {"DIMORA_URL": moving.url, "REGISTRY": registry.host},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_terminal_pushes_and_pulls(locked, tmp_path, weights_path):
    name = f"{locked.host}/terminal/tiny"
    home = tmp_path / "home"
    house_with(home, locked.host, weights_path).copy("tiny", name)
    words = {
        "DIMORA_REGISTRIES": locked.host,
        "DIMORA_REGISTRY_CREDENTIALS": f"{locked.host}={USER}:{PASSWORD}",
    }
    done = run_dimora("push", name, home=home, **words)
    assert done.stderr.splitlines()[-1] == "success"
    done = run_dimora("pull", name, home=tmp_path / "other", **words)
    assert done.stderr.splitlines()[-1] == "success"
    assert name in run_dimora("list", home=tmp_path / "other").stdout
    done = run_dimora("pull", name, home=tmp_path / "stranger", check=False)
    assert done.returncode == 1
    assert "DIMORA_REGISTRIES" in done.stderr


def test_nothing_a_server_says_or_writes_down_tells_a_password(locked, tmp_path, weights_path):
    house_with(tmp_path / "home", locked.host, weights_path).copy("tiny", f"{locked.host}/a/tiny")
    wrong = f"{locked.host}={USER}:guess-7391"
    with serving(
        tmp_path / "home",
        DIMORA_REGISTRIES=locked.host,
        DIMORA_REGISTRY_CREDENTIALS=wrong,
        DIMORA_HUB_TOKEN="guess-7391",
        DIMORA_DEBUG="1",
    ) as running:
        client = ollama.Client(running.url)
        said = ""
        for ask in (client.pull, client.push):
            for stream in (True, False):
                with pytest.raises(ollama.ResponseError) as caught:
                    list(ask(f"{locked.host}/a/tiny", stream=stream))
                said += str(caught.value)
        assert "does not let us in" in said
        files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
        kept = b"".join(path.read_bytes() for path in files if "blobs" not in path.parts)
        assert b"push_model" in kept
        shown = base64.b64encode(f"{USER}:guess-7391".encode()).decode()
        for secret in ("guess-7391", shown):
            assert secret not in said + running.log
            assert secret.encode() not in kept
    shown = run_dimora(
        "config", "show", home=tmp_path / "home", DIMORA_REGISTRY_CREDENTIALS=wrong
    ).stdout
    assert "guess-7391" not in shown


def put_artifact(host: str, repository: str, tag: str, layers: dict) -> None:
    """Push an OCI artifact with nothing but HTTP."""
    base = f"http://{host}/v2/{repository}"

    def put_blob(data: bytes) -> dict:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        ask = urllib.request.Request(f"{base}/blobs/uploads/", data=b"", method="POST")
        with urllib.request.urlopen(ask) as answer:
            place = answer.headers["Location"]
        mark = "&" if "?" in place else "?"
        ask = urllib.request.Request(f"{place}{mark}digest={digest}", data=data, method="PUT")
        ask.add_header("Content-Type", "application/octet-stream")
        urllib.request.urlopen(ask).close()
        return {"digest": digest, "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.model",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **put_blob(b"{}")},
        "layers": [
            {
                "mediaType": kind,
                **put_blob(data),
                "annotations": {"org.opencontainers.image.title": title},
            }
            for kind, (data, title) in layers.items()
        ],
    }
    ask = urllib.request.Request(
        f"{base}/manifests/{tag}", data=json.dumps(manifest).encode(), method="PUT"
    )
    ask.add_header("Content-Type", manifest["mediaType"])
    urllib.request.urlopen(ask).close()
