"""The clients that people already use, unmodified, over real HTTP, with tiny-chat behind it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from server.tiny_chat_server import NAME, QUESTION, TinyChat

CONVERSATION: list[Any] = [{"role": "user", "content": QUESTION}]
FOLLOW_UP: list[Any] = [
    *CONVERSATION,
    {"role": "assistant", "content": "Kubernetes is an open source system."},
    {"role": "user", "content": "What is a pod?"},
]


@pytest.fixture(scope="module")
def sdk(tiny_chat: TinyChat) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{tiny_chat.url}/v1", api_key="none", max_retries=0) as client:
        yield client


class TestOpenAI:
    def test_a_question_is_answered(self, sdk: openai.OpenAI, tiny_chat: TinyChat) -> None:
        answer = sdk.chat.completions.create(model=NAME, messages=CONVERSATION, temperature=0)
        ChatCompletion.model_validate(answer.model_dump(), strict=True)
        choice = answer.choices[0]
        assert choice.message.content == tiny_chat.answer
        assert (choice.finish_reason, answer.model) == ("stop", NAME)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == tiny_chat.answer_tokens + 1  # the one that ends it
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    def test_a_stream_adds_up_to_the_answer(self, sdk: openai.OpenAI, tiny_chat: TinyChat) -> None:
        chunks = list(
            sdk.chat.completions.create(
                model=NAME,
                messages=CONVERSATION,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        for chunk in chunks:
            ChatCompletionChunk.model_validate(chunk.model_dump())
        assert chunks[0].choices[0].delta.role == "assistant"
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
        assert "".join(pieces) == tiny_chat.answer
        assert len(pieces) > 10
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == tiny_chat.answer_tokens + 1
        assert {chunk.id for chunk in chunks} == {chunks[0].id}

    def test_a_conversation_goes_on_over_several_turns(self, sdk: openai.OpenAI) -> None:
        system: list[Any] = [{"role": "developer", "content": "You are a helpful assistant."}]
        for messages in (FOLLOW_UP, system + FOLLOW_UP):
            answer = sdk.chat.completions.create(model=NAME, messages=messages, temperature=0, max_tokens=20)
            rendered: Any = sdk.post(
                str(sdk.base_url).replace("/v1/", "/tokenize"), body={"messages": messages}, cast_to=object
            )
            continued = sdk.completions.create(
                model=NAME, prompt=rendered["tokens"], temperature=0, max_tokens=20
            )
            assert answer.choices[0].message.content == continued.choices[0].text

    def test_several_answers_come_with_their_index(self, sdk: openai.OpenAI) -> None:
        arguments: Any = {
            "model": NAME, "messages": CONVERSATION, "n": 3, "temperature": 5, "seed": 4, "max_tokens": 8
        }  # fmt: skip
        whole = sdk.chat.completions.create(**arguments)
        texts = [choice.message.content for choice in whole.choices]
        assert [choice.index for choice in whole.choices] == [0, 1, 2]
        streamed = ["", "", ""]
        for chunk in sdk.chat.completions.create(**arguments, stream=True):
            streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        assert streamed == texts
        assert len(set(texts)) > 1

    def test_an_answer_ends_before_a_stop_string(self, sdk: openai.OpenAI, tiny_chat: TinyChat) -> None:
        stop = "containers on"
        answer = sdk.chat.completions.create(model=NAME, messages=CONVERSATION, temperature=0, stop=stop)
        assert answer.choices[0].message.content == tiny_chat.answer.partition(stop)[0]
        assert answer.choices[0].finish_reason == "stop"

    def test_an_answer_that_is_cut_short_says_so(self, sdk: openai.OpenAI) -> None:
        answer = sdk.chat.completions.create(model=NAME, messages=CONVERSATION, max_completion_tokens=3)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 3

    def test_log_probabilities_add_up(self, sdk: openai.OpenAI) -> None:
        answer = sdk.chat.completions.create(
            model=NAME, messages=CONVERSATION, temperature=0, max_tokens=6, logprobs=True, top_logprobs=3
        )
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        assert "".join(entry.token for entry in logprobs.content) == answer.choices[0].message.content
        for entry in logprobs.content:
            assert entry.bytes == list(entry.token.encode())
            assert [one.logprob for one in entry.top_logprobs] == sorted(
                (one.logprob for one in entry.top_logprobs), reverse=True
            )
            assert (entry.top_logprobs[0].token, entry.top_logprobs[0].logprob) == (
                entry.token,
                entry.logprob,
            )

    def test_a_text_is_continued(self, sdk: openai.OpenAI) -> None:
        arguments: Any = {"model": NAME, "prompt": "Kubernetes is", "max_tokens": 6, "temperature": 0}
        plain = sdk.completions.create(**arguments)
        echoed = sdk.completions.create(**arguments, echo=True)
        assert echoed.choices[0].text == f"Kubernetes is{plain.choices[0].text}"
        streamed = sdk.completions.create(**arguments, stream=True)
        assert "".join(chunk.choices[0].text for chunk in streamed) == plain.choices[0].text
        scored = sdk.completions.create(**arguments, logprobs=2)
        logprobs = scored.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.tokens is not None
        assert "".join(logprobs.tokens) == plain.choices[0].text

    def test_several_prompts_are_answered_in_order(self, sdk: openai.OpenAI) -> None:
        prompts = ["Kubernetes is", "A pod is"]
        arguments: Any = {"model": NAME, "max_tokens": 6, "temperature": 0}
        alone = [sdk.completions.create(**arguments, prompt=prompt).choices[0].text for prompt in prompts]
        together = sdk.completions.create(**arguments, prompt=prompts)
        assert [choice.text for choice in together.choices] == alone
        streamed = ["", ""]
        for chunk in sdk.completions.create(**arguments, prompt=prompts, stream=True):
            streamed[chunk.choices[0].index] += chunk.choices[0].text
        assert streamed == alone

    def test_the_best_of_several_is_the_likeliest(self, sdk: openai.OpenAI) -> None:
        arguments: Any = {
            "model": NAME, "prompt": "A pod", "max_tokens": 8, "temperature": 2, "seed": 5, "logprobs": 0
        }  # fmt: skip

        def score(choice: Any) -> float:
            values = choice.logprobs.token_logprobs
            return sum(values) / len(values)

        every = sdk.completions.create(**arguments, n=6)
        best = sdk.completions.create(**arguments, n=2, best_of=6)
        ranked = sorted(every.choices, key=score, reverse=True)
        assert [choice.text for choice in best.choices] == [choice.text for choice in ranked[:2]]
        assert len({choice.text for choice in every.choices}) > 2

    def test_the_model_is_listed_under_all_its_names(self, sdk: openai.OpenAI) -> None:
        names = [model.id for model in sdk.models.list()]
        assert names == ["my-workspace", NAME, "tiny-chat"]
        for name in names:
            assert sdk.models.retrieve(name).id == name

    @pytest.mark.parametrize(
        ("error", "param", "arguments"),
        [
            pytest.param(openai.NotFoundError, "model", {"model": "gpt-5"}, id="a model that is not served"),
            pytest.param(openai.BadRequestError, "temperature", {"temperature": -1}, id="a wrong value"),
            pytest.param(openai.BadRequestError, "logprobs", {"logprobs": "yes"}, id="a wrong type"),
            pytest.param(
                openai.BadRequestError, "suffix", {"extra_body": {"suffix": "x"}}, id="another's name"
            ),
            pytest.param(
                openai.BadRequestError, "messages", {"messages": CONVERSATION * 900}, id="a prompt too long"
            ),
            pytest.param(
                openai.BadRequestError, "n", {"n": 2, "temperature": 0}, id="several of which there is one"
            ),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    def test_what_is_refused_names_its_argument(
        self, sdk: openai.OpenAI, error: Any, param: str, arguments: dict[str, Any], stream: bool
    ) -> None:
        with pytest.raises(error) as raised:
            sdk.chat.completions.create(
                **{"model": NAME, "messages": CONVERSATION, **arguments, "stream": stream}
            )
        assert raised.value.param == param
        assert raised.value.type == "invalid_request_error"


@pytest.mark.filterwarnings("ignore")  # the client's own, at its import
class TestLangChain:
    def _model(self, tiny_chat: TinyChat, **arguments: Any) -> Any:
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(
            base_url=f"{tiny_chat.url}/v1", api_key="none", model=NAME, temperature=0, **arguments
        )

    def test_a_question_is_answered(self, tiny_chat: TinyChat) -> None:
        answer = self._model(tiny_chat).invoke(QUESTION)
        assert answer.content == tiny_chat.answer
        assert answer.usage_metadata["output_tokens"] == tiny_chat.answer_tokens + 1

    def test_a_stream_adds_up_to_the_answer(self, tiny_chat: TinyChat) -> None:
        pieces = [chunk.content for chunk in self._model(tiny_chat).stream(QUESTION)]
        assert "".join(pieces) == tiny_chat.answer
        assert len(pieces) > 10

    def test_a_conversation_with_a_stop_string(self, tiny_chat: TinyChat) -> None:
        turns = [
            ("system", "Be brief."),
            ("human", QUESTION),
            ("ai", "A system."),
            ("human", "What is a pod?"),
        ]
        whole = self._model(tiny_chat).invoke(turns).content
        assert (
            self._model(tiny_chat, stop=["smallest"]).invoke(turns).content == whole.partition("smallest")[0]
        )

    def test_several_answers(self, tiny_chat: TinyChat) -> None:
        from langchain_core.messages import HumanMessage

        model = self._model(tiny_chat, n=2, max_tokens=4).model_copy(update={"temperature": 1.0})
        assert len(model.generate([[HumanMessage(QUESTION)]]).generations[0]) == 2

    def test_an_error_says_what_is_wrong(self, tiny_chat: TinyChat) -> None:
        with pytest.raises(openai.BadRequestError, match="top_p must be less than or equal to 1"):
            self._model(tiny_chat, top_p=3).invoke(QUESTION)


@pytest.mark.filterwarnings("ignore")  # the client's own, at its import and of its models
class TestLiteLLM:
    @pytest.fixture(autouse=True)
    def _closed_loop(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """It asks for the thread's event loop, and would leave one behind that nobody closes."""
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it looks for prices on the network
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        yield
        asyncio.set_event_loop(None)
        loop.close()

    def _complete(self, tiny_chat: TinyChat, **arguments: Any) -> Any:
        import litellm

        return litellm.completion(
            model=f"openai/{NAME}", api_base=f"{tiny_chat.url}/v1", api_key="none",
            **{"messages": CONVERSATION, "temperature": 0, **arguments},
        )  # fmt: skip

    def test_a_question_is_answered(self, tiny_chat: TinyChat) -> None:
        assert self._complete(tiny_chat).choices[0].message.content == tiny_chat.answer

    def test_a_stream_adds_up_to_the_answer(self, tiny_chat: TinyChat) -> None:
        pieces = [chunk.choices[0].delta.content or "" for chunk in self._complete(tiny_chat, stream=True)]
        assert "".join(pieces) == tiny_chat.answer

    def test_several_answers_and_a_stop_string(self, tiny_chat: TinyChat) -> None:
        answer = self._complete(tiny_chat, n=2, temperature=1.5, stop=["."], max_tokens=30)
        assert len(answer.choices) == 2
        assert all("." not in choice.message.content for choice in answer.choices)

    def test_a_conversation(self, tiny_chat: TinyChat) -> None:
        whole = self._complete(tiny_chat, messages=FOLLOW_UP).choices[0].message.content
        pieces = self._complete(tiny_chat, messages=FOLLOW_UP, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces) == whole
        assert whole

    def test_an_error_says_what_is_wrong(self, tiny_chat: TinyChat) -> None:
        import litellm

        with pytest.raises(
            litellm.BadRequestError, match="frequency_penalty must be less than or equal to 2"
        ):
            self._complete(tiny_chat, frequency_penalty=9)


class TestCurl:
    def _curl(self, tiny_chat: TinyChat, path: str, body: Any) -> str:
        command = ["curl", "-sS", "-N", f"{tiny_chat.url}{path}", "-d", json.dumps(body)]
        return subprocess.run(
            [*command, "-H", "Content-Type: application/json"], capture_output=True, text=True, check=True
        ).stdout

    def test_a_question_is_answered(self, tiny_chat: TinyChat) -> None:
        body = {"messages": CONVERSATION, "temperature": 0}
        answer = json.loads(self._curl(tiny_chat, "/v1/chat/completions", body))
        assert answer["choices"][0]["message"]["content"] == tiny_chat.answer

    def test_a_stream_ends_as_it_should(self, tiny_chat: TinyChat) -> None:
        said = self._curl(tiny_chat, "/chat", {"messages": CONVERSATION, "stream": True})
        *deltas, whole, last = [line for line in said.split("\n\n") if line]
        pieces = [json.loads(line.removeprefix("data: "))["delta"] for line in deltas]
        assert "".join(pieces) == json.loads(whole.removeprefix("data: "))["Result"] == tiny_chat.answer
        assert last == "data: [DONE]"
