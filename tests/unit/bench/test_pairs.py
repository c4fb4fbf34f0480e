"""What may be said of pairs of measurements, and what may not."""

from __future__ import annotations

import pytest

from bench.pairs import LEAST_PAIRS, Aim, Reading, objection, ratios, row

AIM = Aim(0.5, at_most=True)


def readings(*values: float, prompt: int = 10, output: int = 5) -> list[Reading]:
    return [Reading(value, prompt, output) for value in values]


def test_the_ratio_is_the_middle_of_the_pairs_with_their_spread() -> None:
    ours, theirs = readings(1, 2, 3, 4, 5), readings(4, 4, 4, 4, 4)
    assert ratios(ours, theirs) == [0.25, 0.5, 0.75, 1.0, 1.25]
    assert "| 0.75 (0.25-1.25) | no |" in row("work", "s", AIM, ours, theirs, 5)


def test_a_token_that_only_one_side_counts_is_no_objection() -> None:
    assert objection(readings(*[1] * 5), readings(*[1] * 5, prompt=11), asked_tokens=5) == ""


def test_an_aim_is_met_at_its_edge() -> None:
    assert AIM.is_met(0.5)
    assert not AIM.is_met(0.51)
    assert Aim(2, at_most=False).is_met(2)
    assert not Aim(2, at_most=False).is_met(1.9)


@pytest.mark.parametrize(
    ("ours", "theirs", "why_not"),
    [
        (readings(*[1] * (LEAST_PAIRS - 1)), readings(*[1] * (LEAST_PAIRS - 1)), "needed"),
        (readings(*[1] * 5), readings(*[1] * 5, prompt=13), "read 10 and 13"),
        (readings(*[1] * 5), [*readings(*[1] * 4), Reading(0, fault="it broke")], "it broke"),
        (readings(*[1] * 5, output=4), readings(*[1] * 5), "cut short: 4 and 5 of 5"),
    ],
)
def test_no_ratio_is_printed_of_what_cannot_be_compared(
    ours: list[Reading], theirs: list[Reading], why_not: str
) -> None:
    assert why_not in objection(ours, theirs, asked_tokens=5)
    assert f"no ratio: {objection(ours, theirs, asked_tokens=5)}" in row(
        "work", "s", AIM, ours, theirs, 5
    )
