"""A model on loan for the length of a job: what all jobs do with one.

Not a task itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from dimora.core.types import Queued
from dimora.tasks.base import Loan, Reservation


class Borrowed:
    """Enter it, wait, then ask; leaving it gives the model back."""

    def __init__(self, reservation: Reservation) -> None:
        self._reservation = reservation

    async def __aenter__(self) -> Self:
        await self._reservation.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._reservation.__aexit__(kind, value, trace)

    async def wait(self) -> AsyncIterator[Queued]:
        """Each new place in the queue; ends when the model is there."""
        async for place in self._reservation.wait():
            yield place

    @property
    def loan(self) -> Loan:
        return self._reservation.loan

    async def count(self, text: str) -> int:
        """Tokens of a text, by the model's own tokenizer."""
        return await count_tokens(self.loan, text)


async def count_tokens(loan: Loan, text: str) -> int:
    """Of a text alone, without what a prompt begins with."""
    return len(await loan.tokenize(text, add_special=False)) if text else 0
