"""Runs the targets one after another: `python -m tests.fuzz.run --seconds 60 [NAME ...]`.

Ends with 1 when anything but a refusal came out, and prints what went in.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TARGETS = tuple(
    sorted(p.stem for p in (Path(__file__).parent / "targets").glob("*.py") if p.stem[0] != "_")
)
# Imports, seeds and the end.
_SLACK_SECONDS = 120


class Outcome(NamedTuple):
    """`runs` inputs were read; `failure` says what came out of the last, empty for nothing."""

    name: str
    runs: int
    failure: str


def run_target(name: str, seconds: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="dimora-fuzz-") as directory:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.one", name, str(seconds), directory],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + _SLACK_SECONDS,
        )
        told = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        runs = int(told[1]) if told else 0
        if done.returncode == 0 and runs:
            return Outcome(name, runs, "")
        inputs = [p for p in Path(directory).iterdir() if p.is_file()]
        shown = "\n".join(repr(p.read_bytes()) for p in inputs)
        return Outcome(name, runs, f"{(done.stdout + done.stderr)[-4000:]}\n{shown}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("names", nargs="*", default=TARGETS, metavar="NAME")
    asked = parser.parse_args()
    failed = False
    for name in asked.names:
        outcome = run_target(name, asked.seconds)
        print(f"{name}: {outcome.runs} inputs", outcome.failure, flush=True)
        failed = failed or bool(outcome.failure)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
