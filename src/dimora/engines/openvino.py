"""OpenVINO GenAI on x86-64: continuous batching with one thread that drives the pipeline.

It loads folders of its own format (IR), and makes such folders of GGUF files of a few families.
Requests and cancellations go through an inbox to the driver, since the pipeline is not for
several threads; each request reads its own outbox.
"""

from __future__ import annotations

import contextlib
import math
import platform
import random
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dimora.core.errors import (
    InternalError,
    InvalidModel,
    PromptTooLong,
    UnsupportedFeature,
)
from dimora.engines import _openvino_graph
from dimora.engines._folder_links import linked_folder
from dimora.engines._grammar import schema_grammar
from dimora.engines._mapped_files import release_pages
from dimora.engines._openvino_driver import Ask, AskInStretches, Driver, News
from dimora.engines._openvino_folders import ready_folder
from dimora.engines._openvino_memory import footprint as footprint
from dimora.engines._openvino_silence import silence
from dimora.engines._reading import ENDS, Reading
from dimora.engines._stretches import Stretches
from dimora.engines._text_cuts import cut_text
from dimora.engines._walk import Walk
from dimora.engines.base import Cancellation, EngineSettings, ModelFiles, Offer
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Embedded, Feature, Finish, Model, Token
from dimora.tasks.options import LoadOptions, Sampling

if TYPE_CHECKING:
    import openvino_genai

_MACHINES = ("x86_64", "amd64")
# Its GGUF tokenizer knows how these split words; it takes any other for one of them, silently.
_TOKENIZERS = ("llama-bpe", "qwen2", "smollm")
# It drops the beginning of a text of more than 8192 tokens, silently. No token is shorter than a
# byte and no character longer than four: pieces of this length are always read whole.
_PIECE_CHARACTERS = 2000
_KV_BLOCK_TOKENS = 32
_WIDE_TYPES = frozenset({"F32", "F16", "BF16"})
# A step reads at most so many prompt tokens: short enough to cancel, long enough to be fast.
_STEP_TOKENS = 256
_LARGEST_SEED = 2**31 - 1
_LARGEST_LENGTH = 2**31 - 1
_ANY_LENGTH = 2**31 - 1


def offer(settings: EngineSettings) -> Offer:
    if platform.machine().lower() not in _MACHINES:
        return Offer(available=False, reason="OpenVINO runs on x86-64 here")
    try:
        return Offer(available=True, version=version("openvino-genai"), reason="x86-64")
    except PackageNotFoundError:
        return Offer(available=False, reason="openvino-genai is not installed")


def refuses(model: Model) -> str:
    if model.adapters:
        return "it loads no adapters"
    if model.summary.details.format == "openvino":
        return "it loads no embedding models" if model.can("embedding") else ""
    if model.summary.details.format != "gguf":
        return "it reads GGUF files and OpenVINO IR only"
    if model.can("embedding"):
        return "it does not load embedding models from GGUF"
    if why_not := _openvino_graph.refuses(model):
        return why_not
    splits_words_like = model.metadata.get("tokenizer.ggml.pre", "")
    if model.metadata.get("tokenizer.ggml.model") != "gpt2" or splits_words_like not in _TOKENIZERS:
        return "it does not know the tokenizer of this model"
    return ""


def rank(model: Model, settings: EngineSettings) -> tuple[int, str]:
    if model.summary.details.format == "openvino":
        return 50, "the model is in OpenVINO's own format"
    if model.draft_digest:
        return 20, "OpenVINO does not use the draft of a GGUF model"
    if settings.llama_server_path and settings.llama_server_from == "the settings":
        return 50, "OpenVINO reads prompts and batches answers fastest on x86-64"
    return 70, "OpenVINO reads prompts and batches answers fastest on x86-64"


