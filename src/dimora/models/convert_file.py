"""Runs one conversion in a process of its own: its libraries are large and its work is long."""

from __future__ import annotations

import asyncio
import contextlib
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


async def convert_file(conversion: str, source: Path, target: Path) -> None:
    """Write `target` from `source` by the conversion of this name on the shelf.

    Raises InvalidModel, StorageFull, InternalError.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "dimora.models.convert_file", conversion),
        *(str(source), str(target)),
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


def _main(conversion: str, source: str, target: str) -> int:
    from dimora.core.errors import DimoraError
    from dimora.models.conversions import SHELF

    try:
        with disk_errors("the model store"):
            SHELF.load(conversion).convert(Path(source), Path(target))
    except DimoraError as error:
        failure = _Failure(type(error).__name__, error.message, error.hint)
        sys.stdout.buffer.write(msgspec.json.encode(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:4]))
