"""What the house knows is a workspace's own, and only the terminal names files.

Files are read in real processes, which need no sockets but their own pair.
"""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dimora.core.errors import (
    BadRequest,
    ConfigurationError,
    Conflict,
    Forbidden,
    InvalidModel,
    NotFound,
)
from dimora.core.settings import Settings
from dimora.core.types import Principal
from dimora.knowledge.keeping import Keeper
from dimora.runtime.house import House, RoomsFor
from dimora.runtime.knowing import KnowledgeFor
from dimora.tasks.card import Card, Measured
from dimora.tasks.grounding import collection_of
from dimora.tasks.knowing import Filters, KnownDocument, Offered, Piece
from tests.unit.knowledge.making import axis, count_words, known, pieces_of
from tests.unit.models.making import OllamaStore, tiny_gguf


def principal(workspace: str = "main", proof: str = "terminal") -> Principal:
    return Principal(user="ada", workspace=workspace, roles=("owner",), proof=proof)  # type: ignore[arg-type]


def knowledge_of(house: House, workspace: str = "main", proof: str = "terminal") -> KnowledgeFor:
    return RoomsFor(house, principal(workspace, proof), None).knowledge


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(Settings(home=tmp_path / "home", models=tmp_path / "models"))
    await house.start()
    yield house
    await house.close()


async def test_each_workspace_has_a_file_and_sees_no_other(house: House):
    for workspace in ("main", "other"):
        mine = knowledge_of(house, workspace)
        await mine.make_collection("notes", "e")
        await mine.put("notes", known(f"{workspace}.txt"), pieces_of("a walnut"), [axis(0)])
    for workspace in ("main", "other"):
        mine = knowledge_of(house, workspace)
        found = await mine.find(["notes"], "walnut", axis(0), limit=9, filters=Filters())
        assert [passage.document for passage in found] == [f"{workspace}.txt"]
        assert [d.name for d in await mine.documents("notes")] == [f"{workspace}.txt"]
    files = {path.name for path in (house.settings.home / "knowledge").glob("*.db")}
    assert files == {"main.db", "other.db"}


async def test_what_a_model_knows_is_forgotten_in_every_workspace(house: House):
    for workspace in ("main", "other", "Third One"):
        mine = knowledge_of(house, workspace)
        await mine.make_collection("notes", "e")
        if workspace != "main":
            await mine.make_collection("model x", "e", hidden=True)
            await mine.put("model x", known("secret.txt"), pieces_of("a walnut"), [axis(0)])
    await knowledge_of(house).forget_models()
    for workspace in ("main", "other", "Third One"):
        told = await knowledge_of(house, workspace).collections()
        assert [one.name for one in told] == ["notes"]
    for path in (house.settings.home / "knowledge").glob("*"):
        assert b"walnut" not in path.read_bytes()


@pytest.mark.parametrize("proof", ["loopback", "api_key"])
async def test_only_the_terminal_names_files(house: House, tmp_path: Path, proof: str):
    (tmp_path / "a.txt").write_text("a walnut")
    theirs = knowledge_of(house, proof=proof)
    await theirs.make_collection("notes", "e")
    offered = Offered(name="a.txt", path=str(tmp_path / "a.txt"))
    with pytest.raises(Forbidden):
        await theirs.offers([str(tmp_path)])
    with pytest.raises(Forbidden):
        await theirs.is_known("notes", offered)
    with pytest.raises(Forbidden):
        await anext(theirs.pieces(offered, count_words, 100))
    with pytest.raises(Forbidden):
        await theirs.change_collection("notes", folders=[str(tmp_path)])
    assert (await theirs.change_collection("notes", about="ours")).about == "ours"
    # Bytes they may bring.
    made = theirs.pieces(Offered(name="a.txt", data=b"a walnut"), count_words, 100)
    assert [type(one) for one in [one async for one in made]] == [KnownDocument, Piece]


