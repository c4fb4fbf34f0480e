"""The keeper of models, over stores that Ollama wrote and stores of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dimora.core.errors import BadRequest, InvalidModel, NotFound
from dimora.core.types import Message, Text
from dimora.models.formats.gguf import Header, read_header
from dimora.models.store import ModelStore
from dimora.storage.blobs import hash_file
from dimora.tasks.base import EmbeddingHabits
from dimora.tasks.options import Options
from dimora.tasks.recipe import Recipe
from tests.unit.models.making import OllamaStore, digest_of, tiny_gguf
from tests.unit.models.raw_gguf import ARCHITECTURE, file_of, number

LIBRARY = ("registry.ollama.ai", "library")


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    return tiny_gguf(tmp_path / "tiny.gguf").read_bytes()


@pytest.fixture
def ollama(tmp_path: Path, weights: bytes) -> OllamaStore:
    """Three models that share the model file and a licence, one of them on another host."""
    store = OllamaStore(tmp_path / "models")
    store.model(
        (*LIBRARY, "tiny", "latest"),
        [
            ("model", weights),
            ("template", b"{{ .Prompt }}{{ .Tools }}"),
            ("system", b"Be kind."),
            ("params", b'{"stop": ["</s>", "<s>"], "temperature": 0.5, "unheard_of": 1}'),
            ("license", b"Licence A"),
            ("messages", b'[{"role":"user","content":"hi"},{"role":"assistant","content":"yo"}]'),
        ],
    )
    store.model((*LIBRARY, "Other", "1B"), [("model", weights), ("license", b"Licence A")])
    store.model(("hf.co", "me", "tiny-GGUF", "Q4"), [("model", weights), ("license", b"Licence B")])
    return store


@pytest.fixture
def store(ollama: OllamaStore, tmp_path: Path) -> ModelStore:
    return ModelStore(ollama.root, cache_path=tmp_path / "cache")


def blobs_in(root: Path) -> set[str]:
    return {path.name for path in (root / "blobs").iterdir()}


def names_in(store: ModelStore) -> set[str]:
    return {row.name for row in store.all()}


def create(store: ModelStore, name: str, source: str, **changes: Any) -> list[str]:
    """Create a model of another; gives the status words."""

    async def run() -> list[str]:
        return [p.status async for p in store.create(name, Recipe(source=source, **changes), [])]

    return asyncio.run(run())


def test_an_ollama_store_is_listed_as_it_is(store: ModelStore, weights: bytes) -> None:
    rows = {row.name: row for row in store.all()}
    assert set(rows) == {"tiny:latest", "Other:1B", "hf.co/me/tiny-GGUF:Q4"}
    tiny = rows["tiny:latest"]
    manifest = store.root.joinpath("manifests", *LIBRARY, "tiny", "latest").read_bytes()
    assert tiny.digest == digest_of(manifest).removeprefix("sha256:")
    layers = json.loads(manifest)["layers"]
    assert tiny.size_bytes == sum(layer["size"] for layer in layers) > len(weights)
    assert tiny.details.family == "llama"
    assert tiny.details.parameter_size == "1.2K"
    assert tiny.details.quantization_level == "F32"
    # What an older config does not tell comes from the model file.
    assert tiny.details.context_length == 128
    assert tiny.capabilities == ("completion", "tools", "thinking")


def test_the_newest_model_comes_first(store: ModelStore) -> None:
    manifest = store.root.joinpath("manifests", *LIBRARY, "Other", "1B")
    os.utime(manifest, (2e9, 2e9))
    assert store.all()[0].name == "Other:1B"
    assert store.all()[0].modified_at == 2e9


def test_a_model_file_is_read_once_for_the_list_and_never_again(
    store: ModelStore, ollama: OllamaStore, tmp_path: Path, weights: bytes
) -> None:
    first = store.all()
    os.truncate(store.blobs.path(digest_of(weights)), 10)
    again = ModelStore(ollama.root, cache_path=tmp_path / "cache")
    assert again.all() == first


def test_a_model_is_found_with_everything_its_layers_say(store: ModelStore, weights: bytes) -> None:
    model = store.find("tiny")
    assert model.name == "tiny:latest"
    assert model.weights_digest == digest_of(weights)
    assert model.system == "Be kind."
    assert model.template == "{{ .Prompt }}{{ .Tools }}"
    assert model.options == Options(stop=("</s>", "<s>"), temperature=0.5)
    assert model.licenses == ("Licence A",)
    assert model.messages == (
        Message("user", (Text("hi"),)),
        Message("assistant", (Text("yo"),)),
    )
    assert (model.bos_token, model.eos_token) == ("<s>", "</s>")
    assert model.metadata["general.name"] == "Tiny"
    assert [row[0] for row in model.tensors] == [
        "token_embd.weight",
        "blk.0.attn_q.weight",
        "output_norm.weight",
    ]
    assert model.summary in store.all()


@pytest.mark.parametrize("name", ["TINY", "tiny:LATEST", "Tiny:latest", "library/tiny"])
def test_names_are_found_in_any_case(store: ModelStore, name: str) -> None:
    assert store.find(name).name == "tiny:latest"


def test_a_model_of_another_host_is_found_by_its_whole_name(store: ModelStore) -> None:
    assert store.find("HF.co/me/tiny-gguf:q4").name == "hf.co/me/tiny-GGUF:Q4"


@pytest.mark.parametrize("name", ["none", "tiny:1b", "../tiny", "", "a:b:c", "./tiny.gguf"])
def test_what_is_not_there_is_not_found_in_the_words_of_the_contract(
    store: ModelStore, name: str
) -> None:
    with pytest.raises(NotFound) as caught:
        store.find(name)
    assert caught.value.message == f"model '{name}' not found"
    assert caught.value.code == "model_not_found"
    assert caught.value.hint == f"dimora pull {name}"


def test_a_found_model_is_not_parsed_twice_but_its_changes_are_seen(store: ModelStore) -> None:
    first = store.find("tiny")
    assert store.find("tiny") is first
    create(store, "tiny", "tiny", system="Be short.")
    assert store.find("tiny").system == "Be short."


def test_verified_files_are_the_blobs(store: ModelStore, weights: bytes) -> None:
    files = store.verified_files(store.find("tiny"))
    assert files.weights == str(store.blobs.path(digest_of(weights)))
    assert files.projector == "" and files.adapters == ()


def test_projectors_and_adapters_are_verified_too(
    ollama: OllamaStore, store: ModelStore, weights: bytes, tmp_path: Path
) -> None:
    eyes, lora = (
        tiny_gguf(tmp_path / kind, strings={"general.type": kind}).read_bytes()
        for kind in ("mmproj", "adapter")
    )
    ollama.model(
        (*LIBRARY, "seeing", "latest"),
        [("model", weights), ("projector", eyes), ("adapter", lora)],
    )
    model = store.find("seeing")
    # No engine uses it, so it makes no promise.
    assert "vision" not in model.summary.capabilities
    files = store.verified_files(model)
    assert files.projector == str(store.blobs.path(digest_of(eyes)))
    assert files.adapters == ((str(store.blobs.path(digest_of(lora))), 1.0),)
    store.blobs.path(digest_of(eyes)).write_bytes(eyes[:-1] + b"!")
    with pytest.raises(InvalidModel, match=digest_of(eyes)):
        store.verified_files(model)


@pytest.mark.parametrize("kind", ["projector", "adapter", "draft"])
def test_what_goes_with_a_model_is_read_before_an_engine_sees_it(
    ollama: OllamaStore, store: ModelStore, weights: bytes, kind: str
) -> None:
    hostile = file_of([ARCHITECTURE, number("llama.attention.head_count", 0)], [])
    ollama.model((*LIBRARY, "with", "it"), [("model", weights), (kind, hostile)])
    model = store.find("with:it")
    with pytest.raises(InvalidModel, match=f"{digest_of(hostile)}.*head_count"):
        store.verified_files(model)


def test_a_blob_is_hashed_again_only_when_it_was_touched(
    store: ModelStore,
    ollama: OllamaStore,
    tmp_path: Path,
    weights: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = store.find("tiny")
    store.verified_files(model)
    again = ModelStore(ollama.root, cache_path=tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr("dimora.models.assembly.hash_file", None)
        store.verified_files(model)
        again.verified_files(again.find("tiny"))
    blob = store.blobs.path(digest_of(weights))
    changed = bytearray(weights)
    changed[-1] ^= 1
    blob.write_bytes(changed)
    for each in (store, again):
        with pytest.raises(InvalidModel, match=digest_of(weights)):
            each.verified_files(model)


def test_a_header_is_looked_at_again_only_when_the_file_was_touched(
    store: ModelStore, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def reading(path: Path) -> Header:
        read.append(path)
        return read_header(path)

    monkeypatch.setattr("dimora.models.assembly.read_header", reading)
    model = store.find("tiny")
    blob = store.blobs.path(digest_of(weights))
    store.verified_files(model)
    assert read == [blob]
    os.utime(blob, (1e9, 1e9))
    store.verified_files(model)
    store.verified_files(model)
    assert read == [blob, blob]


def test_a_flipped_bit_whose_time_was_put_back_is_found_by_verifying_and_then_by_loading(
    store: ModelStore, ollama: OllamaStore, tmp_path: Path, weights: bytes
) -> None:
    digest = digest_of(weights)
    store.verified_files(store.find("tiny"))
    blob = store.blobs.path(digest)
    before = blob.stat()
    with blob.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([weights[-1] ^ 1]))
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not store.verify_blob(digest)
    for each in (store, ModelStore(ollama.root, cache_path=tmp_path / "cache")):
        assert not each.is_verified(digest)
        with pytest.raises(InvalidModel, match=digest):
            each.verified_files(each.find("tiny"))
    blob.write_bytes(weights)
    assert store.verify_blob(digest)
    assert store.verified_files(store.find("tiny")).weights == str(blob)


@pytest.mark.parametrize("change", ["longer", "other bytes", "another file"])
def test_a_file_that_was_changed_since_it_was_checked_is_not_loaded(
    store: ModelStore, weights: bytes, change: str
) -> None:
    model = store.find("tiny")
    store.verified_files(model)
    blob = store.blobs.path(model.weights_digest)
    if change == "longer":
        with blob.open("ab") as file:
            file.write(b"x")
    elif change == "other bytes":
        blob.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    else:
        other = blob.with_name("other")
        other.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
        before = blob.stat()
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(blob)
    with pytest.raises(InvalidModel, match=model.weights_digest):
        store.verified_files(model)


def test_a_damaged_manifest_costs_the_list_no_more_than_its_own_line(
    store: ModelStore, ollama: OllamaStore
) -> None:
    path = store.manifests.path(_name("deep:x"))
    path.parent.mkdir(parents=True)
    for hostile in (b'{"x":' + b"[" * 100_000, b'{"config":' + b"{" * 9, b"\xff" * 100):
        path.write_bytes(hostile)
        assert names_in(store) == {"tiny:latest", "Other:1B", "hf.co/me/tiny-GGUF:Q4"}
        with pytest.raises(InvalidModel, match="deep:x"):
            store.find("deep:x")


def test_a_copy_is_the_same_manifest_under_another_name(store: ModelStore) -> None:
    before = blobs_in(store.root)
    store.copy("tiny", "me/mine:v1")
    assert blobs_in(store.root) == before
    assert store.find("me/mine:v1").summary.digest == store.find("tiny").summary.digest


@pytest.mark.parametrize("wrong", ["", "../x", "a:b:c"])
def test_wrong_names_are_refused_in_the_words_of_the_contract(
    store: ModelStore, wrong: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        store.copy(wrong, "x")
    assert caught.value.message == f'source "{wrong}" is invalid'
    with pytest.raises(BadRequest) as caught:
        store.copy("tiny", wrong)
    assert caught.value.message == f'destination "{wrong}" is invalid'
    with pytest.raises(BadRequest) as caught:
        store.delete(wrong)
    assert caught.value.message == f'name "{wrong}" is invalid'
    with pytest.raises(BadRequest):
        create(store, wrong, "tiny")


def test_copying_or_deleting_nothing_is_not_found(store: ModelStore) -> None:
    with pytest.raises(NotFound) as caught:
        store.copy("none", "x")
    assert caught.value.message == 'model "none" not found'
    with pytest.raises(NotFound) as caught:
        store.delete("none")
    assert caught.value.message == "model 'none' not found"
    with pytest.raises(NotFound):
        create(store, "x", "none")


def test_a_copy_over_another_spelling_replaces_it(store: ModelStore) -> None:
    store.copy("tiny", "OTHER:1b")
    assert names_in(store) == {"tiny:latest", "Other:1B", "hf.co/me/tiny-GGUF:Q4"}
    assert store.find("other:1b").system == "Be kind."


def test_deleting_keeps_what_other_models_need(store: ModelStore, weights: bytes) -> None:
    model_file = store.blobs.path(digest_of(weights)).name
    license_file = store.blobs.path(digest_of(b"Licence A")).name
    system_file = store.blobs.path(digest_of(b"Be kind.")).name
    store.delete("TINY")
    assert names_in(store) == {"Other:1B", "hf.co/me/tiny-GGUF:Q4"}
    assert {model_file, license_file} <= blobs_in(store.root)
    assert system_file not in blobs_in(store.root)
    store.delete("other:1b")
    assert license_file not in blobs_in(store.root) and model_file in blobs_in(store.root)
    store.delete("hf.co/me/tiny-GGUF:Q4")
    assert blobs_in(store.root) == set()
    assert list((store.root / "manifests").iterdir()) == []
    assert store.all() == []


def test_a_model_with_a_damaged_manifest_can_be_deleted_and_costs_nobody_else(
    store: ModelStore,
) -> None:
    path = store.root.joinpath("manifests", *LIBRARY, "Other", "1B")
    path.write_text("{ not json")
    before = blobs_in(store.root)
    assert names_in(store) == {"tiny:latest", "hf.co/me/tiny-GGUF:Q4"}
    with pytest.raises(InvalidModel, match="Other:1B"):
        store.find("other:1b")
    # It may have referred to anything, so nothing is taken away while it is there.
    store.delete("tiny")
    assert store.sweep(grace_seconds=0) == 0
    assert blobs_in(store.root) == before
    store.delete("other:1b")
    assert store.sweep(grace_seconds=0) > 0
    assert store.find("hf.co/me/tiny-GGUF:Q4").licenses == ("Licence B",)


def test_a_sweep_leaves_what_is_referred_to(store: ModelStore) -> None:
    before = blobs_in(store.root)
    assert store.sweep(grace_seconds=0) == 0
    assert blobs_in(store.root) == before
    stray = store.blobs.put(b"stray")
    assert store.sweep() == 0
    assert store.sweep(grace_seconds=0) == 1
    assert store.blobs.size_of(stray) is None


def test_a_new_model_changes_what_is_said_and_keeps_the_rest(store: ModelStore) -> None:
    create(
        store,
        "me/changed",
        "tiny",
        options=Options(temperature=0.1, num_ctx=64, stop=("x",)),
        system="Be brief.",
        messages=[Message("user", (Text("ciao"),))],
        licenses=("Licence C", "Licence A"),
    )
    made = store.find("me/changed")
    assert made.options == Options(temperature=0.1, num_ctx=64, stop=("x",))
    assert made.system == "Be brief."
    assert made.template == store.find("tiny").template
    assert made.messages == (Message("user", (Text("ciao"),)),)
    assert made.licenses == ("Licence A", "Licence C")
    assert made.weights_digest == store.find("tiny").weights_digest
    assert made.summary.capabilities == ("completion", "tools", "thinking")
    assert made.summary in store.all()
    params = json.loads(
        store.blobs.path(
            next(
                layer.digest
                for layer in store.manifests.read(
                    store.manifests.locate(_name("me/changed"))
                ).manifest.layers
                if layer.kind == "params"
            )
        ).read_bytes()
    )
    assert params["unheard_of"] == 1, "what another program put there stays"


def _name(text: str):  # type: ignore[no-untyped-def]
    from dimora.models.names import parse_name

    return parse_name(text)


def test_an_empty_text_takes_a_layer_away(store: ModelStore) -> None:
    create(store, "bare", "tiny", system="", template="", messages=())
    made = store.find("bare")
    assert (made.system, made.template, made.messages) == ("", "", ())
    assert store.find("tiny").system == "Be kind."


def test_a_config_keeps_what_we_do_not_know(store: ModelStore) -> None:
    create(store, "new", "tiny", system="x")
    stored = store.manifests.read(store.manifests.locate(_name("new")))
    config = json.loads(store.blobs.path(stored.manifest.config.digest).read_bytes())
    assert config["some_later_key"] == {"is": "tolerated"}
    assert config["model_type"] == "480" and config["architecture"] == "amd64"
    assert config["rootfs"]["diff_ids"] == [layer.digest for layer in stored.manifest.layers]


def test_embedding_habits_come_from_the_config_or_else_the_file(
    ollama: OllamaStore, store: ModelStore, tmp_path: Path
) -> None:
    strings = {"dimora.embedding.query_prefix": "q: ", "dimora.embedding.unicode_form": "NFKC"}
    data = tiny_gguf(tmp_path / "e.gguf", strings=strings).read_bytes()
    ollama.model((*LIBRARY, "file", "latest"), [("model", data)])
    habits = {"query_prefix": "query: ", "passage_prefix": "passage: "}
    ollama.model((*LIBRARY, "config", "latest"), [("model", data)], {"embedding": habits})
    assert store.find("file").embedding == EmbeddingHabits(query_prefix="q: ", unicode_form="NFKC")
    assert store.find("config").embedding == EmbeddingHabits(
        query_prefix="query: ", passage_prefix="passage: "
    )
    create(store, "config2", "config", system="x")
    assert store.find("config2").embedding.query_prefix == "query: "


def test_wrong_parameters_in_a_manifest_are_an_invalid_model(
    ollama: OllamaStore, store: ModelStore, weights: bytes
) -> None:
    for nth, params in enumerate((b'{"num_ctx": "many"}', b"[]", b"{", b"\xff")):
        ollama.model((*LIBRARY, f"bad{nth}", "x"), [("model", weights), ("params", params)])
        with pytest.raises(InvalidModel, match=f"bad{nth}:x"):
            store.find(f"bad{nth}:x")


def test_a_model_of_files_we_do_not_know_is_listed_but_cannot_be_used(
    ollama: OllamaStore, store: ModelStore
) -> None:
    ollama.model((*LIBRARY, "tensors", "x"), [("tensor", b"abc")], {"model_format": "safetensors"})
    assert "tensors:x" in names_in(store)
    with pytest.raises(InvalidModel, match="no model file"):
        store.find("tensors:x")


def test_blobs_that_wait_for_their_manifest_are_kept_from_a_sweep(store: ModelStore) -> None:
    waiting, forgotten = store.blobs.put(b"waiting"), store.blobs.put(b"forgotten")
    assert store.find_blob(waiting) is not None
    for digest in (waiting, forgotten):
        age(store.blobs.path(digest))
    store.verify_blob(waiting)
    store.keep_fresh([waiting, digest_of(b"never came")])
    assert store.is_verified(waiting), "it need not be read again"
    kept = store.blobs.path(waiting).stat()
    assert store.sweep() == 1
    assert store.find_blob(forgotten) is None
    store.keep_fresh([waiting])
    assert store.blobs.path(waiting).stat().st_ctime_ns == kept.st_ctime_ns, "it is fresh"


def test_a_linked_file_is_kept_from_a_sweep_and_its_time_is_left_alone(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"linked")
    digest = digest_of(b"linked")
    os.link(file, store.blobs.path(digest))
    then = time.time() - 7200
    os.utime(file, (then, then))
    changed_at = file.stat().st_ctime
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: changed_at + 7200)
        store.keep_fresh([digest])
    assert file.stat().st_ctime > changed_at
    assert file.stat().st_mtime == pytest.approx(then)


def age(path: Path) -> None:
    """As if it had come two hours ago."""
    then = time.time() - 7200
    os.utime(path, (then, then))


def test_a_blob_that_is_written_into_while_it_is_read_is_not_trusted(
    store: ModelStore, ollama: OllamaStore, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = digest_of(weights)
    path = store.blobs.path(digest)

    def written_into(read: Any) -> Any:
        def reading(*given: Any) -> Any:
            answer = read(*given)
            os.utime(path, (1, 1))
            return answer

        return reading

    for place in ("dimora.models.store.hash_file", "dimora.models.assembly.hash_file"):
        monkeypatch.setattr(place, written_into(hash_file))
    assert store.verify_blob(digest)
    assert not store.is_verified(digest)
    os.utime(path)
    store.verified_files(store.find("tiny"))
    assert not store.is_verified(digest)


def test_a_file_is_imported_and_stays_where_it_is(tmp_path: Path, weights: bytes) -> None:
    store = ModelStore(tmp_path / "fresh")
    assert store.all() == []
    source = tmp_path / "tiny.gguf"
    store.import_file(source, "me/tiny:v1")
    assert source.read_bytes() == weights
    model = store.find("me/tiny:v1")
    assert model.weights_digest == digest_of(weights)
    assert store.all() == [model.summary]
    assert model.summary.capabilities == ("completion", "tools", "thinking")
    source.write_bytes(b"changed")
    assert Path(store.verified_files(model).weights).read_bytes() == weights
    if os.name != "nt":
        for directory in (store.root, store.root / "blobs", store.root / "manifests"):
            assert directory.stat().st_mode & 0o777 == 0o700


def test_only_models_are_imported(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "fresh")
    (tmp_path / "x.gguf").write_bytes(b"not a model")
    with pytest.raises(InvalidModel):
        store.import_file(tmp_path / "x.gguf", "x")
    with pytest.raises(NotFound):
        store.import_file(tmp_path / "y.gguf", "y")
    assert store.all() == [] and not (store.root / "blobs").exists()


def test_a_bare_file_is_a_model_without_a_store(tmp_path: Path, weights: bytes) -> None:
    store = ModelStore(tmp_path / "fresh")
    path = tmp_path / "tiny.gguf"
    model = store.find_file(path)
    assert model.name == "tiny.gguf"
    assert model.summary.size_bytes == len(weights)
    assert len(model.summary.digest) == 64
    assert str(tmp_path) not in repr(model)
    assert store.find_file(path) is model
    assert store.verified_files(model).weights == str(path)
    assert not store.root.exists()


def test_a_bare_file_that_changed_is_another_model(tmp_path: Path, weights: bytes) -> None:
    store = ModelStore(tmp_path / "fresh")
    path = tmp_path / "tiny.gguf"
    model = store.find_file(path)
    path.write_bytes(weights + bytes(32))
    assert store.find_file(path).weights_digest != model.weights_digest
    with pytest.raises(InvalidModel, match="changed"):
        store.verified_files(model)
    path.write_bytes(weights[:500])
    with pytest.raises(InvalidModel):
        store.find_file(path)
    path.unlink()
    with pytest.raises(NotFound):
        store.find_file(path)


def test_two_processes_may_change_one_store_at_once(store: ModelStore, ollama: OllamaStore) -> None:
    program = (
        "import sys; from pathlib import Path; from dimora.models.store import ModelStore\n"
        "store, who = ModelStore(Path(sys.argv[1])), sys.argv[2]\n"
        "for n in range(25):\n"
        "    store.copy('tiny', f'{who}:{n}')\n"
        "    if n % 2: store.delete(f'{who}:{n}')\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(ollama.root), f"copy{n}"])
        for n in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    wanted = {f"copy{who}:{n}" for who in range(3) for n in range(0, 25, 2)}
    assert names_in(store) == wanted | {"tiny:latest", "Other:1B", "hf.co/me/tiny-GGUF:Q4"}
    for name in names_in(store):
        assert store.find(name).name == name


def test_listing_models_imports_nothing_heavy(ollama: OllamaStore) -> None:
    program = (
        "import sys; from pathlib import Path; from dimora.models.store import ModelStore\n"
        "store = ModelStore(Path(sys.argv[1])); assert len(store.all()) == 3\n"
        "store.find('tiny')\n"
        "heavy = {'httpx', 'httpx2', 'numpy', 'gguf', 'jinja2', 'asyncio', 'ssl', 'tomllib'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(ollama.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
