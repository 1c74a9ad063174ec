"""Summarises a model: its layers with shapes and parameters, and its graph.

The shapes are measured: one batch runs through the network, and hooks note each layer's result. A
recipe without data runs on made-up cells.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
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
from plait.nn.blocks import count_parameters
from plait.nn.encoder import Encoder
from plait.nn.head import Head
from plait.package.format import shipped_models
from plait.pipeline.engine import Batch, Parts, build_parts, padded
from plait.render.console import console
from plait.runtime.engines import load
from plait.types import Fused, Tokens, UsageError
from plait.util.files import write_atomically
from plait.util.suggest import did_you_mean

RECORDS = 2  # in the batch
LONG_RUN = 5  # equal blocks from which the terminal shows a single line
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Layer:
    """One line of the summary.

    Attributes:
        name: its name within the part.
        kind: its class.
        shape: the shape of its result, such as ``(B, 49, 1280)``; empty if that is not a tensor.
        parameters: the number of parameters; ``trained`` of them are trainable.
    """

    name: str
    kind: str
    shape: str
    parameters: int
    trained: int

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
    """A node of the graph: its title, two lines about it, and whether it is trained."""

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
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "frozen": self.parameters - self.trained}


def summarise(what: str, overrides: list[str], out: Path | None, as_json: bool) -> None:
    """Print a model's or a recipe's layers and graph; with ``out``, draw the graph too.

    Args:
        what: a shipped model, a package's folder, a shipped recipe or a YAML file.
        overrides: ``path=value`` settings of a recipe.
        out: an .svg or .png file.
        as_json: print JSON instead of tables.

    Raises:
        UsageError: there is no such model or recipe, or ``out`` has another suffix.
    """
    if out is not None and out.suffix.lower() not in PICTURES:
        raise UsageError(f"can't draw to {out}", expected=f"a {' or '.join(PICTURES)} file")
    summary = summary_of(what, overrides)
    if out is not None:
        content = PICTURES[out.suffix.lower()](summary.graph)
        write_atomically(out, lambda part: part.write_bytes(content))
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
    known = [*shipped_models(), *shipped()]
    if what not in shipped() and Path(what).suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"there is no model or recipe {what!r}",
            expected=f"one of: {', '.join(known)}, a package's folder or a .yaml file",
            hint=did_you_mean(what, known),
        )
    recipe = load_recipe(what, overrides)
    parts = made_up_parts(build_parts(recipe))
    note = "no data was read: vocabularies and the like are as large as the recipe allows"
    # Shapes don't depend on the weights, which may be missing.
    network = build_network(recipe, parts, pretrained=False)
    return measure(what, recipe, parts, network, [note])


# Made-up data -------------------------------------------------------------------------------


def made_up_parts(parts: Parts) -> Parts:
    """Inputs and outputs fitted to made-up cells, with states as large as the recipe allows."""
    inputs = {f"inputs.{n}": m.fit(m.samples(), Path()) for n, m in parts.modalities.items()}
    outputs = {f"outputs.{n}": o.fit(o.samples(), Path()) for n, o in parts.outputs.items()}
    return parts.with_states({**inputs, **outputs})


def made_up_batch(parts: Parts, network: Network) -> Batch:
    """A batch of blank inputs and made-up targets."""
    engine, prepared, lengths = TorchEngine(network), {}, {}
    for name, modality in parts.modalities.items():
        rows = engine.prepare(name, [modality.example()] * RECORDS)
        prepared[name], lengths[name] = padded(rows, rows[0])
    targets = {name: [output.example()] * RECORDS for name, output in parts.outputs.items()}
    return Batch(prepared, lengths, targets)


# Measuring ----------------------------------------------------------------------------------


def measure(
    name: str,
    recipe: Recipe,
    parts: Parts,
    network: Network,
    notes: Sequence[str] = (),
) -> Summary:
    """Run a batch through the network, and summarise each layer and its result."""
    shapes = _shapes(parts, network.eval())
    measured = tuple(_part(at, module, shapes) for at, module in _parts(network))
    tensors = chain(network.parameters(), network.buffers())
    return Summary(
        name=name,
        about=recipe.about,
        parts=measured,
        parameters=count_parameters(network),
        trained=count_parameters(network, trainable=True),
        megabytes=round(sum(t.numel() * t.element_size() for t in tensors) / 1e6, 2),
        graph=_graph(recipe, parts, {part.name: part for part in measured}),
        notes=tuple(notes),
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
    if isinstance(result, Tokens):
        return result.values
    if isinstance(result, Fused):
        return result.tokens.values
    if isinstance(result, (tuple, list)):
        return next((t for t in map(_first_tensor, result) if t is not None), None)
    # The transformers library returns mappings.
    return _first_tensor(list(result.values())) if isinstance(result, Mapping) else None


def shape_text(shape: Sequence[int]) -> str:
    """``(B, 49, 1280)``; ``B·13`` if the first axis holds 13 rows per record."""
    if not shape:
        return "()"
    first, rest = shape[0], [str(size) for size in shape[1:]]
    many, left = divmod(first, RECORDS)
    batch = str(first) if left or not many else "B" if many == 1 else f"B·{many}"
    return f"({', '.join([batch, *rest])})"


def _parts(network: Network) -> Iterator[tuple[str, nn.Module]]:
    """Encoders, adapters, fusion and heads by path, in the order of the data flow."""
    flow = ("encoders", "adapters", "fusion", "heads")
    for at, module in sorted(network.named_children(), key=lambda item: flow.index(item[0])):
        if isinstance(module, nn.ModuleDict):
            yield from ((f"{at}.{name}", child) for name, child in module.items())
        else:
            yield at, module


def _part(at: str, module: nn.Module, shapes: Mapping[nn.Module, str]) -> Part:
    layers: tuple[Layer, ...] = ()
    if isinstance(module, (Encoder, Head)):  # adapters and fusion are one line each
        layers = tuple(_layers(module, shapes, 0))
    line = _layer(at, module, shapes)
    # A head is not called but asked for its loss: its decoder tells the shape.
    shape = line.shape or next((shapes[c] for c in module.children() if c in shapes), "")
    return Part(at, line.kind, shape, line.parameters, line.trained, layers)


def _layer(name: str, module: nn.Module, shapes: Mapping[nn.Module, str]) -> Layer:
    trained = count_parameters(module, trainable=True)
    shape = shapes.get(module, "")
    return Layer(name, type(module).__name__, shape, count_parameters(module), trained)


def _layers(module: nn.Module, shapes: Mapping[nn.Module, str], depth: int) -> Iterator[Layer]:
    """The layers that get a line each; those without parameters are left out."""
    for name, parameter in module.named_parameters(recurse=False):
        count = parameter.numel()
        shape = f"({', '.join(map(str, parameter.shape))})"
        yield Layer(name, "Parameter", shape, count, count * parameter.requires_grad)
    inside = isinstance(module, CONTAINERS)
    for name, child in module.named_children():
        if _opens(child, inside, depth):
            for layer in _layers(child, shapes, depth + 1):
                values = (layer.kind, layer.shape, layer.parameters, layer.trained)
                yield Layer(f"{name}.{layer.name}", *values)
        elif count_parameters(child):
            yield _layer(name, child, shapes)


def _opens(module: nn.Module, inside: bool, depth: int) -> bool:
    """Whether a module's children get lines of their own.

    A child of a container is a stage or block, and gets one line. Otherwise containers, the first
    level of a part (decoder, trunk) and modules with a stack of blocks are opened.
    """
    if inside or not list(module.children()):
        return False
    return depth == 0 or isinstance(module, CONTAINERS) or _holds_blocks(module)


def _holds_blocks(module: nn.Module) -> bool:
    stacks = [child for child in module.children() if isinstance(child, nn.ModuleList)]
    blocks = [block for stack in stacks for block in stack]
    return any(list(b.children()) and not isinstance(b, CONTAINERS) for b in blocks)


# The graph ----------------------------------------------------------------------------------


def _graph(recipe: Recipe, parts: Parts, measured: Mapping[str, Part]) -> Graph:
    lanes = []
    for name, spec in recipe.inputs.items():
        example = parts.modalities[name].example()
        shape = shape_text((RECORDS, *example.shape))
        kind = str(spec.representation["kind"])
        lanes.append(
            (
                Box(name, (f"input: {spec.modality}", shape)),
                _box(kind, "representation", measured[f"encoders.{name}"]),
                _box("adapter", "to the fusion's width", measured[f"adapters.{name}"]),
            )
        )
    outputs = [
        _box(f"output: {spec.kind}", name, measured[f"heads.{name}"])
        for name, spec in recipe.outputs.items()
    ]
    fusion = _box(f"fusion: {recipe.fusion['kind']}", "of the inputs", measured["fusion"])
    return Graph(tuple(lanes), fusion, tuple(outputs))


def _box(title: str, about: str, part: Part) -> Box:
    size = f"{short_count(part.parameters)} {part.state}" if part.parameters else "no parameters"
    return Box(title, tuple(line for line in (about, part.shape, size) if line), part.state)


def short_count(count: int) -> str:
    """3,378,912 -> ``3.4 M``."""
    for size, unit in ((1_000_000, " M"), (1_000, " k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


# The terminal -------------------------------------------------------------------------------

COLOURS = {"trained": "green", "frozen": "blue", "partly trained": "cyan", "": "default"}


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
    to.print(_drawing(summary.graph))


def _table(summary: Summary) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("layer", overflow="fold")
    table.add_column("kind", overflow="fold")
    table.add_column("shape", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for part in summary.parts:
        table.add_row(*_cells(part, ""), style="bold")
        for layer in _runs_together(part.layers):
            table.add_row(*_cells(layer, "  "))
        table.add_section()
    return table


def _runs_together(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Long runs of equal blocks as one line, ``block17.0…19``, with the sum of their parameters."""
    for _, group in groupby(layers, lambda x: (x.kind, x.shape, x.parameters, x.trained)):
        run = list(group)
        if len(run) < LONG_RUN:
            yield from run
            continue
        first, count = run[0], len(run)
        name = f"{first.name}…{run[-1].name.rpartition('.')[2]}"
        sums = (count * first.parameters, count * first.trained)
        yield Layer(name, f"{count} × {first.kind}", first.shape, *sums)


