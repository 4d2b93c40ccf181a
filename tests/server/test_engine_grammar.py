"""Answers within a grammar: what ends by itself is JSON that the schema allows, whatever else is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tokenizers import Tokenizer, decoders, models, normalizers

from berth_inference.engine import (
    Engine,
    FinishReason,
    GenerationRequest,
    Grammar,
    SamplingParams,
    SequenceFinished,
    TokenEvent,
)
from berth_inference.engine.batch.engine import BatchEngine, BatchSettings
from berth_inference.engine.pipeline import PipelineEngine
from berth_inference.errors import BerthError, ErrorKind
from server.engine_requests import answered, expected
from server.model_zoo import make_model, make_pipeline
from server.random_model import END_OF_TEXT

pytestmark = pytest.mark.thorough

TINY_CHAT = Path(str(files("berth_inference") / "models" / "tiny-chat"))
PROMPT = tuple(range(10, 20))
SEEDS = range(20)


def record(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


WORD = {"type": "string", "maxLength": 6}
SCHEMAS: dict[str, dict[str, Any]] = {
    "required properties": record(name=WORD, age={"type": "integer", "minimum": 0, "maximum": 130}),
    "an optional property": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}},
        "required": ["b"],
        "additionalProperties": False,
    },
    "an enumeration": record(colour={"enum": ["red", "green", 7, None]}),
    "a constant": record(kind={"const": "pod"}, ready={"type": "boolean"}),
    "nested arrays": record(
        rows={
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {"type": "array", "maxItems": 2, "items": {"type": "boolean"}},
        }
    ),
    "numbers": record(
        part={"type": "number", "exclusiveMinimum": -1, "maximum": 1}, whole={"enum": [1, 2.5]}
    ),
    "alternatives": {"anyOf": [record(a=WORD), record(b={"type": "array", "maxItems": 2, "items": WORD})]},
    "a pattern": record(id={"type": "string", "pattern": "^[a-c]{2}-[0-9]{1,3}$"}),
    "lengths": record(id={"type": "string", "minLength": 3, "maxLength": 5}),
    "a format": record(day={"type": "string", "format": "date"}),
    "references": {
        "$defs": {"leaf": record(v={"enum": [0, 1]}), "pair": record(l={"$ref": "#/$defs/leaf"})},
        "$ref": "#/$defs/pair",
    },
    "a bare array": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    "annotations": {"title": "T", "description": "d", **record(x={"type": "null"})},
}


class Served:
    """Both lanes' engines over a model, and that model once more, untouched, as the oracle."""

    def __init__(self, folder: Path) -> None:
        import transformers

        def load() -> Any:
            return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")

        def pipeline() -> Any:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            return transformers.pipeline("text-generation", model=load(), tokenizer=tokenizer)

        self.oracle = load()
        for name in ("eos_token_id", "pad_token_id", "bos_token_id"):  # requests say them all
            setattr(self.oracle.generation_config, name, None)
        settings = BatchSettings(max_queued=100, kv_bytes=64 * 2**20)
        self.engine = BatchEngine(pipeline(), names=("batch",), settings=settings)
        self.exclusive = PipelineEngine(pipeline(), names=("alone",), max_queued=100)

    def close(self) -> None:
        self.engine.close()
        self.exclusive.close()


@pytest.fixture(scope="module", params=["random", "tiny-chat"])
def served(request: pytest.FixtureRequest, model_folder: Path) -> Iterator[Served]:
    served = Served(model_folder if request.param == "random" else TINY_CHAT)
    yield served
    served.close()


@pytest.fixture(scope="module")
def random_model(model_folder: Path) -> Iterator[Served]:
    served = Served(model_folder)
    yield served
    served.close()


def asked(grammar: Grammar | dict[str, Any] | None, tokens: int = 100, **changes: Any) -> GenerationRequest:
    if isinstance(grammar, dict):
        grammar = Grammar.json_schema(grammar)
    values = {"prompt": PROMPT, "max_new_tokens": tokens, "pad_token_id": END_OF_TEXT, "grammar": grammar}
    return GenerationRequest(**{"stop_token_ids": (END_OF_TEXT,), **values, **changes})


