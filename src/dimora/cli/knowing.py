"""What the commands about documents share: bringing files, and showing what became of them.

A house in this process opens the files that are named; a server is sent them, since it opens no
path that a client names.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import click
import msgspec

from dimora.cli.asking import ask_one, ask_quietly, show_progress
from dimora.cli.door import Door
from dimora.cli.words import harmless
from dimora.core.errors import Conflict, DimoraError, NotFound
from dimora.core.settings import Settings
from dimora.core.types import Done, Event, Progress
from dimora.storage.disk import make_private_directory, write_whole
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

    def __init__(
        self,
        door: Door,
        collection: str,
        paths: Sequence[str],
        embedder: str,
        settings: Settings,
    ) -> None:
        self._door = door
        self._collection = collection
        self._paths = tuple(str(Path(path).absolute()) for path in paths)
        self._embedder = embedder
        self._settings = settings
        # Files that were sent, as they were then.
        self._sent: dict[str, Offered] | None = None
        self._remembered: dict[Path, _SentFolder] = {}
        self._told: set[str] = set()

    def add(self) -> Tally:
        """A bar shows how far it is."""
        tally = Tally()
        with closing(self._steps(retry=True)) as steps:
            self._warn(show_progress(tally.hear(steps)))
        return tally

    def look_again(self) -> Tally:
        """What changed since; says nothing but what could not be read."""
        tally = Tally()
        with closing(self._steps(retry=False)) as steps:
            for event in tally.hear(steps):
                self._warn(event.warnings if isinstance(event, Done) else ())
        return tally

    def _warn(self, warnings: Iterable[str]) -> None:
        """Each once, however often it is looked."""
        for warning in warnings:
            if warning not in self._told:
                click.echo(harmless(f"Warning: {warning}"), err=True)
            self._told.add(warning)

    def _steps(self, *, retry: bool) -> Generator[Event, None, None]:
        if self._door.is_remote:
            return self._send()
        request = AddDocuments(
            collection=self._collection, paths=self._paths, model=self._embedder, retry=retry
        )
        return self._door.ask(request)

    def _send(self) -> Generator[Event, None, None]:
        """With a server: each file is sent, and what was sent of a folder and is gone from it is
        removed. Raises Conflict for another folder of the same name, before anything is sent."""
        # Only this command needs to look at files the way the house does.
        from dimora.knowledge.offering import offers_of

        offers = offers_of(self._paths)
        folders = self._folders()
        before = self._sent or {}
        new = [each for each in offers if not each.error and before.get(each.path) != each]
        total = sum(each.size_bytes for each in new)
        done = 0
        warnings = [each.warning for each in offers if each.error]
        there = {each.path: each for each in offers}
        try:
            for offered in new:
                status = "reading documents"
                yield Progress(status=status, total_bytes=total, completed_bytes=done)
                yield from _send_one(self._door, self._collection, offered, self._embedder)
                done += offered.size_bytes
                for folder in folders:
                    folder.note(offered)
            yield Progress(status="reading documents", total_bytes=total, completed_bytes=done)
            if folders and (self._sent is None or there.keys() != self._sent.keys()):
                warnings += yield from self._remove_gone(folders, offers)
        finally:
            for folder in folders:
                folder.keep()
        self._sent = there
        yield Done(warnings=tuple(warnings))

    def _remove_gone(
        self, folders: Sequence[_SentFolder], offers: Sequence[Offered]
    ) -> Generator[Event, None, list[str]]:
        """Gives warnings."""
        known = self._known()
        gone = gone_from((folder.text for folder in folders), offers, known)
        ours = tuple(
            each.id for each in gone if any(folder.has_sent(each.name) for folder in folders)
        )
        if ours:
            request = RemoveDocuments(collection=self._collection, documents=ours)
            with closing(self._door.ask(request)) as events:
                yield from (event for event in events if isinstance(event, Ingested))
        names = {each.name for each in offers} | {d.name for d in known if d.id not in ours}
        for folder in folders:
            folder.forget_all_but(names)
        others = len(gone) - len(ours)
        told = (
            f"{others} documents below folders of these names were not sent from here, and are"
            " kept: `dimora knowledge remove` takes them out"
        )
        return [told] if others else []

    def _folders(self) -> list[_SentFolder]:
        """Those that were named, an emptied one too."""
        from dimora.knowledge.offering import whole_path

        for path in map(whole_path, self._paths):
            # Path.is_dir raises where nobody may look.
            if path not in self._remembered and os.path.isdir(path):  # noqa: PTH112
                place = f"{self._settings.host}\n{self._collection}"
                made = _SentFolder(self._settings.home / "sent", place, path)
                others = [each for each in self._remembered if each.name == path.name]
                if others or (made.others and made.others & {_mark(d.name) for d in self._known()}):
                    raise Conflict(
                        f"two folders of one collection have the same name, {path.name!r}",
                        hint="the documents of one would take the place of those of the other:"
                        " make another collection for it",
                    )
                self._remembered[path] = made
        return list(self._remembered.values())

    def _known(self) -> tuple[KnownDocument, ...]:
        request = ShowCollection(collection=self._collection, or_empty=True)
        return ask_one(self._door, request, CollectionTold).documents


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


class _Sent(msgspec.Struct, frozen=True):
    folder: str = ""
    names: frozenset[str] = frozenset()


class _SentFolder:
    """Remembers in a small file what was sent of a folder: a server knows of it by its last name
    alone, which is the name of other folders too. The file has digests: what is removed from the
    server should leave no name here."""

    def __init__(self, directory: Path, place: str, path: Path) -> None:
        from dimora.knowledge.offering import storable_path

        self.text = storable_path(path)
        self._path = _mark(str(path))
        self._file = directory / (_mark(f"{place}\n{path.name}") + ".json")
        self._kept = _Sent()
        with suppress(OSError, msgspec.MsgspecError):
            self._kept = msgspec.json.decode(self._file.read_bytes(), type=_Sent)
        is_ours = self._kept.folder == self._path
        self._names = set(self._kept.names) if is_ours else set()
        self.others = frozenset() if is_ours else self._kept.names

    def note(self, offered: Offered) -> None:
        """It was sent."""
        if offered.folder == self.text:
            self._names.add(_mark(offered.name))

    def has_sent(self, name: str) -> bool:
        return _mark(name) in self._names

    def forget_all_but(self, names: Iterable[str]) -> None:
        self._names &= {_mark(name) for name in names}

    def keep(self) -> None:
        kept = _Sent(self._path, frozenset(self._names))
        if kept == self._kept:
            return
        # Without it nothing is removed the next time, and that is told then.
        with suppress(OSError):
            make_private_directory(self._file.parent)
            write_whole(self._file, msgspec.json.encode(kept), mode=0o600)
            self._kept = kept


def _mark(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]


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
