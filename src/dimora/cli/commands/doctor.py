"""Look whether all is in order."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing

import click

from dimora.cli.asking import door_here
from dimora.cli.door import who_answers
from dimora.cli.words import dim, harmless, print_json, wants_colour
from dimora.core.addresses import Address
from dimora.core.settings import load_settings
from dimora.tasks.examine_house import Examined, ExamineHouse
from dimora.tasks.finding import Finding, Verdict

_WORDS: dict[Verdict, str] = {"right": "ok", "note": "note", "wrong": "WRONG"}
_COLOURS = {"right": "32", "note": "33", "wrong": "31;1"}
_FIRST, _SECOND, _WIDEST = 6, 18, 110


@click.command()
@click.option("--reach", is_flag=True, help="Also ask every host models may come from.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(reach: bool, as_json: bool) -> int:
    """Look whether all is in order here, and by which way models would come.

    Looks at this machine and at the settings of whoever calls it, also beside a running server. No
    place outside is asked, but with --reach. Exits with 1 when something is wrong.
    """
    settings, sources = load_settings({})
    found: list[Finding] = []
    for finding in _findings(reach, settings.host):
        found.append(finding)
        if not as_json:
            _print(finding, sources)
    wrong = sum(finding.verdict == "wrong" for finding in found)
    if as_json:
        print_json(found)
    else:
        click.echo(f"{wrong} wrong" if wrong else "all in order")
    return 1 if wrong else 0


def _findings(reach: bool, address: Address) -> Iterator[Finding]:
    with door_here(here=True) as door, closing(door.ask(ExamineHouse(reach=reach))) as events:
        for event in events:
            if isinstance(event, Examined):
                yield event.finding
    yield _server(who_answers(address))


def _server(answering: str) -> Finding:
    if not answering:
        return Finding(what="server", says="not running; commands work without one")
    if answering.startswith("dimora/"):
        return Finding(what="server", says=f"running, {harmless(answering[:80])}")
    return Finding(
        what="server",
        says="another program answers there",
        verdict="note",
        hint="end it, or choose another port with DIMORA_HOST",
        setting="host",
    )


def _print(finding: Finding, sources: dict[str, str]) -> None:
    source = sources.get(finding.setting, "default")
    told = harmless(finding.says)
    if source != "default":
        told += f" ({finding.setting}, from {source})"
    word = _WORDS[finding.verdict].ljust(_FIRST)
    if wants_colour(sys.stdout):
        word = f"\x1b[{_COLOURS[finding.verdict]}m{word}\x1b[0m"
    width = min(shutil.get_terminal_size().columns, _WIDEST) if sys.stdout.isatty() else 10**6
    indent = " " * (_FIRST + _SECOND)
    name = finding.what.ljust(_SECOND)
    rest = textwrap.wrap(
        told, max(width - len(indent), 30), break_long_words=False, break_on_hyphens=False
    )
    if len(finding.what) >= _SECOND:
        click.echo(f"{word}{finding.what}")
        click.echo(indent + rest[0])
    else:
        click.echo(f"{word}{name}{rest[0]}")
    for line in rest[1:]:
        click.echo(indent + line)
    if finding.hint:
        click.echo(dim(f"{indent}{harmless(finding.hint)}", sys.stdout))
