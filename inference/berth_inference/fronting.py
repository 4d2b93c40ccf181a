"""Finds the vLLM server that a front stands before. Imports transformers when called, and never torch."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from berth_inference.errors import BerthError, LoadError, LoadFailure
from berth_inference.garbage import keep_what_is_loaded, search_the_rest
from berth_inference.hub.tokenizer import find_tokenizer
from berth_inference.progress import LoadProgress, Phase
from berth_inference.settings import Settings

if TYPE_CHECKING:
    from berth_inference.engine.remote.engine import RemoteEngine

_log = logging.getLogger(__name__)

# Seconds between two looks whether vLLM has started, which takes a minute at least.
_LOOK_EVERY = 0.5


def load_front(settings: Settings, progress: LoadProgress) -> RemoteEngine:
    """An engine that asks the settings' vLLM, once that can answer. Waits for it without end.

    Raises `LoadError` with what is wrong and what to do.
    """
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs each request
    card = asyncio.run(_card(settings, progress))
    name = settings.tokenizer or card.get("root") or settings.model
    folder = find_tokenizer(name, settings.revision, progress)
    progress.enter(Phase.WARMING_UP)
    engine = _engine(settings, folder, name, card)
    keep_what_is_loaded()
    try:
        asyncio.run(engine.warm_up())
    except BerthError as error:
        engine.close()
        raise LoadError(
            f"vLLM at {settings.upstream} does not answer as it should: {error.message}", LoadFailure.INTERNAL
        ) from None
    return engine


async def _card(settings: Settings, progress: LoadProgress) -> dict[str, Any]:
    """What vLLM says of the model, once it is healthy."""
    from berth_inference.engine.remote.upstream import Upstream

    progress.enter(Phase.STARTING)
    upstream = Upstream(settings.upstream)
    try:
        while (wrong := await upstream.unhealthy()) is not None:
            _log.debug("%s", wrong)
            await asyncio.sleep(_LOOK_EVERY)
        cards = await upstream.models()
    except BerthError as error:
        raise LoadError(
            f"vLLM at {settings.upstream} does not list its models: {error.message}", LoadFailure.INTERNAL
        ) from None
    finally:
        await upstream.close()
    found = next((card for card in cards if card.get("id") == settings.model), None)
    if found is None:
        served = ", ".join(str(card.get("id")) for card in cards) or "nothing"
        raise LoadError(
            f"vLLM at {settings.upstream} serves {served}, but not {settings.model}: name one of them with --model"
        )
    return found


def _engine(settings: Settings, folder: Path, name: str, card: dict[str, Any]) -> RemoteEngine:
    import transformers

    from berth_inference.engine.codec import TokenizerCodec
    from berth_inference.engine.remote.engine import RemoteEngine
    from berth_inference.engine.remote.model import model_info

    search_the_rest()
    transformers.logging.set_verbosity_error()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        codec = TokenizerCodec(tokenizer)
        info = model_info(
            folder,
            tokenizer,
            codec,
            names=settings.names,
            context=int(card["max_model_len"]),
            address=settings.upstream,
        )
    except Exception as error:  # whatever damaged files make the library raise
        _log.debug("the tokenizer cannot be loaded", exc_info=True)
        said = (str(error).strip().splitlines() or ["no message"])[0][:300]
        raise LoadError(f"the tokenizer of {name} cannot be loaded: {type(error).__name__}: {said}") from None
    return RemoteEngine(
        settings.upstream,
        settings.model,
        info,
        codec,
        max_queued=settings.max_queued,
        deadline=settings.request_seconds,
    )
