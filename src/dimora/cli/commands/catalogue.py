"""List good models that can be fetched, and their terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dimora.cli.asking import ask_one, door_here
from dimora.cli.words import print_json, print_table, size_words
from dimora.tasks.advice import Advice, ModelType, SizeClass
from dimora.tasks.list_catalogue import CatalogueFound, ListCatalogue

_LANGUAGES = 4
_OPTIONS = (
    click.option(
        "--size", type=click.Choice(["small", "medium", "large"]), help="How many parameters."
    ),
    click.option(
        "--type",
        "kind",
        type=click.Choice(["instruct", "code", "embedding", "vision", "reasoning"]),
        help="What it is for.",
    ),
    click.option("--language", default="", help="A language it knows, such as it."),
    click.option("--licence", default="", help="A piece of its licence's name."),
    click.option("--fits", is_flag=True, help="Only what fits into this machine now."),
    click.option("--json", "as_json", is_flag=True, help="As JSON, with everything known."),
)


def catalogue_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that lists the catalogue."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@catalogue_options
def command(**options: Any) -> None:
    """List good open models that can be fetched, with sizes, languages, licences and sources."""
    show_catalogue(**options)


def show_catalogue(
    *,
    size: SizeClass | None,
    kind: ModelType | None,
    language: str,
    licence: str,
    fits: bool,
    as_json: bool,
) -> None:
    """Print what matches."""
    request = ListCatalogue(size=size, type=kind, language=language, licence=licence, fits=fits)
    with door_here() as door:
        found = ask_one(door, request, CatalogueFound).models
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no model of the catalogue is like that (languages are codes: it, en)", err=True)
        return
    heads = ("NAME", "TYPE", "SIZE", "MEMORY", "FITS", "CONTEXT", "LANGUAGES", "LICENCE", "SOURCE")
    print_table(
        heads, [_row(one) for one in found], least=("SOURCE", "CONTEXT", "LANGUAGES", "TYPE")
    )


def _row(one: Advice) -> tuple[str, ...]:
    about = "~" if one.rounded else ""
    memory = f"~{size_words(one.memory_bytes)}" if one.memory_bytes else "?"
    codes = " ".join(one.languages[:_LANGUAGES])
    more = len(one.languages) - _LANGUAGES
    return (
        f"{one.name} (here)" if one.here else one.name,
        one.type,
        about + size_words(one.size_bytes),
        memory,
        ("yes" if one.fits else "no") if one.memory_bytes else "?",
        str(one.context_length),
        f"{codes} +{more}" if more > 0 else codes,
        one.license,
        one.source,
    )
