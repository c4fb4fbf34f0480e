"""What engines were measured to do, as people read it: a table, bars, and what follows from it."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

import click
import msgspec

from dimora.cli.words import harmless, print_table, size_words
from dimora.tasks.profile import (
    TYPICAL_READ_TOKENS,
    TYPICAL_WRITTEN_TOKENS,
    Benched,
    Figures,
    Profile,
    day_words,
    typical_seconds,
)

_NOTHING = "-"
_WIDEST = 100
_WORK = f"{TYPICAL_READ_TOKENS} tokens read"
_BARS, _PLAIN_BARS = ("█", "░"), ("#", ".")


class _Kind(msgspec.Struct, frozen=True):
    """One kind of work, and the figure that counts for it; 0 where it was not measured."""

    words: str
    figure: Callable[[Figures], float]
    tell: Callable[[float], str]
    more_is_better: bool

    def cost(self, figures: Figures) -> float:
        """Less for who is better at it."""
        figure = self.figure(figures)
        return 1 / figure if self.more_is_better and figure else figure


def print_benched(benched: Benched, asked: str) -> None:
    """`asked` is the model as it was typed."""
    figures = sorted(benched.figures, key=typical_seconds)
    if figures:
        _print_table(benched, figures)
        _print_bars(figures)
        _print_kinds([one for one in figures if one.engine in benched.eligible])
        click.echo()
    for line in _sentences(benched, asked):
        click.echo(_wrapped(line))


def _print_table(benched: Benched, figures: Sequence[Figures]) -> None:
    streams = max(one.streams for one in figures)
    several = f"{streams} AT ONCE" if streams else "AT ONCE"
    heads = ("ENGINE", "LOADS IN", "READS", "READS AGAIN", "WRITES", several, "MEMORY")
    rows = [
        (
            f"{one.engine}*" if one.engine in benched.inexact else one.engine,
            _seconds(one.load_seconds),
            _rate(one.read_rate),
            _seconds(one.again_seconds),
            _rate(one.written_rate),
            _rate(one.together_rate),
            size_words(one.memory_bytes),
        )
        for one in figures
    ]
    print_table(heads, rows, least=("LOADS IN", "READS AGAIN", "MEMORY"))
    click.echo("Rates are tokens per second.")


def _print_bars(figures: Sequence[Figures]) -> None:
    """The typical request of each engine, what it reads and what it writes."""
    dark, light = _BARS if _can_draw() else _PLAIN_BARS
    writes = any(one.writes for one in figures)
    written = f", {TYPICAL_WRITTEN_TOKENS} written {light}" if writes else ""
    click.echo("\n" + _wrapped(f"A typical request: {_WORK} {dark}{written}"))
    known = [one for one in figures if 0 < typical_seconds(one) < float("inf")]
    longest = max(map(typical_seconds, known), default=0.0)
    name_width = max(len(one.engine) for one in figures)
    room = max(_width() - name_width - 12, 10)
    for one in known:
        share = TYPICAL_READ_TOKENS / one.read_rate / longest
        read = round(room * share)
        whole = max(round(room * typical_seconds(one) / longest), 1)
        bar = dark * read + light * max(whole - read, 0)
        click.echo(f"{one.engine.ljust(name_width)}  {bar} {_seconds(typical_seconds(one))}")


def _print_kinds(figures: Sequence[Figures]) -> None:
    """Who would be chosen for which work, and by how much; nothing where there is no choice."""
    rows = []
    for kind in _KINDS:
        order = sorted((one for one in figures if kind.cost(one) > 0), key=kind.cost)
        if len(order) > 1:
            best, second = order[:2]
            ratio = kind.cost(second) / kind.cost(best)
            ours, theirs = (kind.tell(kind.figure(one)) for one in (best, second))
            against = f"{ours} against {theirs} of {second.engine}"
            rows.append((kind.words, best.engine, f"{against} ({ratio:.1f} x)"))
    if rows:
        click.echo()
        print_table(("WORK", "BEST", "WHY"), rows, least=("WHY",))


def _sentences(benched: Benched, asked: str) -> Iterator[str]:
    for one in benched.figures:
        yield from (f"{one.engine}: {note}." for note in one.notes)
    yield from (f"{engine} failed: {why}" for engine, why in sorted(benched.failed.items()))
    yield from (f"{engine} was left out: {why}." for engine, why in sorted(benched.refused.items()))
    for engine, why in sorted(benched.inexact.items()):
        rest = "is not chosen by speed; --inexact lets it"
        if engine in benched.eligible:
            rest = "may be chosen, as asked"
        yield f"* {why}: {engine} {rest}."
    if benched.runs is not None:
        yield f"Now {benched.runs.engine} runs {benched.name}: {benched.runs.reason}."
    yield _outcome(benched, asked)
    if benched.applied and benched.in_memory and benched.would and benched.would != benched.runs:
        yield f"It is in memory; `dimora stop {asked}` makes the next request load it anew."


def _outcome(benched: Benched, asked: str) -> str:
    if benched.not_applied:
        return f"Nothing was applied: {benched.not_applied}."
    if not benched.eligible:
        return "None of these is chosen by itself; an engine can be pinned with PARAMETER engine."
    first = benched.eligible[0]
    if benched.applied:
        told = f"Applied: from now on these figures decide, and choose {first} for its typical"
        told += f" request. `dimora bench {asked} --forget` takes that back."
        return told + (" As long as an engine is pinned they change nothing." * benched.pinned)
    if benched.runs is not None and benched.runs.engine == first:
        return f"These figures would choose {first} too; --apply lets them decide from now on."
    return f"These figures would choose {first}; --apply lets them decide from now on."


def profile_rows(profile: Profile) -> list[tuple[str, str]]:
    """What `show` tells of a measurement that was applied."""
    when = day_words(profile.measured_at)
    holds = f"no longer holds: {profile.stale}" if profile.stale else "decides which engine runs it"
    rows = [(when, holds)]
    for one in sorted(profile.figures, key=typical_seconds):
        parts = [
            f"typical request {_seconds(typical_seconds(one))}",
            f"reads {_rate(one.read_rate)}",
        ]
        parts += [f"writes {_rate(one.written_rate)}"] if one.writes else []
        parts += [f"{one.streams} at once {_rate(one.together_rate)}"] if one.streams else []
        rows.append((one.engine, ", ".join([*parts, size_words(one.memory_bytes)])))
    return rows


def _seconds(seconds: float) -> str:
    if not 0 < seconds < float("inf"):
        return _NOTHING
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _size(size_bytes: float) -> str:
    return size_words(int(size_bytes))


def _rate(rate: float) -> str:
    return _NOTHING if rate <= 0 else f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def _width() -> int:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDEST
    return min(width, _WIDEST)


def _wrapped(line: str) -> str:
    return textwrap.fill(harmless(line), _width(), break_long_words=False, break_on_hyphens=False)


_KINDS = (
    _Kind("a typical request", typical_seconds, _seconds, False),
    _Kind("long texts, short answers", attrgetter("read_rate"), _rate, True),
    _Kind("a known text, a new question", attrgetter("again_seconds"), _seconds, False),
    _Kind("short questions, long answers", attrgetter("written_rate"), _rate, True),
    _Kind("many at once", attrgetter("together_rate"), _rate, True),
    _Kind("a quick start", attrgetter("load_seconds"), _seconds, False),
    _Kind("little memory", attrgetter("memory_bytes"), _size, False),
)


def _can_draw() -> bool:
    try:
        "".join(_BARS).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
