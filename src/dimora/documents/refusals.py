"""What is told of a file that is not read: every code there is."""

from __future__ import annotations

from dimora.core.errors import BadRequest


def unreadable(what: str) -> BadRequest:
    """`what` is the type as people call it, such as "PDF"."""
    return BadRequest(
        f"it is broken, or no {what}",
        hint="open it in the program that made it and save it again",
        code="unreadable_document",
    )


def empty() -> BadRequest:
    return BadRequest("there is nothing in it", code="empty_document")


def sealed() -> BadRequest:
    return BadRequest(
        "it is sealed by a password", hint="save it without one", code="document_sealed"
    )


def too_large(what: str) -> BadRequest:
    """`what` says of what there is too much, and how much is read."""
    return BadRequest(
        f"it is too large: {what}", hint="split it into parts", code="document_too_large"
    )


def too_deep() -> BadRequest:
    return BadRequest("it is nested too deeply", code="document_too_large")


def took_too_long(seconds: float) -> BadRequest:
    return BadRequest(
        f"reading it took longer than {seconds:.0f} s",
        hint="split it into parts",
        code="document_took_too_long",
    )


def unknown() -> BadRequest:
    return BadRequest(
        "it is of no type that is read here", hint="convert it first", code="unknown_document"
    )


def needs_extra(extra: str) -> BadRequest:
    return BadRequest(
        f"reading it needs the extra {extra!r} of this program",
        hint=f"pip install 'dimora[{extra}]'",
        code="document_needs_extra",
    )
