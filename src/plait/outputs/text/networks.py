"""The network of a text output: the decoder, what guides it, their losses and raw outputs.

Shapes: B records, N texts, L text tokens, T input tokens, M real tokens, K detected words, D width,
V vocabulary.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, product
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.data.vocabulary import BOS, EOS, SPECIALS
from plait.nn.base import Arrays, Graph, Head, Sampling, of_branch
from plait.nn.blocks import token_cross_entropy
from plait.outputs.base import RawOutputs
from plait.outputs.steps import MEMORY, NEXT, PAST, SCORES, TOKENS
from plait.outputs.text.confidence import FEATURES, LEAST, fit_confidence
from plait.outputs.text.decoders.ctc import CtcDecoder
from plait.outputs.text.decoders.networks.base import (
    DecoderNetwork,
    DecoderState,
    TorchSteps,
    before,
    teacher_forced,
    under,
)
from plait.outputs.text.decoders.networks.blended import BlendedNetwork
from plait.outputs.text.decoders.networks.ctc import CtcNetwork
from plait.outputs.text.decoders.networks.pointer import PointerNetwork
from plait.outputs.text.metrics.cider import CiderReward
from plait.outputs.text.output import (
    CHANCES,
    DETECTED,
    EMISSIONS,
    PROBABILITIES,
    SPACE,
    TAG_WEIGHTS,
    TAGS,
    TextOutput,
    Texts,
    TextTarget,
    bags_of_words,
)
from plait.outputs.text.search import (
    CTC,
    DECODER,
    LANGUAGE,
    NEVER_GENERATED,
    Decoding,
    Mixture,
    TokenScorer,
    sample,
)
from plait.types import Alternative, Branches, Fused, State, Tokens

# Weights of a language model that calibration tries, and bonuses, on at least so many records.
WEIGHTS, BONUSES, TUNED = (0.0, 0.15, 0.3, 0.5, 0.8), (0.0, 1.0, 2.0), 128
RAREST = 1e-4  # a word's share of the records is taken to be at least this
LEAST_GAIN = 1e-4  # in nats, of a word that stands out
FEW = 4  # records whose words are detected at a time
START = 0.02  # standard deviation of the word detectors' initial weights

log = logging.getLogger("plait")


class TextsHead(Head):
    """What the heads of `Texts` share: how probable it is that a text is right."""

    output: Texts

    def __init__(self, output: Texts) -> None:
        super().__init__()
        self.output = output
        if output.calibrate:
            self.sure: Tensor  # by calibration, see `fit_confidence`; zeros before
            self.register_buffer("sure", torch.zeros(3 * len(FEATURES) + 1))

    @torch.no_grad()
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[Any]) -> None:
        """Fit the confidence to all records; the targets are their right texts."""
        self._fit_confidence(map(self._steps_of, fused), targets)

    def _fit_confidence(
        self, batches: Iterable[tuple[RawOutputs, Any]], wanted: Sequence[Sequence[str]]
    ) -> None:
        """From the best answers to all records, as `_steps_of` gives them; ``wanted`` are their
        right texts."""
        output, features, right = self.output, list[list[float]](), list[bool]()
        if not output.calibrate:
            return
        options = output.options(num=1)
        found = chain.from_iterable(
            output.answers(raw, self.fitted(), options, steps) for raw, steps in batches
        )
        for (answers, words), texts in zip(found, wanted, strict=True):
            if words:
                features += output.evidence(answers, words)
                right.append(output.scored_by.right(answers[0].value, texts))
        self.sure.zero_()  # that of a model that the training started from is not this one's
        if fitted := fit_confidence(np.array(features), np.array(right, bool)):
            self.sure.copy_(torch.tensor(fitted))
        else:
            log.warning(
                "the confidence of texts was not fitted: %d validation texts are right and %d "
                "wrong, and it takes %d of each",
                sum(right), len(right) - sum(right), LEAST,
            )  # fmt: skip

    def _steps_of(self, fused: Fused) -> tuple[RawOutputs, Any]:
        """Records' raw outputs, and what runs the networks for them."""
        raw = self.raw_outputs(fused)
        return Arrays(raw), self.stepper(fused, raw)

    def fitted(self) -> State:
        """What the confidence is made of, once it is calibrated."""
        known = self.output.calibrate and bool(self.sure.any())
        return {"confidence": self.sure.tolist()} if known else {}


