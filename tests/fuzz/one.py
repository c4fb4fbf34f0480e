"""Runs one target in this process until its time is over, or until something comes out of it.

`python -m tests.fuzz.one NAME SECONDS DIRECTORY`; what broke it is left in the directory.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import sys
import time
from pathlib import Path

import atheris

from tests.bounds import MEMORY_BYTES, SECONDS

# What the fuzzer itself may come to need beside the reader.
_OWN_BYTES = 96 << 20
SHORT_SECONDS = 1


def main(name: str, seconds: str, directory: str) -> None:
    with atheris.instrument_imports(include=["dimora"]):
        target = importlib.import_module(f"tests.fuzz.targets.{name}")
    corpus = Path(directory) / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds()):
        (corpus / f"{number:04}").write_bytes(seed)

    def one(data: bytes) -> None:
        started = time.thread_time()
        with contextlib.suppress(target.REFUSAL):
            target.read(data)
        taken = time.thread_time() - started
        if taken > SECONDS:
            raise TimeoutError(f"{len(data)} bytes took {taken:.1f} seconds")

    # The fuzzer asks for the peak, into which Linux counts the process that started this one.
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    limit = peak_bytes + MEMORY_BYTES + _OWN_BYTES
    arguments = [
        # The same beginnings every time: what is new is for the nights to find.
        *(["-seed=1"] if float(seconds) <= SHORT_SECONDS else []),
        "-max_len=16384",
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={limit >> 20}",
        f"-artifact_prefix={directory}{os.sep}",
        "-print_final_stats=1",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:4])
