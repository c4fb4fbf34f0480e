from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from dimora.core.written import Credential
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.way_out import hosts_to_knock_at, way_out
from dimora.tasks.finding import Finding
from tests.faults.site import Authority

SECRET = "geheim"
NOW = datetime.datetime.now(datetime.UTC)


def found(what: str, *, now: datetime.datetime = NOW, **access: object) -> Finding:
    findings = way_out(SourceAccess(**access), now=now)  # type: ignore[arg-type]
    assert SECRET not in str(findings)
    (one,) = (finding for finding in findings if finding.what == what)
    return one


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Valid for two days."""
    return Authority(tmp_path_factory.mktemp("authority")).certificates


def test_without_settings_all_is_plain() -> None:
    assert {finding.verdict for finding in way_out(SourceAccess())} == {"right"}
    assert "package index alone" in found("registries").says
    assert found("proxy").says == "none"


def test_a_proxy_is_shown_without_its_password() -> None:
    one = found(
        "proxy", proxy=f"http://me:{SECRET}@proxy.example:3128", no_proxy=("inner.example",)
    )
    assert "proxy.example:3128" in one.says and "inner.example" in one.says
    assert (one.verdict, one.setting) == ("note", "proxy")
    assert found("proxy", proxy="http://proxy.example:3128").verdict == "right"


def test_every_host_allowed_is_worth_knowing() -> None:
    assert found("registries", registries=("*",)).verdict == "note"
    assert "a.example" in found("registries", registries=("a.example",)).says


@pytest.mark.parametrize(
    ("days", "verdict", "says"), [(0, "note", "one ends on"), (9, "wrong", "none that is valid")]
)
def test_certificates_that_end_are_told(certificates: Path, days, verdict, says) -> None:
    now = NOW + datetime.timedelta(days=days)
    one = found("certificates", now=now, certificates=str(certificates))
    assert one.verdict == verdict and says in one.says and one.hint
    early = NOW - datetime.timedelta(days=300)
    assert found("certificates", now=early, certificates=str(certificates)).verdict == "right"


@pytest.mark.parametrize("trouble", ["missing", "empty", "damaged"])
def test_certificates_that_cannot_be_used_are_wrong(tmp_path: Path, trouble: str) -> None:
    path = tmp_path / "ca.pem"
    if trouble != "missing":
        path.write_text("-----BEGIN CERTIFICATE-----\nnone\n" if trouble == "damaged" else "")
    one = found("certificates", certificates=str(path))
    assert (one.verdict, one.setting) == ("wrong", "certificates")
    assert "PEM" in one.hint


def test_a_directory_of_certificates_is_named(tmp_path: Path) -> None:
    one = found("certificates", certificates=str(tmp_path))
    assert one.verdict == "right" and str(tmp_path) in one.says


def test_credentials_are_told_by_their_host_and_kind_only(tmp_path: Path) -> None:
    known = {
        "a.example": Credential(user="me", password=SECRET),
        "b.example": Credential(token=SECRET),
        "c.example": Credential(key=str(tmp_path / "missing")),
    }
    access = {"registries": ("a.example",), "credentials": known}
    assert found("credential for a.example", **access).says == "a password"
    other = found("credential for b.example", **access)
    assert other.verdict == "note" and other.says.startswith("a token")
    assert found("credential for c.example", **access).verdict == "wrong"


def test_the_hub_is_knocked_at_where_it_is_and_others_once() -> None:
    access = SourceAccess(
        registries=("hf.co", "*", "a.example", "huggingface.co"), hub_endpoint="https://b.example"
    )
    assert hosts_to_knock_at(access) == ["a.example", "b.example"]
