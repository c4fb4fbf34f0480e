"""Models are made: by Ollama's Python client, by curl, and at the terminal without a server, beside
one on the same store, and with one that is elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest

from dimora.cli.door import ServerDoor
from dimora.core.addresses import Address
from dimora.core.errors import Forbidden
from dimora.tasks.take_file import TakeFile
from tests.conftest import Server, run_dimora, serving
from tests.unit.models.making import tiny_adapter, tiny_gguf

MODELFILE = '''\ufeffFROM ./m.gguf
ADAPTER ./a.gguf 0.5
PARAMETER temperature 0.5
PARAMETER stop """two
lines"""
TEMPLATE """{{ if .System }}"{{ .System }}"{{ end }} {{ .Prompt }}"""
SYSTEM Sei Ada, e dici «sì».
MESSAGE user hi
LICENSE MIT
FILE guide.txt
'''.replace("\n", "\r\n")


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, an adapter for it, a document and a Modelfile."""
    folder = tmp_path_factory.mktemp("kitchen")
    tiny_gguf(folder / "m.gguf")
    tiny_gguf(folder / "f16.gguf", precise=True, file_type=1)
    tiny_gguf(folder / "mm.gguf", architecture="clip")
    tiny_adapter(folder / "a.gguf")
    (folder / "guide.txt").write_text("Turn left.")
    (folder / "Modelfile").write_text(MODELFILE, newline="")
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these tests' own, without models."""
    with serving(tmp_path_factory.mktemp("own") / "home") as running:
        yield running


@pytest.fixture
def client(own: Server) -> ollama.Client:
    return ollama.Client(own.url)


@pytest.fixture
def base(client: ollama.Client, kitchen: Path) -> str:
    client.create("base", files={"m.gguf": client.create_blob(kitchen / "m.gguf")})
    return "base"


def digest_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_blobs_are_brought_and_made_into_a_model(client: ollama.Client, kitchen: Path) -> None:
    files = {name: client.create_blob(kitchen / name) for name in ("m.gguf", "mm.gguf")}
    assert files == {name: digest_of(kitchen / name) for name in files}
    parts = list(
        client.create("seeing", files=files, system="Look.", parameters={"top_k": 3}, stream=True)
    )
    statuses = [part.status for part in parts]
    assert statuses[0] == "parsing GGUF"
    assert f"using existing layer {files['m.gguf']}" in statuses
    assert statuses[-2:] == ["writing manifest", "success"]
    shown = client.show("seeing")
    assert "its projector" in shown.modelfile
    # No engine takes images yet, and clients would offer to send some.
    assert "vision" not in shown.capabilities
    assert shown.parameters.split() == ["top_k", "3"]


def test_adapters_are_added(client: ollama.Client, kitchen: Path, base: str) -> None:
    adapters = {"a.gguf": client.create_blob(kitchen / "a.gguf")}
    assert client.create("tuned", from_=base, adapters=adapters).status == "success"
    assert "its adapter 1" in client.show("tuned").modelfile


def test_weights_are_quantized(client: ollama.Client, kitchen: Path) -> None:
    files = {"m.gguf": client.create_blob(kitchen / "f16.gguf")}
    parts = list(client.create("small", files=files, quantize="q8_0", stream=True))
    told = [p for p in parts if p.status == "quantizing F16 model to Q8_0"]
    assert told[-1].completed == told[-1].total > 0
    assert client.show("small").details.quantization_level == "Q8_0"


def test_a_model_is_made_of_a_model(client: ollama.Client, base: str) -> None:
    answer = client.create(
        "me/ada",
        from_=base,
        system="You are Ada.",
        template="{{ .System }} {{ .Prompt }}",
        license=["MIT", "More"],
        parameters=ollama.Options(temperature=0.25, stop=["a", "b"]),
        messages=[{"role": "user", "content": "hi"}],
    )
    assert answer.status == "success"
    raw = client._request_raw("POST", "/api/show", json={"model": "me/ada"}).json()
    assert raw["system"] == "You are Ada."
    assert raw["template"] == "{{ .System }} {{ .Prompt }}"
    assert raw["license"] == "MIT\nMore"
    assert raw["messages"] == [{"role": "user", "content": "hi"}]
    assert raw["parameters"].split() == ["stop", '"a"', "stop", '"b"', "temperature", "0.25"]
    client.copy("me/ada", "bea")
    digests = {m.model: m.digest for m in client.list().models}
    assert digests["me/ada:latest"] == digests["bea:latest"]
    client.delete("me/ada")
    assert "me/ada:latest" not in {m.model for m in client.list().models}
    assert client.show("bea").details.family == "llama"


