"""Generated conversations on which the starter model learns to quote.

A case is a set of passages and a few turns about them. Every grounded answer is one sentence that stands
in the passages, character for character, or the refusal. Two families of questions exist: facts (the
question words the attribute differently from the statement) and word matches (the question holds some
words of a sentence of any content). Everything follows from the random generator that is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from types import ModuleType

from engine.kit.prompts import REFUSAL, Language, Message, grounded
from engine.training.starter import facts_en, facts_zh
from engine.training.starter.lexicon import WORDS
from engine.training.starter.names import VALUES, Split, entity, word
from engine.training.starter.prose import Prose
from engine.training.starter.synonyms import SYNONYMS

LANGUAGES: tuple[Language, ...] = ("en", "zh")
FACTS: dict[Language, ModuleType] = {"en": facts_en, "zh": facts_zh}
PROSE = 0.3  # share of cases whose text is mostly as books write it
CHATS = 0.12  # share of conversations without passages
SIGNS = (
    *"£¥€%&+=/()\"':;*#@°éüñö–—“”‘’™×→",
    *"《》、；：（）％～·喵璟瑜锵囍",
)
"""What a byte-level tokenizer spells in pieces has to be copied too."""
MEANT = {language: sorted(groups) for language, groups in SYNONYMS.items()}
STOP: dict[Language, str] = {"en": ".", "zh": "。"}
HONEST: dict[Language, str] = {
    "en": "I can only answer from documents, and none were given.",
    "zh": "我只能根据资料回答，但没有收到资料。",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Passages, the conversation about them and what kind each answer is ("quote", "refusal", "chat").

    `system` is what the operator of an expert tells it; nothing is ever quoted from it.
    """

    language: Language
    passages: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]
    kinds: tuple[str, ...]
    system: str = ""

    def messages(self) -> list[Message]:
        """Return the conversation in the one layout in which passages reach a model."""
        chat: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        for question, answer in self.turns:
            chat += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return grounded(chat, self.passages)


