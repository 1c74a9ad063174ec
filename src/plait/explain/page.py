"""An explanation as a page: one file that links to nothing, for a screen, a phone or paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from plait.explain.attribution import ABOUT, ATTENTION, OCCLUSION
from plait.explain.explanation import Explanation, Method, Neighbour, Seen, Step
from plait.modalities.segments import SEGMENTS_STYLE, Segments, Weights
from plait.render.charts import CHART_STYLE, bars
from plait.render.html import page, picture_uri, shown, signed

CLASSES = 6  # whose probabilities are shown
SIDE = 240  # pixels of a neighbour's picture
STYLE = (
    CHART_STYLE
    + SEGMENTS_STYLE
    + """
.panel { background: var(--card); border: 1px solid var(--line); border-radius: .8rem;
  padding: 1rem 1.1rem; break-inside: avoid; }
.panel + .panel, .panel + .maps, .maps + .panel { margin-top: 1rem; }
.maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr));
  gap: 1rem; align-items: start; }
.steps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 11.5rem), 1fr));
  gap: .8rem; }
.maps figure, .steps figure { padding: .8rem; max-width: 34rem; }
.broad { grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
.broad figure { max-width: none; }
figcaption { font-size: .9rem; } figcaption strong { display: block; font-size: 1rem; }
figcaption small, .note { color: var(--soft); font-size: .84rem; }
.note { margin: .7rem 0 0; }
.maps figcaption { margin-bottom: .6rem; }
.steps figcaption { margin-top: .5rem; }
.checks { width: 100%; border-collapse: collapse; font-size: .84rem; margin-top: .7rem;
  font-variant-numeric: tabular-nums; color: var(--soft); }
.checks { max-width: 26rem; } .checks td { white-space: nowrap; }
.checks th { font-weight: 400; text-align: left; white-space: nowrap; }
.checks td { text-align: right; }
.checks b { color: var(--ink); font-weight: 600; }
.steps ul { list-style: none; margin: .35rem 0 0; padding: 0; color: var(--soft);
  font-size: .84rem; }
.steps .bars { font-size: .8rem; margin-top: .5rem; }
.near { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 12rem), 1fr));
  gap: .8rem; }
.near img { width: 100%; height: 9rem; object-fit: contain; background: var(--shade);
  display: block; }
.near figcaption { padding: .7rem .8rem; overflow-wrap: anywhere; }
.how p { color: var(--soft); font-size: .92rem; max-width: 60rem; }
.steps figure > small { display: block; margin: .3rem 0 .15rem; color: var(--soft); }
h1 small { display: block; font-size: .9rem; font-weight: 400; color: var(--soft);
  letter-spacing: 0; margin-bottom: .3rem; }
@media print { .maps { grid-template-columns: 1fr 1fr; } .steps { grid-template-columns:
  repeat(4, 1fr); } }
