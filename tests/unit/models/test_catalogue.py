"""The packaged catalogue is complete and consistent."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import get_args

import pytest

from dimora.models.advising import advised_model, terms_of
from dimora.models.catalogue import Catalogue, Entry, HubFile, PythonPackage
from dimora.models.converting.conversions import SHELF as CONVERSIONS
from dimora.models.names import DEFAULT_HOST, DEFAULT_NAMESPACE, parse_name
from dimora.models.sources import SHELF as SOURCES
from dimora.models.store import ModelStore
from dimora.tasks.advice import ModelType, size_class

ENTRIES = Catalogue().all()


def find(text: str) -> Entry | None:
    name = parse_name(text)
    assert name is not None
    return Catalogue().find(name)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_says_what_is_needed(entry: Entry) -> None:
    for text in (entry.name, *entry.aliases):
        name = parse_name(text)
        assert name is not None and name.display == text
        assert find(text) == entry
    assert entry.size_bytes > 0 and entry.parameters > 0 and entry.context_length > 0
    assert entry.license and entry.notice and entry.description and entry.languages
    assert entry.quantization and entry.place.words
    assert entry.is_open or entry.license_url.startswith("https://")
    assert ("embedding" in entry.capabilities) == (entry.type == "embedding")


PINNED = [(entry, entry.place) for entry in ENTRIES if isinstance(entry.place, PythonPackage)]


@pytest.mark.parametrize(("entry", "package"), PINNED, ids=lambda one: getattr(one, "name", ""))
def test_what_is_in_a_package_is_pinned(entry: Entry, package: PythonPackage) -> None:
    assert "python_index" in SOURCES.names()
    assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)
    assert package.package_bytes > 0 and package.size_bytes > 0
    assert package.model_bytes == entry.size_bytes and not entry.rounded
    if package.product is not None:
        assert package.product.conversion in CONVERSIONS.names()
        assert re.fullmatch(r"[0-9a-f]{64}", package.product.sha256)
        assert package.model_digest == f"sha256:{package.product.sha256}" != package.digest
    else:
        assert package.model_digest == package.digest


def test_no_name_is_said_twice() -> None:
    names = [text for entry in ENTRIES for text in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("smollm2:135m", "smollm2:135m"),
        ("SmolLM2", "smollm2:135m"),
        ("multilingual-e5-small", "multilingual-e5-small:latest"),
        ("registry.ollama.ai/library/smollm2:135m", "smollm2:135m"),
    ],
)
def test_models_are_found_by_name_and_alias(asked: str, found: str) -> None:
    entry = find(asked)
    assert entry is not None and entry.name == found


@pytest.mark.parametrize("asked", ["smollm2:9b", "me/smollm2:135m", "h.example/library/smollm2"])
def test_other_names_are_not_in_the_catalogue(asked: str) -> None:
    assert find(asked) is None


def test_the_embedding_model_says_how_it_wants_its_input() -> None:
    entry = find("multilingual-e5-small")
    assert entry is not None
    assert entry.embedding.query_prefix == "query: "
    assert entry.embedding.passage_prefix == "passage: "
    assert entry.embedding.unicode_form == "NFKC"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_numbers_of_an_entry_agree_with_each_other(entry: Entry) -> None:
    """Shape, number of parameters and size were written down apart: a slip of one shows here."""
    model = advised_model(ModelStore(Path("nowhere")), entry.name)
    assert model is not None
    counted = sum(math.prod(shape) for _, _, shape in model.tensors)
    # Vision models have an encoder, and encoders of texts a few tables, that a shape leaves out.
    room = 0.35 if "vision" in entry.capabilities else 0.12
    assert (1 - room) * entry.parameters < counted < 1.06 * entry.parameters
    bits = 8 * entry.size_bytes / entry.parameters
    least, most = BITS[entry.quantization]
    assert least < bits < most


BITS = {
    "F16": (15.5, 17.5),
    "BF16": (15.5, 17.5),
    "Q8_0": (8.0, 9.0),
    # Small models keep their large vocabularies in six bits or more.
    "Q4_K_M": (4.5, 7.2),
    "Q4_0": (4.3, 5.3),
    "Q4_1": (5.0, 6.0),
    "MXFP4": (4.2, 5.5),
}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_name_says_where_a_model_comes_from(entry: Entry) -> None:
    name = parse_name(entry.name)
    assert name is not None
    if isinstance(entry.place, HubFile):
        assert (name.host, f"{name.namespace}/{name.model}") == ("hf.co", entry.place.repository)
        assert entry.place.file.lower().endswith(f"{name.tag.lower()}.gguf")
    else:
        assert name.parts[:2] == (DEFAULT_HOST, DEFAULT_NAMESPACE)
    pinned = Catalogue().pinned(name)
    assert (pinned is not None) == isinstance(entry.place, PythonPackage)


@pytest.mark.parametrize(
    ("asked", "license"),
    [
        ("llama3.2:3b-instruct-q8_0", "Llama 3.2 Community License"),
        ("LLAMA3.2:1b", "Llama 3.2 Community License"),
        ("qwen3:235b", "Apache-2.0"),
        ("huggingface.co/GGML-org/SmolLM3-3B-GGUF:Q8_0", "Apache-2.0"),
        ("someone/llama3.2", None),
        ("no-such-model", None),
    ],
)
def test_a_family_has_the_licence_of_its_entries(asked: str, license: str | None) -> None:
    name = parse_name(asked)
    assert name is not None
    found = Catalogue().terms_of(name)
    assert (found.license if found else None) == license


def test_the_catalogue_has_something_for_every_need() -> None:
    """Italian and Spanish, tiny and large, each type, and plainly open ones of all."""
    open_entries = [entry for entry in ENTRIES if entry.is_open]
    assert {entry.type for entry in open_entries} == set(get_args(ModelType))
    for language in ("it", "es", "en"):
        sizes = {size_class(e.parameters) for e in open_entries if language in e.languages}
        assert sizes == {"small", "medium", "large"}
    assert any(not entry.is_open for entry in ENTRIES)


def test_an_address_of_a_model_has_its_licence_too() -> None:
    """A pull takes a name with `https://` before it: that must not go around the licence."""
    store = ModelStore(Path("nowhere"))
    for text in (
        "https://registry.ollama.ai/library/llama3.2:1b",
        "http://registry.ollama.ai/library/llama3.2",
    ):
        found = terms_of(store, text)
        assert found is not None and not found.is_open
