"""Tasks with code: what a model writes is held against the code it was given."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.ready import (
    explain_code,
    refactor_code,
    review_code,
    translate_code,
    write_tests,
)
from dimora.tasks.ready._diff import apply_diff, diff_of
from dimora.tasks.ready.review_code import find_line, lines_of, numbered
from tests.unit.tasks.ready.speaking import result_of

CODE = (
    "def total(prices):\n    result = 0\n    for price in prices:\n        result += price\n"
    "    return result\n"
)
BETTER = "def total(prices):\n    return sum(prices)\n"


def done(task, request, say, num_ctx=8192):
    return asyncio.run(result_of(task, request, say, num_ctx))


def finding(quote: str, problem: str = "wrong", line: int = 1) -> dict[str, Any]:
    return {
        "line": line,
        "quote": quote,
        "problem": problem,
        "suggestion": "",
        "kind": "bug",
        "severity": "low",
    }


def test_a_finding_stands_on_the_line_it_quotes_and_others_are_dropped():
    told = json.dumps(
        {"findings": [finding("return  result"), finding("result = 1"), finding("for price in")]}
    )
    found = done(review_code, review_code.ReviewCode(code=CODE), lambda _: told)
    assert [(f["line"], f["quote"]) for f in found["findings"]] == [
        (3, "for price in prices:"),
        (5, "return result"),
    ]
    assert found["dropped"] == 1


def test_lines_of_a_diff_are_those_of_the_new_file():
    diff = diff_of(CODE, BETTER, "x.py")
    told = json.dumps({"findings": [finding("return sum(prices)"), finding("result = 0")]})
    found = done(review_code, review_code.ReviewCode(code=diff), lambda _: told)
    assert [f["line"] for f in found["findings"]] == [2]


@pytest.mark.parametrize("quote", ["", " ", "}", "\n\n"])
def test_a_quote_that_says_nothing_is_on_no_line(quote):
    assert find_line(quote, lines_of(CODE)) is None


def test_of_lines_that_are_the_same_the_one_nearest_to_the_number_is_meant():
    lines = lines_of("a = 1\nb = 2\na = 1\nc = 3\n")
    assert find_line("a = 1", lines, 4) == (3, "a = 1", False, "")
    assert find_line("3 a = 1", lines, 3).number == 3
    assert find_line("sum(a)", lines, 2) is None
    words = lines_of("total = 0\nreturn total\n")
    assert find_line("`total` is never changed", words, 2).number == 2


def test_a_diff_of_several_files_is_shown_with_names_numbers_and_what_is_new():
    diff = diff_of("one\n", "one\ntwo\n", "a.py") + diff_of(CODE, BETTER, "b.py")
    shown = numbered(lines_of(diff))
    assert shown.startswith("\na.py\n1   one\n2 + two\n\nb.py\n1   def total(prices):\n")
    told = json.dumps({"findings": [finding("2 + return sum(prices)", line=2)]})
    found = done(review_code, review_code.ReviewCode(code=diff), lambda _: told)
    assert [(f["path"], f["line"]) for f in found["findings"]] == [("b.py", 2)]


@pytest.mark.parametrize("ending", ["\n", "", "\r\n"])
def test_a_refactoring_is_a_diff_that_applies(ending):
    code = CODE.removesuffix("\n").replace("\n", ending or "\n") + ending
    asked = refactor_code.RefactorCode(code=code, path="shop.py")
    found = done(refactor_code, asked, lambda _: f"Sure!\n```python\n{BETTER}```")
    assert found["diff"].startswith("--- a/shop.py\n+++ b/shop.py\n@@ ")
    wanted = BETTER.removesuffix("\n").replace("\n", ending or "\n") + ending
    assert apply_diff(code, found["diff"]) == wanted
    assert (found["parsed"], found["lost"], found["problems"]) == ("yes", (), ())


@pytest.mark.parametrize(
    ("answer", "diff", "lost"),
    [
        ("```python\ndef total(prices)\n    return 1\n```", False, ()),
        (
            "```\ndef total(prices):\n    pass\n# ... rest of the code unchanged\n```",
            False,
            (),
        ),
        ("```python\ndef sum_up(prices):\n    return sum(prices)\n```", True, ("total",)),
        ("", False, ()),
        (f"```python\n{CODE}```", False, ()),
    ],
)
def test_what_is_wrong_with_a_refactoring_is_told(answer, diff, lost):
    found = done(refactor_code, refactor_code.RefactorCode(code=CODE), lambda _: answer)
    assert bool(found["diff"]) == diff
    assert found["lost"] == lost
    assert bool(found["problems"]) == (CODE not in answer)


def test_the_model_is_told_what_does_not_parse_and_mends_it():
    def say(prompt):
        return BETTER if "does not work: line 1" in prompt.text else "def total(prices)\n  x"

    found = done(refactor_code, refactor_code.RefactorCode(code=CODE), say)
    assert apply_diff(CODE, found["diff"]) == BETTER


def test_code_that_cannot_be_written_again_in_the_window_is_refused():
    with pytest.raises(BadRequest) as told:
        done(refactor_code, refactor_code.RefactorCode(code=CODE * 20), lambda _: BETTER, 512)
    assert told.value.code == "input_too_long"


def test_tests_are_named_and_what_they_leave_out_is_told():
    code = CODE + "\n\ndef average(prices):\n    return total(prices) / len(prices)\n"
    tests = "from shop import total\n\n\ndef test_empty():\n    assert total([]) == 0\n"
    found = done(write_tests, write_tests.WriteTests(code=code), lambda _: f"```\n{tests}```")
    assert (found["tests"], found["names"]) == (tests, ("test_empty",))
    assert (found["untested"], found["parsed"]) == (("average",), "yes")


def test_tests_that_were_cut_end_with_the_last_whole_one():
    first = "def test_a():\n    assert total([]) == 0\n\n\n"
    tests = first + "def test_b():\n    assert (" + "1, " * 4000
    found = done(write_tests, write_tests.WriteTests(code=CODE), lambda _: f"```\n{tests}")
    assert found["names"] == ("test_a",)
    assert found["parsed"] == "yes"


def test_names_numbers_and_words_of_translated_code_are_looked_for():
    code = 'function fullPrice(x) {\n  // since 1999\n  return label("Total price", x * 1.22);\n}\n'
    new = 'def full_price(x):\n    return label("Prezzo", x * 1.22)\n'
    asked = translate_code.TranslateCode(code=code, target="Python")
    found = done(translate_code, asked, lambda _: new)
    assert (found["lost"], found["missing"], found["parsed"]) == ((), ("Total price",), "yes")


def test_an_explanation_lists_the_names_it_made_up():
    asked = explain_code.ExplainCode(code=CODE)
    found = done(explain_code, asked, lambda _: "`total` adds up, then calls `round_up()`.")
    assert found["foreign"] == ("round_up",)
    assert found["defines"] == ("total",)
