"""How a process of ours says why it failed: its last line, raised again by who began it."""

from __future__ import annotations

import msgspec

from dimora.core.errors import DimoraError, InternalError, InvalidModel, StorageFull

_KINDS = {kind.__name__: kind for kind in (InvalidModel, StorageFull)}


class Failure(msgspec.Struct, tag="failure"):
    """`kind` is the name of an error of core."""

    kind: str
    message: str
    hint: str = ""


def failure_of(error: DimoraError) -> Failure:
    return Failure(type(error).__name__, error.message, error.hint)


def error_of(failure: Failure) -> DimoraError:
    """An error of the same kind where a model or the disk was at fault, else our own."""
    return _KINDS.get(failure.kind, InternalError)(failure.message, hint=failure.hint)
