"""The record of what was done: one line per Request, never its content.

Written at the door, before the last event of an answer leaves the house.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec

from dimora.core.errors import InternalError
from dimora.core.types import Principal, Request, Usage, kind_of
from dimora.storage.append_log import AppendLog


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `ended` is `done`, `cancelled`, or the code of the error. `tool` is the name of
    the tool that was called, never its arguments."""

    time: str
    user: str
    workspace: str
    proof: str
    request: str
    model: str
    ended: str
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    tool: str = ""


# A model is named in the record as far as a name goes; anything longer is not a name.
_NAME_LIMIT = 600
_TOOL_LIMIT = 128
# Room for some thousand records: of all that is under way when the disk gets full.
_RESERVE_BYTES = 256 << 10


class Audit:
    """Appends to the log of this house. Two processes may write to one file."""

    def __init__(self, path: Path) -> None:
        self._log = AppendLog(path, reserve_bytes=_RESERVE_BYTES)
        self._encoder = msgspec.json.Encoder()

    def check(self) -> None:
        """Make sure that what begins now can be recorded when it ends, on a full disk too.

        Raises InternalError when it cannot, so that nothing is answered.
        """
        try:
            self._log.open()
        except OSError as why:
            raise _unwritable(why) from None

    def record(
        self, principal: Principal, request: Request, *, ended: str, usage: Usage, seconds: float
    ) -> None:
        """Append one line. Raises InternalError when it cannot be written."""
        line = AuditRecord(
            time=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            user=principal.user,
            workspace=principal.workspace,
            proof=principal.proof,
            request=kind_of(request),
            model=_nameable(request.model),
            ended=ended,
            prompt_tokens=usage.prompt_tokens,
            output_tokens=usage.output_tokens,
            seconds=round(seconds, 4),
            tool=str(getattr(request, "tool", ""))[:_TOOL_LIMIT],
        )
        try:
            self._log.append(self._encoder.encode(line))
        except OSError as why:
            raise _unwritable(why) from None

    def close(self) -> None:
        """Raises InternalError when the disk lost what was recorded."""
        try:
            self._log.close()
        except OSError as why:
            raise _unwritable(why) from None


def _nameable(model: str) -> str:
    """A path given at the terminal is recorded by its last part only."""
    return model.replace("\\", "/").rsplit("/", 1)[-1] if _is_path(model) else model[:_NAME_LIMIT]


def _is_path(model: str) -> bool:
    return model.startswith(("/", ".", "~")) or model[1:2] == ":"


def _unwritable(why: OSError) -> InternalError:
    return InternalError(
        f"the audit log cannot be written: {why.strerror or type(why).__name__}",
        code="audit_unavailable",
        hint="free space or mend the rights of `log` in the home; nothing is answered unrecorded",
    )
