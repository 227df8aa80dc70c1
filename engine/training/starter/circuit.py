"""First weights that already know how to look things up.

Training a model this small from random weights spends nearly all of its time finding out how to copy and
what to copy. So the first weights hold a rough circuit for it, and training makes it good:

- layer 0 writes beside each token the two tokens before it (this and the copying below: Olsson et al.,
  "In-context Learning and Induction Heads", 2022), and a flag on every token of the question, which stands
  between `<|user|>` and the end of the line;
- layer 1 flags each token that the question holds too, and writes beside each token a mark: the first
  token of its sentence;
- layer 2 counts the votes: after `<|assistant|>` it reads the marks of all flagged tokens;
- layer 3 carries over the first token of the sentence whose mark has the votes, and then, in that
  sentence, whatever follows the last two tokens.

The residual stream is cut into places, turned at random: the token (two of them), its two predecessors,
the mark, the votes, the flags. All heads that are not named here begin by preferring equal tokens (after
Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers", 2023) but say nothing yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

HEAD = 32  # width of a head, and of the widest places in the residual stream
PLACES = (32, 28, 32, 32, 32, 28, 8)  # token, rest of it, one back, two back, mark, votes, flags
SLOW_PAIRS = 9  # rotary pairs so slow that they compare content whatever the distance
FINDERS, COPIERS = 5, 6  # heads that look for words of the question; heads that carry a token over
BOS, END, LINE = "<|bos|>", "<|end|>", "\n"
ROLES = USER, ASSISTANT, SYSTEM = "<|user|>", "<|assistant|>", "<|system|>"
# One and two tokens before the first token of a sentence; a full score is 1.
BEFORE = {"。": 1.0, " ": 0.5, ASSISTANT: 1.0}
TWO_BEFORE = {".": 0.5, "]": 0.5, "-": 0.5}
NAMED = (BOS, END, *ROLES, LINE, "。", " ", *TWO_BEFORE)


@dataclass(frozen=True, kw_only=True)
class Gains:
    """How strongly each part of the circuit looks and writes; found by random search on the loss."""

    loud: float = 2.34
    constant: float = 0.6
    look: float = 2.87
    look_gain: float = 0.1
    line: float = 15.4
    line_near: float = 6.93
    line_gain: float = 0.068
    same: float = 0.995
    same_before: float = 1.4
    asked: float = 2.18
    not_asked: float = 5.2
    found_gain: float = 0.0297
    begin: float = 9.02
    begin_near: float = 2.69
    mark_gain: float = 0.115
    vote: float = 4.3
    not_in_question: float = 0.752
    no_vote: float = 1.19
    vote_gain: float = 0.0412
    voted: float = 2.15
    follows: float = 1.95
    follows_two: float = 0.651
    begin_quote: float = 3.1
    copy_gain: float = 0.447


def orthonormal(rows: int, columns: int) -> Tensor:
    """Return a random matrix with orthonormal rows; `rows` is at most `columns`."""
    return torch.linalg.qr(torch.randn(columns, rows)).Q.T.contiguous()


def padded(code: Tensor) -> Tensor:
    """Return `code` with empty rows up to the width of a head."""
    return torch.cat([code, torch.zeros(HEAD - len(code), code.shape[1])])


@dataclass(frozen=True)
class Head:
    """One attention head as views into the weights of its layer."""

    query: Tensor
    key: Tensor
    value: Tensor
    out: Tensor
    theta: float

    @classmethod
    def of(cls, attention: LlamaAttention, index: int, theta: float) -> "Head":
        """The head number `index` of a layer whose rotary base is `theta`."""
        rows = slice(index * HEAD, (index + 1) * HEAD)
        query, key, value = (
            projection.weight.data[rows]
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return cls(query, key, value, attention.o_proj.weight.data[:, rows], theta)

    def near(self, strength: float, pairs: Sequence[int], offset: int = 0) -> None:
        """Prefer tokens `offset` back; `pairs` set how sharply."""
        half = HEAD // 2
        for pair in pairs:
            turn = torch.tensor(offset * self.theta ** (-pair / half))
            self.query[pair, 0] = strength**0.5
            self.key[pair, 0] = torch.cos(turn) * strength**0.5
            self.key[half + pair, 0] = torch.sin(turn) * strength**0.5

    def match(self, terms: Sequence[tuple[float, Tensor, Tensor]]) -> None:
        """Compare at any distance: for each term, its first code of here with its second code of there."""
        half = HEAD // 2
        rows = [*range(half - SLOW_PAIRS, half), *range(HEAD - SLOW_PAIRS, HEAD)]
        self.query.zero_()
        self.key.zero_()
        free = len(rows) - sum(len(here) == 1 for _, here, _ in terms)
        for strength, here, there in terms:
            if len(here) == 1:  # a single number has a row of its own, away from the mixed codes
                row = [rows.pop()]
                self.query[row], self.key[row] = strength * here, strength * there
            else:
                mix = orthonormal(free, len(here))
                self.query[rows[:free]] += strength * mix @ here
                self.key[rows[:free]] += strength * mix @ there

    def carry(self, read: Tensor, write: Tensor, gain: float) -> None:
        """Read a code where the head looks and add it, `gain` times, in place `write` of here."""
        self.value.copy_(padded(read))
        self.out.copy_(gain * padded(write).T)


class Circuit:
    """Writes the circuit into the weights of a model; `ids` gives the ids of the NAMED tokens."""

    def __init__(self, model: LlamaForCausalLM, ids: Mapping[str, int], gains: Gains) -> None:
        self.gains = gains
        theta = model.config.rope_parameters["rope_theta"]  # type: ignore[index]
        self.heads = [
            [Head.of(layer.self_attn, n, theta) for n in range(model.config.num_attention_heads)]  # type: ignore[arg-type]
            for layer in model.model.layers
        ]
        for block in model.model.layers:
            # What is not part of the circuit stays silent until training gives it something to say.
            block.self_attn.o_proj.weight.data.zero_()  # type: ignore[union-attr, operator]
            block.mlp.down_proj.weight.data.zero_()  # type: ignore[union-attr, operator]
        model.model.norm.weight.data.fill_(gains.loud)
        self.embedding = model.model.embed_tokens.weight.data
        self.here = torch.zeros(1, self.embedding.shape[1])
        self.here[0, 0] = 1.0  # one dimension is the same for all tokens, as a handle for position
        self._embed(ids)

    def _embed(self, ids: Mapping[str, int]) -> None:
        """Give every token a code in the places of tokens; named ones have orthogonal codes."""
        width = self.embedding.shape[1]
        basis = orthonormal(width, width)
        spread = torch.full((width,), 0.015)
        spread[: PLACES[0] + PLACES[1]] = 0.065  # tokens live where the heads do not write
        self.embedding.copy_(torch.randn_like(self.embedding) * spread @ basis)
        self.embedding[:, 0] = self.gains.constant
        basis[:, 0] = 0
        self.token, self.rest, self.back, self.back_two, self.mark, self.votes, flags = basis.split(PLACES)
        self.question, self.found = flags[:1], flags[1:2]
        self.named = orthonormal(len(NAMED), PLACES[0])
        for place in (self.token, self.rest):
            codes = self.embedding @ place.T
            if place is self.token:
                codes -= codes @ self.named.T @ self.named  # nothing else looks like a named token
            codes *= spread[0] * len(place) ** 0.5 / codes.norm(dim=-1, keepdim=True)
            if place is self.token:
                for name, direction in zip(NAMED, self.named, strict=True):
                    codes[ids[name]] = spread[0] * len(place) ** 0.5 * direction
            self.embedding += (codes - self.embedding @ place.T) @ place

    def detect(self, weights: Mapping[str, float], place: Tensor) -> Tensor:
        """Return a direction (1, width) in which each named token in `place` has its weight."""
        return (torch.tensor([weights.get(name, 0.0) for name in NAMED]) @ self.named @ place)[None]

    def write(self) -> None:
        """Write all heads."""
        for layer in self.heads:
            for n, head in enumerate(layer):
                own = (self.token, self.rest)[n % 2]
                head.match([(1.5, own, own)])
        self.begins = self.detect(BEFORE, self.back) + self.detect(TWO_BEFORE, self.back_two)
        self.begins -= 2 * self.detect({LINE: 1.0}, self.token)
        self.nowhere = self.detect({BOS: 1.0}, self.token)  # where a head rests that finds nothing
        self._look_back()
        self._find_words()
        self._mark_sentences()
        self._vote()
        self._copy()

    def _look_back(self) -> None:
        gains = self.gains
        for offset, place in enumerate((self.back, self.back_two), 1):
            head = self.heads[0][offset - 1]
            head.match([])
            head.near(gains.look, range(5), offset)
            head.carry(self.token, place, gains.look_gain)
        line = self.heads[0][2]
        begins_line = self.detect({USER: 1.0, ASSISTANT: 1.0, LINE: 1.0}, self.token)
        line.match([(gains.line**0.5, self.here, begins_line)])
        line.near(gains.line_near, (4, 5, 6))
        line.carry(self.detect({USER: 1.0}, self.token), self.question, gains.line_gain)

    def _find_words(self) -> None:
        gains = self.gains
        for head in self.heads[1][:FINDERS]:
            head.match(
                [
                    (gains.same, self.token, self.token),
                    (gains.same_before, self.back, self.back),
                    (gains.asked**0.5, self.here, self.question),
                    (gains.not_asked**0.5, self.here, self.nowhere),
                ]
            )
            head.carry(self.question, self.found, gains.found_gain)

    def _mark_sentences(self) -> None:
        head = self.heads[1][FINDERS]
        head.match([(self.gains.begin**0.5, self.here, self.begins)])
        head.near(self.gains.begin_near, (4, 5, 6))
        head.carry(self.token, self.mark, self.gains.mark_gain)

    def _vote(self) -> None:
        gains, head = self.gains, self.heads[2][0]
        found = self.found - gains.not_in_question * self.question
        head.match([(gains.vote**0.5, self.here, found), (gains.no_vote**0.5, self.here, self.nowhere)])
        head.carry(self.mark[: len(self.votes)], self.votes, gains.vote_gain)

    def _copy(self) -> None:
        gains = self.gains
        answering = self.detect({ASSISTANT: 1.0}, self.token)
        for n, head in enumerate(self.heads[3][:COPIERS]):
            head.match(
                [
                    (gains.voted, self.votes, self.mark[: len(self.votes)]),
                    (gains.follows, self.token, self.back),
                    (gains.follows_two, self.back, self.back_two),
                    (gains.begin_quote**0.5, answering, self.begins),
                ]
            )
            part = (self.token, self.rest)[n % 2]
            head.carry(part, part, gains.copy_gain)


@torch.no_grad()
def prepare(model: LlamaForCausalLM, ids: Mapping[str, int], gains: Gains | None = None) -> None:
    """Overwrite the random weights of `model` by the circuit."""
    Circuit(model, ids, gains or Gains()).write()
    # The vote reads nothing from the first token, which looks the same whatever follows it.
    seen = model.model(torch.tensor([[ids[BOS]]]), output_hidden_states=True, use_cache=False)
    at = seen.hidden_states[2][0, 0] / seen.hidden_states[2][0, 0].norm()
    value = model.model.layers[2].self_attn.v_proj.weight.data[:HEAD]  # type: ignore[union-attr, index]
    value.sub_(torch.outer(value @ at, at))