async def texts(engine: Engine, request: GenerationRequest) -> list[tuple[str, FinishReason]]:
    """Each sequence's text, and why it ended."""
    tokens: dict[int, list[int]] = {index: [] for index in range(request.n)}
    reasons = {}
    async for event in engine.submit(request):
        if isinstance(event, TokenEvent):
            tokens[event.sequence] += event.token_ids
        elif isinstance(event, SequenceFinished):
            reasons[event.sequence] = event.reason
    return [(engine.codec.decode(tokens[index]), reasons[index]) for index in sorted(tokens)]


async def failure(engine: Engine, request: GenerationRequest) -> BerthError:
    with pytest.raises(BerthError) as raised:
        await texts(engine, request)
    assert raised.value.kind is ErrorKind.INVALID
    return raised.value


def sampled(seed: int) -> SamplingParams:
    """Different arguments from seed to seed, which take the different ways of sampling."""
    kinds: list[dict[str, Any]] = [
        {},
        {"top_k": 20},
        {"top_p": 0.9},
        {"typical_p": 0.8},
        {"top_k": 50, "min_p": 0.01, "repetition_penalty": 1.2, "frequency_penalty": 0.5},
    ]
    return SamplingParams(do_sample=True, temperature=0.7 + seed / 20, **kinds[seed % len(kinds)])


@pytest.mark.parametrize("name", SCHEMAS)
async def test_what_ends_by_itself_is_json_that_the_schema_allows(served: Served, name: str) -> None:
    schema = SCHEMAS[name]
    requests = [asked(schema), *(asked(schema, sampling=sampled(seed), seed=seed) for seed in SEEDS)]
    served.engine.prepare(Grammar.json_schema(schema))
    got = await asyncio.gather(*(texts(served.engine, request) for request in requests))
    ended = [text for ((text, reason),) in got if reason is FinishReason.STOP]
    for text in ended:
        Draft202012Validator(schema).validate(json.loads(text))
    assert len(ended) > len(SEEDS) / 2, got


async def test_any_object_is_an_object(served: Served) -> None:
    requests = [asked(Grammar.json_object(), 60, sampling=sampled(seed), seed=seed) for seed in SEEDS]
    got = await asyncio.gather(*(texts(served.engine, request) for request in requests))
    ended = [text for ((text, reason),) in got if reason is FinishReason.STOP]
    assert ended
    assert all(isinstance(json.loads(text), dict) for text in ended)
    assert all(text.startswith("{") for ((text, _),) in got)


async def test_rows_beside_it_keep_the_tokens_of_generate(served: Served) -> None:
    free = [
        asked(None, 40, prompt=(30 + seed, *PROMPT), sampling=sampling, seed=seed)
        for seed in range(4)
        for sampling in (SamplingParams(), SamplingParams(do_sample=True, top_k=20))
    ]
    bound = [asked(SCHEMAS["lengths"], sampling=sampled(seed), seed=seed) for seed in range(6)]
    got = await asyncio.gather(*(answered(served.engine, request) for request in (*free, *bound)))
    assert got[: len(free)] == [expected(served.oracle, request) for request in free]


async def test_both_lanes_answer_alike(served: Served) -> None:
    for seed, schema in enumerate(SCHEMAS.values()):
        sampling = sampled(seed) if seed % 2 else SamplingParams(repetition_penalty=1.1)
        request = asked(schema, 60, sampling=sampling, seed=seed, n=3 if sampling.do_sample else 1)
        assert await answered(served.engine, request) == await answered(served.exclusive, request)


async def test_a_seed_repeats_and_sequences_differ(random_model: Served) -> None:
    request = asked(SCHEMAS["lengths"], n=4, sampling=SamplingParams(do_sample=True, temperature=2.0), seed=3)
    first, second = [await texts(random_model.engine, request) for _ in range(2)]
    assert first == second
    assert len({text for text, _ in first}) == 4


