"""OpenVINO on x86-64: a decoder with paged attention, driven step by step here.

It loads folders of its own format (IR), and makes such folders of GGUF files of a few families.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import platform
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from dimora.core.processor import multiplies_bytes
from dimora.engines import _openvino_embedding, _openvino_encoder, _openvino_graph
from dimora.engines._constraints import Constraint, Vocabulary
from dimora.engines._folder_links import linked_folder
from dimora.engines._kv_blocks import Blocks
from dimora.engines._openvino_driver import Ask, Driver, News
from dimora.engines._openvino_folders import ready_folder
from dimora.engines._openvino_memory import computes_with_bytes, reads_brain_floats
from dimora.engines._openvino_memory import footprint as footprint
from dimora.engines._openvino_network import BLOCK_TOKENS, Row
from dimora.engines._openvino_paged import PagedDecoder
from dimora.engines._openvino_silence import silence
from dimora.engines._reading import ENDS, Reading
from dimora.engines._text_cuts import cut_text
from dimora.engines.base import Cancellation, EngineSettings, ModelFiles, Offer
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Embedded, Feature, Finish, Model, TextsToEmbed, Token
from dimora.tasks.options import LoadOptions, Sampling

if TYPE_CHECKING:
    import openvino_genai

_MACHINES = ("x86_64", "amd64")
# Its GGUF tokenizer knows how these split words; it takes any other for one of them, silently.
_TOKENIZERS = ("llama-bpe", "qwen2", "smollm")
# It drops the beginning of a text of more than 8192 tokens, silently. No token is shorter than a
# byte and no character longer than four: pieces of this length are always read whole.
_PIECE_CHARACTERS = 2000
_LARGEST_LENGTH = 2**31 - 1
# How vocabularies after SentencePiece write a blank, and a byte that is in no other piece.
_BLANK = "\u2581".encode()
_BYTE = re.compile(rb"<0x([0-9A-F]{2})>")


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
        return _openvino_encoder.refuses(model)
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
    if not (multiplies_bytes() or model.can("embedding")):
        return 35, "OpenVINO computes with floats on this processor, which has no VNNI"
    if settings.llama_server_path and settings.llama_server_from == "the settings":
        return 50, "OpenVINO reads prompts and batches answers fastest on x86-64"
    return 70, "OpenVINO reads prompts and batches answers fastest on x86-64"


def load(
    files: ModelFiles, model: Model, options: LoadOptions, settings: EngineSettings
) -> OpenVino | _openvino_embedding.OpenVinoEmbedding:
    """Raises InvalidModel when OpenVINO cannot load the file, UnsupportedFeature never."""
    if model.can("embedding"):
        return _openvino_embedding.load(files, model, options, settings)
    silence()
    window = math.ceil(options.num_ctx / BLOCK_TOKENS) + 1
    count = window * options.parallel
    properties = _properties(model, options)
    brain = window if reads_brain_floats(model, options) else 0

    def open_folder(*, anew: bool) -> OpenVino:
        with (
            _folder_of(files, model, settings, anew=anew) as folder,
            ThreadPoolExecutor(1) as beside,
        ):
            # Both take long, each on one core most of the time.
            tokenizer = beside.submit(_tokenizer, folder)
            decoder = PagedDecoder(folder, count, properties, brain_blocks=brain)
            # Packs the matrices as one token needs them; for many they are packed again.
            decoder.step([Row([0], 0, [0], wanted=True)])
            ends = _ends(folder) if files.folder else []
            blocks = Blocks(count, BLOCK_TOKENS, decoder.copy_block)
            return OpenVino(decoder, blocks, tokenizer.result(), ends, model, options)

    try:
        try:
            return open_folder(anew=False)
        except RuntimeError:
            if files.folder:
                raise
            # What was made of the model may have been damaged since.
            return open_folder(anew=True)
    except RuntimeError:
        other = "" if files.folder else "choose the engine llama_cpp; "
        raise InvalidModel(
            "OpenVINO cannot load this model",
            hint=f"{other}log/workers.log in the home may say more",
            code="engine_cannot_load",
        ) from None


def _tokenizer(folder: Path) -> openvino_genai.Tokenizer:
    import openvino_genai

    return openvino_genai.Tokenizer(folder)


def _ends(folder: Path) -> list[int]:
    """The tokens that end an answer, as the folder's own settings for writing say."""
    try:
        told = json.loads((folder / "generation_config.json").read_bytes())
        ends = told.get("eos_token_id", [])
    except (OSError, ValueError, AttributeError):
        return []
    return [int(id_) for id_ in (ends if isinstance(ends, list) else [ends]) if id_ is not None]


