"""Diffs are written so that git applies them, and applied as git would."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimora.tasks.ready._diff import apply_diff, changed_lines, diff_of, is_diff

TEXTS = st.lists(st.sampled_from(["a", "b", "", " c", "+d", "-e", "@@ -1 +1 @@", "é\r"])).map(
    "\n".join
)


@given(TEXTS, TEXTS, st.booleans())
def test_a_diff_makes_the_new_text_of_the_old(before, after, ends):
    after += "\n" if ends else ""
    assert apply_diff(before, diff_of(before, after, "x")) == after


@settings(max_examples=20, deadline=None)
@given(before=TEXTS, after=TEXTS)
def test_git_applies_it(tmp_path_factory, before, after):
    folder = tmp_path_factory.mktemp("git")
    (folder / "x.py").write_bytes(before.encode())
    diff = diff_of(before, after, "x.py")
    if not diff:
        assert before == after
        return
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    if not (before and after):
        return  # git wants /dev/null for files that come or go
    told = subprocess.run(command, cwd=folder, input=diff.encode(), capture_output=True)
    assert told.returncode == 0, told.stderr
    assert (folder / "x.py").read_bytes() == after.encode()


@pytest.mark.parametrize("source", ["b\n", "", "a\nx\n"])
def test_a_diff_of_another_text_is_refused(source):
    with pytest.raises(ValueError):
        apply_diff(source, diff_of("a\nb\nc\n", "a\nB\nc\n", "x"))


def test_lines_of_the_new_file_are_counted():
    diff = diff_of("a\nb\nc\n", "a\nB\nc\nd\n", "x")
    assert [(line.number, line.words) for line in changed_lines(diff)] == [
        (1, "a"),
        (2, "B"),
        (3, "c"),
        (4, "d"),
    ]
    assert [line.added for line in changed_lines(diff)].count(True) >= 1
    assert is_diff(diff)
    assert not is_diff("a = b @ c")
