"""Summarises a model: its layers with shapes and parameters, and its graph.

The shapes are measured: one batch runs through the network, and hooks note each layer's result. A
recipe without data runs on made-up cells.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from rich import box
from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text
from torch import Tensor, nn

from plait.config.recipe import Recipe, load_recipe, shipped
from plait.network import Network, TorchEngine, build_network
from plait.nn.base import Encoder, Head
from plait.nn.blocks import count_parameters
from plait.package.format import shipped_models
from plait.pipeline.engine import Batch, Parts, build_parts, padded
from plait.render.console import console
from plait.render.html import render
from plait.runtime.engines import load
from plait.types import Fused, Tokens, UsageError
from plait.util.files import write_atomically
from plait.util.suggest import did_you_mean

RECORDS = 2  # in the batch
LONG_RUN = 5  # equal blocks from which the terminal shows a single line
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
COLOURS = {
    "trained": ("green", "#e4f3ea", "#2f855a"),
    "frozen": ("blue", "#e4ecf7", "#2b5d9b"),
    "partly trained": ("cyan", "#e0f2f3", "#24808a"),
    "": ("default", "#f4f2ec", "#8c8470"),
}
"""State -> colour on a terminal, fill and border of a box in a picture."""


@dataclass(frozen=True)
class Layer:
    """One line of the summary."""

    name: str  # within the part
    kind: str  # its class
    shape: str  # of its result, such as "(B, 49, 1280)"; empty if that is not a tensor
    parameters: int
    trained: int  # how many of them

    @property
    def state(self) -> str:
        """``trained``, ``frozen``, ``partly trained``, or empty without parameters."""
        if not self.parameters:
            return ""
        return {0: "frozen", self.parameters: "trained"}.get(self.trained, "partly trained")


@dataclass(frozen=True)
class Part(Layer):
    """An encoder, adapter, fusion or head, with its layers."""

    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Box:
    """A node of the graph: its title, the lines about it, and whether it is trained."""

    title: str
    lines: tuple[str, ...]
    state: str = ""


@dataclass(frozen=True)
class Graph:
    """A lane of boxes for each input, then fusion, then each output."""

    lanes: tuple[tuple[Box, ...], ...]
    fusion: Box
    outputs: tuple[Box, ...]


@dataclass(frozen=True)
class Summary:
    """The summary of a model; the parameters of its parts add up to the total."""

    name: str
    about: str
    parts: tuple[Part, ...]
    parameters: int
    trained: int
    megabytes: float
    graph: Graph
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "frozen": self.parameters - self.trained}


def summarise(what: str, overrides: list[str], out: Path | None, as_json: bool) -> None:
    """Print a model's or a recipe's layers and graph.

    Args:
        what: a shipped model, a package's folder, a shipped recipe or a YAML file.
        overrides: ``path=value`` settings of a recipe.
        out: an .svg or .png file for the graph.
        as_json: print JSON instead of tables.

    Raises:
        UsageError: there is no such model or recipe, or ``out`` has another suffix.
    """
    if out is not None and out.suffix.lower() not in PICTURES:
        raise UsageError(f"can't draw to {out}", expected=f"a {' or '.join(PICTURES)} file")
    summary = summary_of(what, overrides)
    if out is not None:
        write_atomically(out, PICTURES[out.suffix.lower()](summary.graph))
    if as_json:
        print(json.dumps(summary.to_json(), ensure_ascii=False, indent=2))
    else:
        show(summary, console)
        if out is not None:
            console.print(f"the graph is in {out}")


def summary_of(what: str, overrides: Sequence[str] = ()) -> Summary:
    """The summary of a model (its name or folder) or of a recipe (its name or file)."""
    if Path(what).is_dir() or what in shipped_models():
        if overrides:
            raise UsageError(
                "the settings of a trained model can't be changed", expected="a recipe"
            )
        model = load(what)
        return measure(what, model.recipe, model.parts, model.network)
    if what not in shipped() and Path(what).suffix not in (".yaml", ".yml"):
        known = [*shipped_models(), *shipped()]
        raise UsageError(
            f"there is no model or recipe {what!r}",
            expected=f"one of: {', '.join(known)}, a package's folder or a .yaml file",
            hint=did_you_mean(what, known),
        )
    recipe = load_recipe(what, overrides)
    parts = made_up_parts(build_parts(recipe))
    note = "no data was read: vocabularies and the like are as large as the recipe allows"
    # Shapes don't depend on the weights, which may be missing.
    return measure(what, recipe, parts, build_network(recipe, parts, pretrained=False), note)


def made_up_parts(parts: Parts) -> Parts:
    """Inputs and outputs fitted to made-up cells, with states as large as the recipe allows."""
    inputs = {f"inputs.{n}": m.fit(m.samples(), Path()) for n, m in parts.modalities.items()}
    outputs = {f"outputs.{n}": o.fit(o.samples(), Path()) for n, o in parts.outputs.items()}
    return parts.with_inputs({**inputs, **outputs})


def made_up_batch(parts: Parts, network: Network) -> Batch:
    """A batch of blank inputs and made-up targets."""
    engine, prepared, lengths = TorchEngine(network), {}, {}
    for name, modality in parts.modalities.items():
        rows = engine.prepare(name, [modality.example()] * RECORDS)
        prepared[name], lengths[name] = padded(rows, rows[0])
    targets = {name: [output.example()] * RECORDS for name, output in parts.outputs.items()}
    return Batch(prepared, lengths, targets)


# Measuring ----------------------------------------------------------------------------------


def measure(name: str, recipe: Recipe, parts: Parts, network: Network, *notes: str) -> Summary:
    """Run a batch through the network, and summarise each layer and its result."""
    shapes = _shapes(parts, network.eval())
    modules: dict[str, nn.Module] = {
        **{f"encoders.{name}": module for name, module in network.encoders.items()},
        **{f"adapters.{name}": module for name, module in network.adapters.items()},
        "fusion": network.fusion,
        **{f"heads.{name}": module for name, module in network.heads.items()},
    }
    measured = {at: _part(at, module, shapes) for at, module in modules.items()}
    tensors = chain(network.parameters(), network.buffers())
    return Summary(
        name=name,
        about=recipe.about,
        parts=tuple(measured.values()),
        parameters=count_parameters(network),
        trained=count_parameters(network, trainable=True),
        megabytes=round(sum(t.numel() * t.element_size() for t in tensors) / 1e6, 2),
        graph=_graph(recipe, parts, measured),
        notes=notes,
    )


@torch.no_grad()
def _shapes(parts: Parts, network: Network) -> dict[nn.Module, str]:
    """The shape of each module's first result, as text."""
    shapes: dict[nn.Module, str] = {}

    def note(module: nn.Module, inputs: Any, result: Any) -> None:
        tensor = _first_tensor(result)
        if tensor is not None:
            shapes.setdefault(module, shape_text(tensor.shape))

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        network(made_up_batch(parts, network))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _first_tensor(result: Any) -> Tensor | None:
    if isinstance(result, Tensor):
        return result
    if isinstance(result, Fused):
        result = result.tokens
    if isinstance(result, Tokens):
        return result.values
    if isinstance(result, Mapping):  # as the transformers library returns
        result = list(result.values())
    if isinstance(result, (tuple, list)):
        return next((t for t in map(_first_tensor, result) if t is not None), None)
    return None


