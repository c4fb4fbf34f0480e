from __future__ import annotations

import contextlib

import msgspec
import pytest

from dimora.cli import improving
from dimora.cli.improving import Wish, improve, name_beside
from dimora.core.errors import BadRequest, Conflict, NotFound
from dimora.core.settings import load_settings
from dimora.core.types import Done, Progress
from dimora.tasks.card import Card, Measured
from dimora.tasks.compare_models import CardMade, CompareModels
from dimora.tasks.copy_model import CopyModel
from dimora.tasks.create_model import CreateModel
from dimora.tasks.delete_model import DeleteModel
from dimora.tasks.recipe import Recipe
from dimora.tasks.show_model import ShowModel

BEFORE = Measured(name="m", format="gguf", quantization="F16", size_bytes=200, perplexity=40.0)
GOOD = Card(
    before=BEFORE,
    after=msgspec.structs.replace(BEFORE, name="n", perplexity=41.0),
    text="a text",
    positions=100,
    top_agreement=0.9,
    kl_divergence=0.01,
)
BAD = msgspec.structs.replace(GOOD, top_agreement=0.5)


class ScriptedDoor:
    """Knows some names, and measures the same card each time."""

    def __init__(self, card: Card, names: set[str]) -> None:
        self.card = card
        self.names = names
        self.asked: list[object] = []

    def ask(self, request):
        self.asked.append(request)
        match request:
            case ShowModel(model=name) if name not in self.names:
                raise NotFound("no")
            case CreateModel(model=name):
                self.names.add(name)
                yield Progress(status="making")
            case CompareModels():
                yield CardMade(card=self.card)
            case CopyModel(destination=name):
                self.names.add(name)
            case DeleteModel(model=name):
                self.names.discard(name)
        yield Done()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Improves `m` into `n`; gives the door that was asked, and the exit status."""

    def start(card: Card, names: set[str], **wishes):
        door = ScriptedDoor(card, names)
        settings = load_settings({"home": str(tmp_path)}, {})[0]
        monkeypatch.setattr(improving, "settings_here", lambda: settings)
        monkeypatch.setattr(improving, "door_here", lambda _: contextlib.nullcontext(door))
        wish = Wish(source="m", name="n", **wishes)
        status = improve(wish, lambda name: CreateModel(model=name, recipe=Recipe(source="m")))
        return door, status

    return start


def test_a_new_name_is_made_and_measured_and_its_card_is_shown(run, capsys):
    door, status = run(GOOD, {"m"})
    assert (door.names, status) == ({"m", "n"}, 0)
    out = capsys.readouterr().out
    assert "90.0%" in out and "40.00" in out and "41.00" in out


def test_a_good_result_takes_the_place_of_the_old_one(run):
    door, status = run(GOOD, {"m", "n"})
    assert (door.names, status) == ({"m", "n"}, 0)
    assert CopyModel(model="n:latest-candidate", destination="n") in door.asked


def test_a_worse_one_replaces_nothing_where_nobody_can_be_asked(run):
    with pytest.raises(Conflict) as caught:
        run(BAD, {"m", "n"})
    assert "n:latest-candidate" in caught.value.hint


def test_one_that_was_not_measured_replaces_nothing_either(run):
    unknown = msgspec.structs.replace(GOOD, positions=0, top_agreement=None)
    with pytest.raises(Conflict, match="not measured"):
        run(unknown, {"m", "n"})


def test_a_path_is_told_how_to_become_a_model(tmp_path):
    with pytest.raises(BadRequest) as caught:
        improve(Wish(source="./folder", name="n"), lambda name: ShowModel(model=name))
    assert caught.value.hint == "echo FROM ./folder | dimora create NAME -f -"


def test_a_worse_one_replaces_when_told_so_beforehand(run, capsys):
    door, _ = run(BAD, {"m", "n"}, yes=True)
    assert CopyModel(model="n:latest-candidate", destination="n") in door.asked
    assert "Worse than you allow" in capsys.readouterr().out


def test_a_worse_one_under_a_new_name_is_kept_and_the_complaint_told(run, capsys):
    door, status = run(BAD, {"m"})
    assert ("n" in door.names, status) == (True, 0)
    assert "50%" in capsys.readouterr().out


def test_a_text_that_is_none_is_refused_before_any_work(run, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(BadRequest, match=r"picture\.png"):
        run(GOOD, {"m"}, text=path)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a", "a:q8_0"),
        ("a:latest", "a:q8_0"),
        ("me/a:b", "me/a:b-q8_0"),
        ("a:latest-2", "a:latest-2-q8_0"),
        ("h:1/n/a", "h:1/n/a:q8_0"),
    ],
)
def test_results_are_named_beside_their_source(source, name):
    assert name_beside(source, "q8_0") == name
