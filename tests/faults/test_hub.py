"""Pulls from a mirror of a hub on the loopback, which hands large files to another host."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dimora.core.errors import (
    DimoraError,
    InvalidModel,
    NotFound,
    SourceFailed,
    UnsupportedFeature,
)
from dimora.core.settings import Settings
from dimora.models.remote.access import SourceAccess, access_of
from dimora.models.remote.network import Refused
from dimora.models.store import ModelStore
from tests.faults.hub_mirror import COMMIT, TOKEN, Mirror, Repository
from tests.faults.registry_pulls import pull_slowly
from tests.faults.site import Reply, Site
from tests.unit.models.making import digest_of, tiny_gguf
from tests.unit.models.making_folders import write_ir, write_onnx


@pytest.fixture
def mirror(open_site: Callable[..., Site]) -> Mirror:
    return Mirror(open_site)


@pytest.fixture
def make_store(tmp_path: Path, mirror: Mirror) -> Callable[..., ModelStore]:
    def make(token: str = "", name: str = "home", **more: object) -> ModelStore:
        home = tmp_path / name
        return ModelStore(
            home / "models", cache_path=home / "cache", access=mirror.access(token, **more)
        )

    return make


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., bytes]:
    def make(context: int = 128, more: int = 0, **how: object) -> bytes:
        path = tiny_gguf(tmp_path / "made.gguf", context_length=context, **how)  # type: ignore[arg-type]
        return path.read_bytes() + os.urandom(more)

    return make


async def pull(store: ModelStore, name: str) -> list[str]:
    steps = [step.status async for step in store.pull(name)]
    return list(dict.fromkeys(steps))


async def refused(store: ModelStore, name: str, kind: type[DimoraError]) -> DimoraError:
    with pytest.raises(kind) as caught:
        await pull(store, name)
    assert store.all() == []
    assert TOKEN not in caught.value.text
    return caught.value


def layers_of(store: ModelStore, name: str) -> dict[str, list[str]]:
    there = store.locate(name)
    assert there is not None
    found: dict[str, list[str]] = {}
    for layer in store.manifests.read(there).manifest.layers:
        found.setdefault(layer.kind, []).append(layer.digest)
    return found


async def test_the_file_a_tag_means_comes_with_projector_and_licence(mirror, make_store, weights):
    small, large, eyes = weights(64), weights(96), weights(32, architecture="clip")
    mirror.repositories["ada/Tiny-GGUF"] = Repository(
        {
            "Tiny-Q4_K_M.gguf": small,
            "Tiny-Q8_0.gguf": large,
            "mmproj-F16.gguf": eyes,
            "README.md": b"# Tiny",
            "LICENSE": b"Do as you like.",
        },
        cardData={"license": "apache-2.0", "language": ["en"]},
    )
    store = make_store()
    told = await pull(store, "hf.co/ada/Tiny-GGUF")
    assert told == [
        "pulling manifest",
        f"pulling {digest_of(small)[7:19]}",
        f"pulling {digest_of(eyes)[7:19]}",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    layers = layers_of(store, "hf.co/ada/Tiny-GGUF:latest")
    assert layers["model"] == [digest_of(small)]
    assert layers["projector"] == [digest_of(eyes)]
    model = store.find("hf.co/ada/tiny-gguf")
    assert model.licenses == (
        f"ada/Tiny-GGUF on {mirror.hub.key}\nLicense: apache-2.0\n",
        "Do as you like.",
    )
    await pull(store, "huggingface.co/ada/Tiny-GGUF:q8_0")
    other = layers_of(store, "huggingface.co/ada/Tiny-GGUF:q8_0")
    assert other["model"] == [digest_of(large)]
    every = {path.name for path in store.blobs.directory.iterdir()}
    needed = set()
    for name in store.manifests.names():
        needed |= store.manifests.read(name).manifest.digests
    assert every == {digest.replace(":", "-") for digest in needed}


async def test_a_licence_with_a_name_of_its_own_is_told_with_its_place(mirror, make_store, weights):
    card = {"license": "other", "license_name": "tiny-terms", "license_link": "https://x.example/t"}
    mirror.repositories["ada/Tiny"] = Repository({"a.gguf": weights()}, cardData=card)
    store = make_store()
    await pull(store, "hf.co/ada/Tiny")
    (told,) = store.find("hf.co/ada/Tiny").licenses
    assert told.endswith("License: tiny-terms\nhttps://x.example/t\n")


@pytest.mark.parametrize("card", [None, "x", [], {"license": 5}, {"license": [1, {}]}, {"a": "b"}])
async def test_any_front_matter_will_do(mirror, make_store, weights, card):
    mirror.repositories["ada/Tiny"] = Repository({"a.gguf": weights()}, cardData=card)
    store = make_store()
    await pull(store, "hf.co/ada/Tiny")
    assert store.find("hf.co/ada/Tiny").licenses == ()


async def test_a_kind_that_is_not_there_is_told_with_those_that_are(mirror, make_store, weights):
    files = {"a-Q4_0.gguf": weights(), "a-Q8_0.gguf": weights(64, more=10)}
    mirror.repositories["ada/Tiny"] = Repository(files)
    error = await refused(make_store(), "hf.co/ada/Tiny:Q2_K", NotFound)
    assert error.hint == "it has: Q4_0, Q8_0"
    assert mirror.cdn.asked == []


async def test_a_broken_download_goes_on_where_it_was(mirror, make_store, weights):
    data = weights(more=30 << 20)
    mirror.repositories["ada/Tiny"] = Repository({"a-Q4_0.gguf": data})
    mirror.cuts = [1_000_000, 5_000_000, 2_000_000]
    store = make_store()
    stream = store.pull("hf.co/ada/Tiny")
    async for progress in stream:
        if progress.completed_bytes > 4 << 20:
            break
    await stream.aclose()
    assert store.all() == []
    await pull(store, "hf.co/ada/Tiny")
    model = store.find("hf.co/ada/Tiny")
    assert Path(store.verified_files(model).weights).read_bytes() == data
    assert {asked.headers.get("range") is not None for asked in mirror.cdn.asked} == {True}
    assert all("authorization" not in asked.headers for asked in mirror.cdn.asked)


async def test_other_bytes_than_the_hub_says_are_refused(mirror, make_store, weights):
    repository = Repository({"a-Q4_0.gguf": weights()})
    repository.digests["a-Q4_0.gguf"] = "0" * 64
    mirror.repositories["ada/Tiny"] = repository
    store = make_store()
    error = await refused(store, "hf.co/ada/Tiny", SourceFailed)
    assert "digest mismatch" in error.message
    assert list(store.blobs.directory.iterdir()) == []


async def test_without_a_digest_the_bytes_give_their_own(mirror, make_store, weights):
    data = weights(more=9 << 20)
    repository = Repository({"a-Q4_0.gguf": data})
    repository.large = set()
    mirror.repositories["ada/Tiny"] = repository
    store = make_store()
    await pull(store, "hf.co/ada/Tiny")
    assert layers_of(store, "hf.co/ada/Tiny")["model"] == [digest_of(data)]


async def test_a_mirror_that_tells_no_sizes_is_asked_for_them(mirror, make_store, weights):
    data = weights()
    repository = Repository({"a-Q4_0.gguf": data, "sub dir/ü.txt": b""})
    repository.sizes = False
    mirror.repositories["ada/Tiny"] = repository
    store = make_store()
    await pull(store, "hf.co/ada/Tiny")
    assert layers_of(store, "hf.co/ada/Tiny")["model"] == [digest_of(data)]


async def test_names_with_spaces_and_folders_are_asked_for_as_they_are(mirror, make_store, weights):
    data = weights()
    mirror.repositories["ada/Tiny"] = Repository({"my models/ä b-Q4_0.gguf": data})
    store = make_store()
    await pull(store, "hf.co/ada/Tiny:Q4_0")
    assert layers_of(store, "hf.co/ada/Tiny:Q4_0")["model"] == [digest_of(data)]


@pytest.mark.parametrize("name", ["../../etc/passwd.gguf", "/etc/x.gguf", "a/../b.gguf", "."])
async def test_a_file_name_that_leads_elsewhere_is_none(mirror, make_store, weights, name):
    mirror.repositories["ada/Tiny"] = Repository({name: weights()})
    error = await refused(make_store(), "hf.co/ada/Tiny", NotFound)
    assert "no GGUF file" in error.message


async def test_a_repository_that_is_not_there_is_not_found(mirror, make_store):
    error = await refused(make_store(TOKEN), "hf.co/ada/Nothing", NotFound)
    assert error.message == "pull model manifest: file does not exist"
    without = await refused(make_store(name="two"), "hf.co/ada/Nothing", Refused)
    assert "hub_token" in without.hint


async def test_a_private_repository_needs_the_token_and_says_so(mirror, make_store, weights):
    repository = Repository({"a-Q4_0.gguf": weights()})
    repository.private = True
    mirror.repositories["ada/Tiny"] = repository
    error = await refused(make_store(), "hf.co/ada/Tiny", Refused)
    assert "DIMORA_HUB_TOKEN" in error.hint
    wrong = await refused(make_store("hf_wrong", "two"), "hf.co/ada/Tiny", Refused)
    assert "does not accept the token" in wrong.message
    store = make_store(TOKEN, "three")
    await pull(store, "hf.co/ada/Tiny")
    assert len(store.all()) == 1
    assert mirror.hub.asked[-1].headers["authorization"] == f"Bearer {TOKEN}"
    assert all("authorization" not in asked.headers for asked in mirror.cdn.asked)


async def test_a_gated_repository_says_to_accept_its_licence(mirror, make_store, weights):
    repository = Repository({"a-Q4_0.gguf": weights()})
    repository.gated = "manual"
    mirror.repositories["ada/Tiny"] = repository
    mirror.accepted = False
    error = await refused(make_store(), "hf.co/ada/Tiny", Refused)
    assert "accept it at" in error.hint
    assert "hub_token" in error.hint
    with_token = await refused(make_store(TOKEN, "two"), "hf.co/ada/Tiny", Refused)
    assert f"accept its licence at {mirror.hub.url}/ada/Tiny" in with_token.hint
    mirror.accepted = True
    await pull(make_store(TOKEN, "three"), "hf.co/ada/Tiny")


async def test_a_hub_that_is_not_allowed_is_not_asked(mirror, tmp_path):
    access = SourceAccess(registries=("hub.example.org",), hub_endpoint=mirror.hub.url)
    store = ModelStore(tmp_path / "models", access=access)
    await refused(store, "hf.co/ada/Tiny", DimoraError)
    assert mirror.hub.asked == []


async def test_a_redirect_to_a_host_nobody_named_is_not_followed(mirror, tmp_path, weights):
    mirror.repositories["ada/Tiny"] = Repository({"a-Q4_0.gguf": weights()})
    access = SourceAccess(registries=(mirror.hub.key,), hub_endpoint=mirror.hub.url)
    error = await refused(ModelStore(tmp_path / "m", access=access), "hf.co/ada/Tiny", DimoraError)
    assert "sends us to" in error.text
    assert mirror.cdn.asked == []


async def test_the_settings_name_hub_and_token(mirror, tmp_path, weights):
    repository = Repository({"a-Q4_0.gguf": weights()})
    repository.private = True
    repository.large = set()
    mirror.repositories["ada/Tiny"] = repository
    settings = Settings(home=tmp_path, hub_endpoint=mirror.hub.url, hub_token=TOKEN)
    store = ModelStore(tmp_path / "models", access=access_of(settings))
    await pull(store, "hf.co/ada/Tiny")
    assert len(store.all()) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"sha": "main", "siblings": []}',
        b'{"sha": "' + COMMIT.encode() + b'/../x", "siblings": []}',
        b'{"sha": 5, "siblings": "x"}',
        b"[" * 100_000,
        b'{"sha": "' + COMMIT.encode() + b'", "siblings": [{"size": 5}]}',
    ],
    ids=lambda body: body[:30].decode(),
)
async def test_an_answer_that_is_none_is_an_error_of_ours(mirror, make_store, body):
    mirror.hub.answer = lambda asked: Reply(body=body)
    await refused(make_store(), "hf.co/ada/Tiny", SourceFailed)


async def test_a_file_that_is_no_model_is_refused_and_not_shown(mirror, make_store, weights):
    for data in (b"no model at all", weights()[:200], b"\x80\x04\x95" + b"x" * 100):
        mirror.repositories["ada/Tiny"] = Repository({"a-Q4_0.gguf": data})
        with pytest.raises(DimoraError) as caught:
            await pull(make_store(), "hf.co/ada/Tiny")
        assert caught.value.status == 400


async def test_weights_in_parts_are_refused_before_anything_comes(mirror, make_store, weights):
    names = ["a-Q4_0-00001-of-00002.gguf", "a-Q4_0-00002-of-00002.gguf"]
    mirror.repositories["ada/Tiny"] = Repository(dict.fromkeys(names, weights()))
    error = await refused(make_store(), "hf.co/ada/Tiny", UnsupportedFeature)
    assert "2 parts" in error.message
    assert mirror.cdn.asked == []


CONFIG = b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}'


async def test_safetensors_without_a_toolchain_are_refused_before_they_come(mirror, make_store):
    files = {"config.json": CONFIG, "model.safetensors": b"x" * 100, "tokenizer.json": b"{}"}
    mirror.repositories["ada/Tiny"] = Repository(files)
    error = await refused(make_store(), "hf.co/ada/Tiny", NotFound)
    assert "ada/Tiny has safetensors and no GGUF" in error.message
    assert "dimora toolchain install" in error.hint
    assert mirror.cdn.asked == []


async def test_a_tag_of_safetensors_must_be_a_kind(mirror, make_store):
    mirror.repositories["ada/Tiny"] = Repository({"config.json": CONFIG, "m.safetensors": b"x"})
    error = await refused(make_store(), "hf.co/ada/Tiny:v2", DimoraError)
    assert "ada/Tiny has no GGUF" in error.hint
    assert mirror.cdn.asked == []


async def test_a_repository_of_pickles_has_no_model(mirror, make_store):
    mirror.repositories["ada/Tiny"] = Repository({"config.json": CONFIG, "model.bin": b"x"})
    await refused(make_store(), "hf.co/ada/Tiny", NotFound)


async def test_too_large_a_licence_is_left_where_it_is(mirror, make_store, weights):
    files = {"a-Q4_0.gguf": weights(), "LICENSE": b"x" * (2 << 20)}
    mirror.repositories["ada/Tiny"] = Repository(files)
    store = make_store()
    await pull(store, "hf.co/ada/Tiny")
    assert store.find("hf.co/ada/Tiny").licenses == ()


async def test_a_clip_alone_is_no_model(mirror, make_store, weights):
    eyes = weights(architecture="clip")
    mirror.repositories["ada/Tiny"] = Repository({"a-Q4_0.gguf": eyes})
    with pytest.raises(InvalidModel):
        await pull(make_store(), "hf.co/ada/Tiny")


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
async def test_a_folder_an_engine_reads_comes_as_it_is(mirror, make_store, tmp_path, kind):
    folder = {"openvino": write_ir, "onnx": write_onnx}[kind](tmp_path / "made")
    (folder / "LICENSE").write_text("You may.")
    (folder / "modeling.py").write_text("raise SystemExit")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    mirror.repositories["ada/Tiny-ov"] = Repository(files, cardData={"license": "mit"})
    store = make_store()
    assert (await pull(store, "hf.co/ada/Tiny-ov"))[-1] == "success"
    model = store.find("hf.co/ada/Tiny-ov")
    assert model.summary.details == store.find_file(folder).summary.details
    assert model.licenses[0] == "You may." and "mit" in model.licenses[1]
    kept = store.verified_files(model).folder
    assert {name: Path(path).read_bytes() for name, path in kept.items()} == {
        name: data for name, data in files.items() if name not in ("LICENSE", "modeling.py")
    }
    assert not [asked for asked in mirror.hub.asked if asked.path.endswith(".py")]


async def test_a_sweep_leaves_what_came_of_a_folder_that_takes_days(mirror, make_store, tmp_path):
    folder = write_ir(tmp_path / "made")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    mirror.repositories["ada/Tiny-ov"] = Repository(files)
    store = make_store()
    await pull_slowly(store, "hf.co/ada/Tiny-ov")
    assert sorted(store.verified_files(store.find("hf.co/ada/Tiny-ov")).folder) == sorted(files)


async def test_of_several_folders_the_tag_means_one(mirror, make_store, tmp_path):
    made = write_onnx(tmp_path / "made")
    files = {
        f"{place}/{path.name}": path.read_bytes() + (b" " if path.suffix == ".json" else b"")
        for place in ("cpu/int4", "cuda/fp16")
        for path in made.iterdir()
    }
    mirror.repositories["ada/Tiny"] = Repository(files)
    unclear = await refused(make_store(), "hf.co/ada/Tiny", DimoraError)
    assert "cpu-int4, cuda-fp16" in unclear.hint
    missing = await refused(make_store(name="two"), "hf.co/ada/Tiny:int8", NotFound)
    assert "cpu-int4" in missing.hint
    for number, tag in enumerate(("cpu-int4", "FP16")):
        store = make_store(name=f"home{number}")
        await pull(store, f"hf.co/ada/Tiny:{tag}")
        assert store.find(f"hf.co/ada/Tiny:{tag}").summary.details.format == "onnx"
        wanted = ("cpu/int4", "cuda/fp16")[number]
        asked = [a.path for a in mirror.hub.asked if "/resolve/" in a.path]
        assert asked and all(wanted in path for path in asked)
        mirror.hub.asked.clear()


async def test_a_folder_beside_safetensors_is_left_alone(mirror, make_store, tmp_path):
    made = write_ir(tmp_path / "made")
    files = {f"openvino/{path.name}": path.read_bytes() for path in made.iterdir()}
    files |= {"config.json": b"{}", "model.safetensors": b"x"}
    mirror.repositories["ada/Tiny"] = Repository(files)
    error = await refused(make_store(), "hf.co/ada/Tiny", DimoraError)
    assert "safetensors" in error.message