def shape_text(shape: Sequence[int]) -> str:
    """``(B, 49, 1280)``; ``B·13`` if the first axis holds 13 rows per record."""
    if not shape:
        return "()"
    first, rest = shape[0], [str(size) for size in shape[1:]]
    many, left = divmod(first, RECORDS)
    batch = str(first) if left or not many else "B" if many == 1 else f"B·{many}"
    return f"({', '.join([batch, *rest])})"


def _part(at: str, module: nn.Module, shapes: Mapping[nn.Module, str]) -> Part:
    opened = isinstance(module, (Encoder, Head))  # adapters and fusion are one line each
    layers = tuple(_layers(module, shapes)) if opened else ()
    # A head is not called but asked for its loss: its decoder tells the shape.
    own = [shapes[m] for m in (module, *module.children()) if m in shapes]
    return Part(at, type(module).__name__, next(iter(own), ""), *_counts(module), layers)


def _counts(module: nn.Module) -> tuple[int, int]:
    return count_parameters(module), count_parameters(module, trainable=True)


def _layers(
    module: nn.Module, shapes: Mapping[nn.Module, str], before: str = "", depth: int = 0
) -> Iterator[Layer]:
    """The layers that get a line each, named from ``before`` on; those without parameters are left
    out.

    A child of a container is a stage or block, and gets one line. Otherwise containers, the first
    level of a part (decoder, trunk) and modules with a stack of blocks are opened.
    """
    for name, parameter in module.named_parameters(recurse=False):
        count = parameter.numel()
        shape = f"({', '.join(map(str, parameter.shape))})"
        yield Layer(before + name, "Parameter", shape, count, count * parameter.requires_grad)
    for name, child in module.named_children():
        opens = depth == 0 or isinstance(child, CONTAINERS) or _holds_blocks(child)
        if opens and list(child.children()) and not isinstance(module, CONTAINERS):
            yield from _layers(child, shapes, f"{before}{name}.", depth + 1)
        elif count_parameters(child):
            kind, shape = type(child).__name__, shapes.get(child, "")
            yield Layer(before + name, kind, shape, *_counts(child))


