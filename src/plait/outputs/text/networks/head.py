"""The network of a text output: the decoder, what guides it, their losses and raw outputs.

Shapes: B records, N texts, L text tokens, T input tokens, M real tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plait.data.vocabulary import BOS, EOS
from plait.nn.base import Arrays, Graph, Head, of_branch
from plait.nn.blocks import token_cross_entropy
from plait.outputs.steps import MEMORY, NEXT, PAST, SCORES, TOKENS
from plait.outputs.text.decoders.ctc import CtcDecoder
from plait.outputs.text.decoders.networks.base import (
    DecoderNetwork,
    DecoderState,
    log_scores,
    under,
)
from plait.outputs.text.decoders.networks.blended import BlendedNetwork
from plait.outputs.text.decoders.networks.ctc import CtcNetwork
from plait.outputs.text.decoders.networks.teaching import teacher_forced
from plait.outputs.text.decoding import CTC, DECODER, LANGUAGE, NEVER_GENERATED
from plait.outputs.text.details import DETECTED, EMISSIONS, PROBABILITIES
from plait.outputs.text.detection import bags_of_words
from plait.outputs.text.networks.detector import Detected, WordDetector
from plait.outputs.text.networks.losses import References, self_critical_loss
from plait.outputs.text.networks.steps import TorchSteps, before
from plait.outputs.text.output import TextOutput, TextTarget
from plait.types import Alternative, Branches, Fused, Prediction, State

SPACE = "␣"  # how a space is shown, and what can't be read
# Weights of a language model that calibration tries, and bonuses, on at least so many records.
WEIGHTS, BONUSES, TUNED = (0.0, 0.15, 0.3, 0.5, 0.8), (0.0, 1.0, 2.0), 128


class TextHead(Head):
    """A decoder, and what a text output has beside it: word detector, CTC, language model."""

    def __init__(
        self,
        output: TextOutput,
        width: int,
        inputs: Sequence[str],
        pretrained: bool,
        branches: Branches | None,
    ) -> None:
        """See `Output.head`; ``inputs`` in the order of their tokens."""
        super().__init__()
        self.output, self.inputs = output, tuple(inputs)
        size, length = len(output.tokenizer), output.max_length
        make = partial(output.decoder_settings.network, size, width, length, pretrained)
        self.decoder = BlendedNetwork(branches, size, make) if branches else make()
        self.detector: WordDetector | None = None
        if output.detected_words:
            self.detector = WordDetector(output.state["shares"], width, output.detected_words)
        self.ctc: CtcNetwork | None = None
        if output.ctc_weight:
            self.ctc = CtcNetwork(CtcDecoder(), size, width)
        self.language: DecoderNetwork | None = None
        if output.language_model_settings is not None:
            self.language = output.language_model_settings.network(size, width, length)
            self.found: Tensor  # by calibration: the language model's weight, and the bonus
            self.register_buffer("found", torch.zeros(2))
        self._references = References((), output.consensus)

    # Training --------------------------------------------------------------------------------

    def begin(self, targets: Sequence[TextTarget]) -> None:
        """Keep all training texts, for rewards and consensus."""
        self._references = References(targets, self.output.consensus)

    def loss(
        self, fused: Fused, targets: Sequence[TextTarget], branch: str | None = None
    ) -> Tensor:
        """The decoder's loss, with those of CTC (weighed as by Kim et al. 2017, arXiv:1609.06773),
        of a neural language model, and of the word detector."""
        decoder = self._decoder(branch)
        fused, detected = self._detect(fused)
        chosen = [(row, n) for row, t in enumerate(targets) for n in self._choose(t)]
        owners = [row for row, _ in chosen]
        texts = [targets[row].token_ids[n] for row, n in chosen]
        loss = decoder.sequence_loss(fused, owners, texts)
        if loss is None:
            loss = self._token_loss(decoder, decoder.start(fused), targets, chosen)
        if self.ctc is not None:
            share = self.output.ctc_weight
            loss = (1 - share) * loss + share * self.ctc.sequence_loss(fused, owners, texts)
        if self.language is not None:
            language = self.language.sequence_loss(fused, owners, texts)
            loss = loss if language is None else loss + language
        if detected is not None:
            bags = bags_of_words([t.token_ids for t in targets], len(self.output.tokenizer))
            own = WordDetector.loss(detected.logits, torch.from_numpy(bags).to(loss.device))
            loss = loss + self.output.detection_weight * own
        return loss

    def _token_loss(
        self,
        decoder: DecoderNetwork,
        start: DecoderState,
        targets: Sequence[TextTarget],
        chosen: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Mean cross-entropy of all tokens of the chosen texts, end tokens included.

        Texts are weighted by their consensus with the record's others, and in training some of the
        previous words are unknown to the decoder (Bowman et al. 2016, arXiv:1511.06349).
        """
        hidden, labels, numbers = teacher_forced(
            decoder,
            start,
            [row for row, _ in chosen],
            [targets[row].token_ids[n] for row, n in chosen],
            self.output.word_dropout if self.training else 0.0,
        )
        weights = None
        if self.output.consensus:
            each = [self._references.weights(targets[row])[n] for row, n in chosen]
            weights = torch.tensor(each, device=labels.device)[numbers]
        logits = decoder.logits(hidden).float()
        return token_cross_entropy(logits, labels, self.output.label_smoothing, weights)

    def _choose(self, target: TextTarget) -> list[int]:
        """Which of a record's texts to learn from in this step."""
        count, most = len(target.token_ids), self.output.texts_per_step
        if most is None or not self.training or count <= most:
            return list(range(count))
        return torch.randperm(count)[:most].tolist()

    def reinforce(
        self, fused: Fused, targets: Sequence[TextTarget], samples: int, branch: str | None = None
    ) -> Tensor:
        """See `self_critical_loss`."""
        decoder = self._decoder(branch)
        start = decoder.start(self._detect(fused)[0])
        max_words = self.output.options().limits.max_words
        return self_critical_loss(decoder, start, targets, self._references, samples, max_words)

    @torch.no_grad()
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[TextTarget]) -> None:
        """Choose the weight of the language model and the bonus that score best, by the first
        metric, on some of the records; each is encoded once."""
        if self.output.language_model_settings is None:
            return
        batches, count = [], 0
        for part in fused:
            raw = self.raw_outputs(part)
            batches.append((Arrays(raw), self.stepper(part, raw)))
            count += len(part.pooled)
            if count >= TUNED:
                break
        decode, metric = self.output.tokenizer.decode, self.output.best_metrics[0]
        wanted = [[decode(ids) for ids in t.token_ids] for t in targets[:count]]
        best, options = -math.inf, self.output.options()
        for weight, bonus in product(WEIGHTS, BONUSES):
            if weight == 0 and bonus:
                continue
            fitted = {"language": [weight, bonus]}
            found = [self.output.search(raw, fitted, options, steps) for raw, steps in batches]
            texts = [
                self.output.text(ids) for part in found for ids in part.token_ids[:, 0].tolist()
            ]
            answers = [Prediction(text, 0.0) for text in texts]
            score = self.output.scorer(answers, wanted)(np.arange(len(answers)))[metric]
            if score > best:
                best = score
                self.found.copy_(torch.tensor([weight, bonus]))

    def fitted(self) -> State:
        """The weight of the language model and the bonus."""
        if self.output.language_model_settings is None:
            return {}
        return {"language": self.found.tolist()}

    # Answers ---------------------------------------------------------------------------------

    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Every network's state before the first token, the detected words, CTC's emissions; see
        `plait.outputs.steps`."""
        fused, detected = self._detect(fused)
        starts = {name: network.start(fused) for name, network in self._networks().items()}
        together = DecoderState.together(starts)
        raw = {f"{MEMORY}{name}": value for name, value in together.memory.items()}
        raw |= {f"{PAST}{name}": value for name, value in together.past.items()}
        if detected is not None:
            raw |= {DETECTED: detected.words, PROBABILITIES: detected.probabilities}
        ctc = self.decoder if isinstance(self.decoder, CtcNetwork) else self.ctc
        return raw if ctc is None else raw | {EMISSIONS: ctc.emissions(fused)}

    def stepper(self, fused: Fused, raw: Mapping[str, Tensor]) -> TorchSteps:
        """What runs the networks token by token, from their ``raw`` outputs for these records."""
        start = DecoderState(under(MEMORY, raw), under(PAST, raw))
        starts = {name: start.of(name) for name in self._networks()}
        return TorchSteps(self._networks(), starts, self._places(fused))

    def _networks(self) -> dict[str, DecoderNetwork]:
        """What scores the next token; n-grams are added by the search."""
        networks = {DECODER: self.decoder, CTC: self.ctc, LANGUAGE: self.language}
        return {name: network for name, network in networks.items() if network is not None}

    def _decoder(self, branch: str | None) -> DecoderNetwork:
        decoder = of_branch(self.decoder, branch)
        assert isinstance(decoder, DecoderNetwork)
        return decoder

    def _detect(self, fused: Fused) -> tuple[Fused, Detected | None]:
        """With the detected words among the tokens, and what was detected."""
        return (fused, None) if self.detector is None else self.detector(fused)

    def _places(self, fused: Fused) -> dict[str, slice]:
        """Where each input's tokens are among the fused ones; empty where the fusion did not keep
        them side by side. The detected words' tokens come after them."""
        places, at = {}, 0
        for name in self.inputs:
            length = fused.parts[name].values.shape[1]
            places[name] = slice(at, at + length)
            at += length
        return places if at == fused.tokens.values.shape[1] else {}

    def graph(self, examples: Sequence[Mapping[str, Tensor]]) -> Graph:
        """A step, see `plait.outputs.steps`; its examples come after one token and after two."""
        steps = []
        for done, example in enumerate(examples, start=1):
            tensors = {n: v for n, v in example.items() if n.startswith((MEMORY, PAST))}
            tokens = torch.full((len(next(iter(tensors.values()))),), BOS)
            step = {TOKENS: tokens} | tensors
            for _ in range(done):
                step |= under(NEXT, self._step(step))
            steps.append(step)
        return Graph(nn.ModuleDict(self._networks()), self._step, steps)

    def _step(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        state = DecoderState(under(MEMORY, tensors), under(PAST, tensors))
        scores, after = {}, {}
        for name, network in self._networks().items():
            hidden, _, after[name] = network(tensors[TOKENS][:, None], state.of(name))
            scores[f"{SCORES}{name}"] = log_scores(network, hidden[:, 0])
        past = DecoderState.together(after).past
        return scores | {f"{NEXT}{PAST}{name}": value for name, value in past.items()}

    # Explanations ----------------------------------------------------------------------------

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the texts' mean log-probability a token, end tokens included."""
        texts = [self._token_ids(answer) for answer in answers]
        start = self.decoder.start(self._detect(fused)[0])
        hidden, labels, numbers = teacher_forced(self.decoder, start, range(len(texts)), texts)
        scores = log_scores(self.decoder, hidden).gather(1, labels[:, None])[:, 0]  # (M,)
        total = scores.new_zeros(len(texts)).index_add(0, numbers, scores)
        return (total / torch.bincount(numbers, minlength=len(texts))).cpu()

    def _token_ids(self, answer: Any) -> tuple[int, ...]:
        """An answer's tokens and the end, as they were generated."""
        return (*self.output.tokenizer.encode(answer), EOS)[: self.output.max_length]

    def _step_scores(self, fused: Fused, token_ids: Sequence[int]) -> Tensor:
        """(B, L, V) log-probabilities at each token of a text, for each record."""
        start = self.decoder.start(self._detect(fused)[0])
        ids = torch.tensor([token_ids] * len(start), device=start.device)
        hidden, _, _ = self.decoder(before(ids), start)
        return log_scores(self.decoder, hidden)

    def steps(self, fused: Fused, answer: Any) -> tuple[Tensor, Tensor]:
        """The mean log-probability a token, and each token's; the end counts in the mean only."""
        ids = self._token_ids(answer)
        each = self._step_scores(fused, ids)[:, range(len(ids)), ids].cpu()
        return each.mean(dim=1), each[:, : len(self.output.tokenizer.encode(answer))]

    def alternatives(self, fused: Fused, answer: Any, count: int) -> list[tuple[Alternative, ...]]:
        """Each token and the likeliest others in its place; "(end)" is the end of the text."""
        scores = self._step_scores(fused, self._token_ids(answer))[0]  # (L, V)
        scores[:, list(NEVER_GENERATED)] = float("-inf")
        steps = []
        for token, row in zip(self.output.tokenizer.encode(answer), scores.exp(), strict=False):
            others = [t for t in row.topk(min(count + 1, len(row))).indices.tolist() if t != token]
            chosen = [token, *others[:count]]
            steps.append(tuple(Alternative(self._piece(t), float(row[t])) for t in chosen))
        return steps

    def _piece(self, token: int) -> str:
        piece = "(end)" if token == EOS else "".join(self.output.tokenizer.pieces([token]))
        return piece if piece.strip() else SPACE

    def looks(self, fused: Fused, answer: Any) -> dict[str, Tensor]:
        """The decoder's attention, where the fusion keeps the inputs' tokens apart."""
        ids = self.output.tokenizer.encode(answer)[: self.output.max_length]
        if not ids:
            return {}
        raw = self.raw_outputs(fused)
        attention = self.stepper(fused, raw).attention({}, np.array([ids], np.int64))
        return {name: torch.from_numpy(weights[0]) for name, weights in attention.items()}
