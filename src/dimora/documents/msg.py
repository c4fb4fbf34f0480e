"""Mails as Outlook keeps them: head, body, and attachments read in their turn."""

from __future__ import annotations

from typing import Any

from dimora.core.errors import BadRequest
from dimora.documents._blocks import Blocks, one_line
from dimora.documents._compound import has_entry
from dimora.documents._decoding import decoded
from dimora.documents._letters import add_body, add_head
from dimora.documents.base import Budget, Document
from dimora.documents.opening import Attachments

NAME = "Outlook mail"
ENDINGS = (".msg",)
MEDIA_TYPES = ("application/vnd.ms-outlook",)
EXTRA = ""

_HTML = 0x1013
_SENDER, _TO, _CC = 0x0C1A, 0x0E04, 0x0E03


def is_it(head: bytes, name: str) -> bool:
    return has_entry(head, "__properties_version1.0", "__nameid_version1.0")


def read(data: bytes, name: str, budget: Budget) -> Document:
    from oxmsg import Message

    message = Message.load(data)
    properties = message.properties
    blocks = Blocks(budget)
    sent = message.sent_date
    head = (
        ("From", message.sender or properties.str_prop_value(_SENDER) or ""),
        ("To", properties.str_prop_value(_TO) or ""),
        ("Cc", properties.str_prop_value(_CC) or ""),
        ("Date", sent.isoformat(" ", "minutes") if sent else ""),
        ("Subject", message.subject),
    )
    add_head(blocks, head)
    plain, html, warnings = message.body or "", "", []
    if not plain.strip():
        try:
            html = _html(message)
        except BadRequest as why:
            warnings.append(f"the body: {why.text}")
    hidden = add_body(blocks, plain, html)
    inside = Attachments(budget)
    warnings += _add_attachments(message, inside)
    if hidden:
        warnings.append("hidden text was left out")
    return Document(
        name=name,
        media_type=MEDIA_TYPES[0],
        blocks=blocks.all(),
        title=one_line(message.subject),
        attachments=tuple(inside.documents),
        warnings=(*inside.warnings, *warnings),
    )


def _html(message: Any) -> str:
    page = message.properties.binary_prop_value(_HTML)
    return decoded(page) if page else message.html_body or ""


def _add_attachments(message: Any, inside: Attachments) -> list[str]:
    warnings = []
    for number, attachment in enumerate(message.attachments, 1):
        called = attachment.file_name or f"attachment {number}"
        content = attachment.file_bytes
        if content is None:
            warnings.append(
                f"{one_line(called)[:200]}: it stands in the mail in a way not read here"
            )
        else:
            inside.add(called, content)
    return warnings
