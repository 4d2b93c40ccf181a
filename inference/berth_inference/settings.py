"""Settings of the server: flags, then environment, then the defaults below."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn
from urllib.parse import urlsplit

from berth_inference.adapters import Adapter, parse_adapter


class SettingsError(Exception):
    """A flag or an environment variable that cannot be used; one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set from outside. The help text of each flag states its basis."""

    model: str
    upstream: str = "http://127.0.0.1:8000"
    tokenizer: str | None = None
    revision: str | None = None
    host: str = "0.0.0.0"  # noqa: S104  a pod is reached from outside its own loopback
    port: int = 5000
    served_model_name: tuple[str, ...] = field(default_factory=tuple)
    adapter: tuple[Adapter, ...] = ()
    dtype: str = "auto"
    device: str = "auto"
    drain_seconds: float = 25.0
    max_body_bytes: int = 4 * 2**20
    max_prompt_tokens: int | None = None
    max_output_tokens: int = 4096
    max_beams: int = 16
    max_sequences: int = 16
    max_queued: int = 64
    max_rows: int = 64
    step_tokens: int = 256
    kv_memory: int | None = None
    prefix_cache: float = 0.5
    lookup_tokens: int = 4
    request_seconds: float = 600.0
    step_seconds: float = 300.0
    api_key_file: str | None = None
    log_format: str = "text"
    log_prompts: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which clients may ask for the model: those that were given, and its own.

        A folder's path is no name: it would tell clients about the server's file system.
        """
        own = (self.model,) if not self.model.startswith(("/", ".", "~")) else ()
        return tuple(dict.fromkeys((*self.served_model_name, *own))) or ("model",)


@dataclass(frozen=True, slots=True)
class Between:
    """Reads a number, `int` or `float`, from `low` to `high`."""

    convert: Callable[[str], Any]
    low: float
    high: float

    def __call__(self, text: str) -> Any:
        """The number, or what argparse prints about it."""
        try:
            value = self.convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not self.low <= value <= self.high:
            raise argparse.ArgumentTypeError(f"{text} is not between {self.low} and {self.high}")
        return value


@dataclass(frozen=True, slots=True)
class OneOf:
    """Reads one of a few words."""

    choices: tuple[str, ...]

    def __call__(self, text: str) -> str:
        """The word, or what argparse prints about it."""
        if text not in self.choices:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(self.choices)}")
        return text


def truth(text: str) -> bool:
    """Reads `true` or `false`, in any case."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false")
    return text.lower() == "true"


def _adapter(text: str) -> Adapter:
    try:
        return parse_adapter(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address like http://127.0.0.1:8000")
    return text.rstrip("/")


REPEATABLE = ("served_model_name", "adapter")
"""Settings that may be given several times; in the environment, with commas between."""

_COUNT = Between(int, 1, 2**31 - 1)

# Field -> (parser of one value, help). The flag and the environment variable follow from the name.
OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "model": (str, "built-in name, folder, or id on the Hugging Face hub"),
    "upstream": (_address, "where vLLM listens; the default is its own port in the same pod"),
    "tokenizer": (
        str,
        "built-in name, folder, or id on the hub of the model's tokenizer and configuration; default: what vLLM loads",
    ),
    "revision": (str, "commit, tag or branch of a model on the hub (pin a commit in production)"),
    "host": (str, "address to listen on"),
    "port": (Between(int, 0, 65535), "port to listen on; 0 takes a free one and logs it"),
    "served_model_name": (str, "name that clients may use for the model; repeatable; default: --model"),
    "adapter": (
        _adapter,
        "LoRA adapter to merge into the model, as NAME=FOLDER or, to count for less than its whole, "
        "NAME:STRENGTH=FOLDER with a strength from 0 to 1; repeatable",
    ),
    "dtype": (
        OneOf(("auto", "float32", "bfloat16", "float16")),
        "number type of the weights; auto: the checkpoint's own, and float32 on processors "
        "that would be slower with it",
    ),
    "device": (OneOf(("auto", "cpu", "cuda")), "where the model runs; auto: a GPU where there is one"),
    "drain_seconds": (
        Between(float, 0, 3600),
        "how long running requests may take to finish after SIGTERM; the default fits the 30 s "
        "that Kubernetes grants a pod",
    ),
    "max_body_bytes": (
        _COUNT,
        "largest request body; the default holds 128k tokens of text with every character escaped",
    ),
    "max_prompt_tokens": (_COUNT, "longest prompt; default: what the model's context holds"),
    "max_output_tokens": (
        _COUNT,
        "most new tokens that one request may ask for; the default is about 100 s of a small model on a CPU",
    ),
    "max_beams": (_COUNT, "most beams of one request: each costs the memory of a request of its own"),
    "max_sequences": (_COUNT, "most sequences of one request, for the same reason"),
    "max_queued": (
        _COUNT,
        "most requests that may wait while others run; the default is as many as run at once, so the "
        "last of them waits for about one whole answer",
    ),
    "max_rows": (
        _COUNT,
        "most sequences that are generated at once; beyond the default a CPU gains nothing: its "
        "arithmetic is then what takes the time, and no longer the reading of weights",
    ),
    "step_tokens": (
        _COUNT,
        "most prompt tokens that are read between two tokens of the requests that are running; the "
        "default takes a small model on a CPU about an eighth of a second",
    ),
    "kv_memory": (
        _COUNT,
        "bytes for the keys and values of all running requests; default: half of the memory that is "
        "free once the model is loaded",
    ),
    "prefix_cache": (
        Between(float, 0, 1),
        "share of --kv-memory that may hold beginnings of prompts for later requests to begin with; 0 "
        "keeps none; requests that need the room take it, so the default only sees to it that a burst of "
        "them finds half of it free",
    ),
    "lookup_tokens": (
        Between(int, 0, 16),
        "most tokens of a draft from the text so far, which a step of a request that runs alone tries as well; 0 "
        "drafts nothing; more than the default make such a step noticeably longer on two processors",
    ),
    "request_seconds": (
        Between(float, 1, 86400),
        "longest that a request may take, its wait included; the default is that of OpenAI's clients",
    ),
    "step_seconds": (
        Between(float, 1, 86400),
        "longest that one step of the model may take before /livez asks for a restart; the default is "
        "twice what --step-tokens of a 14-billion-parameter model take on two processors",
    ),
    "api_key_file": (
        str,
        "file with the API keys that clients may present, one a line, or folder of such files; read again "
        "when it changes; default: no key is asked for",
    ),
    "log_format": (OneOf(("text", "json")), "how lines of the log look"),
    "log_prompts": (
        truth,
        "whether each request's body is logged, with all that people wrote; for finding faults alone",
    ),
}


FETCH_OPTIONS = ("model", "revision", "host", "port", "log_format")
"""What `fetch` takes of them."""

FRONT_OPTIONS = (
    *("upstream", "tokenizer", "model", "revision", "host", "port", "served_model_name", "drain_seconds"),
    *("max_body_bytes", "max_prompt_tokens", "max_output_tokens", "max_beams", "max_sequences", "max_queued"),
    *("request_seconds", "api_key_file", "log_format", "log_prompts"),
)
"""What `front` takes of them. What has to do with running a model is vLLM's."""