def _folder_of(
    files: ModelFiles, model: Model, settings: EngineSettings, *, anew: bool
) -> contextlib.AbstractContextManager[Path]:
    if files.folder:
        return linked_folder(files.folder, settings.scratch_path)
    return ready_folder(files.weights, model, settings.cache_path, settings.scratch_path, anew=anew)


def _properties(model: Model, options: LoadOptions) -> dict[str, Any]:
    # Keys and values as llama.cpp keeps them. In 8 bits they take half, but what a block holds
    # would be rounded anew with every token, and depend on how many came at once.
    properties: dict[str, Any] = {"KV_CACHE_PRECISION": "f16"}
    if options.num_thread:
        properties["INFERENCE_NUM_THREADS"] = options.num_thread
    if computes_with_bytes(model):
        # Numbers between the layers stay whole, and each block of them is rounded to 8 bits for
        # its matrix: nearer to the file than 16 bits throughout, and faster at writing.
        properties["INFERENCE_PRECISION_HINT"] = "f32"
    return properties


class OpenVino:
    """See engines.base.Engine."""

    name = "openvino"

    def __init__(
        self,
        decoder: PagedDecoder,
        blocks: Blocks,
        tokenizer: openvino_genai.Tokenizer,
        ends: Sequence[int],
        model: Model,
        options: LoadOptions,
    ) -> None:
        self.version = version("openvino-genai")
        self.context_tokens = options.num_ctx
        self._tokenizer = tokenizer
        self._texts = token_texts(tokenizer)
        # A grammar is held by the texts of the tokens.
        self.features = _WRITING if self._texts else _WRITING - {"json_schema"}
        self._is_folder = model.summary.details.format == "openvino"
        self._bos_ids = self._find_bos_ids() if self._is_folder else _bos_ids(model)
        self._stop_ids = self._find_stop_ids(ends)
        self._vocabulary = functools.cache(self._read_vocabulary)
        self._driver = Driver(decoder, blocks, options.num_ctx)
        self._driver.start()

    def generate(
        self, prompt: Prompt, sampling: Sampling, cancel: Cancellation
    ) -> Iterator[Token | Finish]:
        started = time.perf_counter()
        tokens = list(prompt.tokens) or self.tokenize(prompt.text, add_special=True)
        room = self.context_tokens - len(tokens)
        if room < 1:
            raise PromptTooLong("the prompt is longer than the context window of the engine")
        if not tokens:
            raise BadRequest("the prompt is empty: this model needs a token to begin with")
        limit = min(sampling.num_predict, room) if sampling.num_predict >= 0 else room
        reading = Reading(self.detokenize, self._stop_ids, sampling.stop)
        if limit == 0:
            yield Finish(reason="length", prompt_tokens=len(tokens))
            return
        constraint = None
        if prompt.json_schema is not None:
            if "json_schema" not in self.features:
                raise UnsupportedFeature(
                    "this engine cannot hold an answer to a JSON schema with this model"
                )
            constraint = Constraint(self._vocabulary(), prompt.json_schema)
        ask = Ask(
            tokens, sampling, limit, ends=self._stop_ids, scope=prompt.scope, constraint=constraint
        )

        def leave() -> None:
            ask.cancelled = True
            ask.outbox.put(InternalError("cancelled"))

        cancel.on_cancel(leave)
        self._driver.add(ask)
        first, cached = 0.0, 0
        try:
            while not reading.ended:
                news = ask.outbox.get()
                if cancel.cancelled:
                    return
                if isinstance(news, Exception):
                    raise news
                first = first or time.perf_counter()
                cached = news.cached_tokens
                yield from self._told(reading, news)
        finally:
            ask.cancelled = True
        yield Finish(
            reason="length" if reading.ended == "length" else "stop",
            prompt_tokens=len(tokens),
            cached_tokens=cached,
            output_tokens=reading.count,
            prompt_seconds=first - started,
            output_seconds=time.perf_counter() - first,
        )

    def _told(self, reading: Reading, news: News) -> Iterator[Token]:
        for chosen in news.chosen:
            top = (
                msgspec.structs.replace(one, text=self.detokenize([one.id])) for one in chosen.top
            )
            yield from reading.read(chosen.id, chosen.logprob, tuple(top))
            if reading.ended:
                return
        if news.ended:
            yield from reading.end(news.ended)

    def embed(self, wanted: TextsToEmbed, cancel: Cancellation) -> Embedded:
        raise UnsupportedFeature("this engine does not embed")

    def tokenize(self, text: str, add_special: bool) -> list[int]:
        tokens = list(self._bos_ids) if add_special else []
        if self._is_folder:
            return tokens + self._encode(text) if text else tokens
        for piece in cut_text(text, _PIECE_CHARACTERS):
            tokens += self._encode(piece)
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        if self._is_folder:
            return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))
        # The tokens of a GGUF that is read here are pieces of UTF-8.
        return b"".join(self._texts[id_] for id_ in tokens).decode(errors="replace")

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

    def _find_stop_ids(self, told: Sequence[int]) -> frozenset[int]:
        ids = {*told, self._tokenizer.get_eos_token_id()}
        for text in ENDS:
            tokens = self.tokenize(text, add_special=False)
            if len(tokens) == 1:
                ids.add(tokens[0])
        return frozenset(id_ for id_ in ids if 0 <= id_ < 2**31)

    def _read_vocabulary(self) -> Vocabulary:
        special = special_tokens(self._tokenizer, self._texts)
        return Vocabulary(self._texts, special, self._stop_ids, self._encode)