def load(
    files: ModelFiles, model: Model, options: LoadOptions, settings: EngineSettings
) -> OpenVino:
    """Raises InvalidModel when the pipeline cannot load the file, UnsupportedFeature never."""
    silence()
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = (math.ceil(options.num_ctx / _KV_BLOCK_TOKENS) + 1) * options.parallel
    scheduler.max_num_batched_tokens = _STEP_TOKENS
    scheduler.max_num_seqs = options.parallel
    scheduler.dynamic_split_fuse = True
    scheduler.enable_prefix_caching = True
    properties = _properties(model, options)

    def open_folder(*, anew: bool) -> openvino_genai.ContinuousBatchingPipeline:
        with _folder_of(files, model, settings, anew=anew) as folder:
            pipeline = openvino_genai.ContinuousBatchingPipeline(
                str(folder), scheduler, "CPU", properties
            )
            _warm_up(pipeline)
            release_pages(folder.rglob("*.bin"))
            return pipeline

    try:
        try:
            pipeline = open_folder(anew=False)
        except RuntimeError:
            if files.folder:
                raise
            # What was made of the model may have been damaged since.
            pipeline = open_folder(anew=True)
    except RuntimeError:
        other = "" if files.folder else "choose the engine llama_cpp; "
        raise InvalidModel(
            "OpenVINO cannot load this model",
            hint=f"{other}log/workers.log in the home may say more",
            code="engine_cannot_load",
        ) from None
    return OpenVino(pipeline, model, options)


def _warm_up(pipeline: openvino_genai.ContinuousBatchingPipeline) -> None:
    """One token, so that matrices are packed for the registers: after that the file's own pages
    are needed no more."""
    import numpy
    import openvino
    import openvino_genai

    config = openvino_genai.GenerationConfig(max_new_tokens=1, ignore_eos=True)
    words = openvino.Tensor(numpy.zeros((1, _KV_BLOCK_TOKENS), numpy.int64))
    # The request lasts as long as its handle.
    handle = pipeline.add_request(0, words, config)
    while pipeline.has_non_finished_requests():
        pipeline.step()
    handle.read_all()


def _folder_of(
    files: ModelFiles, model: Model, settings: EngineSettings, *, anew: bool
) -> contextlib.AbstractContextManager[Path]:
    if files.folder:
        return linked_folder(files.folder, settings.scratch_path)
    return ready_folder(files.weights, model, settings.cache_path, settings.scratch_path, anew=anew)


def _properties(model: Model, options: LoadOptions) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    if options.num_thread:
        properties["INFERENCE_NUM_THREADS"] = options.num_thread
    if model.summary.details.format == "gguf" and not set(model.tensor_types) <= _WIDE_TYPES:
        # Numbers between the layers stay whole, and each block of them is rounded to 8 bits for
        # its matrix: nearer to the file than 16 bits throughout, and faster at writing.
        properties["INFERENCE_PRECISION_HINT"] = "f32"
    return properties


