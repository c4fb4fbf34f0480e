"""The reference pages say what the code says."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


@pytest.mark.parametrize("page", generate.PAGES)
def test_the_page_is_what_the_code_says(page):
    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert written == generate.PAGES[page](), "run `make docs`"


def test_the_readme_names_only_settings_that_exist():
    from dimora.core.settings import knobs

    known = {v for knob in knobs().values() for v in knob.env} | {"DIMORA_CONFIG", "DIMORA_API_KEY"}
    named = set(re.findall(r"\b(?:DIMORA|OLLAMA)_[A-Z_]+\b", (ROOT / "README.md").read_text()))
    assert named - {"OLLAMA_"} <= known


def test_the_settings_file_of_the_page_is_read_whole(tmp_path):
    from dimora.core.settings import load_settings

    (tmp_path / "dimora.toml").write_text(generate.SETTINGS_FILE)
    _, sources = load_settings(environ={"DIMORA_HOME": str(tmp_path)})
    written = set(tomllib.loads(generate.SETTINGS_FILE))
    assert {name for name, source in sources.items() if source == "file"} == written


def test_every_known_attack_names_tests_that_are_there():
    page = (ROOT / "docs" / "concepts" / "known-attacks.md").read_text(encoding="utf-8")
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^ *(?:async )?def (test_\w+)\(", tests, re.MULTILINE))
    rows = [line.split(" | ") for line in page.splitlines() if re.match(r"\| (?!attack|---)", line)]
    assert len(rows) > 30
    for row in rows:
        attack, *_, last = row
        named = set(re.findall(r"`(test_\w+)`", last))
        assert len(row) == 4 and named, attack
        assert named <= there, f"{attack}: {named - there}"
