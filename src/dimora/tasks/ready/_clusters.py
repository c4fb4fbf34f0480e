"""Puts vectors into groups. Not a task itself.

Average linkage by chains of nearest neighbours (Murtagh 1983), which needs the square of the number
of vectors in time and memory; the number of groups is the one with the best silhouette (Rousseeuw
1987).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Matrix = np.ndarray[Any, np.dtype[np.float32]]

# Below this the best division is no division: silhouettes of noise are as good.
_LEAST_SILHOUETTE = 0.03


def group_vectors(
    vectors: Sequence[Sequence[float]], *, groups: int = 0, most: int = 12
) -> list[list[int]]:
    """Positions of the vectors of each group, the largest group first, the most central first
    within it. `groups` 0 means as many as fit best, at most `most`. Vectors have unit length."""
    import numpy as np

    count = len(vectors)
    if count < 3 and groups < 2:
        return [list(range(count))] if count else []
    given = np.asarray(vectors, dtype=np.float32)
    # What all have in common says nothing, and some models give much of it.
    points = given - given.mean(axis=0)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
    distances = np.clip(1 - points @ points.T, 0, 2)
    merges = _merges(distances.copy())
    if groups:
        labels = _cut(merges, count, min(groups, count))
    else:
        cuts = [_cut(merges, count, k) for k in range(2, min(most, count - 1) + 1)]
        labels = max(cuts, key=lambda each: _silhouette(distances, each))
        if _silhouette(distances, labels) < _LEAST_SILHOUETTE:
            labels = [0] * count
    return _listed(1 - given @ given.T, labels)


def _merges(distances: Matrix) -> list[tuple[float, int, int]]:
    """Pairs of groups in the order they are joined, each by one of its members, with their
    distance. Changes `distances`."""
    import numpy as np

    count = len(distances)
    np.fill_diagonal(distances, np.inf)
    sizes = np.ones(count)
    alive = np.ones(count, dtype=bool)
    found: list[tuple[float, int, int]] = []
    chain: list[int] = []
    while len(found) < count - 1:
        if not chain:
            chain.append(int(np.flatnonzero(alive)[0]))
        last = chain[-1]
        near = int(np.argmin(distances[last]))
        # Of equally near ones the one before it in the chain, or it would never end.
        if len(chain) > 1 and distances[last, chain[-2]] <= distances[last, near]:
            near = chain[-2]
        if len(chain) < 2 or near != chain[-2]:
            chain.append(near)
            continue
        del chain[-2:]
        found.append((float(distances[last, near]), last, near))
        joined = (sizes[last] * distances[last] + sizes[near] * distances[near]) / (
            sizes[last] + sizes[near]
        )
        sizes[near] += sizes[last]
        alive[last] = False
        distances[near], distances[:, near] = joined, joined
        distances[near, near] = np.inf
        distances[last], distances[:, last] = np.inf, np.inf
    return sorted(found)


def _cut(merges: Sequence[tuple[float, int, int]], count: int, groups: int) -> list[int]:
    """The group of each vector when the first merges are done until so many groups are left."""
    parent = list(range(count))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for _, one, other in merges[: count - groups]:
        parent[root(one)] = root(other)
    numbers = {each: number for number, each in enumerate(dict.fromkeys(map(root, range(count))))}
    return [numbers[root(at)] for at in range(count)]


def _silhouette(distances: Matrix, labels: Sequence[int]) -> float:
    """The mean over all vectors, from -1 to 1; 0 for one that is alone in its group."""
    import numpy as np

    member = np.eye(max(labels) + 1, dtype=np.float32)[list(labels)]
    sizes = member.sum(axis=0)
    sums = distances @ member
    at = np.arange(len(labels))
    own = sums[at, list(labels)] / np.maximum(sizes[list(labels)] - 1, 1)
    others = sums / sizes
    others[at, list(labels)] = np.inf
    nearest = others.min(axis=1)
    score = (nearest - own) / np.maximum(np.maximum(nearest, own), 1e-9)
    score[sizes[list(labels)] == 1] = 0
    return float(score.mean())


def _listed(distances: Matrix, labels: Sequence[int]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for at, label in enumerate(labels):
        groups.setdefault(label, []).append(at)
    sums = {at: float(distances[at, group].sum()) for group in groups.values() for at in group}
    central = [sorted(group, key=lambda at: (sums[at], at)) for group in groups.values()]
    return sorted(central, key=lambda group: (-len(group), min(group)))
