"""The ways models write tool calls, one file per format.

A format has `OPENERS` and `FIRST_OPENERS` (texts a call may begin with: anywhere, or only where
the answer or the text after a call begins), `PREFILL` (what to write for the model before a forced
call), `ARGUMENTS` (the key that holds the arguments), `score(template)` (0 when a chat template
does not use the format, higher the surer) and `read(text, names, ended=False)`.

`read` judges a text that begins with one of the openers: `Found`, `Verdict.MORE` or `Verdict.NO`.
Formats that write values as text say `untyped` in what they found.
More text never changes a judgement other than MORE; `ended` says that no more will come.
"""

from __future__ import annotations

import functools

from dimora.core.shelf import Shelf

SHELF = Shelf("dimora.prompts.tool_calls")

# The format for models that nobody taught one, and for text where the tags were left out.
FALLBACK = "bare_json"


@functools.lru_cache(maxsize=64)
def choose_format(template: str) -> str:
    """The format a chat template (Jinja or Go) teaches its model; empty when it shows none."""
    scores = {name: module.score(template) for name, module in SHELF.all().items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > 0 else ""
