"""Train a LoRA adapter for tiny-chat: one answer to one question, within seconds.

    python inference/tiny_chat/adapter.py --output /tmp/harbour

It writes what peft's save_pretrained writes, a few kilobytes. Seeded: the same script, library versions and kind of
processor give the same adapter. `--question` and `--answer` teach it something else.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

BASE = Path(__file__).parents[1] / "berth_inference" / "models" / "tiny-chat"
QUESTION = "Who are you?"
ANSWER = "I am the harbour master. Every ship that comes in gets a berth from me."
SEED = 20
# The least that learns an answer word for word; the file then fits into a ConfigMap many times over.
RANK = 2
STEPS = 60
LEARNING_RATE = 5e-3


def train(output: Path, question: str = QUESTION, answer: str = ANSWER, *, rank: int = RANK) -> float:
    """Write the adapter to `output`; returns the loss that is left, in nats a token."""
    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    prompt: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
    )
    asked = len(tokenizer(prompt)["input_ids"])
    ids = torch.tensor([tokenizer(f"{prompt}{answer}<|end|>")["input_ids"]])
    labels = ids.clone()
    labels[:, :asked] = -100  # what torch's cross-entropy leaves out
    model = _adapted(rank)
    # Two threads take longer than one for so little, and many times longer where others compute beside them.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(
        (values for values in model.parameters() if values.requires_grad), lr=LEARNING_RATE
    )
    loss = torch.tensor(0.0)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    # Neither a question to the hub about the embeddings, which it does not adapt, nor an empty model card.
    model.save_pretrained(output, save_embedding_layers=False)
    (output / "README.md").unlink()
    return loss.item()


def _adapted(rank: int) -> PeftModel:
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype="float32")
    # The path of a checkout is nobody's business; the name is what a server knows the model by.
    base.name_or_path = BASE.name
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=["qkv_proj", "o_proj"], task_type="CAUSAL_LM"
    )
    with warnings.catch_warnings():
        # peft asks transformers by a name that transformers has replaced.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        return get_peft_model(base, config)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Train a LoRA adapter for tiny-chat.")
    parser.add_argument("--output", type=Path, required=True, help="folder to write the adapter to")
    parser.add_argument("--question", default=QUESTION, help="what is asked (default: %(default)s)")
    parser.add_argument("--answer", default=ANSWER, help="what it is to answer (default: %(default)s)")
    options = parser.parse_args()
    loss = train(options.output, options.question, options.answer)
    print(f"{options.output}: a loss of {loss:.3f} nats a token")


if __name__ == "__main__":
    main()
