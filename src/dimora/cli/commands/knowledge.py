"""Take in documents, search them, ask them."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from dimora.cli.asking import ask_one, ask_quietly, door_here, pull_if_missing, settings_here
from dimora.cli.words import (
    age_words,
    harmless,
    print_json,
    print_table,
    show_sources,
    size_words,
)
from dimora.core.errors import BadRequest, NotFound
from dimora.tasks.retrieving import DEFAULT_COLLECTION

if TYPE_CHECKING:
    from dimora.tasks.generation import Fold

_SEARCHED = f"Search this collection, else {DEFAULT_COLLECTION}; repeatable."
_LANGUAGE = "Only documents in this language: it, es or en."
_WATCH_SECONDS = 3.0
_MANY = 40


@click.group(no_args_is_help=True)
def command() -> None:
    """Documents the house knows: take them in, search them, ask them.

    What is read: PDF, Word, PowerPoint, Excel, OpenDocument, HTML, EPUB, mail, Markdown, text,
    tables, JSON, code; images and scans with the extra `ocr`.
    """


_COLLECTION = click.option(
    "--collection", "-c", default=DEFAULT_COLLECTION, show_default=True, help="Which collection."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def _narrowing(what: Callable[..., Any]) -> Callable[..., Any]:
    """The options that narrow a search."""
    options = (
        click.option("--collection", "-c", "collections", multiple=True, help=_SEARCHED),
        click.option("--document", "documents", multiple=True, help="Only in this document."),
        click.option("--type", "types", multiple=True, help="Only this type: pdf, docx, ..."),
        click.option("--language", "languages", multiple=True, help=_LANGUAGE),
        click.option("--since", default="", help="Only files changed since this day: 2026-01-31."),
        click.option("--limit", default=8, show_default=True, help="Passages at most."),
        click.option("--rerank", default="", help="A model that sorts what was found again."),
    )
    for option in reversed(options):
        what = option(what)
    return what


@command.command("add")
@click.argument("paths", nargs=-1)
@_COLLECTION
@click.option("--embedder", default="", help="Embedding model of a new collection.")
@click.option("--watch", is_flag=True, help="Go on, and take in changes; Ctrl-C ends it.")
def add_command(paths: tuple[str, ...], collection: str, embedder: str, watch: bool) -> int:
    """Take files and folders in.

    The next time only what changed is read, and what is gone from a folder is removed.
    """
    from dimora.cli.knowing import Adding, has_collection

    settings = settings_here()
    with door_here(settings) as door:
        if not paths and (door.is_remote or not has_collection(door, collection)):
            raise BadRequest("there is nothing to add", hint="name files or folders")
        pull_if_missing(door, embedder or settings.embedder)
        if not embedder and not has_collection(door, collection):
            embedder = settings.embedder
        adding = Adding(door, collection, paths, embedder, settings)
        tally = adding.add()
        click.echo(tally.tell())
        while watch:
            time.sleep(_WATCH_SECONDS)
            again = adding.look_again()
            if again.changed:
                click.echo(again.tell())
    return 1 if tally.failed else 0


@command.command("list")
@click.option("--all", "hidden", is_flag=True, help="Also the collections of models.")
@_JSON
def list_command(hidden: bool, as_json: bool) -> None:
    """List the collections."""
    from dimora.tasks.list_collections import CollectionsFound, ListCollections

    with door_here() as door:
        found = ask_one(door, ListCollections(hidden=hidden), CollectionsFound).collections
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each.name,
            str(each.documents),
            str(each.failed),
            str(each.chunks),
            size_words(each.size_bytes),
            each.embedder,
            age_words(each.changed_at),
        )
        for each in found
    ]
    heads = ("NAME", "DOCUMENTS", "FAILED", "PASSAGES", "SIZE", "EMBEDDER", "CHANGED")
    print_table(heads, rows, least=("EMBEDDER", "SIZE", "CHANGED"))


@command.command("search")
@click.argument("question", nargs=-1, required=True)
@_narrowing
@click.option("--around", default=0, help="Passages before and after each.")
@_JSON
def search_command(question: Sequence[str], around: int, as_json: bool, **narrow: Any) -> int:
    """Find passages, by meaning and by word."""
    from dimora.cli.knowing import show_passage
    from dimora.tasks.search_documents import PassagesFound, SearchDocuments

    request = SearchDocuments(question=" ".join(question), neighbours=around, **_narrowed(**narrow))
    with door_here() as door:
        found = ask_one(door, request, PassagesFound)
    if as_json:
        print_json(found)
        return 0
    if not found.is_enough:
        near = " These are the nearest:\n" if found.passages else ""
        click.echo(f"There seems to be nothing about this.{near}", err=True)
    texts = found.around or ("",) * len(found.passages)
    for number, (passage, text) in enumerate(zip(found.passages, texts, strict=True), 1):
        show_passage(number, passage, text)
    return 0


@command.command("ask")
@click.argument("question", nargs=-1, required=True)
@click.option("--model", help="Which model answers.")
@_narrowing
@_JSON
def ask_command(question: Sequence[str], model: str | None, as_json: bool, **narrow: Any) -> int:
    """Answer a question from the documents, with the passages the answer stands on."""
    from dimora.cli.writing import write_answer
    from dimora.tasks.ask_documents import AskDocuments
    from dimora.tasks.generation import Fold

    settings = settings_here()
    asked = " ".join(question)
    with door_here(settings) as door:
        name = model or settings.default_model
        pull_if_missing(door, name)
        request = AskDocuments(model=name, question=asked, **_narrowed(**narrow))
        with closing(door.ask(request)) as events:
            if as_json:
                print_json(_answer_of(Fold.of(list(events))))
                return 0
            fold = write_answer(events)
    if not fold.ended:
        return 130
    show_sources(fold.citations)
    for warning in fold.done.warnings:
        click.echo(f"Warning: {warning}", err=True)
    return 0


def _answer_of(fold: Fold) -> dict[str, Any]:
    return {
        "answer": fold.text,
        "found": fold.done.reason != "nothing_found",
        "citations": fold.citations,
        "usage": fold.done.usage,
    }


@command.command("status")
@_COLLECTION
@_JSON
def status_command(collection: str, as_json: bool) -> None:
    """Tell which documents a collection has, and which could not be read and why."""
    from dimora.tasks.show_collection import CollectionTold, ShowCollection

    with door_here() as door:
        told = ask_one(door, ShowCollection(collection=collection), CollectionTold)
    if as_json:
        print_json(told)
        return
    one = told.collection
    click.echo(f"{one.name}: {one.documents} documents, {one.chunks} passages, by {one.embedder}")
    for folder in one.folders:
        click.echo(f"  from {harmless(folder)}")
    read = [each for each in told.documents if not each.error]
    if read:
        rows = [
            (
                harmless(each.name),
                str(each.pages or "-"),
                str(each.chunks),
                each.language or "-",
                size_words(each.size_bytes),
            )
            for each in read[:_MANY]
        ]
        print_table(("DOCUMENT", "PAGES", "PASSAGES", "LANGUAGE", "SIZE"), rows, least=("SIZE",))
    if len(read) > _MANY:
        click.echo(f"and {len(read) - _MANY} more; --json has them all")
    for each in told.documents:
        if each.error:
            click.echo(harmless(f"not read: {each.name}: {each.error}"))
        for warning in each.warnings:
            click.echo(harmless(f"{each.name}: {warning}"))


@command.command("remove")
@click.argument("documents", nargs=-1)
@_COLLECTION
@click.option("--all", "everything", is_flag=True, help="The whole collection.")
def remove_command(documents: tuple[str, ...], collection: str, everything: bool) -> None:
    """Remove documents, by name or id.

    `NAME/` removes all documents of a folder; without a server, an `add` that names no folder does
    not read it again.
    """
    from dimora.cli.knowing import Tally
    from dimora.core.types import Done
    from dimora.tasks.delete_collection import DeleteCollection
    from dimora.tasks.remove_documents import RemoveDocuments

    if everything == bool(documents):
        raise BadRequest("name documents, or the whole collection with --all")
    with door_here() as door:
        if everything:
            ask_quietly(door, DeleteCollection(collection=collection))
            click.echo(f"removed {collection}")
            return
        tally = Tally()
        request = RemoveDocuments(collection=collection, documents=documents)
        with closing(door.ask(request)) as events:
            for event in tally.hear(events):
                for warning in event.warnings if isinstance(event, Done) else ():
                    click.echo(f"Warning: {warning}", err=True)
    click.echo(tally.tell())


@command.command("export")
@_COLLECTION
@click.option("--out", type=click.File("w", encoding="utf-8"), default="-", help="A file.")
def export_command(collection: str, out: Any) -> None:
    """Write everything that is known of the documents, as JSON lines."""
    import msgspec

    from dimora.tasks.export_collection import ExportCollection, Exported

    with door_here() as door, closing(door.ask(ExportCollection(collection=collection))) as events:
        for event in events:
            if isinstance(event, Exported):
                told = {"document": event.document} if event.document else {"piece": event.piece}
                out.write(msgspec.json.encode(told).decode() + "\n")


def _narrowed(
    collections: Sequence[str],
    documents: Sequence[str],
    types: Sequence[str],
    languages: Sequence[str],
    since: str,
    **more: Any,
) -> dict[str, Any]:
    from dimora.tasks.knowing import Filters

    return {
        "collections": tuple(collections),
        "filters": Filters(
            documents=tuple(documents),
            media_types=tuple(_media_types(types)),
            languages=tuple(languages),
            modified_after=_moment(since),
        ),
        **more,
    }


def _media_types(types: Sequence[str]) -> list[str]:
    """What the endings of files, such as `pdf`, are called. Raises NotFound."""
    from dimora.documents import SHELF

    found: list[str] = []
    for asked in types:
        kinds = [
            module.MEDIA_TYPES
            for name, module in SHELF.all().items()
            if asked.lower() == name or f".{asked.lower().lstrip('.')}" in module.ENDINGS
        ]
        if not kinds and "/" not in asked:
            raise NotFound(f"no type of document is called {asked!r}")
        found += [each for kind in kinds for each in kind] or [asked]
    return found


def _moment(since: str) -> float:
    if not since:
        return 0.0
    try:
        return datetime.datetime.fromisoformat(since).astimezone().timestamp()
    except ValueError:
        raise BadRequest("--since is a day, as 2026-01-31", param="since") from None
