"""The training text of tiny-chat is sound before anyone spends half an hour on training."""

from __future__ import annotations

import importlib
import random
import shutil
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "inference" / "tiny_chat"
MAX_ANSWER_LETTERS = 300
MIN_QUESTIONS = 4


def _module(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def corpus_module() -> ModuleType:
    return _module("corpus")


def test_the_corpus_is_of_the_stated_size(corpus_module: ModuleType) -> None:
    corpus = corpus_module.load()
    assert len(corpus.entries) >= 150
    assert all(len(entry.questions) >= MIN_QUESTIONS for entry in corpus.entries)
    assert len(corpus.dialogues) >= 30


def test_every_answer_is_short_and_ends_like_a_sentence(corpus_module: ModuleType) -> None:
    answers = [entry.answer for entry in corpus_module.load().entries]
    assert [text for text in answers if len(text) > MAX_ANSWER_LETTERS or text[-1] not in ".?!"] == []


def test_no_answer_is_given_twice(corpus_module: ModuleType) -> None:
    answers = [entry.answer for entry in corpus_module.load().entries]
    assert len(set(answers)) == len(answers)


def test_one_question_with_two_answers_is_refused_by_its_words(
    corpus_module: ModuleType, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(FOLDER / "corpus", tmp_path / "corpus"))
    with (folder / "general.yaml").open("a", encoding="utf-8") as file:
        file.write("- ask: what is a POD\n  answer: Something else.\n")
    with pytest.raises(ValueError, match="two answers to 'What is a pod"):
        corpus_module.load(folder)


def test_a_dialogue_that_refers_to_an_unknown_question_is_refused(
    corpus_module: ModuleType, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(FOLDER / "corpus", tmp_path / "corpus"))
    with (folder / "dialogues.yaml").open("a", encoding="utf-8") as file:
        file.write("- - ask: A question that nobody answers\n")
    with pytest.raises(ValueError, match=r"does not answer.*A question that nobody answers"):
        corpus_module.load(folder)


def test_variation_depends_on_the_seed_alone() -> None:
    vary = _module("variation").vary
    question = "How do I list the pods of my cluster?"

    def series(seed: int) -> list[str]:
        rng = random.Random(seed)
        return [vary(question, rng) for _ in range(50)]

    assert series(1) == series(1)
    assert series(1) != series(2)
    assert len(set(series(1))) > 20
