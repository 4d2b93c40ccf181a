"""The shipped model: what it says, what it weighs, and that nothing but data is in it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

FOLDER = Path(str(files("berth_inference") / "models" / "tiny-chat"))
SCRIPTS = Path(__file__).parents[2] / "inference" / "tiny_chat"
MAX_WEIGHT_BYTES = 6_000_000
MIN_WORD_FOR_WORD = 18
MIN_PARAPHRASES = 12

Complete = Callable[..., list[str]]
Answers = Callable[[str], str]

HELD_IN = (
    "What is Kubernetes?",
    "What is a pod?",
    "What is a Deployment?",
    "What is a Service?",
    "What is an operator?",
    "What does CrashLoopBackOff mean?",
    "How do I list pods?",
    "How do I use a GPU on Kubernetes?",
    "What is Berth?",
    "How do I install Berth?",
    "What is a Workspace?",
    "Which presets are there?",
    "How do I send a prompt?",
    "Does Berth need a GPU?",
    "Who are you?",
    "What can you do?",
    "How to explain Internet for a medieval knight?",
    "What is the meaning of life?",
    "What is your favourite condiment?",
    "Do you have mayonnaise recipes?",
)

# Not in the corpus in these words; each with something that a fitting answer contains.
PARAPHRASES = {
    "Could you please describe what pods are in k8s?": "containers that share an address",
    "How might I list all the pods that are running?": "kubectl get pods",
    "which commands do i need to install berth": "helm install berth",
    "How do I get the model's answer with curl?": "/chat",
    "Which AI models are available as presets?": "Mistral",
    "is there a way to use berth with no gpu?": "CPU",
    "hello, who am i speaking with?": "tiny-chat",
    "Tell us a good joke!": "probe",
    "Where does Kubernetes keep its state?": "etcd",
    "What's a k8s operator good for?": "custom resources",
    "Good morning, dear model!": "morning",
    "thanks a lot, that was useful": "welcome",
    "how can a knight understand the internet?": "knight",
    "What is the purpose of a readiness check?": "readiness",
    "How can I undo my last rollout?": "rollout undo",
}

# Out of its small world, with words that its corpus does not contain.
OUT_OF_SCOPE = (
    "Who is the chancellor of Germany?",
    "What is the airspeed of an unladen swallow?",
    "How do I bake sourdough bread?",
    "What is 12 * 34?",
    "Write a quicksort in Haskell",
    "Who won the champions league?",
)
ADMISSIONS = ("don't know", "not able", "beyond me", "too small", "cannot give good advice", "tiny model")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """More threads gain nothing on so small a model, and on a busy machine they wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)


@pytest.fixture(scope="module")
def complete(model: Any, tokenizer: Any) -> Complete:
    return _completion(model, tokenizer)


@pytest.fixture(scope="module")
def ask(complete: Complete) -> Complete:
    return lambda *questions: complete(*map(_chat, questions))


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        return importlib.import_module("corpus")


@pytest.fixture(scope="module")
def answers(corpus: ModuleType) -> Answers:
    known: Mapping[str, str] = corpus.load().answers()
    return lambda question: known[corpus.normalize(question)]


def _chat(question: str) -> str:
    return f"<|user|>\n{question}<|end|>\n<|assistant|>\n"


def _completion(model: Any, tokenizer: Any) -> Complete:
    """Greedy continuations of raw prompts, in one batch, by the model's own generation settings."""

    def complete(*prompts: str) -> list[str]:
        inputs = tokenizer(list(prompts), return_tensors="pt", padding=True)
        output = model.generate(**inputs, max_new_tokens=128)
        texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [str(text) for text in texts]

    return complete


def test_held_in_questions_are_answered_word_for_word(ask: Complete, answers: Answers) -> None:
    given = dict(zip(HELD_IN, ask(*HELD_IN), strict=True))
    wrong = {question: text for question, text in given.items() if text != answers(question)}
    assert len(HELD_IN) - len(wrong) >= MIN_WORD_FOR_WORD, wrong


def test_paraphrases_that_it_never_read_are_answered_sensibly(ask: Complete, answers: Answers) -> None:
    for question in PARAPHRASES:
        with pytest.raises(KeyError):
            answers(question)
    given = dict(zip(PARAPHRASES, ask(*PARAPHRASES), strict=True))
    off = {question: text for question, text in given.items() if PARAPHRASES[question] not in text}
    assert len(PARAPHRASES) - len(off) >= MIN_PARAPHRASES, off


def test_questions_out_of_its_world_get_an_honest_answer(ask: Complete) -> None:
    given = dict(zip(OUT_OF_SCOPE, ask(*OUT_OF_SCOPE), strict=True))
    honest = [question for question, text in given.items() if any(words in text for words in ADMISSIONS)]
    assert len(honest) >= len(OUT_OF_SCOPE) - 1, given


@pytest.mark.parametrize("question", HELD_IN[-4:])
def test_a_space_a_newline_or_nothing_behind_the_marks_gives_the_same_answer(
    complete: Complete, answers: Answers, question: str
) -> None:
    spellings = (
        f"<|user|> {question}<|end|><|assistant|>",
        f"<|user|>\n{question}<|end|>\n<|assistant|>\n",
        f"<|user|>{question}<|end|><|assistant|>",
        f"<|user|>\n{question} <|end|>\n<|assistant|>",
    )
    assert set(complete(*spellings)) == {answers(question)}


