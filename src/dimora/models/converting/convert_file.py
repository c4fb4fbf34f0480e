"""Runs one conversion in a process of its own: its libraries are large and its work is long."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from dimora.core.errors import InternalError
from dimora.models.converting.last_words import Failure, error_of, failure_of
from dimora.models.converting.programs import OFFLINE, Program
from dimora.storage.disk import disk_errors

_LIMIT_SECONDS = 6 * 3600.0
_PR_SET_PDEATHSIG = 1


class _Step(msgspec.Struct, tag="step"):
    """What the process does next."""

    status: str


async def convert_file(conversion: str, source: Path, target: Path, **choices: str) -> None:
    """Write `target` from `source` by the conversion of this name on the shelf.

    `choices` are the conversion's own keyword arguments. Ends the process when cancelled.

    Raises InvalidModel, StorageFull, InternalError.
    """
    async with contextlib.aclosing(convert_steps(conversion, source, target, **choices)) as steps:
        async for _ in steps:
            pass


async def convert_steps(
    conversion: str, source: Path, target: Path, **choices: str
) -> AsyncGenerator[str, None]:
    """As `convert_file`, and tells in a few words what is being done, for conversions that say."""
    argv = [sys.executable, "-P", "-m", "dimora.models.converting.convert_file", conversion]
    argv += [str(source), str(target), *(f"{name}={value}" for name, value in choices.items())]
    program = Program(argv, limit_seconds=_LIMIT_SECONDS, environment=OFFLINE)
    failure: Failure | None = None
    async with contextlib.aclosing(program.lines()) as lines:
        async for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                said = msgspec.json.decode(line, type=_Step | Failure)
                if isinstance(said, _Step):
                    yield said.status
                else:
                    failure = said
    if failure is not None:
        raise error_of(failure)
    if program.status == -signal.SIGKILL and not program.timed_out:
        raise InternalError(
            f"the conversion {conversion} was ended from outside",
            hint="mostly because there was not enough memory",
        )
    if program.status != 0:
        raise InternalError(f"the conversion {conversion} ended unexpectedly")


def _main(conversion: str, source: str, target: str, *words: str) -> int:
    from dimora.core.errors import DimoraError
    from dimora.models.converting.conversions import SHELF

    if sys.platform == "linux":
        # Nobody would want the result of a house that is gone.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    outlet = os.dup(1)
    _hush()
    try:
        with disk_errors("the model store"):
            choices = dict(word.split("=", 1) for word in words)
            steps = SHELF.load(conversion).convert(Path(source), Path(target), **choices)
            for status in steps or ():
                _say(outlet, _Step(status))
    except DimoraError as error:
        _say(outlet, failure_of(error))
        return 1
    except Exception as why:  # noqa: BLE001 - the libraries of other people raise anything
        words_of_it = str(why).partition("\n")[0].replace(source, "...").replace(target, "...")
        message = f"the conversion {conversion} failed: {type(why).__name__}: {words_of_it[:200]}"
        _say(outlet, Failure("InternalError", message))
        return 1
    return 0


def _hush() -> None:
    """What the libraries print goes where nobody reads; standard output was for our words."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _say(outlet: int, words: _Step | Failure) -> None:
    os.write(outlet, msgspec.json.encode(words) + b"\n")


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
