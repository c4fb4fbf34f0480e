"""Templates may do what honest templates do, and nothing more."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from dimora.core.errors import BadRequest
from dimora.prompts.jinja_rendering import MAX_TEMPLATE_CHARACTERS, render_jinja

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


HOSTILE = {
    "loops in loops": "{% for a in range(9999) %}" * 3 + "{% endfor %}" * 3,
    "a long range": "{% for i in range(10 ** 9) %}{% endfor %}",
    "a text multiplied": "{{ 'a' * 10 ** 10 }}",
    "a list multiplied": "{{ ([0] * 99999) * 99999 }}",
    "joining doubled": "{% set n = namespace(s='aa') %}{% for i in range(99) %}"
    "{% set n.s = n.s ~ n.s %}{% endfor %}",
    "adding doubled": "{% set n = namespace(s='aa') %}{% for i in range(99) %}"
    "{% set n.s = n.s + n.s %}{% endfor %}",
    "lists doubled": "{% set n = namespace(s=[1]) %}{% for i in range(99) %}"
    "{% set n.s = n.s + n.s %}{% endfor %}",
    "lists of lists": "{% set n = namespace(s=['aa']) %}{% for i in range(99) %}"
    "{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
    "lists of lists as JSON": "{% set n = namespace(s=['aa']) %}{% for i in range(99) %}"
    "{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s | tojson }}",
    "replacing": "{% set n = namespace(s='aa') %}{% for i in range(99) %}"
    "{% set n.s = n.s.replace('a', n.s) %}{% endfor %}",
    "the replace filter": "{% set n = namespace(s='aa') %}{% for i in range(99) %}"
    "{% set n.s = n.s | replace('a', n.s) %}{% endfor %}",
    "one text many times": "{% set s = 'x' * 8000000 %}{{ ([s] * 1000) | join }}",
    "one attribute many times": "{% set s = {'k': 'x' * 8000000} %}"
    "{{ ([s] * 1000) | map(attribute='k') | join }}",
    "indenting": "{{ ('\\n' * 1000000) | indent(9999) }}",
    "indented JSON": "{{ [1] | tojson(indent=999999) }}",
    "splitting": "{{ ('x' * 8000000).split('x') }}",
    "a macro in a macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "a macro without end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a wide number": "{{ '%999999999d' % 1 }}",
    "a wide field": "{{ '{:999999999}'.format(1) }}",
    "a field of a field": "{{ '{0.__class__}'.format(1) }}",
    "padding": "{{ 'a'.center(10 ** 9) }}",
    "a filter that pads": "{{ 'a' | center(10 ** 9) }}",
    "powers": "{{ 9 ** 9 ** 9 }}",
    "numbers doubled": "{% set n = namespace(x=9) %}{% for i in range(9999) %}"
    "{% set n.x = n.x * n.x %}{% endfor %}",
    "long words in a loop": "{% for i in range(9999) %}" + "y" * 100_000 + "{% endfor %}",
    "a recursive loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "a wide year": "{{ strftime_now('%1000000000Y') }}",
    "made-up words": "{{ lipsum(n=10 ** 9) }}",
    "Python's classes": "{{ ''.__class__.__mro__ }}",
    "Python's globals": "{{ raise_exception.__globals__.json }}",
    "a way around": "{{ messages | attr('__class__') }}",
    "another way around": "{{ messages | map(attribute='__class__') | list | join('') }}"
    "{{ messages.append(1) }}",
    "another file": "{% include '/etc/hostname' %}",
    "brackets": "{{ " + "(" * 5000,
    "no end": "{% if true %}",
    "too much of it": "x" * (MAX_TEMPLATE_CHARACTERS + 1),
}


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_stops_soon_and_by_name(template):
    started = time.monotonic()
    with pytest.raises(BadRequest) as caught:
        render_jinja(template, {"messages": MESSAGES})
    assert caught.value.code == "template_error"
    assert time.monotonic() - started < 8


def test_work_between_the_steps_is_stopped_by_the_clock(monkeypatch):
    monkeypatch.setattr("dimora.prompts.jinja_rendering._MAX_SECONDS", 0.3)
    slow = "{% set a = 'a' * 8000000 %}{% for i in range(9999) %}{% set b = a[::-1] %}{% endfor %}"
    started = time.monotonic()
    with pytest.raises(BadRequest, match="more than a chat template may"):
        render_jinja(slow, {})
    assert time.monotonic() - started < 5


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
