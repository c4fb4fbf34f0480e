"""Models keep knowing their documents, and files that were sent come and go as a whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from dimora.core.errors import Conflict, NotFound
from dimora.core.types import Message, Text
from dimora.runtime.house import House, RoomsFor
from dimora.runtime.knowing import KnowledgeFor
from dimora.tasks.add_documents import AddDocuments
from dimora.tasks.ask_documents import AskDocuments
from dimora.tasks.chat import Chat
from dimora.tasks.copy_documents import CopyDocuments
from dimora.tasks.copy_model import CopyModel
from dimora.tasks.delete_file import DeleteFile
from dimora.tasks.delete_model import DeleteModel
from dimora.tasks.generation import Fold
from dimora.tasks.keep_file import FileKept, KeepFile
from dimora.tasks.kept_files import FILES
from dimora.tasks.knowing import KnownDocument
from dimora.tasks.make_collection import MakeCollection
from tests.knowing import CHAT, EMBEDDER, OWNER, WIDE, ask, create_knowing, open_house
from tests.unit.models.making import OllamaStore

RENT = "# Lease\n\nThe rent is 850 euros a month.\n"
QUESTION = "Is the rent 850 euros a month?"


@pytest.fixture
def lease(tmp_path: Path) -> dict[str, Path]:
    path = tmp_path / "lease.md"
    path.write_text(RENT)
    return {"lease.md": path}


def knowledge_of(house: House) -> KnowledgeFor:
    return RoomsFor(house, OWNER, None).knowledge


async def hidden(house: House) -> list[str]:
    return [each.name for each in await knowledge_of(house).collections() if each.hidden]


async def ids_in(house: House, collection: str) -> list[str]:
    return sorted(each.id for each in await knowledge_of(house).documents(collection))


async def answer(house: House, model: str) -> Fold:
    messages = (Message("user", (Text(QUESTION),)),)
    return Fold.of(await ask(house, Chat(model=model, messages=messages, options=WIDE)))


async def send(house: House, name: str, data: bytes) -> KnownDocument:
    events = await ask(house, KeepFile(name=name, data=data))
    return next(e.document for e in events if isinstance(e, FileKept))


def add_embedder(house: House, name: str) -> None:
    weights = (house.settings.home / "nano.gguf").read_bytes()
    store = OllamaStore(house.settings.models_path)
    store.model(("registry.ollama.ai", "library", name, "latest"), [("model", weights)])


async def test_what_two_models_know_goes_with_the_last_of_them(lease, tmp_path):
    async with open_house(tmp_path / "home") as house:
        await create_knowing(house, "landlord", lease)
        await ask(house, CopyModel(model="landlord", destination="tenant"))
        held = await hidden(house)
        await ask(house, DeleteModel(model="landlord"))
        assert await hidden(house) == held
        await ask(house, DeleteModel(model="tenant"))
        assert await hidden(house) == []


async def test_a_model_made_anew_of_the_same_documents_knows_them_still(lease, tmp_path):
    async with open_house(tmp_path / "home") as house:
        await create_knowing(house, "landlord", lease)
        (held,) = await hidden(house)
        before = await knowledge_of(house).documents(held)
        await create_knowing(house, "landlord", lease, system="Be brief.")
        assert await hidden(house) == [held]
        assert await knowledge_of(house).documents(held) == before


async def test_a_model_answers_when_its_embedder_is_gone(lease, tmp_path):
    async with open_house(tmp_path / "home") as house:
        await create_knowing(house, "landlord", lease)
        await ask(house, AddDocuments(name="lease.md", data=RENT.encode()))
        await ask(house, DeleteModel(model=EMBEDDER))
        fold = await answer(house, "landlord")
        assert QUESTION in fold.text and not fold.citations
        assert any(EMBEDDER in warning for warning in fold.done.warnings)
        # Who asks documents wants nothing else.
        with pytest.raises(NotFound):
            await ask(house, AskDocuments(model=CHAT, question=QUESTION))


async def test_files_are_kept_after_another_embedder_was_set(tmp_path):
    async with open_house(tmp_path / "home") as house:
        add_embedder(house, "second")
        before = await send(house, "a.txt", b"The walnut.")
    changed = House(msgspec.structs.replace(house.settings, embedder="second"))
    try:
        ids = (before.id, (await send(changed, "b.txt", b"The chestnut.")).id)
        await ask(changed, MakeCollection(collection="store", documents=ids))
        assert await ids_in(changed, "store") == sorted(ids)
    finally:
        await changed.close()


async def test_a_file_that_is_deleted_is_in_no_collection(tmp_path):
    async with open_house(tmp_path / "home") as house:
        first, second = [await send(house, "a.txt", b"The %d." % at) for at in range(2)]
        for store in ("one", "two"):
            ids = (first.id, second.id)
            await ask(house, MakeCollection(collection=store, documents=ids))
        # A name is no id.
        await ask(house, AddDocuments(name=first.id, data=b"The walnut."))
        await ask(house, DeleteFile(document=first.id))
        for store in ("one", "two", FILES):
            assert await ids_in(house, store) == [second.id]
        assert len(await ids_in(house, "documents")) == 1
        for gone in (first.id, second.name):
            with pytest.raises(NotFound):
                await ask(house, DeleteFile(document=gone))


async def test_nothing_is_put_in_where_one_file_cannot_be(tmp_path):
    async with open_house(tmp_path / "home") as house:
        add_embedder(house, "second")
        good = await send(house, "a.txt", b"The walnut.")
        broken = await send(house, "b.pdf", b"%PDF-1.7 nothing")
        await ask(house, MakeCollection(collection="empty"))
        await ask(house, MakeCollection(collection="other", model="second"))
        refused = (
            (NotFound, MakeCollection(collection="new", documents=(good.id, "file-none"))),
            (Conflict, MakeCollection(collection="new", documents=(good.id, broken.id))),
            (Conflict, MakeCollection(collection="new", model="second", documents=(good.id,))),
            (NotFound, CopyDocuments(collection="empty", documents=(good.id, "file-none"))),
            (Conflict, CopyDocuments(collection="empty", documents=(good.id, broken.id))),
            (Conflict, CopyDocuments(collection="other", documents=(good.id,))),
        )
        for kind, request in refused:
            with pytest.raises(kind):
                await ask(house, request)
        told = {each.name: each.documents for each in await knowledge_of(house).collections()}
        assert told == {"empty": 0, "other": 0, FILES: 1}
        spelled = MakeCollection(collection="new", model="library/nano", documents=(good.id,))
        await ask(house, spelled)
        assert await ids_in(house, "new") == [good.id]


async def test_files_of_one_name_that_come_at_once_are_all_kept(tmp_path):
    async with open_house(tmp_path / "home") as house:
        sent = [await send(house, "report.txt", b"Number %d." % at) for at in range(4)]
        await ask(house, MakeCollection(collection="store"))
        copies = [CopyDocuments(collection="store", documents=(one.id,)) for one in sent * 2]
        await asyncio.gather(*(ask(house, each) for each in copies))
        assert await ids_in(house, "store") == sorted(each.id for each in sent)
