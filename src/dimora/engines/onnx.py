"""ONNX Runtime GenAI: runs folders of its format on CPUs. The package has the MIT licence.

The library gives the scores of all tokens, and the choice is ours: so every option means what it
means elsewhere. Each answer has a generator of its own, which keeps what it has read for the next
prompt that begins alike. The library holds Python's lock while it computes, so answers that are
written at once take turns, and a prompt is read in short pieces.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dimora.core.errors import (
    BadRequest,
    InternalError,
    InvalidModel,
    PromptTooLong,
    UnsupportedFeature,
)
from dimora.engines._anatomy import anatomy_of
from dimora.engines._beginnings import saved_length, shared_length
from dimora.engines._folder_links import linked_folder
from dimora.engines._reading import ENDS, Reading
from dimora.engines._sampling import Sampler, log_probabilities
from dimora.engines.base import Cancellation, EngineSettings, ModelFiles, Offer
from dimora.prompts.prompt import Prompt
from dimora.tasks.advice import Footprint
from dimora.tasks.base import Embedded, Feature, Finish, Model, TextsToEmbed, Token
from dimora.tasks.options import LoadOptions, Sampling

if TYPE_CHECKING:
    import numpy
    import onnxruntime_genai
    from numpy.typing import NDArray

_CONFIG = "genai_config.json"
# A prompt is read in pieces of so many tokens, between which a cancellation is noticed. No piece is
# a single token: the library rounds those in another way, and a prompt of which the beginning is
# known would be answered otherwise than one that is read whole.
_PIECE_TOKENS = 64
_SMALLEST_PIECE_TOKENS = 2
# Memory: weights in 4 bits are kept as they are and packed once more, keys and values are numbers
# of 32 bits, and each answer has the scores of all words for each token of a piece.
_FOUR_BITS_PACKED = 1.8
_NUMBER_BYTES = 4
_COPIES_OF_SCORES = 2
_PROCESS_BYTES = 40 * 2**20
_WORD_BYTES = 470


def offer(settings: EngineSettings) -> Offer:
    try:
        return Offer(available=True, version=version("onnxruntime-genai"), reason="on CPUs")
    except PackageNotFoundError:
        return Offer(
            available=False, reason="onnxruntime-genai is not installed (dimora[onnx] brings it)"
        )


def refuses(model: Model) -> str:
    if model.summary.details.format != "onnx":
        return "it reads folders of ONNX Runtime GenAI only"
    return "it loads no adapters" if model.adapters else ""


def rank(model: Model, settings: EngineSettings) -> tuple[int, str]:
    if model.summary.details.format != "onnx":
        return 0, "it is for its own format"
    return 50, "the model is in the format of ONNX Runtime GenAI"


def footprint(model: Model, options: LoadOptions) -> Footprint:
    """With every window full; constants were measured on x86-64."""
    anatomy = anatomy_of(model)
    size_bytes = model.engine_bytes
    packed = model.summary.details.quantization_level.startswith("INT4")
    kv_per_token = _NUMBER_BYTES * anatomy.kv_values_per_token
    scores = _NUMBER_BYTES * _PIECE_TOKENS * anatomy.vocabulary
    return Footprint(
        weights_bytes=round(size_bytes * (_FOUR_BITS_PACKED if packed else 1.0)),
        kv_cache_bytes=kv_per_token * options.num_ctx * options.parallel,
        compute_bytes=_COPIES_OF_SCORES * scores * options.parallel,
        overhead_bytes=_PROCESS_BYTES + _WORD_BYTES * anatomy.vocabulary,
        read_bytes_per_token=size_bytes,
        read_bytes_per_past_token=kv_per_token,
        blocks=anatomy.blocks,
    )


def load(files: ModelFiles, model: Model, options: LoadOptions, settings: EngineSettings) -> Onnx:
    """Raises InvalidModel when the library cannot load the folder."""
    _silence()
    import onnxruntime_genai

    others = {name: path for name, path in files.folder.items() if name != _CONFIG}
    with linked_folder(others, settings.scratch_path) as folder:
        try:
            own = json.loads(Path(files.folder[_CONFIG]).read_bytes())
            (folder / _CONFIG).write_text(json.dumps(_config(own, options)))
            config = onnxruntime_genai.Config(str(folder))
            config.clear_providers()
            loaded = onnxruntime_genai.Model(config)
            tokenizer = onnxruntime_genai.Tokenizer(loaded)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError):
            raise InvalidModel(
                "ONNX Runtime GenAI cannot load this model",
                hint="it may be made for another device or a newer version",
                code="engine_cannot_load",
            ) from None
    return Onnx(loaded, tokenizer, options)


def _silence() -> None:
    """Keep ONNX Runtime from calling home: on every system it writes down a number for this
    machine, and sends word of models and speed to a web service. It looks at this once, when it
    is loaded."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def _config(own: dict[str, Any], options: LoadOptions) -> dict[str, Any]:
    """The model's config without what it says about sessions: that could name libraries to load
    and files to write."""
    model = dict(own["model"])
    model["decoder"] = {
        key: value
        for key, value in model["decoder"].items()
        if key not in ("session_options", "run_options")
    }
    session: dict[str, Any] = {"log_id": "onnxruntime-genai", "provider_options": []}
    if options.num_thread:
        session["intra_op_num_threads"] = options.num_thread
    model["decoder"]["session_options"] = session
    shares = own.get("search", {}).get("past_present_share_buffer", False)
    search = {"max_length": options.num_ctx, "past_present_share_buffer": bool(shares)}
    return {"model": model, "search": search}


