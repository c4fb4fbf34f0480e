"""Templates may do what honest templates do, and nothing more."""

from __future__ import annotations

from datetime import datetime

import pytest

from dimora.core.errors import BadRequest
from dimora.prompts.jinja_rendering import render_jinja

MESSAGES = [
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "There"},
]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ messages | map(attribute='role') | join(', ') }}", "user, assistant"),
        ("{{ ', '.join(['a', 'b']) }}", "a, b"),
        ("{{ '{} and {name}'.format('a', name='b') }}", "a and b"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{{ {'b': '<é>', 'a': [1, none]} | tojson }}", '{"b": "<é>", "a": [1, null]}'),
        ("{{ [1] | tojson(indent=2) }}", "[\n  1\n]"),
        ("{% for m in messages[::-1] %}{{ loop.index0 }}{{ m.content[0] }}{% endfor %}", "0T1 "),
        ("{% for m in messages %}{{ loop.last }}{{ loop.length }}{% endfor %}", "False2True2"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% for i in [1, 2, 3] if i > 1 %}{{ i }}{% else %}none{% endfor %}", "23"),
        ("{% for i in [] %}{{ i }}{% else %}none{% endfor %}", "none"),
        ("{% for k, v in messages[0] | items %}{{ k }}{% endfor %}", "rolecontent"),
        ("{% for k, v in messages[0].items() %}{{ v }}{% endfor %}", "user Hi "),
        (
            "{% set ns = namespace(n=1) %}{% for i in [2, 3] %}{% set ns.n = ns.n * i %}"
            "{% endfor %}{{ ns.n }}",
            "6",
        ),
        ("{% macro twice(x, y='!') %}{{ x ~ x ~ y }}{% endmacro %}{{ twice('a') }}", "aa!"),
        ("{% generation %}words{% endgeneration %}", "words"),
        ("{{ messages[0].content | trim ~ 1 ~ none }}", "Hi1None"),
        ("{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}", "b"),
        ("{{ missing is defined }}{{ missing }}{{ 'x' in 'axb' }}", "FalseTrue"),
        ("{% if true %}\n    a\n{% endif %}\n", "    a\n"),
        ("{% set x %}b{% endset %}{{ x | upper | replace('B', 'c') }}", "c"),
        ("{{ 'ab' * 2 + '-' }}{{ 7 // 2 }}{{ 7 % 4 }}", "abab-33"),
    ],
)
def test_what_templates_need_works(template, text):
    assert render_jinja(template, {"messages": MESSAGES}) == text


def test_a_template_may_ask_for_the_day():
    assert render_jinja("{{ strftime_now('%Y') }}", {}) == str(datetime.now().year)


def test_a_refusal_never_repeats_the_messages():
    with pytest.raises(BadRequest) as caught:
        render_jinja("{{ raise_exception('No: ' + messages[1].content) }}", {"messages": MESSAGES})
    assert "There" not in caught.value.text


def test_a_long_conversation_is_no_attack():
    template = (
        "{% set ns = namespace(text='') %}{% for m in messages %}"
        "{% if loop.index0 == messages | length - 1 %}{{ 'last' }}{% endif %}"
        "{% set ns.text = ns.text ~ m.role %}{{ m.content | trim + '\n' }}{% endfor %}"
    )
    messages = [{"role": "user", "content": "word " * 200}] * 2000
    assert render_jinja(template, {"messages": messages}).count("last") == 1


def test_one_rendering_leaves_nothing_for_the_next():
    template = "{% for i in range(9000) %}{{ i }}{% endfor %}"
    assert len({render_jinja(template, {}) for _ in range(3)}) == 1
