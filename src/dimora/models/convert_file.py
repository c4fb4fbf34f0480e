"""Runs one conversion in a process of its own: its libraries are large and its work is long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import msgspec

from dimora.core.errors import InternalError, InvalidModel, StorageFull
from dimora.storage.disk import disk_errors

_FAILURES = {"InvalidModel": InvalidModel, "StorageFull": StorageFull}


class _Failure(msgspec.Struct):
    """What the process says when it fails, as its last words."""

    kind: str
    message: str
    hint: str = ""


async def convert_file(conversion: str, source: Path, target: Path, **choices: str) -> None:
    """Write `target` from `source` by the conversion of this name on the shelf.

    `choices` are the conversion's own keyword arguments. Ends the process when cancelled.

    Raises InvalidModel, StorageFull, InternalError.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "dimora.models.convert_file", conversion),
        *(str(source), str(target), *(f"{name}={value}" for name, value in choices.items())),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return
    try:
        failure = msgspec.json.decode(out, type=_Failure)
    except msgspec.DecodeError:
        raise InternalError(f"the conversion {conversion} ended unexpectedly") from None
    raise _FAILURES.get(failure.kind, InternalError)(failure.message, hint=failure.hint)


def _main(conversion: str, source: str, target: str, *words: str) -> int:
    from dimora.core.errors import DimoraError
    from dimora.models.conversions import SHELF

    # What the libraries print goes where nobody reads; standard output is for our last words.
    last_words = os.dup(1)
    os.dup2(2, 1)
    try:
        with disk_errors("the model store"):
            choices = dict(word.split("=", 1) for word in words)
            SHELF.load(conversion).convert(Path(source), Path(target), **choices)
    except DimoraError as error:
        failure = _Failure(type(error).__name__, error.message, error.hint)
        os.write(last_words, msgspec.json.encode(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
