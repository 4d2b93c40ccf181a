"""The one error type of the server. It knows no HTTP: each dialect renders it in its own shape."""

from __future__ import annotations

from enum import StrEnum


class ErrorKind(StrEnum):
    """Why a request was not served. The value is the machine-readable code that clients see."""

    INVALID = "invalid_request"
    MALFORMED = "malformed_request"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    METHOD = "method_not_allowed"
    TOO_LARGE = "request_too_large"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline_exceeded"
    INTERNAL = "internal_error"


MEANINGS = {
    ErrorKind.INVALID: "An argument cannot be served; the message names it and says what to do.",
    ErrorKind.MALFORMED: "The body is no JSON object, or an argument has a wrong type; the message names it.",
    ErrorKind.UNAUTHORIZED: "The server asks for an API key, and there is none or it is not valid.",
    ErrorKind.NOT_FOUND: "There is no such path, or no such model; then the message lists those that are served.",
    ErrorKind.METHOD: "The path does not answer this method.",
    ErrorKind.TOO_LARGE: "The body is larger than the server takes.",
    ErrorKind.OVERLOADED: "Too many requests are waiting; Retry-After says when to try again.",
    ErrorKind.UNAVAILABLE: "The server is loading, draining or out of memory; Retry-After says when to try again.",
    ErrorKind.DEADLINE: "The answer took longer than the server allows.",
    ErrorKind.INTERNAL: "A fault of the server, whose log says more.",
}
"""What each kind means, for documentation."""


class BerthError(Exception):
    """A request that was refused or failed, in words for the person who sent it.

    `reason` completes a sentence that begins with `param` where there is one ("must be above 0"),
    and is a sentence of its own otherwise. `param` is the engine's name of the argument until a
    dialect renames it to its own (`renamed`). `retry_after` is in seconds.
    """

    def __init__(
        self, kind: ErrorKind, reason: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.param = param
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        """The whole sentence. Never holds a traceback or a path of the server's file system."""
        return f"{self.param} {self.reason}" if self.param else self.reason

    def renamed(self, names: dict[str, str]) -> BerthError:
        """The same error with the engine's argument name replaced by the dialect's own."""
        param = names.get(self.param, self.param) if self.param else None
        return BerthError(self.kind, self.reason, param=param, retry_after=self.retry_after)


class LoadFailure(StrEnum):
    """What kind of thing keeps a model from being served. The value is what operators match on."""

    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    OUT_OF_MEMORY = "out_of_memory"
    NO_GPU = "no_gpu"
    ACCESS_DENIED = "access_denied"
    DISK_FULL = "disk_full"
    MODEL_UNAVAILABLE = "model_unavailable"
    INVALID_ADAPTER = "invalid_adapter"
    NO_API_KEYS = "no_api_keys"
    INTERNAL = "internal"


class LoadError(Exception):
    """The model cannot be served at all. One line that says what is wrong and what to do."""

    def __init__(self, message: str, reason: LoadFailure = LoadFailure.MODEL_UNAVAILABLE) -> None:
        super().__init__(message)
        self.reason = reason


def invalid(param: str | None, reason: str) -> BerthError:
    """An argument that the sender can put right."""
    return BerthError(ErrorKind.INVALID, reason, param=param)