async def test_a_folder_is_taken_in_and_only_what_changed_is_read_again(
    house: House, tmp_path: Path
):
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "lease.md").write_text(
        "# Lease\n\nIl contratto di locazione dura quattro anni.\n\n## Rent\n\nIl canone è di 500"
        " euro al mese, da pagare il primo di ogni mese.\n"
    )
    (folder / "walnut.txt").write_text("The walnut is in the garden, and it is the oldest tree.")
    mine = knowledge_of(house)
    await mine.make_collection("notes", "e")
    for offered in await mine.offers([str(folder)]):
        assert await mine.is_known("notes", offered) is None
        document, *pieces = [one async for one in mine.pieces(offered, count_words, 100)]
        assert isinstance(document, KnownDocument)
        cut = [piece for piece in pieces if isinstance(piece, Piece)]
        await mine.put("notes", document, cut, [axis(at) for at in range(len(cut))])
    told = {d.name: d for d in await mine.documents("notes")}
    assert {name: d.language for name, d in told.items()} == {
        "papers/lease.md": "it",
        "papers/walnut.txt": "en",
    }
    digest = hashlib.sha256((folder / "walnut.txt").read_bytes()).hexdigest()
    assert told["papers/walnut.txt"].digest == digest
    (found,) = await mine.find(["notes"], "canone", (), limit=3, filters=Filters())
    assert found.piece.headings == ("Lease", "Rent")
    (folder / "walnut.txt").write_text("The chestnut.")
    known_now = [await mine.is_known("notes", one) for one in await mine.offers([str(folder)])]
    assert [one and one.name for one in known_now] == ["papers/lease.md", None]


async def test_a_file_that_cannot_be_read_costs_an_error_and_no_other_file(house: House):
    mine = knowledge_of(house)
    with pytest.raises(BadRequest):
        await anext(mine.pieces(Offered(name="a.pdf", data=b"%PDF-1.7 broken"), count_words, 9))
    made = mine.pieces(Offered(name="a.txt", data=b"a walnut"), count_words, 100)
    assert len([one async for one in made]) == 2


async def test_two_files_are_read_at_once_one_after_the_other(house: House):
    mine = knowledge_of(house)

    async def read(number: int) -> str:
        offered = Offered(name="a.txt", data=f"number {number}".encode())
        *_, piece = [one async for one in mine.pieces(offered, count_words, 100)]
        assert isinstance(piece, Piece)
        return piece.text

    told = await asyncio.gather(*(read(number) for number in range(4)))
    assert told == [f"number {number}" for number in range(4)]


async def test_documents_of_a_model_come_checked_from_the_store(house: House, tmp_path: Path):
    weights = tiny_gguf(tmp_path / "m.gguf").read_bytes()
    store = OllamaStore(house.settings.models_path)
    layers = [("model", weights), ("document", b"a walnut")]
    store.model(("registry.ollama.ai", "library", "tiny", "latest"), layers)
    mine = knowledge_of(house, proof="loopback")
    model = house.models.find("tiny")
    (offered,) = [one async for one in mine.documents_of(model)]
    digest = hashlib.sha256(b"a walnut").hexdigest()
    assert (offered.data, offered.digest, offered.path) == (b"a walnut", digest, "")
    blob = house.settings.models_path / "blobs" / f"sha256-{digest}"
    blob.write_bytes(b"a peanut")
    with pytest.raises(InvalidModel):
        await anext(mine.documents_of(model))


async def test_a_collection_is_told_whole_document_by_document(house: House):
    mine = knowledge_of(house)
    await mine.make_collection("notes", "e")
    for name, texts in (("b.txt", ("three",)), ("a.txt", ("one", "two"))):
        vectors = [axis(0)] * len(texts)
        await mine.put("notes", known(name), pieces_of(*texts), vectors)
    told = [
        one.name if isinstance(one, KnownDocument) else one.text
        async for one in mine.export("notes")
    ]
    assert told == ["a.txt", "one", "two", "b.txt", "three"]
    with pytest.raises(NotFound):
        await anext(mine.export("none"))


async def test_two_houses_of_one_home_see_each_others_documents(house: House):
    other = House(house.settings)
    try:
        mine, theirs = knowledge_of(house), knowledge_of(other)
        await mine.make_collection("notes", "e")
        await theirs.put("notes", known("a.txt"), pieces_of("a walnut"), [axis(0)])
        found = await mine.find(["notes"], "walnut", axis(0), limit=9, filters=Filters())
        assert [passage.document for passage in found] == ["a.txt"]
    finally:
        await other.close()


async def test_a_house_that_is_closed_leaves_no_log_beside_its_files(house: House):
    mine = knowledge_of(house)
    await mine.make_collection("notes", "e")
    await house.close()
    assert [path.name for path in (house.settings.home / "knowledge").iterdir()] == ["main.db"]
    assert [one.name for one in await mine.collections()] == ["notes"]


