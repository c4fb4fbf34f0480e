"""What the commands about documents share: bringing files, and showing what became of them.

A house in this process opens the files that are named; a server is sent them, since it opens no
path that a client names.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import click

from dimora.cli.asking import ask_one, ask_quietly, show_progress
from dimora.cli.door import Door
from dimora.cli.words import harmless
from dimora.core.errors import DimoraError, NotFound
from dimora.core.types import Event, Progress
from dimora.tasks.add_documents import AddDocuments
from dimora.tasks.knowing import Ingested, KnownDocument, Offered, Passage, gone_from
from dimora.tasks.remove_documents import RemoveDocuments
from dimora.tasks.show_collection import CollectionTold, ShowCollection

_PASSAGE_CHARACTERS = 600


class Tally:
    """Counts what became of documents, and says at once which could not be read."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def hear(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            if isinstance(event, Ingested):
                self.note(event)
            yield event

    def note(self, event: Ingested) -> None:
        self._counts[event.became] += 1
        if event.became == "failed":
            told = harmless(f"{event.document.name}: {event.document.error}")
            click.echo(told, err=True)

    def tell(self) -> str:
        return ", ".join(f"{n} {became}" for became, n in self._counts.items()) or "nothing to do"

    @property
    def failed(self) -> int:
        return self._counts["failed"]

    @property
    def changed(self) -> int:
        return self._counts.total() - self._counts["unchanged"]


class Adding:
    """Takes files and folders into a collection, once or again and again."""

    def __init__(self, door: Door, collection: str, paths: Sequence[str], embedder: str) -> None:
        self._door = door
        self._collection = collection
        self._paths = tuple(str(Path(path).absolute()) for path in paths)
        self._embedder = embedder
        # Files that were sent, as they were then.
        self._sent: dict[str, Offered] = {}

    def add(self) -> Tally:
        """A bar shows how far it is."""
        tally = Tally()
        with closing(self._steps(retry=True)) as steps:
            for warning in show_progress(tally.hear(steps)):
                click.echo(f"Warning: {warning}", err=True)
        return tally

    def look_again(self) -> Tally:
        """What changed since; says nothing but what could not be read."""
        tally = Tally()
        with closing(self._steps(retry=False)) as steps:
            for _ in tally.hear(steps):
                pass
        return tally

    def _steps(self, *, retry: bool) -> Generator[Event, None, None]:
        if self._door.is_remote:
            return self._send()
        request = AddDocuments(
            collection=self._collection, paths=self._paths, model=self._embedder, retry=retry
        )
        return self._door.ask(request)

    def _send(self) -> Generator[Event, None, None]:
        """With a server: each file is sent, and what is gone from a folder is removed."""
        # Only this command needs to look at files the way the house does.
        from dimora.knowledge.offering import offers_of

        offers = offers_of(self._paths)
        new = [each for each in offers if self._sent.get(each.path) != each]
        total = sum(each.size_bytes for each in new)
        done = 0
        for offered in new:
            status = "reading documents"
            yield Progress(status=status, total_bytes=total, completed_bytes=done)
            yield from _send_one(self._door, self._collection, offered, self._embedder)
            done += offered.size_bytes
        yield Progress(status="reading documents", total_bytes=total, completed_bytes=done)
        there = {each.path: each for each in offers}
        is_changed = there.keys() != self._sent.keys()
        self._sent = there
        if is_changed and (gone := _gone(self._door, self._collection, offers)):
            yield from self._door.ask(RemoveDocuments(collection=self._collection, documents=gone))


def _send_one(door: Door, collection: str, offered: Offered, embedder: str) -> Iterator[Event]:
    from dimora.documents.limits import ReadingLimits
    from dimora.knowledge.offering import with_bytes

    try:
        data = with_bytes(offered, ReadingLimits().file_bytes).data
        request = AddDocuments(
            collection=collection,
            name=offered.name,
            data=data,
            modified_at=offered.modified_at,
            model=embedder,
        )
        with closing(door.ask(request)) as events:
            yield from (event for event in events if isinstance(event, Ingested))
    except DimoraError as why:
        if why.status not in (400, 404, 413) or why.code == "model_not_found":
            raise
        failed = KnownDocument(id="", name=offered.name, digest="", error=why.text)
        yield Ingested(document=failed, became="failed")


def _gone(door: Door, collection: str, offers: Sequence[Offered]) -> tuple[str, ...]:
    folders = {each.folder for each in offers if each.folder}
    if not folders:
        return ()
    told = ask_one(door, ShowCollection(collection=collection), CollectionTold)
    return tuple(each.id for each in gone_from(folders, offers, told.documents))


def has_collection(door: Door, name: str) -> bool:
    try:
        ask_quietly(door, ShowCollection(collection=name))
    except NotFound:
        return False
    return True


def show_passage(number: int, passage: Passage, text: str = "") -> None:
    """A passage under the place where it stands."""
    click.echo(click.style(f"[{number}] {harmless(passage.where)}", bold=sys.stdout.isatty()))
    words = " ".join((text or passage.piece.text).split())
    cut = words if len(words) <= _PASSAGE_CHARACTERS else f"{words[:_PASSAGE_CHARACTERS]}…"
    click.echo(f"{harmless(cut)}\n")
