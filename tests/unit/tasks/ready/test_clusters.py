"""Vectors that are near each other are a group."""

from __future__ import annotations

import math
import random

import pytest

from dimora.tasks.ready._clusters import group_vectors


def around(centre: int, size: int, chance: random.Random, spread: float = 0.25):
    """Unit vectors near one axis of sixteen."""
    for _ in range(size):
        vector = [chance.gauss(0, spread) for _ in range(16)]
        vector[centre] += 1
        length = math.hypot(*vector)
        yield [x / length for x in vector]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_found_and_counted(seed):
    chance = random.Random(seed)
    sizes = (12, 8, 5)
    vectors = [v for axis, size in enumerate(sizes) for v in around(axis, size, chance, 0.12)]
    order = list(range(len(vectors)))
    chance.shuffle(order)
    found = group_vectors([vectors[at] for at in order])
    assert [len(group) for group in found] == list(sizes)
    starts = [0, 12, 20, 25]
    for number, group in enumerate(found):
        assert {order[at] for at in group} == set(range(starts[number], starts[number + 1]))


def test_as_many_groups_as_are_asked_for():
    vectors = list(around(0, 10, random.Random(1)))
    for wanted in (1, 2, 5, 10):
        found = group_vectors(vectors, groups=wanted)
        assert len(found) == wanted
        assert sorted(at for group in found for at in group) == list(range(10))


def test_the_most_typical_one_comes_first():
    vectors = [[math.cos(angle), math.sin(angle)] for angle in (0, 0.2, 0.1, 3)]
    first, _ = group_vectors(vectors, groups=2)
    assert first[0] == 2


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_few_are_few_groups(count):
    vectors = list(around(0, count, random.Random(2)))
    assert sum(len(group) for group in group_vectors(vectors)) == count


def test_the_same_vector_many_times_is_one_group():
    assert group_vectors([[1.0, 0.0]] * 6) == [list(range(6))]
