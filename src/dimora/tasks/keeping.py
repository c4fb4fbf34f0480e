"""What is told of bundles, and of what a store was found to be: plain values."""

from __future__ import annotations

from typing import Literal

import msgspec


class BundledModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a bundle. `digest` is 64 hex digits, as in a ModelSummary. `state` tells what
    has its name here: nothing (`new`), the same model (`here`), another one (`other`)."""

    name: str
    digest: str
    size_bytes: int
    state: Literal["new", "here", "other"]


class BundleTold(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a bundle. `fingerprint` is that of the key it is signed with, rightly."""

    models: tuple[BundledModel, ...]
    fingerprint: str
    trusted: bool


class BundleKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public key this house signs bundles with, as others put it into their settings."""

    public_key: str
    fingerprint: str


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong with a model. `kind` and `digest` name the layer, if it is one's fault.

    `mended`: it is right again; `why_not` tells why it could not be mended, where that was tried.
    """

    model: str
    problem: str
    kind: str = ""
    digest: str = ""
    mended: bool = False
    why_not: str = ""


class StoreTold(msgspec.Struct, frozen=True, kw_only=True):
    """How much was looked at. `unneeded_files` no model needs, `removed_files` of them went; both
    are told only of a whole store."""

    models: int = 0
    blobs: int = 0
    size_bytes: int = 0
    unneeded_files: int = 0
    unneeded_bytes: int = 0
    removed_files: int = 0
