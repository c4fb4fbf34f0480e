"""Makes a folder of OpenVINO IR of a GGUF file: exported by optimum-intel, compressed by NNCF.

Weights are unpacked first, tensor by tensor, so an F16 or Q8_0 file loses less than a smaller one.
Nothing is read but this one file, and no model is loaded by its name: there is no code to run.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dimora.core.errors import InvalidModel
from dimora.models.converting.conversions._gguf_words import tokenizer_of
from dimora.models.converting.ir_choices import ROPE_FACTORS, export_config, transformers_name
from dimora.models.converting.run_converter import forbid
from dimora.models.formats.gguf import Header, read_header

if TYPE_CHECKING:
    import gguf

_MODEL = "openvino_model.xml"


def convert(source: Path, target: Path, *, bits: str, group: str) -> Iterator[str]:
    """Make the folder `target`; yields what it does next. `bits` and `group` as in Compression.

    Raises InvalidModel when the file is not what its header says.
    """
    # Where its telemetry library cannot be imported, OpenVINO tells nobody.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    yield "loading the exporter"
    import gguf
    import nncf  # noqa: F401
    import optimum.exporters.openvino
    import optimum.intel  # noqa: F401
    import torch  # noqa: F401

    forbid("an exporter")
    header = read_header(source)
    reader = gguf.GGUFReader(source)
    yield "unpacking weights"
    model = _model_of(header, reader)
    words = tokenizer_of(reader, header.metadata)
    # The uncompressed form stands beside the result until that is written.
    plain = target / "plain"
    target.mkdir()
    yield "exporting the graph"
    _export(model, plain)
    del model
    yield f"compressing weights to {bits} bits"
    _compress(plain / _MODEL, target / _MODEL, int(bits), int(group))
    for name in ("config.json", "generation_config.json"):
        if (plain / name).is_file():
            (plain / name).replace(target / name)
    shutil.rmtree(plain)
    yield "making the tokenizer"
    _add_tokenizer(words, target)


def _model_of(header: Header, reader: gguf.GGUFReader) -> Any:
    """The model as transformers has it, with every weight of the file in its place."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    said = export_config(header)
    config = AutoConfig.for_model(said.pop("model_type"), **said)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    weights = _weights_of(header, reader)
    factors = weights.pop(ROPE_FACTORS, None)
    if config.tie_word_embeddings:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    try:
        model.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as why:
        raise InvalidModel(
            f"the weights do not fit the model: {str(why).splitlines()[-1].strip()[:200]}"
        ) from None
    # What is computed and not loaded was made without numbers, like the rest.
    turning = type(model.model.rotary_emb)(config)
    if factors is not None:
        turning.inv_freq /= factors
    model.model.rotary_emb = turning
    model.tie_weights()
    model.generation_config.bos_token_id = config.bos_token_id
    model.generation_config.eos_token_id = config.eos_token_id
    return model.eval().requires_grad_(False)


def _weights_of(header: Header, reader: gguf.GGUFReader) -> dict[str, Any]:
    import gguf
    import numpy as np
    import torch

    architecture, metadata = header.architecture, header.metadata
    heads = int(metadata[f"{architecture}.attention.head_count"])
    heads_of = {"attn_q": heads}
    heads_of["attn_k"] = int(metadata.get(f"{architecture}.attention.head_count_kv", heads))
    weights = {}
    for tensor in reader.tensors:
        name = str(tensor.name)
        try:
            rows = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            kind = tensor.tensor_type.name
            raise InvalidModel(f"tensors of type {kind} cannot be unpacked here") from None
        part = name.split(".")[-2]
        if architecture == "llama" and part in heads_of:
            rows = _in_halves(rows, heads_of[part])
        numbers = torch.from_numpy(np.ascontiguousarray(rows, np.float32))
        weights[transformers_name(architecture, name) or name] = numbers
    return weights


def _in_halves(rows: Any, heads: int) -> Any:
    """Llama files have the pairs of a head that turn together side by side; transformers has the
    first of all pairs, then the second."""
    pairs = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def _export(model: Any, folder: Path) -> None:
    from optimum.exporters.openvino import export_from_model
    from optimum.intel import OVConfig

    export_from_model(
        model,
        folder,
        task="text-generation-with-past",
        ov_config=OVConfig(dtype="fp16"),
        stateful=True,
        trust_remote_code=False,
    )


def _compress(plain: Path, target: Path, bits: int, group: int) -> None:
    import nncf
    import openvino

    model = openvino.Core().read_model(plain)
    if bits == 8:
        made = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    else:
        # What reads and writes words stays at 8 bits: it is small, and matters most.
        mode = nncf.CompressWeightsMode.INT4_ASYM
        made = nncf.compress_weights(model, mode=mode, ratio=1.0, group_size=group)
    openvino.save_model(made, target, compress_to_fp16=False)


def _add_tokenizer(words: Any, target: Path) -> None:
    import openvino
    from openvino_tokenizers import convert_tokenizer

    reader, writer = convert_tokenizer(words, with_detokenizer=True)
    openvino.save_model(reader, target / "openvino_tokenizer.xml")
    openvino.save_model(writer, target / "openvino_detokenizer.xml")
    words.save_pretrained(str(target))
