"""Models made of models and of files: what goes where, what is kept, what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from dimora.core.errors import BadRequest, InvalidModel, NotFound, UnsupportedFeature
from dimora.core.types import Message, Text
from dimora.models.names import require_name
from dimora.models.store import ModelStore
from dimora.tasks.modelfile import parse_modelfile
from dimora.tasks.options import Options
from dimora.tasks.recipe import AdapterPart, Recipe
from dimora.tasks.show_model import modelfile_of
from tests.unit.models.making import OllamaStore, digest_of, tiny_adapter, tiny_gguf
from tests.unit.models.making_folders import write_ir, write_onnx

LIBRARY = ("registry.ollama.ai", "library")
ABSENT = digest_of(b"nowhere")


class Kitchen:
    """A store, and files put into it by name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ollama = OllamaStore(directory / "models")
        self.store = ModelStore(
            directory / "models", cache_path=directory / "cache", ollama_version="0.33.0"
        )
        self.warnings: list[str] = []

    def file(self, data: bytes | Path) -> str:
        """Uploads something; gives its digest."""
        return self.store.blobs.put(data if isinstance(data, bytes) else data.read_bytes())

    def gguf(self, **changes: Any) -> str:
        return self.file(tiny_gguf(self.directory / "made.gguf", **changes))

    def adapter(self, **changes: Any) -> str:
        return self.file(tiny_adapter(self.directory / "made.gguf", **changes))

    def create(self, name: str, **recipe: Any) -> list[str]:
        """Gives the status words."""

        async def run() -> list[str]:
            steps = self.store.create(name, Recipe(**recipe), self.warnings)
            return [progress.status async for progress in steps]

        return asyncio.run(run())

    def refused(self, kind: type[Exception], **recipe: Any) -> str:
        """Gives the message; nothing must have become of the recipe."""
        before = {row.name for row in self.store.all()}
        with pytest.raises(kind) as caught:
            self.create("refused", **recipe)
        assert {row.name for row in self.store.all()} == before
        return str(caught.value)

    def digest(self, name: str) -> str:
        return self.store.find(name).summary.digest

    def layers(self, name: str) -> list[tuple[str, str]]:
        stored = self.store.manifests.read(require_name(name, "name"))
        return [(layer.kind, layer.digest) for layer in stored.manifest.layers]

    def config(self, name: str) -> dict[str, Any]:
        stored = self.store.manifests.read(require_name(name, "name"))
        return json.loads(self.store.blobs.path(stored.manifest.config.digest).read_bytes())


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


@pytest.fixture
def base(kitchen: Kitchen) -> str:
    """The digest of the weights of a model `base`, written by the rules of the contract."""
    data = tiny_gguf(kitchen.directory / "base.gguf").read_bytes()
    kitchen.ollama.model(
        (*LIBRARY, "base", "latest"),
        [
            ("model", data),
            ("template", b"{{ .Prompt }}"),
            ("params", b'{ "stop": ["</s>"],  "temperature": 0.7, "unheard_of": 1 }'),
            ("system", b"Be kind."),
            ("license", b"Licence A"),
            ("messages", b'[ {"role": "user", "content": "hi"} ]'),
        ],
    )
    return digest_of(data)


def test_of_a_gguf_with_its_projector(kitchen: Kitchen) -> None:
    weights = kitchen.gguf()
    projector = kitchen.gguf(architecture="clip")
    files = {"mm.gguf": projector, "model.gguf": weights}
    statuses = kitchen.create("seeing", files=files, system="Look.")
    model = kitchen.store.find("seeing")
    assert (model.weights_digest, model.projector_digest) == (weights, projector)
    assert model.system == "Look."
    system = digest_of(b"Look.")
    assert statuses == [
        "parsing GGUF",
        f"using existing layer {weights}",
        f"using existing layer {projector}",
        f"creating new layer {system}",
        "writing manifest",
        "success",
    ]


def test_a_projector_is_added_to_an_existing_model(kitchen: Kitchen, base: str) -> None:
    projector = kitchen.gguf(architecture="clip")
    kitchen.create("seeing", source="base", files={"mm.gguf": projector})
    model = kitchen.store.find("seeing")
    assert (model.weights_digest, model.projector_digest) == (base, projector)


