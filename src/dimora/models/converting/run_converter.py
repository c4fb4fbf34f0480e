"""Runs one of the toolchain's converters in this process, with its own libraries before others.

An audit hook stands guard: no connection is made, no name is looked up, no program is started, and
nothing is unpickled, whatever the converter, its libraries or a model's files would like.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

_FORBIDDEN = frozenset(
    {
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.sendto",
        "pickle.find_class",
        "os.exec",
        "os.posix_spawn",
        "os.startfile",
        "os.system",
        "subprocess.Popen",
    }
)


def forbid(who: str) -> None:
    """From now on this process does nothing of the above; `who` is told that it may not."""

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        del arguments
        if event in _FORBIDDEN:
            raise PermissionError(f"{who} may not do this: {event}")

    sys.addaudithook(guard)


def _main(directory: str, script: str, *arguments: str) -> None:
    converters = Path(directory)
    # Safe paths (-P) leave the script's own directory out; the converters' gguf is newer than ours.
    sys.path[:0] = [str(converters), str(converters / "gguf-py")]
    sys.argv = [script, *arguments]
    # The libraries start programs while they are imported, to look at the machine.
    import torch  # noqa: F401
    import transformers  # noqa: F401

    os.environ["NO_COLOR"] = "1"
    forbid("a converter")
    runpy.run_path(str(converters / script), run_name="__main__")


if __name__ == "__main__":
    _main(*sys.argv[1:])