"""
)
HOW_TO_READ = """
<section class="how"><h2>How to read this page</h2>
<p>What the model <b>thinks</b> of its answer is a class's probability, the mean log-probability of
a text's words or other units, the geometric mean of the probabilities of labels' yeses and noes; of
a number it is the number itself. Blue speaks for the answer, or pushes a number up, orange against
it, or down; the strongest colour is the heaviest part of its drawing. <b>Occlusion</b> hides one
part at a time and says what the model then thinks less of its answer. <b>Integrated gradients</b>
add up, on the way from no input to this one, how much each token moves the answer. <b>Attention</b>
is where the model looked; what it looked at need not be what it relied on.</p>
<p><b>Deletion</b>: the heaviest parts are hidden first, and what the model thinks of its answer is
averaged on the way; low is good (↓). <b>Insertion</b>: the heaviest parts are shown first; high is
good (↑). A method is worth trusting on this record where both beat chance, which is parts in random
order. <b>Likeness</b> to random weights is the rank correlation with the same map of a model that
has learned nothing, from −1 to 1: near 1, the map shows the input and not what was learned.</p>
<p>An input's <b>share</b> is its Shapley value: what it adds to what the model thinks of its
answer, averaged over all orders in which the inputs could come. A pair's <b>interaction</b> is
what both add beyond that: above zero they need each other, below zero one could stand for the
other.</p></section>
"""


def explanation_page(found: Explanation) -> str:
    """The whole page."""
    sections = [_head(found), _shares(found)]
    sections += [_input(n, name, seen) for n, (name, seen) in enumerate(found.inputs.items())]
    sections += [_steps(found), _nearest(found), HOW_TO_READ]
    title = f"Why {found.model} answered {shown(found.prediction.value)}"
    return page(title[:120], "".join(sections), STYLE)


def _head(found: Explanation) -> str:
    about = f"{found.model}, {found.output}: its answer, and why"
    probabilities = found.asked.probabilities(found.prediction).items()
    rows = [(shown(value), p, f"{p:.1%}") for value, p in probabilities]
    likely = f'<div class="panel">{bars(rows[:CLASSES])}</div>' if rows else ""
    if (ends := found.asked.bounds(found.prediction)) is not None:
        low, high = ends
        likely = f'<p class="about">between {low:.4g} and {high:.4g}, most likely</p>'
    return (
        f"<header><h1><small>{escape(about)}</small>{escape(shown(found.prediction.value))}</h1>"
        f"</header>\n<p></p>{likely}"
    )


def _shares(found: Explanation) -> str:
    """Of several inputs: what each adds, how they work together, and which are enough."""
    if len(found.shares) < 2:
        return ""
    rows = [(name, share, signed(share)) for name, share in found.shares.items()]
    rows += [(f"{a} × {b}", v, signed(v)) for (a, b), v in found.pairs.items()]
    return (
        f'<h2>What each input adds</h2>\n<div class="panel">{bars(rows)}'
        f'<p class="note">{escape(found.enough)} Two inputs with × between them: what they '
        "are worth together, beyond what each is worth alone.</p></div>\n"
    )


def _input(number: int, name: str, seen: Seen) -> str:
    """Its drawing by each method."""
    at = f"input-{number}"
    symbol, count = seen.layout.symbol(at), len(seen.layout.parts)
    broad = " broad" if seen.layout.broad else ""
    figures = [_plain(seen.layout, at)] if symbol else []
    figures += [_map(seen, at, method, of) for method, of in seen.methods.items()]
    note = f'<p class="note">{_enough(seen)}</p>' if count > 1 else ""
    return (
        f"<h2>{escape(name)}</h2>\n{symbol}"
        f'<div class="maps{broad}">{"".join(figures)}</div>{note}\n'
    )


def _enough(seen: Seen) -> str:
    """How many of its heaviest parts keep the answer, and which numbers were tried."""
    *most, last = map(str, seen.tried)
    tried = f"{', '.join(most)} or {last}" if most else last
    if seen.enough is None:
        return f"The answer was another one with its {tried} heaviest parts alone."
    some = "heaviest part" if seen.enough == 1 else f"{seen.enough} heaviest parts"
    count = len(seen.layout.parts)
    return f"With its {some} alone, of {count}, the answer is the same (tried: {tried})."


def _plain(layout: Segments, at: str) -> str:
    """What the model saw, nothing coloured."""
    return (
        "<figure><figcaption><strong>Input</strong>as the model gets it</figcaption>"
        f"{layout.drawing(np.zeros(len(layout.parts)), at)}</figure>"
    )


def _map(seen: Seen, at: str, name: str, method: Method) -> str:
    return (
        f"<figure><figcaption><strong>{name.capitalize()}</strong>{ABOUT[name]}</figcaption>"
        f"{seen.layout.drawing(method.attribution.weights, at)}{_checks(seen, method)}</figure>"
    )


def _checks(seen: Seen, method: Method) -> str:
    """The areas beside those of a random order, and the likeness to a model without learning."""
    own, chance = method.curves, seen.chance
    rows = [
        _check("deletion ↓", own.deletion.area, chance.deletion.area, low=True),
        _check("insertion ↑", own.insertion.area, chance.insertion.area, low=False),
    ]
    like = "–" if method.likeness is None else signed(method.likeness, 2)
    rows.append(f"<tr><th>likeness</th><td>{like}</td><td></td></tr>")
    head = "<tr><th></th><td>area</td><td>by chance</td></tr>"
    return f'<table class="checks">{head}{"".join(rows)}</table>'


def _check(what: str, area: float, chance: float, low: bool) -> str:
    good = area < chance if low else area > chance
    number = f"<b>{area:.3f}</b> ✓" if good else f"{area:.3f}"
    return f"<tr><th>{what}</th><td>{number}</td><td>{chance:.3f}</td></tr>"


def _steps(found: Explanation) -> str:
    """A card a word: where it looked, or what it needed; what else it might have been."""
    if not found.steps:
        return ""
    looked = {name: where for name, seen in found.inputs.items() if (where := _looked(found, seen))}
    at = {name: f"input-{number}" for number, name in enumerate(found.inputs)}
    added = [value for step in found.steps for value in step.relied.values()]
    ends, cards = (min(added, default=0.0), max(added, default=0.0)), []
    for number, step in enumerate(found.steps):
        drawings = [
            (f"<small>{escape(name)}</small>" if len(looked) > 1 else "")
            + found.inputs[name].layout.drawing(where[number], at[name])
            for name, where in looked.items()
        ]
        cards.append(_step(step, "".join(drawings), ends))
    return (
        "<h2>Step by step</h2>\n"
        f'<div class="steps">{"".join(cards)}</div><p class="note">Of each word, or other unit: '
        "where it was looked for, its probability, what each input adds to its log-probability, "
        "and what else might have stood there.</p>\n"
    )


def _looked(found: Explanation, seen: Seen) -> Sequence[Weights]:
    """Each step's weights of an input's parts, by attention or else by occlusion; empty where
    neither has them."""
    for name in (ATTENTION, OCCLUSION):
        method = seen.methods.get(name)
        if method is not None and len(method.attribution.steps) == len(found.steps):
            return list(method.attribution.steps)
    return ()


def _step(step: Step, drawing: str, ends: tuple[float, float]) -> str:
    others = "".join(f"<li>{escape(str(o.value))} {o.score:.1%}</li>" for o in step.others)
    relied = bars([(name, v, signed(v, 2)) for name, v in step.relied.items()], ends)
    return (
        f"<figure>{drawing}<figcaption><strong>{escape(str(step.said.value))} "
        f"<small>{step.said.score:.1%}</small></strong>{relied}<ul>{others}</ul></figcaption>"
        "</figure>"
    )


def _nearest(found: Explanation) -> str:
    return _cards("Training records that look most alike", found.nearest) + _cards(
        "The most alike with another right answer", found.others
    )


def _cards(title: str, records: Sequence[Neighbour]) -> str:
    if not records:
        return ""
    return f'<h2>{title}</h2>\n<div class="near">{"".join(map(_neighbour, records))}</div>\n'


def _neighbour(near: Neighbour) -> str:
    picture = "" if near.pixels is None else f'<img src="{picture_uri(near.pixels, SIDE)}" alt="">'
    return (
        f"<figure>{picture}<figcaption><strong>{escape(shown(near.answer))}</strong>"
        f"{escape(near.text)} <small>row {near.row}, likeness {near.similarity:.3f}</small>"
        "</figcaption></figure>"
    )
