"""Models that are folders: what they are, what is refused, and how they live in a store."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
from pathlib import Path

import pytest

from dimora.core.errors import BadRequest, DimoraError, InvalidModel, NotFound
from dimora.models import sorting
from dimora.models.converting import checkpoints
from dimora.models.formats import ir_file, onnx_file
from dimora.models.formats.folders import folder_format, folder_layers, pick_files
from dimora.models.store import ModelStore
from dimora.models.taking import take
from dimora.tasks.recipe import Recipe
from tests.bounds import within_bounds
from tests.unit.models.making_folders import (
    TEMPLATE,
    genai_config,
    ir_xml,
    packed_weights,
    write_ir,
    write_onnx,
)

IR_NAMES = ["openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml"]


@pytest.fixture
def store(tmp_path) -> ModelStore:
    return ModelStore(tmp_path / "models", cache_path=tmp_path / "cache")


def digests(store: ModelStore, folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {p.relative_to(folder).as_posix(): take(p, store.blobs).digest for p in files}


def create(store: ModelStore, name: str, folder: Path, **more) -> None:
    async def run() -> None:
        recipe = Recipe(files=digests(store, folder), **more)
        async for _ in store.create(name, recipe, []):
            pass

    asyncio.run(run())


WRITERS = {"openvino": write_ir, "onnx": write_onnx}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (IR_NAMES, "openvino"),
        (["a/openvino_model.xml"], "openvino"),
        (["genai_config.json", "model.onnx"], "onnx"),
        (["config.json", "model.safetensors"], "safetensors"),
    ],
)
def test_a_folder_is_told_by_its_files(names, found):
    assert folder_format(names) == found


@pytest.mark.parametrize("names", [[], ["model.onnx"], ["config.json"], ["pytorch_model.bin"]])
def test_what_is_no_model_is_refused_with_what_would_be_one(names):
    with pytest.raises(InvalidModel, match="no model") as error:
        folder_format(names)
    assert "genai_config.json" in error.value.hint


def test_a_folder_begins_where_its_first_file_lies():
    given = ["README.md", "cpu/int4/genai_config.json", "cpu/int4/model.onnx", "cuda/other.onnx"]
    assert pick_files(given) == {
        "genai_config.json": "cpu/int4/genai_config.json",
        "model.onnx": "cpu/int4/model.onnx",
    }


def test_several_models_in_one_folder_are_named():
    given = ["a/genai_config.json", "b/genai_config.json"]
    with pytest.raises(InvalidModel, match="several") as error:
        pick_files(given)
    assert error.value.hint == "give one of: a, b"


@pytest.mark.parametrize(
    "name",
    ["../x.json", "/etc/passwd", "a/../../x", "a\\x", "C:x", "", "a//x", ".", "a/./x", "a\nb"],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(name):
    with pytest.raises(InvalidModel, match="no name of a file"):
        pick_files([*IR_NAMES, name])


def test_names_that_are_one_elsewhere_are_refused():
    with pytest.raises(InvalidModel, match="other cases"):
        pick_files([*IR_NAMES, "OpenVINO_Model.xml"])
    with pytest.raises(InvalidModel, match="both a file and a folder"):
        pick_files([*IR_NAMES, "Openvino_model.bin/x.json"])


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_tells_what_its_model_is(kind, store, tmp_path):
    model = store.find_file(WRITERS[kind](tmp_path / "some-model"))
    details = model.summary.details
    assert model.name == "some-model"
    assert (details.format, details.family, details.embedding_length) == (kind, "llama", 8)
    assert (model.chat_template, model.bos_token, model.eos_token) == (TEMPLATE, "<s>", "</s>")
    assert model.summary.capabilities == ("completion",)
    assert model.metadata["llama.attention.head_count_kv"] == 2
    assert model.trained_context == {"openvino": 256, "onnx": 128}[kind]
    level = {"openvino": "F16", "onnx": "INT4_G32"}[kind]
    assert details.quantization_level == level
    assert model.metadata["general.parameter_count"] == {"openvino": 32, "onnx": 1024}[kind]


def test_compressed_weights_are_called_as_their_tool_calls_them(store, tmp_path):
    values = {"mode": "int4_sym", "group_size": "128"}
    notes = "".join(f'<{key} value="{value}"/>' for key, value in values.items())
    notes = f"<nncf><weight_compression>{notes}</weight_compression></nncf>"
    data = '<data element_type="u4" shape="16, 8" offset="0" size="64" />'
    folder = write_ir(tmp_path / "m", ir_xml(data, notes=notes))
    assert store.find_file(folder).summary.details.quantization_level == "INT4_SYM_G128"


def test_abilities_are_read_from_template_and_tokens(store, tmp_path):
    folder = write_ir(tmp_path / "m")
    (folder / "chat_template.jinja").write_text("{{ tools }}<think></think>")
    added = [{"content": f"<|fim_{part}|>"} for part in ("prefix", "suffix", "middle")]
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": added, "model": {}}))
    model = store.find_file(folder)
    assert model.summary.capabilities == ("completion", "tools", "insert", "thinking")
    assert model.fim[0] == "<|fim_prefix|>"


def test_an_ir_that_gives_vectors_is_an_embedder(store, tmp_path):
    xml = ir_xml(inputs=["input_ids"], outputs=["last_hidden_state"])
    assert store.find_file(write_ir(tmp_path / "m", xml)).summary.capabilities == ("embedding",)


# Files that are not what they should be, by the case.
BROKEN_FILES = {
    "classifier": ("openvino_model.xml", ir_xml(inputs=["input_ids"])),
    "truncated": ("openvino_model.bin", "x" * 63),
    "config": ("config.json", "[]"),
    "nested": ("config.json", "[" * 100_000),
    "lists": ("config.json", '{"x":[[]' + ",[]" * 1_000_000 + "]}"),
    "large": ("tokenizer_config.json", " " * ((16 << 20) + 1)),
    "template": ("tokenizer_config.json", '{"chat_template":[[]' + ",[]" * 1_000_000 + "]}"),
    "tokens": ("tokenizer.json", '{"added_tokens": {"a": 1}}'),
    "added": ("tokenizer.json", '{"added_tokens":[{}' + ",{}" * 3_000_000 + "]}"),
}


def broken_ir(folder: Path, what: str) -> None:
    write_ir(folder)
    if what == "no detokenizer":
        (folder / "openvino_detokenizer.xml").unlink()
    elif what == "no weights":
        (folder / "openvino_model.bin").unlink()
    elif what == "pickle":
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    else:
        name, text = BROKEN_FILES[what]
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("classifier", "no model that writes text"),
        ("no detokenizer", "no openvino_detokenizer.xml"),
        ("truncated", "truncated"),
        ("no weights", "outside of the weights"),
        ("pickle", "pickle"),
        ("config", "not a JSON object"),
        ("nested", "not a JSON object"),
        ("large", "more than"),
        ("tokens", "not the tokenizer"),
        ("lists", "more than"),
        ("template", "too large a template"),
        ("added", "adds more than"),
    ],
)
def test_an_ir_that_is_broken_is_refused(what, why, store, tmp_path):
    broken_ir(tmp_path / "m", what)
    with pytest.raises(InvalidModel, match=why):
        store.find_file(tmp_path / "m")


def test_a_tokenizer_that_tells_much_of_its_tokens_is_read_within_the_bounds(store, tmp_path):
    """As some do that speak, of 30 000 sounds."""
    folder = write_ir(tmp_path / "m")
    tokens = {str(n): {"content": f"<sound_{n}>", "special": False} for n in range(60_000)}
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told["added_tokens_decoder"] = tokens
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    added = {"added_tokens": list(tokens.values()), "model": {"vocab": [[]] * 3_000_000}}
    (folder / "tokenizer.json").write_text(json.dumps(added))
    tokens.clear(), added.clear(), told.clear()
    within_bounds(lambda: store.find_file(folder))
    assert store.find_file(folder).chat_template == TEMPLATE


@pytest.mark.parametrize(("kind", "ending"), [("openvino", "xml"), ("onnx", "onnx")])
def test_a_graph_under_thousands_of_names_is_not_read_thousands_of_times(
    kind, ending, store, tmp_path, monkeypatch
):
    names = digests(store, WRITERS[kind](tmp_path / "m"))
    graph = names[{"openvino": "openvino_tokenizer.xml", "onnx": "model.onnx"}[kind]]
    few = names | {f"more{n}.{ending}": graph for n in range(20)}
    module = {"openvino": ir_file, "onnx": onnx_file}[kind]
    read, asked = module.read_graph, []
    monkeypatch.setattr(module, "read_graph", lambda *of: asked.append(of) or read(*of))
    folder_layers(store, few)
    # One more: what lies beside a tokenizer is another file of weights, or the graph is used.
    assert len(asked) <= 4
    asked.clear()
    with pytest.raises(InvalidModel, match="more than the 32 a model may have"):
        folder_layers(store, few | {f"and{n}.{ending}": graph for n in range(4000)})
    assert not asked


def test_safetensors_under_thousands_of_names_are_read_once(store, tmp_path, monkeypatch):
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    weights = store.blobs.put(len(header).to_bytes(8, "little") + header + bytes(4))
    files = {f"model-{n}.safetensors": store.blobs.path(weights) for n in range(100)}
    for module, look in ((sorting, "read_safetensors"), (checkpoints, "read_header")):
        read, asked = getattr(module, look), []
        monkeypatch.setattr(module, look, lambda path, r=read, a=asked: a.append(path) or r(path))
        if module is sorting:
            assert sorting.sort_files(files | {"config.json": files["model-0.safetensors"]})
        else:
            assert checkpoints.require_weights(files) == 100 * (8 + len(header) + 4)
        assert len(asked) == 1


CODE = {"session_options": {"custom_ops_library": "evil.so"}}


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (genai_config(**CODE), "library of its own"),
        (genai_config(pipeline=[{"x": CODE}]), "library of its own"),
        (genai_config(pipeline=[]), "pipeline"),
        (genai_config(filename="../model.onnx"), "has no '../model.onnx'"),
        (genai_config(filename="other.onnx"), "has no 'other.onnx'"),
        ({"model": genai_config()["model"] | {"vision": {}}}, "a part for vision"),
        ({"model": genai_config()["model"] | {"tokenizer_dir": "/etc"}}, "another folder"),
        ({"model": []}, "names no decoder"),
        ({}, "no decoder|no model"),
    ],
)
def test_an_onnx_folder_that_asks_for_more_than_a_graph_is_refused(config, why, store, tmp_path):
    write_onnx(tmp_path / "m")
    (tmp_path / "m" / "genai_config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidModel, match=why):
        store.find_file(tmp_path / "m")


def test_a_graph_whose_weights_lie_elsewhere_is_refused(store, tmp_path):
    write_onnx(tmp_path / "m", packed_weights(location="../../secret"))
    with pytest.raises(InvalidModel, match="which the folder has not"):
        store.find_file(tmp_path / "m")


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_in_the_store_is_a_model_like_any(kind, store, tmp_path):
    folder = WRITERS[kind](tmp_path / "m")
    (folder / "LICENSE.txt").write_text("You may.")
    (folder / "README.md").write_text("words")
    (folder / "evil.py").write_text("raise SystemExit")
    create(store, "me/model:ir", folder, system="Be kind.")
    model = store.find("me/model:ir")
    bare = store.find_file(folder)
    assert (model.summary.details, model.system) == (bare.summary.details, "Be kind.")
    assert (model.licenses, bare.licenses) == (("You may.",), ("You may.",))
    row = next(row for row in store.all() if row.name == "me/model:ir")
    assert (row.details, row.capabilities) == (bare.summary.details, ("completion",))
    files = store.verified_files(model)
    assert files.weights == ""
    assert sorted(files.folder) == sorted(store.verified_files(bare).folder)
    assert not {"README.md", "evil.py", "LICENSE.txt"} & set(files.folder)
    for name, path in files.folder.items():
        assert Path(path).read_bytes() == (folder / name).read_bytes()


def test_the_digest_of_a_folder_is_that_of_names_and_contents(store, tmp_path):
    folder = write_ir(tmp_path / "m")
    create(store, "one", folder)
    create(store, "two", folder, system="x")
    assert store.find("one").weights_digest == store.find("two").weights_digest
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config + " ")
    create(store, "three", folder)
    assert store.find("three").weights_digest != store.find("one").weights_digest


def test_a_list_does_not_open_the_files_of_a_folder(store, tmp_path, monkeypatch):
    create(store, "m", write_ir(tmp_path / "m"))
    monkeypatch.setattr("dimora.models.assembly.read_folder", None)
    assert store.all()[0].details.format == "openvino"


def test_copies_share_the_files_and_the_last_name_takes_them_along(store, tmp_path):
    create(store, "one", write_onnx(tmp_path / "m"))
    store.copy("one", "two")
    store.delete("one")
    assert store.verified_files(store.find("two")).folder
    assert store.sweep(grace_seconds=0) == 0
    store.delete("two")
    with pytest.raises(NotFound):
        store.find("two")
    store.sweep(grace_seconds=0)
    assert os.listdir(store.blobs.directory) == []


@pytest.mark.parametrize("name", ["openvino_model.bin", "config.json"])
def test_a_file_that_was_altered_or_is_gone_is_named(name, store, tmp_path):
    folder = write_ir(tmp_path / "m")
    create(store, "m", folder)
    model = store.find("m")
    path = Path(store.verified_files(model).folder[name])
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidModel, match="sha256"):
        store.verified_files(model)
    path.unlink()
    with pytest.raises(InvalidModel, match="is missing"):
        store.verified_files(model)


def test_a_manifest_whose_names_lead_elsewhere_is_refused(store, tmp_path):
    """As it could come from a registry."""
    create(store, "m", write_ir(tmp_path / "m"))
    there = store.locate("m")
    data = store.manifests.read_bytes(there).replace(b'"config.json"', b'"../../../x.json"')
    with pytest.raises(InvalidModel, match="has a file called"):
        store.manifests.write_bytes(there, data)
    store.manifests.path(there).write_bytes(data)
    with pytest.raises(InvalidModel, match="has a file called"):
        store.find("m")


def test_a_bare_folder_that_was_changed_meanwhile_is_noticed(store, tmp_path):
    folder = write_ir(tmp_path / "m")
    model = store.find_file(folder)
    assert store.find_file(folder) is model
    (folder / "config.json").write_text("{}")
    with pytest.raises(InvalidModel, match="changed meanwhile"):
        store.verified_files(model)


def test_links_of_a_download_cache_are_followed(store, tmp_path):
    real = write_ir(tmp_path / "blobs")
    links = tmp_path / "snapshot"
    links.mkdir()
    for path in real.iterdir():
        (links / path.name).symlink_to(path)
    assert store.find_file(links).summary.details.format == "openvino"


def test_files_that_are_not_in_the_store_are_asked_for(store):
    with pytest.raises(BadRequest, match="is not here"):
        folder_layers(store, dict.fromkeys(IR_NAMES, f"sha256:{'0' * 64}"))


def test_a_folder_of_nothing_is_an_error_in_words(store, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(DimoraError):
            store.find_file(path)
    with pytest.raises(InvalidModel, match="converted first") as error:
        (tmp_path / "empty" / "config.json").write_text("{}")
        (tmp_path / "empty" / "model.safetensors").write_bytes(b"")
        store.find_file(tmp_path / "empty")
    assert "dimora create" in error.value.hint
