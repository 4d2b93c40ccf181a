"""What Berth is compared with: transformers behind FastAPI, in the two ways in which it is usually done.

`pipeline`: a text-generation pipeline called from a plain function, which FastAPI runs in its pool of
threads. `continuous`: transformers' own continuous batching, with a cache of a size that it can use
here (its default takes most of the machine's memory).
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("pipeline", "continuous"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pages", type=int)
    parser.add_argument("--page", type=int, help="positions of a page")
    parser.add_argument("--batch-tokens", type=int)
    options = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(
        options.model,
        dtype=getattr(torch, options.dtype),
        device_map="auto" if torch.cuda.is_available() else None,
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ready"}

    if options.kind == "pipeline":
        _pipeline(app, model, tokenizer)
    else:
        _continuous(app, model, tokenizer, options)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


def _pipeline(app: FastAPI, model: Any, tokenizer: Any) -> None:
    generate = pipeline("text-generation", model=model, tokenizer=tokenizer)

    @app.post("/chat")
    def chat(body: dict[str, Any]) -> dict[str, str]:
        arguments = body["generate_kwargs"]
        return {"Result": generate(body["prompt"], return_full_text=False, **arguments)[0]["generated_text"]}


def _continuous(app: FastAPI, model: Any, tokenizer: Any, options: argparse.Namespace) -> None:
    from transformers import ContinuousBatchingConfig, GenerationConfig

    settings = ContinuousBatchingConfig(
        num_blocks=options.pages, page_size=options.page, max_batch_tokens=options.batch_tokens
    )
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(
            do_sample=False, eos_token_id=-1, pad_token_id=0, max_new_tokens=2048
        ),
        continuous_batching_config=settings,
    )
    manager.start()

    @app.post("/chat")
    async def chat(body: dict[str, Any]) -> dict[str, str]:
        ids = tokenizer(body["prompt"])["input_ids"]
        done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        number = f"r{id(done)}"

        def finished(output: Any) -> None:
            if output.is_finished() and not done.done():
                done.set_result(output.generated_tokens)

        manager.register_result_handler(number, finished)
        manager.add_request(ids, request_id=number, max_new_tokens=body["generate_kwargs"]["max_new_tokens"])
        return {"Result": tokenizer.decode(await done)}


if __name__ == "__main__":
    main()
