"""Files and vector stores through the unmodified `openai` package, and rerank over plain HTTP."""

from __future__ import annotations

import io
import json
import urllib.request

import openai
import pytest

from tests.conftest import EMBED_MODEL

LEASE = b"""# Lease

## Rent
The monthly rent is 850 euros, due on the fifth day of each month.

## Notice
The tenant may leave with six months' notice, in writing, by registered letter.
"""
RECIPE = """Torta di mele della nonna

Quattro mele, farina, zucchero e tre uova. In forno a 180 gradi per quaranta minuti."""


@pytest.fixture(scope="module")
def client(server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def send(client: openai.OpenAI, name: str, data: bytes):
    return client.files.create(file=(name, io.BytesIO(data)), purpose="assistants")


def test_a_file_is_kept_listed_and_deleted(client):
    kept = send(client, "lease.md", LEASE)
    assert (kept.filename, kept.bytes, kept.status) == ("lease.md", len(LEASE), "processed")
    assert kept.id in {each.id for each in client.files.list()}
    assert client.files.retrieve(kept.id).filename == "lease.md"
    gone = client.files.delete(kept.id)
    assert (gone.id, gone.object, gone.deleted) == (kept.id, "file", True)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(kept.id)


def test_a_file_that_cannot_be_read_says_why_and_enters_no_store(client):
    kept = send(client, "broken.pdf", b"%PDF-1.7 and nothing else")
    assert kept.status == "error" and kept.status_details
    store = client.vector_stores.create(name="none of it")
    with pytest.raises(openai.ConflictError):
        client.vector_stores.files.create(vector_store_id=store.id, file_id=kept.id)
    client.vector_stores.delete(store.id)
    client.files.delete(kept.id)


def test_a_store_finds_what_its_files_say_in_any_language(client):
    lease, recipe = send(client, "lease.md", LEASE), send(client, "torta.txt", RECIPE.encode())
    store = client.vector_stores.create(name="the house", file_ids=[lease.id])
    assert store.file_counts.completed == 1 and store.name == "the house"
    added = client.vector_stores.files.create_and_poll(recipe.id, vector_store_id=store.id)
    assert added.status == "completed"
    assert {each.id for each in client.vector_stores.files.list(store.id)} == {lease.id, recipe.id}
    for question, file in (
        ("Quanto preavviso deve dare l'inquilino?", lease.id),
        ("How long does the apple cake bake?", recipe.id),
    ):
        page = client.vector_stores.search(store.id, query=question, max_num_results=3)
        best = page.data[0]
        assert best.file_id == file and best.content[0].text
    narrowed = client.vector_stores.search(
        store.id,
        query="rent",
        filters={"type": "eq", "key": "filename", "value": "torta.txt"},
    )
    assert {each.filename for each in narrowed.data} == {"torta.txt"}
    client.vector_stores.files.delete(lease.id, vector_store_id=store.id)
    left = client.vector_stores.search(store.id, query="monthly rent")
    assert lease.id not in {each.file_id for each in left.data}
    # What was taken out of a store is still a file.
    assert client.files.retrieve(lease.id).id == lease.id
    gone = client.vector_stores.delete(store.id)
    assert (gone.id, gone.object, gone.deleted) == (store.id, "vector_store.deleted", True)
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.search(store.id, query="rent")


def test_batches_of_files_are_sent_and_waited_for(client):
    store = client.vector_stores.create(name="batches")
    told = client.vector_stores.file_batches.upload_and_poll(
        store.id, files=[("lease.md", LEASE), ("torta.txt", RECIPE.encode())]
    )
    assert (told.status, told.file_counts.completed) == ("completed", 2)
    ids = [each.id for each in client.vector_stores.files.list(store.id)]
    again = client.vector_stores.create(name="again")
    told = client.vector_stores.file_batches.create(again.id, files=[{"file_id": i} for i in ids])
    assert told.file_counts.total == 2
    assert [each.id for each in client.vector_stores.files.list(again.id)] == ids
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.file_batches.retrieve("vsfb_1", vector_store_id=store.id)
    for each in (store, again):
        client.vector_stores.delete(each.id)


def test_two_files_of_one_name_are_two(client):
    first, second = send(client, "a.txt", b"Cats are grey."), send(client, "a.txt", b"Dogs bark.")
    store = client.vector_stores.create(name="pets", file_ids=[first.id, second.id])
    found = client.vector_stores.search(store.id, query="Which animal barks?")
    assert {each.file_id for each in found.data} == {first.id, second.id}
    client.vector_stores.delete(store.id)


def test_a_file_that_is_deleted_is_in_no_store(client):
    lease, recipe = send(client, "lease.md", LEASE), send(client, "torta.txt", RECIPE.encode())
    store = client.vector_stores.create(name="both", file_ids=[lease.id, recipe.id])
    client.files.delete(lease.id)
    assert {each.id for each in client.vector_stores.files.list(store.id)} == {recipe.id}
    page = client.vector_stores.search(store.id, query="monthly rent")
    assert lease.id not in {each.file_id for each in page.data}
    client.vector_stores.delete(store.id)


def test_a_store_is_made_of_all_its_files_or_not_at_all(client):
    kept = send(client, "a.txt", b"Cats are grey.")
    before = {each.id for each in client.vector_stores.list()}
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.create(name="half", file_ids=[kept.id, "file-none"])
    assert {each.id for each in client.vector_stores.list()} == before


def test_rerank_puts_the_answer_first(server):
    body = {
        "model": EMBED_MODEL,
        "query": "How long does the apple cake bake?",
        "documents": [LEASE.decode(), {"text": RECIPE}],
        "top_n": 1,
    }
    asked = urllib.request.Request(
        f"{server.url}/v1/rerank", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=120) as answer:
        told = json.loads(answer.read())
    (best,) = told["results"]
    assert best["index"] == 1 and best["document"]["text"] == RECIPE
    assert 0 < best["relevance_score"] <= 1 and told["usage"]["total_tokens"] > 0
