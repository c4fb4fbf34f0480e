"""Text comes out of bytes in whatever encoding."""

from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest
from dimora.documents._decoding import decoded, is_text

ITALIAN = "È già così: la città è più bella, perché l'università è qui. Costa 5 «scudi»."
SPANISH = "El niño comió un pingüino mañana. ¿Qué pasó? Según la opinión y la razón."
RUSSIAN = "Привет, мир! Это простой документ на русском языке, он достаточно длинный."
JAPANESE = "これは日本語のテキストです。文字コードを調べるための文章です。"
CASES = [
    *((ITALIAN, e) for e in ("utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16", "utf-16-le")),
    *((SPANISH, e) for e in ("utf-8", "cp1252", "cp850", "mac_roman", "utf-16-be", "utf-32")),
    *((RUSSIAN, e) for e in ("utf-8", "cp1251", "cp866")),
    *((JAPANESE, e) for e in ("utf-8", "shift_jis", "euc_jp")),
]


@pytest.mark.parametrize(("text", "encoding"), CASES, ids=lambda v: v if len(v) < 12 else "")
def test_a_text_is_found_in_its_encoding(text, encoding):
    data = (text * 3).encode(encoding)
    assert is_text(data)
    assert decoded(data) == text * 3


def test_what_a_file_says_of_itself_is_believed_where_it_fits():
    data = RUSSIAN.encode("koi8-r")
    assert decoded(data, "koi8-r") == RUSSIAN
    assert decoded(ITALIAN.encode(), "koi8-r") == ITALIAN
    assert decoded(b"abc", "no-such-charset") == "abc"
    assert decoded(b"abc", "base64") == "abc"


@pytest.mark.parametrize("data", [bytes(range(256)) * 8, b"\x7fELF\2\1\1\0\0\0", b"ab\0\1cd"])
def test_bytes_that_are_no_text_are_refused(data):
    assert not is_text(data)
    with pytest.raises(BadRequest) as caught:
        decoded(data)
    assert caught.value.code == "unreadable_document"
