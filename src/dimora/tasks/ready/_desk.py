"""Where a ready task works: a model on loan, asked as often as the job needs, metered as one.

Not a task itself.
"""

from __future__ import annotations

import re
import time
from contextlib import aclosing
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, InternalError, PromptTooLong
from dimora.core.types import Done, Message, Text, Usage
from dimora.prompts.prompt import Prompt
from dimora.prompts.quoting import quoted
from dimora.prompts.reading import AnswerReader
from dimora.prompts.schema import violation
from dimora.tasks.base import Rooms, Token
from dimora.tasks.borrowed import Borrowed
from dimora.tasks.constrained import write_constrained
from dimora.tasks.conversation import fit_conversation
from dimora.tasks.generation import GenerationRequest, TextPiece
from dimora.tasks.options import Options
from dimora.tasks.ready._mending import mended
from dimora.tasks.ready.base import ReadyRequest
from dimora.tasks.writing import Writer, check_features, require, sampling_of, window_of

# Work is repeatable and near to the text; who wants it otherwise says so in the options.
HABITS = Options(temperature=0.0, seed=1)
# After a broken answer: another one, not the same again.
_TRIES = 3
_TRY_TEMPERATURE = 0.4
# For what a template puts around messages, and what a model writes around an answer.
_AROUND_TOKENS = 64


class Answer(msgspec.Struct, frozen=True):
    """What the model wrote; `value` is its JSON where a schema held it. `cut` by a limit."""

    text: str
    value: Any = None
    tokens: tuple[Token, ...] = ()
    cut: bool = False

    def ended(self) -> str:
        """The text up to its last whole sentence or line, where a limit cut it."""
        text = self.text.strip()
        ends = [m.end() for m in re.finditer(r"[.!?…](?=\s|$)|\n", text)] if self.cut else []
        return text[: ends[-1]].strip() if ends else text


