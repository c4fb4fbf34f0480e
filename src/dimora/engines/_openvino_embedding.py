"""Vectors of texts by OpenVINO: the same few threads compute for all who ask.

Each thread takes a batch of texts at a time, of about the same length, from one request and, where
there is room left, from the others; requests take turns. Tokens are made here as well.
"""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from dimora.core.errors import InternalError, InvalidModel, UnsupportedFeature
from dimora.core.processor import usable_cores
from dimora.engines._fitting import ENDS, refuse_unless
from dimora.engines._mapped_files import release_pages
from dimora.engines._openvino_encoder import COUNTS, VECTORS, WORDS
from dimora.engines._openvino_folders import GRAPH, VOCABULARY, ready_folder
from dimora.engines._openvino_silence import silence
from dimora.engines._unigram import Unigram, Vocabulary
from dimora.engines.base import Cancellation, EngineSettings, ModelFiles
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Embedded, Feature, Finish, Model, TextsToEmbed, Token
from dimora.tasks.options import LoadOptions, Sampling

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

# A batch is this many tokens wide and high: more fits no cache, and is not faster.
_BATCH_TOKENS = 1024
# Widths are multiples of it: each new one has steps of its own to be made first.
_WIDTH_STEP = 16
# Texts much shorter than the batch is wide cost more there than in a batch of their own.
_LEAST_SHARE = 0.6
_THREADS_PER_STREAM = 4


