"""Every source of models has the shape the keeper of models relies on."""

from __future__ import annotations

import inspect

import pytest

from dimora.core.shelf import Shelf

SOURCES = Shelf("dimora.models.sources")


@pytest.fixture(params=SOURCES.names())
def source(request):
    return SOURCES.load(request.param)


def test_it_says_what_it_accepts(source):
    assert callable(source.accepts)
    assert source.accepts.__doc__ or source.__doc__


def test_it_fetches_as_an_async_generator_of_progress(source):
    assert inspect.isasyncgenfunction(source.fetch)
    assert "Progress" in str(inspect.signature(source.fetch).return_annotation)


def test_it_gives_single_files_in_the_same_way_if_it_does(source):
    give = getattr(source, "fetch_blob", None)
    if give is not None:
        assert inspect.isasyncgenfunction(give)
        assert list(inspect.signature(give).parameters) == ["wanted", "layer", "store"]
