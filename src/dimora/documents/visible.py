"""Takes out of texts what nobody can see, and counts it: the one place where that is done.

What hides in a text is read by a model all the same. Joiners go too, though Persian and some
scripts of India use them, and some emoji fall into their parts: a reader still reads those.
"""

from __future__ import annotations

import re

_INVISIBLE = re.compile(
    "["
    # Controls, but for tabulator and line feed.
    "\x00-\x08\x0b-\x1f\x7f-\x9f"
    # Soft hyphen, combining grapheme joiner, Arabic letter mark, fillers of Hangul and Khmer.
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u3164\uffa0"
    # Selectors of Mongolian; zero width, direction marks, embeddings, overrides, isolates.
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    # Variation selectors, byte order mark, annotations, surrogates, what is no character.
    "\ufe00-\ufe0f\ufeff\ufff0-\ufffb\ufffe\uffff\ud800-\udfff"
    # Shorthand and musical controls, the block of tags, more variation selectors.
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]"
)
_LINE_ENDS = re.compile("\r\n?|\x0b|\x0c|\x85|\u2028|\u2029")


def _is_plain(text: str) -> bool:
    """Whether it is of western letters only and has none of these; quicker than to look for all."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return text.replace("\n", "").replace("\t", "").isprintable()


def without_invisible(text: str) -> tuple[str, int]:
    """The text and how many characters were taken out; all line ends become a line feed."""
    if _is_plain(text):
        return text, 0
    return _INVISIBLE.subn("", _LINE_ENDS.sub("\n", text))
