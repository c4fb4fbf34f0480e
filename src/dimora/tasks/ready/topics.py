"""Tell what many texts are about: put them into groups and name each one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dimora.core.errors import BadRequest
from dimora.core.languages import Language, detect_language, is_common_word
from dimora.core.types import Event, Progress
from dimora.tasks import embed
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._clusters import group_vectors
from dimora.tasks.ready._desk import Desk, quoted
from dimora.tasks.ready._faithful import find_unsupported
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

# The square of it is held in memory: 16 MB, twice.
_TEXTS_AT_MOST = 2000
_WORDS_AT_MOST = 6
_SHOWN, _SHOWN_CHARACTERS = 5, 300
_LABEL_TOKENS, _LABEL_CHARACTERS = 24, 60
_EMBEDDED_AT_ONCE = 64


class Topics(ReadyRequest, frozen=True, kw_only=True, tag="topics"):
    """The texts are turned into vectors by the `embedder`, and those that are near each other are a
    group; how many there are is measured, unless `groups` says it. Its words are counted, not
    thought of: those that stand in its texts more than in others. The model only names a group.
    """

    texts: Annotated[tuple[str, ...], Meta(description="What to put in order; two or more.")]
    names: Annotated[tuple[str, ...], Meta(description="What the texts are called.")] = ()
    groups: Annotated[
        int, Meta(description="How many groups there are; 0 for as many as fit.", ge=0, le=50)
    ] = 0
    smallest: Annotated[
        int, Meta(description="Smaller groups are told under `other`.", ge=1, le=1000)
    ] = 2
    embedder: Annotated[str, Meta(description="The model that makes vectors.")] = (
        "multilingual-e5-small"
    )


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """`texts` are names of the group's texts, or their numbers from 1, the most typical first."""

    label: str
    size: int
    words: tuple[str, ...]
    texts: tuple[str, ...]


class TopicsFound(msgspec.Struct, frozen=True, kw_only=True):
    """The largest first. `other` are texts of no group."""

    topics: tuple[Topic, ...]
    other: tuple[str, ...] = ()


RESULT = TopicsFound
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Dai un nome a un gruppo di testi: ciò che hanno in comune, in due o tre parole"
        " italiane. Rispondi solo con il nome.",
        "ask": "Parole frequenti: {words}. Di che cosa parlano questi testi?",
    },
    "es": {
        "system": "Das nombre a un grupo de textos: lo que tienen en común, en dos o tres palabras"
        " españolas. Responde solo con el nombre.",
        "ask": "Palabras frecuentes: {words}. ¿De qué hablan estos textos?",
    },
    "en": {
        "system": "You name a group of texts: what they have in common, in two or three English"
        " words. Answer with the name alone.",
        "ask": "Frequent words: {words}. What are these texts about?",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "texts": [
        "The parcel came two weeks late and nobody answered my calls.",
        "My delivery was left in the rain in front of the door.",
        "The courier never rang, and the parcel went back.",
        "I was charged twice for one order in March.",
        "The invoice shows a wrong amount, please correct the payment.",
        "Your refund has not reached my bank account yet.",
    ]
}


async def run(request: Topics, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress, one Answered, then Done."""
    texts = [text.strip() for text in request.texts]
    _check(request, texts)
    language = request.language or detect_language("\n".join(t[:500] for t in texts))
    words = WORDS[language]
    names = request.names or tuple(str(number) for number in range(1, len(texts) + 1))
    # The first model is looked for before the second one works.
    desk = Desk(request, rooms)
    vectors: list[tuple[float, ...]] = []
    for start in range(0, len(texts), _EMBEDDED_AT_ONCE):
        yield Progress(status=f"reading {start + 1} of {len(texts)}")
        async for event in embed.run(_embedding(request, texts, start), rooms):
            if isinstance(event, embed.Vectors):
                vectors += event.vectors
            elif isinstance(event, embed.EmbedDone):
                desk.count_in(event.usage)
            else:
                yield event
    groups = group_vectors(vectors, groups=request.groups)
    large = [group for group in groups if len(group) >= request.smallest]
    found: list[Topic] = []
    async with desk:
        async for place in desk.wait():
            yield place
        for at, group in enumerate(large, 1):
            yield Progress(status=f"naming {at} of {len(large)}")
            told = telling_words(texts, group)
            found.append(
                Topic(
                    label=await _name(desk, words, [texts[each] for each in group], told),
                    size=len(group),
                    words=told,
                    texts=tuple(names[each] for each in group),
                )
            )
    alone = sorted(each for group in groups if group not in large for each in group)
    yield answered(
        TopicsFound(topics=tuple(found), other=tuple(names[each] for each in alone)), language
    )
    yield desk.done()


def _check(request: Topics, texts: Sequence[str]) -> None:
    """Raises BadRequest."""
    if not 2 <= len(texts) <= _TEXTS_AT_MOST:
        raise BadRequest(f"2 to {_TEXTS_AT_MOST} texts can be put in order", param="texts")
    if not all(texts):
        raise BadRequest(f"text {texts.index('') + 1} is empty", param="texts")
    if request.names and len(request.names) != len(texts):
        raise BadRequest("there must be as many names as texts", param="names")


def _embedding(request: Topics, texts: Sequence[str], start: int) -> embed.Embed:
    return embed.Embed(
        model=request.embedder,
        texts=tuple(texts[start : start + _EMBEDDED_AT_ONCE]),
        # What is compared with its like is a query on both sides.
        role="query",
        keep_alive=request.keep_alive,
        batch=request.batch,
    )


def telling_words(texts: Sequence[str], group: Sequence[int]) -> tuple[str, ...]:
    """Words that stand in more texts of the group than of the others."""
    holding = [_content_words(text) for text in texts]
    within = Counter(word for at in group for word in holding[at])
    everywhere = Counter(word for words in holding for word in words)
    least = 2 if len(group) > 3 else 1
    scored = {
        word: count / len(group) * math.log(1 + len(texts) * count / everywhere[word] ** 2)
        for word, count in within.items()
        if count >= least and count / len(group) >= everywhere[word] / len(texts)
    }
    best = sorted(scored, key=lambda word: (-scored[word], word))
    return tuple(best[:_WORDS_AT_MOST])


def _content_words(text: str) -> set[str]:
    words = re.findall(r"[^\W\d_]{3,}", text.casefold())
    return {word for word in words if not is_common_word(word)}


async def _name(
    desk: Desk, words: Mapping[str, str], texts: Sequence[str], told: Sequence[str]
) -> str:
    """The model's name for a group; its words, where that is none."""
    shown = "\n".join(f"- {' '.join(t.split())[:_SHOWN_CHARACTERS]}" for t in texts[:_SHOWN])
    ask = words["ask"].format(words=", ".join(told) or "-")
    answer = await desk.write(
        words["system"], f"{quoted(shown)}\n\n{ask}", most_tokens=_LABEL_TOKENS
    )
    line = next((line for line in answer.text.splitlines() if line.strip()), "")
    label = line.strip(" \t*#\"'`«»“”.-:")
    if not label or len(label) > _LABEL_CHARACTERS or find_unsupported(label, "\n".join(texts)):
        return ", ".join(told[:3]) or label[:_LABEL_CHARACTERS] or "-"
    return label
