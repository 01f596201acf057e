"""The lineage picture: steps as boxes in layers, left to right, each input as a line; inline SVG.

The layout is the usual one for layered graphs (Sugiyama, Tagawa and Toda 1981), small: a step's layer is its longest way from a
beginning; a line that passes layers gets a lane in each, shared by all lines from the same step; the order within a layer comes
from barycentre sweeps. An input that is reached by another way as well (the corpus of an evaluation whose model was trained
on it) is drawn thin, so that the main road stands out.

What it is not: a general graph drawer.

    septet lineage ask-python/card
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from septet.ops.report.html import Markup, tag

__all__ = ["Node", "draw", "implied", "layers"]

WIDTH, HEIGHT, GAP_X, GAP_Y, LANE = 134, 64, 34, 18, 10


@dataclass(frozen=True, slots=True)
class Node:
    """A box: the step's name, what stands under it, a style, and the names of the steps it takes."""

    name: str
    lines: Sequence[str]
    inputs: Sequence[str]
    style: str = ""


def layers(inputs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return each step's layer: 0 without inputs, else one more than its deepest input's."""
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((depth(other) for other in inputs[name]), default=-1)
        return found[name]

    for name in inputs:
        depth(name)
    return found


def implied(inputs: Mapping[str, Sequence[str]]) -> set[tuple[str, str]]:
    """Return the inputs (from, to) that `to` reaches through another of its inputs as well."""
    above: dict[str, set[str]] = {}

    def ancestors(name: str) -> set[str]:
        if name not in above:
            above[name] = set(inputs[name]).union(*(ancestors(other) for other in inputs[name]))
        return above[name]

    return {(one, name) for name, own in inputs.items() for one in own if any(one in ancestors(other) for other in own)}


Spot = tuple[str, int]
"""A step or one of its lanes: (step, layer)."""


def draw(nodes: Sequence[Node], *, title: str) -> Markup:
    """Return the picture of a recipe's steps; inputs that are not among the nodes are left out."""
    known = {node.name: node for node in nodes}
    inputs = {node.name: [one for one in dict.fromkeys(node.inputs) if one in known] for node in nodes}
    depth, thin = layers(inputs), implied(inputs)
    edges = [(one, name) for name in inputs for one in inputs[name]]
    segments: dict[tuple[Spot, Spot], bool] = {}  # -> is it part of a main road?
    for one, name in edges:
        way: list[Spot] = [(one, layer) for layer in range(depth[one], depth[name])] + [(name, depth[name])]
        for segment in itertools.pairwise(way):
            segments[segment] = segments.get(segment, False) or (one, name) not in thin
    columns: list[list[Spot]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for node in nodes:
        columns[depth[node.name]].append((node.name, depth[node.name]))
    for spot in dict.fromkeys(end for segment in segments for end in segment):
        if spot not in columns[spot[1]]:
            columns[spot[1]].append(spot)
    _sort(columns, list(segments))
    at, height = _place(columns, depth)
    parts = [tag("title", title)]
    for (start, end), main in sorted(segments.items(), key=lambda item: item[1]):
        parts.append(tag("path", d=_line(start, end, at, depth), class_="road" if main else "road thin"))
    for node in nodes:
        x, y = at[node.name, depth[node.name]]
        box = tag("rect", x=x, y=round(y - HEIGHT / 2, 1), width=WIDTH, height=HEIGHT, rx=8)
        texts = [tag("text", _cut(node.name, 15), x=x + 12, y=round(y - 13, 1), class_="name")]
        texts += [
            tag("text", _cut(line, 19), x=x + 12, y=round(y + 4 + 16 * place, 1), class_="tick")
            for place, line in enumerate(node.lines[:2])
        ]
        whole = tag("title", f"{node.name}: {', '.join(node.lines)}")
        parts.append(tag("g", whole, box, *texts, class_=f"step {node.style}"))
    width = len(columns) * (WIDTH + GAP_X) - GAP_X + 4
    return tag(
        "svg", *parts, viewBox=f"-2 -2 {width} {height + 4}", role="img", aria_label=title, class_="chart lineage"
    )


def _sort(columns: list[list[Spot]], segments: list[tuple[Spot, Spot]]) -> None:
    """Order the layers so that lines cross little: sweeps by the mean place of the neighbours; ties keep their order."""
    before: dict[Spot, list[Spot]] = {}
    after: dict[Spot, list[Spot]] = {}
    for start, end in segments:
        before.setdefault(end, []).append(start)
        after.setdefault(start, []).append(end)
    for _ in range(6):
        for sweep, sides in ((columns[1:], before), (columns[-2::-1], after)):
            for column in sweep:
                place = {spot: i for other in columns for i, spot in enumerate(other)}
                own = {spot: i for i, spot in enumerate(column)}

                def mean(spot: Spot, sides=sides, place=place, own=own) -> float:
                    near = sides.get(spot, [])
                    return sum(place[one] for one in near) / len(near) if near else own[spot]

                column.sort(key=mean)


def _place(columns: list[list[Spot]], depth: Mapping[str, int]) -> tuple[dict[Spot, tuple[float, float]], float]:
    """Return the left end and the middle of every spot, and the picture's height."""

    def size(spot: Spot) -> int:
        return HEIGHT if depth[spot[0]] == spot[1] else LANE

    tall = max((sum(map(size, column)) + GAP_Y * (len(column) - 1) for column in columns if column), default=HEIGHT)
    at: dict[Spot, tuple[float, float]] = {}
    for layer, column in enumerate(columns):
        y = (tall - sum(map(size, column)) - GAP_Y * (len(column) - 1)) / 2
        for spot in column:
            at[spot] = (layer * (WIDTH + GAP_X), round(y + size(spot) / 2, 1))
            y += size(spot) + GAP_Y
    return at, tall


def _line(start: Spot, end: Spot, at: Mapping[Spot, tuple[float, float]], depth: Mapping[str, int]) -> str:
    (x0, y0), (x1, y1) = at[start], at[end]
    x0 += WIDTH
    bend = GAP_X / 2
    road = f"M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}"
    return road if depth[end[0]] == end[1] else f"{road} H{x1 + WIDTH}"  # a lane goes straight through its layer


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
