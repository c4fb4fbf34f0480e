"""What cannot be optimized is refused before any work, with the words that help."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from dimora.core.errors import DimoraError, NotFound, StorageFull, UnsupportedFeature
from dimora.models.converting import importing, optimizing
from dimora.models.store import ModelStore
from dimora.tasks.base import Model, ModelDetails, ModelSummary
from dimora.tasks.card import Card, Measured
from tests.unit.models.converting.test_ir_choices import WORDS
from tests.unit.models.making import tiny_gguf


@pytest.fixture
def store(tmp_path):
    store = ModelStore(tmp_path / "models", cache_path=tmp_path / "cache")
    store.import_file(tiny_gguf(tmp_path / "a.gguf", strings=WORDS), "tiny")
    store.import_file(tiny_gguf(tmp_path / "b.gguf", strings=WORDS, architecture="mamba"), "other")
    store.import_file(tiny_gguf(tmp_path / "c.gguf", architecture="bert", template=""), "vectors")
    return store


def refusal(store: ModelStore, source: str, bits: int = 8) -> DimoraError:
    async def run() -> None:
        async for step in store.optimize("made", source, bits, 0, []):
            pytest.fail(f"it began: {step.status}")

    with pytest.raises(DimoraError) as caught:
        asyncio.run(run())
    assert store.locate("made") is None
    return caught.value


@pytest.mark.parametrize(
    ("source", "word"),
    [("nothing", "not found"), ("other", "'mamba'"), ("vectors", "gives vectors")],
)
def test_other_models_are_refused_by_name(store, source, word):
    assert word in refusal(store, source).message


def test_missing_libraries_are_named_with_the_command_that_gets_them(store, monkeypatch):
    gone = {"nncf", "optimum.intel"}
    monkeypatch.setattr(importing, "find_spec", lambda name: None if name in gone else "there")
    error = refusal(store, "tiny")
    assert isinstance(error, NotFound)
    assert error.message == "optimizing needs optimum.intel, nncf, which are not installed"
    assert error.hint == 'pip install "dimora[optimize]"'


def test_too_little_memory_is_told_beforehand(store, monkeypatch):
    monkeypatch.setattr(importing, "find_spec", lambda name: "there")
    free = SimpleNamespace(available=5e8)
    monkeypatch.setattr(optimizing.psutil, "virtual_memory", lambda: free)
    error = refusal(store, "tiny")
    assert isinstance(error, StorageFull)
    assert "0.7 GB of memory, and 0.5 GB are free" in error.message


def model(**fields: object) -> Model:
    form = str(fields.pop("format", "gguf"))
    summary = ModelSummary(
        name="m:latest",
        digest="0",
        size_bytes=1,
        modified_at=0.0,
        details=ModelDetails(format=form),
        capabilities=("completion",),
    )
    return Model(summary=summary, weights_digest="sha256:0", **fields)


MEASURED = Measured(name="first:f16", format="gguf", quantization="F16", size_bytes=1)


@pytest.mark.parametrize(
    ("fields", "word", "hint"),
    [
        ({"format": "openvino"}, "OpenVINO's format already", "begin with the GGUF"),
        (
            {"format": "openvino", "card": Card(before=MEASURED, after=MEASURED, text="")},
            "OpenVINO's format already",
            "dimora optimize first:f16",
        ),
        ({"format": "onnx"}, "ONNX folder", "begin with the GGUF"),
        ({"adapters": (("sha256:0", 1.0),)}, "adapters", "without them"),
        ({"projector_digest": "sha256:0"}, "pictures", ""),
    ],
)
def test_what_the_export_would_lose_is_refused(fields, word, hint):
    with pytest.raises(UnsupportedFeature, match=word) as caught:
        optimizing._require_source(model(**fields))
    assert hint in caught.value.hint
