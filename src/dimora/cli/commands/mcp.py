"""Be a server of tools for an MCP client, line by line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import click

from dimora.cli.asking import door_here, settings_here


@click.command()
def command() -> None:
    """Be a server of tools for a desktop client that starts this command (MCP over stdio).

    It asks the running server where there is one, else a house of its own. Over HTTP a server
    offers the same tools at /mcp.
    """
    if sys.stdin.isatty():
        click.echo("an MCP client is to start this command; Ctrl-D leaves", err=True)
    from dimora.cli.lines import LineServer

    settings = settings_here()
    with _own_stdout() as target, door_here(settings) as door:
        LineServer(door, settings, target).serve(sys.stdin.buffer)


@contextmanager
def _own_stdout() -> Iterator[BinaryIO]:
    """Standard output for messages alone: whatever else would be written there is an error's."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(own, "wb") as target:
            yield target
    finally:
        sys.stdout.flush()
