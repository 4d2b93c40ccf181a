"""The tokenizer: byte-level BPE trained on the corpus, with Phi-3's marks and chat format."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from corpus import Corpus
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT, SYSTEM, USER, ASSISTANT, END = (
    "<|endoftext|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)
VOCABULARY_SIZE = 2048
CONTEXT_LENGTH = 2048

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('tiny-chat knows the roles system, user and assistant, not ' + message['role'] + '.') }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def train(corpus: Corpus) -> Tokenizer:
    """Learn the merges from the corpus. The 256 bytes are always in, so that any text can be written.

    The marks swallow the white space behind them, as Phi-3's do: a question is the same after a space, a newline or
    nothing.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    marks = [
        AddedToken(END_OF_TEXT, special=True, normalized=False),
        *(
            AddedToken(mark, special=True, normalized=False, rstrip=True)
            for mark in (SYSTEM, USER, ASSISTANT, END)
        ),
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=marks,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(corpus), trainer)
    if tokenizer.get_vocab_size() != VOCABULARY_SIZE:
        raise ValueError(f"the corpus yields only {tokenizer.get_vocab_size()} of {VOCABULARY_SIZE} tokens")
    return tokenizer


def _texts(corpus: Corpus) -> Iterator[str]:
    """Answers weigh most, because the model has to write them; questions are read in either case."""
    rng = random.Random(0)
    for entry in corpus.entries:
        yield from [entry.answer, " " + entry.answer] * 2
        asked = entry.questions[-entry.asked :]
        yield from asked
        yield from (question.lower() for question in asked)
        generated = entry.questions[: -entry.asked]
        yield from rng.sample(generated, min(6, len(generated)))
    for kind in corpus.unknown:
        yield from [kind.answer, " " + kind.answer] * 2
        yield from kind.templates
    for dialogue in corpus.dialogues:
        yield from (turn.question for turn in dialogue)
    for words in corpus.fillers.values():
        yield from (" " + word for word in words)
    yield from corpus.prose


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja as transformers reads them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_LENGTH,
        "bos_token": END_OF_TEXT,
        "eos_token": END,
        "pad_token": END_OF_TEXT,
        "additional_special_tokens": [SYSTEM, USER, ASSISTANT],
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