@dataclass(frozen=True, kw_only=True)
class Level:
    """How hard cases are: the most (and fewest) passages, the most sentences a passage and turns, shares of
    some kinds.
    """

    passages: int = 8
    fewest: int = 1
    sentences: int = 3
    turns: int = 2
    refusals: float = 0.15
    single: float = 0.75

    def __post_init__(self) -> None:
        if min(self.fewest, self.sentences, self.turns) < 1 or self.passages < self.fewest:
            raise ValueError("passages, sentences and turns are at least 1, and fewest is at most passages")
        if not 0 <= self.refusals <= 1 or not 0 <= self.single <= 1:
            raise ValueError("shares lie between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of a passage with questions that it, and no other sentence there, answers."""

    text: str
    questions: tuple[str, ...] = ()
    topic: tuple[str, str] = ("", "")


def fill(template: str, rng: Random, language: Language, split: Split, thing: str = "") -> str:
    """Replace the slots of `template`: `{e}` by `thing`, the others by fresh values."""
    pieces = template.split("{")
    out = [pieces[0]]
    for piece in pieces[1:]:
        slot, _, rest = piece.partition("}")
        out.append((thing if slot == "e" else VALUES[language][slot](rng, split)) + rest)
    text = "".join(out)
    return text[0].upper() + text[1:] if language == "en" else text


def fact(rng: Random, language: Language, split: Split, attribute: str, thing: str) -> Sentence:
    """State `attribute` of `thing`; an empty `thing` means the house itself."""
    table = FACTS[language].ABOUT if thing else FACTS[language].HOUSE
    statements, questions = table[attribute]
    text = fill(rng.choice(statements.split("|")), rng, language, split, thing)
    asked = tuple(fill(q, rng, language, split, thing) for q in questions.split("|"))
    return Sentence(text=text, questions=asked, topic=(thing, attribute))


def _any_word(rng: Random, language: Language, split: Split) -> str:
    """A joining word, an everyday word or an invented one, now and then with a sign that is seldom seen."""
    kind = rng.random()
    if kind < 0.03:
        return rng.choice(SIGNS) + word(rng, language, split)
    if kind < 0.3:
        return rng.choice(FACTS[language].LOOSE)
    if kind < 0.42:
        return rng.choice(MEANT[language])
    return rng.choice(WORDS[language]) if kind < 0.75 else word(rng, language, split)


@dataclass
class Loose:
    """Sentences of arbitrary words that share words and beginnings, as those of one real text do."""

    rng: Random
    language: Language
    split: Split
    made: list[tuple[list[str], str]] = field(default_factory=list)
    owned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.pool = [self._word() for _ in range(self.rng.randint(5, 14))]

    def sentence(self) -> Sentence:
        """Return one more sentence and a question that holds a few of its words, one of them its own."""
        rng = self.rng
        own = self._own()
        words = self._like_an_earlier_one() if self.made and rng.random() < 0.4 else self._new()
        words[rng.randrange(len(words))] = own
        self.made.append((words, own))
        join = " " if self.language == "en" else ""
        if len(words) > 8 and rng.random() < 0.4:
            at = rng.randint(2, len(words) - 3)
            text = join.join(words[:at]) + ("，" if self.language == "zh" else ", ") + join.join(words[at:])
        else:
            text = join.join(words)
        text = (text[0].upper() + text[1:] if self.language == "en" else text) + STOP[self.language]
        return Sentence(text=text, questions=tuple(word_questions(rng, self.language, words, own)))

    def _word(self) -> str:
        """Return a word that is no other sentence's own and means the same as none of those."""
        while True:
            found = _any_word(self.rng, self.language, self.split)
            if not self.owned.intersection((found, *SYNONYMS[self.language].get(found, ()))):
                return found

    def _own(self) -> str:
        """Return a word for one sentence alone, invented or with synonyms by which it can be asked for."""
        said = {found for words, _ in self.made for found in words}.union(self.pool)
        synonyms = SYNONYMS[self.language]
        while True:
            meant = self.rng.random() < 0.35
            own = (
                self.rng.choice(MEANT[self.language]) if meant else word(self.rng, self.language, self.split)
            )
            if not said.intersection((own, *synonyms.get(own, ()))):
                self.owned.add(own)
                return own

    def _new(self) -> list[str]:
        rng = self.rng
        count = rng.randint(4, rng.choice([8, 10, 18]))
        shared = rng.choice([0.2, 0.6, 0.9])
        words = [rng.choice(self.pool) if rng.random() < shared else self._word() for _ in range(count)]
        if rng.random() < 0.3:
            words.insert(rng.randrange(count), VALUES[self.language]["n"](rng, self.split))
        return words

    def _like_an_earlier_one(self) -> list[str]:
        rng = self.rng
        words, own = rng.choice(self.made)
        words = [self._word() if found == own else found for found in words]
        for _ in range(rng.randint(1, 3)):
            words[rng.randrange(len(words))] = self._word()
        return words


def word_questions(rng: Random, language: Language, words: Sequence[str], own: str = "") -> list[str]:
    """Questions that hold two to four of the telling words of a sentence, `own` among them."""
    bank = FACTS[language]
    telling = [w for w in dict.fromkeys(words) if w not in bank.LOOSE and w != own]
    kept = rng.sample(telling, min(len(telling), rng.randint(1, 3))) + [own] * bool(own)
    rng.shuffle(kept)
    if rng.random() < 0.5:
        kept = [w for w in dict.fromkeys(words) if w in kept]
    # A synonym may be all that leads to the sentence, when its own word is not asked for.
    kept = [_said_otherwise(rng, language, w) for w in kept]
    joined = (" " if language == "en" else rng.choice(["", "和", "的"])).join(kept)
    text = rng.choice(bank.ASKS.split("|")).replace("{q}", joined)
    return [text[0].upper() + text[1:] if language == "en" else text]


def _said_otherwise(rng: Random, language: Language, word: str) -> str:
    """Return `word`, or for every other one that has some, a synonym."""
    others = SYNONYMS[language].get(word)
    return rng.choice(others) if others and rng.random() < 0.5 else word


def with_asides(rng: Random, language: Language, question: str) -> str:
    """Return a question as people ask it: with a greeting, a reason or a circumstance around it."""
    first, *rest = rng.choice(FACTS[language].ASIDES.split("|")).split("{w}")
    return (first + "".join(rng.choice(WORDS[language]) + part for part in rest)).replace("{q}", question)


def told(text: Prose) -> Sentence:
    """One more sentence of a text such as books are made of."""
    said, asked = text.sentence()
    said = said + STOP[text.language]
    up = (lambda t: t[0].upper() + t[1:]) if text.language == "en" else (lambda t: t)
    return Sentence(text=up(said), questions=(up(asked),))


def prose(rng: Random, language: Language, split: Split) -> Sentence:
    """A sentence about nothing that is asked for."""
    return Sentence(text=fill(rng.choice(FACTS[language].PROSE.split("|")), rng, language, split))


def _sentences(rng: Random, language: Language, split: Split, count: int) -> list[Sentence]:
    """Distinct sentences: facts on a few things (so that things and attributes recur), the rest mixed in."""
    bank = FACTS[language]
    things = [entity(rng, language, split) for _ in range(max(1, count // 3))]
    attributes = rng.sample(sorted(bank.ABOUT), min(len(bank.ABOUT), max(2, count // 2)))
    house = rng.sample(sorted(bank.HOUSE), min(len(bank.HOUSE), count))
    shares = rng.choice([(0.8, 0.1, 0.1), (0.2, 0.6, 0.1), (0.1, 0.1, 0.7), (0.4, 0.2, 0.2)])
    loose = Loose(rng, language, split)
    text = Prose(rng, language, split)
    if rng.random() < PROSE:
        shares = (0.05, 0.05, 0.0)
    made: dict[tuple[str, str], Sentence] = {}
    while len(made) < count:
        kind = rng.random()
        if kind < shares[0] + shares[1]:
            thing = rng.choice(things) if kind < shares[0] else ""
            topic = (thing, rng.choice(attributes if thing else house))
            if topic not in made:
                made[topic] = _longer(rng, language, loose, fact(rng, language, split, topic[1], thing))
        elif kind < sum(shares):
            made[("", f"loose {len(made)}")] = loose.sentence()
        elif sum(shares) < 0.5:
            made[("", f"told {len(made)}")] = told(text)
        else:
            made[("", f"prose {len(made)}")] = prose(rng, language, split)
    found = list(made.values())
    rng.shuffle(found)
    return found


def _longer(rng: Random, language: Language, loose: Loose, sentence: Sentence) -> Sentence:
    """Now and then, let a sentence go on after a comma."""
    if rng.random() > 0.25:
        return sentence
    rest = loose.sentence().text
    joint = "，" if language == "zh" else rng.choice([", ", "; ", ", and "])
    rest = rest if language == "zh" else rest[0].lower() + rest[1:]
    return replace(sentence, text=sentence.text.removesuffix(STOP[language]) + joint + rest)


def _passage(rng: Random, language: Language, split: Split, sentences: Sequence[Sentence]) -> str:
    """Join sentences as chunk text has them: running text, a heading in front, or a list."""
    join = " " if language == "en" else ""
    form = rng.random()
    if form < 0.05:
        return "\n".join(f"- {s.text}" for s in sentences)
    body = join.join(s.text for s in sentences)
    if form < 0.12:
        heading = rng.choice([word(rng, language, split), entity(rng, language, split)])
        return f"{rng.choice(['# ', '## ', ''])}{heading}\n{body}"
    return body


def _refused(rng: Random, language: Language, split: Split, sentences: Sequence[Sentence]) -> str:
    """A question that none of `sentences` answers, as near to them as can be."""
    bank = FACTS[language]
    taken = {s.topic for s in sentences}
    things = sorted({t for t, _ in taken if t})
    attributes = sorted({a for t, a in taken if t})
    form = rng.random()
    if form < 0.2 or not any(t for _, t in taken) and form < 0.8:
        return told(Prose(rng, language, split)).questions[0]
    if form < 0.45 and things:
        thing = rng.choice(things)
        absent = [a for a in sorted(bank.ABOUT) if (thing, a) not in taken]
        return rng.choice(fact(rng, language, split, rng.choice(absent), thing).questions)
    if form < 0.75:
        attribute = rng.choice(attributes or sorted(bank.ABOUT))
        return rng.choice(fact(rng, language, split, attribute, entity(rng, language, split)).questions)
    if form < 0.9 and not attributes:
        absent = [a for a in sorted(bank.HOUSE) if ("", a) not in taken]
        return rng.choice(fact(rng, language, split, rng.choice(absent), "").questions)
    return word_questions(rng, language, [word(rng, language, split) for _ in range(rng.randint(2, 4))])[0]


def grounded_case(rng: Random, split: Split, level: Level, language: Language) -> Case:
    """Passages and questions about them, each answered by a sentence of theirs or refused."""
    count = rng.randint(level.fewest, level.passages)
    sizes = [rng.randint(1, level.sentences) for _ in range(count)]
    sentences = _sentences(rng, language, split, sum(sizes))
    passages: list[str] = []
    holding: dict[str, str] = {}
    at = 0
    for size in sizes:
        if part := sentences[at : at + size]:
            passages.append(_passage(rng, language, split, part))
            holding |= dict.fromkeys((s.text for s in part), " ".join(passages[-1].split()))
        at += size
    askable = [s for s in sentences if s.questions]
    turns: list[tuple[str, str]] = []
    kinds: list[str] = []
    for _ in range(1 if rng.random() < level.single else rng.randint(1, level.turns)):
        if rng.random() < level.refusals or not askable:
            turns.append((_refused(rng, language, split, sentences), REFUSAL[language]))
            kinds.append("refusal")
        else:
            chosen = rng.choice(askable)
            turns.append((rng.choice(chosen.questions), holding[chosen.text]))
            kinds.append("quote")
    told = _told(rng, language, split) if rng.random() < 0.1 else ""
    return Case(
        language=language, passages=tuple(passages), turns=tuple(turns), kinds=tuple(kinds), system=told
    )


def _told(rng: Random, language: Language, split: Split) -> str:
    """What an operator may tell an expert: a duty, often with something that is nobody's business."""
    bank, loose = FACTS[language], Loose(rng, language, split)
    parts = [fill(rng.choice(bank.DUTIES), rng, language, split, entity(rng, language, split))]
    while rng.random() < 0.6:
        thing = entity(rng, language, split)
        attribute = rng.choice(sorted(bank.ABOUT))
        parts.append(rng.choice([loose.sentence(), fact(rng, language, split, attribute, thing)]).text)
    if rng.random() < 0.6:
        parts.append(fill(rng.choice(bank.SECRETS), rng, language, split))
    return (" " if language == "en" else "").join(parts)


def chat_case(rng: Random, split: Split, language: Language) -> Case:
    """Small talk, or a question or an order without passages, which is answered by saying so."""
    bank = FACTS[language]
    turns, kinds = [], []
    for _ in range(rng.randint(1, 2)):
        form = rng.random()
        if form < 0.35:
            said, answer = rng.choice(bank.CHAT)
            turns.append((rng.choice(said.split("|")), answer))
            kinds.append("chat")
            continue
        if form < 0.65:
            asked = fill(rng.choice(bank.ORDERS), rng, language, split, entity(rng, language, split))
        else:
            thing = entity(rng, language, split) if rng.random() < 0.5 else ""
            attribute = rng.choice(sorted(bank.ABOUT if thing else bank.HOUSE))
            asked = rng.choice(fact(rng, language, split, attribute, thing).questions)
        turns.append((asked, HONEST[language]))
        kinds.append("no passages")
    told = _told(rng, language, split) if rng.random() < 0.5 else ""
    return Case(language=language, passages=(), turns=tuple(turns), kinds=tuple(kinds), system=told)


def case(rng: Random, split: Split = "train", level: Level | None = None) -> Case:
    """Return the next case of `split`; two generators with one seed give the same cases."""
    language: Language = "zh" if rng.random() < 0.5 else "en"
    if rng.random() < CHATS:
        return chat_case(rng, split, language)
    return grounded_case(rng, split, level or Level(), language)
