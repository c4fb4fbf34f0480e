from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dimora.core.errors import ConfigurationError
from dimora.core.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch) -> Shelf:
    folder = tmp_path / "some_shelf"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "base.py").write_text("raise RuntimeError('furniture was imported')")
    (folder / "_private.py").write_text("raise RuntimeError('private was imported')")
    (folder / "round.py").write_text("SHAPE = 'o'")
    (folder / "broken.py").write_text("raise RuntimeError('imported without being asked for')")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Shelf("some_shelf")
    for name in [n for n in sys.modules if n.startswith("some_shelf")]:
        del sys.modules[name]


def test_the_files_name_is_the_plugins_name(shelf):
    assert shelf.names() == ["broken", "round"]


def test_one_plugin_is_imported_without_the_others(shelf):
    assert shelf.load("round").SHAPE == "o"


def test_an_unknown_name_tells_the_known_ones(shelf):
    with pytest.raises(ConfigurationError) as caught:
        shelf.load("base")
    assert "round" in caught.value.hint