class TextHead(TextsHead):
    """A decoder, and what a text output has beside it: word detector, CTC, language model."""

    output: TextOutput

    def __init__(
        self,
        output: TextOutput,
        width: int,
        branches: Branches | None,
        inputs: Sequence[str],
        pretrained: bool,
    ) -> None:
        """See `Output.head`; ``inputs`` in the order of their tokens."""
        super().__init__(output)
        self.inputs = tuple(inputs)
        size, length = len(output.tokenizer), output.max_length
        make = partial(output.decoder_settings.network, size, width, length, pretrained)
        self.decoder = BlendedNetwork(branches, size, make) if branches else make()
        if output.pointer:
            self.decoder = PointerNetwork(self.decoder, width, output.state["tags"])
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
        """Keep all texts of the stage, for rewards and consensus: how often n-grams occur in texts
        that are not rewarded would distort the rewards."""
        self._references = References(targets, self.output.consensus)

    def loss(
        self, fused: Fused, targets: Sequence[TextTarget], branch: str | None = None
    ) -> Tensor:
        """The decoder's loss, with those of CTC (weighed as by Kim et al. 2017, arXiv:1609.06773),
        of a neural language model, and of the word detector.

        A decoder that learns token by token has the mean cross-entropy of all tokens, end tokens
        included, weighted by each text's consensus with the record's others; some of the previous
        words are unknown to it (Bowman et al. 2016, arXiv:1511.06349).
        """
        decoder = self._decoder(branch)
        fused, detected = self._detect(fused)
        chosen = [(row, n) for row, target in enumerate(targets) for n in self._choose(target)]
        owners = [row for row, _ in chosen]
        texts = [targets[row].token_ids[n] for row, n in chosen]
        loss = decoder.sequence_loss(fused, owners, texts)
        if loss is None:
            start, dropout = decoder.start(fused), self.output.word_dropout * self.training
            hidden, labels, of_text = teacher_forced(decoder, start, owners, texts, dropout)
            weights = None
            if self.output.consensus:
                each = [self._references.weights(targets[row])[n] for row, n in chosen]
                weights = torch.tensor(each, device=labels.device)[of_text]
            logits = decoder.logits(hidden).float()
            loss = token_cross_entropy(logits, labels, self.output.label_smoothing, weights)
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

    def _choose(self, target: TextTarget) -> list[int]:
        """Which of a record's texts to learn from in this step."""
        count, most = len(target.token_ids), self.output.texts_per_step
        if most is None or not self.training or count <= most:
            return list(range(count))
        return torch.randperm(count)[:most].tolist()

    def reinforce(
        self,
        fused: Fused,
        targets: Sequence[TextTarget],
        sampling: Sampling,
        branch: str | None = None,
    ) -> Tensor:
        """- (reward - mean reward of the other samples) · log p(sample), the mean over all tokens.

        Self-critical training (Rennie et al. 2017, arXiv:1612.00563) with the baseline of Luo 2020
        (arXiv:2003.09971): the mean CIDEr-D of the record's other samples.
        """
        samples, temperature = sampling
        decoder = self._decoder(branch)
        start = decoder.start(self._detect(fused)[0])
        most = self.output.options().limits.max_words
        decoding = Decoding(
            sample=True,
            min_words=0,
            max_words=most,
            no_repeat=0,
            temperature=temperature,
            top_p=1.0,
        )
        decoding = decoding.model_copy(update={"num": samples})  # more than a user's 64, perhaps
        # From torch's generator, so that a resumed training continues as if never interrupted.
        rng = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
        steps = TorchSteps({DECODER: decoder}, {DECODER: start})
        fluency = self.output.avoided
        mixture = Mixture({DECODER: 1.0}, normalise=not decoder.final_scores, fluency=fluency)
        scorer = TokenScorer(steps, Arrays(start.memory), mixture)
        drawn = sample(scorer, decoding, rng, alike=False)
        # Autocast may keep the copies that it made of the weights, which have no gradient.
        torch.clear_autocast_cache()
        rows = drawn.token_ids.reshape(len(targets) * samples, -1).tolist()
        lengths = drawn.lengths.ravel().clip(max=most).astype(int)  # a forced end was not chosen
        texts = [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
        owners = [row for row in range(len(targets)) for _ in range(samples)]
        rewards = self._references.rewards([targets[row] for row in owners], texts)
        reward = rewards.view(len(targets), samples).to(start.device)
        others = (reward.sum(1, keepdim=True) - reward) / (samples - 1)
        advantage = (reward - others).flatten()  # (N,)
        hidden, labels, of_text = teacher_forced(decoder, start, owners, texts)
        # The probabilities that were sampled from: without the tokens that could not be drawn.
        logits = decoder.logits(hidden).float() / temperature
        logits[:, list(NEVER_GENERATED)] = float("-inf")
        if fluency is not None:
            places, tokens = fluency.forbidden_in(texts)
            order = np.argsort(of_text.cpu().numpy(), kind="stable")  # text by text, as `places`
            excluded = torch.zeros_like(logits, dtype=torch.bool)
            excluded[order[places], tokens] = True
            excluded[range(len(labels)), labels] = False  # drawn where nothing else was left
            logits = logits.masked_fill(excluded, float("-inf"))
        nll = F.cross_entropy(logits, labels, reduction="none")  # (M,)
        return (advantage[of_text] * nll).mean()

    @torch.no_grad()
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[TextTarget]) -> None:
        """Tune the language model on some of the records, and fit the confidence to all; each is
        encoded once."""
        output, parts = self.output, iter(fused)
        wanted = [[output.tokenizer.decode(ids) for ids in t.token_ids] for t in targets]
        batches: list[tuple[RawOutputs, TorchSteps]] = []
        if output.language_model_settings is not None:
            count = 0
            for part in parts:
                batches.append(self._steps_of(part))
                count += len(part.pooled)
                if count >= TUNED:
                    break
            self._tune(batches, wanted[:count])
        self._fit_confidence(chain(batches, map(self._steps_of, parts)), wanted)

    def _tune(
        self, batches: Sequence[tuple[RawOutputs, TorchSteps]], wanted: Sequence[Sequence[str]]
    ) -> None:
        """Choose the weight of the language model and the bonus that score best on these records,
        by the first metric."""
        output = self.output
        best, options = -math.inf, output.options()
        for weight, bonus in product(WEIGHTS, BONUSES):
            if weight == 0 and bonus:
                continue
            fitted = {"language": [weight, bonus]}
            found = [output.search(raw, fitted, options, steps) for raw, steps in batches]
            texts = [output.text(ids) for part in found for ids in part.token_ids[:, 0].tolist()]
            metrics = output.scored_by(texts, wanted)
            score = metrics(np.arange(len(texts)))[metrics.best_metrics[0]]
            if score > best:
                best = score
                self.found.copy_(torch.tensor([weight, bonus]))

    def fitted(self) -> State:
        """The weight of the language model and the bonus; what the confidence is made of."""
        known = self.output.language_model_settings is not None
        return super().fitted() | ({"language": self.found.tolist()} if known else {})

    # Answers ---------------------------------------------------------------------------------

    def untaught(self) -> tuple[int, int, str]:
        """Of a CTC decoder: texts with more units than their input has tokens."""
        if not isinstance(self.decoder, CtcNetwork):
            return super().untaught()
        why = "longer than their input has tokens, of which CTC says one unit each"
        return self.decoder.impossible, self.decoder.seen, why

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
            if self.output.calibrate:
                raw[CHANCES] = detected.logits.sigmoid()
        if isinstance(self.decoder, PointerNetwork):
            raw[TAGS], raw[TAG_WEIGHTS] = self.decoder.tags(fused)
        ctc = self.decoder if isinstance(self.decoder, CtcNetwork) else self.ctc
        return raw if ctc is None else raw | {EMISSIONS: ctc.emissions(fused)}

    def stepper(self, fused: Fused, raw: Mapping[str, Tensor]) -> TorchSteps:
        """What runs the networks token by token, from their ``raw`` outputs for these records."""
        # Where each input's tokens are among the fused ones, if the fusion keeps them side by side.
        # The detected words' tokens come after them.
        places, at = {}, 0
        for name in self.inputs:
            length = fused.parts[name].values.shape[1]
            places[name] = slice(at, at + length)
            at += length
        start = DecoderState(under(MEMORY, raw), under(PAST, raw))
        starts = {name: start.of(name) for name in self._networks()}
        side_by_side = at == fused.tokens.values.shape[1]
        return TorchSteps(self._networks(), starts, places if side_by_side else {})

    def _networks(self) -> dict[str, DecoderNetwork]:
        """What scores the next token; n-grams are added by the search."""
        networks = {DECODER: self.decoder, CTC: self.ctc, LANGUAGE: self.language}
        return {name: network for name, network in networks.items() if network is not None}

    def _decoder(self, branch: str | None) -> DecoderNetwork:
        return cast(DecoderNetwork, of_branch(self.decoder, branch))

    def _detect(self, fused: Fused) -> tuple[Fused, Detected | None]:
        """With the detected words among the tokens, and what was detected."""
        return (fused, None) if self.detector is None else self.detector(fused)

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
            scores[f"{SCORES}{name}"] = network.log_scores(hidden[:, 0])
        past = DecoderState.together(after).past
        return scores | {f"{NEXT}{PAST}{name}": value for name, value in past.items()}

    # Explanations ----------------------------------------------------------------------------

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the texts' mean log-probability per token, end tokens included."""
        texts = [self._token_ids(answer) for answer in answers]
        start = self.decoder.start(self._detect(fused)[0])
        hidden, labels, of_text = teacher_forced(self.decoder, start, range(len(texts)), texts)
        scores = self.decoder.log_scores(hidden).gather(1, labels[:, None])[:, 0]  # (M,)
        total = scores.new_zeros(len(texts)).index_add(0, of_text, scores)
        return (total / torch.bincount(of_text, minlength=len(texts))).cpu()

    def _token_ids(self, answer: Any) -> tuple[int, ...]:
        """An answer's tokens and the end, as they were generated."""
        return (*self.output.tokenizer.encode(answer), EOS)[: self.output.max_length]

    def _step_scores(self, fused: Fused, token_ids: Sequence[int]) -> Tensor:
        """(B, L, V) log-probabilities at each token of a text, for each record."""
        start = self.decoder.start(self._detect(fused)[0])
        ids = torch.tensor([token_ids] * len(start), device=start.device)
        hidden, _, _ = self.decoder(before(ids), start)
        return self.decoder.log_scores(hidden)

    def steps(self, fused: Fused, answer: Any) -> tuple[Tensor, Tensor]:
        """The mean log-probability per token, and each token's; the end counts in the mean only."""
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
        steps = self.stepper(fused, self.raw_outputs(fused))
        attention = steps.attention({}, np.array([ids], np.int64))
        return {name: torch.from_numpy(weights[0]) for name, weights in attention.items()}


