"""A licence that is not plainly open is accepted by somebody, and that is written down."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from dimora.core.errors import Forbidden, InternalError
from dimora.core.types import Principal
from dimora.governance.acceptances import Acceptances
from dimora.tasks.advice import Terms

ADA = Principal(user="ada", workspace="main", roles=("owner",), proof="terminal")
TERMS = Terms(
    license="House Licence", license_url="https://h.example/l", notice="", is_open=False,
    accepted=False,
)  # fmt: skip
OPEN = msgspec.structs.replace(TERMS, license="MIT", is_open=True, accepted=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "licences.jsonl"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_open_licence_asks_nobody_and_leaves_no_trace(path):
    Acceptances(path).require(ADA, "m:1b", OPEN, accepts=False)
    assert not path.exists()


def test_a_licence_nobody_accepted_is_refused_with_its_name_and_the_setting(path):
    with pytest.raises(Forbidden) as refused:
        Acceptances(path).require(ADA, "m:1b", TERMS, accepts=False)
    assert "House Licence" in refused.value.message and "https://h.example/l" in refused.value.text
    assert "accepted_licences" in refused.value.message
    assert "--accept-licence" in refused.value.hint
    assert (refused.value.status, refused.value.code) == (403, "licence_not_accepted")
    assert not path.exists()


def test_an_acceptance_is_kept_with_time_user_model_and_licence(path):
    Acceptances(path).require(ADA, "m:1b", TERMS, accepts=True)
    (line,) = lines(path)
    assert line["time"].endswith("+00:00")
    assert (line["user"], line["model"], line["license"]) == ("ada", "m:1b", "House Licence")
    assert path.stat().st_mode & 0o077 == 0


def test_one_acceptance_holds_for_other_models_after_a_restart_and_is_noted_for_each(path):
    Acceptances(path).require(ADA, "m:1b", TERMS, accepts=True)
    again = Acceptances(path)
    assert again.covers("House Licence") and not again.covers("Another Licence")
    again.require(ADA, "m:3b", TERMS, accepts=False)
    again.require(ADA, "m:3b", TERMS, accepts=False)
    assert [(line["model"], line["by"]) for line in lines(path)] == [
        ("m:1b", "asked"),
        ("m:3b", "earlier"),
    ]
    assert [one.model for one in again.of_model("m:3b")] == ["m:3b"]


def test_the_setting_accepts_in_any_case_of_letters(path):
    one = Acceptances(path, ("house licence",))
    assert one.covers("House Licence")
    one.require(ADA, "m:1b", TERMS, accepts=False)
    assert lines(path)[0]["by"] == "setting"


def test_a_broken_line_is_passed_over(path):
    one = Acceptances(path)
    one.require(ADA, "m:1b", TERMS, accepts=True)
    with path.open("ab") as file:
        file.write(b'{"time": "2026\n\xff\xfe\n[]\n')
    one.require(ADA, "m:3b", TERMS, accepts=False)
    assert [a.model for a in one.of_model("m:3b")] == ["m:3b"]


def test_what_cannot_be_written_down_is_not_accepted(tmp_path):
    (tmp_path / "log").write_text("a file where the directory should be")
    with pytest.raises(InternalError, match="cannot be written down"):
        Acceptances(tmp_path / "log" / "l.jsonl").require(ADA, "m:1b", TERMS, accepts=True)
