"""Modelfiles as people and programs write them."""

from __future__ import annotations

import codecs

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimora.core.errors import BadRequest
from dimora.core.types import Message, Text
from dimora.tasks.modelfile import (
    LIMIT_BYTES,
    Modelfile,
    is_writable,
    parse_modelfile,
    write_modelfile,
)
from dimora.tasks.options import Options

WHOLE = '''
# A model of ours
from ./weights.gguf
FROM mmproj.gguf
PARAMETER temperature 0.5
parameter stop "<|end|>"
PARAMETER stop """two
lines"""
Parameter use_mmap false
TEMPLATE """{{ if .System }}"{{ .System }}"{{ end }}
{{ .Prompt }}"""
SYSTEM You are Ada, and you say "hello".
ADAPTER ./one 0.5
ADAPTER "./two 2"
DRAFT small:latest
RENDERER qwen3-coder
PARSER "qwen3-coder"
LICENSE """
MIT

Copyright
"""
LICENSE Another
MESSAGE user Ciao, come stai?
MESSAGE assistant """Bene.
E tu?"""
REQUIRES 0.14.0
FILE docs/guide to it.pdf
ENGINE llama_cpp
'''


def read(text: str) -> Modelfile:
    return without_lines(parse_modelfile(text.encode()))


def without_lines(modelfile: Modelfile) -> Modelfile:
    return msgspec.structs.replace(modelfile, lines={})


def test_every_instruction_is_read_in_any_case_and_order():
    expected = Modelfile(
        sources=("./weights.gguf", "mmproj.gguf"),
        options=Options(
            temperature=0.5, stop=("<|end|>", "two\nlines"), use_mmap=False, engine="llama_cpp"
        ),
        template='{{ if .System }}"{{ .System }}"{{ end }}\n{{ .Prompt }}',
        system='You are Ada, and you say "hello".',
        adapters=(("./one", 0.5), ("./two 2", 1.0)),
        draft="small:latest",
        renderer="qwen3-coder",
        parser="qwen3-coder",
        licenses=("\nMIT\n\nCopyright\n", "Another"),
        messages=(
            Message("user", (Text("Ciao, come stai?"),)),
            Message("assistant", (Text("Bene.\nE tu?"),)),
        ),
        requires="0.14.0",
        documents=("docs/guide to it.pdf",),
    )
    assert read(WHOLE) == expected
    assert read(write_modelfile(expected)) == expected


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + WHOLE.encode(),
        WHOLE.replace("\n", "\r\n").encode(),
        WHOLE.replace("\n", "\r").encode(),
        WHOLE.encode("utf-16"),
        codecs.BOM_UTF16_BE + WHOLE.encode("utf-16-be"),
        codecs.BOM_UTF16_LE + WHOLE.replace("\n", "\r\n").encode("utf-16-le"),
        WHOLE.replace(" ./", "\t./").replace("\nPARAM", "\n \tPARAM").encode(),
        WHOLE.strip().encode(),
    ],
    ids=["bom", "crlf", "cr", "utf-16", "utf-16-be", "utf-16-le-crlf", "tabs", "no last newline"],
)
def test_however_an_editor_saved_it_it_says_the_same(data):
    assert without_lines(parse_modelfile(data)) == read(WHOLE)


def test_unicode_stays_as_it_is():
    text = "FROM città\nSYSTEM Rispondi così: «è già l’ora» 你好 \u2028 🙂\x0b!\n"
    assert read(text).sources == ("città",)
    assert read(text).system == "Rispondi così: «è già l’ora» 你好 \u2028 🙂\x0b!"


def test_quotes_close_at_the_end_of_a_line_only():
    assert read('FROM m\nSYSTEM "a" and "b"').system == 'a" and "b'
    assert read('FROM m\nSYSTEM """a""" b\nc"""  ').system == 'a""" b\nc'
    assert read('FROM m\nSYSTEM "one  \n two"\n').system == "one  \n two"
    assert read('FROM m\nSYSTEM ""').system == ""
    assert read('FROM m\nSYSTEM """"""').system == ""
    assert read('FROM m\nSYSTEM """"hi""""').system == '"hi"'


