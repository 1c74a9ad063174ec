"""The networks of the outputs that answer from one vector a record.

Shapes: B records, K numbers of an answer, M branches, D width.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from plait.nn.base import Blend, Head, of_branch
from plait.nn.blocks import NamedModules
from plait.outputs.category import UNSEEN, CategoryOutput
from plait.outputs.labels import LabelsOutput, best_threshold
from plait.outputs.number import NumberOutput, conformal_quantile
from plait.outputs.scores import Floats
from plait.types import Branches, Fused, State
from plait.util.imports import needed

log = logging.getLogger("plait")

STEPS, TOLERANCE = 5000, 1e-3  # of liblinear; a smaller tolerance changes no score
TEMPERATURES = np.geomspace(0.2, 5.0, 97)
ALWAYS = 10.0  # score of a class that all training records have; minus that of one that none has
HEAVIEST = 100.0  # weight of a rare label's yes in the loss; and 1/100 of a frequent one's
LOG_VARIANCES = (-12.0, 8.0)  # of the scaled number: a spread of 0.0025 to 55 standard deviations
NUMBERS = {"none": 1, "gaussian": 2, "quantile": 3}  # of the network, by the number's spread


class PooledScores(nn.Module):
    """Fused -> (B, K): layer norm, dropout and a linear layer on the pooled vector."""

    def __init__(self, width: int, size: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.out = nn.Linear(width, size)

    def forward(self, fused: Fused) -> Tensor:
        """(B, K) float32."""
        return self.out(self.drop(self.norm(fused.pooled))).float()


class LinearScores(nn.Module):
    """Fused -> (B, K): a linear layer on the pooled vector."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, size)

    def forward(self, fused: Fused) -> Tensor:
        """(B, K)."""
        return self.out(fused.pooled).float()


class PooledHead(Head):
    """Scores of the pooled vector: ``size`` numbers a record, of all branches or of one."""

    def __init__(self, width: int, size: int, dropout: float, branches: Branches | None) -> None:
        super().__init__()
        self.size = size
        if branches is None:
            self.raw: nn.Module = PooledScores(width, size, dropout)
            return
        each = {name: PooledScores(width, size, dropout) for name in branches.names}
        blend = Blend(branches, size)
        self.raw = nn.ModuleDict({"branches": NamedModules(each), "blend": blend})

    def scores(self, fused: Fused, branch: str | None = None) -> Tensor:
        """(B, size) float32: of all, or of a branch from what it sees."""
        if branch is not None or fused.weights is None:
            return of_branch(self.raw, branch)(fused)
        raw: Any = self.raw
        each = [self.normalised(m(fused.branches[name])) for name, m in raw.branches.items()]
        return raw.blend(torch.stack(each, dim=1), fused.weights)

    def normalised(self, scores: Tensor) -> Tensor:
        """(B, size) scores whose mean over branches means something, as of log-probabilities."""
        return scores

    def make_linear(self, width: int) -> None:
        """See `Head.make_linear`."""
        self.raw = LinearScores(width, self.size)

    @torch.no_grad()
    def fit_linear(
        self, x: Any, targets: Sequence[Any], weights: Floats, penalty: float, loss: str
    ) -> None:
        """See `Head.fit_linear`."""
        out: Any = self.raw.out
        factors, constants = self.linear_weights(x, targets, weights, penalty, loss)
        out.weight.copy_(torch.from_numpy(factors))
        out.bias.copy_(torch.from_numpy(constants))

    def linear_weights(
        self, x: Any, targets: Sequence[Any], weights: Floats, penalty: float, loss: str
    ) -> tuple[Floats, Floats]:
        """The factors (K, D) and constants (K,) of a linear model of these targets; arguments as of
        `fit_linear`."""
        raise NotImplementedError


