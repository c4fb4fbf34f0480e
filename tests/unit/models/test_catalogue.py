"""The packaged catalogue is complete and consistent."""

from __future__ import annotations

import re

import pytest

from dimora.models.catalogue import Catalogue, Entry
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
    assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.source in SOURCES.names()
    assert entry.package_bytes > 0 and entry.size_bytes > 0
    assert entry.license and entry.notice and entry.description and entry.languages
    if entry.product is not None:
        assert entry.product.conversion in CONVERSIONS.names()
        assert re.fullmatch(r"[0-9a-f]{64}", entry.product.sha256)
        assert entry.model_digest == f"sha256:{entry.product.sha256}" != entry.digest
    else:
        assert entry.model_digest == entry.digest


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
