"""Whose bundles are taken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dimora.core.errors import (
    BadRequest,
    DimoraError,
    Forbidden,
)
from dimora.models.store import ModelStore
from tests.unit.models.bundles.bundling import (
    assert_untouched,
    export,
    store_at,
    take_in,
    trusting,
)


def test_a_signer_nobody_named_is_refused_with_the_fingerprint(
    ours: ModelStore, theirs: ModelStore, bundle: Path
) -> None:
    with pytest.raises(Forbidden) as refused:
        take_in(theirs, bundle)
    told = ours.bundle_key().fingerprint
    assert told in refused.value.message
    assert f"--trust {told}" in refused.value.hint
    assert refused.value.code == "unknown_signer"
    assert_untouched(theirs)


def test_trust_holds_for_one_import_unless_it_is_remembered(
    ours: ModelStore, theirs: ModelStore, bundle: Path
) -> None:
    told = ours.bundle_key().fingerprint
    written = f"SHA256:{told.replace('-', ' ').upper()}"
    assert take_in(theirs, bundle, trust=written)
    with pytest.raises(Forbidden):
        take_in(theirs, bundle)
    assert take_in(theirs, bundle, trust=told, remember=True)
    assert take_in(theirs, bundle)
    assert theirs.tell_bundle(bundle).trusted


@pytest.mark.parametrize("cut", [0, 1, 8, 35, 63])
def test_a_fingerprint_that_is_not_all_of_it_trusts_nobody(
    ours: ModelStore, theirs: ModelStore, bundle: Path, cut: int
) -> None:
    told = ours.bundle_key().fingerprint.replace("-", "")
    with pytest.raises(Forbidden):
        take_in(theirs, bundle, trust=told[:cut] or "-", remember=True)
    with pytest.raises(Forbidden):
        take_in(theirs, bundle)


def test_whoever_names_a_signer_gets_no_other_one_even_a_trusted_one(
    ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    other = trusting(ours, tmp_path / "theirs")
    with pytest.raises(Forbidden, match="another key than you named"):
        take_in(other, bundle, trust="0" * 64)
    with pytest.raises(BadRequest, match="by name"):
        take_in(other, bundle, remember=True)


@pytest.mark.parametrize("form", ["line", "file", "pem", "relative"])
def test_keys_are_trusted_by_the_settings(
    ours: ModelStore, bundle: Path, tmp_path: Path, form: str
) -> None:
    key = ours.bundle_key().public_key
    home = tmp_path / "theirs"
    home.mkdir()
    (home / "friends").write_text(f"# the office in Trento\n\n{key} office\n")
    pem = tmp_path / "ours" / "public.pem"
    private = tmp_path / "ours" / "keys" / "bundle-ed25519"
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", pem], check=True)
    told = {
        "line": key,
        "file": str(home / "friends"),
        "pem": str(pem),
        "relative": "friends",
    }
    assert take_in(store_at(home, told[form]), bundle)


@pytest.mark.parametrize("text", ["ed25519:AAAA", "no-such-file", "ed25519:***", "wrong"])
def test_a_setting_that_is_no_key_is_told_by_its_name(
    theirs: ModelStore, bundle: Path, text: str
) -> None:
    theirs.root.parent.mkdir(exist_ok=True)
    (theirs.root.parent / "wrong").write_text("ssh-rsa AAAA\n")
    store = store_at(theirs.root.parent, text)
    with pytest.raises(DimoraError, match="trusted_keys") as refused:
        take_in(store, bundle)
    assert refused.value.code == "configuration_error"


def test_a_key_that_others_can_read_signs_nothing(ours: ModelStore, tmp_path: Path) -> None:
    ours.bundle_key()
    path = ours.root.parent / "keys" / "bundle-ed25519"
    path.chmod(0o644)
    with pytest.raises(DimoraError, match="read by others"):
        export(ours, ["tiny"], tmp_path / "b")
    path.chmod(0o600)
    path.write_text("not a key")
    with pytest.raises(DimoraError, match="no Ed25519 key"):
        export(ours, ["tiny"], tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_two_processes_that_need_the_key_first_get_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dimora.models.store import ModelStore;"
        "print(ModelStore(Path(sys.argv[1]) / 'models').bundle_key().public_key)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1
