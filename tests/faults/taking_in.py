"""A program that replaces, adds and removes documents of a collection, and says what is done.

    python taking_in.py FILE

It ends with 1 and the code of the error when it cannot.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from dimora.core.errors import DimoraError, NotFound
from dimora.knowledge.keeping import Keeper
from dimora.tasks.knowing import KnownDocument, Piece

CANARY = "zanzibarcanary"
# By name: what it says before, and after; empty for not there.
BEFORE = {"a.txt": "first", "b.txt": f"the {CANARY} sings", "d.txt": ""}
AFTER = {"a.txt": "second", "b.txt": "", "d.txt": "third"}
PIECES = 3


def put(keeper: Keeper, name: str, text: str) -> None:
    pieces = [Piece(number=at, text=f"{text} {at} " + "walnut " * 300) for at in range(PIECES)]
    vectors = [[float(at == column) for column in range(8)] for at in range(PIECES)]
    keeper.put("notes", KnownDocument(id="", name=name, digest=text), pieces, vectors)


def begin(path: Path) -> None:
    keeper = Keeper(path)
    keeper.make_collection("notes", "e", hidden=False)
    for name, text in BEFORE.items():
        if text:
            put(keeper, name, text)
    keeper.close()


def main(path: Path) -> None:
    keeper = Keeper(path)
    keeper.make_collection("notes", "e", hidden=False)
    there = {document.name: document.digest for document in keeper.documents("notes")}
    for name, text in AFTER.items():
        if text and there.get(name) != text:
            put(keeper, name, text)
        elif not text:
            # An earlier run may have taken it out.
            with contextlib.suppress(NotFound):
                keeper.remove("notes", name)
        print(name, flush=True)
    keeper.close()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except DimoraError as error:
        print(f"error {error.code}", flush=True)
        sys.exit(1)
