"""The plot is SVG that a viewer can read, with every curve in it."""

from __future__ import annotations

from xml.etree import ElementTree

from bench.plot import line_plot


def test_every_curve_has_a_line_through_its_points() -> None:
    curves = {"one": [(1, 10), (2, 20), (4, 30)], "<other>": [(1, 5), (4, 6)]}
    plot = ElementTree.fromstring(line_plot(curves, title="tokens & clients"))
    lines = [e for e in plot.iter() if e.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [3, 2]
    texts = [e.text for e in plot.iter() if e.tag.endswith("text")]
    assert {"one", "<other>", "tokens & clients"} <= set(texts)
    # Higher is up: y falls as values rise.
    heights = [float(p.split(",")[1]) for p in lines[0].attrib["points"].split()]
    assert heights == sorted(heights, reverse=True)
