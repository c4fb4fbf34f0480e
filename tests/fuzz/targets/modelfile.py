"""A Modelfile."""

from __future__ import annotations

from dimora.core.errors import BadRequest
from dimora.tasks.modelfile import parse_modelfile

REFUSAL = BadRequest


def seeds() -> list[bytes]:
    plain = (
        'FROM ./a.gguf\n# words\nPARAMETER temperature 0.5\nPARAMETER stop "<|end|>"\n'
        'SYSTEM """Be\nkind."""\nTEMPLATE "{{ .Prompt }}"\nADAPTER ./lora 0.5\n'
        "LICENSE MIT\nMESSAGE user ciao\nREQUIRES 0.14.0\nFILE ./doc.txt\nENGINE llama_cpp\n"
    )
    return [
        plain.encode(),
        plain.replace("\n", "\r\n").encode(),
        plain.encode("utf-16"),
        b"\xef\xbb\xbf" + plain.encode(),
    ]


def read(data: bytes) -> None:
    parse_modelfile(data)