async def test_the_likeliest_allowed_token_is_chosen_after_biases(random_model: Served) -> None:
    codec = random_model.engine.codec
    containing = {
        letter: [token for token in range(4, 512) if letter in codec.decode([token])] for letter in "ab"
    }
    for unwanted, other in ("ab", "ba"):
        bias = tuple((token, -100.0) for token in containing[unwanted])
        ((text, _),) = await texts(
            random_model.engine, asked({"enum": ["a", "b"]}, sampling=SamplingParams(logit_bias=bias))
        )
        assert json.loads(text) == other


async def test_a_least_length_is_kept(random_model: Served) -> None:
    async def lengths(least: int) -> list[int]:
        requests = [
            asked({"type": "integer", "minimum": 1}, min_new_tokens=least, sampling=sampled(seed), seed=seed)
            for seed in SEEDS
        ]
        got = await asyncio.gather(*(answered(random_model.engine, request) for request in requests))
        return [len(tokens) for (tokens,) in got]

    assert min(await lengths(0)) < 9 <= min(await lengths(9))


@pytest.mark.parametrize("lane", ["engine", "exclusive"])
@pytest.mark.parametrize("sample", [False, True], ids=["greedy", "sampled"])
async def test_what_leaves_no_token_at_all_says_so(random_model: Served, lane: str, sample: bool) -> None:
    request = asked({"const": 1}, min_new_tokens=9, sampling=SamplingParams(do_sample=sample))
    error = await failure(getattr(random_model, lane), request)
    assert "forbid every token" in error.message


@pytest.mark.parametrize("lane", ["engine", "exclusive"])
async def test_an_answer_that_runs_out_of_tokens_says_length(random_model: Served, lane: str) -> None:
    ((text, reason),) = await texts(getattr(random_model, lane), asked(SCHEMAS["required properties"], 4))
    assert reason is FinishReason.LENGTH
    assert text.startswith("{")


@pytest.mark.parametrize("lane", ["engine", "exclusive"])
async def test_a_stop_string_ends_one_sequence_and_the_others_go_on(random_model: Served, lane: str) -> None:
    schema = record(colour={"enum": ["red", "green", "blue"]})
    sampling = SamplingParams(do_sample=True, temperature=3.0)
    got = await texts(
        getattr(random_model, lane), asked(schema, n=8, stop=("gr",), sampling=sampling, seed=1)
    )
    cut = [text for text, _ in got if "gr" in text]
    whole = [json.loads(text) for text, _ in got if "gr" not in text]
    assert len(cut) + len(whole) == 8
    assert cut
    assert {answer["colour"] for answer in whole} == {"red", "blue"}


REFUSED: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "EOF"),
    "no schema": ("3", "object"),
    "a type that does not exist": ('{"type":"strnig"}', "strnig"),
    "a keyword that cannot be enforced": ('{"not":{"type":"string"}}', '"not"'),
    "uniqueItems": ('{"type":"array","uniqueItems":true}', "uniqueItems"),
    "oneOf that may overlap": ('{"oneOf":[{"type":"string"},{"minLength":2}]}', "oneOf"),
    "an unknown format": ('{"type":"string","format":"colour"}', "colour"),
    "a pattern that is none": ('{"type":"string","pattern":"("}', "unclosed group"),
    "look-ahead": ('{"type":"string","pattern":"(?=a)b"}', "look-around"),
    "a schema elsewhere": ('{"$ref":"http://127.0.0.1/x"}', "127.0.0.1"),
    "a reference to nothing": ('{"$ref":"#/$defs/x"}', "does not exist"),
    "a reference to itself": ('{"$ref":"#"}', "enforced"),
    "nothing is allowed": ('{"type":"integer","minimum":5,"maximum":3}', "minimum (5)"),
    "deep nesting": ('{"items":' * 2000 + "{}" + "}" * 2000, "recursion"),
    "a large schema": (json.dumps({"enum": ["x" * 40_000]}), "32768"),
    "keywords that it asks to ignore": ('{"x-guidance":{"lenient":true},"not":{}}', '"not"'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_schema_that_cannot_be_enforced_is_refused_with_the_reason(random_model: Served, name: str) -> None:
    schema, reason = REFUSED[name]
    for _ in range(2):  # the verdict is remembered
        with pytest.raises(BerthError) as raised:
            random_model.engine.prepare(Grammar("json_schema", schema))
        assert (raised.value.kind, raised.value.param) == (ErrorKind.INVALID, "response_format")
        assert reason in raised.value.message
        assert "\n" not in raised.value.message
        assert "coerce_one_of" not in raised.value.message


def test_a_schema_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"items": schema}
    with pytest.raises(BerthError, match="nested too deeply"):
        Grammar.json_schema(schema)
    while schema:  # taken apart here, because freeing it whole would recurse as deep
        schema = schema.pop("items")


