"""Names are read by the contract, and nothing else is a name."""

from __future__ import annotations

import string
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.core.errors import BadRequest
from dimora.models.names import Name, is_file_name, name_of_path, parse_name, require_name

FIRST = string.ascii_letters + string.digits + "_"


def words(more: str, longest: int) -> st.SearchStrategy[str]:
    return st.builds(
        str.__add__,
        st.sampled_from(FIRST),
        st.text(alphabet=FIRST + more, max_size=longest - 1),
    )


NAMES = st.builds(
    Name,
    host=words("-_.:", 350),
    namespace=words("-_", 80),
    model=words("-_.", 80),
    tag=words("-_.", 80),
)


@pytest.mark.parametrize(
    ("text", "name", "display"),
    [
        ("a", ("registry.ollama.ai", "library", "a", "latest"), "a:latest"),
        ("a:b", ("registry.ollama.ai", "library", "a", "b"), "a:b"),
        ("me/a", ("registry.ollama.ai", "me", "a", "latest"), "me/a:latest"),
        ("host.example/me/a:1.5b", ("host.example", "me", "a", "1.5b"), "host.example/me/a:1.5b"),
        (
            "localhost:5000/me/a",
            ("localhost:5000", "me", "a", "latest"),
            "localhost:5000/me/a:latest",
        ),
        ("library/a:latest", ("registry.ollama.ai", "library", "a", "latest"), "a:latest"),
        ("hf.co/me/a-GGUF:Q4_K_M", ("hf.co", "me", "a-GGUF", "Q4_K_M"), "hf.co/me/a-GGUF:Q4_K_M"),
    ],
)
def test_names_are_completed_and_shown_short(
    text: str, name: tuple[str, ...], display: str
) -> None:
    parsed = parse_name(text)
    assert parsed is not None
    assert parsed.parts == name
    assert parsed.display == display


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "a:", ":b", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "/etc/passwd"),
        *("a:..", "a:.b", "-a", ".a", "a b", "a\n", "a\x00", "a:b:c", "a\\b", "C:\\m", "~", "~/a"),
        *(
            "me.you/a",
            "w/x/y/z",
            "http://host/me/a",
            "a" * 81,
            "a:" + "b" * 81,
            "à",
            "a%2f",
            "h:1:2:3/:a",
        ),
        *("h" * 351 + "/me/a", "n" * 81 + "/a", "host/../a", "./me/a", "../../a", "me/..:x"),
    ],
)
def test_what_is_not_a_name_is_refused(text: str) -> None:
    assert parse_name(text) is None
    with pytest.raises(BadRequest) as caught:
        require_name(text, "source")
    assert caught.value.message == f'source "{text[:400]}" is invalid'


@given(NAMES)
def test_a_name_survives_being_written_and_read(name: Name) -> None:
    assert parse_name(f"{name.host}/{name.namespace}/{name.model}:{name.tag}") == name
    assert parse_name(name.display) == name


@given(st.text(max_size=40))
def test_every_part_of_a_name_is_one_harmless_part_of_a_path(text: str) -> None:
    name = parse_name(text)
    if name is not None:
        for part in name.parts:
            assert part not in ("", ".", "..")
            assert not set(part) & set("/\\\0")


@given(NAMES)
def test_names_that_differ_in_case_only_are_folded_to_one(name: Name) -> None:
    loud = Name(*(part.upper() for part in name.parts))
    assert loud.folded == name.folded


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("m.gguf", True),
        ("folder/M.GGUF", True),
        ("./m", True),
        ("~/m", True),
        ("/m", True),
        ("C:\\m.gguf", True),
        ("hf.co/user/repository:m.gguf", False),
        ("localhost:5000/team/m.gguf", False),
        ("m", False),
    ],
)
def test_a_path_is_told_from_a_name(text: str, is_path: bool) -> None:
    assert is_file_name(text) is is_path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/tmp/Some Model.GGUF", "some-model:latest"),
        ("a/m.Q4_0.gguf", "m.q4_0:latest"),
        ("smol-v1.5", "smol-v1.5:latest"),
        ("/", None),
        ("ü.gguf", None),
    ],
)
def test_a_file_or_folder_names_its_model(path: str, name: str | None) -> None:
    found = name_of_path(PurePath(path))
    assert (found and found.display) == name
