"""List the models in memory."""

from __future__ import annotations

import click

from dimora.cli.asking import ask_one, door_here
from dimora.cli.words import print_json, print_table, size_words, until_words
from dimora.tasks.base import Running
from dimora.tasks.list_running import ListRunning, RunningFound


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Also say why each engine was chosen.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(verbose: bool, as_json: bool) -> None:
    """List the models in memory: which engine runs each, and why."""
    with door_here() as door:
        running = ask_one(door, ListRunning(), RunningFound).running
    if as_json:
        print_json(running)
        return
    heads = ("NAME", "ID", "SIZE", "PROCESSOR", "ENGINE", "CONTEXT", "UNTIL", "WHY")
    count = len(heads) if verbose else len(heads) - 1
    print_table(heads[:count], [_row(one)[:count] for one in running])


def _row(one: Running) -> tuple[str, ...]:
    return (
        one.summary.name,
        one.summary.digest[:12],
        size_words(one.memory_bytes),
        _processor(one),
        one.engine,
        str(one.options.num_ctx),
        until_words(one.expires_at),
        one.engine_reason,
    )


def _processor(one: Running) -> str:
    share = round(100 * one.gpu_memory_bytes / one.memory_bytes) if one.memory_bytes else 0
    if share in (0, 100):
        return "100% GPU" if share else "100% CPU"
    return f"{100 - share}%/{share}% CPU/GPU"
