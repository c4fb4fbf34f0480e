"""Chooses the files of a model among those of a hub's repository, by the tag of its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import msgspec

from dimora.core.errors import BadRequest, NotFound, UnsupportedFeature
from dimora.models.formats.folders import folder_roots, may_belong

# What `latest` means, best first; of what a prefix fits the same one is taken.
PREFERRED = ("Q4_K_M", "Q4_0", "Q8_0")
_PROJECTORS = ("F16", "BF16", "Q8_0", "F32")
_LEAST_BITS = 4

_KIND = re.compile(
    r"(?<![A-Z0-9])"
    r"((?:UD-)?(?:I?Q\d_(?:K(?:_[A-Z]{1,3})?|\d(?:_\d_\d|_X?L)?|XXS|XS|S|M|NL)"
    r"|TQ\d_\d|BF16|FP?16|FP?32|MXFP4(?:_MOE)?|NVFP4))"
    r"(?![A-Z0-9])"
)
_SAME = {"FP16": "F16", "FP32": "F32"}
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
_ENDING = ".gguf"
_SHOWN = 30
_TOP = PurePosixPath(".")


class HubFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a repository. `size_bytes` is 0 and `digest` empty where the hub does not tell."""

    name: str
    size_bytes: int = 0
    digest: str = ""