class _Seat(msgspec.Struct):
    """A generator, and the tokens it has read, all for one scope."""

    generator: onnxruntime_genai.Generator
    read: list[int]
    scope: str

    def belong_to(self, scope: str) -> None:
        """Forget what was read for another scope."""
        if scope != self.scope:
            self.scope = scope
            self.reuse([])

    def reuse(self, tokens: list[int]) -> int:
        """Forget what differs from these tokens; gives how many stay. A piece is left to read."""
        shared = shared_length(self.read, tokens[:-_SMALLEST_PIECE_TOKENS])
        if shared < len(self.read):
            self.generator.rewind_to(shared)
            del self.read[shared:]
        return shared

    def append(self, tokens: Sequence[int]) -> None:
        import numpy

        self.generator.append_tokens(numpy.array(tokens, dtype=numpy.int32))
        self.read += tokens

    def scores(self) -> NDArray[numpy.float32]:
        """Of all tokens, for the one that comes next."""
        scores: NDArray[numpy.float32] = self.generator.get_logits()[0, -1]
        return scores


def in_pieces(tokens: list[int]) -> Iterator[list[int]]:
    """Parts to be read one after the other."""
    at = 0
    while at < len(tokens):
        end = at + _PIECE_TOKENS
        if 0 < len(tokens) - end < _SMALLEST_PIECE_TOKENS:
            end = len(tokens)
        yield tokens[at:end]
        at = end


class _Seats:
    """Generators, `most` of them, that nobody uses now; threads share it."""

    def __init__(self, model: onnxruntime_genai.Model, context_tokens: int, most: int) -> None:
        self._model = model
        self._context_tokens = context_tokens
        self._most = most
        self._free: list[_Seat] = []
        # Those that are free and those that are taken.
        self._count = 0
        self._lock = threading.Lock()

    def take(self, scope: str, tokens: list[int]) -> _Seat:
        """The one of this scope that saves most of the reading; else a new one, or where there are
        enough, the one that was given back longest ago."""

        def saved(seat: _Seat) -> int:
            return saved_length(seat.read, tokens) if seat.scope == scope else 0

        with self._lock:
            best = max(self._free, key=saved, default=None)
            if best is None or (not saved(best) and self._count < self._most):
                seat = self._new(scope)
                self._count += 1
                return seat
            # Of those that save nothing, `max` gives the first.
            self._free.remove(best)
            best.belong_to(scope)
            return best

    def give_back(self, seat: _Seat | None) -> None:
        """What was taken; None where it is of no use any more."""
        with self._lock:
            if seat is None or self._count > self._most:
                self._count -= 1
            else:
                self._free.append(seat)

    def _new(self, scope: str) -> _Seat:
        import onnxruntime_genai

        params = onnxruntime_genai.GeneratorParams(self._model)
        params.set_search_options(max_length=self._context_tokens, batch_size=1)
        return _Seat(onnxruntime_genai.Generator(self._model, params), [], scope)


