"""Nothing but a refusal comes out of a reader, whatever goes in: a moment here, long at night."""

from __future__ import annotations

import importlib
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import LONG
from tests.fuzz.run import TARGETS, run_target

MODULES = {name: importlib.import_module(f"tests.fuzz.targets.{name}") for name in TARGETS}
# Numbers on which readers break: nothing, the largest of their kinds, the first beyond a sign.
_NUMBERS = [
    value.to_bytes(width, "little")
    for width in (1, 4, 8)
    for value in (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1)
]
_PIECES = st.one_of(st.binary(max_size=12), st.sampled_from(_NUMBERS))


@pytest.mark.skipif(sys.platform != "linux", reason="the fuzzer runs on Linux only")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzzer_finds_nothing_but_refusals(name: str) -> None:
    outcome = run_target(name, 120 if LONG else 1)
    assert not outcome.failure, outcome.failure
    assert outcome.runs > 50


@pytest.mark.parametrize("name", TARGETS)
@settings(
    max_examples=5000 if LONG else 100,
    derandomize=not LONG,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_good_input_changed_in_some_places_is_read_or_refused(
    name: str, data: st.DataObject
) -> None:
    target = MODULES[name]
    changed = bytearray(data.draw(st.sampled_from(target.seeds())))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed)))
        piece = data.draw(_PIECES)
        match data.draw(st.sampled_from(["over", "into", "out", "again"])):
            case "over":
                changed[place : place + len(piece)] = piece
            case "into":
                changed[place:place] = piece
            case "out":
                del changed[place : place + data.draw(st.integers(1, 40))]
            case "again":
                changed[place:place] = changed[place : place + data.draw(st.integers(1, 40))]
    try:
        target.read(bytes(changed))
    except target.REFUSAL as why:
        assert why.message
