"""What ready tasks have in common to the outside: their Request, their one result, their facts."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from dimora.core.languages import Language
from dimora.core.types import Event, Request
from dimora.tasks.options import Options

# Fields that every ready task has, which are not the job's own.
COMMON = frozenset({"model", "batch", "warnings", "options", "keep_alive", "language"})


class ReadyRequest(Request, frozen=True, kw_only=True):
    """What every job may be told beside its own fields. `options` are the model's."""

    language: Annotated[
        Literal["", "it", "es", "en"],
        Meta(description="Language of prompt and answer; empty for the text's own."),
    ] = ""
    options: Options = Options()
    keep_alive: float | None = None


class Answered(Event, frozen=True, kw_only=True, tag="answered"):
    """What a ready task made; matches the schema of the job. `language` is the one it took."""

    result: dict[str, Any]
    language: Language


def answered(result: msgspec.Struct, language: Language) -> Answered:
    return Answered(result=cast("dict[str, Any]", msgspec.to_builtins(result)), language=language)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a request as people are told of it. `choices` are all it may be, if few;
    `whole` are endings of files that it takes as they are, in base64."""

    name: str
    help: str
    kind: Literal["text", "texts", "integer", "number", "flag"]
    required: bool
    default: Any = None
    choices: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()


def request_of(task: ModuleType) -> type[ReadyRequest]:
    """The Request that a job's file defines."""
    for value in vars(task).values():
        if (
            isinstance(value, type)
            and issubclass(value, ReadyRequest)
            and value.__module__ == task.__name__
        ):
            return value
    raise TypeError(f"{task.__name__} has no request")


def result_schema(task: ModuleType) -> dict[str, Any]:
    """The JSON Schema of what a job gives back."""
    return msgspec.json.schema(task.RESULT)


def fields_of(task: ModuleType) -> tuple[Field, ...]:
    """The job's own fields, in their order; the first is what the work is done with."""
    shape = msgspec.inspect.type_info(request_of(task))
    own = cast("msgspec.inspect.StructType", shape).fields
    return tuple(_field(f) for f in own if f.name not in COMMON)


def _field(field: msgspec.inspect.Field) -> Field:
    kind, extra, whole = field.type, "", ()
    if isinstance(kind, msgspec.inspect.Metadata):
        extra = str((kind.extra_json_schema or {}).get("description", ""))
        whole = tuple((kind.extra or {}).get("whole", ()))
        kind = kind.type
    return Field(
        name=field.name,
        help=extra,
        kind=_KINDS.get(type(kind), "text"),
        required=field.required,
        default=None if field.required else _default(field),
        choices=tuple(str(v) for v in kind.values)
        if isinstance(kind, msgspec.inspect.LiteralType)
        else (),
        whole=whole,
    )


_KINDS: dict[type, Literal["text", "texts", "integer", "number", "flag"]] = {
    msgspec.inspect.StrType: "text",
    msgspec.inspect.LiteralType: "text",
    msgspec.inspect.IntType: "integer",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.BoolType: "flag",
    msgspec.inspect.VarTupleType: "texts",
}


def _default(field: msgspec.inspect.Field) -> Any:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
