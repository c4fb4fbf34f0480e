"""Templates made to waste time and memory, or to get out of their sandbox.

They come with model files, so each has to end within a second of the processor and 64 MiB.
"""

from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest
from dimora.core.types import Message, Text
from dimora.prompts.go_template import render_go
from dimora.prompts.jinja_rendering import MAX_TEMPLATE_CHARACTERS, render_jinja
from tests.bounds import within_bounds

MESSAGES = [
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "There"},
]
# As long a text as a template may make, nearly.
LONG = "'x' * 5000000"
TWINS = (
    "{% set n = namespace(a=[1], b=[1]) %}{% for i in range(60) %}"
    "{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% endfor %}"
)
PAIRS = (
    "{% set n = namespace(a=(1,)) %}{% for i in range(60) %}{% set n.a = (n.a, n.a) %}{% endfor %}"
)


def heap(made: str) -> str:
    """A template that makes something again and again, and lets go of nothing."""
    return (
        "{% set long = " + LONG + " %}{% set n = namespace(all=[]) %}{% for i in range(9999) %}"
        "{% for j in range(99) %}" + made + "{% endfor %}{% endfor %}"
    )


def kept(made: str) -> str:
    return heap("{% set n.all = [n.all, " + made + "] %}")


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
    "slices kept": kept("long[1:]"),
    "slices of lists kept": kept("range(9999) | list"),
    "copies kept": kept("(long | upper)"),
    "small texts kept": kept("'a' ~ i ~ j"),
    "numbers kept": kept("i * 1000 + j"),
    "empty lists kept": kept("[], [], [], [], [], [], [], [], [], [], [], [], [], []"),
    "pieces kept": kept("('a ' * 90000).split()"),
    "blocks kept": heap("{% set x %}{{ long[1:] }}{% endset %}{% set n.all = [n.all, x] %}"),
    "macros kept": "{% macro f() %}{{ long }}{% endmacro %}" + kept("f()"),
    "a list in a list in a list": kept("1"),
    "twins compared": TWINS + "{{ n.a == n.b }}",
    "twins looked for": TWINS + "{{ n.a in [n.b] }}",
    "twins tested": TWINS + "{{ n.a is eq(n.b) }}",
    "twins selected": TWINS + "{{ [n.a] | select('eq', n.b) | list | length }}",
    "twins sorted": TWINS + "{{ [n.a, n.b] | sort | length }}",
    "twins told": TWINS + "{{ raise_exception(n.a) }}",
    "twins as a date": TWINS + "{{ strftime_now(n.a) }}",
    "twins counted": TWINS + "{{ [n.a].count(n.b) }}",
    "pairs as a key": PAIRS + "{{ {n.a: 1} }}",
    "pairs made unique": PAIRS + "{{ [n.a, 1] | unique | list | length }}",
    "a namespace in a namespace": "{% set n = namespace() %}{% for i in range(60) %}"
    "{% set n.s = namespace(a=n.s, b=n.s) %}{% endfor %}{{ n.s }}",
    "a namespace in itself": "{% set n = namespace() %}{% set n.s = [n] %}{{ n.s }}",
    "a text sorted": "{{ (" + LONG + ") | sort | length }}",
    "a text as a list": "{{ (" + LONG + ") | list | length }}",
    "a text made unique": "{{ (" + LONG + ") | unique | list | length }}",
    "a text letter by letter": "{{ (" + LONG + ") | map('upper') | list | length }}",
    "many texts sorted": "{% set s = 'X' * 5000000 %}{{ ([s] * 9999) | sort | length }}",
    "many texts made unique": "{% set s = 'X' * 5000000 %}{{ ([s] * 9999) | unique | join }}",
    "lines without end": "{{ ('\n' * 5000000).splitlines() | length }}",
    "words without end": "{{ ('a ' * 2500000) | title | length }}",
    "pieces without end": "{{ ('a ' * 2500000).split() | length }}",
    "signs to escape": "{{ ('<' * 5000000) | e }}",
    "signs for an address": "{{ ('<' * 5000000) | urlencode }}",
    "signs as JSON": "{{ ('\x01' * 5000000) | tojson | length }}",
    "joined letter by letter": "{{ (" + LONG + ") | join(',') }}",
    "the bytes of a number": "{{ (1).to_bytes(10 ** 9, 'big') }}",
    "one value for all keys": "{{ dict.fromkeys(range(9999), 1) }}",
    "a rounding loop": "{% for i in range(9999) %}{% for j in range(9999) %}"
    "{% if i == j %}{% endif %}{% endfor %}{% endfor %}",
    "a template of tags": "{{ a }}" * 30_000,
    "a template of conditions": "{% if a %}{% endif %}" * 12_000,
    "a template of macros": "{% macro f() %}{% endmacro %}" * 8000,
    "a list of constants": "{{ [" + "1," * 120_000 + "] }}",
    "a sum without end": "{{ 1" + "+1" * 120_000 + " }}",
    "a name without end": "{{ a" + ".a" * 120_000 + " }}",
    "filters without end": "{{ a" + "|trim" * 50_000 + " }}",
    "a text without end": "{{ '" + "\\'" * 120_000,
    "a comment without end": "{#" * 120_000,
    "beginnings without end": "{{" * 120_000,
    "another template": "{% import 'x' as y %}",
    "the environment": "{{ self.environment }}{{ self._TemplateReference__context.environment }}",
    "the code of a macro": "{% macro f() %}{% endmacro %}{{ f._func.__globals__ }}",
    "the frame of a generator": "{{ (messages | map('upper')).gi_frame.f_globals }}",
    "a filter by its name": "{{ messages | map('attr', '__class__') | list }}",
    "the loop itself": "{% for m in messages %}{{ loop }}{% endfor %}",
}
# These end by themselves, and use what a template may.
LARGE = {
    "a long answer": "{{ " + LONG + " }}",
    "a long answer in pieces": "{% for i in range(4500) %}{{ 'x' * 1000 }}{% endfor %}",
    "a long answer put together": "{% set n = namespace(s='') %}{% for i in range(90) %}"
    "{% set n.s = n.s ~ 'word ' * 500 %}{% endfor %}{{ n.s }}",
    "a long text again and again": "{% set long = " + LONG + " %}"
    "{% for i in range(20) %}{% set x = long[1:] %}{% endfor %}{{ x | length }}",
    "a list of all numbers": "{{ range(9999) | list }}",
}


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_stops_soon_and_by_name(template):
    def render():
        with pytest.raises(BadRequest) as caught:
            render_jinja(template, {"messages": MESSAGES})
        assert caught.value.code == "template_error"

    render_jinja("{{ messages | length }}", {"messages": MESSAGES})
    within_bounds(render)


