"""What others name becomes a path in one place only, and what they packed is unpacked bounded.

Read from the source: a second way to do one of these is a defect, wherever it is.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.core.errors import BadRequest
from dimora.models.manifests import Manifests
from dimora.models.names import is_relative_path, parse_name
from dimora.models.store import ModelStore
from dimora.storage.blobs import BlobStore
from dimora.tasks.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "dimora"
STORE = Path("/store")

# Who may write the beginning of a blob's file name; the dialect takes it from an address.
_BLOB_NAMES = {"storage/blobs.py", "dialects/ollama/blobs.py"}
# Every file that unpacks anything, and the test that shows it stops in time.
UNPACKING = {
    "documents/_packages.py": "test_a_zip_bomb_is_refused_before_it_is_unpacked",
    "documents/docx.py": "test_a_zip_bomb_is_refused_before_it_is_unpacked",
    "tasks/ready/_docx.py": "test_a_word_document_that_unpacks_to_too_much_is_refused",
    "models/archives.py": "test_an_archive_that_lies_about_a_size_is_refused",
    "models/bundles/tar.py": "test_neither_way_holds_more_than_some_megabytes_in_memory",
    "models/toolchain/source_archives.py": "test_more_bytes_than_there_should_be_are_not_written",
    "models/remote/whole_answers.py": (
        "test_an_answer_that_unpacks_to_far_too_much_never_fills_the_memory"
    ),
}
_UNPACKERS = {"brotli", "bz2", "gzip", "lzma", "tarfile", "zipfile", "zlib", "zstandard"}
# These of a network library unpack an answer without a bound.
_UNBOUNDED = {"aiter_bytes", "aiter_lines", "aiter_text", "aread", "iter_bytes", "iter_text"}
_UNPICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}


@functools.cache
def files() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(SOURCE.rglob("*.py"))
    )


def words(tree: ast.AST) -> Iterator[str]:
    """Every text in the code that is no docstring."""
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in documentation:
            yield node.value


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_only_one_file_makes_paths_of_digests() -> None:
    found = {name for name, tree in files() if any("sha256-" in word for word in words(tree))}
    assert found == _BLOB_NAMES
    joined = {name for name, tree in files() if "blobs" in _joined(tree)}
    assert joined == {"storage/blobs.py"}


def test_only_one_file_makes_paths_of_names() -> None:
    assert {n for n, tree in files() if "manifests" in _joined(tree)} == {"models/manifests.py"}
    used = {
        name
        for name, tree in files()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "joinpath"
        and any(isinstance(a, ast.Starred) for a in node.args)
    }
    assert used == {"models/manifests.py"}


def _joined(tree: ast.AST) -> set[str]:
    """Texts that are joined to a path."""
    return {
        node.right.value
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Div)
        and isinstance(node.right, ast.Constant)
        and isinstance(node.right.value, str)
    }


def test_every_file_that_unpacks_something_has_a_test_of_its_bound() -> None:
    found = {name for name, tree in files() if _UNPACKERS & set(imports(tree))}
    assert found == set(UNPACKING)
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    for test in UNPACKING.values():
        assert re.search(rf"def {test}\(", tests), test


def test_no_answer_of_a_server_is_unpacked_without_a_bound() -> None:
    found = {
        (name, node.attr)
        for name, tree in files()
        if name.startswith("models/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in _UNBOUNDED
    }
    assert found == set()


def test_no_shell_is_asked_and_no_text_is_run_as_code() -> None:
    found = {
        (name, word)
        for name, tree in files()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in _shells(node)
    }
    assert found == set()


def _shells(call: ast.Call) -> Iterator[str]:
    """What in a call hands a text to a shell or to the interpreter."""
    match call.func:
        case ast.Name(id="eval" | "exec" | "compile" as word):
            yield word
        case ast.Attribute(
            value=ast.Name(id="os" | "subprocess" | "asyncio"),
            attr="system" | "popen" | "getoutput" | "create_subprocess_shell" as word,
        ):
            yield word
    yield from (one.arg for one in call.keywords if one.arg == "shell")


def test_nothing_is_ever_unpickled_and_no_code_of_models_is_trusted() -> None:
    for name, tree in files():
        assert not _UNPICKLERS & set(imports(tree)), name
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
                assert isinstance(node.value, ast.Constant) and node.value.value is False, name
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("torch", "load"), name


_NEARLY = st.one_of(
    st.text(max_size=90),
    st.from_regex(r"\A(?:sha256[:-])?[0-9a-fA-F./\\:]{0,70}\Z"),
    st.lists(
        st.sampled_from(["..", ".", "/", "\\", ":", "a", "C:", "\0", "~", "%2e", "host.x", " "]),
        max_size=12,
    ).map("".join),
)


@given(_NEARLY)
def test_no_digest_leads_out_of_the_blobs(text: str) -> None:
    blobs = BlobStore(STORE)
    for give_path in (blobs.path, blobs.partial_path, blobs.lock_path):
        try:
            path = give_path(text)
        except BadRequest:
            continue
        assert path.parent == STORE / "blobs" and path.is_relative_to(STORE)


@given(_NEARLY)
def test_no_name_leads_out_of_the_manifests(text: str) -> None:
    name = parse_name(text)
    if name is not None:
        path = Manifests(STORE).path(name)
        assert path.is_relative_to(STORE / "manifests") and ".." not in path.parts
        assert len(path.relative_to(STORE).parts) == 5


@given(_NEARLY)
def test_no_name_of_a_file_leads_out_of_its_folder(text: str) -> None:
    if is_relative_path(text):
        path = STORE / text
        assert path.is_relative_to(STORE) and path != STORE and ".." not in path.parts


@pytest.mark.parametrize("digest", ["sha256:../../x", "../x", "sha256-" + "a" * 64, ""])
async def test_no_recipe_reaches_a_file_outside_of_the_store(digest: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"GGUF")
    store = ModelStore(tmp_path / "models")
    with pytest.raises(BadRequest):
        async for _ in store.create("m", Recipe(files={"m.gguf": digest}), []):
            pass