def _holds_blocks(module: nn.Module) -> bool:
    stacks = [child for child in module.children() if isinstance(child, nn.ModuleList)]
    blocks = chain(*stacks)
    return any(list(b.children()) and not isinstance(b, CONTAINERS) for b in blocks)


def _graph(recipe: Recipe, parts: Parts, measured: Mapping[str, Part]) -> Graph:
    def node(title: str, about: str, part: Part) -> Box:
        size = f"{short_count(part.parameters)} {part.state}" if part.state else "no parameters"
        return Box(title, tuple(line for line in (about, part.shape, size) if line), part.state)

    lanes, to_fusion = [], "to the fusion's width"
    for name, spec in recipe.inputs.items():
        shape = shape_text((RECORDS, *parts.modalities[name].example().shape))
        kind = str(spec.representation["kind"])
        encoder = node(kind, "representation", measured[f"encoders.{name}"])
        adapter = node("adapter", to_fusion, measured[f"adapters.{name}"])
        lanes.append((Box(name, (f"input: {spec.modality}", shape)), encoder, adapter))
    fusion = node(f"fusion: {recipe.fusion['kind']}", "of the inputs", measured["fusion"])
    outputs = [
        node(f"output: {spec.kind}", name, measured[f"heads.{name}"])
        for name, spec in recipe.outputs.items()
    ]
    return Graph(tuple(lanes), fusion, tuple(outputs))


