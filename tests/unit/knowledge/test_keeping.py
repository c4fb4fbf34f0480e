"""What is put into a collection is there, and what is taken out is gone."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from dimora.core.errors import BadRequest, Conflict, NotFound
from dimora.knowledge import cutting, rows, terms
from dimora.knowledge.keeping import Keeper
from dimora.knowledge.offering import digest_of
from dimora.tasks.knowing import Filters, Offered
from tests.unit.knowledge.making import (
    axis,
    keeper_with_notes,
    known,
    pieces_of,
    put,
    search,
    vector_of,
)


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return keeper_with_notes(tmp_path)


def bytes_of(keeper_path: Path) -> bytes:
    """Everything that is on the disk of a workspace."""
    return b"".join(path.read_bytes() for path in keeper_path.parent.iterdir())


def test_a_house_nobody_told_anything_knows_nothing_and_makes_no_file(tmp_path: Path):
    keeper = Keeper(tmp_path / "knowledge" / "main.db")
    assert keeper.collections() == []
    with pytest.raises(NotFound):
        keeper.documents("notes")
    assert not (tmp_path / "knowledge").exists()


def test_files_are_for_their_owner_only(keeper: Keeper, tmp_path: Path):
    put(keeper, "notes", "a.txt", "one")
    folder = tmp_path / "knowledge"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_collection_is_made_once_and_keeps_its_embedder(keeper: Keeper):
    made = keeper.collection("notes")
    assert keeper.make_collection("notes", "embedder", hidden=False) == made
    with pytest.raises(Conflict):
        keeper.make_collection("notes", "another", hidden=False)


@pytest.mark.parametrize("name", ["", " ", "../x", "a\nb", "x" * 200, "-x"])
def test_what_is_no_name_is_refused(keeper: Keeper, name: str):
    with pytest.raises(BadRequest):
        keeper.make_collection(name, "embedder", hidden=False)


def test_a_document_is_told_as_it_was_put(keeper: Keeper):
    before = time.time()
    told = put(
        keeper,
        "notes",
        "a/b.pdf",
        "one two",
        "three",
        pages=3,
        warnings=("a page is empty",),
        language="it",
        modified_at=12.25,
        size_bytes=99,
    )
    assert told.id
    assert (told.chunks, told.tokens, told.pages) == (2, 3, 3)
    assert before <= told.added_at <= time.time()
    assert keeper.documents("notes") == [told]
    assert keeper.document("notes", "a/b.pdf") == told == keeper.document("notes", told.id)
    collection = keeper.collection("notes")
    assert (collection.documents, collection.chunks, collection.size_bytes) == (1, 2, 99)
    assert [piece.text for piece in keeper.pieces("notes", told.id)] == ["one two", "three"]


def test_a_document_takes_the_place_of_the_one_of_its_name(keeper: Keeper):
    old = put(keeper, "notes", "a.txt", "the old walnut", "more of it")
    put(keeper, "notes", "b.txt", "something else")
    new = put(keeper, "notes", "a.txt", "the new chestnut")
    assert new.id == old.id
    assert [d.name for d in keeper.documents("notes")] == ["a.txt", "b.txt"]
    assert search(keeper, "walnut") == []
    assert [p.piece.text for p in search(keeper, "chestnut")] == ["the new chestnut"]
    assert len(search(keeper, vector=vector_of("the old walnut"), limit=9)) == 2


def test_a_file_that_could_not_be_read_is_kept_with_its_error(keeper: Keeper):
    put(keeper, "notes", "bad.pdf", error="it is broken")
    collection = keeper.collection("notes")
    assert (collection.documents, collection.failed) == (0, 1)
    offered = Offered(name="bad.pdf", digest=known("bad.pdf").digest)
    assert keeper.is_known("notes", offered, lambda: "") is None


def test_every_piece_needs_a_vector_of_the_collections_width(keeper: Keeper):
    put(keeper, "notes", "a.txt", "one")
    for vectors in ([], [(1.0, 2.0)], [axis(0), axis(1)], [(float("nan"),) * 8]):
        with pytest.raises(BadRequest):
            keeper.put("notes", known("b.txt"), pieces_of("one"), vectors)
    assert [d.name for d in keeper.documents("notes")] == ["a.txt"]


def test_vectors_of_a_collection_are_made_with_the_same_weights(keeper: Keeper):
    def add(name: str, weights: str, collection: str = "notes") -> None:
        keeper.put(collection, known(name), pieces_of("one"), [axis(0)], weights)

    add("a.txt", "")
    add("a.txt", "old")
    # A single document takes its own place; of a failed one there are no vectors.
    add("a.txt", "new")
    keeper.put("notes", known("c.txt", error="broken"), [], [], "old")
    for name in ("b.txt", "c.txt"):
        with pytest.raises(Conflict) as caught:
            add(name, "old")
        assert caught.value.code == "other_weights"
    assert keeper.collection("notes").weights == "new"
    add("b.txt", "new")
    # What is not known is not refused.
    add("b.txt", "")
    assert keeper.collection("notes").weights == "new"
    keeper.make_collection("others", "embedder", hidden=False)
    add("a.txt", "old", "others")
    with pytest.raises(Conflict):
        keeper.copy("notes", "a.txt", "others", "b.txt")
    keeper.remove("others", "a.txt")
    keeper.copy("notes", "a.txt", "others", "b.txt")
    assert keeper.collection("others").weights == "new"


def test_ids_of_two_documents_differ(keeper: Keeper):
    put(keeper, "notes", "a.txt", "one", id="file-1")
    with pytest.raises(Conflict):
        put(keeper, "notes", "b.txt", "two", id="file-1")
    with pytest.raises(Conflict):
        put(keeper, "notes", "a.txt", "one more", id="file-2")
    assert [d.id for d in keeper.documents("notes")] == ["file-1"]


def test_an_unchanged_file_is_known_by_its_time_and_a_touched_one_by_its_digest(
    keeper: Keeper, tmp_path: Path
):
    digests: list[str] = []

    def digest() -> str:
        digests.append(digest_of(offered))
        return digests[-1]

    file = tmp_path / "a.txt"
    file.write_text("one")
    offered = Offered(name="a.txt", path=str(file), size_bytes=3, modified_at=1000.5)
    assert keeper.is_known("notes", offered, digest) is None
    told = put(
        keeper, "notes", "a.txt", "one", digest=digest_of(offered), size_bytes=3, modified_at=1000.5
    )
    assert keeper.is_known("notes", offered, digest) == told
    assert digests == []
    offered = Offered(name="a.txt", path=str(file), size_bytes=3, modified_at=2000.5)
    touched = keeper.is_known("notes", offered, digest)
    assert touched is not None
    assert touched.modified_at == 2000.5
    assert keeper.is_known("notes", offered, digest) == touched
    assert len(digests) == 1
    file.write_text("two")
    offered = Offered(name="a.txt", path=str(file), size_bytes=3, modified_at=3000.5)
    assert keeper.is_known("notes", offered, digest) is None


def test_a_file_written_in_the_second_it_was_read_is_read_again(keeper: Keeper):
    now = time.time()
    told = put(keeper, "notes", "a.txt", "one", size_bytes=3, modified_at=now)
    offered = Offered(name="a.txt", size_bytes=3, modified_at=now)
    assert keeper.is_known("notes", offered, lambda: "another") is None
    assert keeper.is_known("notes", offered, lambda: told.digest) == told


def test_documents_that_were_cut_in_another_way_are_not_known(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
):
    told = put(keeper, "notes", "a.txt", "one", size_bytes=3, modified_at=1.5)
    offered = Offered(name="a.txt", size_bytes=3, modified_at=1.5)
    assert keeper.is_known("notes", offered, lambda: "") == told
    monkeypatch.setattr(cutting, "VERSION", "another")
    assert keeper.is_known("notes", offered, lambda: told.digest) is None


def test_of_what_was_removed_no_byte_is_left(keeper: Keeper, tmp_path: Path):
    path = tmp_path / "knowledge" / "main.db"
    secret = "zanzibarcanary"
    # A float of 16 bits that occurs nowhere else, eight times.
    vector = (0.3,) * 8
    put(keeper, "notes", "a.txt", "a plain text", "another one", vectors=[axis(0), axis(1)])
    put(
        keeper,
        "notes",
        f"{secret}.txt",
        f"here is {secret}, and {secret.upper()}s",
        vectors=[vector],
    )
    term = terms.terms_of(secret)[0].encode()
    packed = bytes.fromhex("a835") * 8
    assert term in bytes_of(path)
    assert packed in bytes_of(path)
    removed = keeper.remove("notes", f"{secret}.txt")
    assert removed.name == f"{secret}.txt"
    left = bytes_of(path).lower()
    assert term not in left
    assert packed not in left
    assert search(keeper, secret) == []
    assert [p.document for p in search(keeper, vector=vector)] == ["a.txt"] * 2


def test_of_what_was_replaced_no_byte_is_left(keeper: Keeper, tmp_path: Path):
    put(keeper, "notes", "a.txt", "the zanzibarcanary sings")
    put(keeper, "notes", "a.txt", "nothing sings")
    assert b"zanzibarcanar" not in bytes_of(tmp_path / "knowledge" / "main.db").lower()


def test_of_a_large_document_no_byte_is_left_either(keeper: Keeper, tmp_path: Path):
    path = tmp_path / "knowledge" / "main.db"
    texts = [f"the zanzibarcanary sings the song {at}" for at in range(500)]
    put(keeper, "notes", "small.txt", "the swallow sings")
    put(keeper, "notes", "large.txt", *texts)
    keeper.remove("notes", "large.txt")
    assert b"zanzibarcanar" not in bytes_of(path).lower()
    assert [p.document for p in search(keeper, "who sings?")] == ["small.txt"]
    # The next one is taken out as thoroughly.
    put(keeper, "notes", "next.txt", "a zanzibarcanary")
    keeper.remove("notes", "next.txt")
    assert b"zanzibarcanar" not in bytes_of(path).lower()


def test_of_words_that_a_page_of_the_index_began_with_no_byte_is_left(
    keeper: Keeper, tmp_path: Path
):
    def codes(document: int, piece: int) -> str:
        return " ".join(f"it60x{16 * (100 * piece + at) + document:014d}" for at in range(100))

    for document in range(16):
        put(keeper, "notes", f"{document}.txt", *[codes(document, piece) for piece in range(5)])
    for document in range(8):
        keeper.remove("notes", f"{document}.txt")
        left = bytes_of(tmp_path / "knowledge" / "main.db")
        gone = " ".join(codes(document, piece) for piece in range(5)).split()
        assert [code for code in gone if code.encode() in left] == []
    kept = codes(8, 4).split()[-1]
    assert [p.document for p in search(keeper, kept)] == ["8.txt"]


def test_the_index_is_not_made_anew_for_what_other_documents_say_too(keeper: Keeper):
    texts = [" ".join(f"word{at:05d}" for at in range(n, 8000, 16)) for n in range(16)]
    put(keeper, "notes", "a.txt", *texts)
    put(keeper, "notes", "b.txt", *texts)
    with keeper._file.reading() as connection:
        assert not rows.leaves_traces(connection, 1, [" ".join(texts)])
        assert rows.leaves_traces(connection, 1, [" ".join(texts)] * 2)


def test_of_a_dropped_collection_no_byte_is_left_and_its_room_is_given_back(
    keeper: Keeper, tmp_path: Path
):
    path = tmp_path / "knowledge" / "main.db"
    keeper.make_collection("secrets", "embedder", hidden=True)
    put(keeper, "notes", "a.txt", "a plain text")
    texts = [f"zanzibarcanary {at} " + "song " * 50 for at in range(300)]
    put(keeper, "secrets", "zanzibarcanary.txt", *texts)
    assert [p.document for p in search(keeper, "zanzibarcanary", collections=["secrets"])]
    keeper.close()
    size = path.stat().st_size
    keeper.drop_collection("secrets")
    assert b"zanzibarcanar" not in bytes_of(path).lower()
    assert b"secrets" not in bytes_of(path)
    assert path.stat().st_size < size / 2
    assert [c.name for c in keeper.collections()] == ["notes"]
    keeper.make_collection("secrets", "embedder", hidden=True)
    assert search(keeper, "zanzibarcanary", vector_of("x"), collections=["secrets"]) == []


def test_folders_and_words_about_a_collection_are_kept(keeper: Keeper):
    keeper.change_collection("notes", ["/a/papers", "/b/mails"], None)
    told = keeper.change_collection("notes", None, "the office")
    assert told.folders == ("/a/papers", "/b/mails")
    assert told.about == "the office"
    with pytest.raises(Conflict):
        keeper.change_collection("notes", ["/a/papers", "/b/papers"], None)


def test_neighbours_of_a_passage_are_told_in_order(keeper: Keeper):
    put(keeper, "notes", "a.txt", *(f"part number{at}" for at in range(6)))
    (found,) = search(keeper, "number3", limit=1)
    assert [p.number for p in keeper.around(found, 2, 1)] == [1, 2, 4]
    assert [p.number for p in keeper.around(found, 99, 99)] == [0, 1, 2, 4, 5]
    keeper.remove("notes", "a.txt")
    assert keeper.around(found, 1, 1) == []


def test_two_keepers_of_one_file_see_what_the_other_does(keeper: Keeper, tmp_path: Path):
    other = Keeper(tmp_path / "knowledge" / "main.db")
    assert search(other, "walnut") == []
    put(keeper, "notes", "a.txt", "a walnut")
    assert [p.document for p in search(other, "walnut", vector_of("a walnut"))] == ["a.txt"]
    put(other, "notes", "b.txt", "two walnuts")
    found = search(keeper, "walnut", vector_of("a walnut"))
    assert {p.document for p in found} == {"a.txt", "b.txt"}
    other.remove("notes", "a.txt")
    assert [p.document for p in search(keeper, "walnut")] == ["b.txt"]


def test_words_are_indexed_anew_where_they_became_terms_in_another_way(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(terms, "VERSION", "older")
    keeper.make_collection("old", "embedder", hidden=False)
    monkeypatch.setattr("dimora.knowledge.rows.terms_of", lambda text: text.upper().split())
    keeper.drop_collection("notes")
    put(keeper, "old", "a.txt", "a walnut")
    keeper.close()
    monkeypatch.undo()
    newer = Keeper(tmp_path / "knowledge" / "main.db")
    assert [p.document for p in search(newer, "walnuts", collections=["old"])] == ["a.txt"]
    newer.remove("old", "a.txt")
    assert b"WALNUT" not in bytes_of(tmp_path / "knowledge" / "main.db")


def test_a_document_keeps_its_filters(keeper: Keeper):
    put(keeper, "notes", "a.txt", "walnut one", media_type="text/plain", language="en")
    put(keeper, "notes", "b.pdf", "walnut two", media_type="application/pdf", modified_at=50.0)
    for filters in (
        Filters(documents=("b.pdf",)),
        Filters(media_types=("application/pdf",)),
        Filters(languages=("",)),
        Filters(modified_after=10.0),
    ):
        found = search(keeper, "walnut", axis(0), filters=filters)
        assert [p.document for p in found] == ["b.pdf"]
    assert search(keeper, "walnut", axis(0), filters=Filters(modified_before=0.5)) != []
    assert search(keeper, "walnut", axis(0), filters=Filters(documents=("c",))) == []
