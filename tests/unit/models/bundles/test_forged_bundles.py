"""Bundles that are not as they should be are refused, and leave nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dimora.core.errors import (
    DimoraError,
    InvalidModel,
    NotFound,
)
from dimora.models.store import ModelStore
from tests.conftest import LONG
from tests.unit.models.bundles.bundling import (
    assert_untouched,
    flip,
    take_in,
    trusting,
)
from tests.unit.models.bundles.forging import FORGERIES, Forgery


def test_a_bundle_put_together_again_as_it_was_is_taken(
    forgery: Forgery, ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    """So that the refusals below are for what was changed, and nothing else."""
    assert forgery.write(tmp_path / "again").read_bytes() == bundle.read_bytes()
    forgery.change_manifest(lambda manifest: None)
    forged = forgery.write(tmp_path / "again")
    assert take_in(trusting(ours, tmp_path / "theirs"), forged)


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("name", ["index.json", "dimora-signature.json"])
def test_no_word_makes_a_wrong_signature_right(
    forgery: Forgery, ours: ModelStore, tmp_path: Path, name: str, trust: bool
) -> None:
    data = forgery.data(name)
    at = data.index(b"latest") if name == "index.json" else data.index(b'"signature":"') + 20
    forgery.put(name, data[:at] + (b"L" if data[at : at + 1] != b"L" else b"M") + data[at + 1 :])
    other = trusting(ours, tmp_path / "theirs")
    more = {"trust": ours.bundle_key().fingerprint, "remember": True} if trust else {}
    with pytest.raises(InvalidModel) as refused:
        take_in(other, forgery.write(tmp_path / "forged"), replace=True, **more)
    assert refused.value.code == "bad_signature"
    assert_untouched(other)


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda f: f.__name__.strip("_"))
def test_a_forged_bundle_is_refused_and_leaves_nothing(
    forgery: Forgery, ours: ModelStore, tmp_path: Path, forge: Callable[[Forgery], None]
) -> None:
    forge(forgery)
    forged = forgery.write(tmp_path / "forged")
    other = trusting(ours, tmp_path / "theirs")
    with pytest.raises(InvalidModel) as refused:
        take_in(other, forged)
    assert str(tmp_path) not in refused.value.text
    assert_untouched(other)
    assert not list(tmp_path.rglob("*evil*"))


def test_there_are_many_forgeries() -> None:
    assert len(FORGERIES) > 35


def test_a_bundle_cut_off_or_altered_anywhere_is_refused_and_leaves_nothing(
    ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    whole = bundle.read_bytes()
    other = trusting(ours, tmp_path / "theirs")
    step = 1 if LONG else len(whole) // 40 - 7
    for at in range(0, len(whole), step):
        for damaged in (whole[:at], flip(whole, at)):
            bundle.write_bytes(damaged)
            with pytest.raises(DimoraError):
                take_in(other, bundle)
            assert_untouched(other)
    bundle.write_bytes(whole + bytes(512))
    with pytest.raises(InvalidModel):
        take_in(other, bundle)
    assert_untouched(other)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "device", "empty"])
def test_what_is_no_file_is_refused_without_waiting(
    theirs: ModelStore, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "thing"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    elif kind == "device":
        path = Path("/dev/zero")
    with pytest.raises(NotFound if kind == "missing" else InvalidModel):
        take_in(theirs, path)
