"""Names of models: `[host[:port]/][namespace/]model[:tag]`, strictly checked before any path."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

import msgspec

from dimora.core.errors import BadRequest

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_SCHEME = re.compile(r"^https?://", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_WITH_PORT = re.compile(r"[^:]+:[0-9]{1,5}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


class Name(msgspec.Struct, frozen=True):
    """A complete name. Every part is safe as one part of a path."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def display(self) -> str:
        """The shortest form, always with the tag: `smollm2:135m`, `me/mine:latest`."""
        text = f"{self.model}:{self.tag}"
        if self.host != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{text}"
        if self.namespace != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{text}"
        return text

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """The directories and the file of its manifest."""
        return (self.host, self.namespace, self.model, self.tag)

    @property
    def folded(self) -> tuple[str, str, str, str]:
        """Equal for two names that differ in case only."""
        host, namespace, model, tag = self.parts
        return (host.lower(), namespace.lower(), model.lower(), tag.lower())


def parse_name(text: str) -> Name | None:
    """The complete name, or None when `text` is not one.

    One slash is read as `namespace/model`, two as `host/namespace/model`; what has a port is a
    host in any case.
    """
    pieces = text.split("/")
    if len(pieces) == 2 and _WITH_PORT.fullmatch(pieces[0]):
        pieces.insert(1, DEFAULT_NAMESPACE)
    if len(pieces) > 3:
        return None
    model, colon, tag = pieces[-1].partition(":")
    name = Name(
        host=pieces[0] if len(pieces) == 3 else DEFAULT_HOST,
        namespace=pieces[-2] if len(pieces) > 1 else DEFAULT_NAMESPACE,
        model=model,
        tag=tag if colon else DEFAULT_TAG,
    )
    return name if _is_valid(name) else None


def without_scheme(text: str) -> str:
    """A name for a pull or push may begin with `http://` or `https://`: the rest of it."""
    return _SCHEME.sub("", text)


def require_name(text: str, role: str) -> Name:
    """The complete name. Raises BadRequest `<role> "text" is invalid`, in Ollama's words."""
    name = parse_name(text)
    if name is None:
        raise BadRequest(
            f'{role} "{text[:400]}" is invalid',
            code="invalid_name",
            hint="a name is [host/][namespace/]model[:tag] of letters, digits, - _ and .",
        )
    return name


def full_name(text: str) -> str:
    """A name as it is shown, with its tag; what is no name stays as it is."""
    name = parse_name(without_scheme(text))
    return name.display if name is not None else text


def _is_valid(name: Name) -> bool:
    return (
        _HOST.fullmatch(name.host) is not None
        and _NAMESPACE.fullmatch(name.namespace) is not None
        and _PART.fullmatch(name.model) is not None
        and _PART.fullmatch(name.tag) is not None
    )


def is_file_name(name: str) -> bool:
    """Whether a model's name is meant as a path of a model file.

    In `hf.co/user/repository:file.gguf` the tag names a file, of somebody else.
    """
    is_file = name.lower().endswith(".gguf") and ":" not in name
    return name.startswith((".", "/", "~")) or is_file or name[1:3] == ":\\"


def path_of(name: str) -> Path:
    """The path a person wrote; `~` is their home, and stays as it is for a person nobody knows."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - it never fails


def name_of_path(path: PurePath) -> Name | None:
    """What the model of a file or folder is called: `Some Model.gguf` becomes `some-model`."""
    stem = path.stem if path.suffix.lower() == ".gguf" else path.name
    return parse_name("".join(c if c.isalnum() or c in "._-" else "-" for c in stem).lower())


def is_relative_path(text: str) -> bool:
    """Whether a file of a model may have this name: relative, `/` between its parts, none of them
    `.` or `..`, and the same on every system."""
    parts = text.split("/")
    return len(text) <= _PATH_CHARACTERS and all(
        _FILE_PART.fullmatch(part) and part.strip(".") and part.isprintable() for part in parts
    )


_PATH_CHARACTERS = 1000
_FILE_PART = re.compile(r'[^<>:"|?*\\/]{1,200}')