def _cells(layer: Layer, indent: str) -> list[str | Text]:
    colour = COLOURS[layer.state]
    state = Text(layer.state.split(" ")[0], colour)
    return [indent + layer.name, layer.kind, layer.shape, f"{layer.parameters:,}", state]


def _drawing(graph: Graph) -> RenderableType:
    """The lanes side by side, each from top to bottom; then fusion; then the outputs."""
    lanes = _beside([Group(*_down([_panel(b) for b in lane])) for lane in graph.lanes])
    outputs = _beside([_panel(b) for b in graph.outputs])
    return Group(*_down([lanes, _panel(graph.fusion), outputs]))


def _down(items: Sequence[RenderableType]) -> Iterator[RenderableType]:
    for i, item in enumerate(items):
        if i:
            yield Align.center("↓")
        yield Align.center(item)


def _beside(items: Sequence[RenderableType]) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_row(*items)
    return grid


def _panel(node: Box) -> RenderableType:
    return Panel.fit(
        Text("\n".join(node.lines), justify="center"),
        title=Text(node.title),
        border_style=COLOURS[node.state],
    )


# Pictures -----------------------------------------------------------------------------------

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 190, 96, 46, 26, 28
STEPS = 5  # input, representation, adapter, fusion, output
INK, SOFT, EDGE, PAPER = "#1d1d22", "#5c5c66", "#8a8a96", "#ffffff"
FILLS = {
    "trained": ("#e4f3ea", "#2f855a"),
    "frozen": ("#e4ecf7", "#2b5d9b"),
    "partly trained": ("#e0f2f3", "#24808a"),
    "": ("#f4f2ec", "#8c8470"),
}
"""State -> fill and border of a box."""
SCALE = 2  # PNG pixels per unit