class Onnx:
    """See engines.base.Engine."""

    name = "onnx"
    features: frozenset[Feature] = frozenset(
        {"generate", "logprobs", "top_logprobs", "logit_bias", "typical_p", "repeat_last_n"}
    )

    def __init__(
        self,
        model: onnxruntime_genai.Model,
        tokenizer: onnxruntime_genai.Tokenizer,
        options: LoadOptions,
    ) -> None:
        self.version = version("onnxruntime-genai")
        self.context_tokens = options.num_ctx
        self._tokenizer = tokenizer
        self._bos_ids = self._find_bos_ids()
        self._stop_ids = self._find_stop_ids()
        self._seats = _Seats(model, options.num_ctx, options.parallel)

    def generate(
        self, prompt: Prompt, sampling: Sampling, cancel: Cancellation
    ) -> Iterator[Token | Finish]:
        if prompt.json_schema is not None:
            raise UnsupportedFeature("this engine cannot hold an answer to a JSON schema")
        tokens = list(prompt.tokens) or self.tokenize(prompt.text, add_special=True)
        room = self.context_tokens - len(tokens)
        if room < 1:
            raise PromptTooLong("the prompt is longer than the context window of the engine")
        if not tokens:
            raise BadRequest("the prompt is empty: this model needs a token to begin with")
        limit = min(sampling.num_predict, room) if sampling.num_predict >= 0 else room
        if limit == 0:
            yield Finish(reason="length", prompt_tokens=len(tokens))
            return
        seat = self._seats.take(prompt.scope, tokens)
        # A generator in the middle of a step is dropped, the next answer gets another.
        whole = None
        try:
            yield from self._answer(seat, tokens, sampling, limit, cancel)
            whole = seat
        except RuntimeError:
            raise InternalError("the engine failed", hint="ask again") from None
        finally:
            self._seats.give_back(whole)

    def _answer(
        self,
        seat: _Seat,
        tokens: list[int],
        sampling: Sampling,
        limit: int,
        cancel: Cancellation,
    ) -> Iterator[Token | Finish]:
        started = time.perf_counter()
        cached = seat.reuse(tokens)
        for piece in in_pieces(tokens[cached:]):
            if cancel.cancelled:
                return
            seat.append(piece)
        read = time.perf_counter()
        reading = Reading(self.detokenize, self._stop_ids, sampling.stop)
        sampler = Sampler(sampling, tokens, self.context_tokens)
        while not reading.ended:
            if cancel.cancelled:
                return
            scores = seat.scores()
            chosen = sampler.choose(scores)
            yield from self._told(reading, scores, chosen, sampling.logprobs)
            if chosen in self._stop_ids:
                yield from reading.end("stop")
            elif reading.count == limit and not reading.ended:
                yield from reading.end("length")
            elif not reading.ended:
                seat.append([chosen])
        yield Finish(
            reason="length" if reading.ended == "length" else "stop",
            prompt_tokens=len(tokens),
            cached_tokens=cached,
            output_tokens=reading.count,
            prompt_seconds=read - started,
            output_seconds=time.perf_counter() - read,
        )

    def _told(
        self, reading: Reading, scores: NDArray[numpy.float32], chosen: int, logprobs: int | None
    ) -> Iterator[Token]:
        if logprobs is None:
            yield from reading.read(chosen)
            return
        logprob, top = log_probabilities(scores, chosen, logprobs)
        named = (msgspec.structs.replace(t, text=self.detokenize([t.id])) for t in top)
        yield from reading.read(chosen, logprob, tuple(named))

    def embed(self, wanted: TextsToEmbed, cancel: Cancellation) -> Embedded:
        raise UnsupportedFeature("this engine does not embed")

    def tokenize(self, text: str, add_special: bool) -> list[int]:
        if "\0" in text:
            # The library takes it for the end of the text.
            raise BadRequest("the engine cannot read a text with the character U+0000 in it")
        return [*(self._bos_ids if add_special else ()), *map(int, self._tokenizer.encode(text))]

    def detokenize(self, tokens: Sequence[int]) -> str:
        import numpy

        return str(self._tokenizer.decode(numpy.array(tokens, dtype=numpy.int32)))

    def close(self) -> None:
        """Its memory goes with the process."""

    def _find_bos_ids(self) -> list[int]:
        """What the tokenizer puts before every text; from now on it adds and leaves out nothing."""
        self._tokenizer.update_options(add_special_tokens="true", skip_special_tokens="false")
        special = [int(id_) for id_ in self._tokenizer.encode("a")]
        self._tokenizer.update_options(add_special_tokens="false")
        plain = [int(id_) for id_ in self._tokenizer.encode("a")]
        return special[: special.index(plain[0])] if plain and plain[0] in special else []

    def _find_stop_ids(self) -> frozenset[int]:
        ids = {int(id_) for id_ in self._tokenizer.eos_token_ids}
        for text in ENDS:
            tokens = self.tokenize(text, add_special=False)
            if len(tokens) == 1:
                ids.update(tokens)
        return frozenset(ids)