def short_count(count: int) -> str:
    """3,378,912 -> ``3.4 M``."""
    for size, unit in ((1_000_000, " M"), (1_000, " k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


# The terminal -------------------------------------------------------------------------------


def show(summary: Summary, to: Console) -> None:
    """Print layers, totals and graph."""
    to.print(Text.assemble((summary.name, "bold"), "  ", summary.about))
    to.print(_table(summary))
    to.print(
        f"{summary.parameters:,} parameters: {summary.trained:,} trained, "
        f"{summary.parameters - summary.trained:,} frozen; {summary.megabytes:,} MB"
    )
    for note in summary.notes:
        to.print(f"({note})")
    to.print()
    graph = summary.graph
    lanes = _beside(_down(_panel(node) for node in lane) for lane in graph.lanes)
    outputs = _beside(_panel(node) for node in graph.outputs)
    to.print(_down([lanes, _panel(graph.fusion), outputs]))


def _table(summary: Summary) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("layer", overflow="fold")
    table.add_column("kind", overflow="fold")
    table.add_column("shape", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for part in summary.parts:
        for layer in (part, *_runs_together(part.layers)):
            name, style = (layer.name, "bold") if layer is part else (f"  {layer.name}", "")
            state = Text(layer.state.split(" ")[0], COLOURS[layer.state][0])
            cells = (name, layer.kind, layer.shape, f"{layer.parameters:,}", state)
            table.add_row(*cells, style=style)
        table.add_section()
    return table


def _runs_together(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Long runs of equal blocks as one line, ``block17.0…19``, with the sum of their parameters."""
    for _, group in groupby(layers, lambda x: (x.kind, x.shape, x.parameters, x.trained)):
        run = list(group)
        if len(run) >= LONG_RUN:
            first, count = run[0], len(run)
            name = f"{first.name}…{run[-1].name.rpartition('.')[2]}"
            sums = (count * first.parameters, count * first.trained)
            run = [Layer(name, f"{count} × {first.kind}", first.shape, *sums)]
        yield from run


def _down(items: Iterable[RenderableType]) -> Group:
    """Each item below the one before, joined by arrows."""
    first, *others = map(Align.center, items)
    return Group(first, *chain(*((Align.center("↓"), item) for item in others)))


def _beside(items: Iterable[RenderableType]) -> RichTable:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_row(*items)
    return grid


def _panel(node: Box) -> Panel:
    lines = Text("\n".join(node.lines), justify="center")
    return Panel.fit(lines, title=Text(node.title), border_style=COLOURS[node.state][0])


# Pictures -----------------------------------------------------------------------------------

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 190, 96, 46, 26, 28
STEPS = 5  # input, representation, adapter, fusion, output
LONGEST = 26  # characters of a line
INK, SOFT, EDGE, PAPER = "#1d1d22", "#5c5c66", "#8a8a96", "#ffffff"
SCALE = 2  # PNG pixels per unit


@dataclass(frozen=True)
class Placed:
    """A box, its left side, and the height of its middle, where lines touch it."""

    box: Box
    x: float
    y: float

    @property
    def texts(self) -> Iterator[tuple[str, float, int, str]]:
        """Each line of the box, the height of its middle, its font size and colour."""
        lines = [self.box.title, *self.box.lines]
        for i, line in enumerate(lines):
            text = line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
            yield text, self.y + 20 * i - (len(lines) - 1) * 10, *((13, SOFT) if i else (15, INK))


def place(graph: Graph) -> tuple[list[Placed], list[tuple[Placed, Placed]], tuple[int, int]]:
    """The boxes in five columns, the pairs joined by a line, and the size of the image."""
    rows = max(len(graph.lanes), len(graph.outputs))
    width = 2 * MARGIN + STEPS * (WIDTH + GAP_X) - GAP_X
    height = 2 * MARGIN + rows * (HEIGHT + GAP_Y) - GAP_Y
    columns: list[list[Placed]] = []
    for step, boxes in enumerate([*zip(*graph.lanes, strict=True), [graph.fusion], graph.outputs]):
        first = (height - (len(boxes) - 1) * (HEIGHT + GAP_Y)) / 2  # vertically centred
        x = MARGIN + step * (WIDTH + GAP_X)
        columns.append([Placed(b, x, first + i * (HEIGHT + GAP_Y)) for i, b in enumerate(boxes)])
    *lanes, (fusion,), outputs = columns
    lines = [pair for a, b in pairwise(lanes) for pair in zip(a, b, strict=True)]
    lines += [(placed, fusion) for placed in lanes[-1]] + [(fusion, placed) for placed in outputs]
    return [*chain(*columns)], lines, (width, height)


def svg(graph: Graph) -> bytes:
    """The graph as SVG."""
    boxes, lines, (width, height) = place(graph)
    text = render(
        "tasks/graph.svg", boxes=boxes, lines=lines, width=width, height=height, across=WIDTH,
        down=HEIGHT, gap=GAP_X, colours=COLOURS, edge=EDGE, paper=PAPER,
    )  # fmt: skip
    return text.encode()


def png(graph: Graph) -> bytes:
    """The graph as PNG."""
    boxes, lines, (width, height) = place(graph)
    image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
    draw = ImageDraw.Draw(image)

    def scaled(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * SCALE, y * SCALE) for x, y in points]

    for a, b in lines:
        start, end = a.x + WIDTH, b.x - 7
        bend = (start + end) / 2
        corners = scaled((start, a.y), (bend, a.y), (bend, b.y), (end, b.y))
        draw.line(corners, EDGE, round(1.6 * SCALE), joint="curve")
        draw.polygon(scaled((b.x - 9, b.y - 5), (b.x - 1, b.y), (b.x - 9, b.y + 5)), EDGE)
    for placed in boxes:
        _, fill, border = COLOURS[placed.box.state]
        top, bottom = placed.y - HEIGHT / 2, placed.y + HEIGHT / 2
        corners = scaled((placed.x, top), (placed.x + WIDTH, bottom))
        draw.rounded_rectangle(corners, 10 * SCALE, fill, border, round(1.5 * SCALE))
        for line, y, size, colour in placed.texts:
            (middle,) = scaled((placed.x + WIDTH / 2, y))
            draw.text(middle, line, colour, ImageFont.load_default(size * SCALE), anchor="mm")
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


PICTURES: dict[str, Callable[[Graph], bytes]] = {".svg": svg, ".png": png}
