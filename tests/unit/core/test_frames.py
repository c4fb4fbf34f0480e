from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.core.frames import LIMIT_BYTES, FrameReader, pack


class Note(msgspec.Struct, frozen=True):
    text: str
    number: float


@given(st.lists(st.builds(Note, st.text(), st.floats(allow_nan=False))), st.data())
def test_frames_survive_any_cutting_of_the_stream(notes, data):
    stream = b"".join(pack(note) for note in notes)
    reader, read = FrameReader(Note), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        read.extend(reader.feed(stream[:size]))
        stream = stream[size:]
    assert read == notes


def test_a_frame_above_the_limit_is_refused_before_it_is_read():
    with pytest.raises(ValueError, match="limit"):
        list(FrameReader(Note).feed((LIMIT_BYTES + 1).to_bytes(4, "big")))


def test_a_frame_of_another_type_is_refused():
    with pytest.raises(ValueError, match="Expected"):
        list(FrameReader(Note).feed(pack({"text": 1, "number": "x"})))
