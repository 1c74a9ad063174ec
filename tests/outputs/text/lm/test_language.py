"""Language models beside a decoder: what they say, and how much it counts."""

from __future__ import annotations

import gzip
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heads import decode as free_running
from untrained import make_model

from plait.config import registry
from plait.data.vocabulary import BOS, EOS, SPECIALS, WordVocabulary
from plait.outputs.text.lm.arpa import write_arpa
from plait.outputs.text.lm.base import LanguageModel
from plait.outputs.text.lm.ngram import NGram, NGramLanguageModel
from plait.outputs.text.networks import TextHead
from plait.outputs.text.output import TextOutput, TextTarget
from plait.types import Fused, Prediction, Tokens, UsageError

V, D = 12, 16
NUMBERS = WordVocabulary([str(number) for number in range(len(SPECIALS), V)])
TEXTS = ["one two three"] * 6 + ["one two four"] * 2 + ["three four"] * 2


def fused(count: int = 3, tokens: int = 6, seed: int = 0) -> Fused:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, tokens, D, generator=generator)
    found = Tokens(values, torch.ones(count, tokens, dtype=torch.bool))
    return Fused(values.mean(dim=1), found, {"sound": found})


def head(**settings: Any) -> TextHead:
    torch.manual_seed(0)
    output = TextOutput(
        min_count=1, metrics="transcripts", max_length=8,
        decoding={"max_words": 6, "min_words": 0, "no_repeat": 0, "length_penalty": 0.0},
        **settings,
    )  # fmt: skip
    made = output.with_state(output.fit(TEXTS, Path())).head(D, ["sound"], True)
    assert isinstance(made, TextHead)
    return made.eval()


def decode(made: TextHead, seen: Fused, **options: Any) -> list[Prediction]:
    return free_running(made.output, made, seen, **options)


@pytest.mark.parametrize("name", registry.names("language-model"))
@torch.no_grad()
def test_it_sees_no_input(name: str, tmp_path: Path) -> None:
    file = tmp_path / "model.arpa"
    write_arpa(file, NGram.fit([[4, 5], [4, 6, 7]], V, 3), NUMBERS.units())
    settings = {"file": str(file)} if name == "arpa" else {}
    language: LanguageModel = registry.build("language-model", {"kind": name, **settings})
    language = language.with_state(language.fit([[4, 5], [4, 6, 7]], NUMBERS))
    file.unlink()  # what is known is kept
    decoder = language.network(V, D, 8)
    if decoder is None:
        assert language.ngram is not None
        scores = language.ngram.scores(np.array([0, language.ngram.start]))
        np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-5)
        return
    assert language.ngram is None
    decoder.eval()
    words = torch.tensor([[BOS, 4, 6], [BOS, 5, 5], [BOS, 4, 6]])
    first, second = fused(), fused(seed=1)
    scores = decoder.log_scores(decoder(words, decoder.start(first))[0])
    torch.testing.assert_close(scores, decoder.log_scores(decoder(words, decoder.start(second))[0]))
    torch.testing.assert_close(scores[0], scores[2])
    torch.testing.assert_close(scores.exp().sum(dim=-1), torch.ones(3, 3))
    state_now = decoder.start(first)
    for place in range(3):
        hidden, _, state_now = decoder(words[:, place : place + 1], state_now)
        torch.testing.assert_close(decoder.log_scores(hidden)[:, 0], scores[:, place])


def test_more_sentences_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "more.txt.gz"
    path.write_bytes(gzip.compress(b"4 5\n\n4 5\n"))
    language = NGramLanguageModel(order=2, texts=str(path))
    state = language.fit([[6, 7]], NUMBERS)
    found, wanted = NGram.from_state(state), NGram.fit([[6, 7], [4, 5], [4, 5]], V, 2)
    states = np.array([found.start])
    np.testing.assert_array_equal(found.scores(states), wanted.scores(states))


