"""The operator's settings: read from the environment, refused in one line."""

from pathlib import Path

import pytest

from berth_operator.__main__ import main
from berth_operator.api.weights import WeightsVolume
from berth_operator.settings import Settings, SettingsError, settings_from


def test_an_empty_environment_gives_the_defaults() -> None:
    assert settings_from({"BERTH_WORKERS": " ", "PATH": "/bin"}) == Settings()


def test_every_setting_can_be_given(tmp_path: Path) -> None:
    settings = settings_from(
        {
            "BERTH_WATCH_NAMESPACES": "a, b,",
            "BERTH_PRESETS_DIR": str(tmp_path),
            "BERTH_IMAGE_REGISTRY": "mirror.example/",
            "BERTH_IMAGE_TAG": "9",
            "BERTH_IMAGE_DIGEST_CPU": "sha256:1",
            "BERTH_IMAGE_DIGEST_CUDA": "sha256:2",
            "BERTH_VLLM_IMAGE": "mirror.example/vllm:1",
            "BERTH_IMAGE_PULL_SECRETS": "s",
            "BERTH_WEIGHTS_VOLUME": "storage-class/fast",
            "BERTH_WEIGHTS_NODE_PATH": "/models/",
            "BERTH_WEIGHTS_FS_GROUP": "none",
            "BERTH_HUB_ENDPOINT": "https://hub.example.com/",
            "BERTH_HTTP_PROXY": "http://proxy.example.com:3128",
            "BERTH_HTTPS_PROXY": "http://proxy.example.com:3129",
            "BERTH_NO_PROXY": "hub.example.com",
            "BERTH_RESYNC_SECONDS": "60",
            "BERTH_WORKERS": "2",
            "BERTH_LOG_FORMAT": "json",
            "BERTH_LIVENESS_PORT": "0",
        }
    )
    assert settings == Settings(
        ("a", "b"),
        tmp_path,
        "mirror.example",
        "9",
        "sha256:1",
        "sha256:2",
        "mirror.example/vllm:1",
        ("s",),
        WeightsVolume("storage-class", "fast"),
        "/models",
        None,
        "https://hub.example.com",
        "http://proxy.example.com:3128",
        "http://proxy.example.com:3129",
        "hub.example.com",
        60,
        2,
        "json",
        0,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BERTH_WORKERS", "many"),
        ("BERTH_WORKERS", "0"),
        ("BERTH_RESYNC_SECONDS", "nan"),
        ("BERTH_LOG_FORMAT", "xml"),
        ("BERTH_PRESETS_DIR", "/no/such/folder"),
        ("BERTH_LIVENESS_PORT", "-1"),
        ("BERTH_WEIGHTS_VOLUME", "claim"),
        ("BERTH_WEIGHTS_NODE_PATH", "models"),
        ("BERTH_WEIGHTS_NODE_PATH", "/models/../etc"),
        ("BERTH_WEIGHTS_FS_GROUP", "0"),
        ("BERTH_HUB_ENDPOINT", "hub.example.com"),
        ("BERTH_HTTPS_PROXY", "http://user:password@proxy.example.com"),
    ],
)
def test_an_unusable_value_is_refused_by_its_variables_name(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError, match=variable):
        settings_from({variable: value})
    monkeypatch.setenv(variable, value)
    assert main(["run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert variable in line
