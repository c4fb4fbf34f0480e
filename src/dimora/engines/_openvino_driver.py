"""The one thread that drives OpenVINO's pipeline, and the requests on their way through it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from dimora.core.errors import BadRequest, InternalError, WorkerDied
from dimora.engines._stretches import CERTAIN, Step, Stretches

if TYPE_CHECKING:
    import openvino_genai

_ENDED = {"STOP": "stop", "LENGTH": "length"}
# Fewer forced tokens than this are not worth a stretch of their own, however many write.
_LEAST_SKIPPED = 2
_NEVER = 2**31
# What becomes of a request: the pipeline goes on, begins it again, or leaves it.
Next = Literal["on", "again", "over"]


class News:
    """Tokens of one step. `ended` is empty, `stop` or `length`."""

    def __init__(self, ids: Sequence[int], logprobs: Sequence[float], ended: str) -> None:
        self.ids = ids
        self.logprobs = logprobs
        self.ended = ended


class Ask:
    """A request on its way through the driver."""

    def __init__(self, tokens: Sequence[int], config: openvino_genai.GenerationConfig) -> None:
        self.tokens = tokens
        self.config = config
        # What the driver read, or an error.
        self.outbox: queue.SimpleQueue[News | Exception] = queue.SimpleQueue()
        self.cancelled = False
        # Nothing is left for the pipeline to do.
        self.is_over = False

    def take(self, news: News) -> Next:
        """What the pipeline wrote for it. In the driver's thread: until this returns, nothing is
        computed."""
        self.outbox.put(news)
        return "over" if news.ended else "on"


class AskInStretches(Ask):
    """A request whose answer a grammar holds. `configure` makes what the pipeline is asked for in
    the next stretch, which skips forced text where `skipping`."""

    def __init__(
        self,
        prompt: Sequence[int],
        stretches: Stretches,
        configure: Callable[[], openvino_genai.GenerationConfig],
        *,
        skipping: bool,
    ) -> None:
        # Told with the first token that the pipeline writes: before that nothing was read.
        step = stretches.begin() if skipping else Step()
        self._told = list(step.told)
        super().__init__([*prompt, *stretches.ids], configure())
        self._prompt = prompt
        self._stretches = stretches
        self._configure = configure
        self._skipping = skipping
        if step.ended:
            self.is_over = True
            self._tell(step.ended)

    def take(self, news: News) -> Next:
        step = Step()
        least = _LEAST_SKIPPED if self._skipping else _NEVER
        for at, id_ in enumerate(news.ids):
            logprob = news.logprobs[at] if at < len(news.logprobs) else CERTAIN
            step = self._stretches.feed(id_, logprob, least=least)
            self._told += step.told
            if step.ended or step.again:
                break
        if news.ended and not step.ended and not step.again:
            step = self._stretches.end(news.ended)
            self._told += step.told
        self._tell(step.ended)
        if step.again:
            self.tokens = [*self._prompt, *self._stretches.ids]
            self.config = self._configure()
            return "again"
        return "over" if step.ended else "on"

    def _tell(self, ended: str) -> None:
        told, self._told = self._told, []
        self.outbox.put(News([id_ for id_, _ in told], [p for _, p in told], ended))


class Driver(threading.Thread):
    """The one thread that touches the pipeline after it was made."""

    def __init__(self, pipeline: openvino_genai.ContinuousBatchingPipeline) -> None:
        super().__init__(name="driver", daemon=True)
        self._pipeline = pipeline
        self._inbox: queue.SimpleQueue[Ask | None] = queue.SimpleQueue()
        self._active: dict[Ask, openvino_genai.GenerationHandle] = {}
        self._numbers = 0

    def add(self, ask: Ask) -> None:
        self._inbox.put(ask)

    def close(self) -> None:
        self._inbox.put(None)

    def run(self) -> None:
        try:
            while self._take():
                if self._pipeline.has_non_finished_requests():
                    self._pipeline.step()
                self._deliver()
        except RuntimeError:
            # It stays in the middle of its step, and every later step would fail too.
            return
        finally:
            self._fail_all()

    def _take(self) -> bool:
        """New requests; waits for one when there is nothing to do. False at the end."""
        while not self._active or not self._inbox.empty():
            ask = self._inbox.get()
            if ask is None:
                return False
            if not ask.cancelled:
                self._begin(ask)
        return True

    def _begin(self, ask: Ask) -> None:
        import numpy
        import openvino

        self._numbers += 1
        tokens = openvino.Tensor(numpy.array([ask.tokens], dtype=numpy.int64))
        try:
            self._active[ask] = self._pipeline.add_request(self._numbers, tokens, ask.config)
        except RuntimeError:
            self._active.pop(ask, None)
            ask.outbox.put(
                BadRequest(
                    "the engine refused the request",
                    hint="a JSON schema it cannot hold, or a value out of range",
                    code="engine_refused",
                )
            )

    def _deliver(self) -> None:
        for ask, handle in list(self._active.items()):
            if ask.cancelled:
                handle.cancel()
                del self._active[ask]
                continue
            is_at_work = self._read(ask, handle)
            if is_at_work and handle.get_status().name not in ("RUNNING", "FINISHED"):
                ask.outbox.put(InternalError("the engine dropped the request"))
                del self._active[ask]

    def _read(self, ask: Ask, handle: openvino_genai.GenerationHandle) -> bool:
        """What the pipeline has written for one; False when it goes on no more by this handle."""
        while handle.can_read():
            for output in handle.read().values():
                ended = _ENDED.get(output.finish_reason.name, "")
                news = News(output.generated_ids, output.generated_log_probs, ended)
                following = ask.take(news)
                if following == "on":
                    continue
                handle.cancel()
                if following == "again":
                    # What was read for it is in the cache of prefixes.
                    self._begin(ask)
                else:
                    del self._active[ask]
                return False
        return True

    def _fail_all(self) -> None:
        for ask, handle in self._active.items():
            ask.outbox.put(WorkerDied("the engine failed", hint="ask again"))
            handle.cancel()
        self._active.clear()
