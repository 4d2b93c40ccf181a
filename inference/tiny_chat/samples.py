"""Training samples: what the model reads, token by token, and which of the tokens it must learn to write."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from corpus import Corpus, Entry, Turn, normalize
from tokenizers import Tokenizer
from variation import vary
from vocabulary import ASSISTANT, END, END_OF_TEXT, SYSTEM, USER

# At most this many tokens a sample: the questions and answers are short, and attention costs its square.
MAX_TOKENS = 192

SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are a helpful assistant",
    "You are a friendly assistant. Answer briefly.",
    "You are tiny-chat, a small and friendly model.",
    "You are a helpful AI assistant.",
    "You are a chatbot that answers questions about Kubernetes.",
    "You are an expert in Kubernetes.",
    "Answer the user's questions.",
    "Answer in one sentence.",
    "Be brief and polite.",
    "Be concise.",
    "You are a helpful, respectful and honest assistant.",
    "You are a support agent for Berth.",
    "Answer truthfully. If you do not know, say so.",
)


@dataclass(frozen=True)
class Sample:
    """Token ids, and for each of them whether the model is to learn it."""

    ids: list[int]
    learned: list[bool]


class Sampler:
    """Draws an endless, seeded stream of samples from the corpus."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, seed: int) -> None:
        self._corpus = corpus
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        self._known = corpus.answers()
        self._split = [_split_generated(entry) for entry in corpus.entries]
        self._mark = {
            name: tokenizer.token_to_id(name) for name in (SYSTEM, USER, ASSISTANT, END, END_OF_TEXT)
        }

    def __iter__(self) -> Iterator[Sample]:
        while True:
            yield self.draw()

    def draw(self) -> Sample:
        """One sample: a conversation, a plain question with its answer, or plain text."""
        kind = self._rng.random()
        if kind < 0.08:
            return self._prose()
        if kind < 0.19:
            return self._plain(self._turn())
        if kind < 0.29:
            return self._conversation(self._rng.choice(self._corpus.dialogues))
        turns = [self._turn()]
        while len(turns) < 4 and self._rng.random() < 0.25:
            turns.append(self._turn())
        return self._conversation(turns)

    def _turn(self) -> Turn:
        return self._unknown_turn() if self._rng.random() < 0.22 else self._known_turn()

    def _known_turn(self) -> Turn:
        place = self._rng.randrange(len(self._corpus.entries))
        generated, asked = self._split[place]
        entry = self._corpus.entries[place]
        draw = self._rng.random()
        if draw < 0.08:
            question = entry.questions[0]
        elif generated and draw < 0.5:
            question = self._rng.choice(generated)
        else:
            question = self._rng.choice(asked)
        return Turn(question, entry.answer)

    def _unknown_turn(self) -> Turn:
        """A question out of scope, in whose template the place holders are filled with random words."""
        while True:
            kind = self._rng.choices(self._corpus.unknown, [len(k.templates) for k in self._corpus.unknown])[
                0
            ]
            question = self._fill(self._rng.choice(kind.templates))
            if normalize(question) not in self._known:
                return Turn(question, kind.answer)

    def _fill(self, template: str) -> str:
        while "{" in template:
            name = template[template.index("{") + 1 : template.index("}")]
            template = template.replace("{" + name + "}", self._word(name), 1)
        return template

    def _word(self, name: str) -> str:
        if name == "number":
            return str(self._rng.randrange(10 ** self._rng.randrange(1, 5)))
        if name == "letters":
            return "".join(self._rng.choices("abcdefghijklmnopqrstuvwxyz", k=self._rng.randrange(3, 9)))
        if name == "word":
            return self._made_up()
        if self._rng.random() < 0.25:
            # Most words out there are not in the lists.
            return self._made_up() if name == "topic" else self._made_up().capitalize()
        return self._rng.choice(self._corpus.fillers[name])

    def _made_up(self) -> str:
        syllables = [
            self._rng.choice("bcdfghjklmnprstvwz") + self._rng.choice("aeiou")
            for _ in range(self._rng.randrange(2, 5))
        ]
        return "".join(syllables) + self._rng.choice(("", "n", "r", "s", "t"))

    def _conversation(self, turns: Sequence[Turn]) -> Sample:
        ids: list[int] = []
        learned: list[bool] = []
        if self._rng.random() < 0.15:
            self._add(
                ids, learned, [self._mark[SYSTEM], *self._encode(self._rng.choice(SYSTEM_MESSAGES))], False
            )
            self._add(ids, learned, [self._mark[END]], False)
        for number, turn in enumerate(turns):
            asked = [self._mark[USER], *self._encode(vary(turn.question, self._rng)), self._mark[END]]
            answered = [*self._encode(turn.answer), self._mark[END]]
            if number and len(ids) + len(asked) + len(answered) + 1 > MAX_TOKENS:
                break
            self._add(ids, learned, [*asked, self._mark[ASSISTANT]], False)
            self._add(ids, learned, answered, True)
        return Sample(ids, learned)

    def _plain(self, turn: Turn) -> Sample:
        """A question without any marks, as in {"prompt": "What is a pod?"}, and its answer after a space."""
        question = vary(turn.question, self._rng)
        if question[-1].isalnum() and self._rng.random() < 0.7:
            question += "?"
        ids: list[int] = []
        learned: list[bool] = []
        self._add(ids, learned, self._encode(question), False)
        self._add(ids, learned, [*self._encode(" " + turn.answer), self._mark[END_OF_TEXT]], True)
        return Sample(ids, learned)

    def _prose(self) -> Sample:
        ids: list[int] = []
        learned: list[bool] = []
        if self._rng.random() < 0.2:
            self._add(ids, learned, [self._mark[END_OF_TEXT]], False)
        text = [*self._encode(self._rng.choice(self._corpus.prose)), self._mark[END_OF_TEXT]]
        self._add(ids, learned, text, True)
        return Sample(ids, learned)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    @staticmethod
    def _add(ids: list[int], learned: list[bool], new: list[int], learn: bool) -> None:
        ids.extend(new)
        learned.extend([learn] * len(new))


def _split_generated(entry: Entry) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entry's questions made from its names, and those written one by one."""
    endings = len(entry.questions) - entry.asked
    return entry.questions[:endings], entry.questions[endings:]


def batches(sampler: Sampler, tokens: int, pool: int = 768) -> Iterator[list[Sample]]:
    """Batches of samples of similar length, each at most `tokens` tokens when padded.

    Samples are sorted within a pool of `pool`, so that little is wasted on padding; the batches of a pool come in
    random order.
    """
    rng = random.Random(0)
    stream = iter(sampler)
    while True:
        samples = sorted((next(stream) for _ in range(pool)), key=lambda sample: len(sample.ids))
        groups: list[list[Sample]] = [[]]
        for sample in samples:
            if groups[-1] and len(sample.ids) * (len(groups[-1]) + 1) > tokens:
                groups.append([])
            groups[-1].append(sample)
        rng.shuffle(groups)
        yield from groups