SERVE_OPTIONS = tuple(name for name in OPTIONS if name not in ("upstream", "tokenizer"))
"""What `serve` takes of them."""

_COMMANDS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "serve": (SERVE_OPTIONS, "load a model and serve it"),
    "front": (FRONT_OPTIONS, "serve what a vLLM server runs; --model is its name there"),
    "fetch": (FETCH_OPTIONS, "download a model into the cache that serve reads, and end"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def environment_name(option: str) -> str:
    """`drain_seconds` -> `BERTH_DRAIN_SECONDS`."""
    return f"BERTH_{option.upper()}"


def _parser() -> _Parser:
    parser = _Parser(
        prog="berth_inference",
        description="Serve a language model over HTTP. Every flag may also be given in the "
        "environment, as BERTH_ and its name in capitals; a flag wins over the environment.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(_COMMANDS))
    for command, (options, text) in _COMMANDS.items():
        added = commands.add_parser(command, help=text, allow_abbrev=False)
        for name in OPTIONS:
            if name in options:
                _add(added, name)
    return parser


def _add(command: argparse.ArgumentParser, name: str) -> None:
    parse, text = OPTIONS[name]
    default = next(item.default for item in fields(Settings) if item.name == name)
    if isinstance(default, str | int | float):
        text = f"{text} (default: {str(default).lower()})"
    command.add_argument(
        f"--{name.replace('_', '-')}",
        dest=name,
        type=parse,
        action="append" if name in REPEATABLE else "store",
        default=None,
        help=f"{text} [{environment_name(name)}]".replace("%", "%%"),
    )


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The settings of a command. Raises `SettingsError`; exits 0 by itself for --help."""
    return parse_command(arguments, environment)[1]


def parse_command(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, Settings]:
    """The command, `serve`, `front` or `fetch`, and its settings, as `parse_settings` gives them."""
    values: dict[str, Any] = {}
    for name, (parse, _) in OPTIONS.items():
        text = environment.get(environment_name(name), "").strip()
        if not text:
            continue
        try:
            if name in REPEATABLE:
                values[name] = tuple(parse(part.strip()) for part in text.split(",") if part.strip())
            else:
                values[name] = parse(text)
        except argparse.ArgumentTypeError as error:
            raise SettingsError(f"environment variable {environment_name(name)}: {error}") from None
    given = vars(_parser().parse_args(arguments))
    values |= {name: given[name] for name in OPTIONS if given.get(name) is not None}
    if not values.get("model"):
        raise SettingsError(f"no model to {given['command']}: give --model or set BERTH_MODEL")
    for name in REPEATABLE:
        values[name] = tuple(values.get(name, ()))
    names = [adapter.name for adapter in values["adapter"]]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingsError(f"--adapter: two adapters are named {twice}; give each a name of its own")
    return given["command"], Settings(**values)