def test_a_gguf_is_known_by_its_bytes_whatever_its_name(kitchen: Kitchen) -> None:
    weights = kitchen.gguf()
    kitchen.create("plain", files={"weights": weights, "README.md": kitchen.file(b"# hello")})
    assert kitchen.store.find("plain").weights_digest == weights


def test_without_changes_it_is_the_same_manifest(kitchen: Kitchen, base: str) -> None:
    kitchen.create("twin", source="base")
    assert kitchen.digest("twin") == kitchen.digest("base")


def test_what_says_the_same_as_before_is_no_change(kitchen: Kitchen, base: str) -> None:
    there = kitchen.store.find("base")
    statuses = kitchen.create(
        "twin",
        source="base",
        options=there.options,
        system=there.system,
        template=there.template,
        messages=there.messages,
        licenses=there.licenses,
    )
    assert kitchen.digest("twin") == kitchen.digest("base")
    assert not any(status.startswith("creating") for status in statuses)


def test_parameters_override_one_by_one_and_layers_keep_their_places(
    kitchen: Kitchen, base: str
) -> None:
    kitchen.create("new", source="base", options=Options(temperature=0.1, top_k=3), system="Short.")
    assert kitchen.store.find("new").options == Options(temperature=0.1, top_k=3, stop=("</s>",))
    assert [kind for kind, _ in kitchen.layers("new")] == [k for k, _ in kitchen.layers("base")]
    params = kitchen.store.blobs.path(dict(kitchen.layers("new"))["params"]).read_bytes()
    assert json.loads(params)["unheard_of"] == 1


def test_messages_replace_and_licences_append(kitchen: Kitchen, base: str) -> None:
    message = Message("assistant", (Text("Ciao!"),))
    kitchen.create("new", source="base", messages=(message,), licenses=("Licence B", "Licence A"))
    model = kitchen.store.find("new")
    assert model.messages == (message,)
    assert model.licenses == ("Licence A", "Licence B")


def test_an_empty_text_removes(kitchen: Kitchen, base: str) -> None:
    kitchen.create("named", source="base", renderer="r", parser="p", requires="0.1")
    kitchen.create("bare", source="named", system="", template="", renderer="", parser="")
    model = kitchen.store.find("bare")
    assert (model.system, model.template, model.renderer, model.parser) == ("", "", "", "")
    assert model.requires == "0.1"
    assert "renderer" not in kitchen.config("bare")


def test_a_renderer_is_kept_and_told_to_be_unused_once(kitchen: Kitchen, base: str) -> None:
    kitchen.create("named", source="base", renderer="qwen3-coder", parser="qwen3-coder")
    assert kitchen.store.find("named").renderer == "qwen3-coder"
    assert [word.split()[1] for word in kitchen.warnings] == ["renderer", "parser"]
    kitchen.create("again", source="named", renderer="qwen3-coder")
    assert len(kitchen.warnings) == 2


def test_a_chosen_template_goes_before_the_one_in_the_file(kitchen: Kitchen, base: str) -> None:
    assert kitchen.store.find("base").chat_template, "the file has one"
    kitchen.create("go", source="base", template="<{{ .Prompt }}>")
    assert (kitchen.store.find("go").chat_template, kitchen.store.find("go").template) == (
        "",
        "<{{ .Prompt }}>",
    )
    jinja = "{{ messages[0].content }}{{ tools }}"
    kitchen.create("jinja", source="base", template=jinja)
    model = kitchen.store.find("jinja")
    assert (model.chat_template, model.template) == (jinja, jinja)
    assert model.can("tools")
    kitchen.create("own", source="go", template="")
    assert kitchen.store.find("own").chat_template == kitchen.store.find("base").chat_template
    assert "template_chosen" not in kitchen.config("own")


def test_adapters_append_with_their_scales(kitchen: Kitchen, base: str) -> None:
    one, two = kitchen.adapter(), kitchen.adapter(rank=4)
    kitchen.create("tuned", source="base", adapters=(AdapterPart(files={"a.gguf": one}),))
    kitchen.create(
        "more", source="tuned", adapters=(AdapterPart(files={"b.gguf": two}, scale=0.5),)
    )
    model = kitchen.store.find("more")
    assert model.adapters == ((one, 1.0), (two, 0.5))
    assert model.load_key != kitchen.store.find("tuned").load_key
    files = kitchen.store.verified_files(model)
    assert [scale for _, scale in files.adapters] == [1.0, 0.5]
    kitchen.create(
        "weaker", source="more", adapters=(AdapterPart(files={"a.gguf": one}, scale=0.25),)
    )
    assert kitchen.store.find("weaker").adapters == ((one, 0.25), (two, 0.5))