def test_of_what_can_be_there_once_the_last_counts():
    found = read("FROM m\nSYSTEM a\nSYSTEM b\nPARAMETER top_k 1\nPARAMETER top_k 2")
    assert (found.system, found.options.top_k) == ("b", 2)


def test_a_scale_is_a_number_behind_the_path():
    def adapter(words: str) -> tuple[str, float]:
        return read(f"FROM m\nADAPTER {words}").adapters[0]

    assert adapter("./a b/c 1.5") == ("./a b/c", 1.5)
    assert adapter('"./a 2" -1e-1') == ("./a 2", -0.1)
    assert adapter('"./a 2"') == ("./a 2", 1.0)
    assert adapter("./v2") == ("./v2", 1.0)
    assert adapter("2") == ("2", 1.0)
    assert adapter("./a .5") == ("./a", 0.5)


def test_the_lines_of_names_and_paths_are_known():
    found = parse_modelfile(b"\n# x\nFROM m\nFILE a\nDRAFT d\nADAPTER b 2\n")
    assert found.lines == {"m": 3, "a": 4, "d": 5, "b": 6}


def test_what_has_no_effect_any_more_is_warned_about():
    found = read("FROM m\nPARAMETER mirostat 2")
    assert found.options == Options()
    assert found.warnings == ("parameter 'mirostat' is no longer used and was ignored",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM line"),
        ("# FROM m\n", "no FROM line"),
        ("SYSTEM x\n", "no FROM line"),
        ("FROM m\nFORM n\n", "(line 2): command must be one of "),
        ("FROM m\n\n\nhello there\n", "(line 4): command must be one of "),
        ("FROM m\nMESSAGE tool x\n", '(line 2): message role must be one of "system", "user", or'),
        ("FROM m\nMESSAGE user\n", "(line 2): MESSAGE user needs a value"),
        ("FROM m\nSYSTEM \t\n", "(line 2): SYSTEM needs a value"),
        ("FROM\n", "(line 1): FROM needs a value"),
        ("FROM m\nPARAMETER colour red\n", "(line 2): unknown parameter 'colour'"),
        ("FROM m\nPARAMETER num_ctx many\n", "(line 2): invalid int value [many]"),
        ("FROM m\nPARAMETER num_ctx 1.5\n", "(line 2): invalid int value [1.5]"),
        (f"FROM m\nPARAMETER seed {2**63}\n", f"(line 2): invalid int value [{2**63}]"),
        ("FROM m\nPARAMETER top_p nan\n", "(line 2): invalid float value [nan]"),
        ("FROM m\nPARAMETER use_mmap maybe\n", "(line 2): invalid bool value [maybe]"),
        ("FROM m\nPARAMETER num_ctx\n", "(line 2): PARAMETER num_ctx needs a value"),
        ("FROM m\nPARAMETER\n", "(line 2): PARAMETER needs a value"),
        ('FROM m\nSYSTEM x\nTEMPLATE """{{ .Prompt }}\n\nLICENSE x\n', "(line 3): the quotes"),
        ('FROM m\nADAPTER "./a" nan\n', "(line 2): the quotes that open here are never closed"),
        ("FROM m\n\nTEMPLATE {{ if }}\n", "(line 3): the model's template is broken"),
        ("FROM m\nTEMPLATE {% if %}\n", "(line 2): the model's chat template is broken"),
        (
            "FROM m\nTEMPLATE {{ .Prompt | shout }}\n",
            "(line 2): the model's template calls 'shout'",
        ),
        ("FROM m\nREQUIRES soon\n", "(line 2): requires must be a version such as 0.14.0"),
        ("FROM m\nADAPTER ./a 1e999\n", "(line 2): invalid float value [1e999]"),
        ("FROM m\nSYSTEM a\0b\n", "(line 2): there is a zero byte"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, message):
    with pytest.raises(BadRequest) as caught:
        parse_modelfile(text.encode())
    assert caught.value.message.startswith(message)


def test_what_is_no_text_is_refused():
    with pytest.raises(BadRequest, match=r"^\(line 2\): the file is neither UTF-8"):
        parse_modelfile(b"FROM m\nSYSTEM citt\xe0\n")
    with pytest.raises(BadRequest, match="zero byte"):
        parse_modelfile("FROM m".encode("utf-16-le"))
    with pytest.raises(BadRequest, match="larger than"):
        parse_modelfile(b"#" * (LIMIT_BYTES + 1))


def test_a_long_text_is_read_in_one_go():
    text = "a line of a licence\n" * 200_000
    assert read(f'FROM m\nLICENSE """{text}"""').licenses == (text,)


TEXTS = st.text(st.one_of(st.sampled_from('"\n\r\t #a{'), st.characters(codec="utf-8")))
WRITABLE = TEXTS.filter(is_writable)
WORDS = WRITABLE.filter(lambda text: "\n" not in text)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
OPTIONS = st.builds(
    Options,
    engine=st.none() | WORDS,
    num_ctx=st.none() | st.integers(-(2**63), 2**63 - 1),
    temperature=st.none() | NUMBERS,
    use_mmap=st.none() | st.booleans(),
    stop=st.none() | st.lists(WRITABLE, min_size=1).map(tuple),
    logit_bias=st.none() | st.dictionaries(st.integers(0, 2**40), NUMBERS),
)
MESSAGES = st.builds(
    lambda role, text: Message(role, (Text(text),)),
    st.sampled_from(["system", "user", "assistant"]),
    WRITABLE,
)
SOURCES = WORDS.filter(lambda text: "\r" not in text)
MODELFILES = st.builds(
    Modelfile,
    sources=st.lists(SOURCES, min_size=1, max_size=2).map(tuple),
    adapters=st.lists(st.tuples(WORDS, NUMBERS)).map(tuple),
    draft=WORDS,
    documents=st.lists(WORDS).map(tuple),
    options=OPTIONS,
    template=st.none() | WRITABLE,
    system=st.none() | WRITABLE,
    messages=st.lists(MESSAGES).map(tuple),
    licenses=st.lists(WRITABLE).map(tuple),
    renderer=st.none() | WORDS,
    parser=st.none() | WORDS,
    requires=st.none() | st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){0,2}\Z"),
)


@given(MODELFILES)
@settings(max_examples=400, deadline=None)
def test_what_is_written_reads_as_what_was_meant(modelfile):
    assert without_lines(parse_modelfile(write_modelfile(modelfile).encode())) == modelfile


@given(TEXTS)
def test_what_cannot_be_written_is_refused_and_never_changed(text):
    modelfile = Modelfile(sources=("m",), system=text)
    if is_writable(text):
        assert read(write_modelfile(modelfile)) == modelfile
    else:
        with pytest.raises(BadRequest, match="cannot hold"):
            write_modelfile(modelfile)


def test_a_line_that_ends_like_a_quote_is_all_that_cannot_be_written():
    assert is_writable('say """hi""" to\n"them"')
    assert is_writable('one """')
    assert not is_writable('one """\ntwo "\n')
    assert not is_writable("zero\0")


@given(st.binary() | TEXTS.map(str.encode))
def test_any_bytes_are_read_or_refused_with_words(data):
    for start in (b"", b"FROM m\n", b'FROM m\nSYSTEM "', b"FROM m\nPARAMETER stop ", b"\xff\xfe"):
        try:
            parse_modelfile(start + data)
        except BadRequest as why:
            assert why.message
