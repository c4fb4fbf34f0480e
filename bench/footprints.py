"""Compares the memory that models take with what was said before they were loaded.

`python -m bench.footprints TOKENIZER.gguf` from the root of the repository; prints a table.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.make_model import make_model
from dimora.engines import SHELF
from tests.machines.shapes import SHAPES, measure_resident_bytes, read_model

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path, help="a GGUF whose words the models get")
    parser.add_argument("--llama-server", default="", help="an executable instead of the built-in")
    parser.add_argument("--engine", action="append", help="only this engine")
    arguments = parser.parse_args()
    print("| model | engine | window | measured MiB | estimated MiB | weights | cache | off by |")
    print("|---|---|---|---|---|---|---|---|")
    for shape, options in SHAPES:
        with tempfile.TemporaryDirectory() as place:
            scratch = Path(place)
            path = make_model(shape, arguments.tokenizer, scratch / "model.gguf")
            model = read_model(path, scratch)
            for engine in arguments.engine or ("llama_cpp", "openvino"):
                said = SHELF.load(engine).footprint(model, options)
                extra = {"llama_server": arguments.llama_server} if engine == "llama_cpp" else {}
                measured = measure_resident_bytes(
                    engine, path, model, options, scratch / engine, **extra
                )
                print(
                    f"| {shape.name}, {shape.architecture}, {shape.weights} | {engine} "
                    f"| {options.parallel} x {options.num_ctx} | {measured / MIB:.0f} "
                    f"| {said.total_bytes / MIB:.0f} | {said.weights_bytes / MIB:.0f} "
                    f"| {said.kv_cache_bytes / MIB:.0f} | {said.total_bytes / measured - 1:+.1%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