def test_a_draft_is_a_model_or_a_file(kitchen: Kitchen, base: str) -> None:
    small = kitchen.gguf(context_length=64)
    kitchen.create("small", files={"small.gguf": small})
    kitchen.create("fast", source="base", draft="small")
    kitchen.create("fast2", source="base", draft_files={"small.gguf": small})
    model = kitchen.store.find("fast")
    assert model.draft_digest == small
    assert model.draft is not None and model.draft.trained_context == 64
    assert kitchen.store.verified_files(model).draft
    assert kitchen.layers("fast2") == kitchen.layers("fast")


def test_a_draft_has_to_write_and_to_know_the_same_words(kitchen: Kitchen, base: str) -> None:
    other = kitchen.gguf(tokens=["<unk>", "<s>", "</s>", "hi"])
    kitchen.create("fast", source="base", draft_files={"other.gguf": other})
    assert "the draft splits text into other pieces" in kitchen.warnings[-1]
    embedder = kitchen.gguf(architecture="bert", numbers={"bert.pooling_type": 1})
    message = kitchen.refused(BadRequest, source="base", draft_files={"e.gguf": embedder})
    assert message == "a draft is a model that writes text"


@pytest.mark.parametrize("write", [write_ir, write_onnx])
def test_what_only_goes_with_a_gguf_is_refused_for_a_folder(kitchen: Kitchen, write: Any) -> None:
    folder = write(kitchen.directory / "folder")
    files = {path.name: kitchen.file(path) for path in folder.iterdir()}
    adapters = (AdapterPart(files={"a.gguf": kitchen.adapter()}),)
    small = kitchen.gguf()
    kitchen.create("small", files={"m.gguf": small})
    kitchen.create("folder", files=files)
    for origin in ({"files": files}, {"source": "folder"}):
        for addition, what in (
            ({"adapters": adapters}, "adapters go with GGUF models only"),
            ({"draft": "small"}, "a draft goes with GGUF models only"),
            ({"draft_files": {"m.gguf": small}}, "a draft goes with GGUF models only"),
            ({"quantize": "Q8_0"}, "quantizing goes with GGUF models only"),
        ):
            assert what in kitchen.refused(UnsupportedFeature, **origin, **addition)
    eye = {"mm.gguf": kitchen.gguf(architecture="clip")}
    assert "a projector goes" in kitchen.refused(UnsupportedFeature, source="folder", files=eye)


def test_documents_belong_to_a_model_by_their_names(kitchen: Kitchen, base: str) -> None:
    first, second, third = (kitchen.file(text) for text in (b"one", b"two", b"three"))
    kitchen.create("wise", source="base", documents={"a.txt": first, "docs/b.txt": second})
    kitchen.create("wiser", source="wise", documents={"a.txt": third})
    wiser = kitchen.store.find("wiser")
    assert wiser.documents == ("a.txt", "docs/b.txt")
    assert wiser.document_bytes == len(b"three") + len(b"two")
    assert dict(kitchen.layers("wiser"))["document"] == second
    assert ("document", third) in kitchen.layers("wiser")


def test_shown_and_created_again_it_is_the_same_model(kitchen: Kitchen, base: str) -> None:
    kitchen.create(
        "whole",
        source="base",
        adapters=(AdapterPart(files={"a.gguf": kitchen.adapter()}, scale=0.5),),
        files={"mm.gguf": kitchen.gguf(architecture="clip")},
        draft_files={"s.gguf": kitchen.gguf(context_length=64)},
        documents={"a.txt": kitchen.file(b"one")},
        options=Options(stop=("two\nlines", '"'), engine="echo", temperature=0.3),
        template='{{ if .System }}"{{ .System }}"{{ end }}\n{{ .Prompt }} """x""" \r\n',
        system='one """\ntwo "\n',
        messages=(Message("user", (Text('say "hi"\n'),)),),
        licenses=('MIT "as is"\r\n', 'end """\n and "\n'),
        renderer="r",
        requires="0.20",
    )
    for name in ("base", "whole"):
        model = kitchen.store.find(name)
        found = parse_modelfile(modelfile_of(model).encode())
        kitchen.create(
            "again",
            source=found.sources[0],
            options=found.options,
            template=found.template,
            system=found.system,
            messages=found.messages or None,
            licenses=found.licenses,
            renderer=found.renderer,
            parser=found.parser,
            requires=found.requires,
        )
        assert kitchen.digest("again") == kitchen.digest(name)


