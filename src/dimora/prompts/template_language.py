"""Tells the two languages of chat templates apart: Go's text/template, and Jinja."""

from __future__ import annotations

import re

# Go's templates have no `{%`; and their names begin with a point or a dollar, or are functions.
_JINJA = re.compile(
    r"\{%|\{\{-?\s*(?:messages|message|bos_token|eos_token|tools|add_generation_prompt"
    r"|raise_exception|namespace|strftime_now)\b"
)


def is_jinja(template: str) -> bool:
    """Whether the template is Jinja; everything else is Go, also a text without any braces."""
    return _JINJA.search(template) is not None