@dataclass(frozen=True)
class Placed:
    """A box with the position of its top left corner."""

    box: Box
    x: float
    y: float

    @property
    def middle(self) -> float:
        """The height at which lines touch it."""
        return self.y + HEIGHT / 2


def place(graph: Graph) -> tuple[list[Placed], list[tuple[Placed, Placed]], tuple[int, int]]:
    """The boxes in five columns, the pairs joined by a line, and the size of the image."""
    rows = max(len(graph.lanes), len(graph.outputs))
    height = 2 * MARGIN + rows * HEIGHT + (rows - 1) * GAP_Y
    lanes = [
        _column(boxes, step, height) for step, boxes in enumerate(zip(*graph.lanes, strict=True))
    ]
    (fusion,) = _column([graph.fusion], STEPS - 2, height)
    outputs = _column(graph.outputs, STEPS - 1, height)
    lines = [pair for a, b in pairwise(lanes) for pair in zip(a, b, strict=True)]
    lines += [(placed, fusion) for placed in lanes[-1]]
    lines += [(fusion, placed) for placed in outputs]
    width = 2 * MARGIN + STEPS * WIDTH + (STEPS - 1) * GAP_X
    return [*chain(*lanes), fusion, *outputs], lines, (width, height)


def _column(boxes: Sequence[Box], step: int, height: int) -> list[Placed]:
    """Boxes below each other, vertically centred."""
    top = (height - len(boxes) * HEIGHT - (len(boxes) - 1) * GAP_Y) / 2
    x = MARGIN + step * (WIDTH + GAP_X)
    return [Placed(node, x, top + i * (HEIGHT + GAP_Y)) for i, node in enumerate(boxes)]


