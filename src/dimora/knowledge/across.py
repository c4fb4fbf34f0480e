"""Cosines without what is common to a language, so that languages can be compared.

Embedders that know many languages still put the texts of one nearer to each other than to what they
say in another, and the passage that answers behind whatever stands in the question's own language.
Taking the mean of each language out of its vectors takes most of that away; the question loses the
mean of its own language.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
# A mean of fewer says more about what they tell than about their language.
_ENOUGH = 50


class Across(NamedTuple):
    """What is known beforehand of a collection's vectors, v of language l with the mean m(l).

    `means` has one row a language, `of` the language of each vector, `on_means` the products of v
    and each m, `lengths` those of v - m(l).
    """

    languages: tuple[str, ...]
    means: Floats
    of: npt.NDArray[np.intp]
    on_means: Floats
    lengths: Floats

    def scores(self, cosines: Floats, question: Floats, language: str) -> Floats:
        """(q - m(language)) · (v - m(l)) / |v - m(l)| of all, from their q · v; the languages have
        to have this one."""
        own = self.languages.index(language)
        fixed = self.means @ (question - self.means[own])
        made = (cosines - self.on_means[:, own] - fixed[self.of]) / self.lengths
        return np.asarray(made, np.float32)


def across(vectors: Floats, languages: list[str]) -> Across | None:
    """None where there are not enough vectors of two languages. Those of a rare or unknown language
    are taken with the mean of all."""
    names, of = np.unique(np.asarray(languages, str), return_inverse=True)
    counts = np.bincount(of, minlength=len(names))
    told = [bool(name) and count >= _ENOUGH for name, count in zip(names, counts, strict=True)]
    if sum(told) < 2:
        return None
    whole = vectors.mean(axis=0)
    means = np.stack(
        [vectors[of == at].mean(axis=0) if is_told else whole for at, is_told in enumerate(told)]
    ).astype(np.float32)
    on_means = vectors @ means.T
    own = on_means[np.arange(len(of)), of]
    squares = np.einsum("ij,ij->i", vectors, vectors) - 2 * own + (means**2).sum(axis=1)[of]
    lengths = np.sqrt(np.maximum(squares, 1e-6)).astype(np.float32)
    known = tuple(str(name) if is_told else "" for name, is_told in zip(names, told, strict=True))
    return Across(known, means, of.astype(np.intp), on_means.astype(np.float32), lengths)
