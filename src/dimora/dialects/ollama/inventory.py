"""`/api/tags`, `/api/ps` and `/api/show`: what there is, what runs, and all about one model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest
from dimora.core.types import Event
from dimora.dialects._body import Body, BodyReader, read_options
from dimora.dialects._writing import encode, find_event, last_done, warning_fields
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.ollama import words
from dimora.dialects.ollama.answers import OneObject
from dimora.dialects.ollama.words import Wording
from dimora.tasks.base import EmbeddingHabits, Model, Running
from dimora.tasks.list_models import ListModels, ModelsFound
from dimora.tasks.list_running import ListRunning, RunningFound
from dimora.tasks.options import Options
from dimora.tasks.show_model import ModelShown, ShowModel

# Longer arrays of a model's metadata (vocabularies, merges) are told only when asked for.
_SHORT_ARRAY = 5
_HIDDEN = ("general.name", "tokenizer.chat_template")
_PARAMETER_COLUMN = 30


class ShowBody(Body, frozen=True, kw_only=True):
    """`name` is an old word for `model`; system, template and options change what is shown."""

    model: str = ""
    name: str = ""
    verbose: bool = False
    system: str = ""
    template: str = ""
    options: dict[str, Any] = {}


_SHOW = BodyReader(ShowBody)


def decode_tags(incoming: Incoming) -> Asked:
    """A body, if there is one, means nothing."""
    return Asked(ListModels(), OneObject(_tell_models))


def _tell_models(events: Sequence[Event]) -> bytes:
    found = find_event(events, ModelsFound)
    models = [words.summary_fields(m) for m in found.models] if found else []
    return encode({"models": models} | warning_fields(last_done(events)))


def decode_ps(incoming: Incoming) -> Asked:
    """A body, if there is one, means nothing."""
    return Asked(ListRunning(), OneObject(_tell_running))


def _tell_running(events: Sequence[Event]) -> bytes:
    found = find_event(events, RunningFound)
    models = [_running_fields(r) for r in found.running] if found else []
    return encode({"models": models} | warning_fields(last_done(events)))


def _running_fields(running: Running) -> dict[str, Any]:
    """`engine` and what follows are ours."""
    forever = math.isinf(running.expires_at)
    return {
        "name": running.summary.name,
        "model": running.summary.name,
        "size": running.memory_bytes + running.gpu_memory_bytes,
        "digest": running.summary.digest,
        "details": words.details_fields(running.summary.details),
        "expires_at": (
            words.FAR_FUTURE if forever else words.tell_time(round(running.expires_at * 1e9))
        ),
        "size_vram": running.gpu_memory_bytes,
        "context_length": running.options.num_ctx,
        "engine": running.engine,
        "engine_version": running.engine_version,
        "engine_reason": running.engine_reason,
        "parallel": running.options.parallel,
        "active": running.active,
        "queued": running.queued,
    }


def decode_show(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _SHOW.read(incoming.body)
    name = body.model or body.name
    if not name:
        raise BadRequest("model is required", param="model")
    options, more = read_options(body.options)
    changed = [word for word in ("system", "template", "options") if getattr(body, word)]
    if changed:
        more += (f"the modelfile is the stored one, without the {' and '.join(changed)} sent",)
    request = ShowModel(model=name, verbose=body.verbose, warnings=(*warnings, *more))

    def tell(events: Sequence[Event]) -> bytes:
        event = find_event(events, ModelShown)
        if event is None:
            return encode({})
        shown = msgspec.structs.replace(
            event.shown,
            system=body.system or event.shown.system,
            template=body.template or event.shown.template,
            options=options.over(event.shown.options),
        )
        fields = show_fields(shown, event.modelfile, event.refused_by, verbose=body.verbose)
        return encode(fields | warning_fields(last_done(events)))

    return Asked(request, OneObject(tell, Wording(name)))


def show_fields(
    model: Model, modelfile: str, refused_by: Mapping[str, str], *, verbose: bool
) -> dict[str, Any]:
    """The object of `/api/show`; texts that are empty are left out."""
    texts = {
        "license": "\n".join(model.licenses),
        "modelfile": modelfile,
        "parameters": parameter_text(model.options),
        "template": model.template or model.chat_template,
        "system": model.system,
        "renderer": model.renderer,
        "parser": model.parser,
        "requires": model.requires,
    }
    fields: dict[str, Any] = {name: text for name, text in texts.items() if text}
    fields["details"] = words.details_fields(model.summary.details)
    if model.messages:
        fields["messages"] = [{"role": m.role, "content": m.text} for m in model.messages]
    fields["model_info"] = model_info(model, verbose=verbose)
    if verbose:
        fields["tensors"] = [
            {"name": name, "type": kind, "shape": list(shape)}
            for name, kind, shape in model.tensors
        ]
    fields["capabilities"] = list(model.summary.capabilities)
    fields["modified_at"] = words.tell_time(round(model.summary.modified_at * 1e9))
    if model.embedding != EmbeddingHabits():
        fields["embedding"] = msgspec.structs.asdict(model.embedding)
    if refused_by:
        fields["refused_by"] = dict(refused_by)
    return fields


def model_info(model: Model, *, verbose: bool) -> dict[str, Any]:
    """All key-values of the model's file, and those that clients rely on in any case."""
    info = {key: value for key, value in model.metadata.items() if key not in _HIDDEN}
    for key, value in info.items():
        # A list that is empty here was cut before: it is unknown, not empty.
        if isinstance(value, list | tuple) and (
            not value or (len(value) > _SHORT_ARRAY and not verbose)
        ):
            info[key] = None
    architecture = model.architecture or model.summary.details.family
    expected = {
        "general.architecture": architecture,
        "general.basename": model.name.rpartition("/")[2].partition(":")[0],
        f"{architecture}.context_length": model.summary.details.context_length,
    }
    return {key: value for key, value in expected.items() if value and key not in info} | info


def parameter_text(options: Options) -> str:
    """One line per parameter, `stop` once per word; strings are quoted."""
    lines = []
    for name, value in sorted(options.as_dict().items()):
        for each in value if isinstance(value, tuple) else (value,):
            lines.append(f"{name:<{_PARAMETER_COLUMN}} {encode(each).decode()}")
    return "\n".join(lines)
