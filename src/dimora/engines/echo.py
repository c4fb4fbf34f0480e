"""Says the prompt again: an engine without a model, for newcomers, tests and measuring the house.

Its tokens are bytes. It writes one word at a time, at once. A JSON Schema is answered with the
smallest value that matches it; a vector counts the bytes of the text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dimora.core.errors import UnsupportedFeature
from dimora.engines._fitting import fit_texts
from dimora.engines.base import Cancellation, EngineSettings, ModelFiles, Offer
from dimora.prompts.prompt import Prompt
from dimora.tasks.advice import Footprint
from dimora.tasks.base import Embedded, Feature, Finish, Model, TextsToEmbed, Token
from dimora.tasks.options import LoadOptions, Sampling

_VERSION = "1"
_VECTOR_LENGTH = 64
_PROCESS_BYTES = 18 * 2**20
_WORD = re.compile(r"\S+\s*|\s+")


def offer(settings: EngineSettings) -> Offer:
    return Offer(available=True, version=_VERSION, reason="always here")


def refuses(model: Model) -> str:
    return ""


def rank(model: Model, settings: EngineSettings) -> tuple[int, str]:
    return 0, "runs only when pinned"


def footprint(model: Model, options: LoadOptions) -> Footprint:
    return Footprint(
        weights_bytes=0, kv_cache_bytes=0, compute_bytes=0, overhead_bytes=_PROCESS_BYTES
    )


def load(files: ModelFiles, model: Model, options: LoadOptions, settings: EngineSettings) -> Echo:
    return Echo(options.num_ctx)


class Echo:
    """See engines.base.Engine."""

    name = "echo"
    version = _VERSION
    features: frozenset[Feature] = frozenset(
        {"generate", "embed", "json_schema", "logprobs", "repeat_last_n", "typical_p"}
    )

    def __init__(self, context_tokens: int) -> None:
        self.context_tokens = context_tokens

    def generate(
        self, prompt: Prompt, sampling: Sampling, cancel: Cancellation
    ) -> Iterator[Token | Finish]:
        asked = self.detokenize(prompt.tokens) if prompt.tokens else prompt.text
        if prompt.json_schema is not None:
            answer = json.dumps(_smallest(prompt.json_schema, prompt.json_schema))
        else:
            answer = asked
        answer, stopped = _until_stop(answer, sampling.stop)
        limit = sampling.num_predict if sampling.num_predict >= 0 else self.context_tokens
        written = 0
        for word in _WORD.findall(answer):
            if cancel.cancelled:
                return
            if written == limit:
                break
            written += 1
            logprob = None if sampling.logprobs is None else 0.0
            yield Token(id=word.encode()[0], text=word, logprob=logprob)
        cut = written < len(_WORD.findall(answer)) and not stopped
        yield Finish(
            reason="length" if cut else "stop",
            prompt_tokens=len(asked.encode()),
            output_tokens=written,
        )

    def embed(self, wanted: TextsToEmbed, cancel: Cancellation) -> Embedded:
        texts, cut = fit_texts(wanted, self)
        return Embedded(
            vectors=tuple(_count_bytes(text) for text in texts),
            tokens=sum(len(text.encode()) for text in texts),
            cut=cut,
        )

    def tokenize(self, text: str, add_special: bool) -> list[int]:
        return list(text.encode())

    def detokenize(self, tokens: Sequence[int]) -> str:
        return bytes(t % 256 for t in tokens).decode(errors="replace")

    def close(self) -> None:
        return


def _until_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    found = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def _count_bytes(text: str) -> tuple[float, ...]:
    counts = [0.0] * _VECTOR_LENGTH
    for byte in text.encode():
        counts[byte % _VECTOR_LENGTH] += 1.0
    length = math.sqrt(sum(c * c for c in counts)) or 1.0
    return tuple(c / length for c in counts)


def _smallest(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """The least value that matches; raises UnsupportedFeature where that is not obvious."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "$ref" in schema:
        return _smallest(_resolve(schema["$ref"], root), root)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return _smallest(schema[word][0], root)
    kind = schema.get("type", "object")
    make = _MAKERS.get(kind[0] if isinstance(kind, list) else kind)
    if make is None or "pattern" in schema or "format" in schema:
        raise UnsupportedFeature("the echo engine cannot make up a value for this schema")
    return make(schema, root)


def _resolve(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _make_object(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    properties = schema.get("properties", {})
    return {n: _smallest(properties.get(n, {}), root) for n in schema.get("required", ())}


def _make_array(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    return [_smallest(schema.get("items", {}), root)] * int(schema.get("minItems", 0))


_MAKERS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "object": _make_object,
    "array": _make_array,
    "string": lambda schema, root: "x" * int(schema.get("minLength", 0)),
    "integer": lambda schema, root: math.ceil(schema.get("minimum", 0)),
    "number": lambda schema, root: schema.get("minimum", 0),
    "boolean": lambda schema, root: False,
    "null": lambda schema, root: None,
}
