"""Counts every request once it ended, and tells all counts as Prometheus text.

Label values are names of models, tasks and engines: never a user's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dimora.core.types import Usage
from dimora.ledger.counts import Counter, Histogram, Labels
from dimora.tasks.base import Running

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Ledger:
    """One per house; not for several threads."""

    def __init__(self) -> None:
        by_task = ("task", "model")
        by_model = ("model",)
        self.requests = Counter(
            "dimora_requests", "Requests by task, model and how they ended.", (*by_task, "ended")
        )
        self.prompt_tokens = Counter(
            "dimora_prompt_tokens", "Tokens read by models, cached ones included.", by_model
        )
        self.cached_tokens = Counter(
            "dimora_cached_prompt_tokens", "Prompt tokens found in the cache.", by_model
        )
        self.output_tokens = Counter("dimora_output_tokens", "Tokens written by models.", by_model)
        self.truncated = Counter(
            "dimora_truncated_prompts", "Prompts cut to fit the context window.", by_model
        )
        self.loads = Counter(
            "dimora_model_loads", "Times a model was loaded.", (*by_model, "engine", "ended")
        )
        self.seconds = Histogram(
            "dimora_request_duration_seconds", "Time of whole requests.", by_task, _SECONDS
        )
        self.first_event = Histogram(
            "dimora_time_to_first_token_seconds",
            "Time from a request to its first piece of answer.",
            by_task,
            _SECONDS,
        )
        self.queue_seconds = Histogram(
            "dimora_queue_duration_seconds", "Time requests waited for a model.", by_model, _SECONDS
        )
        self.load_seconds = Histogram(
            "dimora_model_load_duration_seconds",
            "Time to load models.",
            (*by_model, "engine"),
            _SECONDS,
        )

    def note_request(
        self,
        task: str,
        model: str,
        *,
        ended: str,
        usage: Usage,
        seconds: float,
        first_seconds: float | None,
    ) -> None:
        """Count one request that ended; `first_seconds` is None when nothing was answered."""
        self.requests.add((task, model, ended))
        self.seconds.observe((task, model), seconds)
        if first_seconds is not None:
            self.first_event.observe((task, model), first_seconds)
        if usage.prompt_tokens or usage.output_tokens:
            self.prompt_tokens.add((model,), usage.prompt_tokens)
            self.cached_tokens.add((model,), usage.cached_tokens)
            self.output_tokens.add((model,), usage.output_tokens)
        if usage.truncated:
            self.truncated.add((model,))

    def note_wait(self, model: str, seconds: float) -> None:
        self.queue_seconds.observe((model,), seconds)

    def note_load(self, model: str, engine: str, ended: str, seconds: float) -> None:
        self.loads.add((model, engine, ended))
        self.load_seconds.observe((model, engine), seconds)

    def tell(self, running: Iterable[Running]) -> bytes:
        """Everything counted, and the state of the loaded models, as Prometheus text (0.0.4)."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Told(self, list(running)))
        return generate_latest(registry)


class _Told:
    """A ledger and the loaded models, in the client library's words."""

    def __init__(self, ledger: Ledger, running: list[Running]) -> None:
        self._ledger = ledger
        self._running = running

    def collect(self) -> Iterator[Metric]:
        for entry in vars(self._ledger).values():
            yield _counter(entry) if isinstance(entry, Counter) else _histogram(entry)
        yield from _gauges(self._running)


def _counter(counter: Counter) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
    for values, total in counter.values.items():
        family.add_metric(values, total)
    return family


def _histogram(histogram: Histogram) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
    for values in histogram.counts:
        family.add_metric(values, histogram.cumulative(values), histogram.sums[values])
    return family


def _gauges(running: list[Running]) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    rows: dict[str, tuple[str, list[tuple[Labels, float]]]] = {
        "dimora_loaded_models": ("Models in memory.", [((), float(len(running)))]),
        "dimora_model_memory_bytes": ("Measured memory of a model's worker.", []),
        "dimora_model_active_requests": ("Answers being written.", []),
        "dimora_model_queued_requests": ("Requests waiting for a model.", []),
    }
    for one in running:
        labels = (one.summary.name, one.engine)
        rows["dimora_model_memory_bytes"][1].append((labels, float(one.memory_bytes)))
        rows["dimora_model_active_requests"][1].append((labels, float(one.active)))
        rows["dimora_model_queued_requests"][1].append((labels, float(one.queued)))
    for name, (text, samples) in rows.items():
        labelled = ("model", "engine") if name != "dimora_loaded_models" else ()
        family = GaugeMetricFamily(name, text, labels=labelled)
        for values, amount in samples:
            family.add_metric(values, amount)
        yield family
