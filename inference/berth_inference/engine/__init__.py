"""The generation engine. Knows no HTTP: it takes a `GenerationRequest` and streams events."""

from __future__ import annotations

from berth_inference.engine.events import Event, Finished, FinishReason, SequenceFinished, TokenEvent
from berth_inference.engine.grammar import Grammar
from berth_inference.engine.interface import ChatMessage, Codec, Engine, ModelInfo
from berth_inference.engine.request import GenerationRequest, SamplingParams
from berth_inference.engine.stream import EventStream
from berth_inference.engine.tool_calls import ToolCall, ToolFormat, new_call_id, parse_tool_calls

__all__ = [
    "ChatMessage",
    "Codec",
    "Engine",
    "Event",
    "EventStream",
    "FinishReason",
    "Finished",
    "GenerationRequest",
    "Grammar",
    "ModelInfo",
    "SamplingParams",
    "SequenceFinished",
    "TokenEvent",
    "ToolCall",
    "ToolFormat",
    "new_call_id",
    "parse_tool_calls",
]
