"""Reads and writes a Modelfile: the text that says what a model is made of.

One instruction to a line, its name in any case, in any order; `#` begins a line of comment. A
value is the rest of the line, or stands between `"` or `\"\"\"` and may then have several lines;
there are no escapes. Ours beside Ollama's instructions: FILE, ENGINE, and a scale behind the path
of ADAPTER. Source: the Ollama contract, section 1.12.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from dimora.core.errors import BadRequest
from dimora.core.types import Message, Role, Text
from dimora.prompts.chat import check_template
from dimora.tasks.options import RETIRED, Options, options_from, parse_parameter

LIMIT_BYTES = 16 << 20

_COMMANDS = (
    *("from", "license", "template", "system", "adapter", "draft", "renderer", "parser"),
    *("parameter", "message", "requires", "file", "engine"),
)
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
_MARKS = ('"""', '"')
_SCALED = re.compile(r"(.*\S)\s+([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_VERSION = re.compile(r"v?\d{1,9}(\.\d{1,9}){0,2}", re.ASCII)


class Modelfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a Modelfile says. What is None or empty is not in it; an empty text is there to remove.

    `sources` are the words of its FROM lines: a model's name, or paths. `adapters` are paths, each
    with its scale; `documents` are the paths of FILE lines. `lines` gives the line of each such
    word, for messages. `warnings` tell of what has no effect any more.
    """

    sources: tuple[str, ...] = ()
    adapters: tuple[tuple[str, float], ...] = ()
    draft: str = ""
    documents: tuple[str, ...] = ()
    options: Options = Options()
    template: str | None = None
    system: str | None = None
    messages: tuple[Message, ...] = ()
    licenses: tuple[str, ...] = ()
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    warnings: tuple[str, ...] = ()
    lines: dict[str, int] = {}


class _Instruction(NamedTuple):
    """One instruction: `name` in lower case; `key` is the first word of PARAMETER and MESSAGE, and
    the scale of ADAPTER."""

    line: int
    name: str
    key: str
    value: str


def parse_modelfile(data: bytes) -> Modelfile:
    """What the file says.

    Raises BadRequest, in Ollama's words behind `(line N): ` wherever one line is to blame.
    """
    gathered = _Gathered()
    for instruction in _instructions(_decoded(data)):
        try:
            gathered.take(instruction)
        except BadRequest as why:
            raise _wrong(instruction.line, why.message) from None
    if not gathered.fields.get("sources"):
        raise BadRequest("no FROM line", hint="the first line of most Modelfiles is: FROM model")
    return gathered.whole()


def _wrong(line: int, message: str) -> BadRequest:
    return BadRequest(f"(line {line}): {message}", code="invalid_modelfile")


def _decoded(data: bytes) -> str:
    """The text, with `\\n` between its lines.

    The first line's end says how lines end: a `\\r` in a file of other ends belongs to a value.
    """
    if len(data) > LIMIT_BYTES:
        raise BadRequest(f"the Modelfile is larger than {LIMIT_BYTES >> 20} MiB")
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as why:
        line = data.count(b"\n", 0, why.start) + 1
        raise _wrong(line, "the file is neither UTF-8 nor UTF-16 with a byte-order mark") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _wrong(line, "there is a zero byte: this is no text")
    end = re.search(r"\r\n|\r|\n", text)
    return text.replace(end[0], "\n") if end and end[0] != "\n" else text


def _instructions(text: str) -> Iterator[_Instruction]:
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        start, words = at, lines[at].lstrip()
        at += 1
        if not words or words.startswith("#"):
            continue
        name, rest = _cut_word(words)
        name = name.lower()
        if name not in _COMMANDS:
            *most, last = (f'"{command}"' for command in _COMMANDS)
            raise _wrong(start + 1, f"command must be one of {', '.join(most)}, or {last}")
        key = ""
        if name in ("parameter", "message"):
            key, rest = _cut_word(rest)
        if name == "adapter":
            rest, key = _cut_scale(rest)
        value, at = _read_value(rest, lines, at)
        if value is None:
            raise _wrong(
                start + 1,
                "the quotes that open here are never closed: they close at the end of a line",
            )
        if not value and not _mark_of(rest.strip()):
            raise _wrong(start + 1, f"{name.upper()} {key}".rstrip() + " needs a value")
        yield _Instruction(start + 1, name, key, value)


def _cut_scale(words: str) -> tuple[str, str]:
    """The path of an ADAPTER line, and the scale behind it if there is one.

    A path that itself ends in a number stands between quotes.
    """
    found = _SCALED.fullmatch(words.strip())
    return (found[1], found[2]) if found else (words, "")


def _cut_word(words: str) -> tuple[str, str]:
    """The first word, and what follows the space behind it."""
    pieces = words.split(None, 1)
    return (pieces[0], pieces[1]) if len(pieces) == 2 else (words.strip(), "")


def _mark_of(words: str) -> str:
    return next((mark for mark in _MARKS if words.startswith(mark)), "")


def _read_value(first: str, lines: list[str], at: int) -> tuple[str | None, int]:
    """A value that begins with `first`, and the line after it; None when it has no end.

    Quotes close at the end of a line only, so that a text may have quotes in it.
    """
    words = first.strip()
    mark = _mark_of(words)
    if not mark:
        return words, at
    size = len(mark)
    if len(words) >= 2 * size and words.endswith(mark):
        return words[size:-size], at
    for end in range(at, len(lines)):
        last = lines[end].rstrip()
        if last.endswith(mark):
            return "\n".join([first.lstrip()[size:], *lines[at:end], last[:-size]]), end + 1
    return None, at


class _Gathered:
    """The fields of a Modelfile, as its lines fill them; of what can be there once, the last."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self._options: dict[str, Any] = {}
        self._warnings: list[str] = []
        self._lines: dict[str, int] = {}

    def take(self, instruction: _Instruction) -> None:
        """Raises BadRequest."""
        line, name, key, value = instruction
        if name in ("from", "draft", "file"):
            self._lines[value] = line
        match name:
            case "parameter":
                self._take_parameter(key, value)
            case "engine":
                self._options["engine"] = value
            case "message":
                self._append("messages", _message(key, value))
            case "adapter":
                self._lines[value] = line
                self._append("adapters", (value, _scale(key)))
            case "from" | "license" | "file":
                self._append(_LISTS[name], value)
            case "template":
                check_template(value)
                self.fields[name] = value
            case _:
                self.fields[name] = _version(value) if name == "requires" else value

    def whole(self) -> Modelfile:
        return Modelfile(
            **self.fields,
            options=options_from(self._options)[0],
            warnings=tuple(self._warnings),
            lines=self._lines,
        )

    def _append(self, field: str, value: Any) -> None:
        self.fields[field] = (*self.fields.get(field, ()), value)

    def _take_parameter(self, name: str, words: str) -> None:
        if name in RETIRED:
            self._warnings.append(f"parameter {name!r} is no longer used and was ignored")
            return
        value = parse_parameter(name, words)
        if isinstance(value, list):
            value = [*self._options.get(name, ()), *value]
        self._options[name] = value


_LISTS = {"from": "sources", "license": "licenses", "file": "documents"}


def _message(role: str, text: str) -> Message:
    known = _ROLES.get(role.lower())
    if known is None:
        raise BadRequest('message role must be one of "system", "user", or "assistant"')
    return Message(known, (Text(text),))


def _scale(words: str) -> float:
    scale = float(words or 1.0)
    if not math.isfinite(scale):
        raise BadRequest(f"invalid float value [{words}]")
    return scale


def _version(words: str) -> str:
    if words and not is_version(words):
        raise BadRequest("requires must be a version such as 0.14.0")
    return words


def is_version(text: str) -> bool:
    """Whether REQUIRES may say this: one to three numbers with points between them."""
    return _VERSION.fullmatch(text) is not None


def write_modelfile(modelfile: Modelfile) -> str:
    """The text that `parse_modelfile` reads as this; warnings and lines are not in it.

    Raises BadRequest for a text that cannot be written; `is_writable` tells.
    """
    if any("\r" in source for source in modelfile.sources):
        # It would be taken for the end of a line, and for the ends of all other lines.
        raise _unwritable()
    rows = [f"FROM {_plain(source)}" for source in modelfile.sources]
    for path, scale in modelfile.adapters:
        # Quotes keep a number at the end of the path from being read as the scale.
        if "\n" in path:
            raise _unwritable()
        rows.append(f"ADAPTER {_written(path, short=True)}" + f" {scale!r}" * (scale != 1.0))
    rows += [f"DRAFT {_plain(modelfile.draft)}"] * bool(modelfile.draft)
    rows += [f"FILE {_plain(path)}" for path in modelfile.documents]
    rows += _option_rows(modelfile.options)
    for name in ("renderer", "parser", "requires"):
        if (word := getattr(modelfile, name)) is not None:
            rows.append(f"{name.upper()} {_plain(word)}")
    for name in ("template", "system"):
        if (text := getattr(modelfile, name)) is not None:
            rows.append(f"{name.upper()} {_written(text)}")
    rows += [f"MESSAGE {each.role} {_written(each.text)}" for each in modelfile.messages]
    rows += [f"LICENSE {_written(text)}" for text in modelfile.licenses]
    return "".join(f"{row}\n" for row in rows)


def is_writable(text: str) -> bool:
    """Whether a Modelfile can hold the text: not when a line in it ends like a quote would."""
    return any(_reads_as(form, text) for form in _forms(text, short=False))


def _option_rows(options: Options) -> Iterator[str]:
    for name, value in options.as_dict().items():
        if name == "engine":
            yield f"ENGINE {_plain(value)}"
        elif isinstance(value, str | tuple):
            for each in (value,) if isinstance(value, str) else value:
                yield f"PARAMETER {name} {_written(each, short=True)}"
        else:
            yield f"PARAMETER {name} {msgspec.json.encode(value).decode()}"


def _plain(word: str) -> str:
    """Without quotes where it reads the same."""
    return word if word and _reads_as(word, word) else _written(word, short=True)


def _written(text: str, *, short: bool = False) -> str:
    for form in _forms(text, short=short):
        if _reads_as(form, text):
            return form
    raise _unwritable()


def _unwritable() -> BadRequest:
    return BadRequest(
        "a Modelfile cannot hold this text",
        hint='no line inside a text may end in """, and none may have a zero byte',
    )


def _forms(text: str, *, short: bool) -> Iterator[str]:
    for mark in reversed(_MARKS) if short and "\n" not in text else _MARKS:
        yield f"{mark}{text}{mark}"
    yield text


def _reads_as(form: str, text: str) -> bool:
    first, *rest = form.split("\n")
    value, end = _read_value(first, rest, 0)
    return value == text and end == len(rest) and "\0" not in text and _is_unicode(text)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
