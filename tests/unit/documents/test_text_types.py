"""Plain text, Markdown, tables of values, JSON and source code keep their structure."""

from __future__ import annotations

import json

import pytest

from dimora.core.errors import BadRequest
from tests.unit.documents.opened import opened, shown


def test_paragraphs_are_parted_by_empty_lines():
    document = opened("a.txt", "one\r\nstill one\r\n\r\n  \r\ntwo\n\n\n\nthree")
    assert [b.text for b in document.blocks] == ["one\nstill one", "two", "three"]


def test_markdown_has_headings_items_tables_and_code():
    text = """---
title: x
---
# One #

A line
and more.

Two
---

* item
  goes on
1. first

```python
# no heading

| no | table |
```

| a | b |
|---|:-:|
| 1 | x \\| y |
"""
    document = opened("a.md", text)
    assert document.title == "One"
    assert shown(document.blocks) == [
        ("code", "title: x"),
        ("h1", "One"),
        ("paragraph", "A line\nand more."),
        ("h2", "Two"),
        ("item", "* item\ngoes on"),
        ("item", "1. first"),
        ("code", "# no heading\n\n| no | table |"),
        ("table", "| a | b |\n| --- | --- |\n| 1 | x \\| y |"),
    ]


def test_comments_of_markdown_are_not_read():
    text = "before <!-- a\nb --> after\n\n <!-- c\n\n# d\n\ne --> end\n\n# One <!-- f -->\n\n<!-->x"
    assert [b.text for b in opened("a.md", text).blocks] == ["before  after", "end", "One", "x"]
    table = opened("a.md", "| a | b <!-- c --> |\n|---|---|\n| 1 <!-- d --> | 2 |")
    assert table.text == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize(
    "text",
    [
        "Use `<!--` to begin.\n\nmore",
        "Use `<!--` to begin and `-->` to end.",
        "Use ``a ` <!--`` and ``-->``.",
        "Use \\<!-- and -->.",
        "Use <!-- to begin.\n\n# <!-- Two\n\n<!-- never closed",
        "Use <!-- to begin.\n\nand --> to end",
    ],
)
def test_what_only_looks_like_a_comment_of_markdown_is_read(text):
    assert opened("a.md", text).text == text.replace("# ", "")


def test_code_after_an_open_comment_of_markdown_is_read():
    blocks = opened("a.md", "Use <!-- so:\n```html\n<!-- x -->\n```\nmore").blocks
    assert [b.text for b in blocks] == ["Use <!-- so:", "<!-- x -->", "more"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_of_values_is_a_table_whatever_parts_it(delimiter):
    rows = ["a", "b", "c"], ["1", '"x\ny"', ""], ["2", "z", "w"]
    document = opened("a.csv", "\n".join(delimiter.join(row) for row in rows))
    (block,) = document.blocks
    assert block.text == "| a | b | c |\n| --- | --- | --- |\n| 1 | x y |  |\n| 2 | z | w |"
    assert block.place == "rows 1-3"


def test_a_long_table_comes_in_parts_with_the_same_heads():
    text = "id,name\n" + "".join(f"{i},n{i}\n" for i in range(1, 251))
    document = opened("a.csv", text)
    assert [b.place for b in document.blocks] == ["rows 1-101", "rows 102-201", "rows 202-251"]
    assert all(b.text.startswith("| id | name |\n| --- | --- |\n") for b in document.blocks)
    assert sum(b.text.count("\n") - 1 for b in document.blocks) == 250


def test_a_row_of_very_many_cells_does_not_widen_all_others():
    document = opened("a.csv", "a,b\n" * 90 + "," * 50_000 + "x")
    assert len(document.text) < 600_000


def test_json_is_a_table_of_flat_records_and_parts_of_anything_else():
    flat = opened("a.json", json.dumps([{"a": 1, "b": "x|y"}, {"b": None, "c": True}]))
    assert flat.blocks[0].text.split("\n")[2:] == ["| 1 | x\\|y |  |", "|  |  | true |"]
    parts = opened("a.json", json.dumps({"one": {"deep": [1]}, "due": "perché"}))
    assert [(b.kind, b.place) for b in parts.blocks] == [("code", "one"), ("code", "due")]
    assert "perché" in parts.text
    lines = opened("a.jsonl", '{"a": 1}\n{"a": 2}\n')
    assert lines.blocks[0].kind == "table"


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85"])
def test_lines_of_json_end_only_where_json_ends_them(sign):
    (block,) = opened("a.jsonl", f'{{"a": "one{sign}two"}}\r\n\r\n{{"a": "b"}}\r\n').blocks
    assert block.text.split("\n")[2:] == ["| one two |", "| b |"]


@pytest.mark.parametrize("text", ["{", "[1,", "{'a': 1}", "[" * 100_000])
def test_json_that_is_none_is_refused(text):
    with pytest.raises(BadRequest) as caught:
        opened("a.json", text)
    assert caught.value.code == "unreadable_document"


PYTHON = '''"""About."""

import os


# What it does.
@cached
def one(a):
    return a


class Two:
    def three(self):
        return 3
'''
OTHERS = {
    "a.js": "import x;\n\nexport async function one() {\n  two();\n}\n\nclass Two {\n}\n",
    "a.go": "package a\n\nfunc one() {\n}\n\ntype Two struct {\n}\n",
    "a.c": "#include <a.h>\n\nint one(int a)\n{\n}\n\nstatic char *two(void) {\n}\n",
    "a.sql": "-- All.\nCREATE TABLE one (a int);\n\nCREATE VIEW two AS SELECT 1;\n",
}


def test_python_is_cut_at_its_functions_with_what_stands_above_them():
    document = opened("a.py", PYTHON)
    assert [b.place for b in document.blocks] == ["lines 1-3", "lines 6-9", "lines 12-14"]
    assert document.blocks[1].text.startswith("# What it does.\n@cached\ndef one")


@pytest.mark.parametrize("name", OTHERS)
def test_other_languages_are_cut_at_their_definitions(name):
    blocks = opened(name, OTHERS[name]).blocks
    assert len(blocks) >= 2
    assert "one" in blocks[-2].text and "two" in blocks[-1].text.lower()


def test_a_long_class_is_cut_within_and_no_line_is_lost():
    methods = "".join(f"    def m{i}(self):\n" + "        x = 1\n" * 30 for i in range(20))
    text = f"class Long:\n{methods}" + "y = 2\n" * 300
    blocks = opened("a.py", text).blocks
    assert max(b.text.count("\n") for b in blocks) < 160
    lines = [line for b in blocks for line in b.text.split("\n")]
    assert lines == [line for line in text.split("\n") if line]
