"""Chat templates of both languages, rendered with a short conversation."""

from __future__ import annotations

from dimora.core.errors import BadRequest
from dimora.core.types import Message, Text
from dimora.prompts.chat import TemplateSource, render_chat
from tests.unit.prompts import templates as honest

REFUSAL = BadRequest
_CONVERSATION = (
    Message("system", (Text("Be kind."),)),
    Message("user", (Text(" Hi "),)),
    Message("assistant", (Text("There"),)),
    Message("user", (Text("And?"),)),
)


def seeds() -> list[bytes]:
    texts = [text for text in vars(honest).values() if isinstance(text, str)]
    loops = (
        "{% set n = namespace(a=[]) %}{% for i in range(9) %}{% set n.a = [n.a, i ~ 'x'] %}"
        "{% endfor %}{{ n.a | tojson }}{{ 'a,b'.split(',')[1:] | join('-') | upper }}",
        '{{ $x := "a" }}{{ range $i, $m := .Messages }}{{ $x = printf "%s%d" $x $i }}{{ end }}'
        "{{ $x }}{{ slice .Messages 0 1 | json }}",
    )
    return [text.encode() for text in (*texts, *loops) if "{" in text]


def read(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    sources = (TemplateSource(chat_template=text), TemplateSource(template=text))
    refused: BadRequest | None = None
    for source in sources:
        try:
            render_chat(source, _CONVERSATION)
        except BadRequest as why:
            refused = why
    if refused:
        raise refused
