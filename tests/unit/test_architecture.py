"""ARCHITECTURE.md says what is true."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
SOURCE = ROOT / "src" / "dimora"


def rooms_on_the_page() -> dict[str, int]:
    return {name: int(floor) for floor, name in re.findall(r"^  (\d) (\w+)/", PAGE, re.MULTILINE)}


def layers_in_the_contract() -> list[set[str]]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    lines = parser["importlinter:contract:floors"]["layers"].strip().splitlines()
    layers = [{room.strip() for room in line.split("|")} for line in lines]
    return [layer for layer in layers if layer != {"__main__"}]


def test_every_room_is_on_the_page_and_every_room_on_the_page_exists():
    packages = {p.parent.name for p in SOURCE.glob("*/__init__.py")}
    assert set(rooms_on_the_page()) == packages


def test_the_floors_of_the_page_are_the_layers_of_the_contract():
    page = rooms_on_the_page()
    by_floor: dict[int, set[str]] = {}
    for room, floor in page.items():
        by_floor.setdefault(floor, set()).add(room)
    assert [by_floor[floor] for floor in sorted(by_floor, reverse=True)] == layers_in_the_contract()


def test_every_folder_of_the_tree_exists():
    tree = PAGE.split("```")[1]
    for folder in re.findall(r"^  (\w+)/  ", tree, re.MULTILINE):
        assert (ROOT / "tests" / folder).is_dir(), folder
    for folder in re.findall(r"^(\w+)/ ", tree, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def test_every_file_the_page_names_exists():
    named = {n for n in re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE) if "NAME" not in n}
    assert named
    missing = [n for n in named if not ((SOURCE / n).exists() or (ROOT / n).exists())]
    assert missing == []


def test_every_room_and_module_says_its_one_job():
    for path in SOURCE.rglob("*.py"):
        first = path.read_text(encoding="utf-8").lstrip()
        assert first.startswith('"""'), f"{path.relative_to(SOURCE)} has no docstring"


def test_no_module_keeps_state():
    """No `global`, and no mutable container at module level that a function could fill."""
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s+global ", text, re.MULTILINE), path.name
        empty = re.findall(
            r"^(\w+)(?::[^=\n]+)? = (?:\[\]|\{\}|set\(\)|dict\(\)|list\(\))$", text, re.M
        )
        assert empty == [], f"{path.name}: {empty}"
