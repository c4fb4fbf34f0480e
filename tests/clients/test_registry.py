"""A neighbour reads our store: curl, and Debian's registry as a mirror in front of us."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import blob_of, free_port, run_dimora

KEY = "a-key-for-neighbours-1"
REPOSITORY = "library/smollm2"


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is needed in CI")
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture(scope="module")
def curl(server):
    program = needed("curl")

    def run(path: str, *arguments: str) -> bytes:
        command = [program, "-sS", "-m", "60", *arguments, f"{server.url}{path}"]
        return subprocess.run(command, capture_output=True, check=True).stdout

    return run


def headers_of(answer: bytes) -> tuple[int, dict[str, str]]:
    first, *rest = answer.decode().split("\r\n\r\n")[0].split("\r\n")
    return int(first.split()[1]), {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)
    }


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_the_language_is_spoken_and_says_what_there_is(curl):
    status, headers = headers_of(curl("/v2/", "-i"))
    assert (status, headers["docker-distribution-api-version"]) == (200, "registry/2.0")
    assert REPOSITORY in json.loads(curl("/v2/_catalog"))["repositories"]
    assert json.loads(curl(f"/v2/{REPOSITORY}/tags/list")) == {
        "name": REPOSITORY,
        "tags": ["135m"],
    }


def test_manifest_and_blobs_arrive_as_their_digests_say(curl):
    path = f"/v2/{REPOSITORY}/manifests/135m"
    data = curl(path)
    status, headers = headers_of(curl(path, "-I"))
    assert status == 200
    assert headers["docker-content-digest"] == digest_of(data)
    assert headers["content-length"] == str(len(data))
    assert headers["content-type"] == json.loads(data)["mediaType"]
    assert curl(f"/v2/{REPOSITORY}/manifests/{digest_of(data)}") == data
    manifest = json.loads(data)
    for layer in (manifest["config"], *manifest["layers"]):
        blob = curl(f"/v2/{REPOSITORY}/blobs/{layer['digest']}")
        assert (digest_of(blob), len(blob)) == (layer["digest"], layer["size"])


def weights_of(curl) -> dict:
    manifest = json.loads(curl(f"/v2/{REPOSITORY}/manifests/135m"))
    return next(x for x in manifest["layers"] if x["mediaType"].endswith(".model"))


def test_a_download_goes_on_where_it_was_broken_off(curl, tmp_path):
    layer = weights_of(curl)
    path, partial = f"/v2/{REPOSITORY}/blobs/{layer['digest']}", tmp_path / "partial"
    partial.write_bytes(curl(path, "-r", "0-30000000"))
    assert partial.stat().st_size == 30000001
    curl(path, "-C", "-", "-o", str(partial))
    assert digest_of(partial.read_bytes()) == layer["digest"]


def test_ranges_are_answered_by_the_book(curl):
    layer = weights_of(curl)
    path, size = f"/v2/{REPOSITORY}/blobs/{layer['digest']}", layer["size"]
    whole = curl(path)
    answer = curl(path, "-i", "-r", "5-9")
    status, headers = headers_of(answer)
    assert (status, headers["content-range"]) == (206, f"bytes 5-9/{size}")
    assert answer.endswith(b"\r\n\r\n" + whole[5:10])
    assert curl(path, "-r", "-7") == whole[-7:]
    status, headers = headers_of(curl(path, "-i", "-r", f"{size}-"))
    assert (status, headers["content-range"]) == (416, f"bytes */{size}")
    status, headers = headers_of(curl(path, "-I"))
    assert (status, headers["content-length"], headers["accept-ranges"]) == (
        200,
        str(size),
        "bytes",
    )


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/library/nobody/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/..%2f..%2fetc/manifests/passwd", 404, "NAME_UNKNOWN"),
        (f"/v2/{REPOSITORY}/manifests/none", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/{REPOSITORY}/manifests/sha256:{'0' * 64}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/{REPOSITORY}/blobs/sha256:{'0' * 64}", 404, "BLOB_UNKNOWN"),
        (f"/v2/{REPOSITORY}/blobs/sha256:..%2f..%2fx", 404, None),
        (f"/v2/{REPOSITORY}/blobs/passwd", 400, "DIGEST_INVALID"),
    ],
)
def test_what_is_not_there_is_told_in_the_words_of_the_specification(curl, path, status, code):
    answer = curl(path, "-i", "--path-as-is")
    assert headers_of(answer)[0] == status
    if code is not None:
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["errors"][0]["code"] == code


def test_nothing_can_be_written(curl):
    for method, path in (("PUT", "manifests/x"), ("POST", "blobs/uploads/"), ("DELETE", "blobs/x")):
        answer = curl(f"/v2/{REPOSITORY}/{path}", "-i", "-X", method)
        assert headers_of(answer)[0] in (404, 405)


def test_a_house_with_keys_lets_in_who_has_one_as_a_password(make_server):
    program = needed("curl")
    server = make_server(DIMORA_API_KEYS=f"neighbour:{KEY}:reader", DIMORA_ENGINE="echo")
    url = f"{server.url}/v2/{REPOSITORY}/manifests/135m"

    def answer(*arguments: str) -> bytes:
        command = [program, "-sS", "-i", "-m", "20", *arguments, url]
        return subprocess.run(command, capture_output=True, check=True).stdout

    status, headers = headers_of(answer())
    assert status == 401
    assert headers["www-authenticate"].startswith("Basic realm=")
    assert headers_of(answer("-u", f"anyone:{KEY}"))[0] == 200
    assert headers_of(answer("-H", f"Authorization: Bearer {KEY}"))[0] == 200
    assert headers_of(answer("-u", f"{KEY}:wrong"))[0] == 401


@contextlib.contextmanager
def mirror_of(url: str, directory: Path) -> Iterator[str]:
    """Debian's registry, which fetches from `url` what it is asked for."""
    program = needed("docker-registry")
    port = free_port()
    configuration = directory / "mirror.yml"
    configuration.write_text(
        f"""version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {directory / "mirror"}}}}}
http: {{addr: "127.0.0.1:{port}"}}
proxy: {{remoteurl: "{url}"}}
"""
    )
    with (directory / "mirror.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(configuration)], stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_a_registry_of_other_people_mirrors_us(server, tmp_path):
    with mirror_of(server.url, tmp_path) as mirror:
        accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        request = urllib.request.Request(f"{mirror}/v2/{REPOSITORY}/manifests/135m", headers=accept)
        with urllib.request.urlopen(request, timeout=30) as answer:
            data = answer.read()
            assert answer.headers["Docker-Content-Digest"] == digest_of(data)
        manifest = json.loads(data)
        for layer in (manifest["config"], *manifest["layers"]):
            url = f"{mirror}/v2/{REPOSITORY}/blobs/{layer['digest']}"
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert digest_of(answer.read()) == layer["digest"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{mirror}/v2/{REPOSITORY}/manifests/none", timeout=30)
        assert caught.value.code == 404


@pytest.mark.parametrize("keys", [False, True])
def test_one_dimora_pulls_from_another(make_server, model_home, tmp_path, keys):
    extra = {"DIMORA_API_KEYS": f"neighbour:{KEY}:reader"} if keys else {}
    server = make_server(DIMORA_ENGINE="echo", **extra)
    host = server.url.removeprefix("http://")
    name = f"{host}/{REPOSITORY}:135m"
    settings = {"DIMORA_REGISTRIES": host}
    if keys:
        refused = run_dimora("pull", name, home=tmp_path / "home", check=False, **settings)
        assert refused.returncode == 1
        assert "credential" in refused.stderr
        settings["DIMORA_REGISTRY_CREDENTIALS"] = f"{host}=anyone:{KEY}"
    run_dimora("pull", name, home=tmp_path / "home", **settings)
    pulled = blob_of(tmp_path / "home", name)
    assert pulled.read_bytes() == blob_of(model_home, "smollm2:135m").read_bytes()
    (here,) = json.loads(run_dimora("list", "--json", home=tmp_path / "home").stdout)
    there = json.loads(run_dimora("list", "smollm2", "--json", home=model_home).stdout)[0]
    assert here["digest"] == there["digest"]
    pushed = run_dimora("push", name, home=tmp_path / "home", check=False, **settings)
    assert pushed.returncode == 1
    assert "takes no models" in pushed.stderr
