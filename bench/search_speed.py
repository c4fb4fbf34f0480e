"""How long a search takes in collections of 10 000 and 100 000 pieces, and where it gets too long.

    python bench/search_speed.py [--sizes 10000,100000] [--width 384] [--folder FOLDER]

Texts are words drawn as they are in languages (Zipf), 120 a piece, 50 pieces a document, with the
common words of Italian, Spanish and English on top; questions are eight words, common ones and
all. Vectors lie in clusters in a narrow cone, as those of e5 do; that of a question is near its
piece's. A search is all of it: both halves, fusion, passages. Files in FOLDER are used
again.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator

from dimora.core import languages
from dimora.knowledge.finding import Search
from dimora.knowledge.keeping import Keeper
from dimora.knowledge.vectors import Matrix
from dimora.tasks.knowing import Filters, KnownDocument, Piece

WORDS_OF_PIECE, PIECES_OF_DOCUMENT, VOCABULARY, CLUSTERS = 120, 50, 60_000, 300
AIMS = {10_000: 10.0, 100_000: 50.0}


class Library:
    """Makes documents, and questions about them."""

    def __init__(self, width: int, seed: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._shares = 1 / np.arange(1, VOCABULARY + 1)
        self._shares /= self._shares.sum()
        self._words = _vocabulary(np.random.default_rng(0))
        self._cone = self._random.standard_normal(width) * 1.5
        self._clusters = self._random.standard_normal((CLUSTERS, width))

    def document(self, number: int) -> tuple[KnownDocument, list[Piece], list[list[float]]]:
        drawn = self._random.choice(
            VOCABULARY, (PIECES_OF_DOCUMENT, WORDS_OF_PIECE), p=self._shares
        )
        pieces = [
            Piece(number=at, text=" ".join(self._words[words]), tokens=200, headings=("Heading",))
            for at, words in enumerate(drawn)
        ]
        document = KnownDocument(
            id="",
            name=f"folder/{number}.pdf",
            digest="0",
            media_type="application/pdf" if number % 2 else "text/plain",
            modified_at=float(number),
        )
        return document, pieces, self._near(PIECES_OF_DOCUMENT).tolist()

    def question(self) -> tuple[str, tuple[float, ...]]:
        words = self._random.choice(VOCABULARY, 8, p=self._shares)
        return " ".join(self._words[words]), tuple(self._near(1)[0].tolist())

    def _near(self, count: int) -> np.ndarray:
        chosen = self._clusters[self._random.integers(0, CLUSTERS, count)]
        noise = self._random.standard_normal(chosen.shape) * 0.8
        return (chosen + noise + self._cone).astype(np.float32)


def _vocabulary(random: Generator) -> np.ndarray:
    common = [w for words in languages._COMMON.values() for w in sorted(words) if len(w) > 1]
    syllables = [
        "".join(p)
        for p in np.array(np.meshgrid(list("bcdfglmnprstv"), list("aeiou"))).T.reshape(-1, 2)
    ]
    made = {"".join(random.choice(syllables, 4)) for _ in range(2 * VOCABULARY)}
    return np.array([*dict.fromkeys(common), *sorted(made)][:VOCABULARY])


def fill(keeper: Keeper, library: Library, size: int) -> tuple[int, float]:
    """How many pieces were missing, and the seconds to put them."""
    keeper.make_collection("c", "embedder", hidden=False)
    seconds = 0.0
    have = keeper.collection("c").documents
    for number in range(have, size // PIECES_OF_DOCUMENT):
        document, pieces, vectors = library.document(number)
        began = time.perf_counter()
        keeper.put("c", document, pieces, vectors)
        seconds += time.perf_counter() - began
    return size - have * PIECES_OF_DOCUMENT, seconds


def timed(work: Callable[[], object], seconds: list[float]) -> None:
    began = time.perf_counter()
    work()
    seconds.append(time.perf_counter() - began)


def told(seconds: list[float]) -> str:
    middle = sorted(seconds)[len(seconds) // 2]
    return f"p50 {middle * 1e3:6.1f} ms   p95 {p95(seconds) * 1e3:6.1f} ms"


def p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95)]


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(keeper: Keeper, library: Library, *, asked: int) -> None:
    began = time.perf_counter()
    text, vector = library.question()
    first = Search(collections=("c",), question=text, vector=vector, limit=8, filters=Filters())
    keeper.find(first)
    print(f"  the first search, vectors read   {(time.perf_counter() - began) * 1e3:8.0f} ms")
    narrow = Filters(media_types=("application/pdf",), modified_after=10.0)
    kinds = {
        "both halves": (True, True, Filters()),
        "by word alone": (True, False, Filters()),
        "by meaning alone": (False, True, Filters()),
        "both, filtered": (True, True, narrow),
    }
    for kind, (by_word, by_meaning, filters) in kinds.items():
        seconds: list[float] = []
        for _ in range(asked):
            text, vector = library.question()
            search = Search(
                collections=("c",),
                question=text if by_word else "",
                vector=vector if by_meaning else (),
                limit=8,
                filters=filters,
            )
            timed(lambda search=search: keeper.find(search), seconds)
        print(f"  {kind:32} {told(seconds)}", flush=True)


def measure_limit(width: int, aim_ms: float) -> None:
    """Compares with more and more vectors until that alone takes longer than a search may."""
    random = np.random.default_rng(3)
    for size in range(50_000, 1_000_001, 50_000):
        matrix = Matrix(width)
        matrix.pieces = np.arange(size)
        matrix._vectors = random.standard_normal((size, width), np.float32)
        seconds: list[float] = []
        for _ in range(30):
            vector = tuple(random.standard_normal(width).tolist())
            timed(lambda vector=vector, matrix=matrix: matrix.nearest(vector, 32, None), seconds)
        print(f"  exact comparison with {size:9} {told(seconds)}", flush=True)
        if p95(seconds) * 1e3 > aim_ms:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--asked", type=int, default=100)
    parser.add_argument("--folder", default="")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for size in (int(text) for text in wanted.sizes.split(",")):
            path = Path(wanted.folder or temporary, str(size), "c.db")
            keeper = Keeper(path)
            put, seconds = fill(keeper, Library(wanted.width), size)
            print(f"{size} pieces (aim: p95 {AIMS.get(size, '-')} ms)")
            if put:
                print(f"  putting them, pieces/s           {put / seconds:8.0f}")
            keeper.close()
            print(f"  the file, MB                     {path.stat().st_size / 1e6:8.0f}")
            measure(Keeper(path), Library(wanted.width, seed=2), asked=wanted.asked)
            print(f"  memory of all, MB                {memory_mb():8.0f}", flush=True)
    measure_limit(wanted.width, 50.0)


if __name__ == "__main__":
    main()
