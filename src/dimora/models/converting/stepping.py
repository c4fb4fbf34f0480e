"""Runs blocking work that tells how far it is in threads, a step at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import TypeVar

_T = TypeVar("_T")


async def in_threads(steps: Generator[_T, None, object]) -> AsyncGenerator[_T, None]:
    """What a blocking generator yields, which should do so some times a second.

    Whoever is cancelled or goes away waits for the step that runs; then the generator is closed.
    """
    end = object()
    try:
        while True:
            job = asyncio.ensure_future(asyncio.to_thread(next, steps, end))
            try:
                step = await asyncio.shield(job)
            except asyncio.CancelledError:
                await asyncio.wait({job})
                raise
            if step is end:
                return
            yield step  # type: ignore[misc]
    finally:
        steps.close()