_WRITING: frozenset[Feature] = frozenset(
    {
        "generate",
        "json_schema",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "typical_p",
        "repeat_last_n",
    }
)


def token_texts(tokenizer: openvino_genai.Tokenizer) -> list[bytes]:
    """What each token stands for, by its id; empty where the tokenizer does not tell.

    Raises RuntimeError where it cannot decode at all.
    """
    try:
        ids = tokenizer.get_vocab()
    except RuntimeError:
        tokenizer.decode([0])
        return []
    are_pieces = any(map(_BYTE.fullmatch, ids))
    texts = [b""] * (max(ids.values(), default=-1) + 1)
    for text, id_ in ids.items():
        texts[id_] = _read_piece(text) if are_pieces else text
    return texts


def _read_piece(piece: bytes) -> bytes:
    if byte := _BYTE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    return piece.replace(_BLANK, b" ")


def special_tokens(tokenizer: openvino_genai.Tokenizer, texts: Sequence[bytes]) -> set[int]:
    """The ids of tokens that are no text. A blank is text, though some tokenizers drop it where a
    text begins."""
    plain = tokenizer.decode([[id_] for id_ in range(len(texts))], skip_special_tokens=True)
    return {id_ for id_, text in enumerate(plain) if not text and set(texts[id_]) != {ord(" ")}}


def _bos_ids(model: Model) -> list[int]:
    """The token every prompt begins with, where the model's file asks for one."""
    wanted = model.metadata.get("tokenizer.ggml.add_bos_token")
    if wanted is None:
        # llama.cpp's default for the tokenizers this engine knows.
        wanted = model.metadata.get("tokenizer.ggml.pre") == "llama-bpe"
    bos = model.metadata.get("tokenizer.ggml.bos_token_id")
    return [int(bos)] if wanted and bos is not None else []