def test_all_words_of_a_modelfile_arrive(client: ollama.Client, base: str) -> None:
    body = {
        "name": "named", "from": base, "renderer": "r", "parser": "p", "requires": "0.20",
        "info": {"model_family": "x"}, "stream": False,
    }  # fmt: skip
    raw = client._request_raw("POST", "/api/create", json=body).json()
    assert raw["status"] == "success"
    assert [word for word in ("renderer", "parser", "info") if word in str(raw["warnings"])] == [
        "renderer", "parser", "info",
    ]  # fmt: skip
    shown = client._request_raw("POST", "/api/show", json={"model": "named"}).json()
    assert (shown["renderer"], shown["parser"], shown["requires"]) == ("r", "p", "0.20")


def test_the_javascript_client_makes_copies_and_deletes_models(
    packages: Path, kitchen: Path, tmp_path: Path
) -> None:
    with serving(tmp_path / "home") as server:
        result = subprocess.run(
            ["node", "--test", "create.test.mjs"],
            cwd=packages,
            env=os.environ | {"DIMORA_URL": server.url, "KITCHEN": str(kitchen)},
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "a b", "from": "base"}, 400, "invalid model name"),
        ({"model": "", "from": "base"}, 400, "invalid model name"),
        ({"from": "nobody"}, 404, "model 'nobody' not found"),
        ({"from": "base", "draft": "nobody"}, 404, "model 'nobody' not found"),
        ({"from": "./m.gguf"}, 404, "model './m.gguf' not found"),
        ({"files": {"m.gguf": "sha256:" + "0" * 64}}, 400, "the file 'm.gguf' is not here"),
        ({"files": {"m.gguf": "../../etc/passwd"}}, 400, "is not a sha256 digest"),
        ({"files": {"../m.gguf": "{m}"}}, 400, "file path must be relative"),
        ({"files": {"/m.gguf": "{m}"}}, 400, "file path must be relative"),
        ({"files": {"m.gguf": "{guide}"}}, 400, "supplied file was not in GGUF format"),
        ({"files": {"m.txt": "{guide}"}}, 400, "unknown type"),
        ({"files": {"m.gguf": "{m}"}, "quantize": "Q4_K_M"}, 400, "only supported for F32"),
        ({"files": {"m.gguf": "{m}"}, "quantize": "Q99"}, 400, "unknown quantization type 'Q99'"),
        ({"from": "base", "adapters": {"a.gguf": "{m}"}}, 400, "is a model and no adapter"),
        ({"from": "base", "requires": "99"}, 400, "requires Ollama 99"),
        ({"from": "base", "template": "{{ if }}"}, 400, "template"),
        ({"from": "base", "template": "{% if %}"}, 400, "template"),
        ({"from": "base", "parameters": {"num_ctx": "x"}}, 400, 'option "num_ctx" must be'),
        ({"from": "base", "messages": [{"role": "robot"}]}, 400, "role must be one of"),
        ({"from": "base", "remote_host": "https://x.example"}, 400, "remote_host"),
        ({"from": "base", "files": {"m.gguf": "{m}"}}, 400, "not from both"),
        ({"from": "base", "files": ["m.gguf"]}, 400, "files"),
    ],
)
def test_every_error_is_told_before_the_stream_begins(
    client: ollama.Client, kitchen: Path, base: str, body: dict, status: int, error: str
) -> None:
    for name in ("m.gguf", "guide.txt"):
        body = json.loads(
            json.dumps(body).replace(f"{{{name.partition('.')[0]}}}", digest_of(kitchen / name))
        )
        client.create_blob(kitchen / name)
    with pytest.raises(ollama.ResponseError) as caught:
        client._request_raw("POST", "/api/create", json={"model": "x"} | body)
    assert caught.value.status_code == status
    assert error in caught.value.error
    assert "x:latest" not in {m.model for m in client.list().models}


@pytest.fixture
def curl(own: Server):
    if shutil.which("curl") is None:
        if os.environ.get("CI"):
            pytest.fail("curl is needed in CI")
        pytest.skip("curl is not installed")

    def run(path: str, *arguments: str) -> tuple[str, str]:
        """The body, and the status."""
        command = ["curl", "-sS", "-m", "60", "-w", "\n%{http_code}", *arguments, own.url + path]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        body, _, status = told.rpartition("\n")
        return body, status

    return run