class Desk(Borrowed):
    """A model for the length of a job; enter it, wait, then ask.

    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        answer = await desk.ask(...)
    yield desk.done()
    """

    def __init__(self, request: ReadyRequest, rooms: Rooms) -> None:
        self.warnings: list[str] = []
        # Whether log-probabilities are of the tokens the grammar allows; None until it was seen.
        self.tells_allowed_shares: bool | None = None
        self._request = request
        self._started = time.monotonic()
        model = rooms.models.find(request.model)
        require(model, "completion", "chat")
        self._model = model
        self._options = request.options.over(HABITS).over(model.options)
        super().__init__(
            rooms.reserve(model, self._options, keep_alive=request.keep_alive, batch=request.batch)
        )
        self._used: list[Usage] = []

    @property
    def window(self) -> int:
        """Tokens that question and answer may have together."""
        return window_of(self.loan, self._options)

    async def room_for_text(self, system: str, question: str, answer_tokens: int) -> int:
        """Tokens of a text that fit beside these words and an answer; at most half the window is
        kept for that."""
        said = await self.count(system) + await self.count(question)
        answer = min(answer_tokens, self.window // 2)
        return max(self.window - said - answer - _AROUND_TOKENS, self.window // 8)

    async def answer_tokens(self, system: str, question: str, wanted: int) -> int:
        """So many tokens of an answer as are wanted, if the window has them beside the question.

        Raises:
            BadRequest: code `input_too_long`; work that cannot be done in parts.
        """
        said = await self.count(system) + await self.count(question)
        if said + wanted + _AROUND_TOKENS > self.window:
            raise BadRequest(
                f"question and answer need about {said + wanted} tokens, the window has"
                f" {self.window}",
                code="input_too_long",
                hint="give less at a time, or a larger num_ctx",
            )
        return wanted

    async def write(self, system: str, question: str, *, most_tokens: int) -> Answer:
        """Free text. Raises PromptTooLong."""
        return await self._once(system, question, None, most_tokens, 0, None)

    async def ask(
        self,
        system: str,
        question: str,
        schema: dict[str, Any],
        *,
        most_tokens: int,
        logprobs: bool = False,
        mend: bool = False,
    ) -> Answer:
        """JSON that matches the schema, whatever the model does.

        A broken or cut answer is asked for again, with more room and some chance. With `mend` the
        items that are whole of a cut one are enough, with a warning.

        Raises:
            InternalError: code `schema_violation`; it never matched.
            PromptTooLong: the question does not fit.
        """
        wanted = 0 if logprobs else None
        for attempt in range(_TRIES):
            answer = await self._once(
                system, question, schema, most_tokens * (attempt + 1), attempt, wanted
            )
            if not answer.cut and not violation(answer.text, schema):
                value = msgspec.json.decode(answer.text)
                return Answer(answer.text, value, answer.tokens)
            if mend and answer.cut and (text := mended(answer.text, schema)):
                self.warnings.append("an answer was too long: its end is missing")
                return Answer(text, msgspec.json.decode(text), answer.tokens, cut=True)
        raise InternalError(
            "the model did not finish an answer of the right form",
            code="schema_violation",
            hint="ask for less at a time, or take a larger model",
        )

    async def _once(
        self,
        system: str,
        question: str,
        schema: dict[str, Any] | None,
        most_tokens: int,
        attempt: int,
        logprobs: int | None,
    ) -> Answer:
        changed = Options(num_predict=most_tokens)
        if attempt:
            changed = Options(
                num_predict=most_tokens, temperature=_TRY_TEMPERATURE, seed=attempt + 1
            )
        options = changed.over(self._options)
        asked = GenerationRequest(
            options=options,
            json_schema=schema,
            think=False,
            truncate=False,
            shift=False,
            logprobs=logprobs,
        )
        check_features(self.loan, options, asked)
        messages = (Message("system", (Text(system),)), Message("user", (Text(question),)))
        fitted = await fit_conversation(self.loan, self._model, options, asked, messages)
        writer = Writer(self.loan, asked, queue_started=time.monotonic())
        rendered = fitted.rendered
        prompt = Prompt(text=rendered.text)
        if schema is not None:
            steps = write_constrained(writer, prompt, rendered, options, asked)
        else:
            reader = AnswerReader(
                thinking=rendered.thinking,
                thought_open=rendered.thought_open,
                tool_format="",
                tool_names=frozenset(),
            )
            steps = writer.write(prompt, sampling_of(options, asked), reader)
        tokens: list[Token] = []
        try:
            async with aclosing(steps):
                async for event in steps:
                    if isinstance(event, TextPiece):
                        tokens.extend(event.tokens)
        except InternalError as error:
            # Said by the caller, who may ask once more.
            if error.code != "schema_violation":
                raise
        finally:
            self._used.append(writer.usage())
        return Answer(writer.text, None, tuple(tokens), writer.reason == "length")

    def count_in(self, usage: Usage) -> None:
        """What another model was used for in the same job."""
        self._used.append(usage)

    def done(self) -> Done:
        """The end of the job, with all that was used; of each warning one."""
        used = self._used
        read = sum(u.prompt_tokens for u in used)
        return Done(
            usage=Usage(
                prompt_tokens=read,
                prompt_tokens_original=read,
                cached_tokens=sum(u.cached_tokens for u in used),
                output_tokens=sum(u.output_tokens for u in used),
                queue_seconds=self.loan.queue_seconds,
                load_seconds=self.loan.load_seconds,
                prompt_seconds=sum(u.prompt_seconds for u in used),
                output_seconds=sum(u.output_seconds for u in used),
                total_seconds=time.monotonic() - self._started,
            ),
            warnings=(*self._request.warnings, *dict.fromkeys(self.warnings)),
        )


def require_text(text: str, name: str = "text") -> None:
    """Raises BadRequest where there is nothing to work with."""
    if not text.strip():
        raise BadRequest(f"{name} is empty", param=name)


__all__ = ["Answer", "Desk", "PromptTooLong", "quoted", "require_text"]
