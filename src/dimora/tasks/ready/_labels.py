"""How likely a model finds each of a few labels, from the log-probabilities of its tokens.

Not a task itself.

The grammar lets the model write one of the labels that are left, the likeliest is taken away, and
so on until none is left. What an engine calls a token's probability is one of two things: its
share among all tokens, or among those the grammar allows. The last label tells which: alone among
the allowed ones it is certain, while among all tokens the least likely of several is never above
one half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from dimora.core.errors import BadRequest
from dimora.tasks.base import Loan, Token
from dimora.tasks.ready._desk import Desk, quoted
from dimora.tasks.ready._parts import split_text

LABELS_AT_MOST = 26
_ALONE = math.log(0.75)
# What is left when labels take nearly everything; so that no logarithm is of zero.
_LEAST = 1e-9
# What a text without content is, to see what the model leans to.
_NOTHING = "..."


class Likelihood(msgspec.Struct, frozen=True):
    """One label and the model's probability for it, all labels of a text adding up to 1."""

    label: str
    probability: float


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels without blanks around them. Raises BadRequest for too few, too many, twice."""
    names = tuple(label.strip() for label in labels)
    if len(names) < 2 or not all(names):
        raise BadRequest("two labels at least are needed, none of them empty", param="labels")
    if len(names) > LABELS_AT_MOST:
        raise BadRequest(f"{LABELS_AT_MOST} labels are the most", param="labels")
    if len({name.casefold() for name in names}) < len(names):
        raise BadRequest("two labels are the same", param="labels")
    return names


async def judge(
    desk: Desk, words: Mapping[str, str], text: str, labels: tuple[str, ...], *, calibrate: bool
) -> dict[str, float]:
    """The probability of each label for a text, or for its beginning, with a warning.

    `words` are `system`, with a place for {labels}, and `ask`.
    """
    shown = await told_apart(labels, desk.loan)
    listed = ", ".join(f'"{each}"' for each in shown)
    system = words["system"].format(labels=listed)
    room = await desk.room_for_text(system, words["ask"], 64)
    parts = await split_text(text, room, desk.count)
    if len(parts) > 1:
        desk.warnings.append("only the beginning of the text was judged: it is too long")
    found = await weigh_labels(desk, system, f"{quoted(parts[0])}\n\n{words['ask']}", shown)
    if calibrate:
        question = f"{quoted(_NOTHING)}\n\n{words['ask']}"
        found = corrected(found, await weigh_labels(desk, system, question, shown))
    return {label: found[each] for label, each in zip(labels, shown, strict=True)}


async def told_apart(labels: Sequence[str], loan: Loan) -> tuple[str, ...]:
    """The labels; with a letter before each where one begins with a token that another might.

    A model that is kept from `neutral` would else begin `negative` with the token `ne`, which it
    finds likely only because of the other. Letters are a last resort: small models like the first
    ones and the last one for their places.
    """
    written = [f'"{label}"' for label in labels]
    for one, text in enumerate(written):
        begun = await _beginning(text, loan)
        if any(other.startswith(begun) for at, other in enumerate(written) if at != one):
            return tuple(f"{chr(ord('A') + at)} {label}" for at, label in enumerate(labels))
    return tuple(labels)


async def _beginning(written: str, loan: Loan) -> str:
    """A label in quotes up to the end of the first token that has some of it."""
    tokens = await loan.tokenize(written, add_special=False)
    begun = ""
    for count in range(1, len(tokens) + 1):
        begun = (await loan.detokenize(tokens[:count])).strip()
        if len(begun) > 1:
            break
    return begun


async def weigh_labels(
    desk: Desk, system: str, question: str, labels: Sequence[str]
) -> dict[str, float]:
    """The probability of each label as an answer to the question, in the order given."""
    left = list(labels)
    picked: list[tuple[str, float]] = []
    while left:
        if len(left) == 1 and desk.tells_allowed_shares:
            # Alone among the allowed ones it is certain: nobody needs to ask.
            picked.append((left[0], 0.0))
            break
        schema = {"enum": left}
        answer = await desk.ask(system, question, schema, most_tokens=48, logprobs=True)
        picked.append((answer.value, logprob_of(answer.tokens)))
        left.remove(answer.value)
    desk.tells_allowed_shares = picked[-1][1] > _ALONE
    shares = shares_of([logprob for _, logprob in picked])
    found = {label: share for (label, _), share in zip(picked, shares, strict=True)}
    return {label: found[label] for label in labels}


def logprob_of(tokens: Sequence[Token]) -> float:
    """Of all tokens together, up to the end of the label."""
    return sum(t.logprob for t in tokens if t.logprob is not None and t.text)


def shares_of(logprobs: Sequence[float]) -> list[float]:
    """Probabilities of labels that were picked in this order, each with its log-probability."""
    if logprobs[-1] > _ALONE:
        remaining, shares = 1.0, []
        for logprob in logprobs[:-1]:
            shares.append(remaining * math.exp(min(logprob, 0.0)))
            remaining = max(remaining - shares[-1], _LEAST)
        shares.append(remaining)
    else:
        most = max(logprobs)
        shares = [math.exp(logprob - most) for logprob in logprobs]
    total = sum(shares)
    return [share / total for share in shares]


def corrected(found: dict[str, float], unprompted: dict[str, float]) -> dict[str, float]:
    """Probabilities with the model's habit taken out: what it says of no text at all counts for
    nothing. After Zhao et al. 2021, Calibrate Before Use."""
    raw = {label: p / max(unprompted[label], 1e-6) for label, p in found.items()}
    total = sum(raw.values()) or 1.0
    return {label: value / total for label, value in raw.items()}


def ranked(found: dict[str, float]) -> tuple[Likelihood, ...]:
    """Likeliest first, to four digits."""
    order = sorted(found.items(), key=lambda item: -item[1])
    return tuple(Likelihood(label, round(share, 4)) for label, share in order)