def test_a_model_may_be_made_of_itself_and_what_it_leaves_goes(kitchen: Kitchen, base: str) -> None:
    kitchen.create("mine", source="base", system="One.")
    kitchen.create("mine", source="mine", system="Two.")
    assert kitchen.store.find("mine").system == "Two."
    assert kitchen.store.blobs.size_of(digest_of(b"One.")) is None
    assert kitchen.store.find("base").system == "Be kind."


def test_a_model_that_needs_a_newer_ollama_is_refused(kitchen: Kitchen, base: str) -> None:
    for wanted in ("0.33.1", "1", "v0.34"):
        assert wanted in kitchen.refused(UnsupportedFeature, source="base", requires=wanted)
    kitchen.create("fine", source="base", requires="0.33")
    assert kitchen.store.find("fine").requires == "0.33"


def test_what_is_missing_is_named(kitchen: Kitchen, base: str) -> None:
    assert kitchen.refused(BadRequest) == "neither 'from' or 'files' was specified"
    files = {"m.gguf": kitchen.gguf()}
    for recipe in ({"source": "nobody"}, {"files": files, "draft": "nobody"}):
        assert kitchen.refused(NotFound, **recipe) == "model 'nobody' not found"
    assert "'m.gguf'" in kitchen.refused(BadRequest, files={"m.gguf": ABSENT})
    assert "'a.txt'" in kitchen.refused(BadRequest, source="base", documents={"a.txt": ABSENT})


def test_a_path_is_never_pulled(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_gguf(kitchen.directory / "here.gguf")
    monkeypatch.chdir(kitchen.directory)
    for path in ("here.gguf", "./here.gguf", str(kitchen.directory / "here.gguf")):
        assert "not found" in kitchen.refused(NotFound, source=path)
        assert "not found" in kitchen.refused(NotFound, files={"m": kitchen.gguf()}, draft=path)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x.gguf",
        "a/../../x.gguf",
        "a//b",
        "",
        ".",
        "a\\b",
        "C:/x",
        "a\0",
        "x" * 300,
    ],
)
def test_names_of_files_lead_nowhere_else(kitchen: Kitchen, base: str, name: str) -> None:
    file = kitchen.gguf()
    for field in ("files", "draft_files", "documents"):
        source = {} if field == "files" else {"source": "base"}
        message = kitchen.refused(BadRequest, **source, **{field: {name: file}})
        assert message == "file path must be relative"
    part = AdapterPart(files={name: file})
    assert kitchen.refused(BadRequest, source="base", adapters=(part,)) == (
        "file path must be relative"
    )


@pytest.mark.parametrize("digest", ["../x", "sha256:12", "sha256:" + "A" * 64, ""])
def test_a_digest_is_a_digest(kitchen: Kitchen, digest: str) -> None:
    assert "sha256" in kitchen.refused(BadRequest, files={"m.gguf": digest})


def test_what_the_files_are_is_looked_at_before_anything_is_made(
    kitchen: Kitchen, base: str
) -> None:
    model, adapter = kitchen.gguf(), kitchen.adapter()
    projector = kitchen.gguf(architecture="clip")
    text = kitchen.file(b"just words")

    def refused(**recipe: Any) -> str:
        return kitchen.refused(BadRequest, **recipe)

    assert refused(files={"m.gguf": text}) == "supplied file was not in GGUF format"
    assert refused(files={"m.txt": text}) == "unknown type"
    assert refused(files={"pytorch_model.bin": text}) == "unknown type"
    assert "is an adapter" in refused(files={"m.gguf": adapter})
    assert "without a model" in refused(files={"m.gguf": projector})
    assert "both weights" in refused(files={"a.gguf": model, "b.gguf": kitchen.gguf(file_type=7)})
    assert "not from both" in refused(source="base", files={"m.gguf": model})
    assert "no adapter" in refused(source="base", adapters=(AdapterPart(files={"a.gguf": model}),))
    assert refused(source="base", adapters=(AdapterPart(files={"a.txt": text}),)) == "unknown type"
    assert "are an adapter" in refused(
        files={"adapter_config.json": text, "adapter_model.safetensors": text}
    )
    parts = kitchen.gguf(numbers={"split.count": 3})
    assert "one of 3 parts" in refused(files={"m.gguf": parts})


