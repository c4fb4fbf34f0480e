"""Runs the terminal program again and again, each time in a fork of one warm process.

What a run does is what `python -m dimora` does, or the Python file that `argv` begins with; only
Python's start is paid once. It reads one JSON object a line: `argv`, `environment`, `directory` and
`told`, a path the output goes to; and answers with the exit status, negative for a signal.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import struct
import sys
from pathlib import Path

# Where `leader` lies in the struct of file_faults.c.
LEADER_AT = 32


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        for name in order.get("modules", ()):
            # Parts of modules that are not modules are known by their names only.
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        child = os.fork()
        if not child:
            _run(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(order: dict[str, object]) -> None:
    status = 70
    try:
        os.setsid()
        told = os.open(str(order["told"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, told), (2, told)):
            os.dup2(source, target)
        os.chdir(str(order["directory"]))
        os.environ.update(order["environment"])  # type: ignore[arg-type]
        with open(os.environ["FILE_FAULTS"], "r+b") as control:
            control.seek(LEADER_AT)
            control.write(struct.pack("=i", os.getpid()))
        status = _status_of(order["argv"])  # type: ignore[arg-type]
        if "learned" in order:
            Path(str(order["learned"])).write_text("\n".join(sys.modules))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _status_of(argv: list[str]) -> int:
    """What the program would exit with, its traceback on stderr if it has one."""
    try:
        if argv[0].endswith(".py"):
            sys.argv = argv
            runpy.run_path(argv[0], run_name="__main__")
        else:
            from dimora.cli.main import main as program

            sys.argv = ["dimora", *argv]
            program(argv)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:  # noqa: BLE001 -- the border, as the interpreter is
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    main()
