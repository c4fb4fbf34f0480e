"""Makes a folder of OpenVINO IR of a GGUF file: exported by optimum-intel, compressed by NNCF.

The weights are unpacked to 32 bits first, so an F16 or Q8_0 file loses less than a smaller one.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from dimora.core.errors import InvalidModel

_CHAT_FILES = ("chat_template.jinja", "tokenizer_config.json", "generation_config.json")


def convert(source: Path, target: Path, *, bits: str = "8", group: str = "-1") -> None:
    """Make the folder `target`. `bits` is 4, 8 or 16; `group` the weights of one row that share a
    scale (-1: the whole row). Blocks for minutes.

    Raises InvalidModel when the model's family cannot be exported.
    """
    _stay_silent()
    unpacked = target.with_name(f"{target.name}-unpacked")
    try:
        _unpack(source, unpacked)
        _export(unpacked, target, int(bits), int(group))
        _add_tokenizer(unpacked, target)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _stay_silent() -> None:
    """Nothing is asked of the network, and nobody is told: three of these packages would."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def _unpack(source: Path, unpacked: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # The reader goes by the ending of the name.
    unpacked.mkdir()
    named = unpacked / "source.gguf"
    named.symlink_to(source)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(unpacked), gguf_file=named.name, dtype=torch.float32, local_files_only=True
        )
        words = AutoTokenizer.from_pretrained(
            str(unpacked), gguf_file=named.name, local_files_only=True
        )
    except (ValueError, KeyError, NotImplementedError) as why:
        raise InvalidModel(
            f"this model cannot be exported: {str(why).splitlines()[0][:200]}",
            hint="transformers reads GGUF files of the common families only",
        ) from None
    finally:
        named.unlink()
    # It would not write down what it believes to be quantized still.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(str(unpacked))
    words.save_pretrained(str(unpacked))


def _export(unpacked: Path, target: Path, bits: int, group: int) -> None:
    from optimum.intel.openvino import OVModelForCausalLM, OVWeightQuantizationConfig

    if bits == 16:
        compression = None
    elif bits == 8:
        compression = OVWeightQuantizationConfig(bits=8, sym=False)
    else:
        compression = OVWeightQuantizationConfig(bits=4, sym=False, group_size=group, ratio=1.0)
    model = OVModelForCausalLM.from_pretrained(
        str(unpacked),
        export=True,
        compile=False,
        # Without it what is large is compressed to 8 bits unasked.
        load_in_8bit=False if compression is None else None,
        quantization_config=compression,
        local_files_only=True,
        trust_remote_code=False,
    )
    model.save_pretrained(str(target))


def _add_tokenizer(unpacked: Path, target: Path) -> None:
    import openvino
    from openvino_tokenizers import convert_tokenizer
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(str(unpacked), local_files_only=True)
    reader, writer = convert_tokenizer(words, with_detokenizer=True)
    openvino.save_model(reader, target / "openvino_tokenizer.xml")
    openvino.save_model(writer, target / "openvino_detokenizer.xml")
    for name in _CHAT_FILES:
        if (unpacked / name).is_file():
            shutil.copyfile(unpacked / name, target / name)