class References:
    """All training texts: what sampled ones are rewarded by, and how well they agree."""

    def __init__(self, targets: Sequence[TextTarget], consensus: float) -> None:
        self._texts, self._consensus = [target.token_ids for target in targets], consensus
        self._rows = {target: row for row, target in enumerate(targets)}

    @cached_property
    def _reward(self) -> CiderReward:
        return CiderReward(self._texts)

    @cached_property
    def _weights(self) -> list[list[float]]:
        return self._reward.consensus(self._texts, self._consensus)

    def weights(self, target: TextTarget) -> list[float]:
        """A weight for each of a record's texts, as in consensus-based training (Phan et al. 2017,
        arXiv:1712.09532)."""
        return self._weights[self._rows[target]]

    def rewards(self, targets: Sequence[TextTarget], texts: Sequence[Sequence[int]]) -> Tensor:
        """(N,) the CIDEr-D of each text as an answer to the record of its target."""
        rows = [self._rows[target] for target in targets]
        return torch.from_numpy(self._reward.scores(rows, texts)).float()


@dataclass(frozen=True)
class Detected:
    """What the detectors found.

    Attributes:
        logits: (B, V) of every word.
        words: (B, K) the ids of those that stand out most, the most first.
        probabilities: (B, K) theirs.
    """

    logits: Tensor
    words: Tensor
    probabilities: Tensor


