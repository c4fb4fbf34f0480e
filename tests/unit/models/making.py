"""Small model files, wheels and stores for the tests, made with the libraries others use."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}{{ tools }}<think></think>"
TOKENS = ["<unk>", "<s>", "</s>", "ciao", "hola", "hello", "▁", "a", "b", "c"]


def tiny_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    tokens: list[str] | None = None,
    template: str = TEMPLATE,
    file_type: int | None = None,
    strings: dict[str, str] | None = None,
    numbers: dict[str, int] | None = None,
    context_length: int = 128,
    precise: bool = False,
) -> Path:
    """A GGUF with metadata, a vocabulary and three small tensors, in F16 if it is `precise`."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_context_length(context_length)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    if file_type is not None:
        writer.add_file_type(file_type)
    vocabulary = tokens or TOKENS
    writer.add_token_list(vocabulary)
    writer.add_token_scores([0.0] * len(vocabulary))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if template:
        writer.add_chat_template(template)
    for key, text in (strings or {}).items():
        writer.add_string(key, text)
    for key, number in (numbers or {}).items():
        writer.add_uint32(key, number)
    exact = np.float16 if precise else np.float32
    if len(vocabulary) < 100_000:
        writer.add_tensor("token_embd.weight", np.ones((len(vocabulary), 32), dtype=exact))
    else:
        packed = np.zeros((len(vocabulary), 18), dtype=np.uint8)
        kind = gguf.GGMLQuantizationType.Q4_0
        writer.add_tensor("token_embd.weight", packed, raw_dtype=kind)
    if precise:
        writer.add_tensor("blk.0.attn_q.weight", np.ones((4, 32), dtype=exact))
    else:
        rows = np.zeros((4, 18), dtype=np.uint8)
        writer.add_tensor("blk.0.attn_q.weight", rows, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor("output_norm.weight", np.ones(32, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def wheel_of(package: str, version: str, files: dict[str, bytes]) -> bytes:
    """A wheel of pure data; the member files are stored deflated, as in real ones."""
    information = f"{package.replace('-', '_')}-{version}.dist-info"
    metadata = metadata_of(package, version)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"{information}/METADATA", metadata)
        archive.writestr(
            f"{information}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{information}/RECORD", "")
    return buffer.getvalue()


def metadata_of(package: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"


class OllamaStore:
    """Writes a store by the rules of the contract, independently of ours."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob(self, data: bytes) -> dict[str, Any]:
        directory = self.root / "blobs"
        directory.mkdir(parents=True, exist_ok=True)
        digest = digest_of(data)
        (directory / digest.replace(":", "-")).write_bytes(data)
        return {"digest": digest, "size": len(data)}

    def model(
        self,
        parts: tuple[str, str, str, str],
        layers: list[tuple[str, bytes]],
        config: dict[str, Any] | None = None,
    ) -> Path:
        """A manifest at host/namespace/model/tag; layers are (kind, bytes)."""
        stored = [
            {"mediaType": f"application/vnd.ollama.image.{kind}", **self.blob(data)}
            for kind, data in layers
        ]
        written = (
            config
            if config is not None
            else {
                "model_format": "gguf",
                "model_family": "llama",
                "model_families": ["llama"],
                "model_type": "1.2K",
                "file_type": "F32",
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [row["digest"] for row in stored]},
                "some_later_key": {"is": "tolerated"},
            }
        )
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                **self.blob(json.dumps(written).encode()),
            },
            "layers": stored,
        }
        path = self.root.joinpath("manifests", *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(manifest))
        return path


def tiny_adapter(path: Path, *, architecture: str = "llama", rank: int = 2) -> Path:
    """A LoRA adapter as GGUF, for the one matrix of `tiny_gguf`."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.ones((rank, 32), dtype=np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", np.ones((4, rank), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