class Gguf(msgspec.Struct, frozen=True, kw_only=True):
    """A GGUF, perhaps in parts. `kind` is its quantization as far as its name tells."""

    stem: str
    kind: str
    parts: tuple[HubFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    @property
    def is_top(self) -> bool:
        return "/" not in self.stem

    @property
    def plain_kind(self) -> str:
        return self.kind.removeprefix("UD-")


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    weights: HubFile
    projector: HubFile | None = None


def kind_of(name: str) -> str:
    """The quantization a file's name tells, such as `Q4_K_M`; empty when it tells none."""
    for part in reversed(name.upper().removesuffix(_ENDING.upper()).split("/")):
        found = _KIND.findall(part)
        if found:
            return _SAME.get(found[-1], str(found[-1]))
    return ""


def has_gguf(files: Iterable[HubFile]) -> bool:
    """Whether some file holds weights in GGUF."""
    return bool(_models(files))


def choose(files: Sequence[HubFile], tag: str, repository: str) -> Chosen:
    """The weights the tag means, and the projector of the repository if it has one.

    The tag is a quantization in any case, the beginning of one, the name of a file without its
    ending, or `latest`.

    Raises NotFound naming what there is, BadRequest when several fit, UnsupportedFeature for
    weights in parts.
    """
    models = _models(files)
    fitting = _latest(models) if tag.lower() == "latest" else _tagged(models, tag)
    if not fitting:
        raise NotFound(
            f"{repository} has no GGUF of the kind {tag}"
            if models
            else f"{repository} has no GGUF file",
            code="model_not_found",
            hint=f"it has: {_listed(models)}"
            if models
            else "a model in another form can be downloaded, and made one with `dimora create`",
        )
    model = _only_one(fitting, repository)
    if len(model.parts) > 1 or _PART.search(_stem(model.parts[0].name)):
        raise _in_parts(model, models, repository)
    return Chosen(weights=model.parts[0], projector=_projector(files))


def choose_folder(files: Sequence[HubFile], tag: str, repository: str) -> list[HubFile]:
    """The files of a folder of OpenVINO or of ONNX Runtime GenAI; none where there is no such.

    Of several folders the tag means one: `cpu-int4` the folder `cpu/int4`, also called `int4`.

    Raises BadRequest when several fit, NotFound naming what there is.
    """
    roots = folder_roots(file.name for file in files)
    # Beside weights in safetensors, a folder further down is rarely whole.
    beside = any(f.name.endswith(".safetensors") and "/" not in f.name for f in files)
    if not roots or (beside and _TOP not in roots):
        return []
    root = _root(roots, tag.lower(), repository)
    paths = ((file, PurePosixPath(file.name)) for file in files)
    return [
        file
        for file, path in paths
        if path.is_relative_to(root) and may_belong(str(path.relative_to(root)))
    ]


def _root(roots: list[PurePosixPath], tag: str, repository: str) -> PurePosixPath:
    labels = {"-".join(root.parts).lower() or "latest": root for root in roots}
    named = [r for label, r in labels.items() if tag in (label, r.name.lower())]
    if tag == "latest" and len(roots) == 1:
        named = roots
    if len(named) == 1:
        return named[0]
    several = named or tag == "latest"
    raise (BadRequest if several else NotFound)(
        f"{repository} has {'several folders' if several else f'no folder {tag}'}",
        hint=f"say which after the colon: {', '.join(list(labels)[:_SHOWN])}",
        code="several_models" if several else "model_not_found",
    )


def _only_one(fitting: list[Gguf], repository: str) -> Gguf:
    """The one there is, or the one at the top of the repository."""
    top = [model for model in fitting if model.is_top]
    if len(fitting) == 1 or len(top) == 1:
        return (top or fitting)[0]
    raise BadRequest(
        f"{repository} has several models of the kind {fitting[0].kind or 'unknown'}",
        hint=f"say which after the colon: {', '.join(m.stem for m in fitting[:_SHOWN])}",
        code="several_models",
    )


def _in_parts(model: Gguf, models: list[Gguf], repository: str) -> UnsupportedFeature:
    whole = [other for other in models if len(other.parts) == 1]
    return UnsupportedFeature(
        f"the file {model.stem} of {repository} comes in {len(model.parts)} parts",
        hint=f"choose another: {_listed(whole)}"
        if whole
        else "put them together with llama-gguf-split --merge, then `dimora create`",
        code="split_model",
    )


def _models(files: Iterable[HubFile]) -> list[Gguf]:
    """Files with weights, parts together, the smallest first."""
    gathered: dict[str, list[HubFile]] = {}
    for file in files:
        if file.name.lower().endswith(_ENDING) and not _is_beside(file.name):
            gathered.setdefault(_PART.sub("", _stem(file.name)), []).append(file)
    found = [
        Gguf(stem=stem, kind=kind_of(stem), parts=tuple(sorted(parts, key=lambda f: f.name)))
        for stem, parts in gathered.items()
    ]
    return sorted(found, key=lambda model: (model.size_bytes, model.stem))


def _is_beside(name: str) -> bool:
    """Whether a GGUF goes with a model and is none: a projector, or statistics of activations."""
    words = name.rpartition("/")[2].lower()
    return "mmproj" in words or ("imatrix" in words and not kind_of(words))


def _stem(name: str) -> str:
    return name[: -len(_ENDING)]


def _tagged(models: list[Gguf], tag: str) -> list[Gguf]:
    file = tag.lower().removesuffix(_ENDING)
    named = [model for model in models if model.stem.rpartition("/")[2].lower() == file]
    if named:
        return named
    wanted = kind_of(tag) or tag.upper()
    exact = [model for model in models if model.kind == wanted]
    plain = [model for model in models if model.plain_kind == wanted]
    begun = [model for model in models if model.plain_kind.startswith(wanted)]
    return _best_kind(exact or plain or begun)


def _latest(models: list[Gguf]) -> list[Gguf]:
    """Those of one kind: a preferred one, else the smallest that is not too coarse, else the
    finest of those that are."""
    whole = [model for model in models if len(model.parts) == 1] or models
    for kind in PREFERRED:
        found = [model for model in whole if model.kind == kind]
        if found:
            return found
    fine = [model for model in whole if _bits(model.plain_kind) >= _LEAST_BITS]
    unknown = [model for model in whole if not model.kind]
    if fine:
        return [model for model in fine if model.kind == fine[0].kind]
    return unknown or [model for model in whole if model.kind == whole[-1].kind]


def _best_kind(models: list[Gguf]) -> list[Gguf]:
    """Those of one kind, the preferred or else the smallest."""
    kinds = [model.kind for model in models]
    best = next((kind for kind in (*PREFERRED, *kinds) if kind in kinds), "")
    return [model for model in models if model.kind == best]


def _bits(kind: str) -> int:
    """About how many bits a weight has, 0 where the kind is unknown."""
    number = re.search(r"\d+", kind)
    return int(number[0]) if number and not kind.startswith("TQ") else 0


def _projector(files: Iterable[HubFile]) -> HubFile | None:
    found = [
        file
        for file in files
        if file.name.lower().endswith(_ENDING) and "mmproj" in file.name.rpartition("/")[2].lower()
    ]
    if not found:
        return None
    ranks = {kind: at for at, kind in enumerate(_PROJECTORS)}
    return min(found, key=lambda f: (ranks.get(kind_of(f.name), len(ranks)), f.size_bytes, f.name))


def _listed(models: list[Gguf]) -> str:
    names = list(dict.fromkeys(model.kind or model.stem for model in models))
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
