"""Templates of manifests, in the part of Go's language they use."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from dimora.core.errors import BadRequest
from dimora.core.types import Tool
from dimora.prompts.go_parsing import GoSyntaxError, parse_go
from dimora.prompts.go_template import check_go, render_go
from tests.unit.prompts.templates import WEATHER, answer, assistant, call, system, user

LLAMA3 = """{{- if or .System .Tools }}<|start_header_id|>system<|end_header_id|>
{{- if .System }}

{{ .System }}
{{- end }}
{{- if .Tools }}

Use the tools when you need them.
{{- end }}<|eot_id|>
{{- end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- /* every role in its own words */ -}}
{{- if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>
{{- if and $.Tools $last }}

Tools:
{{ range $.Tools }}
{{- . }}
{{ end }}
{{- end }}

{{ .Content }}<|eot_id|>{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- else if eq .Role "assistant" }}<|start_header_id|>assistant<|end_header_id|>
{{- if .ToolCalls }}
{{ range .ToolCalls }}
{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}
{{- else }}

{{ .Content }}
{{- end }}{{ if not $last }}<|eot_id|>{{ end }}
{{- else if eq .Role "tool" }}<|start_header_id|>ipython<|end_header_id|>

{{ .Content }}<|eot_id|>{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- end }}
{{- end }}"""

CHATML = """{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""

MESSAGES = (user("One"), user("Two"))


def test_a_modern_template_writes_every_turn():
    text = render_go(LLAMA3, [system("Be kind."), user("Hi"), assistant("Yes?"), user("Go on")])
    assert text == (
        "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nYes?<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nGo on<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_tools_and_calls_are_written_as_json():
    text = render_go(LLAMA3, [user("Rain?"), call(city="<Oslo>"), answer("Yes")], tools=[WEATHER])
    assert "Use the tools" in text
    assert '{"name": "get_weather", "parameters": {"city":"<Oslo>"}}<|eot_id|>' in text
    assert text.endswith("Yes<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")
    text = render_go(LLAMA3, [user("Rain?")], tools=[WEATHER])
    assert (
        'Tools:\n{"type":"function","function":{"name":"get_weather","description":'
        '"Tells the weather","parameters":{"type":"object","properties":{"city":'
        '{"type":"string"}},"required":["city"]}}}\n'
    ) in text


def test_an_old_template_is_run_once_for_each_exchange():
    text = render_go(CHATML, [system("Be kind."), user("Hi"), assistant("Yes?"), user("Go on")])
    assert text == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nGo on<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_template_without_a_place_for_the_answer_gets_one_at_its_end():
    text = render_go("[{{ .Prompt }}]", [user("Hi"), assistant("Yes?"), user("Go on")])
    assert text == "[Hi]Yes?[Go on]"


def test_a_base_model_is_given_the_prompt_alone():
    assert render_go("{{ .Prompt }}", [user("Once upon")]) == "Once upon"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("a {{- 1 -}} b", "a1b"),
        ("a {{ 1 }} b", "a 1 b"),
        ("a\n{{- /* words }} */ -}}\n b", "ab"),
        ("{{/* words */}}x", "x"),
        ('{{ "a}}\\n" }}{{ `b\\n` }}', "a}}\nb\\n"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ("{{ with $x := .System }}{{ . }}{{ else }}none{{ end }}", "none"),
        ('{{ with "a" }}{{ . }}{{ $.Response }}{{ end }}', "a"),
        ("{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Content }}{{ end }}", "0One1Two"),
        ("{{ range $m := .Messages }}{{ $m.Role }} {{ end }}", "user user "),
        ("{{ range .Tools }}x{{ else }}no tools{{ end }}", "no tools"),
        ("{{ range .Messages }}{{ .Content }}{{ break }}{{ end }}", "One"),
        ('{{ range .Messages }}{{ if eq .Content "One" }}{{ continue }}{{ end }}x{{ end }}', "x"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ if and true 0 }}a{{ else if or 0 1 }}b{{ else }}c{{ end }}", "b"),
        ('{{ if eq "b" "a" "b" }}x{{ end }}{{ if ne 1 2 }}y{{ end }}', "xy"),
        ("{{ if and (lt 1 2) (le 2 2) (gt 3 2) (ge 3 3) (not false) }}x{{ end }}", "x"),
        ("{{ (index .Messages 1).Content }}{{ len .Messages }}", "Two2"),
        ("{{ range slice .Messages 1 }}{{ .Content }}{{ end }}", "Two"),
        ('{{ slice "abcdef" 1 3 }}{{ "é" | len }}', "bc2"),
        ('{{ printf "%s-%d-%v-%q-%%" "a" 1 true "b" }}', 'a-1-true-"b"-%'),
        ('{{ "b" | printf "%s%s" "a" }}', "ab"),
        ('{{ print 1 2 "a" 3 }}{{ println "x" }}', "1 2a3x\n"),
        ('{{ json "<é>" }}{{ json nil }}{{ json true }}{{ 1.5 }}', '"<é>"nulltrue1.5'),
        ("{{ .Missing.Deeper }}{{ nil }}", ""),
        ("{{ .Think }}{{ .IsThinkSet }}{{ .ThinkLevel }}", "truetruehigh"),
        ('{{ toTypeScriptType "integer" }}', "number"),
        ("{{ if false }}{{ undefined 1 }}{{ end }}x", "x"),
        ("{{ or .System (and 1 2) }}", "2"),
        ("{ {{ 1 }} }", "{ 1 }"),
    ],
)
def test_the_language_means_what_it_means_in_go(template, text):
    whole = template + "{{ if .Messages }}{{ end }}"
    assert render_go(whole, MESSAGES, think="high") == text