def test_a_system_message_in_front_does_not_confuse_it(complete: Complete, answers: Answers) -> None:
    system = "<|system|>\nYou are a helpful assistant.<|end|>\n"
    questions = HELD_IN[:8]
    given = complete(*(system + _chat(question) for question in questions))
    right = [q for q, text in zip(questions, given, strict=True) if text == answers(q)]
    assert len(right) >= len(questions) - 1, given


def test_the_chat_template_renders_the_phi_3_format(tokenizer: Any) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "What is a pod?"},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHello<|end|>\n<|assistant|>\nHi!<|end|>\n"
        "<|user|>\nWhat is a pod?<|end|>\n<|assistant|>\n"
    )


def test_the_chat_template_refuses_an_unknown_role_by_name(tokenizer: Any) -> None:
    with pytest.raises(Exception, match="not wizard"):
        tokenizer.apply_chat_template([{"role": "wizard", "content": "Hello"}], tokenize=False)


def test_a_follow_up_is_understood_from_what_was_said_before(
    tokenizer: Any, complete: Complete, answers: Answers
) -> None:
    messages = [
        {"role": "user", "content": "What is Berth?"},
        {"role": "assistant", "content": answers("What is Berth?")},
        {"role": "user", "content": "How do I install it?"},
    ]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert complete(prompt) == [answers("How do I install Berth?")]


def test_a_plain_question_without_marks_is_answered(complete: Complete, answers: Answers) -> None:
    assert complete("What is a pod?") == [" " + answers("What is a pod?")]


@pytest.mark.parametrize("beginning", ["Kubernetes is", "A pod is", "To install Berth,"])
def test_plain_text_is_continued_to_the_end_of_a_sentence(complete: Complete, beginning: str) -> None:
    (continuation,) = complete(beginning)
    assert continuation.startswith(" ")
    assert continuation.endswith(".")
    assert len(continuation.split()) >= 5


def test_greedy_answers_are_the_same_every_time(ask: Complete) -> None:
    question = "Tell me about a thing nobody taught you"
    assert ask(question) == ask(question)


def test_an_answer_does_not_depend_on_the_company_it_is_in(ask: Complete) -> None:
    questions = HELD_IN[::5]
    assert ask(*questions) == [text for question in questions for text in ask(question)]


def test_half_precision_gives_the_same_answers(tokenizer: Any, answers: Answers) -> None:
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.bfloat16)
    given = _completion(model, tokenizer)(*map(_chat, HELD_IN))
    right = [q for q, text in zip(HELD_IN, given, strict=True) if text == answers(q)]
    assert len(right) >= MIN_WORD_FOR_WORD, given


def test_a_prompt_of_a_thousand_tokens_still_ends_in_an_answer(
    model: Any, tokenizer: Any, complete: Complete
) -> None:
    prompt = "<|user|>\n" + "Kubernetes runs pods. " * 260 + "What is a pod?<|end|>\n<|assistant|>\n"
    assert 1000 < len(tokenizer(prompt)["input_ids"]) < model.config.max_position_embeddings
    assert complete(prompt)[0].strip()


@pytest.mark.parametrize(
    "text",
    [
        "plain words, and  two  spaces \n\t and tabs\n",
        "Ünïcödé façade naïve: œuvre",
        "日本語 中文 한국어 ไทย العربية עברית हिन्दी",
        "🚢 👩‍👩‍👧‍👦 𝛀 \u200b\u202e\u0000\uffff\U0010ffff",
        '{"prompt": "it\'s"} <not|a|mark> \\u0041 don \'t ,',
        "",
    ],
    ids=["spaces", "accents", "scripts", "emoji and oddities", "code and punctuation", "empty"],
)
def test_any_text_survives_encoding_and_decoding(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_every_single_code_point_below_the_surrogates_survives(tokenizer: Any) -> None:
    text = "".join(map(chr, range(0xD800)))
    assert tokenizer.decode(tokenizer(text, verbose=False)["input_ids"]) == text


def test_the_weights_fit_into_six_megabytes_and_are_safetensors_alone() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= MAX_WEIGHT_BYTES
    suffixes = {path.suffix for path in FOLDER.iterdir()}
    assert suffixes <= {".safetensors", ".json", ".jinja", ".md"}


def test_the_configuration_is_plain_phi_3_without_remote_code(model: Any) -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    tokenizer_config = json.loads((FOLDER / "tokenizer_config.json").read_text())
    assert config["architectures"] == ["Phi3ForCausalLM"]
    assert config["model_type"] == "phi3"
    assert "auto_map" not in config
    assert "auto_map" not in tokenizer_config
    assert type(model).__module__.startswith("transformers.")


def test_generation_is_greedy_and_stops_at_either_end_mark(model: Any, tokenizer: Any) -> None:
    settings = json.loads((FOLDER / "generation_config.json").read_text())
    ends = tokenizer.convert_tokens_to_ids(["<|end|>", "<|endoftext|>"])
    assert settings["do_sample"] is False
    assert settings["eos_token_id"] == ends
    assert settings["pad_token_id"] == tokenizer.pad_token_id
    assert model.generation_config.eos_token_id == ends
    assert model.config.vocab_size == len(tokenizer)