def test_curl_brings_blobs_as_the_manual_shows(curl, kitchen: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(70 << 20))
    digest = digest_of(big)
    path = f"/api/blobs/{digest}"
    assert curl(path, "-I")[1] == "404"
    assert curl(path, "-T", str(big), "-X", "POST") == ("", "201")
    assert curl(path, "-T", str(big), "-X", "POST") == ("", "200")
    assert curl(path, "-I")[1] == "200"
    assert curl("/api/blobs/sha256:12", "-I")[1] == "400"
    wrong = "sha256:" + "0" * 64
    chunked = ("-T", str(kitchen / "m.gguf"), "-X", "POST", "-H", "Transfer-Encoding: chunked")
    body, status = curl(f"/api/blobs/{wrong}", *chunked)
    found = digest_of(kitchen / "m.gguf")
    assert status == "400"
    assert json.loads(body) == {"error": f'digest mismatch, expected "{wrong}", got "{found}"'}
    assert curl(f"/api/blobs/{wrong}", "-I")[1] == "404"
    body, status = curl("/api/blobs/nonsense", "-T", str(big), "-X", "POST")
    assert status == "400" and "digest" in json.loads(body)["error"]
    assert curl(path)[1] == "405"


def terminal(home: Path, *arguments: str, **more):
    return run_dimora(*arguments, home=home, **more)


def test_the_terminal_makes_a_model_without_a_server(kitchen: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = terminal(home, "create", "ada", "-f", str(kitchen / "Modelfile"))
    *_, last, warning = made.stderr.splitlines()
    assert last == "success"
    assert "not searched yet: model 'multilingual-e5-small' not found" in warning
    text = terminal(home, "show", "ada", "--modelfile").stdout
    assert "Sei Ada, e dici «sì»." in text and '"two\nlines"' in text
    again = terminal(home, "create", "bea", "-f", "-", stdin=text, cwd=tmp_path)
    assert "creating new layer" not in again.stderr
    rows = json.loads(terminal(home, "list", "--json").stdout)
    assert len({row["digest"] for row in rows}) == 1 and len(rows) == 2
    shown = json.loads(terminal(home, "show", "bea", "--json").stdout)["shown"]
    assert shown["documents"] == ["guide.txt"]
    assert [scale for _, scale in shown["adapters"]] == [0.5]
    small = terminal(home, "create", "q", "-f", "-", "-q", "q8_0", stdin="FROM ./f16.gguf",
                     cwd=kitchen)  # fmt: skip
    assert "quantizing F16 model to Q8_0" in small.stderr


def test_without_a_modelfile_it_is_the_model_of_this_folder(kitchen: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(kitchen / "m.gguf", folder)
    terminal(tmp_path / "home", "create", "here", cwd=folder)
    shown = json.loads(terminal(tmp_path / "home", "show", "here", "--json").stdout)["shown"]
    assert shown["weights_digest"] == digest_of(kitchen / "m.gguf")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM m\nFROB x\n", "(line 2): command must be one of"),
        ("FROM ./nowhere.gguf\n", "(line 1): there is no file './nowhere.gguf'"),
        ("# nothing\n", "no FROM line"),
        ("FROM ./guide.txt\n", "(line 1): unknown type"),
        ("FROM ./m.gguf\nFROM ./f16.gguf\n", "(line 1): 'f16.gguf' and 'm.gguf' are both weights"),
    ],
)
def test_the_terminal_tells_what_is_wrong(kitchen: Path, tmp_path: Path, text: str, words: str):
    told = terminal(tmp_path, "create", "x", "-f", "-", stdin=text, cwd=kitchen, check=False)
    assert told.returncode == 1
    assert words in told.stderr
    assert "taking in" not in told.stderr
    assert json.loads(terminal(tmp_path, "list", "--json").stdout) == []