class ChoiceHead(PooledHead):
    """Scores of a list, with what their loss weighs, and the temperature that they are divided by
    once it is calibrated."""

    def __init__(
        self,
        output: CategoryOutput | LabelsOutput,
        width: int,
        branches: Branches | None,
        balanced: Tensor,
    ) -> None:
        super().__init__(width, len(output.choices), output.dropout, branches)
        self.weights: Tensor | None
        weights = balanced if output.weights == "balanced" else None
        self.register_buffer("weights", weights, persistent=False)
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))

    def calibrated(self, fused: Fused) -> Tensor:
        """(B, size) logits."""
        return self.scores(fused) / self.temperature

    def separate(
        self, x: Any, member: NDArray[np.bool_], weights: Floats, penalty: float, loss: str
    ) -> tuple[Floats, float]:
        """Factors (D,) and constant of the plane that best separates the records (N,) which are
        members of a class from the others, by liblinear (Fan et al. 2008, JMLR 9)."""
        if member.all() or not member.any():
            return np.zeros(x.shape[1]), ALWAYS if member.all() else -ALWAYS
        balance = None if self.weights is None else "balanced"
        svm, linear = (
            needed("sklearn.svm", "classical"),
            needed("sklearn.linear_model", "classical"),
        )
        if loss == "hinge":
            model = svm.LinearSVC(
                C=1 / penalty, class_weight=balance, random_state=0, max_iter=STEPS, tol=TOLERANCE
            )
        else:
            model = linear.LogisticRegression(
                C=1 / penalty, class_weight=balance, solver="liblinear", random_state=0
            )
        model.fit(x, member, sample_weight=weights)
        return model.coef_[0], float(model.intercept_[0])


class CategoryHead(ChoiceHead):
    """The probabilities of the classes."""

    def __init__(
        self, output: CategoryOutput, width: int, branches: Branches | None, *_: object
    ) -> None:
        counts = torch.tensor(output.state["counts"], dtype=torch.float32)
        balanced = counts.sum() / (len(counts) * counts)
        super().__init__(output, width, branches, balanced)
        self.output = output

    def normalised(self, scores: Tensor) -> Tensor:
        """Log-probabilities."""
        return scores.log_softmax(dim=-1)

    def linear_weights(
        self, x: Any, targets: Sequence[int], weights: Floats, penalty: float, loss: str
    ) -> tuple[Floats, Floats]:
        """One against all others for each class."""
        right = np.asarray(targets)
        each = [self.separate(x, right == n, weights, penalty, loss) for n in range(self.size)]
        factors, constants = zip(*each, strict=True)
        return np.stack(factors), np.array(constants)

    def loss(self, fused: Fused, targets: Sequence[int], branch: str | None = None) -> Tensor:
        """Mean cross-entropy over the records whose class was learned."""
        logits = self.scores(fused, branch)
        wanted = torch.tensor(targets, device=logits.device)
        smoothing = self.output.smoothing
        return F.cross_entropy(
            logits, wanted, self.weights, ignore_index=UNSEEN, label_smoothing=smoothing
        )

    @torch.no_grad()
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[int]) -> None:
        """The temperature with the least log loss."""
        if not self.output.calibrate:
            return
        logits = torch.cat([self.scores(part) for part in fused])
        wanted = torch.tensor(targets, device=logits.device)
        seen = wanted != UNSEEN
        if seen.any():
            logits, wanted = logits[seen], wanted[seen]
            self.temperature.fill_(best_temperature(lambda t: F.cross_entropy(logits / t, wanted)))

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the classes' probabilities."""
        ids = torch.tensor([self.output.ids[answer] for answer in answers])
        return self.raw_outputs(fused)["probable"].cpu().gather(1, ids[:, None])[:, 0]

    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        """``probable``, (B, classes)."""
        return {"probable": self.calibrated(fused).softmax(dim=-1)}


