"""Documents come in, are asked, change, and go; models know their FILEs.

The models are echoes: they say their prompt again, so that what they were shown is seen.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from dimora.cli.door import HouseDoor
from dimora.cli.knowing import Adding
from dimora.core.errors import BadRequest, Conflict, Forbidden, NotFound
from dimora.core.settings import Settings
from dimora.core.types import Event, Message, Principal, Progress, Request, Text
from dimora.runtime.house import House
from dimora.tasks.add_documents import AddDocuments
from dimora.tasks.ask_documents import AskDocuments
from dimora.tasks.chat import Chat
from dimora.tasks.delete_collection import DeleteCollection
from dimora.tasks.delete_model import DeleteModel
from dimora.tasks.generate import Generate
from dimora.tasks.generation import Fold
from dimora.tasks.knowing import Filters, Ingested
from dimora.tasks.list_collections import CollectionsFound, ListCollections
from dimora.tasks.options import Options
from dimora.tasks.remove_documents import RemoveDocuments
from dimora.tasks.search_documents import PassagesFound, SearchDocuments
from dimora.tasks.show_collection import CollectionTold, ShowCollection
from tests.knowing import CHAT, EMBEDDER, WIDE, ask, create_knowing, open_house
from tests.unit.models.making import OllamaStore, tiny_gguf

GUEST = Principal(user="bob", workspace="main", roles=("owner",), proof="loopback")
RENT = "# Lease\n\nThe rent is 850 euros a month.\n"
NOTICE = "# Notice\n\nSix months' notice are given by registered letter.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "contracts"
    made.mkdir()
    (made / "lease.md").write_text(RENT)
    (made / "notice.md").write_text(NOTICE)
    (made / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    return made


def became(events: list) -> dict[str, str]:
    return {e.document.name: e.became for e in events if isinstance(e, Ingested)}


async def add(house: House, *paths: Path, **more) -> dict[str, str]:
    request = AddDocuments(paths=tuple(str(path) for path in paths), **more)
    return became(await ask(house, request))


async def rows(house: House, collection: str = "documents") -> list[str]:
    told = await ask(house, ShowCollection(collection=collection))
    return [d.name for e in told if isinstance(e, CollectionTold) for d in e.documents]


async def test_a_bad_file_costs_itself_and_the_folder_is_followed(folder, tmp_path):
    async with open_house(tmp_path / "home") as house:
        events = await ask(house, AddDocuments(paths=(str(folder),)))
        assert became(events) == {
            "contracts/broken.pdf": "failed",
            "contracts/lease.md": "added",
            "contracts/notice.md": "added",
        }
        size = sum(path.stat().st_size for path in folder.iterdir())
        steps = [e for e in events if isinstance(e, Progress) and e.total_bytes]
        assert steps[-1].completed_bytes == steps[-1].total_bytes == size
        (folder / "lease.md").write_text(RENT.replace("850", "9000"))
        (folder / "notice.md").unlink()
        (folder / "new.txt").write_text("The deposit is two rents.")
        # Without names: the folders the collection has.
        assert await add(house) == {
            "contracts/broken.pdf": "failed",
            "contracts/lease.md": "replaced",
            "contracts/new.txt": "added",
            "contracts/notice.md": "removed",
        }
        for path in folder.iterdir():
            path.unlink()
        gone = await add(house, folder)
        assert set(gone.values()) == {"removed"} and await rows(house) == []


async def test_what_is_known_is_not_read_again_and_needs_no_model(folder, tmp_path):
    async with open_house(tmp_path / "home") as house:
        await add(house, folder)
        # What could not be read is tried again where that is asked for, or it changed.
        assert (await add(house, folder))["contracts/broken.pdf"] == "failed"
        (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing else")
        assert (await add(house, folder, retry=False))["contracts/broken.pdf"] == "failed"
        await ask(house, DeleteModel(model="nano"))
        again = await ask(house, AddDocuments(paths=(str(folder),), retry=False))
        assert set(became(again).values()) == {"unchanged"}
        assert not any(isinstance(e, Progress) for e in again)
        with pytest.raises(NotFound):
            await add(house, folder)


async def test_two_folders_of_one_name_are_refused_before_they_are_read(folder, tmp_path):
    other = tmp_path / "elsewhere" / "contracts"
    other.mkdir(parents=True)
    (other / "lease.md").write_text("another lease")
    async with open_house(tmp_path / "home") as house:
        await add(house, folder)
        with pytest.raises(Conflict):
            await add(house, other)
        (told,) = await _found(house, "What is the rent a month?")
        assert "850" in told


async def test_a_folder_takes_no_place_of_what_was_sent_from_another_of_its_name(folder, tmp_path):
    async with open_house(tmp_path / "home") as house:
        # Of the same folder one may have sent a part already.
        same = AddDocuments(name="contracts/lease.md", data=RENT.encode())
        await ask(house, same, GUEST)
        for name in ("contracts/lease.md", "contracts/theirs.md"):
            sent = AddDocuments(name=name, data=b"another lease")
            await ask(house, sent, GUEST)
            with pytest.raises(Conflict):
                await add(house, folder)
            assert name in await rows(house)
            assert (await add(house, folder, keep_folders=False)).get(name) != "removed"
        await ask(house, RemoveDocuments(documents=("contracts/theirs.md",)))
        assert "removed" not in (await add(house, folder)).values()


async def _found(house: House, question: str, **more) -> list[str]:
    events = await ask(house, SearchDocuments(question=question, limit=1, **more))
    return [p.piece.text for e in events if isinstance(e, PassagesFound) for p in e.passages]


async def test_a_client_names_no_file_and_sends_them(folder, tmp_path):
    async with open_house(tmp_path / "home") as house:
        with pytest.raises(Forbidden):
            await ask(house, AddDocuments(paths=(str(folder),)), GUEST)
        sent = AddDocuments(name="a/lease.md", data=RENT.encode(), modified_at=1e9)
        assert became(await ask(house, sent, GUEST)) == {"a/lease.md": "added"}
        assert became(await ask(house, sent, GUEST)) == {"a/lease.md": "unchanged"}
        newer, older = Filters(modified_after=2e9), Filters(modified_before=2e9)
        assert await _found(house, "rent", filters=newer) == []
        assert len(await _found(house, "rent", filters=older)) == 1
        with pytest.raises(BadRequest):
            await ask(house, AddDocuments(), GUEST)


async def test_an_answer_shows_its_passages_and_cites_them(folder, tmp_path):
    async with open_house(tmp_path / "home") as house:
        await add(house, folder)
        request = AskDocuments(model=CHAT, question="Is the rent 850 euros a month?", options=WIDE)
        fold = Fold.of(await ask(house, request))
        assert "<passage 1>\nLease\nThe rent is 850 euros a month.\n</passage>" in fold.text
        assert [c.number for c in fold.citations] == sorted(c.number for c in fold.citations)
        assert fold.citations[0].passage.document == "contracts/lease.md"
        assert fold.done.usage.prompt_tokens > 0


async def test_without_anything_found_no_model_is_asked(tmp_path):
    async with open_house(tmp_path / "home", keep_alive_seconds=0.0) as house:
        await ask(house, AddDocuments(name="a.md", data=RENT.encode()))
        nothing = {
            "¿Quién ganó?": "No he encontrado nada sobre esto en tus documentos.",
            "Chi ha vinto?": "Non ho trovato nulla su questo nei tuoi documenti.",
            "Who won?": "I found nothing about this in your documents.",
        }
        for question, told in nothing.items():
            request = AskDocuments(
                model=CHAT, question=question, filters=Filters(documents=("other.md",))
            )
            fold = Fold.of(await ask(house, request))
            assert (fold.text, fold.done.reason) == (told, "nothing_found")
            assert fold.done.usage.output_tokens == 0 and not fold.citations
        with pytest.raises(NotFound):
            await ask(house, AskDocuments(model=CHAT, question="x", collections=("none",)))


async def test_after_removal_nothing_is_found_and_nothing_is_left_on_the_disk(folder, tmp_path):
    home = tmp_path / "home"
    (folder / "secret.txt").write_text("The canary zaffiro7731 sings at noon.")
    async with open_house(home) as house:
        await add(house, folder)
        assert "zaffiro7731" in (await _found(house, "canary zaffiro7731"))[0]
        await ask(house, RemoveDocuments(documents=("contracts/secret.txt",)))
        assert "contracts/secret.txt" not in await rows(house)
        assert "zaffiro7731" not in " ".join(await _found(house, "canary zaffiro7731"))
    kept = b"".join(p.read_bytes() for p in (home / "knowledge").rglob("*") if p.is_file())
    assert b"zaffiro7731" not in kept


def says(model: str, text: str, **more) -> Chat:
    return Chat(model=model, messages=(Message("user", (Text(text),)),), options=WIDE, **more)


async def hidden(house: House) -> list[str]:
    (found,) = (
        e for e in await ask(house, ListCollections(hidden=True)) if isinstance(e, CollectionsFound)
    )
    return [each.name for each in found.collections if each.hidden]


async def test_a_model_knows_its_files_unless_it_shall_not(folder, tmp_path):
    lease = {"lease.md": folder / "lease.md"}
    async with open_house(tmp_path / "home") as house:
        made = await create_knowing(house, "landlord", lease)
        assert made[-1].warnings == () and len(await hidden(house)) == 1
        question = "Is the rent 850 euros a month?"
        fold = Fold.of(await ask(house, says("landlord", question)))
        assert "The rent is 850 euros a month." in fold.text
        assert [c.passage.where for c in fold.citations] == ["lease.md, Lease"]
        generated = Generate(model="landlord", prompt=question, options=WIDE)
        assert Fold.of(await ask(house, generated)).citations == fold.citations
        for request in (
            says("landlord", question, retrieve=False),
            says(CHAT, question),
            Generate(model="landlord", prompt=question, raw=True, options=WIDE),
        ):
            plain = Fold.of(await ask(house, request))
            assert "passage" not in plain.text and not plain.citations


async def test_what_a_model_knew_goes_with_it_and_with_its_successor(folder, tmp_path):
    home = tmp_path / "home"
    async with open_house(home) as house:
        await create_knowing(house, "landlord", {"lease.md": folder / "lease.md"})
        (first,) = await hidden(house)
        await create_knowing(house, "landlord", {"notice.md": folder / "notice.md"})
        (second,) = await hidden(house)
        assert first != second and await rows(house, second) == ["notice.md"]
        await ask(house, DeleteModel(model="landlord"))
        assert await hidden(house) == []


async def test_without_its_embedder_a_model_with_files_is_made_and_answers(folder, tmp_path):
    async with open_house(tmp_path / "home") as house:
        await ask(house, DeleteModel(model="nano"))
        made = await create_knowing(house, "landlord", {"lease.md": folder / "lease.md"})
        assert "not searched yet" in made[-1].warnings[0]
        fold = Fold.of(await ask(house, says("landlord", "What is the rent?")))
        assert "What is the rent?" in fold.text and not fold.citations
        assert any("nano" in warning for warning in fold.done.warnings)


def change_embedder(home: Path) -> None:
    """Another model takes the name."""
    file = tiny_gguf(home / "n.gguf", architecture="bert", template="", context_length=90_000)
    name = ("registry.ollama.ai", "library", EMBEDDER, "latest")
    OllamaStore(home / "models").model(name, [("model", file.read_bytes())])


async def test_vectors_of_two_models_of_one_name_are_not_compared(folder, tmp_path):
    async with open_house(tmp_path / "home") as house:
        await add(house, folder)
        await create_knowing(house, "landlord", {"lease.md": folder / "lease.md"})
        question = says("landlord", "What is the rent?")
        await ask(house, question)
        change_embedder(tmp_path / "home")
        (folder / "new.txt").write_text("The deposit is two rents.")
        for request in (SearchDocuments(question="rent"), AddDocuments()):
            with pytest.raises(Conflict) as caught:
                await ask(house, request)
            assert caught.value.code == "other_weights"
        # What a model knows is taken in again.
        fold = Fold.of(await ask(house, question))
        assert "850" in fold.text and not fold.done.warnings
        await ask(house, DeleteCollection(collection="documents"))
        await add(house, folder)
        assert "850" in (await _found(house, "What is the rent a month?"))[0]


async def test_a_passage_is_shown_with_its_neighbours_while_there_is_room(tmp_path):
    lines = ("The keys hang by the door.", "The rent is 850 euros.", "The roof was mended in May.")
    text = "# House\n\n" + "\n\n".join(lines) + "\n\n# Garden\n\nThe apple tree is old and bears.\n"
    async with open_house(tmp_path / "home") as house:
        await ask(house, AddDocuments(name="house.md", data=text.encode(), piece_tokens=32))
        asked = AskDocuments(model=CHAT, question="Is the rent 850 euros?", limit=1, options=WIDE)
        (cited,) = Fold.of(await ask(house, asked)).citations
        assert cited.passage.piece.text == "\n\n".join(lines)
        assert cited.passage.piece.headings == ("House",)
        narrow = Options(num_ctx=1200, num_predict=1)
        tight = AskDocuments(model=CHAT, question=asked.question, limit=1, options=narrow)
        (alone,) = Fold.of(await ask(house, tight)).citations
        assert alone.passage.piece.text in "\n\n".join(lines)
        found = AskDocuments(model=CHAT, question=asked.question, limit=3, options=WIDE)
        fold = Fold.of(await ask(house, found))
        assert all(fold.text.count(line) == 1 for line in lines)


def warnings(events: list) -> str:
    return "\n".join(events[-1].warnings)


async def test_a_name_that_is_no_utf8_costs_no_folder(folder, tmp_path):
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("The coffee is free.")
    async with open_house(tmp_path / "home") as house:
        told = await add(house, folder)
        (name,) = (name for name in told if name.endswith(".txt"))
        assert told[name] == "added" and name in await rows(house)
        assert (await add(house, folder))[name] == "unchanged"
        # A path that cannot be written down has to be named, and costs nothing that is known.
        nameless = tmp_path / os.fsdecode(b"d\xe9p\xf4t") / "papers"
        nameless.mkdir(parents=True)
        (nameless / "a.md").write_text(RENT)
        for became_now in ("added", "unchanged"):
            assert await add(house, nameless) == {"papers/a.md": became_now}
        events = await ask(house, AddDocuments())
        assert "papers" in warnings(events) and "papers/a.md" in await rows(house)


async def test_what_nobody_can_look_at_is_told_and_kept(folder, tmp_path, monkeypatch):
    (folder / "2024").mkdir()
    for number in range(3):
        (folder / "2024" / f"{number}.md").write_text(RENT)
    list_names = os.scandir

    def away(path: str) -> object:
        if str(path).endswith("2024"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return list_names(path)

    async with open_house(tmp_path / "home") as house:
        await add(house, folder)
        (folder / "notice.md").unlink()
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", away)
            events = await ask(house, AddDocuments())
        gone = [name for name, what in became(events).items() if what == "removed"]
        assert gone == ["contracts/notice.md"]
        assert "contracts/2024" in warnings(events) and "Permission denied" in warnings(events)
        assert "contracts/2024/0.md" in await rows(house)


async def test_a_known_file_that_is_locked_costs_itself(folder, tmp_path, monkeypatch):
    async with open_house(tmp_path / "home") as house:
        await add(house, folder)
        (folder / "lease.md").write_text(RENT.replace("850", "9000"))
        (folder / "notice.md").write_text(NOTICE.replace("Six", "Two"))
        really = os.open

        def locked(path: str, *how: int) -> int:
            if str(path).endswith("lease.md"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return really(path, *how)

        monkeypatch.setattr(os, "open", locked)
        told = await add(house, folder)
        assert told["contracts/lease.md"] == "failed"
        assert told["contracts/notice.md"] == "replaced"


async def test_a_kept_folder_that_is_away_is_told_and_can_be_let_go(folder, tmp_path):
    other = tmp_path / "letters"
    other.mkdir()
    (other / "a.md").write_text(RENT)
    async with open_house(tmp_path / "home") as house:
        await add(house, folder, other)
        folder.rename(tmp_path / "elsewhere")
        events = await ask(house, AddDocuments())
        assert became(events) == {"letters/a.md": "unchanged"}
        assert "contracts" in warnings(events) and "contracts/lease.md" in await rows(house)
        # Only the terminal lets go of a folder: others are told that it comes back.
        theirs = await ask(house, RemoveDocuments(documents=("contracts/",)), GUEST)
        assert len(became(theirs)) == 3 and "reads the folder anew" in warnings(theirs)
        mine = await ask(house, RemoveDocuments(documents=("contracts/",)))
        assert not became(mine) and not warnings(mine)
        events = await ask(house, AddDocuments())
        assert became(events) == {"letters/a.md": "unchanged"} and not warnings(events)


class ServedDoor(HouseDoor):
    """As a server's: what is asked can be written down, and the terminal's rights are not had."""

    is_remote = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._principal = GUEST

    def ask(self, request: Request) -> Generator[Event, None, None]:
        msgspec.msgpack.encode(request)
        yield from super().ask(request)


@pytest.fixture
def served(tmp_path: Path) -> Generator[ServedDoor, None, None]:
    home = tmp_path / "home"

    async def furnish() -> None:
        async with open_house(home):
            pass

    asyncio.run(furnish())
    door = ServedDoor(Settings(home=home, engine="echo", embedder=EMBEDDER))
    with door:
        yield door


def adding(door: ServedDoor, *paths: Path) -> Adding:
    named = [str(path) for path in paths]
    return Adding(door, "documents", named, EMBEDDER, door._settings)


def names_at(door: ServedDoor) -> list[str]:
    told = door.ask(ShowCollection(collection="documents"))
    return [d.name for e in told if isinstance(e, CollectionTold) for d in e.documents]


def made_docs(parent: Path, *names: str) -> Path:
    made = parent / "docs"
    made.mkdir(parents=True)
    for name in names:
        (made / name).write_text(f"{RENT} {parent.name} {name}")
    return made


def test_with_a_server_what_is_gone_from_the_very_folder_is_removed(served, tmp_path):
    mine = made_docs(tmp_path / "a", "one.md", "two.md", "three.md")
    (mine / os.fsdecode(b"caf\xe9.md")).write_text(RENT)
    assert adding(served, mine).add().tell() == "4 added"
    (mine / "one.md").unlink()
    again = adding(served, mine)
    assert again.add().tell() == "3 unchanged, 1 removed"
    (mine / "two.md").unlink()
    assert again.look_again().tell() == "1 removed"
    for path in mine.iterdir():
        path.unlink()
    # An emptied folder offers nothing, and is known all the same.
    assert adding(served, mine).add().tell() == "2 removed"
    assert names_at(served) == []
    kept = b"".join(path.read_bytes() for path in (tmp_path / "home" / "sent").iterdir())
    assert b"one.md" not in kept and b"docs" not in kept


def test_with_a_server_another_folder_of_the_name_is_refused_before_it_is_sent(served, tmp_path):
    mine = made_docs(tmp_path / "a", "one.md", "two.md")
    other = made_docs(tmp_path / "b", "one.md", "three.md")
    adding(served, mine).add()
    with pytest.raises(Conflict):
        adding(served, other).add()
    with pytest.raises(Conflict):
        adding(served, mine, other).add()
    assert names_at(served) == ["docs/one.md", "docs/two.md"]
    # When nothing of the first is known any more, the name is free.
    list(served.ask(RemoveDocuments(collection="documents", documents=("docs/",))))
    assert adding(served, other).add().tell() == "2 added"


def test_with_a_server_what_others_sent_is_kept_and_told(served, tmp_path, capsys):
    adding(served, made_docs(tmp_path / "a", "one.md", "two.md")).add()
    # Another machine remembers nothing of it.
    shutil.rmtree(tmp_path / "home" / "sent")
    assert adding(served, made_docs(tmp_path / "b", "three.md")).add().tell() == "1 added"
    assert names_at(served) == ["docs/one.md", "docs/three.md", "docs/two.md"]
    assert "2 documents" in capsys.readouterr().err
