"""Rows in, a table out, and going on where it was left."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from dimora.cli import batching
from dimora.cli.batching import Table, hash_of, read_rows
from dimora.core.errors import BadRequest
from dimora.tasks.ready.summarize import Summarize

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
COLUMNS = ("words", "points")
FORMS = pytest.mark.parametrize("form", ["csv", "jsonl"])


def lines_of(path: Path) -> list[dict]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_text_of_a_folder_is_a_row_and_a_bad_file_an_error(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("due")
    (tmp_path / "a.md").write_bytes("\ufeffuno".encode())
    (tmp_path / "z.bin").write_bytes(b"\xff\x00\x01")
    (tmp_path / ".hidden").write_text("no")
    rows = list(read_rows(tmp_path, "text", ["text"]))
    assert [(r.name, r.fields, bool(r.error)) for r in rows] == [
        ("a.md", {"text": "uno"}, False),
        ("b/two.txt", {"text": "due"}, False),
        ("z.bin", {}, True),
    ]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_columns_of_a_table_are_fields_and_others_are_left(tmp_path, mark):
    path = tmp_path / "in.csv"
    rows = [["id", "text", "form"], ["7", 'two\nlines "q"', "long"], ["8", "x", ""]]
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=mark).writerows(rows)
    found = list(read_rows(path, "text", ["text", "form"]))
    assert [(r.name, dict(r.fields)) for r in found] == [
        ("1", {"text": 'two\nlines "q"', "form": "long"}),
        ("2", {"text": "x"}),
    ]


def test_a_table_of_one_column_needs_no_name_for_it(tmp_path):
    (tmp_path / "in.csv").write_text("review\ngood\n")
    (row,) = read_rows(tmp_path / "in.csv", "text", ["text"])
    assert row.fields == {"text": "good"}


def test_a_table_without_the_column_and_a_path_without_a_file_are_refused(tmp_path):
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    for name in ("in.csv", "none"):
        with pytest.raises(BadRequest):
            list(read_rows(tmp_path / name, "text", ["text"]))


def test_the_hash_is_of_all_that_was_asked():
    one = hash_of(Summarize(model="m", text="x"))
    assert one == hash_of(Summarize(model="m", text="x"))
    assert one != hash_of(Summarize(model="n", text="x"))
    assert one != hash_of(Summarize(model="m", text="x", form="long"))


@FORMS
def test_a_table_is_gone_on_with_and_ends_in_the_order_of_the_inputs(tmp_path, form):
    path = tmp_path / f"out.{form}"
    table = Table(path, COLUMNS)
    table.begin()
    table.add("2", B, {"words": 'due\n"x"', "points": ["p"]})
    again = Table(path, COLUMNS)
    assert again.has(B) and not again.has(A)
    again.begin()
    again.add("1", A, {"words": "uno", "points": []})
    again.finish([("1", A), ("2", B)])
    found = lines_of(path)
    assert [line["input"] for line in found] == ["1", "2"]
    assert found[1]["words"] == 'due\n"x"'
    assert list(tmp_path.iterdir()) == [path]


@FORMS
def test_a_broken_off_line_is_done_again_and_harms_no_other(tmp_path, form):
    path = tmp_path / f"out.{form}"
    table = Table(path, COLUMNS)
    table.begin()
    table.add("1", A, {"words": "uno", "points": []})
    kept = path.read_bytes()
    table.add("2", B, {"words": "due\nè", "points": []})
    whole = path.read_bytes()
    for end in range(len(kept), len(whole)):
        path.write_bytes(whole[:end])
        again = Table(path, COLUMNS)
        # The last byte of a line only ends it.
        assert again.has(A)
        assert not again.has(B) or end == len(whole) - 1
        again.begin()
        again.add("3", C, {"words": "tre", "points": []})
        assert [line["input"] for line in lines_of(path)][-1] == "3"
        assert Table(path, COLUMNS).has(C)


@FORMS
def test_an_error_has_a_line_and_is_tried_again(tmp_path, form):
    path = tmp_path / f"out.{form}"
    table = Table(path, COLUMNS)
    table.begin()
    table.add("1", A, None, "bad_request: too long")
    assert lines_of(path)[0]["error"] == "bad_request: too long"
    again = Table(path, COLUMNS)
    assert not again.has(A)
    again.add("1", A, {"words": "uno", "points": []})
    again.finish([("1", A)])
    assert [line["words"] for line in lines_of(path)] == ["uno"]


@FORMS
def test_each_input_has_a_line_of_its_own_name_also_of_one_text_and_renamed(tmp_path, form):
    path = tmp_path / f"out.{form}"
    table = Table(path, COLUMNS)
    table.begin()
    table.add("a.txt", A, {"words": "=uno", "points": [1]})
    table.add("b.txt", B, {"words": "due", "points": []})
    table.finish([("a.txt", A), ("b.txt", B), ("-c.txt", A)])
    told = [(line["input"].strip("'"), line["words"].strip("'")) for line in lines_of(path)]
    assert told == [("a.txt", "=uno"), ("b.txt", "due"), ("-c.txt", "=uno")]
    again = Table(path, COLUMNS)
    again.begin()
    again.finish([("new.txt", B), ("z.txt", A)])
    told = [(line["input"], line["words"].strip("'")) for line in lines_of(path)]
    assert told == [("new.txt", "due"), ("z.txt", "=uno")]


@pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")
@FORMS
def test_the_output_is_its_owners_and_keeps_the_rights_it_has(tmp_path, form):
    path = tmp_path / f"out.{form}"
    Table(path, COLUMNS).begin()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o664)
    Table(path, COLUMNS).finish([])
    assert path.stat().st_mode & 0o777 == 0o664
    assert list(tmp_path.iterdir()) == [path]


@FORMS
def test_what_is_there_and_no_table_of_the_task_is_not_written_over(tmp_path, form):
    path = tmp_path / f"out.{form}"
    path.write_text("my diary\n")
    with pytest.raises(BadRequest):
        Table(path, COLUMNS)
    assert path.read_text() == "my diary\n"


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(BadRequest):
        Table(tmp_path / "out.xlsx", COLUMNS)


def test_what_a_spreadsheet_would_compute_is_text_and_a_number_stays_one(tmp_path):
    path = tmp_path / "out.csv"
    table = Table(path, COLUMNS)
    table.begin()
    table.add("1", A, {"words": '=HYPERLINK("x")', "points": -2.5})
    table.add("2", B, {"words": "-3,5", "points": None})
    first, second = lines_of(path)
    assert (first["words"], first["points"]) == ('\'=HYPERLINK("x")', "-2.5")
    assert second["words"] == "-3,5"


def test_a_table_with_a_very_long_cell_is_gone_on_with_and_read(tmp_path):
    path, long = tmp_path / "out.csv", "x" * 200_000
    table = Table(path, COLUMNS)
    table.begin()
    for name, digest, words in (("1", A, "uno"), ("2", B, long), ("3", C, "tre")):
        table.add(name, digest, {"words": words, "points": []})
    whole, limit = path.read_bytes(), csv.field_size_limit()
    again = Table(path, COLUMNS)
    again.begin()
    assert path.read_bytes() == whole
    assert all(again.has(digest) for digest in (A, B, C))
    assert csv.field_size_limit() == limit


def test_an_output_that_cannot_be_read_is_refused_and_left_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    table = Table(path, COLUMNS)
    table.begin()
    table.add("1", A, {"words": "uno", "points": []})
    table.add("2", B, {"words": "x" * 500, "points": []})
    whole = path.read_bytes()
    monkeypatch.setattr(batching, "_CELL_CHARACTERS_AT_MOST", 100)
    with pytest.raises(BadRequest, match="cannot be read"):
        Table(path, COLUMNS)
    assert path.read_bytes() == whole


def test_long_cells_of_an_input_are_read_and_a_broken_input_is_refused(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("text\n" + "x" * 200_000 + "\n")
    (row,) = read_rows(path, "text", ["text"])
    assert len(row.fields["text"]) == 200_000
    path.write_bytes(b"text\na\rb\n")
    with pytest.raises(BadRequest, match="cannot be read"):
        list(read_rows(path, "text", ["text"]))


def test_a_carriage_return_in_a_result_stays_in_its_cell(tmp_path):
    path = tmp_path / "out.csv"
    table = Table(path, COLUMNS)
    table.begin()
    table.add("1", A, {"words": "uno\rdue", "points": []})
    assert Table(path, COLUMNS).has(A)
    assert b"\r\n" not in path.read_bytes()
