"""The glossary of a translation."""

from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.ready._faithful import numbers_of
from dimora.tasks.ready.translate import read_glossary


def test_a_glossary_is_pairs():
    assert read_glossary(("house = dimora", "a=b=c")) == {"house": "dimora", "a": "b=c"}


@pytest.mark.parametrize("entry", ["house", "=x", "x=", " = "])
def test_what_is_no_pair_is_refused(entry):
    with pytest.raises(BadRequest):
        read_glossary((entry,))


def test_numbers_are_the_same_in_either_spelling_and_counted():
    assert numbers_of("1,200.50 and 3") == numbers_of("3 e 1.200,50")
    assert numbers_of("3 and 3") != numbers_of("3")
