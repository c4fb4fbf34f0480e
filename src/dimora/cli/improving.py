"""Makes another form of a model, shows what it cost, and replaces nothing worse without asking."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import msgspec

from dimora.cli.asking import ask_quietly, door_here, settings_here, show_progress
from dimora.cli.door import Door
from dimora.cli.words import print_json, print_table, size_words
from dimora.core.errors import BadRequest, Conflict, NotFound
from dimora.core.types import Event, Request
from dimora.models.names import is_file_name
from dimora.tasks.card import Bounds, Card
from dimora.tasks.compare_models import CardMade, CompareModels
from dimora.tasks.copy_model import CopyModel
from dimora.tasks.delete_model import DeleteModel
from dimora.tasks.show_model import ShowModel

_TEXT_LIMIT_BYTES = 1 << 20
_CANDIDATE = "-candidate"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What every such command is told beside what to make."""

    source: str
    name: str
    text: Path | None = None
    yes: bool = False
    as_json: bool = False


def improve(wish: Wish, request_for: Callable[[str], Request]) -> int:
    """Run the request that makes the model of a name, measure it, show the card. Exit status."""
    settings = settings_here()
    _require_name(wish.source)
    bounds = Bounds(perplexity_rise=settings.perplexity_rise, top_agreement=settings.top_agreement)
    text = _read_text(wish.text)
    with door_here(settings) as door:
        replaces = _exists(door, wish.name)
        work = f"{_tagged(wish.name)}{_CANDIDATE}" if replaces else wish.name
        with closing(door.ask(request_for(work))) as events:
            for warning in show_progress(events):
                click.echo(f"note: {warning}", err=True)
        title = wish.text.name if wish.text else ""
        compare = CompareModels(model=work, source=wish.source, text=text, title=title)
        card = _compare(door, compare)
        complaints = card.complaints(bounds)
        if wish.as_json:
            print_json({"model": work, "card": card, "complaints": complaints})
        else:
            _tell(card, complaints)
        if not replaces:
            click.echo(f"made '{wish.name}'", err=True)
            return 0
        if not card.positions:
            complaints = ["how well it predicts was not measured"]
        return _replace(door, wish, work, complaints)


def _replace(door: Door, wish: Wish, work: str, complaints: list[str]) -> int:
    if complaints and not wish.yes:
        question = f"Replace '{wish.name}' all the same?"
        if not sys.stdin.isatty():
            raise Conflict(
                f"'{wish.name}' was not replaced: {'; '.join(complaints)}",
                hint=f"the result is kept as '{work}'; --yes replaces without asking",
            )
        if not click.confirm(question, err=True):
            click.echo(f"kept as '{work}'; '{wish.name}' is as it was", err=True)
            return 1
    ask_quietly(door, CopyModel(model=work, destination=wish.name))
    ask_quietly(door, DeleteModel(model=work))
    click.echo(f"replaced '{wish.name}'", err=True)
    return 0


def _require_name(source: str) -> None:
    """Raises BadRequest for a path: only what is in the store is made into something else."""
    if is_file_name(source):
        raise BadRequest(
            f"{source!r} is no model of the store yet",
            hint=f"echo FROM {source} | dimora create NAME -f -",
        )


def _compare(door: Door, request: CompareModels) -> Card:
    made: list[Card] = []
    with closing(door.ask(request)) as events:
        show_progress(event for event in events if not _is_card(event, made))
    return made[0]


def _is_card(event: Event, made: list[Card]) -> bool:
    if isinstance(event, CardMade):
        made.append(event.card)
        return True
    return False


def _exists(door: Door, name: str) -> bool:
    try:
        ask_quietly(door, ShowModel(model=name))
    except NotFound:
        return False
    return True


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _read_text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        if path.stat().st_size > _TEXT_LIMIT_BYTES:
            raise BadRequest(f"{path.name!r} is larger than 1 MB", hint="a few pages are enough")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as why:
        raise BadRequest(
            f"{path.name!r} cannot be read as text", hint="it must be a file of UTF-8 text"
        ) from why


def _tell(card: Card, complaints: list[str]) -> None:
    sides = (card.before, card.after)
    rows = [
        ("", *(side.name for side in sides)),
        ("form", *(f"{side.format} {side.quantization}".strip() for side in sides)),
        ("size", *(size_words(side.size_bytes) for side in sides)),
        ("perplexity", *(_number(side.perplexity, 2) for side in sides)),
        ("engine", *(side.engine or "-" for side in sides)),
        ("prompt tokens/s", *(_number(side.prompt_tokens_per_second, 0) for side in sides)),
        ("output tokens/s", *(_number(side.output_tokens_per_second, 1) for side in sides)),
    ]
    print_table(rows[0], rows[1:])
    if card.top_agreement is not None and card.kl_divergence is not None:
        click.echo(
            f"\nThe likeliest word stayed the same at {card.top_agreement:.1%} of"
            f" {card.positions} places of {card.text};\nKL divergence {card.kl_divergence:.4f}."
        )
    for note in card.notes:
        click.echo(f"Note: {note}")
    for complaint in complaints:
        click.echo(f"Worse than you allow: {complaint}.")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def card_rows(card: Card) -> list[tuple[str, str]]:
    """The card as `show` tells it."""

    def change(field: str, digits: int) -> str:
        before, after = getattr(card.before, field), getattr(card.after, field)
        return f"{_number(before, digits)} -> {_number(after, digits)}"

    sizes = [size_words(side.size_bytes) for side in (card.before, card.after)]
    rows = [("made of", card.before.name), ("size", " -> ".join(sizes))]
    rows.append(("perplexity", change("perplexity", 2)))
    if card.top_agreement is not None and card.kl_divergence is not None:
        rows.append(("same likeliest word", f"{card.top_agreement:.1%}"))
        rows.append(("KL divergence", f"{card.kl_divergence:.4f}"))
    rows.append(("output tokens/s", change("output_tokens_per_second", 1)))
    return rows


def name_beside(source: str, ending: str) -> str:
    """`smollm2:135m` with `q4_k_m` becomes `smollm2:135m-q4_k_m`, `mine` becomes `mine:q4_k_m`."""
    name, _, tag = _tagged(source).rpartition(":")
    return f"{name}:{ending}" if tag == "latest" else f"{name}:{tag}-{ending}"
