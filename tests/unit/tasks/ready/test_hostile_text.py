"""Text made to keep a pattern busy for ever does not: the server reads it where it serves others.

Each of these took minutes when its pattern read it anew from every character; the limit tells
minutes from moments, and no more.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

_BEGINNING = """
from dimora.tasks.ready import _code, _placeholders, _private, _shapes, _values
from dimora.tasks.ready import commit_message, compare, draft, translate_code
many = 300_000
"""


@pytest.mark.parametrize(
    "reading",
    [
        "_private.find_private('0' + '1' * 200 + 'a')",
        "_private.find_private('01 ' * many + 'a')",
        "_private.find_private('a' * many)",
        "_private.find_private(('AA00' + 'A' * 37 + ' ') * 10_000)",
        "_private.find_private('AA11 ' * 30_000 + '4111 ' * 30_000)",
        "_private.find_private('a@b.example ' * 40_000)",
        "_placeholders.mask('a' * many)",
        "_placeholders.mask('<!--' * many)",
        "_placeholders.mask('%(a)' + '0' * many)",
        "_placeholders.mask('%' + '0' * many)",
        "_shapes.take_apart('|a' + ' ' * many + 'b|', 'text')",
        "_values.read_value('number', 'x' + ' ' * many + 'x1')",
        "_values.find_equal('date', '3 May 2026', 'a' * many)",
        "_code.code_in('`' * many)",
        "_code.language_of('/* ' * many)",
        "_code.looks_like_python('\\n' * many)",
        "_code.looks_like_python('class ' + 'a' * many)",
        "_code.looks_like_python('def a(' + ')' * many)",
        "_code.is_left_out(' ' * many)",
        "_code.names_defined('static\\n' * many)",
        "compare.clauses_of('\\r\\n' * many)",
        "draft._SUBJECT.findall('\\n' * many)",
        "commit_message.files_of('@@ \\n--- ' + 'a' * many + '\\n')",
        "translate_code.literals_of('/* ' * many)",
        "translate_code.literals_of('\\\\\"' * many)",
        "compare.find_changes(*('\\n\\n'.join(' '.join(f'{n * step % 997}' for n in range(200))"
        " + f' {end}{step}' for step in range(300)) for end in 'ab'))",
    ],
)
def test_it_is_read_in_moments(reading):
    subprocess.run([sys.executable, "-c", _BEGINNING + reading], check=True, timeout=20)
