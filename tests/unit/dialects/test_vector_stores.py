"""What OpenAI's words for files and stores become."""

from __future__ import annotations

import json

import pytest

from dimora.core.errors import BadRequest
from dimora.dialects.base import Incoming
from dimora.dialects.openai import files, vector_stores
from dimora.dialects.openai.rerank import decode_rerank
from dimora.tasks.knowing import Filters
from dimora.tasks.search_documents import SearchDocuments


def form(*parts: str, boundary: str = "x") -> Incoming:
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return Incoming(method="POST", body=body.encode(), headers=headers)


FILE = 'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n{text}'
PURPOSE = 'Content-Disposition: form-data; name="purpose"\r\n\r\n{purpose}'


def test_a_form_is_a_file_with_its_name_and_bytes():
    asked = files.decode_upload(
        form(PURPOSE.format(purpose="assistants"), FILE.format(name="caffè.txt", text="a\r\nb"))
    )
    assert (asked.request.name, asked.request.data) == ("caffè.txt", b"a\r\nb")


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (PURPOSE.format(purpose="assistants"),),
        (PURPOSE.format(purpose="mischief"), FILE.format(name="a", text="b")),
        (FILE.format(name="a", text="b"), FILE.format(name="c", text="d")),
    ],
    ids=["nothing", "no file", "unknown purpose", "two files"],
)
def test_a_form_that_is_not_one_file_is_refused(parts):
    with pytest.raises(BadRequest):
        files.decode_upload(form(*parts))


def test_filters_narrow_by_file_type_and_language():
    told = {
        "type": "and",
        "filters": [
            {"type": "in", "key": "filename", "value": ["a.md", "b.md"]},
            {"type": "eq", "key": "language", "value": "it"},
        ],
    }
    found = vector_stores.read_filters(told)
    assert found == Filters(documents=("a.md", "b.md"), languages=("it",))
    assert vector_stores.read_filters({}) == Filters()


@pytest.mark.parametrize(
    "told",
    [
        {"type": "gt", "key": "language", "value": "it"},
        {"type": "eq", "key": "colour", "value": "red"},
        {"type": "eq", "key": "language", "value": 5},
        {"type": "or", "filters": []},
        {"type": "and", "filters": "x"},
        {"type": "and", "filters": [5]},
        {"type": "and", "filters": [{"type": "eq", "key": "language", "value": "it"}] * 2},
    ],
)
def test_a_filter_that_would_not_narrow_as_asked_is_refused(told):
    with pytest.raises(BadRequest):
        vector_stores.read_filters(told)


def test_a_search_is_of_one_store_only():
    body = json.dumps({"query": ["rent", "month"], "max_num_results": 3}).encode()
    asked = vector_stores.decode_search(Incoming(method="POST", body=body, path={"store": "vs_1"}))
    assert asked.request == SearchDocuments(question="rent month", collections=("vs_1",), limit=3)


@pytest.mark.parametrize("documents", [[5], [{"words": "x"}], [None]])
def test_what_is_ordered_are_texts(documents):
    body = json.dumps({"model": "m", "query": "q", "documents": documents}).encode()
    with pytest.raises(BadRequest):
        decode_rerank(Incoming(method="POST", body=body))
