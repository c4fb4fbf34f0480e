"""The folders that OpenVINO makes of GGUF models: made once, made anew when lost, never half."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from bench.make_model import Shape, make_model
from dimora.prompts.prompt import Prompt
from dimora.tasks.options import Sampling
from tests.machines.shapes import read_model
from tests.worker_client import WorkerFailed, worker

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO is for x86-64"
)
SMALL = Shape(
    name="small", blocks=2, width=256, heads=4, kv_heads=2, feed_forward=512, weights="Q4_1"
)
FEW = Sampling(temperature=0, num_predict=4)


@pytest.fixture(scope="module")
def small(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(SMALL, smollm2_path, tmp_path_factory.mktemp("small") / "model.gguf")


@pytest.fixture
def weights(small: Path, tmp_path: Path) -> Path:
    """A file of this test's own."""
    return Path(shutil.copy(small, tmp_path))


def answer(weights: Path, scratch: Path) -> str:
    model = read_model(weights, scratch)
    with worker("openvino", weights, model, scratch) as client:
        return client.generate(Prompt(text="One"), FEW)[0]


def folders(scratch: Path) -> list[Path]:
    return sorted((scratch / "cache" / "openvino").iterdir())


def test_a_model_is_made_ready_once(weights: Path, tmp_path: Path) -> None:
    first = answer(weights, tmp_path)
    (folder,) = folders(tmp_path)
    made = (folder / "openvino_model.bin").stat().st_mtime_ns
    assert answer(weights, tmp_path) == first
    assert folders(tmp_path) == [folder]
    assert (folder / "openvino_model.bin").stat().st_mtime_ns == made


def test_a_damaged_folder_is_made_anew(weights: Path, tmp_path: Path) -> None:
    first = answer(weights, tmp_path)
    (folder,) = folders(tmp_path)
    (folder / "openvino_model.xml").write_text("<net")
    assert answer(weights, tmp_path) == first


def test_what_is_left_of_models_that_are_gone_goes_too(weights: Path, tmp_path: Path) -> None:
    answer(weights, tmp_path)
    (old,) = folders(tmp_path)
    other = weights.with_name("other.gguf")
    weights.rename(other)
    answer(other, tmp_path)
    assert old not in folders(tmp_path)
    assert len(folders(tmp_path)) == 1


def test_where_the_cache_cannot_be_written_the_model_answers_all_the_same(
    weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    assert answer(weights, tmp_path)
    assert not list(tmp_path.glob("half-*"))


def test_a_model_with_a_tensor_too_few_is_refused_in_words(weights: Path, tmp_path: Path) -> None:
    # The name of a tensor in the file's header, changed to one that nobody asks for.
    data = weights.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.7.ffn_up.weight", 1)
    weights.write_bytes(data)
    with pytest.raises(WorkerFailed, match=r"blk\.1\.ffn_up\.weight"):
        answer(weights, tmp_path)
    assert not (tmp_path / "cache" / "openvino").exists() or not folders(tmp_path)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
