"""Rooms in which a model says what a test wants it to say, whatever it is held to."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

from dimora.core.types import Event, Queued
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Embedded, Finish, Model, ModelSummary, TextsToEmbed, Token
from dimora.tasks.base import ModelDetails as Details
from dimora.tasks.options import Options, Sampling
from dimora.tasks.ready.base import Answered

Say = Callable[[Prompt], str]


class Speaker:
    """A loan. Tokens are four characters, and each is certain."""

    engine = "speaker"
    features = frozenset({"generate", "embed", "json_schema", "logprobs", "top_logprobs"})
    load_seconds = queue_seconds = 0.0

    def __init__(self, model: Model, say: Say, num_ctx: int) -> None:
        self.model = model
        self.num_ctx = num_ctx
        self.prompts: list[Prompt] = []
        self._say = say

    async def generate(
        self, prompt: Prompt, sampling: Sampling
    ) -> AsyncGenerator[Token | Finish, None]:
        self.prompts.append(prompt)
        text = self._say(prompt)
        pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
        most = sampling.num_predict if sampling.num_predict > 0 else len(pieces)
        for number, piece in enumerate(pieces[:most]):
            yield Token(number, piece, -0.01)
        reason = "length" if len(pieces) > most else "stop"
        yield Finish(reason=reason, prompt_tokens=1, output_tokens=min(len(pieces), most))

    async def embed(self, wanted: TextsToEmbed) -> Embedded:
        digests = [hashlib.sha256(text.encode()).digest() for text in wanted.texts]
        made = tuple(tuple(byte / 255 - 0.5 for byte in digest) for digest in digests)
        return Embedded(vectors=made, tokens=len(made))

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        return list(range((len(text) + 3) // 4))

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return "x" * len(tokens)


class _Reservation:
    def __init__(self, loan: Speaker) -> None:
        self.loan = loan

    async def __aenter__(self) -> _Reservation:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def wait(self) -> AsyncIterator[Queued]:
        return
        yield


class SpeakingRooms:
    """What a ready task needs of its rooms."""

    def __init__(self, say: Say, num_ctx: int = 8192) -> None:
        summary = ModelSummary(
            name="speaker",
            digest="0" * 64,
            size_bytes=1,
            modified_at=0.0,
            details=Details(context_length=num_ctx),
            capabilities=("completion", "embedding"),
        )
        model = Model(summary=summary, weights_digest="0" * 64, template="{{ .Prompt }}")
        self.loan = Speaker(model, say, num_ctx)
        self.models: Any = self
        self.asked_for: list[str] = []

    def find(self, name: str) -> Model:
        self.asked_for.append(name)
        return self.loan.model

    def reserve(self, model: Model, options: Options, **_: Any) -> _Reservation:
        return _Reservation(self.loan)


async def result_of(task: Any, request: Any, say: Say, num_ctx: int = 8192) -> dict[str, Any]:
    """What the task gives back when the model says that."""
    events = [e async for e in task.run(request, SpeakingRooms(say, num_ctx))]
    return _answered(events)


def _answered(events: Sequence[Event]) -> dict[str, Any]:
    (found,) = (event for event in events if isinstance(event, Answered))
    return found.result