@pytest.mark.parametrize("lane", ["engine", "exclusive"])
async def test_a_grammar_that_was_not_prepared_fails_through_its_stream(
    random_model: Served, lane: str
) -> None:
    error = await failure(getattr(random_model, lane), asked({"not": {}}))
    assert error.param == "response_format"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"sampling": SamplingParams(num_beams=2)}, "beam", id="beams"),
        pytest.param({"stop_token_ids": ()}, "ends", id="nothing that ends it"),
    ],
)
@pytest.mark.parametrize("lane", ["engine", "exclusive"])
async def test_what_cannot_go_with_a_grammar_is_refused_at_once(
    random_model: Served, lane: str, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BerthError, match=reason) as raised:
        getattr(random_model, lane).submit(asked({}, **changes))
    assert raised.value.param == "response_format"


async def test_a_grammar_that_becomes_too_complex_ends_its_own_answer_and_no_later_one(
    random_model: Served,
) -> None:
    schema = {"type": "string", "pattern": "(.*[a-m].{300})+q"}
    request = asked(schema, 200, sampling=SamplingParams(do_sample=True, temperature=9.0), seed=1)
    lengths = []
    for _ in range(2):
        lengths.append(0)

        async def count() -> None:
            async for _ in random_model.engine.submit(request):
                lengths[-1] += 1

        with pytest.raises(BerthError, match="too complex") as raised:
            await count()
        assert raised.value.param == "response_format"
    assert lengths[0] == lengths[1] > 0


def _sentencepiece() -> Any:
    """A tokenizer in the form of Llama's and Mistral's: spaces as U+2581, bytes for what has no token."""
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["▁", *map(chr, range(33, 127)), "▁{", '{"']
    vocabulary = {word: token for token, word in enumerate(words)}
    merges = [("▁", "{"), ("{", '"')]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="<s>")


async def test_sentencepiece_tokenizers_are_followed_byte_by_byte() -> None:
    import transformers

    tokenizer = _sentencepiece()
    model = make_model("llama", vocab_size=len(tokenizer) + 7)
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    engine = BatchEngine(pipeline, names=("sp",), settings=BatchSettings(max_queued=40, kv_bytes=16 * 2**20))
    try:
        for schema in (SCHEMAS["lengths"], SCHEMAS["a pattern"], {"enum": ["é", "☃"]}):
            requests = [asked(schema, 80, stop_token_ids=(2,), sampling=sampled(s), seed=s) for s in SEEDS]
            got = await asyncio.gather(*(texts(engine, request) for request in requests))
            ended = [text for ((text, reason),) in got if reason is FinishReason.STOP]
            assert len(ended) > len(SEEDS) / 2
            for text in ended:
                Draft202012Validator(schema).validate(json.loads(text))
    finally:
        engine.close()


def test_a_tokenizer_that_is_not_known_is_refused_by_name() -> None:
    engine = PipelineEngine(make_pipeline("llama"), names=("zoo",), max_queued=1)
    try:
        with pytest.raises(BerthError, match="tokenizer") as raised:
            engine.prepare(Grammar.json_object())
    finally:
        engine.close()
    assert raised.value.param == "response_format"