def test_a_neural_one_learns_along() -> None:
    made = head(language_model={"kind": "neural"}, decoder={"kind": "gru-attention", "units": 16})
    made.train()
    ids = made.output.tokenizer.encode("one two three")
    targets = [TextTarget(((*ids, EOS),))] * 3
    optimizer = torch.optim.Adam(made.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        made.loss(fused(), targets).backward()
        optimizer.step()
    made.eval()
    assert made.language is not None
    with torch.no_grad():
        hidden, _, _ = made.language(torch.tensor([[BOS, *ids]]), made.language.start(fused(1)))
        probable = made.language.log_scores(hidden)[0].exp()
    assert all(float(probable[place, word]) > 0.9 for place, word in enumerate([*ids, EOS]))


@torch.no_grad()
def test_it_corrects_a_decoder_that_knows_nothing_and_its_weight_is_found() -> None:
    made = head(language_model={"kind": "ngram", "order": 3}, decoder={"kind": "ctc"})
    seen = fused(4)
    targets = [TextTarget(((*made.output.tokenizer.encode("one two three"), EOS),))] * 4
    assert made.found.tolist() == [0, 0]
    before = [found.value for found in decode(made, seen)]
    made.calibrate([seen], targets)
    weight, _ = made.found.tolist()
    assert weight > 0
    after = [found.value for found in decode(made, seen)]
    wanted = [["one two three"]] * 4

    def accuracy(said: list[str]) -> float:
        answers = [Prediction(text, 0.0) for text in said]
        metrics = made.output.scorer(answers, wanted)
        return metrics(np.arange(4))[metrics.best_metrics[0]]

    assert accuracy(after) > accuracy(before)
    assert [found.value for found in decode(made, seen, language=0.0, bonus=0.0)] == before
    kept = head(language_model={"kind": "ngram", "order": 3}, decoder={"kind": "ctc"})
    kept.load_state_dict(made.state_dict())
    assert [found.value for found in decode(kept, seen)] == after


@torch.no_grad()
@pytest.mark.parametrize("ctc", [0.0, 0.4])
def test_a_score_is_a_probability_whatever_guides_the_search(ctc: float) -> None:
    made = head(
        language_model={"kind": "ngram", "order": 3},
        decoder={"kind": "gru-attention"},
        ctc_weight=ctc,
    )
    seen = fused(2)
    guided = decode(made, seen, language=0.5, bonus=5, num=3)
    assert all(exp(found.score) <= 1 for found in guided)
    assert all(exp(other.score) <= 1 for found in guided for other in found.alternatives)
    if ctc:
        alone = [found.score for found in decode(made, seen, language=0, bonus=0)]
        nearly = decode(made, seen, language=1e-6, bonus=0)  # searched together, scored alone
        assert [found.score for found in nearly] == pytest.approx(alone, abs=1e-4)
    else:
        wanted = made.support(seen, [found.value for found in guided]).tolist()
        assert [found.score for found in guided] == pytest.approx(wanted, abs=1e-4)


@torch.no_grad()
def test_random_draws_are_guided_too() -> None:
    made = head(language_model={"kind": "ngram", "order": 3}, decoder={"kind": "gru-attention"})
    seen, draw = fused(8), {"sample": True, "num": 4}
    short = decode(made, seen, language=0, bonus=-10, **draw)
    long = decode(made, seen, language=0, bonus=10, **draw)
    assert sum(len(f.details.words) for f in long) > 2 * sum(len(f.details.words) for f in short)


def test_what_the_model_lacks_can_not_be_weighed() -> None:
    made = head(decoder={"kind": "gru-attention"})
    for option in ("language", "bonus"):
        with pytest.raises(UsageError, match=f"{option} is 0.5, but .* no language model"):
            made.output.options(**{option: 0.5})
    with pytest.raises(UsageError, match="no CTC beside its decoder"):
        made.output.options(ctc=0.5)
    assert made.output.options(language=None).language is None


def test_without_one_nothing_is_kept() -> None:
    assert "found" not in head(decoder={"kind": "ctc"}).state_dict()


@torch.no_grad()
def test_an_input_is_read_once_for_all_beams_and_all_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`start` is what reads the encoder's tokens; neither a step nor a weight does it again."""
    made = head(language_model={"kind": "ngram", "order": 3}, decoder={"kind": "ctc"})
    begun: list[int] = []
    own = type(made.decoder).start

    def start(decoder: Any, seen: Fused) -> Any:
        begun.append(len(seen.pooled))
        return own(decoder, seen)

    monkeypatch.setattr(type(made.decoder), "start", start)
    targets = [TextTarget(((*made.output.tokenizer.encode("one two three"), EOS),))] * 6
    made.calibrate([fused(4), fused(2)], targets)
    assert begun == [4, 2]  # once a record, of 13 pairs of weight and bonus
    for beam in (1, 8):
        begun.clear()
        decode(made, fused(4), beam=beam, language=0.0, bonus=0.0)
        assert begun == [4]


def test_an_encoder_runs_once_for_a_record() -> None:
    series = {"modality": "series", "representation": {"kind": "sequence", "strides": [1]}}
    settings = {
        "decoder": {"kind": "gru-attention", "units": 16}, "metrics": "transcripts", "min_count": 1,
        "ctc_weight": 0.3, "language_model": {"kind": "ngram"}, "max_length": 8,
    }  # fmt: skip
    cells = [[[0.0, 1.0], [1.0, 0.0], [0.5, 2.0]], [[2.0, 1.0], [0.0, 0.0], [1.0, 1.0]]]
    model = make_model(
        {"it": series}, {"said": {"kind": "text", "settings": settings}},
        {"it": cells, "said": ["one two", "three"]}, {"kind": "none", "width": 16},
    )  # fmt: skip
    runs = []
    model.network.encoder("it").register_forward_hook(lambda *_: runs.append(1))
    for options in ({"beam": 1}, {"beam": 8}, {"beam": 4, "language": 0.7, "bonus": 1.0}):
        runs.clear()
        model.predict(cells[0], **options)
        assert len(runs) == 1
