"""Mails as they travel (RFC 5322, MIME): head, body, and attachments read in their turn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.errors import MessageError
from typing import TYPE_CHECKING, NamedTuple, cast

from dimora.core.errors import BadRequest
from dimora.documents import refusals
from dimora.documents._blocks import Blocks, one_line
from dimora.documents._decoding import decoded, is_text
from dimora.documents._letters import add_body, add_head
from dimora.documents.base import Budget, Document
from dimora.documents.opening import Attachments, harmless_name

if TYPE_CHECKING:
    from email.message import EmailMessage, Message

NAME = "mail"
ENDINGS = (".eml", ".mht", ".mhtml")
MEDIA_TYPES = ("message/rfc822", "multipart/related")
EXTRA = ""

_HEAD = ("From", "To", "Cc", "Date", "Subject")
_PARTS = 1000
# What the library raises of fields and parts that are not as they should be.
_NOT_UNDERSTOOD = (ValueError, TypeError, IndexError, AttributeError, LookupError)
_BEGINNING = re.compile(
    rb"(?:From [^\r\n]*\r?\n)?(?:[!-9;-~]+:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*){1,100}\r?\n"
)
_TELLING = re.compile(
    rb"^(?:message-id|mime-version|return-path|received|x-mailer):", re.IGNORECASE | re.MULTILINE
)
_FROM = re.compile(rb"^from:", re.IGNORECASE | re.MULTILINE)


def is_it(head: bytes, name: str) -> bool:
    if name.lower().endswith(ENDINGS):
        return is_text(head)
    begin = _BEGINNING.match(head[:65536])
    return bool(begin and _TELLING.search(begin[0]) and _FROM.search(begin[0]))


def read(data: bytes, name: str, budget: Budget) -> Document:
    from email.parser import BytesParser
    from email.policy import default

    message = BytesParser(policy=default).parsebytes(data)
    if not message.keys():
        raise refusals.unreadable(NAME)
    blocks = Blocks(budget)
    add_head(blocks, [(field, _field(message, field)) for field in _HEAD])
    parts = _Parts(message)
    hidden = False
    for plain, html in parts.body():
        hidden |= add_body(blocks, plain, html)
    inside = Attachments(budget)
    for number, (called, content) in enumerate(parts.attached, 1):
        inside.add(called or f"attachment {number}", content)
    warnings = [*parts.warnings, *inside.warnings]
    if hidden:
        warnings.append("hidden text was left out")
    if parts.left_out:
        warnings.append(f"more than {_PARTS} parts: the others were left out")
    return Document(
        name=name,
        media_type=MEDIA_TYPES[0],
        blocks=blocks.all(),
        title=one_line(_field(message, "Subject")),
        attachments=tuple(inside.documents),
        warnings=tuple(warnings),
    )


class _Text(NamedTuple):
    """A text of the body. Of an alternative - 0 for none - one branch is shown."""

    text: str
    is_html: bool
    alternative: int
    branch: int


class _Waiting(NamedTuple):
    part: Message
    alternative: int = 0
    branch: int = 0


class _Parts:
    """The parts of a message, sorted into body and attachments."""

    def __init__(self, message: EmailMessage) -> None:
        self.attached: list[tuple[str, bytes]] = []
        self.warnings: list[str] = []
        self.left_out = False
        self._texts: list[_Text] = []
        self._alternatives = 0
        waiting = [_Waiting(message)]
        for _ in range(_PARTS):
            if not waiting:
                return
            one = waiting.pop(0)
            try:
                self._sort(one, waiting)
            except (BadRequest, MessageError, *_NOT_UNDERSTOOD):
                called = harmless_name(_name_of(one.part) or "a part of the mail")
                self.warnings.append(f"{called}: it cannot be read")
        self.left_out = bool(waiting)

    def body(self) -> list[tuple[str, str]]:
        """Its texts in their order, each either plain or HTML. Lists and scanners add plain texts
        to mails in HTML: only what is said to be the same in another form is left out."""
        shown = {
            alternative: _shown_branch([t for t in self._texts if t.alternative == alternative])
            for alternative in {text.alternative for text in self._texts} - {0}
        }
        return [
            ("", each.text) if each.is_html else (each.text, "")
            for each in self._texts
            if shown.get(each.alternative, each.branch) == each.branch
        ]

    def _sort(self, one: _Waiting, waiting: list[_Waiting]) -> None:
        part = one.part
        kind = part.get_content_type()
        called = _name_of(part)
        if kind == "message/rfc822":
            for inner in cast("list[Message]", part.get_payload()):
                subject = one_line(_field(inner, "Subject")) or "message"
                self.attached.append((called or f"{subject[:80]}.eml", inner.as_bytes()))
        elif part.is_multipart():
            inside = cast("list[Message]", part.get_payload())
            if kind == "multipart/alternative":
                self._alternatives += 1
                number = self._alternatives
                waiting[:0] = [_Waiting(each, number, at) for at, each in enumerate(inside)]
            else:
                waiting[:0] = [one._replace(part=each) for each in inside]
        elif part.get_content_disposition() != "attachment" and kind in ("text/plain", "text/html"):
            text = _text_of(part)
            if text.strip():
                self._texts.append(_Text(text, kind == "text/html", one.alternative, one.branch))
        # Pictures within the text are mostly signatures and traces of opening.
        elif _is_attached(part, kind):
            self.attached.append((called, _bytes_of(part)))


def _shown_branch(texts: Sequence[_Text]) -> int:
    """The first that is plain; else the last, which is the best one."""
    in_html = {text.branch for text in texts if text.is_html}
    plain = (text.branch for text in texts if text.branch not in in_html)
    return next(plain, texts[-1].branch)


def _is_attached(part: Message, kind: str) -> bool:
    if kind.startswith("image/") and part.get("Content-ID"):
        return False
    return bool(_name_of(part)) or part.get_content_disposition() == "attachment"


def _field(message: Message, name: str) -> str:
    """A field of the head; one that nobody understands is left out."""
    try:
        return str(message.get(name, ""))
    except _NOT_UNDERSTOOD:
        return ""


def _name_of(part: Message) -> str:
    try:
        return part.get_filename() or ""
    except _NOT_UNDERSTOOD:
        return ""


def _bytes_of(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _text_of(part: Message) -> str:
    content = _bytes_of(part)
    return decoded(content, part.get_content_charset() or "") if content else ""
