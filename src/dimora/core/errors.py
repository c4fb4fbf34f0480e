"""Every error a caller can meet, in one tree.

    DimoraError
    |-- BadRequest          400  the request itself is wrong
    |   |-- UnsupportedFeature 400  right in itself, but this model or engine cannot do it
    |   |-- PromptTooLong   400  more tokens than the context window holds
    |   `-- InvalidModel    400  a model file that is truncated, corrupt or not a model
    |-- NotAuthenticated    401  no key, or a wrong one
    |-- Forbidden           403  a known principal without the right
    |-- NotFound            404  no such model, route or thing
    |-- Conflict            409  it exists already, or is in use
    |-- TooManyRequests     429  this principal has too many requests waiting
    |-- Cancelled           499  the caller went away
    |-- InternalError       500  a defect of ours
    |   |-- WorkerDied      500  the process that ran the model ended
    |   `-- ConfigurationError 500  a setting cannot be used; stops the start
    |-- SourceFailed        502  a model source answered wrongly or not at all
    |-- Overloaded          503  the queue is full
    `-- StorageFull         507  no room on the disk or in memory

Messages never contain prompts, documents, keys or paths of the store.
"""

from __future__ import annotations


class DimoraError(Exception):
    """An error a caller may see: `status` (HTTP), `code` (stable, snake_case), message, hint.

    `hint` says what to do about it. `retry_after_seconds` is set where trying again helps.
    `param` names the field of the request that is wrong, in the caller's own words.
    """

    status = 500
    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "",
        param: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        if code:
            self.code = code

    @property
    def text(self) -> str:
        """Message and hint in one line, for places that have room for one string."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class BadRequest(DimoraError):
    status = 400
    code = "bad_request"


class UnsupportedFeature(BadRequest):
    code = "unsupported_feature"


class PromptTooLong(BadRequest):
    code = "prompt_too_long"


class InvalidModel(BadRequest):
    code = "invalid_model"


class NotAuthenticated(DimoraError):
    status = 401
    code = "not_authenticated"


class Forbidden(DimoraError):
    status = 403
    code = "forbidden"


class NotFound(DimoraError):
    status = 404
    code = "not_found"


class Conflict(DimoraError):
    status = 409
    code = "conflict"


class TooManyRequests(DimoraError):
    status = 429
    code = "too_many_requests"


class Cancelled(DimoraError):
    status = 499
    code = "cancelled"


class InternalError(DimoraError):
    pass


class WorkerDied(InternalError):
    code = "worker_died"


class ConfigurationError(InternalError):
    code = "configuration_error"


class SourceFailed(DimoraError):
    status = 502
    code = "source_failed"


class Overloaded(DimoraError):
    status = 503
    code = "overloaded"


class StorageFull(DimoraError):
    status = 507
    code = "storage_full"


def error_named(
    kind: str,
    message: str,
    *,
    hint: str = "",
    code: str = "",
    param: str | None = None,
    retry_after_seconds: int | None = None,
) -> DimoraError:
    """An error of this tree by the name of its class, as another process told it."""
    found = globals().get(kind)
    if not (isinstance(found, type) and issubclass(found, DimoraError)):
        found = InternalError
    return found(
        message, hint=hint, code=code, param=param, retry_after_seconds=retry_after_seconds
    )
