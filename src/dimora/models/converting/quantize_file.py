"""Writes a GGUF model in another format, tensor by tensor; runs in a process of its own.

Metadata is copied byte for byte, except for the kind of the file. Memory is bounded: a tensor is
read, converted and written in slabs of rows. The source was checked by our own reader before.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec

from dimora.core.errors import DimoraError, InvalidModel
from dimora.models.converting.last_words import failure_of
from dimora.models.converting.q6_k import pack_q6_k
from dimora.models.converting.tensor_choice import KINDS, Shape, choose_format
from dimora.storage.disk import disk_errors

if TYPE_CHECKING:
    import gguf
    import numpy as np

# Weights that are unpacked at a time.
SLAB_WEIGHTS = 1 << 21
_QUANTIZATION_VERSION = 2
_U32 = 4


class Step(msgspec.Struct, tag="step"):
    """Bytes of the source that are done."""

    completed_bytes: int


class _Planned(NamedTuple):
    source: Any
    format: str
    size_bytes: int


def quantize_file(source: Path, target: Path, kind: str) -> Iterator[Step]:
    """Write `target`, a new file, in this `kind` (a key of KINDS). Blocks between the steps.

    Raises InvalidModel when a tensor cannot be converted, OSError of the disk.
    """
    import gguf

    reader = gguf.GGUFReader(source)
    alignment = int(reader.alignment)
    plan = _plan(reader, kind)
    done = 0
    with target.open("xb") as file:
        file.write(_head(reader, plan, kind, alignment))
        for row in plan:
            file.write(bytes(-file.tell() % alignment))
            for read in _write_tensor(file, row):
                done += read
                yield Step(completed_bytes=done)


def _plan(reader: Any, kind: str) -> list[_Planned]:
    architecture = str(_text(reader, "general.architecture"))
    experts = reader.fields.get(f"{architecture}.expert_count")
    model = Shape(
        architecture=architecture,
        experts=int(experts.contents()) if experts else 0,
        has_output=any(t.name == "output.weight" for t in reader.tensors),
    )
    planned = []
    for tensor in reader.tensors:
        shape = tuple(int(length) for length in tensor.shape)
        present = tensor.tensor_type.name
        chosen = choose_format(tensor.name, shape, present, kind, model)
        planned.append(_Planned(tensor, chosen, _bytes_of(shape, chosen)))
    return planned


def _text(reader: Any, key: str) -> str:
    field = reader.fields.get(key)
    return str(field.contents()) if field else ""


def _bytes_of(shape: tuple[int, ...], kind: str) -> int:
    import gguf

    block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    elements = 1
    for length in shape:
        elements *= length
    return elements // int(block) * int(block_bytes)


def _head(reader: Any, plan: list[_Planned], kind: str, alignment: int) -> bytes:
    """Everything before the weights; these begin at the next aligned place."""
    values = [
        _key("general.quantization_version", _QUANTIZATION_VERSION),
        _key("general.file_type", KINDS[kind]),
    ]
    replaced = ("general.quantization_version", "general.file_type")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in replaced:
            values.append(_bytes_of_field(reader, field))
    head = [struct.pack("<4sIQQ", b"GGUF", 3, len(plan), len(values)), *values]
    offset = 0
    for row in plan:
        head.append(_row(row, offset))
        offset += row.size_bytes + -row.size_bytes % alignment
    whole = b"".join(head)
    return whole + bytes(-len(whole) % alignment)


def _bytes_of_field(reader: Any, field: Any) -> bytes:
    size = sum(int(part.nbytes) for part in field.parts)
    return bytes(reader.data[field.offset : field.offset + size])


def _key(name: str, value: int) -> bytes:
    return struct.pack(f"<Q{len(name)}sII", len(name), name.encode(), _U32, value)


def _row(row: _Planned, offset: int) -> bytes:
    import gguf

    name = row.source.name.encode()
    shape = [int(length) for length in row.source.shape]
    number = int(gguf.GGMLQuantizationType[row.format])
    return struct.pack(
        f"<Q{len(name)}sI{len(shape)}QIQ", len(name), name, len(shape), *shape, number, offset
    )


def _write_tensor(file: BinaryIO, row: _Planned) -> Iterator[int]:
    """Bytes of the source that were read, slab by slab."""
    import numpy as np

    present = row.source.tensor_type
    # The reader gives quantized rows as bytes and others as numbers; both have a row at the end.
    data = row.source.data
    rows = data.reshape(-1, data.shape[-1]) if data.ndim else data.reshape(1, 1)
    height = max(1, SLAB_WEIGHTS // max(1, int(row.source.shape[0])))
    for start in range(0, len(rows), height):
        slab = np.ascontiguousarray(rows[start : start + height])
        if row.format == present.name:
            file.write(slab.tobytes())
        else:
            file.write(_converted(slab, row).tobytes())
        yield int(slab.nbytes)


def _converted(slab: Any, row: _Planned) -> np.ndarray[Any, Any]:
    import gguf
    import numpy as np

    present: gguf.GGMLQuantizationType = row.source.tensor_type
    try:
        values = gguf.dequantize(slab, present)
    except NotImplementedError:
        raise InvalidModel(f"tensor {row.source.name!r} has the format {present.name}") from None
    if not np.isfinite(values).all():
        raise InvalidModel(
            f"tensor {row.source.name!r} has weights that are no numbers",
            hint="the model is damaged; get it anew",
        )
    if row.format == "Q6_K":
        return pack_q6_k(values)
    packed = gguf.quantize(values, gguf.GGMLQuantizationType[row.format])
    return np.asarray(packed)


def _main(source: str, target: str, kind: str) -> int:
    out = sys.stdout.buffer
    try:
        with disk_errors("the model store"):
            for step in quantize_file(Path(source), Path(target), kind):
                out.write(msgspec.json.encode(step) + b"\n")
                out.flush()
    except DimoraError as error:
        out.write(msgspec.json.encode(failure_of(error)) + b"\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:4]))
