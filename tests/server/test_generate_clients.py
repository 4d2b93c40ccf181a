"""POST /v1/generate as its own client calls it, unmodified, and read in both ways that clients read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from server.tiny_chat_server import NAME, QUESTION, TinyChat

MESSAGES = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def http(tiny_chat: TinyChat) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=tiny_chat.url, timeout=60) as client:
        yield client


def _generate(http: httpx2.Client, **body: Any) -> dict[str, Any]:
    response = http.post("/v1/generate", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert answer["response"] == {"text": answer["text"], "token_counts": answer["token_counts"]}
    return answer


@pytest.mark.filterwarnings("ignore")  # the client's own: it is written for an older pydantic
class TestMonsterAPI:
    def test_a_question_is_answered(self, tiny_chat: TinyChat) -> None:
        from monsterapi.nextGenLLMClient import GenerateRequest, LLMClient

        client = LLMClient(api_key="none", base_url=f"{tiny_chat.url}/v1")
        answer = client.generate(
            GenerateRequest(model=NAME, messages=MESSAGES, max_tokens=100, temperature=0)
        )
        assert answer["response"]["text"] == [tiny_chat.answer]
        assert answer["response"]["token_counts"]["output"] == tiny_chat.answer_tokens + 1

    def test_a_formatted_prompt_is_continued_several_times(self, tiny_chat: TinyChat) -> None:
        from monsterapi.nextGenLLMClient import GenerateRequest, LLMClient

        client = LLMClient(api_key="none", base_url=f"{tiny_chat.url}/v1")
        prompt = f"<|user|>{QUESTION}<|end|><|assistant|>"
        answer = client.generate(
            GenerateRequest(model=NAME, formatted_prompt=prompt, max_tokens=5, n=2, best_of=3, top_k=5)
        )
        assert len(answer["text"]) == 2

    def test_an_error_is_the_client_s_own(self, tiny_chat: TinyChat) -> None:
        import requests
        from monsterapi.nextGenLLMClient import GenerateRequest, LLMClient

        client = LLMClient(api_key="none", base_url=f"{tiny_chat.url}/v1")
        with pytest.raises(requests.HTTPError, match="400"):
            client.generate(GenerateRequest(model=NAME))

    def test_its_reader_reads_the_stream(self, tiny_chat: TinyChat) -> None:
        import requests
        from monsterapi.client import MClient

        body = {"model": NAME, "messages": MESSAGES, "temperature": 0, "stream": True}
        with requests.post(f"{tiny_chat.url}/v1/generate", json=body, stream=True, timeout=60) as response:
            chunks = list(MClient(api_key="none").get_streaming_response(response))
        texts = [chunk["text"] for chunk in chunks]
        assert len(texts) > 10
        assert texts[-1] == [tiny_chat.answer]
        assert all(after[0].startswith(before[0]) for before, after in pairwise(texts))


def test_the_documented_request_is_answered(http: httpx2.Client) -> None:
    documented = {
        "model": "tiny-chat", "formatted_prompt": "Kubernetes is", "max_tokens": 256, "n": 1, "best_of": 1,
        "presence_penalty": 0, "frequency_penalty": 0, "repetition_penalty": 1, "temperature": 1, "top_p": 1,
        "top_k": -1, "min_p": 0, "use_beam_search": False, "length_penalty": 1, "early_stopping": False,
        "mock_response": False,
    }  # fmt: skip
    assert _generate(http, **documented)["text"][0]


def test_models_info_says_how_long_a_text_each_holds(http: httpx2.Client) -> None:
    lengths = http.get("/v1/models/info").json()["maximum_context_length"]
    assert lengths == dict.fromkeys(["my-workspace", NAME, "tiny-chat"], 2048)


def test_input_variables_are_put_into_the_prompt(http: httpx2.Client) -> None:
    plain = _generate(http, prompt="A pod is", temperature=0, max_tokens=6)
    filled = _generate(
        http, prompt="A {thing} is", input_variables={"thing": "pod"}, temperature=0, max_tokens=6
    )
    assert filled["text"] == plain["text"]


def test_input_variables_alone_are_a_question(http: httpx2.Client, tiny_chat: TinyChat) -> None:
    answer = _generate(http, input_variables={"prompt": QUESTION}, temperature=0)
    assert answer["text"] == [tiny_chat.answer]
    instructed = {"prompt": QUESTION, "system": "You are a helpful assistant."}
    turns = [{"role": "system", "content": instructed["system"]}, *MESSAGES]
    expected = _generate(http, messages=turns, temperature=0)
    assert _generate(http, input_variables=instructed, temperature=0) == expected


def test_a_mock_response_has_the_form_of_an_answer(http: httpx2.Client) -> None:
    answer = _generate(http, messages=MESSAGES, n=2, best_of=2, mock_response=True)
    assert len(answer["text"]) == 2
    assert answer["token_counts"]["input"] == 7
    streamed = http.post(
        "/v1/generate", json={"messages": MESSAGES, "mock_response": True, "stream": True}
    ).content
    assert [json.loads(part) for part in streamed.split(b"\0") if part] == [{"text": answer["text"][:1]}]
