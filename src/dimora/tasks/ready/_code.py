"""Reads code as far as ready tasks need to: its fence, its comments, its names, whether it parses.

Not a task itself. Python is parsed; of other languages names are told by the words before them.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from typing import Literal

from dimora.core.languages import Language, detect_language

Parsed = Literal["yes", "no", "unknown"]

_FENCE = re.compile(
    r"^[ \t]*(`{3,}+|~{3,}+)[^\n]*+\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.M | re.S
)
# Of one that never ends no more is read than up to the next.
_COMMENT = re.compile(
    r'"""(.*?)"""|/\*((?:[^*/]|\*(?!/)|/(?!\*))*+)\*/|(?:^|\s)(?:#|//|--)\s?([^\n]*)', re.DOTALL
)
# `def total(`, `class Shop`, `func (s *Shop) Total(`, `public static int total(`, ...
_DEFINED = re.compile(
    r"\b(?:def|class|function|func|fn|interface|struct|enum|trait|type|sub|proc)\s+"
    r"(?:\([^()\n]*\)\s*)?([A-Za-z_]\w*)"
    r"|^[ \t]*(?:export\s+)?(?:const|let|var)\s+([A-Za-z_]\w*)\s*=\s*(?:async\s*)?"
    r"(?:\([^()\n]*\)|\w+)\s*=>"
    r"|^[ \t]*(?:(?:public|private|protected|static|final|async|override|virtual|inline)[ \t]+)*"
    r"[A-Za-z_][\w<>\[\],*&]*\s+\*?([A-Za-z_]\w*)\s*\([^()\n]*\)\s*(?:throws\s+\w+\s*)?\{",
    re.MULTILINE,
)
_NOT_NAMES = frozenset("if for while switch catch return else new function match".split())
# What a model writes where it was too lazy to copy.
_LEFT_OUT = re.compile(
    r"^[ \t]*+(?:#|//|/\*|--)?[ \t]*+(?:\.\.\.|…)?[ \t]*+\(?"
    r"(?:rest of|remaining|other|existing|resto d|il resto|el resto)[^\n]{0,40}"
    r"(?:code|function|method|class|unchanged|same|codice|código)",
    re.IGNORECASE | re.MULTILINE,
)
_PYTHON = re.compile(
    r"^[ \t]*(?:def \w+\([^)\n]*\).*:|class \w.*:|import \w+|from \w[\w.]* import )", re.M
)


def fenced(code: str) -> str:
    """Code as data for a model: in a fence that the code itself cannot close."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{code.strip(chr(10))}\n{fence}"


def code_in(answer: str) -> str:
    """The longest fenced block of an answer, or all of it where there is none; ends with a
    line's end unless there is nothing."""
    blocks = [found[2] for found in _FENCE.finditer(answer)]
    code = max(blocks, key=len) if blocks else answer
    return f"{code.strip(chr(10)).rstrip()}\n" if code.strip() else ""


def language_of(code: str, words: str = "") -> Language:
    """The language people speak here: of the words said with the code, else of its comments."""
    if words.strip():
        return detect_language(words)
    comments = [" ".join(part for part in found if part) for found in _COMMENT.findall(code)]
    return detect_language("\n".join(comments))


def looks_like_python(code: str) -> bool:
    return bool(_PYTHON.search(code))


def parses(code: str, language: str = "") -> Parsed:
    """Whether it is code of that language, by name; empty for whatever it looks like."""
    name = language.strip().casefold()
    if name.startswith("python") or (not name and looks_like_python(code)):
        return "no" if python_fault(code) else "yes"
    if name == "json":
        return _parses_json(code)
    return "unknown"


def python_fault(code: str) -> str:
    """What is wrong with it, in a line; empty for nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as why:
        return f"line {why.lineno}: {why.msg}"
    except (ValueError, RecursionError, MemoryError):
        return "it cannot be parsed"
    return ""


def _parses_json(code: str) -> Parsed:
    try:
        json.loads(code)
    except (ValueError, RecursionError):
        return "no"
    return "yes"


def names_defined(code: str) -> tuple[str, ...]:
    """Functions and types that the code defines, in their order."""
    if looks_like_python(code) and not python_fault(code):
        return tuple(dict.fromkeys(_python_names(ast.parse(code))))
    found = ("".join(groups) for groups in _DEFINED.findall(code))
    return tuple(dict.fromkeys(name for name in found if name not in _NOT_NAMES))


def _python_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield node.name
            yield from _python_names(node)


def is_left_out(code: str) -> bool:
    """Whether a comment stands where code should: `# rest of the code unchanged`."""
    return bool(_LEFT_OUT.search(code))


def find_foreign_names(text: str, code: str) -> tuple[str, ...]:
    """Names of code in a text about code that the code does not have: what stands in backticks,
    is called, or has an underscore or a hump within."""
    told = [
        *re.findall(r"`([^`\n]{2,60})`", text),
        *re.findall(r"\b([A-Za-z]\w+)\(\)", text),
        *re.findall(r"\b([a-z]+(?:_\w+)+|[a-z]+[A-Z]\w+|[A-Z][a-z]+[A-Z]\w+)\b", text),
    ]
    words = {word.casefold() for word in re.findall(r"\w+", code)}
    foreign = []
    for name in (each.removesuffix("()") for each in told):
        parts = re.findall(r"[^\W\d]\w+", name)
        if parts and not any(part.casefold() in words for part in parts):
            foreign.append(name)
    return tuple(dict.fromkeys(foreign))


def plain_name(name: str) -> str:
    """`totalPrice`, `total_price` and `TotalPrice` are one name in different languages."""
    return name.replace("_", "").casefold()
