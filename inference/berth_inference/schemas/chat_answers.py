"""Answers of POST /chat."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from berth_inference.schemas.chat import Message


class SequenceDetails(BaseModel):
    """One generated sequence."""

    text: str = Field(description="The generated text alone.")
    token_ids: list[int] = Field(description="Its tokens, with the one that ended it.")
    finish_reason: Literal["stop", "length", "cancelled"] = Field(
        description="stop: ended by a token or a text that ends answers; length: its longest length or max_time "
        "was reached; cancelled: nobody waits for it."
    )
    scores: list[float] | None = Field(
        None,
        description="With output_scores: the natural log-probability of each token under the model, before penalties "
        "and sampling arguments.",
    )


class Details(BaseModel):
    """What return_dict_in_generate and output_scores add. Counts are in tokens."""

    prompt_tokens: int = Field(description="Tokens of the prompt, its prefix included.")
    output_tokens: int = Field(description="Tokens of all sequences together.")
    sequences: list[SequenceDetails] = Field(description="Each answer, in the order of Results.")


class ChatResponse(BaseModel):
    """The answer. Keys that were not asked for are left out."""

    Result: str = Field(description="The text; the texts one after the other where several were asked for.")
    Results: list[str] | None = Field(
        None, description="Each text by itself, with num_return_sequences above 1."
    )
    messages: list[Message] | None = Field(
        None, description="With messages and return_full_text true: the conversation with its answer."
    )
    details: Details | None = Field(None, description="With return_dict_in_generate or output_scores.")

    def content(self) -> dict[str, Any]:
        """JSON without the keys that were not asked for."""
        return self.model_dump(exclude_none=True)
