"""A character map, walked as llama.cpp walks it, gives back what was put in."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.models.converting.charsmap import build_charsmap

LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])


class Walker:
    """Looks up the longest prefix, by the published form of the array."""

    def __init__(self, data: bytes) -> None:
        (length,) = struct.unpack_from("<I", data)
        assert length % 4 == 0
        self.array = struct.unpack_from(f"<{length // 4}I", data, 4)
        self.texts = data[4 + length :]

    def base(self, index: int) -> int:
        packed = self.array[index]
        return (packed >> 10) << ((packed & (1 << 9)) >> 6)

    def prefix(self, text: bytes) -> tuple[int, str]:
        """Bytes of the longest known prefix and its replacement; (0, "") without one."""
        found, node = (0, ""), self.base(0)
        for at, byte in enumerate(text):
            node ^= byte
            if self.array[node] & (1 << 31 | 0xFF) != byte:
                break
            leaf = self.array[node] >> 8 & 1
            node ^= self.base(node)
            if leaf:
                place = self.array[node] & ~(1 << 31)
                found = at + 1, self.texts[place : self.texts.index(0, place)].decode()
        return found


@given(
    st.dictionaries(
        st.text(LETTERS, min_size=1, max_size=3), st.text(LETTERS, max_size=3), min_size=1
    )
)
def test_every_key_leads_to_its_replacement(replacements: dict[str, str]) -> None:
    walker = Walker(build_charsmap(replacements))
    for key, text in replacements.items():
        assert walker.prefix(key.encode()) == (len(key.encode()), text)


@given(
    st.dictionaries(
        st.text(LETTERS, min_size=1, max_size=1), st.text(LETTERS, max_size=2), min_size=1
    ),
    st.text(LETTERS, min_size=1, max_size=4),
)
def test_only_keys_are_found_and_no_walk_leaves_the_array(
    replacements: dict[str, str], text: str
) -> None:
    length, replacement = Walker(build_charsmap(replacements)).prefix(text.encode())
    if text[0] in replacements:
        assert (length, replacement) == (len(text[0].encode()), replacements[text[0]])
    else:
        assert length == 0


def test_any_byte_at_any_place_stays_inside_the_array() -> None:
    walker = Walker(build_charsmap({"\t": " ", "é": "e", "…": "...", "😀": ":)"}))
    for first in range(1, 256):
        for second in range(1, 256):
            walker.prefix(bytes((first, second, 0x80, 0xFF)))


def test_thousands_of_characters_fit_and_the_order_does_not_matter() -> None:
    replacements = {chr(n): chr(n + 1) for n in range(0x2E80, 0x2E80 + 5000)}
    data = build_charsmap(replacements)
    assert build_charsmap(dict(reversed(replacements.items()))) == data
    walker = Walker(data)
    assert all(walker.prefix(k.encode())[1] == v for k, v in replacements.items())


@pytest.mark.parametrize("wrong", [{}, {"": "x"}, {"\0": "x"}, {"x": "a\0b"}])
def test_what_the_form_cannot_hold_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="neither"):
        build_charsmap(wrong)