async def test_nothing_is_opened_before_somebody_asks(house: House):
    assert not (house.settings.home / "knowledge").exists()
    assert await knowledge_of(house).collections() == []
    assert not (house.settings.home / "knowledge").exists()


def test_a_house_that_starts_imports_no_database():
    program = (
        "import sys; import dimora.runtime.house, dimora.server.app; "
        "sys.exit('sqlcipher3' in sys.modules or 'dimora.knowledge.room' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def knowing(house: House, tmp_path: Path, name: str, *documents: bytes) -> str:
    """A model with documents; the collection of what is known of them."""
    weights = tiny_gguf(tmp_path / "m.gguf").read_bytes()
    layers = [("model", weights), *(("document", data) for data in documents)]
    store = OllamaStore(house.settings.models_path)
    store.model(("registry.ollama.ai", "library", name, "latest"), layers)
    return collection_of(house.models.find(name))


async def test_what_models_know_is_kept_by_their_documents_and_not_by_their_manifests(
    house: House, tmp_path: Path
):
    first = knowing(house, tmp_path, "tiny", b"a walnut", b"a peanut")
    before = house.models.find("tiny").summary.digest
    measured = Measured(name="tiny", format="gguf", quantization="F32", size_bytes=1)
    house.models.keep_card("tiny", Card(before=measured, after=measured, text="a text"))
    after = house.models.find("tiny")
    assert after.summary.digest != before and collection_of(after) == first
    assert knowing(house, tmp_path, "other", b"a peanut", b"a walnut") == first
    assert knowing(house, tmp_path, "tiny", b"a walnut") != first


async def test_a_server_that_starts_forgets_what_models_that_are_gone_knew(
    house: House, tmp_path: Path
):
    held = knowing(house, tmp_path, "tiny", b"a walnut")
    for workspace in ("main", "other"):
        mine = knowledge_of(house, workspace)
        await mine.make_collection("model by hand", "e")
        for name in (held, "model gone", "files"):
            await mine.make_collection(name, "e", hidden=True)
    await house.tidy()
    for workspace in ("main", "other"):
        told = await knowledge_of(house, workspace).collections()
        assert {one.name for one in told} == {held, "model by hand", "files"}


async def test_a_workspace_that_cannot_be_opened_keeps_nothing_of_the_others(house: House):
    for workspace in ("alpha", "zeta"):
        await knowledge_of(house, workspace).make_collection("model gone", "e", hidden=True)
    (house.settings.home / "knowledge" / "main.db").write_bytes(b"no database " * 400)
    with pytest.raises(ConfigurationError):
        await knowledge_of(house).forget_models()
    for workspace in ("alpha", "zeta"):
        assert await knowledge_of(house, workspace).collections() == []


async def test_an_embedder_has_one_name_however_it_was_written(house: House):
    old = Keeper(house.settings.home / "knowledge" / "main.db")
    old.make_collection("old", "nano", hidden=False)
    old.close()
    mine = knowledge_of(house)
    new = await mine.make_collection("new", "library/nano")
    assert new == await mine.make_collection("new", "nano:latest")
    assert (await mine.make_collection("old", "nano:latest")).embedder == "nano:latest"
    assert (await mine.make_collection("file", "nano.gguf")).embedder == "nano.gguf"
    await mine.put("old", known("a.txt"), pieces_of("a walnut"), [axis(0)])
    assert (await mine.copy("old", "a.txt", "new", "b.txt")).name == "b.txt"
    with pytest.raises(Conflict):
        await mine.make_collection("old", "nano:large")


async def test_a_document_with_an_id_of_its_own_takes_no_other_ones_name(house: House):
    mine = knowledge_of(house)
    for id_ in ("one", "two", "notes"):
        await mine.make_collection(id_, "e")
    for id_ in ("one", "two"):
        document = known("report.pdf", id=id_)
        await mine.put(id_, document, pieces_of(f"the walnut {id_}"), [axis(0)])
    await mine.copy("one", "one", "notes", "report.pdf")
    await mine.copy("one", "one", "notes", "report.pdf")
    with pytest.raises(Conflict) as why:
        await mine.copy("two", "two", "notes", "report.pdf")
    assert why.value.code == "document_exists"
    assert [one.id for one in await mine.documents("notes")] == ["one"]
