"""Tell what differs between two versions of a contract or another text."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from dimora.core.languages import Language, detect_language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Desk, quoted, require_text
from dimora.tasks.ready._faithful import Unsupported, find_unsupported
from dimora.tasks.ready._labels import weigh_labels
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

Kind = Literal["added", "removed", "changed"]
Risk = Literal["low", "medium", "high"]

# Two clauses that share so much of their words are one clause that was changed.
_ALIKE = 0.5
# Of longer texts a clause is looked for near its place alone, and told by words shared.
_PAIRS_AT_MOST = 50_000
_STEPS_AT_MOST = 20_000_000
_WORDS_COMPARED = 500
# Asked for one of three words, a small model calls every risk low; yes or no it can tell.
_HIGH, _MEDIUM = 0.6, 0.45
_EXPLAIN_TOKENS = 110
_CLAUSE_CHARACTERS = 4000


class Compare(ReadyRequest, frozen=True, kw_only=True, tag="compare"):
    """Clauses are paired and compared without a model, so that no difference is missed or made up;
    the model then says in a sentence what a difference means, and how risky it is for `party`.
    """

    text: Annotated[str, Meta(description="The old version.")]
    other: Annotated[str, Meta(description="The new version.")]
    party: Annotated[str, Meta(description="Whose risk is judged, such as: the tenant.")] = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`risk_probability` is how likely the change costs the party money, adds a duty or takes a
    right away; `risk` is high from 0.6, medium from 0.45. `meaning` is the model's, and
    `unsupported` names and numbers in it that neither version has."""

    kind: Kind
    before: str = ""
    after: str = ""
    meaning: str = ""
    risk: Risk
    risk_probability: float
    unsupported: tuple[Unsupported, ...] = ()


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """`verdict` counts the differences; `same` is how many clauses are as they were."""

    differences: tuple[Difference, ...]
    verdict: str
    same: int


RESULT = Compared
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Confronti due versioni di un contratto. Spieghi in una frase breve, in italiano,"
        " senza aggiungere nulla.",
        "changed": "Prima:\n{before}\nDopo:\n{after}\nChe cosa cambia?",
        "added": "Clausola nuova:\n{after}\nChe cosa comporta?",
        "removed": "Clausola tolta:\n{before}\nChe cosa comporta toglierla?",
        "judge": 'Giudichi le modifiche a un contratto. Rispondi in JSON con "sì" o "no", tra'
        " virgolette.",
        "risk": "Questa modifica costa denaro a {party}, gli dà un nuovo obbligo o gli toglie un"
        " diritto?",
        "anybody": "una delle parti",
        "yes": "sì",
        "no": "no",
        "verdict": "{added} aggiunte, {removed} tolte, {changed} cambiate",
    },
    "es": {
        "system": "Comparas dos versiones de un contrato. Explicas en una frase breve, en español,"
        " sin añadir nada.",
        "changed": "Antes:\n{before}\nDespués:\n{after}\n¿Qué cambia?",
        "added": "Cláusula nueva:\n{after}\n¿Qué supone?",
        "removed": "Cláusula quitada:\n{before}\n¿Qué supone quitarla?",
        "judge": 'Juzgas los cambios de un contrato. Responde en JSON con "sí" o "no", entre'
        " comillas.",
        "risk": "¿Este cambio cuesta dinero a {party}, le da una nueva obligación o le quita un"
        " derecho?",
        "anybody": "una de las partes",
        "yes": "sí",
        "no": "no",
        "verdict": "{added} añadidas, {removed} quitadas, {changed} cambiadas",
    },
    "en": {
        "system": "You compare two versions of a contract. You explain in one short sentence and"
        " add nothing.",
        "changed": "Before:\n{before}\nAfter:\n{after}\nWhat changes?",
        "added": "New clause:\n{after}\nWhat does it mean?",
        "removed": "Removed clause:\n{before}\nWhat does its removal mean?",
        "judge": 'You judge changes to a contract. Answer in JSON with "yes" or "no", in quotes.',
        "risk": "Does this change cost {party} money, add a new duty or take a right away?",
        "anybody": "one of the parties",
        "yes": "yes",
        "no": "no",
        "verdict": "{added} added, {removed} removed, {changed} changed",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "text": "1. The rent is 800 euros a month.\n\n2. Either party may end the contract with three"
    " months' notice.\n\n3. Pets are allowed.",
    "other": "1. The rent is 950 euros a month.\n\n2. Either party may end the contract with three"
    " months' notice.\n\n3. The tenant pays for all repairs.",
    "party": "the tenant",
}


