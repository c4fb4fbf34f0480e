"""The packaged catalogue is complete and consistent."""

from __future__ import annotations

import re

import pytest

from dimora.models.catalogue import Catalogue, Entry, PythonPackage
from dimora.models.conversions import SHELF as CONVERSIONS
from dimora.models.names import parse_name
from dimora.models.sources import SHELF as SOURCES

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


@pytest.mark.parametrize("asked", ["smollm2:1.7b", "me/smollm2:135m", "h.example/library/smollm2"])
def test_other_names_are_not_in_the_catalogue(asked: str) -> None:
    assert find(asked) is None


def test_the_embedding_model_says_how_it_wants_its_input() -> None:
    entry = find("multilingual-e5-small")
    assert entry is not None
    assert entry.embedding.query_prefix == "query: "
    assert entry.embedding.passage_prefix == "passage: "
    assert entry.embedding.unicode_form == "NFKC"
