"""Weights that look things up, written by hand.

What a model this small would need for a long time to find out can be said in a few heads of attention (in
the spirit of Weiss et al., "Thinking like Transformers", 2021). So they are written, not trained:

- layer 0 puts beside each token the two tokens before it and the piece of a word that it continues, and
  flags the tokens of the question, which stands between `<|user|>` and the end of the line;
- layer 1 gives each token of a passage the number of its line, `[n]`, and the weight of the word of the
  question that means the same, if there is one; words that mean the same have codes alike (`meanings.py`);
- layer 2 strikes out what a line says twice;
- layer 3 sums the weights of each line, and what the question needs to be answered at all;
- layer 4 chooses the line with the highest sum, or, when what the question needs is more, the sentence
  that the instruction prescribes for that;
- layer 5 goes on in the chosen line, with the token that follows the last one and stands as far from the
  line's beginning as it shall stand from the answer's (compare Olsson et al., "In-context Learning and
  Induction Heads", 2022). Eight heads of the layers before tell every token how far it is, as the sines
  and cosines of four frequencies. Two more heads are for what is learned later: one gathers what the
  question is about, one takes away the token itself, which a tied embedding would else say again.

Scores are in nats: a score `a` above another one is looked at e^a times as much. A head that finds nothing
rests on the first token. The first dimension of the stream is a large constant, so that the norms change
next to nothing; they hand it on as 1.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import LlamaForCausalLM

HEAD = 96  # width of a head
HALF = HEAD // 2
QUICK = 15  # rotary pairs that tell distances; the others turn so slowly that they compare content
LARGE = 20.0  # the constant dimension
BOS, END, USER, ASSISTANT, SYSTEM = "<|bos|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
DIGITS = tuple("0123456789")
NAMED = (BOS, END, USER, ASSISTANT, SYSTEM, "\n", " ", "]", "[", ":", *DIGITS)
SAY = ("say", "答")  # the words in front of the colon after which the instruction's own answer stands
BLOCKS = (15, 16)  # of all tokens but the named ones, two codes of unit length each
SIZES = {
    "constant": 1,
    "weight": 1,  # of a word, when it is found
    "need": 1,  # how much the question needs it
    "rarity": 1,  # of a word among all questions
    "joins": 1,  # the next token continues the word
    "script": 1,  # 1 Latin, -1 Chinese
    "question": 1,
    "found": 1,
    "again": 1,
    "counted": 1,
    "sum": 1,
    "asked": 1,
    "token": len(NAMED) + sum(BLOCKS),
    "meaning": 36,
    "back": len(NAMED) + sum(BLOCKS),
    "two_back": len(NAMED),
    "begun": 1 + BLOCKS[1],  # that the token continues a word, and with what before it
    "line": len(DIGITS) + 1,  # by the last digit of its number, or the instruction's own answer
    "chosen": len(DIGITS) + 1,
    "distance": 8,
}
MEANING = SIZES["meaning"]
USED = sum(SIZES.values())  # the rest of the stream takes what the question is about
ONE, TWO = (math.sqrt(size / sum(BLOCKS)) for size in BLOCKS)  # so that a whole code has unit length
WAVES = ((2, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 1), (4, 2), (4, 3))  # layer and head of each distance
PERIODS = (1, 2, 4, 6)  # rotary pairs that come around after 11, 20, 63 and 199 tokens

# Scores, in nats.
NEIGHBOUR, JOINS, BEGIN, RECENT, FLAG = 16.0, 40.0, 85.0, 2.5, 30.0
COMMON = -6.0  # the rarity of a word that tells nothing, at least
JOINED = 28.0  # how far apart two pieces are that follow different beginnings of a word
ASKED_AMONG = 40  # of so many words a question asks half of what its words together would need
FAINT, SMALL = 0.05, 0.25  # of what would change the norms
ALIKE, ALIKE_FROM = 24.0, 0.6  # how sharply, and from which cosine on, two words mean the same
TWICE, APART, NOT_ITSELF = 60.0, 18.0, 7.5
IN_LINE, OUT_OF, ASKED = 12.0, 1000.0, 15.0
SHARE = 0.25  # of the sums that the stream holds
PRESENT, SHARPER, SEVERAL = 40.0, 4.0, 2.3
MARK, WAVE = 10.0, 2.0
CHOSEN, FOLLOWS, AS_FAR, FIRST = 30.0, 30.0, 12.0, 40.0
COPIED, LOUD = 400.0, 8.0
GIST, LATER, FEATURE = 2.0, 0.1, 0.3


def speeds(theta: float) -> Tensor:
    """Return the angles (HALF,) by which the pairs of a head turn from one token to the next."""
    return theta ** (-torch.arange(HALF, dtype=torch.float64) / HALF)


def waves(theta: float, wanted: Mapping[int, float], beyond: float, care: Mapping[int, float]) -> Tensor:
    """Return the amplitudes (2, QUICK) of cosines and sines whose sum over a distance comes near `wanted`.

    `beyond` is wanted where nothing else is; `care` says how much a distance counts (1 where not given).
    The constant part of the sum is left out.
    """
    places = torch.tensor([*range(130), *range(130, 900, 5)], dtype=torch.float64)
    target = torch.tensor([wanted.get(int(d), beyond) for d in places], dtype=torch.float64)
    counts = torch.tensor([care.get(int(d), 1.0) for d in places], dtype=torch.float64)[:, None]
    angles = places[:, None] * speeds(theta)[:QUICK]
    table = torch.cat([angles.cos(), angles.sin(), torch.ones(len(places), 1)], 1) * counts
    small = torch.eye(2 * QUICK + 1, dtype=torch.float64) * 0.2
    small[-1, -1] = 0
    found = torch.linalg.solve(table.T @ table + small, table.T @ (target[:, None] * counts))
    return found[:-1, 0].view(2, QUICK).float()


class Head:
    """One attention head as views into the weights of its layer, emptied."""

    def __init__(self, model: LlamaForCausalLM, layer: int, index: int) -> None:
        attention = model.model.layers[layer].self_attn
        rows = slice(index * HEAD, (index + 1) * HEAD)
        self.query, self.key, self.value = (
            getattr(attention, name).weight.data[rows]
            for name in ("q_proj", "k_proj", "v_proj")  # type: ignore[union-attr]
        )
        self.out = attention.o_proj.weight.data[:, rows]  # type: ignore[union-attr, index]
        for weights in (self.query, self.key, self.value, self.out):
            weights.zero_()
        slow = [row for row in range(HEAD) if row % HALF >= QUICK]
        self.free = sorted(slow, key=lambda row: row % HALF)
        self.carried = 0

    def compare(self, strength: float, here: Tensor, there: Tensor) -> "Head":
        """Add to the score `strength` times the product of two codes, whatever the distance."""
        rows = [self.free.pop() for _ in here]
        factor = math.sqrt(strength * math.sqrt(HEAD))
        self.query[rows], self.key[rows] = factor * here, factor * there
        return self

    def turn(self, pair: int, strength: float, phase: float, here: Tensor, there: Tensor) -> "Head":
        """Add to the score `strength` times the cosine of the turns of `pair` to there, less `phase`."""
        factor = math.sqrt(strength * math.sqrt(HEAD))
        self.query[pair] = factor * here[0]
        self.key[pair] += factor * math.cos(phase) * there[0]
        self.key[HALF + pair] += factor * math.sin(phase) * there[0]
        return self

    def near(self, amplitudes: Tensor, here: Tensor, there: Tensor) -> "Head":
        """Add to the score a sum of waves over the distance, such as `waves` returns."""
        for pair, (cosine, sine) in enumerate(amplitudes.T.tolist()):
            self.turn(pair, math.hypot(cosine, sine), math.atan2(sine, cosine), here, there)
        return self

    def carry(self, read: Tensor, write: Tensor, gain: float = 1.0) -> None:
        """Read a code where the head looks and add it, `gain` times, in the place `write` of here."""
        self.value[: len(read)] = read
        self.out[:, : len(write)] = gain * write.T


class Circuit:
    """Writes the weights. `meaning` (tokens, MEANING), `weight`, `need`, `rarity`, `joins` and `script` are
    of the vocabulary; `threshold` is what the sum of a line has to reach beyond what is needed; `sample` is
    a prompt with passages, by which the norms are set.
    """

    def __init__(
        self, model: LlamaForCausalLM, ids: Mapping[str, int], meanings: Mapping[str, Tensor], sample: Tensor
    ) -> None:
        self.model, self.ids, self.sample = model, ids, sample
        width = model.config.hidden_size
        rotary: Any = model.config.rope_parameters
        self.theta = float(rotary["rope_theta"])
        self.place = dict(zip(SIZES, torch.eye(width)[:USED].split(list(SIZES.values())), strict=True))
        self.free = torch.eye(width)[USED:]
        self.here = self.place["constant"]
        for layer in model.model.layers:
            # What is not part of the circuit stays silent until training gives it something to say.
            layer.self_attn.o_proj.weight.data.zero_()  # type: ignore[union-attr, operator]
            layer.mlp.down_proj.weight.data.zero_()  # type: ignore[union-attr, operator]
            # What training reads is to be of the size of the codes.
            layer.mlp.gate_proj.weight.data.normal_(std=FEATURE)  # type: ignore[union-attr, operator]
            layer.mlp.up_proj.weight.data.normal_(std=FEATURE)  # type: ignore[union-attr, operator]
        self.codes = self._codes()
        self.nowhere = self.named("token", {BOS: 1})
        self.asks = self.named("token", {ASSISTANT: 1})
        self.sharpness, self.threshold = (float(meanings[name]) for name in ("sharpness", "threshold"))
        self._embed(meanings)

    def _codes(self) -> Tensor:
        """Return the code of each token: named ones have a dimension of their own."""
        tokens = self.model.config.vocab_size
        one, two = (normalize(torch.randn(tokens, size), dim=1) for size in BLOCKS)
        codes = torch.cat([torch.zeros(tokens, len(NAMED)), ONE * one, TWO * two], 1)
        for number, name in enumerate(NAMED):
            codes[self.ids[name], : -BLOCKS[1]] = 0
            codes[self.ids[name], number] = ONE
        codes[self.ids[BOS], -BLOCKS[1] :] = 0
        return codes

    def _embed(self, meanings: Mapping[str, Tensor]) -> None:
        embedding = self.model.model.embed_tokens.weight.data
        rest = normalize(meanings["meaning"], dim=1)
        rest[self.ids[BOS]] = 0
        embedding[:] = self.codes @ self.place["token"] + rest @ self.place["meaning"]
        embedding += LARGE * self.here
        scales = {"weight": 1.0, "need": 1.0, "rarity": FAINT, "joins": FAINT, "script": FAINT}
        for name, scale in scales.items():
            embedding += scale * meanings[name][:, None] * self.place[name]

    def named(self, place: str, weights: Mapping[str, float]) -> Tensor:
        """Return a direction (1, width) on which each named token in `place` has its weight."""
        rows = [weights.get(name, 0.0) / ONE for name in NAMED]
        return (torch.tensor(rows) @ self.place[place][: len(NAMED)])[None]

    def waves(self, wanted: Mapping[int, float], beyond: float, care: Mapping[int, float]) -> Tensor:
        """Return `waves` of this model."""
        return waves(self.theta, wanted, beyond, care)

    @torch.no_grad()
    def stream(self, layer: int) -> Tensor:
        """Return what stands before `layer` at the tokens of the sample, (tokens, width)."""
        out = self.model.model(self.sample[None], output_hidden_states=True, use_cache=False)
        return out.hidden_states[layer][0]

    def settle(self, layer: int, after_attention: bool = False) -> None:
        """Set a norm of `layer` so that it changes nothing but the constant, which becomes 1."""
        block = self.model.model.layers[layer]
        lengths = self.stream(layer + after_attention).norm(dim=-1)
        usual = lengths[1:].mean() / math.sqrt(self.model.config.hidden_size)
        for norm in (block.input_layernorm, block.post_attention_layernorm)[after_attention:]:
            norm.weight.data.fill_(usual)  # type: ignore[union-attr, operator]
            norm.weight.data[0] = usual / LARGE  # type: ignore[union-attr, index]
        # The norm makes the first token, with nothing before it, a little louder than the others.
        self.rest = float(lengths[0] / lengths[1:].mean())

    def head(self, layer: int, index: int) -> Head:
        """The head number `index` of `layer`, emptied."""
        return Head(self.model, layer, index)

    def resting(self, head: Head, score: float) -> Head:
        """Let `head` rest on the first token when nothing reaches `score`."""
        return head.compare(score * self.rest, self.here, self.nowhere)

    def write(self) -> None:
        """Write all heads, layer by layer."""
        for layer, part in enumerate(
            (self._look_back, self._read, self._count_once, self._sum, self._choose, self._speak)
        ):
            self.settle(layer)
            part()
            for number, (at, index) in enumerate(WAVES):
                if at == layer:
                    self._distance(number, at, index)
        norm = self.model.model.norm.weight.data
        norm.fill_(0.02)
        norm += LOUD * self.place["token"].sum(0)

    def _look_back(self) -> None:
        place, speed = self.place, speeds(self.theta)
        for offset, write in enumerate((place["back"], place["two_back"]), 1):
            head = self.head(0, offset - 1)
            for pair in range(10):
                head.turn(pair, NEIGHBOUR, offset * float(speed[pair]), self.here, self.here)
            head.carry(place["token"][: len(write)], write)
        begun = torch.cat([place["joins"] / FAINT, place["token"][-BLOCKS[1] :] / TWO])
        word = self.head(0, 3).compare(JOINS / FAINT, self.here, place["joins"])
        for pair in range(10):
            word.turn(pair, 2 * NEIGHBOUR, float(speed[pair]), self.here, self.here - self.nowhere)
        self.resting(word, JOINS + 19.3 * NEIGHBOUR).carry(begun, place["begun"], SMALL)
        roles = self.named("token", {USER: 1, ASSISTANT: 1, SYSTEM: 1, "\n": 1})
        latest = (
            self.head(0, 2).compare(2 * BEGIN, self.here, roles).near(self.latest(), self.here, self.here)
        )
        latest.carry(self.named("token", {USER: 1}), place["question"])

    def latest(self) -> Tensor:
        """Waves that fall with the distance: of several beginnings, the last one counts."""
        fall = {d: -4 * math.log1p(d) - 0.1 * d for d in range(261)}
        care = dict.fromkeys(range(261), 2.0) | dict.fromkeys(range(261, 900), 0.3)
        return RECENT * self.waves(fall, -48.0, care)

    def later(self) -> Tensor:
        """Waves that fall slowly with the distance: of several questions, the last one counts."""
        fall = {d: -LATER * d for d in range(161)}
        return self.waves(
            fall, -LATER * 160, dict.fromkeys(range(161), 1.0) | dict.fromkeys(range(161, 900), 0.1)
        )

    def _read(self) -> None:
        place = self.place
        roles = {USER: 2.0, ASSISTANT: 2.2, BOS: 2.0}
        begins = self.named("token", {"]": 1.0, **roles}) + self.named("two_back", {"[": 1.0})
        lines = self.head(1, 0).compare(BEGIN, self.here, begins).near(self.latest(), self.here, self.here)
        numbers = len(NAMED) - len(DIGITS)
        lines.carry(place["back"][numbers : len(NAMED)] / ONE, place["line"][:-1])
        said = self.codes[[self.ids[word] for word in SAY]] @ place["back"]
        # The two words may be alike by chance; a new message always ends what was said.
        begins = self.named("token", {":": 1.0, USER: 2.8, ASSISTANT: 2.8, BOS: 1.4}) + said.sum(
            0, keepdim=True
        )
        own = self.head(1, 1).compare(BEGIN, self.here, begins).near(self.latest(), self.here, self.here)
        own.carry(self.named("token", {":": 1.0}), place["line"][-1:])
        words = self.head(1, 2).compare(ALIKE, place["meaning"], place["meaning"])
        words.compare(FLAG, self.here, place["question"])
        begun = place["begun"] / SMALL
        words.compare(JOINED, begun[1:], begun[1:])
        words.compare(JOINED / 2, self.here, -begun[:1])
        words.compare(JOINED / 2, -begun[:1], self.here - self.nowhere)
        self.resting(words, ALIKE * ALIKE_FROM + FLAG).carry(place["weight"], place["found"])

    def _count_once(self) -> None:
        place, whole = self.place, self.place["token"][len(NAMED) - len(DIGITS) :]
        itself = self.waves({0: -4.0}, 0.0, {0: 9.0, 1: 0.05, 2: 0.05}) * NOT_ITSELF
        angles = torch.arange(3, 600)[:, None] * speeds(self.theta)[:QUICK].float()
        usual = float((angles.cos() @ itself[0] + angles.sin() @ itself[1]).mean())
        others = self.here - self.nowhere
        head = self.head(2, 0).compare(TWICE, whole, whole).near(itself, self.here, others)
        head.compare(TWICE, place["line"], place["line"])
        self.resting(head, 2 * TWICE - APART + usual).carry(others, place["again"])
        self.settle(2, after_attention=True)
        # counted = found, unless it is said again: a gate (nearly linear from 10 on) times the weight.
        gate, mlp = 10.0, self.model.model.layers[2].mlp
        mlp.gate_proj.weight.data[0] = gate * (self.here - 1.3 * place["again"])[0]  # type: ignore[union-attr, index]
        mlp.up_proj.weight.data[0] = place["found"][0]  # type: ignore[union-attr, index]
        mlp.down_proj.weight.data[:, 0] = place["counted"][0] / gate  # type: ignore[union-attr, index]

    def _sum(self) -> None:
        """Averages over a line, or the question, and very much of nothing, are sums."""
        place, gain = self.place, OUT_OF * SHARE
        lines = self.head(3, 0).compare(IN_LINE, place["line"], place["line"])
        self.resting(lines, IN_LINE + math.log(OUT_OF)).carry(place["counted"], place["sum"], 1.05 * gain)
        asked = self.head(3, 1).compare(ASKED, self.here, place["question"])
        need = asked, ASKED + math.log(ASKED_AMONG)
        self.resting(*need).carry(place["need"], place["asked"], ASKED_AMONG * SHARE)

    def _choose(self) -> None:
        place, sharp = self.place, SHARPER * self.sharpness
        present = PRESENT * place["line"][:-1].sum(0, keepdim=True)
        head = self.head(4, 0).compare(1.0, self.here, sharp / SHARE * place["sum"] + present)
        # A line is looked at by several of its tokens, the first token of all stands alone.
        least = (PRESENT + SHARPER * self.threshold + SEVERAL) * self.here + sharp / SHARE * place["asked"]
        head.compare(1.0, least, self.nowhere)
        seen = torch.cat([place["line"][:-1], self.nowhere])
        head.carry(seen, place["chosen"])

    def _speak(self) -> None:
        self._copy()
        place = self.place
        about = torch.cat([place["script"] / FAINT, place["meaning"], place["token"][len(NAMED) :]])
        gist = self.head(5, 1).compare(FLAG, self.here, place["question"])
        gist.compare(1 / FAINT, self.here, place["rarity"]).near(self.later(), self.here, self.here)
        self.resting(gist, FLAG / 3).carry(about[: len(self.free)], self.free, GIST)
        itself = self.head(5, 2)
        for pair in range(10):
            itself.turn(pair, NEIGHBOUR, 0.0, self.here, self.here)
        itself.carry(place["token"], -place["token"])

    def _copy(self) -> None:
        place, from_here = self.place, NAMED.index(" ")
        whole, before = place["token"][from_here:], place["back"][from_here:]
        line = place["line"].clone()
        line[-1] -= line[:-1].sum(0) + place["question"][0]  # the instruction is neither passage nor question
        head = self.head(5, 0).compare(CHOSEN, place["chosen"], line)
        head.compare(FOLLOWS, whole, before)
        # The first token of all is at no distance.
        head.compare(AS_FAR, place["distance"], place["distance"] + self.nowhere)
        first = self.named("back", {" ": 0.5}) + self.named("two_back", {"]": 0.5, ":": 0.3})
        head.compare(FIRST, self.asks, first)
        # What stands in no chosen line is not copied, even if it follows and is as far.
        self.resting(head, CHOSEN / 2 + FOLLOWS + 2.3 * AS_FAR)
        # The end of a line ends the answer.
        change = torch.eye(SIZES["token"])
        line_break, first_token = NAMED.index("\n"), NAMED.index(BOS)
        change[line_break] += (self.codes[self.ids[END]] - self.codes[self.ids["\n"]]) / ONE
        change[first_token] = 0
        head.carry(place["token"], change @ place["token"], COPIED)

    def _distance(self, number: int, layer: int, index: int) -> None:
        """Tell each token of a line or an answer one wave of its distance to the beginning."""
        place, pair, phase = self.place, PERIODS[number // 2], number % 2 * math.pi / 2
        mark = self.named("token", {"]": 1, ":": 1, ASSISTANT: 1, BOS: 1})
        mark += self.named("two_back", {"[": 1}) + place["line"][-1:]
        present = place["line"][:-1].sum(0, keepdim=True)
        head = self.head(layer, index).compare(MARK, place["line"], place["line"])
        head.compare(MARK, self.here, mark - self.here).compare(2 * MARK, self.here - present, self.asks)
        self.resting(head, 2 * MARK)
        # A line begins two tokens after its mark, an answer at once.
        two = 2 * float(speeds(self.theta)[pair])
        head.turn(pair, WAVE, phase, self.here, self.here - self.nowhere - self.asks)
        head.turn(pair, WAVE, phase - two, self.here, self.asks)
        head.carry(self.here - 2 * self.nowhere, place["distance"][number : number + 1])


@torch.no_grad()
def prepare(
    model: LlamaForCausalLM, ids: Mapping[str, int], meanings: Mapping[str, Tensor], sample: Sequence[int]
) -> None:
    """Overwrite the random weights of `model` by the circuit."""
    Circuit(model, ids, meanings, torch.tensor(sample)).write()


def protect(model: LlamaForCausalLM) -> None:
    """Let training change the MLP of the last layer only: it speaks when nothing is copied."""
    model.requires_grad_(False)
    model.model.layers[-1].mlp.requires_grad_(True)  # type: ignore[operator]