class OpenVino:
    """See engines.base.Engine."""

    name = "openvino"
    features: frozenset[Feature] = frozenset({"generate", "json_schema", "logprobs"})

    def __init__(
        self,
        pipeline: openvino_genai.ContinuousBatchingPipeline,
        model: Model,
        options: LoadOptions,
    ) -> None:
        self.version = version("openvino-genai")
        self.context_tokens = options.num_ctx
        self._tokenizer = pipeline.get_tokenizer()
        self._is_folder = model.summary.details.format == "openvino"
        self._bos_ids = self._find_bos_ids() if self._is_folder else _bos_ids(model)
        self._stop_ids = self._find_stop_ids(pipeline)
        self._driver = Driver(pipeline)
        self._driver.start()

    def generate(
        self, prompt: Prompt, sampling: Sampling, cancel: Cancellation
    ) -> Iterator[Token | Finish]:
        started = time.perf_counter()
        tokens = list(prompt.tokens) or self.tokenize(prompt.text, add_special=True)
        room = self.context_tokens - len(tokens)
        if room < 1:
            raise PromptTooLong("the prompt is longer than the context window of the engine")
        limit = min(sampling.num_predict, room) if sampling.num_predict >= 0 else room
        reading = Reading(self.detokenize, self._stop_ids, sampling.stop)
        if limit == 0:
            yield Finish(reason="length", prompt_tokens=len(tokens))
            return
        ask = self._ask(tokens, prompt, sampling, limit)

        def leave() -> None:
            ask.cancelled = True
            ask.outbox.put(InternalError("cancelled"))

        cancel.on_cancel(leave)
        if not ask.is_over:
            self._driver.add(ask)
        first = 0.0
        try:
            while not reading.ended:
                news = ask.outbox.get()
                if cancel.cancelled:
                    return
                if isinstance(news, Exception):
                    raise news
                first = first or time.perf_counter()
                yield from _read(reading, news, sampling.logprobs)
        finally:
            ask.cancelled = True
        yield Finish(
            reason="length" if reading.ended == "length" else "stop",
            prompt_tokens=len(tokens),
            output_tokens=reading.count,
            prompt_seconds=first - started,
            output_seconds=time.perf_counter() - first,
        )

    def embed(self, texts: Sequence[str], cancel: Cancellation) -> Embedded:
        raise UnsupportedFeature("this engine does not embed")

    def tokenize(self, text: str, add_special: bool) -> list[int]:
        tokens = list(self._bos_ids) if add_special else []
        if self._is_folder:
            return tokens + self._encode(text) if text else tokens
        for piece in cut_text(text, _PIECE_CHARACTERS):
            tokens += self._encode(piece)
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def close(self) -> None:
        self._driver.close()

    def _encode(self, text: str, *, add_special: bool = False) -> list[int]:
        # The length a tokenizer was exported with would cut off what is longer, silently.
        encoded = self._tokenizer.encode(
            text, add_special_tokens=add_special, max_length=_LARGEST_LENGTH
        )
        return [int(id_) for id_ in encoded.input_ids.data[0]]

    def _find_bos_ids(self) -> list[int]:
        """What the tokenizer of a folder puts before every text."""
        plain, special = self._encode("a"), self._encode("a", add_special=True)
        return special[: special.index(plain[0])] if plain and plain[0] in special else []

    def _find_stop_ids(self, pipeline: openvino_genai.ContinuousBatchingPipeline) -> set[int]:
        ids = set(pipeline.get_config().stop_token_ids) | {self._tokenizer.get_eos_token_id()}
        for text in ENDS:
            tokens = self.tokenize(text, add_special=False)
            if len(tokens) == 1:
                ids.add(tokens[0])
        return {i for i in ids if 0 <= i < 2**31}

    def _ask(self, tokens: Sequence[int], prompt: Prompt, sampling: Sampling, limit: int) -> Ask:
        if prompt.json_schema is None:
            return Ask(tokens, self._config(sampling, limit))
        stretches = Stretches(
            Walk(schema_grammar(prompt.json_schema, longest_run=_ANY_LENGTH)),
            encode=lambda text: self.tokenize(text, add_special=False),
            decode=self.detokenize,
            ends=self._stop_ids,
            limit=limit,
        )
        # A skipped token has no probability, and is no longer one that was written.
        skipping = (
            sampling.logprobs is None
            and not sampling.presence_penalty
            and not sampling.frequency_penalty
        )

        def configure() -> openvino_genai.GenerationConfig:
            return self._config(sampling, stretches.room, stretches)

        return AskInStretches(tokens, stretches, configure, skipping=skipping)

    def _config(
        self, sampling: Sampling, limit: int, stretches: Stretches | None = None
    ) -> openvino_genai.GenerationConfig:
        import openvino_genai

        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = limit
        config.stop_token_ids = self._stop_ids
        config.repetition_penalty = sampling.repeat_penalty
        config.presence_penalty = sampling.presence_penalty
        config.frequency_penalty = sampling.frequency_penalty
        config.do_sample = sampling.temperature > 0
        if config.do_sample:
            config.temperature = sampling.temperature
            config.top_p = sampling.top_p or 1.0
            config.min_p = sampling.min_p
            config.rng_seed = (
                sampling.seed if sampling.seed >= 0 else random.randrange(_LARGEST_SEED)
            )
            if sampling.top_k > 0:
                config.top_k = sampling.top_k
        if sampling.logprobs is not None:
            config.logprobs = 1
        if stretches is not None:
            config.rng_seed = (config.rng_seed + len(stretches.ids)) % _LARGEST_SEED
            config.structured_output_config = openvino_genai.StructuredOutputConfig(
                grammar=stretches.grammar
            )
        return config


def _read(reading: Reading, news: News, logprobs: int | None) -> Iterator[Token]:
    told = list(news.logprobs) if logprobs is not None else []
    for at, id_ in enumerate(news.ids):
        yield from reading.read(int(id_), min(0.0, float(told[at])) if at < len(told) else None)
        if reading.ended:
            return
    if news.ended:
        yield from reading.end(news.ended)


def _bos_ids(model: Model) -> list[int]:
    """The token every prompt begins with, where the model's file asks for one."""
    wanted = model.metadata.get("tokenizer.ggml.add_bos_token")
    if wanted is None:
        # llama.cpp's default for the tokenizers this engine knows.
        wanted = model.metadata.get("tokenizer.ggml.pre") == "llama-bpe"
    bos = model.metadata.get("tokenizer.ggml.bos_token_id")
    return [int(bos)] if wanted and bos is not None else []
