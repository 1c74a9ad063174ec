"""A causal language model of the transformers library, the input as a learned prefix.

The fused tokens go through one linear map to the model's embedding width and stand before the
text as if they were its tokens (prefix tuning, Li and Liang 2021, arXiv:2101.00190; for captions
ClipCap, Mokady et al. 2021, arXiv:2111.09734). The language model's tokens keep their pretrained
vectors; only plait's four specials have vectors of their own, and learn.

Shapes: B records, N texts, L text tokens, T tokens of the input, E width of the model's embeddings,
D of its hidden vectors, H key heads, P tokens so far, K the model's tokens.
"""

from __future__ import annotations

import inspect
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.data.vocabulary import BOS, EOS, SPECIALS, UNK
from plait.nn.blocks import freeze
from plait.nn.hub import FAILURES
from plait.nn.pretrained import build_model, new_cache, refuse_missing
from plait.outputs.text.decoders.hub import HubDecoder
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState
from plait.types import Fused, PlaitError, State


class HubNetwork(DecoderNetwork):
    """A pretrained language model that reads the input as a prefix."""

    def __init__(
        self, settings: HubDecoder, vocabulary: int, width: int, max_length: int, pretrained: bool
    ) -> None:
        """``settings`` with their state."""
        super().__init__()
        state = settings.state
        self.name, self.max_length = settings.name, max_length
        self.model = CausalModel(settings.name, state["config"], pretrained)
        self.frozen = settings.train == "frozen"
        if self.frozen:
            freeze(self.model)
        tokens = torch.tensor(state["tokens"])
        assert len(tokens) + len(SPECIALS) == vocabulary
        # Plait's id -> the model's; the specials have vectors of their own.
        padded = torch.cat([tokens.new_zeros(len(SPECIALS)), tokens])
        self.register_buffer("token_of", padded, persistent=False)
        self.token_of: Tensor
        self._add_specials(state["bos"], state["eos"])
        self.project = nn.Linear(width, self.model.width_in)
        # At first the prefix is as large as the tokens' vectors.
        size = float(self.model.embedding(tokens).detach().std())
        nn.init.normal_(self.project.weight, std=size / width**0.5)
        nn.init.zeros_(self.project.bias)

    @torch.no_grad()
    def _add_specials(self, bos: int | None, eos: int | None) -> None:
        """The four specials: start and end as the model has them, the others like the mean."""
        tokens = self.token_of[len(SPECIALS) :]
        read = self.model.embedding(tokens).mean(0).repeat(len(SPECIALS), 1)
        out = self.model.output_weight[tokens].mean(0).repeat(len(SPECIALS), 1)
        start = bos if bos is not None else eos
        if start is not None:
            read[BOS] = self.model.embedding(torch.tensor(start))
        if eos is not None:
            read[EOS] = self.model.embedding(torch.tensor(eos))
            out[EOS] = self.model.output_weight[eos]
        self.special_embedding = nn.Parameter(read)  # (4, E)
        self.special_out = nn.Parameter(out)  # (4, D)
        self.special_bias = nn.Parameter(torch.zeros(len(SPECIALS)))

    def train(self, mode: bool = True) -> HubNetwork:
        """Training mode; a frozen language model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def start(self, fused: Fused) -> DecoderState:
        """The model's keys and values of the prefix (B, H, T, Dh), made once per record."""
        mask = fused.tokens.mask  # (B, T)
        length = mask.shape[1]
        if self.model.longest and length + self.max_length > self.model.longest:
            raise PlaitError(
                f"hub:{self.name} reads at most {self.model.longest} tokens; "
                f"the input has {length} and the text up to {self.max_length}",
                hint="lower the setting max_length, or use fewer tokens of the input",
            )
        prefix = self.project(fused.tokens.values)  # (B, T, E)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        _, _, cached = self.model(prefix, {}, mask, positions, attend=False)
        return DecoderState({"mask": mask}, cached)

    def forward(
        self, tokens: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """See `DecoderNetwork.forward`.

        The attention is the mean over the heads of the upper half of the layers, scaled so that
        what goes to the prefix sums to 1.
        """
        prefix = state.memory["mask"]  # (N, T)
        done = state.past["key0"].shape[2] - prefix.shape[1]  # text tokens so far
        rows, length = tokens.shape
        mask = torch.cat([prefix, prefix.new_ones(rows, done + length)], dim=1)  # (N, P + L)
        # Masked tokens take no position, so that a record does not depend on its batch's padding.
        at = torch.arange(done, done + length, device=tokens.device)
        positions = prefix.sum(1, keepdim=True) + at  # (N, L)
        own = self.special_embedding[tokens.clamp(max=UNK)]
        theirs = self.model.embedding(self.token_of[tokens])
        embedded = torch.where((tokens > UNK)[..., None], theirs, own)  # (N, L, E)
        hidden, looks, cached = self.model(embedded, state.past, mask, positions, attend)
        attention = None
        if attend:
            shares = looks[..., : prefix.shape[1]]  # (N, L, T)
            attention = shares / shares.sum(-1, keepdim=True).clamp(min=1e-9)
        return hidden, attention, DecoderState(state.memory, cached)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., 4 + K)."""
        specials = F.linear(hidden, self.special_out, self.special_bias)
        tokens = F.linear(hidden, self.model.output_weight, self.model.output_bias)
        kept = tokens.index_select(-1, self.token_of[len(SPECIALS) :])
        return torch.cat([specials.to(kept.dtype), kept], dim=-1)


class CausalModel(nn.Module):
    """A language model's body and output projection, with its cache as plain tensors."""

    pretrained = True

    def __init__(self, name: str, config: State, pretrained: bool) -> None:
        super().__init__()
        whole, missing = build_model("AutoModelForCausalLM", name, config, pretrained)
        whole.eval()
        self.body: nn.Module = whole.base_model
        projection = whole.get_output_embeddings()
        if projection is None or self.body is whole:
            raise _no_decoder(name, "it has no output projection of its own")
        # A tied projection is the embedding, and must not be saved a second time.
        self.projection: nn.Module | None = (
            None if projection.weight is self.embedding.weight else projection
        )
        self.width_in = int(self.embedding.weight.shape[1])
        limit = getattr(whole.config, "max_position_embeddings", None)
        self.longest: int | None = limit if isinstance(limit, int) else None
        self.takes_positions = "position_ids" in inspect.signature(self.body.forward).parameters
        used = self._check(name, whole)
        refuse_missing(name, whole, missing, used)
        for p in self.parameters():  # what the logits do not depend on has nothing to learn
            p.requires_grad_(id(p) in used)

    @property
    def embedding(self) -> Any:
        """The body's own embedding of its tokens: (...) -> (..., E)."""
        return cast(Any, self.body).get_input_embeddings()

    @property
    def output_weight(self) -> Tensor:
        """(V, D) of the output projection."""
        return cast(Tensor, (self.projection or self.embedding).weight)

    @property
    def output_bias(self) -> Tensor | None:
        """(V,) of the output projection, where it has one."""
        return getattr(self.projection, "bias", None)

    def forward(
        self, x: Tensor, past: dict[str, Tensor], mask: Tensor, positions: Tensor, attend: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Run L tokens, embedded (N, L, E), after P cached ones.

        The past is "key0", "value0", "key1"..., (N, H, P, Dh) each, none at the start; the mask
        (N, P + L) is True where one may attend; positions are (N, L). Returns hidden vectors (N, L,
        D), the mean attention (N, L, P + L), empty without ``attend``, and the next past.
        """
        layers = sum(key.startswith("key") for key in past)
        cache = new_cache((past[f"key{i}"], past[f"value{i}"]) for i in range(layers))
        options: dict[str, Any] = {"position_ids": positions} if self.takes_positions else {}
        out = self.body(
            inputs_embeds=x,
            attention_mask=mask.long(),
            past_key_values=cache,
            use_cache=True,
            output_attentions=attend,
            **options,
        )
        after: dict[str, Tensor] = {}
        for i, layer in enumerate(out.past_key_values.layers):
            after[f"key{i}"], after[f"value{i}"] = layer.keys, layer.values
        looks = x.new_empty(0)
        if attend:
            upper = out.attentions[len(out.attentions) // 2 :]
            looks = torch.stack([a.mean(1) for a in upper]).mean(0)  # (N, L, P + L)
        return out.last_hidden_state, looks, after

    def _check(self, name: str, whole: Any) -> set[int]:
        """Refuse what is not a plain causal transformer; the ``id`` of the parameters in use.

        Running two tokens at once and one by one must agree, and give the model's own logits: some
        models scale or cap those after the projection, or keep more than keys and values.
        """
        try:
            with torch.enable_grad():
                theirs = whole(input_ids=torch.tensor([[0, 1]])).logits
            found = torch.autograd.grad(theirs.sum(), list(whole.parameters()), allow_unused=True)
            past: dict[str, Tensor] = {}
            steps = []
            for i in range(2):
                at, mask = torch.tensor([[i]]), torch.ones(1, i + 1, dtype=torch.bool)
                with torch.no_grad():
                    hidden, _, past = self(self.embedding(at), past, mask, at, attend=i == 1)
                    steps.append(F.linear(hidden, self.output_weight, self.output_bias))
            ours = torch.cat(steps, dim=1)  # (1, 2, V)
        except (*FAILURES, TypeError, AttributeError, IndexError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise _no_decoder(name, first) from None
        if not torch.allclose(ours, theirs.detach(), rtol=1e-3, atol=1e-3):
            raise _no_decoder(name, "its scores are no plain projection of its last layer")
        pairs = zip(whole.parameters(), found, strict=True)
        return {id(p) for p, g in pairs if g is not None}


def _no_decoder(name: str, why: str) -> PlaitError:
    return PlaitError(
        f"hub:{name} can't be a decoder: {why}",
        expected="a causal transformer with keys and values and an output projection",
        hint="name another model, such as one of the GPT-2 or Llama families",
    )