class Change(msgspec.Struct, frozen=True):
    """One difference as it stands in the texts."""

    kind: Kind
    before: str = ""
    after: str = ""


def clauses_of(text: str) -> list[str]:
    """Paragraphs and numbered lines, their white space made one blank."""
    blocks = re.split(r"\n[ \t\r]*\n|\n(?=[ \t]*(?:\d+(?:\.\d+)*[.)]|[-*•]|Art\.?)\s)", text)
    return [" ".join(block.split()) for block in blocks if block.strip()]


class _Clause(NamedTuple):
    """A clause, and what of it is compared: without its number or mark, in small letters."""

    text: str
    bare: str


def find_changes(before: str, after: str) -> tuple[list[Change], int]:
    """The differences in the order of the new text, and how many clauses are the same. A clause
    that only got another number or place is the same; one that is much like a removed one is
    changed."""
    old, new = _bared(clauses_of(before)), _bared(clauses_of(after))
    left = Counter(c.bare for c in old) & Counter(c.bare for c in new)
    same = left.total()
    return _paired(_without(old, left.copy()), _without(new, left)), same


def _without(clauses: list[_Clause], taken: Counter[str]) -> list[_Clause]:
    """The clauses less as many of each as are taken; counts those down."""
    kept = []
    for clause in clauses:
        if taken[clause.bare] > 0:
            taken[clause.bare] -= 1
        else:
            kept.append(clause)
    return kept


_MARK = re.compile(r"(?:(?:\d{1,3}|\d+(?:\.\d+)+)[.)]|[-*•]|Art\.?\s*\d+\.?)\s+")
_NUMBER = re.compile(r"(\d{1,3}(?:\.[1-9]\d{0,2})+)\s+")


def _bared(clauses: list[str]) -> list[_Clause]:
    """A number without a mark behind it is a clause's only where the clauses around go on counting
    from it: `1.500 euro` and `30 days` are what a clause says."""
    numbers = {at: _parts(found[1]) for at, c in enumerate(clauses) if (found := _NUMBER.match(c))}
    counting: set[int] = set()
    for one, other in pairwise(numbers):
        if _goes_on(numbers[one], numbers[other]):
            counting |= {one, other}
    bared = []
    for at, clause in enumerate(clauses):
        found = _NUMBER.match(clause) if at in counting else _MARK.match(clause)
        bared.append(_Clause(clause, clause[found.end() if found else 0 :].casefold()))
    return bared


def _parts(number: str) -> list[int]:
    return [int(part) for part in number.split(".")]


def _goes_on(one: list[int], other: list[int]) -> bool:
    """Whether clauses are counted so: 1.2 and then 1.3, 1.2.1 or 2.1."""
    pairs = enumerate(zip(one, other, strict=False))
    at = next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
    if at == len(other):
        return False
    before = one[at] if at < len(one) else 0
    return other[at] == before + 1 and all(n == 1 for n in other[at + 1 :])


