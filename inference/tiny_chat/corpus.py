"""The training text: the files under corpus/, read and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from names import questions as questions_about

FOLDER = Path(__file__).parent / "corpus"
QUESTION_FILES = ("kubernetes.yaml", "berth.yaml", "llm.yaml", "smalltalk.yaml", "general.yaml")


@dataclass(frozen=True)
class Turn:
    """One thing that the user says, and the answer to it."""

    question: str
    answer: str


@dataclass(frozen=True)
class Entry:
    """One answer and all the questions that it answers, the canonical question first.

    The last `asked` of the questions were written one by one; those before were made from the entry's names.
    """

    questions: tuple[str, ...]
    answer: str
    asked: int


@dataclass(frozen=True)
class UnknownKind:
    """One answer for questions that tiny-chat cannot answer, and templates of such questions."""

    templates: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Corpus:
    """Everything tiny-chat is trained on.

    `fillers` maps the name of a place holder in a template to the words that may stand there.
    """

    entries: tuple[Entry, ...]
    dialogues: tuple[tuple[Turn, ...], ...]
    unknown: tuple[UnknownKind, ...]
    fillers: dict[str, tuple[str, ...]]
    prose: tuple[str, ...]

    def answers(self) -> dict[str, str]:
        """The answer to each question of the entries, by the question's normalized form."""
        return {normalize(question): entry.answer for entry in self.entries for question in entry.questions}


def normalize(question: str) -> str:
    """The question without case, outer space and closing punctuation: what makes two questions the same."""
    return re.sub(r"\s+", " ", question).strip().lower().rstrip("?!.,; ")


def load(folder: Path = FOLDER) -> Corpus:
    """Read the corpus.

    Raises ValueError where one question has two answers, or a dialogue refers to an unknown question.
    """
    entries = _entries([item for name in QUESTION_FILES for item in _read(folder / name)])
    answers: dict[str, str] = {}
    for entry in entries:
        for question in entry.questions:
            if answers.setdefault(normalize(question), entry.answer) != entry.answer:
                raise ValueError(f"the corpus has two answers to {question!r}")
    raw_unknown = _read(folder / "unknown.yaml")
    unknown = tuple(UnknownKind(_lines(kind["ask"]), kind["answer"]) for kind in raw_unknown["answers"])
    fillers = {
        name: tuple(word.strip() for word in words.split(","))
        for name, words in raw_unknown.items()
        if name != "answers"
    }
    return Corpus(
        entries=entries,
        dialogues=tuple(_dialogue(turns, answers) for turns in _read(folder / "dialogues.yaml")),
        unknown=unknown,
        fillers=fillers,
        prose=_paragraphs((folder / "prose.md").read_text(encoding="utf-8")),
    )


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _entries(raw: list[dict[str, str]]) -> tuple[Entry, ...]:
    """The entries; a question that was written for one of them is not made from the name of another."""
    asked = [_lines(item["ask"]) for item in raw]
    written = {normalize(question): place for place, lines in enumerate(asked) for question in lines}
    entries = []
    for place, item in enumerate(raw):
        names = [name.strip() for name in item.get("about", "").split("|") if name.strip()]
        made = (question for name in names for question in questions_about(name))
        own = [question for question in made if written.get(normalize(question), place) == place]
        for question in (questions_about(name)[0] for name in names):
            if question not in own:
                raise ValueError(f"the corpus has two answers to {question!r}")
        entries.append(Entry((*own, *asked[place]), item["answer"], len(asked[place])))
    return tuple(entries)


def _dialogue(raw: list[dict[str, str]], answers: dict[str, str]) -> tuple[Turn, ...]:
    turns = []
    for item in raw:
        answer = item.get("answer") or answers.get(normalize(item.get("as", item["ask"])))
        if answer is None:
            raise ValueError(f"a dialogue refers to a question that the corpus does not answer: {item}")
        turns.append(Turn(item["ask"], answer))
    return tuple(turns)


def _paragraphs(markdown: str) -> tuple[str, ...]:
    """The paragraphs after the page's title and introduction."""
    blocks = [" ".join(block.split()) for block in markdown.split("\n\n")]
    return tuple(block for block in blocks if block and not block.startswith("#"))[1:]
