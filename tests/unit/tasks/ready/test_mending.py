"""JSON that was cut off."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.prompts.schema import violation
from dimora.tasks.ready._mending import mended

ITEM = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["name", "size"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": ITEM}},
    "required": ["items"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"items":[{"name":"a","size":1},{"name":"b","si', 1),
        ('{"items":[{"name":"a","size":1},{"name":"b"', 1),
        ('{"items":[{"name":"a","size":1},', 1),
        ('{"items":[{"name":"}],{[\\"","size":1}', 1),
        ('{"items":[{"name":"a', 0),
        ('{"items":[', 0),
        ('{"items":[{"name":"a","size":1}]}', 1),
    ],
)
def test_what_is_whole_is_kept(text, kept):
    found = json.loads(mended(text, SCHEMA))
    assert len(found["items"]) == kept


@pytest.mark.parametrize("text", ["", "{", '{"it', '"a', "]]]}", '{"items":{}', "nonsense, all"])
def test_what_cannot_be_mended_is_nothing(text):
    assert mended(text, SCHEMA) == ""


@given(
    st.lists(st.fixed_dictionaries({"name": st.text(), "size": st.integers()}), max_size=5),
    st.integers(min_value=0),
)
def test_wherever_it_is_cut_it_is_of_the_schema_or_nothing(items, at):
    text = json.dumps({"items": items})
    text = text[: at % (len(text) + 1)]
    found = mended(text, SCHEMA)
    assert not found or not violation(found, SCHEMA)
    if text.startswith('{"items": ['):
        kept = json.loads(found)["items"]
        assert kept == items[: len(kept)]
