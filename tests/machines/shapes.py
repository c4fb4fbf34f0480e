"""Shapes of models that tests run, and how much memory a worker takes with one."""

from __future__ import annotations

from pathlib import Path

import psutil

from bench.make_model import Shape
from dimora.models.store import ModelStore
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Model
from dimora.tasks.options import LoadOptions, Sampling
from tests.worker_client import worker

_ANSWER_TOKENS = 8
_ROOM_TOKENS = 16
_FEW_TOKENS = 150


# Eight models that differ in all that memory depends on, and how each is loaded.
SHAPES = (
    (
        Shape(name="small", blocks=6, width=384, heads=6, kv_heads=2, feed_forward=1024),
        LoadOptions(num_ctx=1024, parallel=1),
    ),
    (
        Shape(
            name="grouped",
            blocks=12,
            width=768,
            heads=12,
            kv_heads=4,
            feed_forward=2048,
            weights="Q4_0",
        ),
        LoadOptions(num_ctx=2048, parallel=4),
    ),
    (
        Shape(
            name="ungrouped",
            blocks=8,
            width=512,
            heads=8,
            kv_heads=8,
            feed_forward=1536,
            weights="F16",
        ),
        LoadOptions(num_ctx=2048, parallel=2),
    ),
    (
        Shape(
            name="many words",
            architecture="qwen2",
            blocks=10,
            width=896,
            heads=14,
            kv_heads=2,
            feed_forward=2432,
            vocabulary=98304,
        ),
        LoadOptions(num_ctx=1024, parallel=2),
    ),
    (
        Shape(
            name="own output",
            architecture="qwen2",
            blocks=16,
            width=512,
            heads=8,
            kv_heads=8,
            feed_forward=1536,
            vocabulary=65536,
            separate_output=True,
            weights="Q4_K",
        ),
        LoadOptions(num_ctx=4096, parallel=2),
    ),
    (
        Shape(
            name="wide",
            blocks=16,
            width=1280,
            heads=10,
            kv_heads=2,
            head_width=128,
            feed_forward=3584,
        ),
        LoadOptions(num_ctx=2048, parallel=2),
    ),
)


def measure_resident_bytes(
    engine: str, path: Path, model: Model, options: LoadOptions, scratch: Path, **extra: str
) -> int:
    """Load the model, let it write all its answers at once, and add up worker and children."""
    # llama.cpp has all of its cache in memory from the start, and reads slowly.
    length = _FEW_TOKENS if engine == "llama_cpp" else options.num_ctx - _ROOM_TOKENS
    settings = {name: getattr(options, name) for name in ("num_ctx", "parallel", "num_batch")}
    sampling = Sampling(temperature=0, num_predict=_ANSWER_TOKENS)
    with worker(engine, path, model, scratch, **settings, **extra) as client:
        # Different from the first word on, so that nothing is shared.
        prompts = [
            Prompt(tokens=tuple(5 + (answer * 1009 + n * 37) % 40000 for n in range(length)))
            for answer in range(options.parallel)
        ]
        for id_ in [client.start(prompt, sampling) for prompt in prompts]:
            *_, finish = client.read(id_)
            assert finish.output_tokens > 0
        process = psutil.Process(client.process.pid)
        family = [process, *process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family)


def read_model(path: Path, scratch: Path) -> Model:
    """The model in a file, as the house sees it."""
    return ModelStore(scratch / "models", cache_path=scratch).find_file(path)
