"""Results of ready tasks at the terminal and in files."""

from __future__ import annotations

import base64

import pytest

from dimora.cli.showing import save_result, show_result
from dimora.core.errors import BadRequest

RESULT = {"translation": "Ciao\n", "form": "text", "lines": 1, "notes": []}


def test_what_is_piped_is_the_first_thing_alone(capsys):
    show_result(RESULT)
    out, err = capsys.readouterr()
    assert out == "Ciao\n"
    assert err.split() == ["form:", "text", "lines:", "1"]


def test_long_things_stand_on_lines_of_their_own(capsys):
    show_result({"findings": [{"line": 3, "problem": "x" * 120}, {"line": 4, "problem": "y"}]})
    assert capsys.readouterr().out == f"- line: 3\n  problem: {'x' * 120}\n- line 4, problem y\n"


def test_nothing_found_is_shown_as_such(capsys):
    show_result({"findings": (), "parts": 1})
    assert capsys.readouterr().out == "-\n"


def test_no_control_character_of_a_model_reaches_the_terminal(capsys):
    show_result({"answer": "a\x1b[2Jb", "notes": ["\x9b31m"]})
    told = capsys.readouterr()
    assert "\x1b" not in told.out
    assert "\x9b" not in told.err


def test_a_file_gets_the_text_as_it_is(tmp_path):
    path = tmp_path / "x.srt"
    save_result(RESULT, path, whole=False)
    assert path.read_bytes() == b"Ciao\n"
    save_result({"translation": base64.b64encode(b"PK\0").decode()}, path, whole=True)
    assert path.read_bytes() == b"PK\0"


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(BadRequest) as told:
        save_result(RESULT, tmp_path / "none" / "x", whole=False)
    assert str(tmp_path) not in told.value.message
