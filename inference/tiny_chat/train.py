"""Train tiny-chat from scratch on the CPU and write it into the inference package.

    python inference/tiny_chat/train.py

Seeded: the same script, corpus, library versions and kind of processor give the same weights. About 15 to 20 minutes on
two cores. `--steps` makes a shorter run, `--output` writes elsewhere.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import corpus as corpus_files
import torch
import vocabulary
from evaluation import report
from samples import Sample, Sampler, batches
from torch.nn import functional
from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM

OUTPUT = Path(__file__).parents[1] / "berth_inference" / "models" / "tiny-chat"
SEED = 20
STEPS = 2600
TOKENS_PER_BATCH = 2048
# Stable at this size and batch: the loss falls from 7.6 to below 0.1 within the first thousand steps.
PEAK_LEARNING_RATE = 1.5e-3
WARM_UP_STEPS = 150
IGNORED = -100


def configuration(marks: dict[str, int]) -> Phi3Config:
    """The shape of the model: as much as fits into 6 MB of bfloat16, embeddings shared with the output layer."""
    return Phi3Config(
        vocab_size=vocabulary.VOCABULARY_SIZE,
        hidden_size=192,
        intermediate_size=640,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=vocabulary.CONTEXT_LENGTH,
        original_max_position_embeddings=vocabulary.CONTEXT_LENGTH,
        tie_word_embeddings=True,
        resid_pdrop=0.05,
        bos_token_id=marks[vocabulary.END_OF_TEXT],
        eos_token_id=[marks[vocabulary.END], marks[vocabulary.END_OF_TEXT]],
        pad_token_id=marks[vocabulary.END_OF_TEXT],
        attn_implementation="sdpa",
    )


def tensors(batch: list[Sample], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch as (ids, labels), both [samples, longest sample]; labels are IGNORED where nothing is to be learned."""
    width = max(len(sample.ids) for sample in batch)
    ids = torch.full((len(batch), width), padding)
    labels = torch.full((len(batch), width), IGNORED)
    for row, sample in enumerate(batch):
        size = len(sample.ids)
        ids[row, :size] = torch.tensor(sample.ids)
        labels[row, :size] = torch.where(torch.tensor(sample.learned), ids[row, :size], IGNORED)
    return ids, labels


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < WARM_UP_STEPS:
        return PEAK_LEARNING_RATE * (step + 1) / WARM_UP_STEPS
    progress = (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)
    return PEAK_LEARNING_RATE * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def optimizer_for(model: Phi3ForCausalLM) -> torch.optim.AdamW:
    """AdamW that decays matrices only."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98))


def fit(model: Phi3ForCausalLM, sampler: Sampler, steps: int, padding: int) -> float:
    """Train for `steps` steps; return the mean loss, in nats per learned token, of the last hundred."""
    optimizer = optimizer_for(model)
    native_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    started, losses = time.monotonic(), [0.0]
    model.train()
    for step, batch in zip(range(steps), batches(sampler, TOKENS_PER_BATCH), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        ids, labels = tensors(batch, padding)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=native_bfloat16):
            # Padding is on the right and attention is causal, so no mask is needed.
            logits = model(input_ids=ids, use_cache=False).logits
        targets = labels[:, 1:]
        learned = targets != IGNORED
        loss = functional.cross_entropy(logits[:, :-1][learned].float(), targets[learned])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses = [*losses[-99:], loss.item()]
        if (step + 1) % 100 == 0:
            mean = sum(losses) / len(losses)
            print(f"step {step + 1}/{steps}  loss {mean:.4f}  {time.monotonic() - started:.0f} s", flush=True)
    return sum(losses) / len(losses)


def save(model: Phi3ForCausalLM, folder: Path) -> None:
    """Write the weights as bfloat16 safetensors, with config.json and generation_config.json."""
    model.config.resid_pdrop = 0.0
    model.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
        do_sample=False,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    # save_pretrained leaves the weights to their owner alone, but a container reads them as another user.
    (folder / "model.safetensors").chmod(0o644)
    path = folder / "generation_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    # Said in so many words: a reader that finds nothing here samples by default.
    written["do_sample"] = False
    path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Train, save, and print how well the saved model answers the corpus."""
    parser = argparse.ArgumentParser(description="Train tiny-chat.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    torch.manual_seed(SEED)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    corpus = corpus_files.load()
    tokenizer = vocabulary.train(corpus)
    marks = tokenizer.get_vocab()
    model = Phi3ForCausalLM(configuration(marks))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(corpus.entries)} answers")
    loss = fit(model, Sampler(corpus, tokenizer, SEED), options.steps, marks[vocabulary.END_OF_TEXT])
    options.output.mkdir(parents=True, exist_ok=True)
    vocabulary.save(tokenizer, options.output)
    save(model, options.output)
    print(f"final loss {loss:.4f}")
    report(options.output, corpus)


if __name__ == "__main__":
    main()
