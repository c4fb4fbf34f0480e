"""The parts of the ONNX engine that need no model."""

from __future__ import annotations

import pytest

from dimora.engines.onnx import _config, in_pieces
from dimora.tasks.options import LoadOptions
from tests.unit.models.making_folders import genai_config


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 66, 128, 129, 200])
def test_a_prompt_is_read_in_pieces_none_of_which_is_a_single_token(count):
    tokens = list(range(count))
    pieces = list(in_pieces(tokens))
    assert [token for piece in pieces for token in piece] == tokens
    assert all(2 <= len(piece) <= 65 for piece in pieces) or count == 1


def test_what_a_model_says_about_sessions_is_not_heard():
    hostile = {"enable_profiling": "/tmp/x", "custom_ops_library": "evil.so"}
    own = genai_config(session_options=hostile, run_options=hostile)
    config = _config(own | {"engine": {"x": 1}}, LoadOptions(num_ctx=64, num_thread=3))
    session = config["model"]["decoder"]["session_options"]
    assert session["intra_op_num_threads"] == 3
    assert not hostile.keys() & session.keys()
    assert "run_options" not in config["model"]["decoder"]
    assert config["search"] == {"max_length": 64, "past_present_share_buffer": True}
    assert config.keys() == {"model", "search"}
