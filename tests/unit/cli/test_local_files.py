"""Which files of this machine a Modelfile means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dimora.cli.local_files import LocalFiles, check_files, find_files
from dimora.core.errors import BadRequest
from dimora.tasks.modelfile import parse_modelfile
from tests.unit.models.making import tiny_adapter, tiny_gguf


def put(directory: Path, *names: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def find(directory: Path, text: str) -> LocalFiles:
    return find_files(parse_modelfile(text.encode()), directory)


def test_names_and_paths_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, "m.gguf", "mm.gguf", "small.gguf", "here")
    assert find(tmp_path, "FROM llama3.2:1b").source == "llama3.2:1b"
    found = find(tmp_path, "FROM ./m.gguf\nFROM mm.gguf\nDRAFT small.gguf")
    assert (found.source, found.draft) == ("", "")
    assert found.files == {"m.gguf": tmp_path / "m.gguf", "mm.gguf": tmp_path / "mm.gguf"}
    assert found.draft_files == {"small.gguf": tmp_path / "small.gguf"}
    both = find(tmp_path, "FROM base\nFROM mm.gguf\nDRAFT tiny")
    assert (both.source, list(both.files), both.draft) == ("base", ["mm.gguf"], "tiny")


def test_a_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path, "m.gguf")
    assert find(tmp_path / "elsewhere", "FROM ~/m.gguf").files == {"m.gguf": tmp_path / "m.gguf"}


def test_files_of_one_name_both_stay(tmp_path: Path) -> None:
    put(tmp_path, "a/m.gguf", "b/m.gguf")
    files = find(tmp_path, "FROM a/m.gguf\nFROM b/m.gguf").files
    assert files == {"m.gguf": tmp_path / "a/m.gguf", "2/m.gguf": tmp_path / "b/m.gguf"}


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["m.gguf", "mmproj.gguf", "README.md"], ["m.gguf", "mmproj.gguf"]),
        (
            ["model-1.safetensors", "consolidated.safetensors", "config.json", "tokenizer.model",
             "merges.txt", "chat_template.jinja", "pytorch_model.bin", ".hidden.json", "x.py"],
            ["model-1.safetensors", "config.json", "tokenizer.model", "merges.txt",
             "chat_template.jinja"],
        ),
        (["consolidated.safetensors", "params.json"], ["consolidated.safetensors", "params.json"]),
        (
            ["openvino_model.xml", "openvino_model.bin", "config.json"],
            ["openvino_model.xml", "openvino_model.bin", "config.json"],
        ),
        (
            ["genai_config.json", "model.onnx", "parts/a.data", ".git/config"],
            ["genai_config.json", "model.onnx", "parts/a.data"],
        ),
    ],
    ids=["gguf", "safetensors", "consolidated", "openvino", "onnx"],
)  # fmt: skip
def test_of_a_folder_only_the_model_is_taken(
    tmp_path: Path, there: list[str], taken: list[str]
) -> None:
    put(tmp_path / "model", *there)
    assert find(tmp_path, "FROM ./model").files == {n: tmp_path / "model" / n for n in taken}
    assert sorted(find(tmp_path / "model", "FROM .").files) == sorted(taken)


def test_a_folder_that_is_only_called_like_a_model_is_not_meant(tmp_path: Path) -> None:
    put(tmp_path, "smollm2/notes.txt")
    assert find(tmp_path, "FROM smollm2").source == "smollm2"
    put(tmp_path, "smollm2/m.gguf")
    assert list(find(tmp_path, "FROM smollm2").files) == ["m.gguf"]


def test_adapters_are_files_and_folders_with_scales(tmp_path: Path) -> None:
    put(tmp_path, "one.gguf", "peft/adapter_config.json", "peft/adapter_model.safetensors")
    put(tmp_path, "peft/README.md", "folder/two.gguf")
    found = find(tmp_path, "FROM m\nADAPTER one.gguf 0.5\nADAPTER peft\nADAPTER ./folder 2")
    assert [(sorted(files), scale) for files, scale in found.adapters] == [
        (["one.gguf"], 0.5),
        (["adapter_config.json", "adapter_model.safetensors"], 1.0),
        (["two.gguf"], 2.0),
    ]


def test_documents_keep_the_path_they_were_named_by(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "docs/b.txt", "docs/deep/c.txt", "docs/.secret", "here/x.txt")
    text = "FROM m\nFILE ./a.txt\nFILE docs\nFILE ../a.txt"
    assert sorted(find(tmp_path / "here", "FROM m\nFILE ../a.txt").documents) == ["a.txt"]
    found = find(tmp_path, text.removesuffix("\nFILE ../a.txt"))
    assert sorted(found.documents) == ["a.txt", "docs/b.txt", "docs/deep/c.txt"]


def test_every_file_is_brought_once_and_small_ones_first(tmp_path: Path) -> None:
    put(tmp_path, "a.gguf", "longer-name.gguf")
    found = find(tmp_path, "FROM longer-name.gguf\nDRAFT longer-name.gguf\nFILE a.gguf")
    assert [path.name for path in found.paths()] == ["a.gguf", "longer-name.gguf"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM m\n\nFILE nowhere.txt", "(line 3): there is no file 'nowhere.txt'"),
        ("FROM ./nowhere", "(line 1): there is no file './nowhere'"),
        ("FROM nowhere.gguf", "(line 1): there is no file 'nowhere.gguf'"),
        ("FROM m\nADAPTER nowhere 0.5", "(line 2): there is no file 'nowhere'"),
        ("FROM m\nDRAFT ~nobody/x", "(line 2): there is no file '~nobody/x'"),
        ("FROM m\nFROM n", "(line 2): 'n' is the second model"),
        ("FROM m # mine", "(line 1): 'm # mine' is no model's name, and there is no file"),
        ("FROM m\nDRAFT a b", "(line 2): 'a b' is no model's name, and there is no file"),
        ("FROM ./empty", "(line 1): there is no model in the folder './empty'"),
        ("FROM ./pickled", "(line 1): there are only pickles, which can run code, in the folder"),
        ("FROM m\nADAPTER ./empty", "(line 2): there is no adapter in the folder './empty'"),
    ],
)
def test_what_is_not_there_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path, "pickled/pytorch_model.bin")
    with pytest.raises(BadRequest) as caught:
        find(tmp_path, text)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM ./two", "(line 1): 'b.gguf' and 'a.gguf' are both weights"),
        ("FROM ./cut.gguf", "(line 1): 'cut.gguf' cannot be used: GGUF: tensor"),
        ("FROM ./part.gguf", "(line 1): 'part.gguf' is one of 3 parts of a model"),
        ("FROM ./notes.txt", "(line 1): unknown type"),
        ("FROM ./lora.gguf", "(line 1): 'lora.gguf' is an adapter"),
        ("FROM base\nADAPTER ./m.gguf", "(line 2): 'm.gguf' is a model and no adapter"),
        ("ADAPTER ./other.gguf 0.5\nFROM ./m.gguf", "(line 1): the adapter is for 'qwen2' models"),
        ("FROM base\n\nDRAFT ./notes.txt", "(line 3): unknown type"),
        ("FROM ./shards", "(line 1): 'model-2.safetensors' is missing"),
        ("FROM ./st", "(line 1): safetensors: the header is longer than the file"),
    ],
)
def test_what_a_file_is_is_looked_at_before_any_is_taken(
    tmp_path: Path, text: str, message: str
) -> None:
    put(tmp_path, "notes.txt", "st/config.json", "two/README.md")
    (tmp_path / "st" / "model.safetensors").write_bytes(bytes([9] * 6) + bytes(20))
    put(tmp_path, "shards/README.md")
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    weights = len(header).to_bytes(8, "little") + header + bytes(4)
    (tmp_path / "shards" / "model-1.safetensors").write_bytes(weights)
    places = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    index = tmp_path / "shards" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    for name in ("m", "two/a", "two/b"):
        tiny_gguf(tmp_path / f"{name}.gguf")
    tiny_gguf(tmp_path / "part.gguf", numbers={"split.count": 3})
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "m.gguf").read_bytes()[:1000])
    tiny_adapter(tmp_path / "lora.gguf")
    tiny_adapter(tmp_path / "other.gguf", architecture="qwen2")
    modelfile = parse_modelfile(text.encode())
    with pytest.raises(BadRequest) as caught:
        check_files(modelfile, find_files(modelfile, tmp_path))
    assert caught.value.message.startswith(message)


def test_files_that_go_together_pass(tmp_path: Path) -> None:
    tiny_gguf(tmp_path / "m.gguf")
    tiny_gguf(tmp_path / "mm.gguf", architecture="clip")
    tiny_adapter(tmp_path / "a.gguf")
    text = b"FROM m.gguf\nFROM mm.gguf\nADAPTER a.gguf\nDRAFT m.gguf\nFILE a.gguf"
    modelfile = parse_modelfile(text)
    check_files(modelfile, find_files(modelfile, tmp_path))
