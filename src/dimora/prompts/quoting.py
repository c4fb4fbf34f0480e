"""Words of others as data in a prompt: between marks, and without the marks of prompts.

Engines read the special tokens of a model wherever they stand in a prompt's text. A document that
holds `<|im_end|>` would end the turn it is quoted in, so that such marks are broken by a blank:
those of the vocabularies there are, and those the model's own template is made of.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Words that are tokens between angle brackets: just so, since some are marks of HTML as well.
_WORDS = (
    r"s|bos|eos|pad|unk|mask|cls|sep|sop|eop|eom|think(?:ing)?|tools?|function\w*|parameter"
    r"|tool[_-]\w+|arg_\w+|system|user|assistant|human|observation|image|img|video|audio"
    r"|repo_?name|filename|file_sep|gh_stars|empty_output|fim[_-]\w+|extra_id_\d+|unused_?\d*"
    r"|reserved\w*|special\w*|(?:start|end|begin)_?of_?\w+|(?:issue|jupyter|commit)_\w+"
    r"|(?:image|vision|audio)_\w+|\w+:tool_call|__media__|0x[0-9a-f]{2}"
)
# What texts are quoted between, in this house and others; with blanks and more they still look so.
_QUOTES = r"text|passage|documents?|context|think|tool_call|tool_response|function"
# In square brackets they are in capital letters only: `[draft]` is a word of people.
_CAPITALS = (
    r"INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_\w+|ARGS|CALL_ID|IMG\w*|AUDIO|BEGIN_AUDIO|THINK"
    r"|PREFIX|SUFFIX|MIDDLE|MODEL_SETTINGS|CLS|SEP|PAD|UNK|MASK|BOS|EOS|gMASK|sMASK"
)
_COMMON = (
    r"<[|｜]",
    rf"(?i:</?(?:{_WORDS})>)",
    rf"(?i:<\s*/?\s*(?:{_QUOTES})\b[^<>]{{0,60}}>)",
    r"</?(?:PRE|SUF|MID|EOT)>",
    r"<{1,2}/?(?i:sys)>{1,2}",
    rf"\[/?(?:{_CAPITALS})\]",
    r"\[e~\[|\]~[!b]",
)
# What looks like a token of its own in a template.
_IN_TEMPLATE = re.compile(r"<[^<>\s{}%'\"]{1,60}>|\[/?[A-Z_]{3,40}\]")
# A key of an object that may be a tool call, between its quotes.
_KEY_OF_CALL = re.compile(
    r'([{\[,;]\s*)"(name|function|type|id|arguments|parameters)"(?=\s*:)', re.IGNORECASE
)


def as_data(text: str, *templates: str) -> str:
    """The text with every mark of prompts broken: a blank stands behind its first character.

    `templates` are those of the model that will read it, and its special tokens.
    """
    return _marks_of(templates).sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def without_calls(text: str) -> str:
    """The text with what would be JSON of a tool call, were it said by a model, between other
    quotes: a model that repeats it calls nothing."""
    return _KEY_OF_CALL.sub(r"\1'\2'", text)


def quoted(text: str, name: str = "text", *templates: str) -> str:
    """A text as data for the model: between marks that the text itself cannot close."""
    return f"<{name}>\n{as_data(text.strip(), *templates)}\n</{name.partition(' ')[0]}>"


@lru_cache(maxsize=64)
def _marks_of(templates: tuple[str, ...]) -> re.Pattern[str]:
    own = {mark for template in templates for mark in _IN_TEMPLATE.findall(template)}
    # Special tokens that are given as they are, whatever they look like.
    own |= {each for each in templates if 2 < len(each) <= 60 and not each.isspace()}
    listed = [re.escape(mark) for mark in sorted(own, key=len, reverse=True)]
    return re.compile("|".join([*listed, *_COMMON]))