@pytest.mark.parametrize("template", LARGE.values(), ids=LARGE.keys())
def test_a_large_answer_stays_within_the_bounds(template):
    answers = []
    within_bounds(lambda: answers.append(render_jinja(template, {"messages": MESSAGES})))
    assert answers[0]


def test_what_was_there_before_is_not_counted():
    """A conversation of more than may be made is read, trimmed and chosen from, but not copied."""
    content = "word " * 4000
    messages = [{"role": "user", "content": content + str(n)} for n in range(200)]
    template = (
        "{% for m in messages %}{% set c = m.get('content') | trim %}{{ c | length }} "
        "{{ m['content'] | default('') | safe == c }} {% endfor %}{{ (messages | last).role }}"
    )
    assert render_jinja(template, {"messages": messages}).count("True") == 200


def test_work_between_the_steps_is_stopped_by_the_clock(monkeypatch):
    monkeypatch.setattr("dimora.prompts.limits.MAX_SECONDS", 0.05)
    slow = "{% set a = 'a' * 5000000 %}{% for i in range(9999) %}{% set b = a[::-1] %}{% endfor %}"
    with pytest.raises(BadRequest, match="more than a chat template may"):
        render_jinja(slow, {})


GO_HOSTILE = {
    "loops in loops": "{{ range 1000000000 }}{{ range 1000000000 }}{{ end }}{{ end }}",
    "a long loop": "{{ range 1000000000 }}{{ end }}",
    "a text doubled": '{{ $x := "aa" }}{{ range 99 }}{{ $x = printf "%s%s" $x $x }}{{ end }}',
    "another text doubled": '{{ $x := "aa" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}',
    "many long texts": '{{ $x := "aa" }}{{ range 21 }}{{ $x = print $x $x }}{{ end }}'
    + "".join(f'{{{{ $y{n} := print $x "{n}" }}}}' for n in range(500)),
    "one long text many times": '{{ $x := "aa" }}{{ range 21 }}{{ $x = print $x $x }}{{ end }}'
    "{{ println " + "$x " * 9000 + "}}",
    "long words in a loop": "{{ range 999999 }}" + "y" * 100_000 + "{{ end }}",
    "all messages again and again": "{{ range 999 }}{{ range 999 }}{{ json $.Messages }}"
    "{{ end }}{{ end }}",
    "blocks in blocks": "{{ if true }}" * 5000,
    "brackets": "{{ " + "(" * 5000 + "1",
    "a template of fields": "{{ .A }}" * 30_000,
    "one action of many words": "{{ print " + "1 " * 100_000 + "}}",
    "conditions without end": "{{ if .A }}" + "{{ else if .A }}" * 9000 + "{{ end }}",
    "a comment without end": "{{/*" * 60_000,
    "a text without end": '{{ "' * 60_000,
}


@pytest.mark.parametrize("template", GO_HOSTILE.values(), ids=GO_HOSTILE.keys())
def test_a_hostile_go_template_stops_soon_and_by_name(template):
    def render():
        with pytest.raises(BadRequest) as caught:
            render_go(template, [Message("user", (Text("word " * 1000),))])
        assert caught.value.code == "template_error"

    within_bounds(render)
