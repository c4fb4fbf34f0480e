"""The Modelfile a model is shown as."""

from __future__ import annotations

from dimora.core.types import Message, Text
from dimora.tasks.base import Model, ModelDetails, ModelSummary
from dimora.tasks.modelfile import parse_modelfile
from dimora.tasks.options import Options
from dimora.tasks.show_model import modelfile_of

SUMMARY = ModelSummary(
    name="me/mine:latest", digest="0" * 64, size_bytes=1, modified_at=0.0, details=ModelDetails()
)
UNWRITABLE = 'one """\ntwo "\n'


def test_a_modelfile_says_everything_a_line_can_say():
    model = Model(
        summary=SUMMARY,
        weights_digest="sha256:" + "0" * 64,
        options=Options(temperature=0.25, stop=('"', "two\nlines", "<|end|>"), engine="echo"),
        system='Say "yes"\n',
        template='{{ .Prompt }} """x""" {{ "y" }}',
        messages=(Message("assistant", (Text("a\n\nb"),)),),
        licenses=("MIT\r\n", "Another"),
        renderer="r",
        parser="p",
        requires="0.1",
    )
    found = parse_modelfile(modelfile_of(model).encode())
    assert found.sources == ("me/mine:latest",)
    for field in ("options", "system", "template", "messages", "licenses"):
        assert getattr(found, field) == getattr(model, field), field
    assert (found.renderer, found.parser, found.requires) == ("r", "p", "0.1")


def test_what_no_line_can_say_is_told_in_comments():
    model = Model(
        summary=SUMMARY,
        weights_digest="sha256:" + "0" * 64,
        options=Options(stop=(UNWRITABLE,), top_k=3),
        system=UNWRITABLE,
        template=UNWRITABLE,
        messages=(Message("user", (Text(UNWRITABLE),)), Message("user", (Text("b"),))),
        licenses=(UNWRITABLE, "MIT"),
        adapters=(("sha256:" + "1" * 64, 0.5),),
        projector_digest="sha256:" + "2" * 64,
        draft_digest="sha256:" + "3" * 64,
        documents=("guide\nSYSTEM injected.pdf",),
    )
    text = modelfile_of(model)
    found = parse_modelfile(text.encode())
    assert (found.system, found.template, found.messages) == (None, None, ())
    assert (found.options, found.licenses) == (Options(top_k=3), ("MIT",))
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for word in ("adapter 1", "0.5", "projector", "draft", "guide", "system text", "template",
                 "messages", "licence 1", "stop strings"):  # fmt: skip
        assert word in comments, word
    assert "sha256" not in text