def load(
    files: ModelFiles, model: Model, options: LoadOptions, settings: EngineSettings
) -> OpenVinoEmbedding:
    """Raises InvalidModel when it cannot be loaded, StorageFull when its folder has no room."""
    silence()
    import openvino

    core = openvino.Core()
    halves = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    threads = options.num_thread or usable_cores()
    streams = min(threads, max(2, threads // _THREADS_PER_STREAM))
    properties = {
        "INFERENCE_PRECISION_HINT": "bf16" if halves else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
    }

    def open_folder(*, anew: bool) -> tuple[_Desk, Vocabulary]:
        with ready_folder(
            files.weights,
            model,
            settings.cache_path,
            settings.scratch_path,
            unpacked=halves,
            anew=anew,
        ) as folder:
            vocabulary = msgspec.msgpack.decode((folder / VOCABULARY).read_bytes(), type=Vocabulary)
            compiled = core.compile_model(core.read_model(folder / GRAPH), "CPU", properties)
            desk = _Desk(compiled, streams)
            release_pages(folder.rglob("*.bin"))
            return desk, vocabulary

    try:
        try:
            desk, vocabulary = open_folder(anew=False)
        except (RuntimeError, ValueError, OSError):
            # What was made of the model may have been damaged since.
            desk, vocabulary = open_folder(anew=True)
    except (RuntimeError, ValueError, OSError):
        raise InvalidModel(
            "OpenVINO cannot load this model",
            hint="choose the engine llama_cpp; log/workers.log in the home may say more",
            code="engine_cannot_load",
        ) from None
    return OpenVinoEmbedding(desk, Unigram(vocabulary), options)


class OpenVinoEmbedding:
    """See engines.base.Engine."""

    name = "openvino"
    features: frozenset[Feature] = frozenset({"embed"})

    def __init__(self, desk: _Desk, tokenizer: Unigram, options: LoadOptions) -> None:
        self.version = version("openvino-genai")
        self.context_tokens = options.num_ctx
        self._desk = desk
        self._tokenizer = tokenizer

    def generate(
        self, prompt: Prompt, sampling: Sampling, cancel: Cancellation
    ) -> Iterator[Token | Finish]:
        raise UnsupportedFeature("this model makes vectors only")

    def embed(self, wanted: TextsToEmbed, cancel: Cancellation) -> Embedded:
        texts, cut = [], []
        for at, text in enumerate(wanted.texts):
            if cancel.cancelled:
                break
            tokens, was_cut = self._fit(text, wanted)
            texts.append(tokens)
            if was_cut:
                cut.append(at)
        asked = _Asked(texts)
        if texts:
            cancel.on_cancel(lambda: self._desk.drop(asked))
            self._desk.add(asked)
            asked.wait()
        return Embedded(
            vectors=tuple(asked.vectors),
            tokens=sum(map(len, texts)),
            cut=tuple(cut),
        )

    def _fit(self, text: str, wanted: TextsToEmbed) -> tuple[list[int], bool]:
        """The tokens of a text, in the window, and whether some had to go."""
        window = min(wanted.window, self.context_tokens)
        tokens = self._tokenizer.encode(text, add_special=True, limit=window)
        if len(tokens) <= window:
            return tokens, False
        refuse_unless(wanted.truncate)
        plain = self._tokenizer.encode(text, add_special=False, limit=window)
        return self._tokenizer.frame(plain[: max(0, window - ENDS)]), True

    def tokenize(self, text: str, add_special: bool) -> list[int]:
        return self._tokenizer.encode(text, add_special=add_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens)

    def close(self) -> None:
        self._desk.close()


class _Asked:
    """The texts of one request, shortest first, and the vectors that are there."""

    def __init__(self, texts: Sequence[Sequence[int]]) -> None:
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        self.waiting = [(texts[at], at) for at in order]
        self.vectors: list[tuple[float, ...]] = [()] * len(texts)
        self._left = len(texts)
        self._failure: Exception | None = None
        self._ended = threading.Event()

    def wait(self) -> None:
        """Returns when it is done or dropped. Raises what the computing failed with."""
        self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def put(self, at: int, vector: tuple[float, ...]) -> None:
        self.vectors[at] = vector
        self._left -= 1
        if not self._left:
            self._ended.set()

    def end(self, failure: Exception | None = None) -> None:
        self._failure = failure
        self._ended.set()

    def take(self, most: int, least: float) -> tuple[Sequence[int], int] | None:
        """The longest text of at most so many tokens, if it has no fewer than `least`."""
        at = bisect.bisect_right(self.waiting, most, key=lambda one: len(one[0])) - 1
        if at < 0 or len(self.waiting[at][0]) < least:
            return None
        return self.waiting.pop(at)


class _Place:
    """A text in a batch: its tokens, and where its vector goes."""

    __slots__ = ("asked", "at", "tokens")

    def __init__(self, asked: _Asked, tokens: Sequence[int], at: int) -> None:
        self.asked = asked
        self.tokens = tokens
        self.at = at


class _Desk:
    """Hands out batches to threads, one for each stream of the compiled model."""

    def __init__(self, compiled: openvino.CompiledModel, streams: int) -> None:
        self._compiled = compiled
        self._asked: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._closed = False
        # The first one packs the weights for the registers: after that the file is not needed.
        _compute(compiled.create_infer_request(), [[0]])
        for number in range(streams):
            threading.Thread(target=self._work, name=f"stream {number}", daemon=True).start()

    def add(self, asked: _Asked) -> None:
        with self._changed:
            self._asked.append(asked)
            self._changed.notify_all()

    def drop(self, asked: _Asked, failure: Exception | None = None) -> None:
        """No more of its texts are begun, and who waits for them goes on."""
        with self._changed:
            asked.waiting.clear()
            asked.end(failure)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        request = self._compiled.create_infer_request()
        while batch := self._next_batch():
            try:
                vectors = _compute(request, [place.tokens for place in batch])
            except Exception:  # noqa: BLE001 - the border of a thread, others wait for it
                for place in batch:
                    self.drop(place.asked, InternalError("the engine failed"))
                continue
            with self._changed:
                for place, vector in zip(batch, vectors.tolist(), strict=True):
                    place.asked.put(place.at, tuple(vector))

    def _next_batch(self) -> list[_Place]:
        """Waits for one; empty at the end."""
        with self._changed:
            while True:
                while self._asked and not self._asked[0].waiting:
                    self._asked.popleft()
                if self._closed:
                    return []
                if self._asked:
                    return self._fill_batch()
                self._changed.wait()

    def _fill_batch(self) -> list[_Place]:
        longest = len(self._asked[0].waiting[-1][0])
        width = _padded(longest)
        room = max(1, _BATCH_TOKENS // width)
        batch: list[_Place] = []
        for asked in self._asked:
            while len(batch) < room and (found := asked.take(width, longest * _LEAST_SHARE)):
                batch.append(_Place(asked, *found))
        # The others have their turn before it comes again.
        self._asked.rotate(-1)
        return batch


def _padded(count: int) -> int:
    return -(-count // _WIDTH_STEP) * _WIDTH_STEP


def _compute(request: openvino.InferRequest, texts: Sequence[Sequence[int]]) -> NDArray[Any]:
    """One vector for each text. Raises RuntimeError."""
    import numpy as np

    counts = np.array([len(text) for text in texts], np.int32)
    words = np.zeros((len(texts), _padded(int(counts.max()))), np.int32)
    for row, text in zip(words, texts, strict=True):
        row[: len(text)] = text
    request.infer({WORDS: words, COUNTS: counts}, share_inputs=True)
    return np.array(request.get_tensor(VECTORS).data)
