"""How good the search over documents is, and what it costs to take documents in.

    python bench/retrieval.py --home DIR [--budget N] [--keep] [--misses] [--every N]

DIR is a home with `multilingual-e5-small` pulled. The documents (`corpus.py`) are read, cut,
embedded and kept as the house does it, in DIR/knowledge; `--keep` asks the collection of an earlier
run again. Questions (`questions.toml`) are split by a hash of their names: what is calibrated
looks at `tune` alone, `held` tells what came of it. `--misses` names what was not found.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import platform
import time
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

import msgspec
from corpus import CorpusFile, corpus

from dimora.core.settings import Settings
from dimora.core.types import Principal
from dimora.knowledge.room import WorkspaceKnowledge
from dimora.runtime.house import House, RoomsFor
from dimora.tasks.embedding import Embedder
from dimora.tasks.evidence import evidence_of
from dimora.tasks.ingesting import PIECE_TOKENS
from dimora.tasks.knowing import Filters, KnownDocument, Offered, Passage, Piece

MODEL = "multilingual-e5-small"
COLLECTION = "manuals"
ME = Principal(user="me", workspace="bench", roles=("owner",), proof="terminal")
PER_REQUEST = 32
# Passages that count as found, that are ranked, and that are asked for.
FOUND, LOOKED, ASKED = 5, 10, 20
LANGUAGES = {"it": "Italian", "es": "Spanish", "en": "English"}


class Question(msgspec.Struct, frozen=True):
    """See the head of `questions.toml`."""

    id: str
    language: str
    kind: str
    question: str
    document: str = ""
    anchor: str = ""
    also: tuple[tuple[str, str], ...] = ()

    @property
    def places(self) -> list[tuple[str, str]]:
        """Documents and phrases of the passages that answer."""
        return [(self.document, self.anchor), *self.also] if self.anchor else []

    @property
    def half(self) -> str:
        return "tune" if hashlib.sha256(self.id.encode()).digest()[-1] % 2 else "held"


class Asked(msgspec.Struct, frozen=True):
    """What one way of searching gave for a question, and how long it took."""

    question: Question
    passages: list[Passage]
    seconds: float

    @property
    def is_enough(self) -> bool:
        """Whether the house would answer."""
        return evidence_of(self.question.question, self.passages).is_enough

    @property
    def rank(self) -> int:
        """Of the first passage that answers, 0 for none."""
        shown = enumerate(self.passages[:LOOKED], 1)
        answers = (at for at, one in shown if _answers(self.question, one))
        return next(answers, 0)


def plain(text: str) -> str:
    """A text as anchors are compared: marks composed, apostrophes and spaces alike."""
    return " ".join(unicodedata.normalize("NFC", text).replace("\u2019", "'").casefold().split())


def _answers(question: Question, passage: Passage) -> bool:
    name, words = Path(passage.document).name, plain(passage.piece.words)
    return any(name == document and plain(anchor) in words for document, anchor in question.places)


class Bench:
    """The house with one collection, and its embedder on loan."""

    def __init__(self, house: House, embedder: Embedder, budget_tokens: int) -> None:
        self._embedder = embedder
        self._budget = budget_tokens
        self.known = WorkspaceKnowledge(house.knowledge().of(ME.workspace))
        self.seconds: dict[str, float] = defaultdict(float)
        self.characters = self.pieces = self.files = 0

    async def count(self, text: str) -> int:
        started = time.perf_counter()
        tokens = await self._embedder.count(text)
        self.seconds["count"] += time.perf_counter() - started
        return tokens

    async def ingest(self, files: Sequence[CorpusFile]) -> None:
        """`seconds` tells of each step."""
        if await self._is_there():
            await self.known.drop_collection(COLLECTION)
        await self.known.make_collection(COLLECTION, MODEL, hidden=False)
        for file in files:
            data = file.path.read_bytes()
            offered = Offered(name=file.path.name, data=data, size_bytes=len(data))
            await self._take(offered)
            self.files += 1

    async def _is_there(self) -> bool:
        return any(one.name == COLLECTION for one in await self.known.collections())

    async def _take(self, offered: Offered) -> None:
        started, counted = time.perf_counter(), self.seconds["count"]
        document: KnownDocument | None = None
        pieces: list[Piece] = []
        async for one in self.known.pieces(offered, self.count, self._budget):
            if isinstance(one, Piece):
                pieces.append(one)
                continue
            document = one
            self.seconds["read"] += time.perf_counter() - started
            started = time.perf_counter()
        assert document is not None
        self.seconds["cut"] += time.perf_counter() - started - (self.seconds["count"] - counted)
        started = time.perf_counter()
        vectors: list[tuple[float, ...]] = []
        for at in range(0, len(pieces), PER_REQUEST):
            texts = [piece.words for piece in pieces[at : at + PER_REQUEST]]
            vectors += await self._embedder.vectors(texts, "passage")
        self.seconds["embed"] += time.perf_counter() - started
        started = time.perf_counter()
        await self.known.put(COLLECTION, document, pieces, vectors)
        self.seconds["store"] += time.perf_counter() - started
        self.pieces += len(pieces)
        self.characters += sum(len(piece.text) for piece in pieces)

    async def ask(
        self, questions: Sequence[Question], *, words: bool, meaning: bool
    ) -> list[Asked]:
        """Every question, by one way of searching; embedding it is not counted."""
        texts = [question.question for question in questions]
        vectors = [
            vector
            for at in range(0, len(texts), PER_REQUEST)
            for vector in await self._embedder.vectors(texts[at : at + PER_REQUEST], "query")
        ]
        asked = []
        for question, vector in zip(questions, vectors, strict=True):
            started = time.perf_counter()
            passages = await self.known.find(
                [COLLECTION],
                question.question if words else "",
                vector if meaning else (),
                limit=ASKED,
                filters=Filters(),
            )
            asked.append(Asked(question, passages, time.perf_counter() - started))
        return asked

    async def lost(self, questions: Sequence[Question]) -> list[Question]:
        """Those whose anchor is in no piece: cut apart, or not read."""
        texts: dict[str, list[str]] = defaultdict(list)
        async for one in self.known.export(COLLECTION):
            if isinstance(one, KnownDocument):
                name = Path(one.name).name
            else:
                texts[name].append(plain(one.words))
        return [
            question
            for question in questions
            for document, anchor in question.places
            if not any(plain(anchor) in text for text in texts[document])
        ]


def read_questions() -> list[Question]:
    data = tomllib.loads(Path(__file__).with_name("questions.toml").read_text())
    return msgspec.convert(data["questions"], list[Question])


def groups() -> dict[str, Callable[[Question], bool]]:
    """Lines of the table, and which questions each is about."""
    chosen: dict[str, Callable[[Question], bool]] = {
        "all": lambda q: True,
        "`tune`": lambda q: q.half == "tune",
        "`held`": lambda q: q.half == "held",
    }
    for code, name in LANGUAGES.items():
        chosen[name] = lambda q, code=code: q.language == code and q.kind == "answerable"  # type: ignore[misc]
    chosen["answer in another language"] = lambda q: q.kind == "cross"
    return chosen


def quality(ways: dict[str, list[Asked]]) -> list[str]:
    heads = "".join(f" {name} |" for name in ways)
    lines = [
        f"| recall@{FOUND} / MRR@{LOOKED} | questions |{heads}",
        "| --- " * (2 + len(ways)) + "|",
    ]
    for title, chosen in groups().items():
        cells = []
        for asked in ways.values():
            ranks = [one.rank for one in asked if one.question.anchor and chosen(one.question)]
            recall = fmean(0 < rank <= FOUND for rank in ranks)
            cells.append(f" {recall:.3f} / {fmean(1 / r if r else 0 for r in ranks):.3f} |")
        lines.append(f"| {title} | {len(ranks)} |" + "".join(cells))
    return lines


def refusals(asked: list[Asked], refuses: Callable[[Asked], bool]) -> list[str]:
    lines = ["| refused | `tune` | `held` | all |", "| --- | --- | --- | --- |"]
    kinds = {
        "unanswerable": ("off", "near"),
        "of another topic": ("off",),
        "near the topic": ("near",),
        "answerable (wrongly)": ("answerable", "cross"),
        "answerable, of another language (wrongly)": ("cross",),
    }
    for title, wanted in kinds.items():
        cells = []
        for halves in (("tune",), ("held",), ("tune", "held")):
            among = [a for a in asked if a.question.kind in wanted and a.question.half in halves]
            cells.append(f" {sum(map(refuses, among)) / len(among):.3f} of {len(among)} |")
        lines.append(f"| {title} |" + "".join(cells))
    return lines


def costs(bench: Bench) -> list[str]:
    whole = sum(bench.seconds.values())
    parts = sorted(bench.seconds.items(), key=lambda item: -item[1])
    return [
        "| taking in | |",
        "| --- | --- |",
        f"| files, pieces | {bench.files}, {bench.pieces} |",
        f"| MB of text | {bench.characters / 1e6:.2f} |",
        f"| MB of text a second | {bench.characters / 1e6 / whole:.4f} |",
        f"| pieces a second | {bench.pieces / whole:.1f} |",
        *(f"| {name}, s (share) | {s:.1f} ({s / whole:.0%}) |" for name, s in parts),
    ]


def speed(asked: list[Asked]) -> list[str]:
    cuts = quantiles([one.seconds * 1000 for one in asked], n=20)
    return [f"A search takes {cuts[9]:.1f} ms (p50), {cuts[18]:.1f} ms (p95), all but its vector."]


async def measure(options: argparse.Namespace) -> None:
    house = House(Settings(home=options.home))
    await house.start()
    try:
        async with Embedder(MODEL, RoomsFor(house, ME, None)) as embedder:
            async for _ in embedder.wait():
                pass
            await report(Bench(house, embedder, options.budget), options)
    finally:
        await house.close()


async def report(bench: Bench, options: argparse.Namespace) -> None:
    questions = read_questions()
    if not options.keep:
        named = {document for question in questions for document, _ in question.places}
        await bench.ingest(corpus(options.home / "corpus", named)[:: options.every])
        print("\n".join(costs(bench)), end="\n\n", flush=True)
    if options.every > 1:
        return
    for question in await bench.lost(questions):
        print(f"{question.id}: its answer is in no piece")
    ways: dict[str, Any] = {
        "hybrid": await bench.ask(questions, words=True, meaning=True),
        "vectors": await bench.ask(questions, words=False, meaning=True),
        "words": await bench.ask(questions, words=True, meaning=False),
    }
    print(f"\n{platform.machine()}, {len(questions)} questions\n")
    print("\n".join(quality(ways)), end="\n\n")
    refused = refusals(ways["hybrid"], lambda one: not one.is_enough)
    print("\n".join(refused), end="\n\n")
    print("\n".join(speed(ways["hybrid"])))
    if options.misses:
        for one in ways["hybrid"]:
            if one.question.anchor and not 0 < one.rank <= FOUND:
                print(one.question.id, one.rank, one.question.question, one.question.document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument(
        "--budget", type=int, default=PIECE_TOKENS, help="tokens of a piece at most"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="take in each Nth file, for costs alone"
    )
    parser.add_argument("--keep", action="store_true", help="ask what an earlier run took in")
    parser.add_argument("--misses", action="store_true", help="name what was not found")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
