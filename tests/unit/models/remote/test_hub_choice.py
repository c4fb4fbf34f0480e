"""Which file of a repository a tag means."""

from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest, NotFound, UnsupportedFeature
from dimora.models.catalogue import Catalogue
from dimora.models.catalogue import HubFile as CatalogueFile
from dimora.models.names import parse_name
from dimora.models.remote.hub_choice import HubFile, choose, has_gguf, kind_of

REPOSITORY = "ada/Tiny-GGUF"


def files(*names: str) -> list[HubFile]:
    """Each larger than the one before."""
    return [HubFile(name=name, size_bytes=1000 + at) for at, name in enumerate(names)]


def chosen(tag: str, *names: str) -> str:
    return choose(files(*names), tag, REPOSITORY).weights.name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("model.Q8_0.gguf", "Q8_0"),
        ("ggml-model-q4_0.gguf", "Q4_0"),
        ("x-Q4_0_4_4.gguf", "Q4_0_4_4"),
        ("x-Q6_K.gguf", "Q6_K"),
        ("x-Q6_K_L.gguf", "Q6_K_L"),
        ("x-IQ2_XXS.gguf", "IQ2_XXS"),
        ("x-i1-IQ4_NL.gguf", "IQ4_NL"),
        ("x-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("x-TQ1_0.gguf", "TQ1_0"),
        ("x-bf16.gguf", "BF16"),
        ("x-f16.gguf", "F16"),
        ("x-FP16.gguf", "F16"),
        ("x-fp32.gguf", "F32"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("x-NVFP4.gguf", "NVFP4"),
        ("x_Q4_K_M_v2.gguf", "Q4_K_M"),
        ("Q8_0/x-Q8_0-00001-of-00002.gguf", "Q8_0"),
        ("BF16/x-00001-of-00002.gguf", "BF16"),
        ("Q4_0-test/x-Q5_1.gguf", "Q5_1"),
        ("Qwen3-4B.gguf", ""),
        ("tiny.gguf", ""),
        ("EQ4_0X.gguf", ""),
    ],
)
def test_a_files_name_tells_its_kind(name, kind):
    assert kind_of(name) == kind


ALL = [
    "README.md",
    "m-Q2_K.gguf",
    "m-Q3_K_M.gguf",
    "m-Q4_0.gguf",
    "m-Q4_K_S.gguf",
    "m-Q4_K_M.gguf",
    "m-Q5_K_M.gguf",
    "m-Q8_0.gguf",
    "m-F16.gguf",
]


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("latest", "m-Q4_K_M.gguf"),
        ("Q4_K_M", "m-Q4_K_M.gguf"),
        ("q4_k_m", "m-Q4_K_M.gguf"),
        ("Q4_0", "m-Q4_0.gguf"),
        ("q4", "m-Q4_K_M.gguf"),
        ("Q4_K", "m-Q4_K_M.gguf"),
        ("Q5", "m-Q5_K_M.gguf"),
        ("fp16", "m-F16.gguf"),
        ("M-q2_K", "m-Q2_K.gguf"),
        ("m-Q2_K.gguf", "m-Q2_K.gguf"),
    ],
)
def test_a_tag_is_a_kind_its_beginning_or_a_files_name(tag, name):
    assert chosen(tag, *ALL) == name


def test_an_exact_kind_comes_before_a_longer_one():
    assert chosen("Q4_K", "m-Q4_K.gguf", "m-Q4_K_M.gguf") == "m-Q4_K.gguf"
    assert chosen("Q4_K_XL", "m-UD-Q4_K_XL.gguf", "m-Q8_0.gguf") == "m-UD-Q4_K_XL.gguf"
    assert chosen("Q4_K_M", "m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf") == "m-Q4_K_M.gguf"
    assert chosen("ud-q4_k_m", "m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf") == "m-UD-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["m-Q8_0.gguf", "m-Q4_0.gguf"], "m-Q4_0.gguf"),
        (["m-Q8_0.gguf", "m-F16.gguf"], "m-Q8_0.gguf"),
        (["m-Q2_K.gguf", "m-Q5_K_M.gguf", "m-F16.gguf"], "m-Q5_K_M.gguf"),
        (["m-IQ1_S.gguf", "m-Q3_K_M.gguf"], "m-Q3_K_M.gguf"),
        (["m-TQ1_0.gguf", "m-BF16.gguf"], "m-BF16.gguf"),
        (["m.gguf"], "m.gguf"),
        (["m.gguf", "m-Q2_K.gguf"], "m.gguf"),
        (["m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf", "m-Q8_0.gguf"],
         "m-Q8_0.gguf"),
        (["sub/m-Q4_K_M.gguf", "m-Q4_K_M.gguf"], "m-Q4_K_M.gguf"),
    ],
)  # fmt: skip
def test_without_a_tag_a_sensible_size_is_taken(names, name):
    assert chosen("latest", *names) == name


def test_a_kind_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(NotFound) as caught:
        chosen("Q6_K", *ALL)
    assert caught.value.message == f"{REPOSITORY} has no GGUF of the kind Q6_K"
    assert caught.value.hint == ("it has: Q2_K, Q3_K_M, Q4_0, Q4_K_S, Q4_K_M, Q5_K_M, Q8_0, F16")


def test_a_repository_without_weights_says_so():
    with pytest.raises(NotFound, match="no GGUF file"):
        chosen("latest", "README.md", "mmproj-F16.gguf", "imatrix.gguf")
    assert not has_gguf(files("README.md", "mmproj-F16.gguf", "model.safetensors"))
    assert has_gguf(files("M-Q4_0.GGUF"))


def test_of_several_models_none_is_guessed():
    names = ["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"]
    for tag in ("latest", "Q4_K_M", "Q4"):
        with pytest.raises(BadRequest) as caught:
            chosen(tag, *names)
        assert "a-Q4_K_M, b-Q4_K_M" in caught.value.hint
    assert chosen("b-q4_k_m", *names) == "b-Q4_K_M.gguf"


def test_weights_in_parts_are_refused_with_what_could_be_taken_instead():
    names = ["m-F16-00001-of-00002.gguf", "m-F16-00002-of-00002.gguf", "m-Q8_0.gguf"]
    with pytest.raises(UnsupportedFeature, match="2 parts") as caught:
        chosen("F16", *names)
    assert caught.value.hint == "choose another: Q8_0"
    with pytest.raises(UnsupportedFeature) as caught:
        chosen("latest", *names[:2])
    assert "--merge" in caught.value.hint


def test_the_projector_comes_along_in_the_kind_engines_like_best():
    names = ["m-Q4_0.gguf", "mmproj-Q8_0.gguf", "sub/mmproj-model-f16.gguf", "mmproj-BF16.gguf"]
    found = choose(files(*names), "latest", REPOSITORY)
    assert found.projector is not None
    assert found.projector.name == "sub/mmproj-model-f16.gguf"
    assert choose(files("m-Q4_0.gguf"), "latest", REPOSITORY).projector is None


def test_what_the_catalogue_names_is_what_its_tag_means():
    places = [(e, e.place) for e in Catalogue().all() if isinstance(e.place, CatalogueFile)]
    assert len(places) > 2
    for entry, place in places:
        name = parse_name(entry.name)
        assert name is not None
        assert f"{name.namespace}/{name.model}" == place.repository
        assert chosen(name.tag, "a-Q3_K_S.gguf", place.file, "a-IQ4_XS.gguf") == place.file
