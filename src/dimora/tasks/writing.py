"""How one answer is written: fit the prompt into the window, run it, read what comes back.

Shared by chat and generate. Not a task itself.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from dimora.core.errors import BadRequest, InternalError, PromptTooLong, UnsupportedFeature
from dimora.core.types import Event, ToolCall, Usage
from dimora.prompts.prompt import Prompt
from dimora.prompts.reading import AnswerReader, CallOut, Piece, TextOut, ThoughtOut
from dimora.prompts.schema import violation
from dimora.tasks.base import Finish, Loan, Model, Token
from dimora.tasks.generation import (
    CallPiece,
    GenerationDone,
    GenerationRequest,
    TextPiece,
    ThoughtPiece,
)
from dimora.tasks.options import Options, Sampling, sampling_from

# No token is shorter than a byte and few are longer than this many: a prompt with more bytes for
# each token of the window cannot fit, and is refused without the cost of reading it.
BYTES_PER_TOKEN_AT_MOST = 64
# As upstream: a model that repeats one token this often will not come back by itself.
_REPEATS_AT_MOST = 30

TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the"
    " prompt, adjust the context length in settings, or use a model with a longer context length"
)


def window_of(loan: Loan, options: Options) -> int:
    """Tokens this answer may fill: what was asked for, as far as the loaded model has it."""
    return min(options.num_ctx or loan.num_ctx, loan.num_ctx)


def require(model: Model, capability: str, what: str) -> None:
    """Raises UnsupportedFeature, in the words clients know, when the model cannot do `what`."""
    if not model.can(capability):
        raise UnsupportedFeature(
            f'"{model.name}" does not support {what}',
            hint="`dimora show` lists what a model can do",
            code=f"no_{capability}",
        )


def check_features(loan: Loan, options: Options, request: GenerationRequest) -> None:
    """Raises UnsupportedFeature for each thing asked for that the engine would have to ignore."""
    wanted = {
        "logprobs": request.logprobs is not None,
        "top_logprobs": bool(request.logprobs),
        "json_schema": request.json_schema is not None,
        "images": request.has_images,
        "logit_bias": bool(options.logit_bias),
        "typical_p": options.typical_p not in (None, 1.0),
        "repeat_last_n": options.repeat_last_n not in (None, 64),
    }
    for feature, is_wanted in wanted.items():
        if is_wanted and feature not in loan.features:
            raise UnsupportedFeature(
                f"the engine {loan.engine} cannot do {feature} with this model",
                hint='choose another engine, for example with the option {"engine": "llama_cpp"},'
                " and a model without DRAFT",
                param=feature,
            )


class FittedPrompt:
    """A prompt that fits, and how many tokens it had before; 0 when nobody had to count."""

    def __init__(self, prompt: Prompt, original_tokens: int = 0) -> None:
        self.prompt = prompt
        self.original_tokens = original_tokens


def surely_fits(text: str, window: int) -> bool:
    """True when not even one token per byte would fill the window."""
    return len(text.encode()) + 8 < window


def refuse_hopeless(text: str, window: int) -> None:
    """Raises PromptTooLong for a text that no tokenizer could bring into the window."""
    if len(text) > window * BYTES_PER_TOKEN_AT_MOST:
        raise PromptTooLong(TOO_LONG)


def room_for_answer(window: int, num_predict: int | None) -> int:
    """Tokens kept free for the answer when a prompt has to be cut."""
    share = max(1, window // 8)
    return min(share, num_predict) if num_predict and num_predict > 0 else share


async def fit_text(
    loan: Loan, prompt: Prompt, options: Options, request: GenerationRequest
) -> FittedPrompt:
    """The prompt, its middle cut out when it is too long and the request allows that.

    The first `num_keep` tokens stay, then the last ones that fit.

    Raises:
        PromptTooLong: it does not fit, and `truncate` or `shift` is off or it is hopeless.
    """
    window = window_of(loan, options)
    if not prompt.tokens and surely_fits(prompt.text, window):
        return FittedPrompt(prompt)
    if prompt.tokens:
        tokens = prompt.tokens
    else:
        refuse_hopeless(prompt.text, window)
        tokens = tuple(await loan.tokenize(prompt.text))
    if len(tokens) < window:
        return FittedPrompt(_with_tokens(prompt, tokens), len(tokens))
    if not (request.truncate and request.shift):
        raise PromptTooLong(TOO_LONG)
    size = window - room_for_answer(window, options.num_predict)
    keep = min(max(options.num_keep if options.num_keep is not None else 4, 0), size)
    kept = tokens[:keep] + tokens[len(tokens) - (size - keep) :]
    return FittedPrompt(_with_tokens(prompt, kept), len(tokens))


def _with_tokens(prompt: Prompt, tokens: Sequence[int]) -> Prompt:
    return Prompt(
        text=prompt.text,
        tokens=tuple(tokens),
        images=prompt.images,
        json_schema=prompt.json_schema,
    )


def sampling_of(options: Options, request: GenerationRequest) -> Sampling:
    return sampling_from(options, shift=request.shift, logprobs=request.logprobs)


class Writer:
    """Runs prompts on a loan and turns what comes back into events; adds up what was used.

    One Writer is one answer, even when it takes two runs (a thought, then constrained text).
    """

    def __init__(self, loan: Loan, request: GenerationRequest, *, queue_started: float) -> None:
        self.loan = loan
        self.request = request
        self.warnings: list[str] = []
        self.reason = "stop"
        self.text = ""
        self.token_ids: list[int] = []
        self.calls = 0
        self.original_tokens = 0
        self._started = queue_started
        self._usage = Usage()
        self._repeats = 0
        self._last = ""

    async def write(
        self, prompt: Prompt, sampling: Sampling, reader: AnswerReader
    ) -> AsyncGenerator[Event, None]:
        """Events of one run. Sets `reason`; counts usage also when closed early."""
        held: list[Token] = []
        before = len(self.token_ids)
        is_stuck = False
        # Closed here and now, not when it is collected: closing is what stops the engine.
        async with aclosing(self.loan.generate(prompt, sampling)) as stream:
            async for item in stream:
                if isinstance(item, Finish):
                    self._account(item)
                    break
                # Text that was held back to the end has no id of its own.
                if item.id >= 0:
                    self.token_ids.append(item.id)
                if self.request.logprobs is not None:
                    held.append(item)
                for event in self._events(reader.feed(item.text), held):
                    yield event
                is_stuck = self._is_stuck(item)
                if is_stuck:
                    break
        if is_stuck:
            self.warnings.append("the model repeated one token and was stopped")
            # An engine that is stopped tells no counts.
            read = len(prompt.tokens) or len(await self.loan.tokenize(prompt.text))
            written = len(self.token_ids) - before
            self._account(Finish(reason="stop", prompt_tokens=read, output_tokens=written))
        for event in self._events(reader.finish(), held, last=True):
            yield event

    def _events(
        self, pieces: Sequence[Piece], held: list[Token], *, last: bool = False
    ) -> list[Event]:
        events: list[Event] = []
        for piece in pieces:
            match piece:
                case TextOut(text=text):
                    self.text += text
                    events.append(TextPiece(text=text, tokens=tuple(held)))
                    held.clear()
                case ThoughtOut(text=text):
                    events.append(ThoughtPiece(text=text))
                    held.clear()
                case CallOut(name=name, arguments=arguments):
                    events.extend(self.call(name, arguments))
                    held.clear()
        if last and held:
            events.append(TextPiece(text="", tokens=tuple(held)))
        return events

    def call(self, name: str, arguments: dict[str, object]) -> list[Event]:
        """A tool call with an id of its own; none where one is the most that was asked for."""
        if self.calls and not getattr(self.request, "parallel_tool_calls", True):
            return []
        event = CallPiece(
            index=self.calls, call=ToolCall(id=_call_id(), name=name, arguments=arguments)
        )
        self.calls += 1
        return [event]

    def _is_stuck(self, token: Token) -> bool:
        word = token.text.strip()
        self._repeats = self._repeats + 1 if word and word == self._last else 0
        self._last = word
        return self._repeats > _REPEATS_AT_MOST

    def _account(self, finish: Finish) -> None:
        before = self._usage
        self.reason = finish.reason
        self._usage = Usage(
            # A second run reads the first one's prompt again, from the cache: count it once.
            prompt_tokens=before.prompt_tokens or finish.prompt_tokens,
            cached_tokens=before.cached_tokens or finish.cached_tokens,
            output_tokens=before.output_tokens + finish.output_tokens,
            prompt_seconds=before.prompt_seconds + finish.prompt_seconds,
            output_seconds=before.output_seconds + finish.output_seconds,
        )

    @property
    def output_tokens(self) -> int:
        """Of the runs that ended so far."""
        return self._usage.output_tokens

    def check_schema(self) -> None:
        """Raises InternalError when a finished answer breaks the schema it was held to."""
        schema = self.request.json_schema
        if schema is None:
            return
        why = violation(self.text, schema)
        if not why:
            return
        if self.reason == "length":
            self.warnings.append("the answer was cut by its length limit: its JSON is incomplete")
            return
        raise InternalError(
            f"the answer does not match the JSON schema: {why}",
            code="schema_violation",
            hint="ask again, or simplify the schema",
        )

    def usage(self) -> Usage:
        used = self._usage
        return Usage(
            prompt_tokens=used.prompt_tokens,
            prompt_tokens_original=max(self.original_tokens, used.prompt_tokens),
            cached_tokens=used.cached_tokens,
            output_tokens=used.output_tokens,
            queue_seconds=self.loan.queue_seconds,
            load_seconds=self.loan.load_seconds,
            prompt_seconds=used.prompt_seconds,
            output_seconds=used.output_seconds,
            total_seconds=time.monotonic() - self._started,
        )

    def done(self, *, context: Sequence[int] = ()) -> GenerationDone:
        usage = self.usage()
        warnings = [*self.request.warnings, *self.warnings]
        if usage.truncated:
            warnings.append(
                f"the prompt was cut from {usage.prompt_tokens_original} to"
                f" {usage.prompt_tokens} tokens to fit the context window"
            )
        return GenerationDone(
            reason="tool_calls" if self.calls else self.reason,
            usage=usage,
            warnings=tuple(warnings),
            context=tuple(context),
        )


def _call_id() -> str:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return "call_" + "".join(secrets.choice(letters) for _ in range(8))


def check_common(request: GenerationRequest) -> None:
    """Raises BadRequest for controls that contradict themselves."""
    if request.logprobs is not None and not 0 <= request.logprobs <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20", param="top_logprobs")