class WordDetector(nn.Module):
    """Fused -> Fused with a token for each of the K words that stand out, and what was detected.

    Fang et al. 2015, "From captions to visual concepts and back" (arXiv:1411.4952): each token of
    the input votes for each word. The words that stand out are shown to the decoder as further
    tokens, as in Wu et al. 2016 (arXiv:1506.01144) and You et al. 2016 (arXiv:1603.03925). A word
    stands out by how much the input raises its probability, p · log(p / prior): "a" never does,
    though it is nearly always there.
    """

    def __init__(
        self, shares: Sequence[float], width: int, count: int, dropout: float = 0.1
    ) -> None:
        """``shares`` (V): see `plait.outputs.text.output.word_shares`; the initial votes."""
        super().__init__()
        self.count = min(count, len(shares) - len(SPECIALS))
        self.prior: Tensor
        prior = torch.tensor(shares).clamp(RAREST, 1 - RAREST)
        self.register_buffer("prior", prior, persistent=False)
        self.vote = nn.Linear(width, len(shares))
        nn.init.normal_(self.vote.weight, std=START)
        with torch.no_grad():
            self.vote.bias.copy_(torch.logit(prior))
        self.embedding = nn.Embedding(len(shares), width)
        self.strength = nn.Parameter(torch.zeros(width))
        self.drop = dropout

    def logits(self, tokens: Tokens) -> Tensor:
        """(B, V): the log-mean-exp of the tokens' votes, a smooth maximum."""
        values, mask = tokens.values, tokens.mask
        if torch.is_grad_enabled() or torch.onnx.is_in_onnx_export() or values.is_cuda:
            total = self._total(values, mask)
        else:  # a few records at a time, so that their votes stay in the processor's cache
            few = map(self._total, torch.split(values, FEW), torch.split(mask, FEW))
            total = torch.cat(list(few))
        return total - mask.sum(1, keepdim=True).float().log()

    def _total(self, values: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, V): the log-sum-exp of the votes."""
        votes = self.vote(values).float()  # (B, T, V)
        return torch.logsumexp(votes.masked_fill(~mask[..., None], float("-inf")), dim=1)

    def forward(self, fused: Fused) -> tuple[Fused, Detected]:
        """Fused with K more tokens (B, T + K, D), and what was detected."""
        logits = self.logits(fused.tokens)
        probabilities = logits.sigmoid()
        with torch.no_grad():
            gain = probabilities * (F.logsigmoid(logits) - self.prior.log())
            # Where too few stand out, the rarest follow: always the same, for every engine.
            order = torch.arange(gain.shape[1], device=gain.device) / gain.shape[1] - 1
            gain = torch.where(gain > LEAST_GAIN, gain, order)
            gain[:, : len(SPECIALS)] = -math.inf
            words = gain.topk(self.count, dim=1).indices  # (B, K)
        found = Detected(logits, words, probabilities.gather(1, words))
        strength = found.probabilities[..., None] * self.strength  # (B, K, D)
        values = self.embedding(words) + strength
        mask = torch.ones_like(words, dtype=torch.bool)
        if self.training:
            mask = torch.rand(words.shape, device=words.device) >= self.drop
        tokens = Tokens(
            torch.cat([fused.tokens.values, values.to(fused.tokens.values.dtype)], dim=1),
            torch.cat([fused.tokens.mask, mask], dim=1),
        )
        return Fused(fused.pooled, tokens, fused.parts), found

    @staticmethod
    def loss(logits: Tensor, bags: Tensor) -> Tensor:
        """Binary cross-entropy in nats per word that occurs; bags (B, V) in [0, 1]."""
        total = F.binary_cross_entropy_with_logits(logits, bags, reduction="sum")
        return total / bags.sum().clamp(min=1.0)