def test_a_template_may_ask_for_the_day():
    template = "{{ currentDate }} {{ yesterdayDate }}{{ if .Messages }}{{ end }}"
    today = date.today()
    assert render_go(template, MESSAGES) == f"{today} {today - timedelta(days=1)}"


def test_the_properties_of_a_tool_can_be_walked():
    template = (
        "{{ range .Tools }}{{ .Function.Name }}({{ range $name, $p := "
        ".Function.Parameters.Properties }}{{ $name }}: {{ toTypeScriptType $p }}{{ end }})"
        "{{ end }}{{ if .Messages }}{{ end }}"
    )
    assert render_go(template, MESSAGES, tools=[WEATHER, Tool("bare")]) == (
        "get_weather(city: string)bare()"
    )
    odd = Tool("odd", "", {"properties": ["city"]})
    assert render_go(template, MESSAGES, tools=[odd]) == "odd()"


@pytest.mark.parametrize(
    "template",
    [
        "{{",
        "{{ }",
        "{{ if }}",
        "{{ if true }}",
        "{{ end }}",
        "{{ if true }}{{ else }}{{ else }}{{ end }}",
        "{{ range .Messages }}{{ else if true }}{{ end }}{{ end }}",
        "{{ | }}",
        "{{ ( }}",
        "{{ ) }}",
        '{{ "a }}',
        "{{ 1 = 2 }}",
        "{{ ? }}",
        '{{ define "x" }}{{ end }}',
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ if true }}" * 3000 + "{{ end }}" * 3000,
        "x" * 300_000,
    ],
)
def test_what_is_not_the_language_is_refused(template):
    with pytest.raises(GoSyntaxError):
        parse_go(template)
    with pytest.raises(BadRequest) as caught:
        render_go(template, MESSAGES)
    assert caught.value.code == "template_error"


@pytest.mark.parametrize(
    "template",
    [
        "{{ shout .System }}",
        "{{ if false }}{{ range .Messages }}{{ .Content | shout }}{{ end }}{{ end }}",
        "{{ if and true (shout 1) }}{{ end }}",
    ],
)
def test_a_function_there_is_not_is_named_before_a_template_is_used(template):
    with pytest.raises(BadRequest, match="calls 'shout'"):
        check_go(template)


def test_all_functions_there_are_pass():
    check_go("{{ if or false (and true (eq (len .Messages) 1)) }}{{ json .Tools }}{{ end }}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ undefined 1 }}",
        "{{ $x }}",
        "{{ $x = 1 }}",
        "{{ 1 2 }}",
        "{{ len 3 }}",
        "{{ len }}",
        "{{ index .Messages 9 }}",
        "{{ index .Messages -1 }}",
        "{{ slice .Messages 3 1 }}",
        '{{ lt 1 "a" }}',
        '{{ printf "%s" }}',
        '{{ printf "%99999999d" 1 }}',
        "{{ break }}",
        "{{ range true }}{{ end }}",
    ],
)
def test_what_goes_wrong_while_running_is_told(template):
    with pytest.raises(BadRequest) as caught:
        render_go(template + "{{ if .Messages }}{{ end }}", MESSAGES)
    assert caught.value.code == "template_error"