def svg(graph: Graph) -> bytes:
    """The graph as SVG."""
    boxes, lines, (width, height) = place(graph)
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif">\n'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>\n'
        + "".join(_svg_line(a, b) for a, b in lines)
        + "".join(_svg_box(placed) for placed in boxes)
        + "</svg>\n"
    )
    return text.encode()


def _svg_line(a: Placed, b: Placed) -> str:
    x1, x2, bend = a.x + WIDTH, b.x - 7, GAP_X / 2
    path = f"M{x1} {a.middle}C{x1 + bend} {a.middle} {x2 - bend} {b.middle} {x2} {b.middle}"
    head = f"M{b.x - 9} {b.middle - 5}L{b.x - 1} {b.middle}L{b.x - 9} {b.middle + 5}Z"
    return (
        f'<path d="{path}" fill="none" stroke="{EDGE}" stroke-width="1.6"/>'
        f'<path d="{head}" fill="{EDGE}"/>\n'
    )


def _svg_box(placed: Placed) -> str:
    fill, border = FILLS[placed.box.state]
    texts = "".join(
        f'<text x="{placed.x + WIDTH / 2}" y="{y + 4.5}" font-size="{size}" fill="{colour}" '
        f'text-anchor="middle"{weight}>{escape(line)}</text>'
        for line, y, size, colour, weight in _texts(placed)
    )
    return (
        f'<rect x="{placed.x}" y="{placed.y}" width="{WIDTH}" height="{HEIGHT}" rx="10" '
        f'fill="{fill}" stroke="{border}" stroke-width="1.5"/>{texts}\n'
    )


def _texts(placed: Placed) -> Iterator[tuple[str, float, int, str, str]]:
    """Each line of a box: text, middle height, font size, colour, SVG weight."""
    lines = [placed.box.title, *placed.box.lines]
    top = placed.middle - (len(lines) - 1) * 10
    for i, line in enumerate(lines):
        style = (13, SOFT, "") if i else (15, INK, ' font-weight="600"')
        yield (_cut(line), top + 20 * i, *style)


def _cut(line: str, most: int = 26) -> str:
    return line if len(line) <= most else line[: most - 1] + "…"


def png(graph: Graph) -> bytes:
    """The graph as PNG."""
    boxes, lines, (width, height) = place(graph)
    image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
    draw = ImageDraw.Draw(image)
    for a, b in lines:
        _draw_line(draw, a, b)
    for placed in boxes:
        _draw_box(draw, placed)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _draw_line(draw: ImageDraw.ImageDraw, a: Placed, b: Placed) -> None:
    x1, x2, middle = a.x + WIDTH, b.x - 7, (a.x + WIDTH + b.x - 7) / 2
    corners = [(x1, a.middle), (middle, a.middle), (middle, b.middle), (x2, b.middle)]
    draw.line([_scaled(*p) for p in corners], EDGE, round(1.6 * SCALE), joint="curve")
    head = [(b.x - 9, b.middle - 5), (b.x - 1, b.middle), (b.x - 9, b.middle + 5)]
    draw.polygon([_scaled(*p) for p in head], EDGE)


def _draw_box(draw: ImageDraw.ImageDraw, placed: Placed) -> None:
    fill, border = FILLS[placed.box.state]
    corners = [_scaled(placed.x, placed.y), _scaled(placed.x + WIDTH, placed.y + HEIGHT)]
    draw.rounded_rectangle(corners, 10 * SCALE, fill, border, round(1.5 * SCALE))
    for line, y, size, colour, _ in _texts(placed):
        at = _scaled(placed.x + WIDTH / 2, y)
        draw.text(at, line, colour, ImageFont.load_default(size * SCALE), anchor="mm")


def _scaled(x: float, y: float) -> tuple[float, float]:
    return x * SCALE, y * SCALE


PICTURES: dict[str, Callable[[Graph], bytes]] = {".svg": svg, ".png": png}
