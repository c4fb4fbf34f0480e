"""Bytes to characters, whatever encoding they are in."""

from __future__ import annotations

import codecs
import re

from dimora.documents import refusals

# In this order: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEVEN_BITS = re.compile(r"(?:iso-?2022|hz\b)", re.IGNORECASE)
_SAMPLE_BYTES = 2**16
# What no text has: controls other than those of lines, pages, backspaces and colours.
_BINARY = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f]")
_BINARY_SHARE = 0.002
# Letters and signs that windows-1252 has in western Europe; a text in it has hardly any other.
_WESTERN_LETTERS = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœßÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝŒ")
_WESTERN_SIGNS = frozenset("€‚„…‰‹›‘’“”•–—™ ¡£§©ª«¬®°±²³´µ¶·¹º»¼½¾¿×÷\xad")
# In western texts no such sign stands within a word; in others these bytes are letters.
_SIGN_IN_WORD = re.compile(r"[^\W\d_][‚„…‰‹›‘“”•–—™¡¢£¤¥¦§¨©ª«¬®¯°±²³´µ¶¸¹º»¼½¾¿×÷][^\W\d_]")


def is_text(head: bytes) -> bool:
    """Whether these bytes are text in some encoding, as far as one can see."""
    if any(head.startswith(mark) for mark, _ in _MARKS):
        return True
    sample = head[:_SAMPLE_BYTES]
    if _wide(sample):
        return True
    return len(_BINARY.findall(sample)) <= len(sample) * _BINARY_SHARE and b"\0" not in sample


def decoded(data: bytes, charset: str = "") -> str:
    """The text. `charset` is what a file says of itself, and believed where it fits.

    Raises BadRequest (`unreadable_document`) for bytes that are no text.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data.decode(name, "replace")
    # A text in one of these is also one in UTF-8, of other letters.
    names = (charset, "utf-8") if _SEVEN_BITS.match(charset) else ("utf-8", charset)
    for name in names:
        text = _tried(data, name)
        if text is not None and "\0" not in text:
            return text
    wide = _wide(data[:_SAMPLE_BYTES])
    if wide:
        return data.decode(wide, "replace")
    if not is_text(data):
        raise refusals.unreadable("text")
    return data.decode(_guessed(data), "replace")


def _tried(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name) if name and codecs.lookup(name)._is_text_encoding else None
    except (LookupError, ValueError, UnicodeError):
        return None


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: of Latin letters every second byte is nothing."""
    half = len(sample) // 2
    if half < 4:
        return ""
    for name, high, low in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if sample[high::2].count(0) > half * 0.6 and sample[low::2].count(0) < half * 0.05:
            return name
    return ""


def _guessed(data: bytes) -> str:
    western = _tried(_sample(data), "cp1252")
    if western is not None and _is_western(western):
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(_sample(data)).best()
    return "cp1252" if best is None else best.encoding


def _sample(data: bytes) -> bytes:
    """The lines that tell something: those with bytes beyond ASCII."""
    telling = bytearray()
    for line in data[: 16 * _SAMPLE_BYTES].splitlines(keepends=True):
        if not line.isascii():
            telling += line
        if len(telling) > _SAMPLE_BYTES:
            break
    return bytes(telling) or data[:_SAMPLE_BYTES]


def _is_western(text: str) -> bool:
    """Single accented letters among plain ones, as in the languages of western Europe."""
    if _SIGN_IN_WORD.search(text):
        return False
    others = [c for c in text if not c.isascii()]
    known = sum(c in _WESTERN_LETTERS or c in _WESTERN_SIGNS for c in others)
    letters = sum(c.isalpha() for c in text)
    accented = sum(c.isalpha() for c in others)
    return known >= len(others) * 0.97 and accented <= letters * 0.25
