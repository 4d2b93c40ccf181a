"""The embedded API server says what the transcript wants, and what a real kube-apiserver says."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth_local.apiserver import ApiServer
from control_plane.agreed_differences import AGREED
from control_plane.conversation import Answer, Conversation, differences, normal
from control_plane.real_apiserver import REQUIRED, RealControlPlane, find_assets
from control_plane.transcript import SETUP, Step
from control_plane.transcript_apply import APPLYING, WATCHING
from control_plane.transcript_builtin import SMALL
from control_plane.transcript_custom import LIFE, VALIDATION
from control_plane.transcript_workloads import WORKLOADS

STEPS = [*SETUP, *VALIDATION, *LIFE, *APPLYING, *WATCHING, *WORKLOADS, *SMALL]
every_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)


def test_every_step_has_a_name_of_its_own() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Conversation:
    async def hold() -> Conversation:
        async with ApiServer() as server:
            conversation = Conversation(
                server.write_kubeconfig(tmp_path_factory.mktemp("embedded") / "kubeconfig")
            )
            await conversation.hold(STEPS)
            return conversation

    return asyncio.run(hold())


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    assets = find_assets()
    if assets is None:
        pytest.skip("needs etcd and kube-apiserver: set KUBEBUILDER_ASSETS to a folder that holds them")
    # Controllers would change objects between one step and the next, so only these two run.
    folder: Path = tmp_path_factory.mktemp("assets")
    for name in REQUIRED:
        (folder / name).symlink_to(assets.resolve() / name)
    with RealControlPlane(folder, tmp_path_factory.mktemp("real")) as plane:
        conversation = Conversation(plane.kubeconfig)
        asyncio.run(conversation.hold(STEPS))
        yield conversation


@every_step
def test_the_embedded_server_answers_as_the_transcript_says(embedded: Conversation, step: Step) -> None:
    assert embedded.faults(step, embedded.answers[step.name]) == []


@every_step
@pytest.mark.timeout(300)
def test_a_real_server_answers_as_the_transcript_says(real: Conversation, step: Step) -> None:
    assert real.faults(step, real.answers[step.name]) == []


def _found(step: Step, embedded: Conversation, real: Conversation) -> list[tuple[str, object, object]]:
    def whole(answer: Answer) -> object:
        return normal({"code": answer.code, "body": answer.body, "warnings": answer.warnings})

    return list(differences(whole(embedded.answers[step.name]), whole(real.answers[step.name])))


@every_step
def test_both_answer_alike_but_for_what_is_agreed(
    embedded: Conversation, real: Conversation, step: Step
) -> None:
    unexpected = [
        f"{path}: {ours!r} here, {theirs!r} there"
        for path, ours, theirs in _found(step, embedded, real)
        if not any(agreed.covers(step.name, path) for agreed in AGREED)
    ]
    assert unexpected == []


def test_every_agreed_difference_occurs(embedded: Conversation, real: Conversation) -> None:
    seen = [(step.name, path) for step in STEPS for path, _, _ in _found(step, embedded, real)]
    assert [one for one in AGREED if not any(one.covers(step, path) for step, path in seen)] == []