def _paired(old: list[_Clause], new: list[_Clause]) -> list[Change]:
    likeness = _Likeness()
    left = {n: _counted(clause) for n, clause in enumerate(old)}
    reach = max(1, _PAIRS_AT_MOST // max(1, len(new)) // 2)
    found = []
    for at, clause in enumerate(new):
        words = _counted(clause)
        place = at * len(old) // len(new)
        near = range(max(0, place - reach), min(len(old), place + reach + 1))
        best = likeness.nearest(words, {n: left[n] for n in near if n in left})
        if best is None:
            found.append(Change("added", "", clause.text))
        else:
            del left[best]
            found.append(Change("changed", old[best].text, clause.text))
    return [*found, *(Change("removed", old[n].text, "") for n in left)]


class _Words(NamedTuple):
    words: list[str]
    counts: Counter[str]


def _counted(clause: _Clause) -> _Words:
    words = clause.bare.split()[:_WORDS_COMPARED]
    return _Words(words, Counter(words))


class _Likeness:
    """Compares the order of words too, as long as that does not take too many steps."""

    def __init__(self) -> None:
        self._steps_left = _STEPS_AT_MOST

    def nearest(self, clause: _Words, others: Mapping[int, _Words]) -> int | None:
        """Which of the others is most like the clause; None where none is enough."""
        # No order of words makes two clauses more alike than the words they share.
        shared = {n: _shared(clause, other) for n, other in others.items()}
        best, most = None, 0.0
        for n in sorted(shared, key=lambda n: -shared[n]):
            if shared[n] < _ALIKE or shared[n] <= most:
                break
            like = self._likeness(others[n].words, clause.words, shared[n])
            if like >= _ALIKE and like > most:
                best, most = n, like
        return best

    def _likeness(self, one: Sequence[str], other: Sequence[str], shared: float) -> float:
        self._steps_left -= len(one) * len(other)
        if self._steps_left < 0:
            return shared
        return difflib.SequenceMatcher(None, one, other).ratio()


def _shared(one: _Words, other: _Words) -> float:
    fewer, more = sorted((one.counts, other.counts), key=len)
    both = sum(min(count, more.get(word, 0)) for word, count in fewer.items())
    return 2 * both / max(1, len(one.words) + len(other.words))


async def run(request: Compare, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress for each difference, one Answered, then Done."""
    require_text(request.text)
    require_text(request.other, "other")
    language = request.language or detect_language(request.other)
    words = WORDS[language]
    changes, same = await asyncio.to_thread(find_changes, request.text, request.other)
    found: list[Difference] = []
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        for at, change in enumerate(changes, 1):
            yield Progress(status=f"judging difference {at} of {len(changes)}")
            found.append(await _judge(desk, words, change, request.party.strip()))
        counts = {k: sum(c.kind == k for c in changes) for k in ("added", "removed", "changed")}
        result = Compared(
            verdict=words["verdict"].format(**counts), differences=tuple(found), same=same
        )
    yield answered(result, language)
    yield desk.done()


async def _judge(desk: Desk, words: Mapping[str, str], change: Change, party: str) -> Difference:
    if max(len(change.before), len(change.after)) > _CLAUSE_CHARACTERS:
        desk.warnings.append(
            f"a clause has more than {_CLAUSE_CHARACTERS} characters: its beginning was judged"
        )
    shown = words[change.kind].format(
        before=quoted(change.before[:_CLAUSE_CHARACTERS]),
        after=quoted(change.after[:_CLAUSE_CHARACTERS]),
    )
    told = await desk.write(words["system"], shown, most_tokens=_EXPLAIN_TOKENS)
    asked = f"{shown}\n{words['risk'].format(party=party or words['anybody'])}"
    shares = await weigh_labels(desk, words["judge"], asked, [words["yes"], words["no"]])
    share = round(shares[words["yes"]], 4)
    meaning = told.text.strip()
    return Difference(
        kind=change.kind,
        before=change.before,
        after=change.after,
        meaning=meaning,
        risk="high" if share >= _HIGH else "medium" if share >= _MEDIUM else "low",
        risk_probability=share,
        unsupported=find_unsupported(meaning, f"{change.before} {change.after} {party}"),
    )