def test_large_weights_are_not_copied_beside_a_server_on_the_same_store(
    smollm2_path: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "m.gguf"
    shutil.copy(smollm2_path, weights)
    (tmp_path / "Modelfile").write_text("FROM ./m.gguf\n")
    with serving(tmp_path / "home") as server:
        host = {"DIMORA_HOST": f"127.0.0.1:{server.port}"}
        terminal(server.home, "create", "first", cwd=tmp_path, DIMORA_LINK_FILES="0", **host)
        terminal(server.home, "rm", "first", **host)
        weights.touch()
        told = terminal(server.home, "create", "second", cwd=tmp_path, **host).stderr
        assert "sending" not in told
        assert ollama.Client(server.url).show("second").details.family == "llama"
        blob = server.home / "models" / "blobs" / digest_of(weights).replace(":", "-")
        if blob.samefile(weights):
            assert "read-only from now on" in told
            assert weights.stat().st_mode & 0o222 == 0


def test_files_go_to_a_server_that_is_elsewhere(own: Server, tmp_path: Path) -> None:
    tiny_gguf(tmp_path / "far.gguf", context_length=77)
    (tmp_path / "Modelfile").write_text("FROM far.gguf\nSYSTEM Far away.\n")
    host = {"DIMORA_HOST": f"127.0.0.1:{own.port}"}
    told = terminal(tmp_path / "mine", "create", "far", cwd=tmp_path, **host).stderr
    assert "sending far.gguf" in told and told.splitlines()[-1] == "success"
    again = terminal(tmp_path / "mine", "create", "far", cwd=tmp_path, **host).stderr
    assert "sending" not in again
    assert not (tmp_path / "mine" / "models").exists()
    assert "Far away." in ollama.Client(own.url).show("far").modelfile


def test_a_file_or_a_folder_is_pulled_by_its_path_with_a_server_or_without(
    kitchen: Path, own: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "A folder"
    folder.mkdir()
    shutil.copy(kitchen / "m.gguf", folder / "Some Model.gguf")
    alone = {"home": tmp_path / "home", "cwd": tmp_path}
    beside = alone | {"DIMORA_HOST": f"127.0.0.1:{own.port}"}
    for how in (alone, beside):
        run_dimora("pull", "./A folder", **how)
        run_dimora("pull", str(folder / "Some Model.gguf"), **how)
        rows = json.loads(run_dimora("list", "--json", **how).stdout)
        assert {"a-folder:latest", "some-model:latest"} <= {row["name"] for row in rows}
        for nothing in ("nowhere.gguf", "~nobody-of-that-name/m"):
            told = run_dimora("pull", nothing, check=False, **how)
            assert told.returncode == 1
            assert told.stderr.startswith(f"Error: there is no file or folder {nothing!r}")


def test_only_the_terminals_own_house_opens_a_path(own: Server, kitchen: Path) -> None:
    door = ServerDoor(Address("127.0.0.1", own.port))
    with pytest.raises(Forbidden, match="only the terminal"):
        list(door.ask(TakeFile(path=str(kitchen / "m.gguf"))))


def test_a_key_without_the_right_brings_nothing(kitchen: Path, tmp_path: Path) -> None:
    keys = "boss:0123456789abcdef:manager,guest:fedcba9876543210:user"
    with serving(tmp_path / "home", DIMORA_API_KEYS=keys) as server:
        host = {"DIMORA_HOST": f"127.0.0.1:{server.port}"}
        for key, words in (("", "key is needed"), ("fedcba9876543210", "no right to manage")):
            told = terminal(tmp_path / "mine", "create", "x", cwd=kitchen, check=False,
                            DIMORA_API_KEY=key, **host)  # fmt: skip
            assert told.returncode == 1
            assert words in told.stderr
        assert not list((tmp_path / "home").glob("models/blobs/*"))
        terminal(tmp_path / "mine", "create", "x", cwd=kitchen,
                 DIMORA_API_KEY="0123456789abcdef", **host)  # fmt: skip


def test_what_cannot_be_converted_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["OddForCausalLM"]}')
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(1 << 30)
    told = terminal(tmp_path / "home", "create", "x", cwd=folder, check=False)
    assert told.returncode == 1
    assert "toolchain" in told.stderr and "taking in" not in told.stderr
    assert not (tmp_path / "home" / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "words"), [(("a b",), 'name "a b" is invalid'), (("x", "-q", "Q99"), "'Q99'")]
)
def test_wrong_words_are_told_before_a_file_is_read(kitchen, tmp_path, arguments, words) -> None:
    told = terminal(tmp_path / "home", "create", *arguments, cwd=kitchen, check=False)
    assert told.returncode == 1
    assert words in told.stderr and "taking in" not in told.stderr


@pytest.mark.parametrize(
    ("engine", "words"),
    [("fancy", "there is no engine 'fancy'"), ("openvino", "it loads no adapters")],
)
def test_an_engine_that_will_not_run_the_model_is_told_when_it_is_made(
    kitchen, tmp_path, engine, words
) -> None:
    text = f"FROM m.gguf\nADAPTER a.gguf\nENGINE {engine}\n"
    told = terminal(tmp_path / "home", "create", "x", "-f", "-", stdin=text, cwd=kitchen).stderr
    assert words in told.splitlines()[-1]