class LabelsHead(ChoiceHead):
    """Each label's logit."""

    def __init__(
        self, output: LabelsOutput, width: int, branches: Branches | None, *_: object
    ) -> None:
        counts = torch.tensor(output.state["counts"], dtype=torch.float32)
        balanced = ((output.state["rows"] - counts) / counts).clamp(1 / HEAVIEST, HEAVIEST)
        super().__init__(output, width, branches, balanced)
        self.output = output
        self.threshold: Tensor
        self.register_buffer("threshold", torch.full((self.size,), 0.5))

    def loss(
        self, fused: Fused, targets: Sequence[Sequence[int]], branch: str | None = None
    ) -> Tensor:
        """Mean binary cross-entropy over records and labels."""
        logits = self.scores(fused, branch)
        wanted = self._wanted(targets).to(logits.device)
        return F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=self.weights)

    def linear_weights(
        self, x: Any, targets: Sequence[Sequence[int]], weights: Floats, penalty: float, loss: str
    ) -> tuple[Floats, Floats]:
        """Each label by itself."""
        has = self._wanted(targets).bool().numpy()
        each = [self.separate(x, column, weights, penalty, loss) for column in has.T]
        factors, constants = zip(*each, strict=True)
        return np.stack(factors), np.array(constants)

    def _wanted(self, targets: Sequence[Sequence[int]]) -> Tensor:
        """(B, labels), 1 where a record has a label, else 0."""
        wanted = torch.zeros(len(targets), self.size)
        for row, ids in enumerate(targets):
            wanted[row, list(ids)] = 1
        return wanted

    @torch.no_grad()
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[Sequence[int]]) -> None:
        """The temperature with the least cross-entropy, and the thresholds with the best F1."""
        logits = torch.cat([self.scores(part) for part in fused]).cpu()
        wanted = self._wanted(targets)
        if self.output.calibrate:
            loss = F.binary_cross_entropy_with_logits
            self.temperature.fill_(best_temperature(lambda t: loss(logits / t, wanted)))
        probable = (logits / self.temperature.cpu()).sigmoid().double().numpy()
        right = wanted.bool().numpy()
        if self.output.thresholds == "one":
            self.threshold.fill_(best_threshold(probable.ravel(), right.ravel()))
        if self.output.thresholds == "each":
            best = [best_threshold(p, r) for p, r in zip(probable.T, right.T, strict=True)]
            self.threshold.copy_(torch.tensor(best))

    def fitted(self) -> State:
        """Each label's ``threshold``."""
        return {"threshold": self.threshold.tolist()}

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the geometric mean over the labels of the probability that each is chosen, or not,
        as it is in the answer."""
        logits = self.calibrated(fused)
        chosen = torch.zeros_like(logits, dtype=torch.bool)
        for row, answer in enumerate(answers):
            chosen[row, [self.output.ids[label] for label in answer]] = True
        each = torch.where(chosen, F.logsigmoid(logits), F.logsigmoid(-logits))
        return each.mean(dim=1).exp().cpu()

    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        """``logits``, (B, labels)."""
        return {"logits": self.calibrated(fused)}


class NumberHead(PooledHead):
    """A number and its interval.

    Within, numbers are scaled to mean 0 and standard deviation 1 of the training rows. Each spread
    gives a middle, a band (low, high) round it and a scale: ``none`` a band of no width and the
    scale 1; ``gaussian`` a band of no width and the standard deviation as its scale; ``quantile``
    two quantiles and the scale 1. The interval is [low - margin · scale, high + margin · scale].
    """

    def __init__(
        self, output: NumberOutput, width: int, branches: Branches | None, *_: object
    ) -> None:
        super().__init__(width, NUMBERS[output.spread], output.dropout, branches)
        self.output = output
        self.margin: Tensor
        self.register_buffer("margin", torch.zeros(()))
        self.calibrated: Tensor
        self.register_buffer("calibrated", torch.zeros((), dtype=torch.bool))

    def loss(self, fused: Fused, targets: Sequence[float], branch: str | None = None) -> Tensor:
        """Mean loss of the scaled number: Huber or squared; the Gaussian's negative
        log-likelihood without its constant; or the pinball loss of three quantiles."""
        raw = self.scores(fused, branch)  # (B, size)
        wanted = self._scaled(targets, raw.device)  # (B,)
        if self.output.spread == "gaussian":
            variance = raw[:, 1].clamp(*LOG_VARIANCES)  # its logarithm
            return 0.5 * (variance + (wanted - raw[:, 0]) ** 2 * (-variance).exp()).mean()
        if self.output.spread == "quantile":
            share = self.output.interval
            return pinball(raw, wanted, ((1 - share) / 2, 0.5, (1 + share) / 2))
        if self.output.loss == "huber":
            return F.huber_loss(raw[:, 0], wanted)
        return F.mse_loss(raw[:, 0], wanted)

    def linear_weights(
        self, x: Any, targets: Sequence[float], weights: Floats, penalty: float, loss: str
    ) -> tuple[Floats, Floats]:
        """Ridge regression of the scaled number (Hoerl and Kennard 1970). The spread round it is
        the same for all records: that of the residuals."""
        wanted = self._scaled(targets, torch.device("cpu")).numpy()
        ridge = needed("sklearn.linear_model", "classical").Ridge(alpha=penalty, random_state=0)
        ridge.fit(x, wanted, sample_weight=weights)
        residuals = wanted - ridge.predict(x)
        factors = np.zeros((self.size, x.shape[1]))
        constants = np.full(self.size, float(ridge.intercept_))
        if self.output.spread == "gaussian":
            factors[0] = ridge.coef_
            constants[1] = math.log(max(float(residuals.var()), math.exp(LOG_VARIANCES[0])))
        elif self.output.spread == "quantile":
            outside = (1 - self.output.interval) / 2
            factors[:] = ridge.coef_
            constants += np.quantile(residuals, [outside, 0.5, 1 - outside])
        else:
            factors[0] = ridge.coef_
        return factors, constants

    def _scaled(self, targets: Sequence[float], device: torch.device) -> Tensor:
        scaled = (np.asarray(targets, np.float64) - self.output.mean) / self.output.deviation
        return torch.tensor(scaled, dtype=torch.float32, device=device)

    def _bands(self, fused: Fused) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Middle, low, high and scale of each record, (B,) each."""
        raw = self.scores(fused)
        if self.output.spread == "quantile":
            low, middle, high = raw.unbind(dim=1)
            return middle, low, high, torch.ones_like(middle)
        middle, scale = raw[:, 0], torch.ones_like(raw[:, 0])
        if self.output.spread == "gaussian":
            scale = (raw[:, 1].clamp(*LOG_VARIANCES) / 2).exp()
        return middle, middle, middle, scale

    @torch.no_grad()
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[float]) -> None:
        """The margin that the chosen share of the validation records keeps to.

        Split conformal regression (Lei et al. 2018, arXiv:1604.04173), with ``quantile`` its
        conformalised quantile regression (Romano et al. 2019, arXiv:1905.03222). Too few records
        for the share (fewer than 9 for 0.9) leave the head without intervals.
        """
        bands = [torch.stack(self._bands(part)) for part in fused]  # (4, B) each
        _, low, high, scale = torch.cat(bands, dim=1)
        wanted = self._scaled(targets, low.device)
        outside = torch.maximum(low - wanted, wanted - high) / scale  # (N,), below 0 inside
        share = self.output.interval
        margin = conformal_quantile(outside.cpu().numpy().astype(np.float64), share)
        if margin is None:
            log.warning(
                "%d validation rows are too few for an interval that contains %g of the targets",
                len(targets), share,
            )  # fmt: skip
            return
        self.margin.fill_(margin)
        self.calibrated.fill_(True)

    def fitted(self) -> State:
        """Whether the interval is ``calibrated``."""
        return {"calibrated": bool(self.calibrated)}

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the number that the model says, whatever the answers: an input's share is how far
        it moves the number, in its units. In double: a time in seconds has ten digits."""
        middle = self._bands(fused)[0].cpu().double()
        return self.output.mean + self.output.deviation * middle

    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        """``middle``, ``low`` and ``high``, (B,) each, scaled."""
        middle, low, high, scale = self._bands(fused)
        # A negative margin narrows the band, and quantiles may cross: the number stays inside.
        low = torch.minimum(low - self.margin * scale, middle)
        high = torch.maximum(high + self.margin * scale, middle)
        return {"middle": middle, "low": low, "high": high}


def best_temperature(loss: Callable[[float], Tensor]) -> float:
    """What logits are to be divided by for the least loss (Guo et al. 2017, arXiv:1706.04599)."""
    losses = [float(loss(float(temperature))) for temperature in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def pinball(values: Tensor, wanted: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Mean pinball loss (Koenker and Bassett 1978) of values (B, Q), a column for each of the Q
    quantiles, the shares of the numbers that are to lie below; right are ``wanted`` (B,)."""
    levels = torch.tensor(quantiles, device=values.device)
    over = wanted[:, None] - values  # (B, Q)
    return torch.maximum(levels * over, (levels - 1) * over).mean()
