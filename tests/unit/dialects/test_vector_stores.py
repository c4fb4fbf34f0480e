"""What OpenAI's words for files and stores become."""

from __future__ import annotations

import json

import pytest
from python_multipart.multipart import Field, File

from dimora.core.errors import BadRequest, NotFound
from dimora.core.types import Done
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


def test_a_large_file_is_read_without_a_temporary_file(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a temporary file")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    text = "secret " * 400_000
    asked = files.decode_upload(form(FILE.format(name="a", text=text)))
    assert asked.request.data == text.encode()


@pytest.mark.parametrize(
    "part",
    [PURPOSE.format(purpose="vision"), FILE.format(name="a", text="")],
    ids=["field", "file"],
)
def test_a_form_of_many_parts_is_refused_before_they_are_all_read(part, monkeypatch):
    taken = []

    def counting(true_init):
        return lambda *a, **k: taken.append(1) or true_init(*a, **k)

    for kind in (Field, File):
        monkeypatch.setattr(kind, "__init__", counting(kind.__init__))
    with pytest.raises(BadRequest, match="more than 32 parts"):
        files.decode_upload(form(*[part] * 500))
    assert len(taken) == 33


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


@pytest.mark.parametrize("batch", ["file-" + "a" * 24, "vsfb_1_2", "vsfb_x_1_a", ""])
def test_what_is_no_batch_is_not_found_as_one(batch):
    incoming = Incoming(method="GET", path={"store": "vs", "batch": batch})
    asked = vector_stores.decode_batch(incoming)
    assert asked.request.document == ""
    with pytest.raises(NotFound):
        asked.answer.whole([Done()])


def test_a_batch_is_told_from_its_id():
    incoming = Incoming(method="GET", path={"store": "vs", "batch": "vsfb_1700000000_3_abc"})
    asked = vector_stores.decode_batch(incoming)
    told = json.loads(asked.answer.whole([Done()]))
    assert (told["created_at"], told["file_counts"]["total"]) == (1700000000, 3)
