"""How well the saved model answers: word for word on the corpus, and by eye on what is not in it."""

from __future__ import annotations

import sys
from pathlib import Path

import corpus as corpus_files
import torch
from corpus import Corpus
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

# Paraphrases and topics that the corpus does not contain, to be read by a person after a training run.
UNSEEN = (
    "Could you please describe what pods are in k8s?",
    "How might I list all the pods that are running?",
    "My container was killed because of memory, what now?",
    "which commands do i need to install berth",
    "How do I get the model's answer with curl?",
    "Which AI models are available as presets?",
    "is there a way to use berth with no gpu?",
    "Who is your maker?",
    "Tell us a good joke!",
    "What's a k8s operator good for?",
    "Where does Kubernetes keep its state?",
    "hello, who am i speaking with?",
    "What is the airspeed of an unladen swallow?",
    "Who is the chancellor of Germany?",
    "How do I bake sourdough bread?",
    "What is 12 * 34?",
    "Which ketchup is the best?",
    "Can you recommend a good restaurant in Lisbon?",
    "What is the purpose of a readiness check?",
    "How can I make my deployment bigger?",
)
PLAIN = (
    "Kubernetes is",
    "Berth is",
    "What is a pod?",
    "A Service",
    "The weather",
    "How do I install Berth?",
    "Hello",
)


def answer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompt: str) -> str:
    """The greedy continuation of a raw prompt, without marks."""
    inputs = tokenizer(prompt, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=128)
    text: str = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text


def report(
    folder: Path, corpus: Corpus, dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)
) -> None:
    """Print the share of canonical questions answered word for word, in each dtype, and the unseen ones' answers."""
    # More threads gain nothing for one short sequence, and on a busy machine they wait for each other.
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for dtype in dtypes:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        wrong = []
        for entry in corpus.entries:
            given = answer(model, tokenizer, f"<|user|>\n{entry.questions[0]}<|end|>\n<|assistant|>\n")
            if given != entry.answer:
                wrong.append((entry.questions[0], given))
        right = len(corpus.entries) - len(wrong)
        print(f"{dtype}: {right} of {len(corpus.entries)} canonical questions answered word for word")
        for question, given in wrong:
            print(f"  wrong: {question} -> {given}")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for question in UNSEEN:
        print(f"{question}\n  {answer(model, tokenizer, f'<|user|> {question}<|end|><|assistant|>')}")
    for prompt in PLAIN:
        print(f"{prompt} |{answer(model, tokenizer, prompt)}")


if __name__ == "__main__":
    report(Path(sys.argv[1]), corpus_files.load())
