"""Which chat templates know tools, and what becomes of conversations that use them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from berth_inference.engine import ChatMessage, ToolFormat
from berth_inference.engine.codec import TokenizerCodec
from berth_inference.engine.pipeline import PipelineEngine
from berth_inference.errors import BerthError, ErrorKind
from server.model_zoo import make_pipeline
from server.random_model import TEMPLATE

TINY_CHAT = Path(str(files("berth_inference") / "models" / "tiny-chat"))
SPECIAL = ["<eos>", "[TOOL_CALLS]", "<|head|>", "<|end|>"]

PLAIN = (
    "{% for m in messages %}<|head|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant\n{% endif %}"
)
_OFFER = (
    "{% if tools %}<|head|>tools\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|end|>{% endif %}"
)
_HERMES = (
    _OFFER + "{% for m in messages %}<|head|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls %}\n<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant\n{% endif %}"
)
_THINKING = _HERMES.replace(
    "{% for call in m.tool_calls %}",
    "{% if m.role == 'assistant' %}<think>\n\n</think>{% endif %}{% for call in m.tool_calls %}",
)
_NAMED = _HERMES.replace(
    "{{ m.content }}{%",
    "{% if m.role == 'tool' %}{% if not m.name %}{{ raise_exception('no name') }}{% endif %}{{ m.name }}: {% endif %}"
    "{{ m.content }}{%",
    1,
)
_MISTRAL = (
    "{% set questions = messages | selectattr('role', 'equalto', 'user') | list %}"
    "{% for m in messages %}{% if m.role == 'user' %}"
    "{% if tools and m == questions[-1] %}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST] {{ m.content }}[/INST]"
    "{% elif m.tool_calls %}[TOOL_CALLS] [{% for call in m.tool_calls %}"
    "{% if call.id | length != 9 %}{{ raise_exception('nine characters') }}{% endif %}"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}, "id": "{{ call.id }}"}'
    "{% if not loop.last %}, {% endif %}{% endfor %}]<eos>"
    "{% elif m.role == 'tool' %}[TOOL_RESULTS] {{ m.content }}[/TOOL_RESULTS]"
    "{% else %} {{ m.content }}<eos>{% endif %}{% endfor %}"
)
_LLAMA = (
    _OFFER + "{% for m in messages %}{% if 'tool_calls' in m %}"
    "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
    "{% set call = m.tool_calls[0].function %}<|head|>assistant\n"
    '{"name": "{{ call.name }}", "parameters": {{ call.arguments | tojson }}}<|end|>'
    "{% else %}<|head|>{{ m.role }}\n{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant\n{% endif %}"
)
_XML = _HERMES.replace(
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}',
    "<function={{ call.function.name }}></function>",
)

TEMPLATES: dict[str, tuple[str | None, ToolFormat | None]] = {
    "hermes": (_HERMES, ToolFormat.HERMES),
    "hermes, after a thought": (_THINKING, ToolFormat.HERMES),
    "hermes, with the tool's name beside its result": (_NAMED, ToolFormat.HERMES),
    "hermes, whose turn begins with a thought": (
        _HERMES.replace("<|head|>assistant\n{% endif %}", "<|head|>assistant\n<think>\n{% endif %}").replace(
            "\n<tool_call>", "<tool_call>"
        ),
        ToolFormat.HERMES,
    ),
    "mistral": (_MISTRAL, ToolFormat.MISTRAL),
    "llama": (_LLAMA, ToolFormat.LLAMA),
    "no template": (None, None),
    "no tools": (PLAIN, None),
    "phi-3": (TEMPLATE, None),
    "calls in an unknown form": (_XML, None),
    "offers nothing": (_HERMES.removeprefix(_OFFER), None),
    "a template that fails": (_OFFER + "{{ messages.nothing.at_all }}", None),
}

TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}},
}
ASKED: list[ChatMessage] = [{"role": "user", "content": "How warm is it?"}]


def calling(arguments: str = '{"city": "Paris"}') -> ChatMessage:
    function = {"name": "weather", "arguments": arguments}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


RESULT: ChatMessage = {"role": "tool", "content": "12 degrees", "tool_call_id": "abcdefghi"}


def tokenizer_with(template: str | None) -> Any:
    vocabulary = {
        token: index for index, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<eos>",
        additional_special_tokens=SPECIAL[1:],
        chat_template=template,
    )


def codec_with(template: str | None) -> TokenizerCodec:
    return TokenizerCodec(tokenizer_with(template))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_knows_tools_if_what_it_writes_is_read_back(name: str) -> None:
    template, form = TEMPLATES[name]
    assert codec_with(template).tool_format == form


def test_tiny_chat_has_no_tools() -> None:
    assert TokenizerCodec(AutoTokenizer.from_pretrained(TINY_CHAT)).tool_format is None


@pytest.mark.parametrize("template", [_HERMES, None], ids=["a template with tools", "none"])
def test_the_engine_says_whether_tools_can_be_offered(template: str | None) -> None:
    pipeline = make_pipeline("llama")
    pipeline.tokenizer = tokenizer_with(template)
    engine = PipelineEngine(pipeline, names=("zoo",), max_queued=1)
    engine.close()
    assert engine.info.has_tools is (template is not None)


@pytest.mark.parametrize("name", [name for name, (_, form) in TEMPLATES.items() if form])
def test_tools_calls_and_results_reach_the_model(name: str) -> None:
    codec = codec_with(TEMPLATES[name][0])
    offered = codec.decode(codec.encode_chat(ASKED, [TOOL]))
    assert '"weather"' in offered
    answered = codec.decode(codec.encode_chat([*ASKED, calling(), RESULT], [TOOL]))
    assert '{"city": "Paris"}' in answered
    assert "12 degrees" in answered
    assert "weather" not in codec.decode(codec.encode_chat(ASKED))


def test_a_conversation_goes_on_after_calls_without_tools_being_offered_again() -> None:
    codec = codec_with(_HERMES)
    text = codec.decode(codec.encode_chat([*ASKED, calling(), RESULT]))
    assert text.endswith("assistant\n")


def test_an_empty_list_of_calls_is_no_call() -> None:
    said: ChatMessage = {"role": "assistant", "content": "Warm."}
    for template in (_LLAMA, PLAIN):
        codec = codec_with(template)
        assert codec.encode_chat([*ASKED, {**said, "tool_calls": []}]) == codec.encode_chat([*ASKED, said])


REFUSED: dict[str, tuple[str | None, list[ChatMessage], list[dict[str, Any]], str, str]] = {
    "tools without a template for them": (PLAIN, ASKED, [TOOL], "tools", "chat template"),
    "calls without a template for them": (
        PLAIN,
        [*ASKED, calling(), RESULT],
        [],
        "messages",
        "calls of tools",
    ),
    "a call that nobody answered": (_HERMES, [*ASKED, calling()], [TOOL], "messages", "role tool"),
    "arguments that are no JSON": (_HERMES, [*ASKED, calling("{"), RESULT], [TOOL], "messages", "weather"),
    "arguments that are a list": (_HERMES, [*ASKED, calling("[]"), RESULT], [TOOL], "messages", "object"),
    "arguments nested without end": (
        _HERMES,
        [*ASKED, calling("[" * 100_000), RESULT],
        [TOOL],
        "messages",
        "object",
    ),
    "what the template itself refuses": (
        _LLAMA,
        [*ASKED, {**calling(), "tool_calls": calling()["tool_calls"] * 2}, RESULT],
        [TOOL],
        "messages",
        "one call at a time",
    ),
    "what the template fails on": (
        _HERMES.replace("{{ tool | tojson }}", "{{ tool.function.name + ': ' + tool.function.description }}"),
        ASKED,
        [{"type": "function", "function": {"name": "weather", "description": 3}}],
        "messages",
        "rendered",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_template_cannot_take_is_refused_by_name(name: str) -> None:
    template, messages, tools, param, reason = REFUSED[name]
    with pytest.raises(BerthError, match=reason) as raised:
        codec_with(template).encode_chat(messages, tools)
    assert (raised.value.kind, raised.value.param) == (ErrorKind.INVALID, param)
