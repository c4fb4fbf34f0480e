"""Carry models in one signed file, without a network."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import click

from dimora.cli.asking import ask_one, door_here, show_progress
from dimora.cli.door import Door
from dimora.cli.words import print_json, print_table, size_words
from dimora.tasks.keeping import BundledModel, BundleTold

_TRUST = "Whose key must have signed it, as `dimora bundle key` prints it there."
_STATES = {"new": "new", "here": "here already", "other": "another of this name is here"}
_DONE = {"new": "imported", "here": "here already", "other": "replaced"}


@click.group()
def command() -> None:
    """Carry models in one signed file, for machines no network connects.

    A bundle is an uncompressed tar file: an OCI image layout with a signature (Ed25519). A house
    takes in what its own key signed, and keys it was told to trust.
    """


@command.command(name="export")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Write over FILE if it is there.")
def export_command(names: tuple[str, ...], file: Path, replace: bool) -> None:
    """Write models and everything that belongs to them into FILE."""
    from dimora.tasks.export_bundle import ExportBundle

    request = ExportBundle(names=names, path=str(file.absolute()), replace=replace)
    with door_here(here=True) as door, closing(door.ask(request)) as events:
        show_progress(events)


@command.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Replace other models of the same names.")
@click.option("--trust", metavar="FINGERPRINT", default="", help=_TRUST)
@click.option("--remember", is_flag=True, help="Trust that key from now on.")
def import_command(file: Path, replace: bool, trust: str, remember: bool) -> None:
    """Check FILE and take its models into the store."""
    from dimora.core.types import Event
    from dimora.tasks.import_bundle import ImportBundle, ModelImported

    if remember and not trust:
        raise click.UsageError("--remember goes with --trust FINGERPRINT")
    path = str(file.absolute())
    imported: list[BundledModel] = []

    def note(event: Event) -> Event:
        if isinstance(event, ModelImported):
            imported.append(event.model)
        return event

    with door_here(here=True) as door:
        replace = replace or _may_replace(door, path)
        request = ImportBundle(path=path, replace=replace, trust=trust, remember=remember)
        with closing(door.ask(request)) as events:
            show_progress(note(event) for event in events)
    for model in imported:
        click.echo(f"{model.name}: {_DONE[model.state]}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(file: Path, as_json: bool) -> None:
    """Tell what is in FILE, and who signed it."""
    with door_here(here=True) as door:
        told = _told(door, str(file.absolute()))
    if as_json:
        print_json(told)
        return
    rows = [
        (m.name, m.digest[:12], size_words(m.size_bytes), _STATES[m.state]) for m in told.models
    ]
    print_table(("NAME", "ID", "SIZE", "HERE"), rows)
    known = "a trusted key" if told.trusted else "a key this house does not know"
    click.echo(f"\nsigned with {known}\n{told.fingerprint}")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def key(as_json: bool) -> None:
    """Print the public key this house signs with, for the `trusted_keys` of others."""
    from dimora.tasks.show_bundle_key import BundleKeyShown, ShowBundleKey

    with door_here(here=True) as door:
        told = ask_one(door, ShowBundleKey(), BundleKeyShown).key
    if as_json:
        print_json(told)
        return
    click.echo(told.public_key)
    click.echo(f"fingerprint {told.fingerprint}", err=True)


def _told(door: Door, path: str) -> BundleTold:
    from dimora.tasks.show_bundle import BundleShown, ShowBundle

    return ask_one(door, ShowBundle(path=path), BundleShown).bundle


def _may_replace(door: Door, path: str) -> bool:
    """Asks the person, if there is one and something to ask."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    others = [model.name for model in _told(door, path).models if model.state == "other"]
    if not others:
        return False
    question = f"Replace the models of these names? {', '.join(others)}"
    return click.confirm(question, err=True, abort=True)