def test_what_could_run_code_is_refused_by_its_bytes(kitchen: Kitchen, base: str) -> None:
    pickled = kitchen.file(pickle.dumps({"weights": [1, 2, 3]}, protocol=2))
    zipped = kitchen.file(b"PK\x03\x04" + bytes(40))
    for name in ("model.gguf", "model.safetensors", "openvino_model.bin"):
        assert "refused" in kitchen.refused(InvalidModel, files={name: pickled})
        assert "refused" in kitchen.refused(InvalidModel, files={name: zipped})
    part = AdapterPart(files={"adapter_model.safetensors": pickled})
    assert "refused" in kitchen.refused(InvalidModel, source="base", adapters=(part,))


def test_a_damaged_gguf_is_refused_by_its_name(kitchen: Kitchen) -> None:
    whole = tiny_gguf(kitchen.directory / "made.gguf").read_bytes()
    for length in (4, 20, 100, len(whole) - 40):
        message = kitchen.refused(InvalidModel, files={"m.gguf": kitchen.file(whole[:length])})
        assert message.startswith("'m.gguf' cannot be used: GGUF: ")


def test_a_blob_that_is_not_what_its_name_says_is_not_used(kitchen: Kitchen) -> None:
    weights = kitchen.gguf()
    path = kitchen.store.blobs.path(weights)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert "is not here" in kitchen.refused(BadRequest, files={"m.gguf": weights})


def test_an_adapter_for_another_kind_of_model_is_refused(kitchen: Kitchen, base: str) -> None:
    adapter = kitchen.adapter(architecture="qwen2")
    message = kitchen.refused(
        BadRequest, source="base", adapters=(AdapterPart(files={"a.gguf": adapter}),)
    )
    assert "'qwen2'" in message and "'llama'" in message


def test_only_precise_weights_are_quantized(kitchen: Kitchen) -> None:
    files = {"m.gguf": kitchen.gguf(file_type=2)}
    assert "only supported for F32" in kitchen.refused(BadRequest, files=files, quantize="Q4_K_M")
    assert "'Q77'" in kitchen.refused(BadRequest, files=files, quantize="Q77")
    assert "draft to quantize" in kitchen.refused(BadRequest, files=files, draft_quantize="Q8_0")
    kitchen.create("as-it-is", files=files, quantize="q4_0")
    assert kitchen.store.find("as-it-is").weights_digest == files["m.gguf"]


def test_weights_and_draft_are_quantized_on_the_way(kitchen: Kitchen) -> None:
    precise = kitchen.gguf(precise=True, file_type=1)
    draft = kitchen.gguf(precise=True, file_type=1, context_length=64)
    statuses = kitchen.create(
        "small",
        files={"m.gguf": precise},
        draft_files={"d.gguf": draft},
        quantize="q8_0",
        draft_quantize="Q8_0",
    )
    model = kitchen.store.find("small")
    assert model.summary.details.quantization_level == "Q8_0"
    assert {model.weights_digest, model.draft_digest}.isdisjoint({precise, draft})
    assert statuses[0] == "parsing GGUF"
    assert statuses.count("quantizing F16 model to Q8_0") >= 2
    assert statuses[-4:] == [
        f"creating new layer {model.weights_digest}",
        f"creating new layer {model.draft_digest}",
        "writing manifest",
        "success",
    ]
    assert kitchen.store.blobs.size_of(precise), "what was uploaded can be used again"


def test_a_sweep_leaves_the_files_of_a_model_that_takes_days_to_make(kitchen: Kitchen) -> None:
    store = kitchen.store
    recipe = Recipe(
        files={"m.gguf": kitchen.gguf()},
        adapters=(AdapterPart(files={"a.gguf": kitchen.adapter()}),),
        documents={"notes.txt": kitchen.file(b"Remember the milk.")},
        system="Be kind.",
    )
    then = time.time() - 7200

    async def run() -> None:
        async for _ in store.create("slow", recipe, []):
            store.sweep()
            for path in store.blobs.directory.iterdir():
                os.utime(path, (then, then))

    asyncio.run(run())
    assert [kind for kind, _ in kitchen.layers("slow")] == [
        *("model", "adapter", "system", "document")
    ]
    assert store.verified_files(store.find("slow")).adapters
