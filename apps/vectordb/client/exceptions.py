"""What calls raise, by the names under which qdrant_client's users catch it.

    ApiException                      an RpcError too: code(), details(), reason
    ├── UnexpectedResponse            the service refused: status_code as HTTP has it, reason_phrase, content, structured()
    ├── ResourceExhaustedResponse     too much at the moment: try again after retry_after_s
    └── ResponseHandlingException     no answer: nobody offers the service, or the time was up
"""
from __future__ import annotations

import json
from typing import Any

import mrpc

from .reasons import Reason, reason

STATUS_CODES = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409,
                "FAILED_PRECONDITION": 412, "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "DATA_LOSS": 500, "INTERNAL": 500}


class ApiException(mrpc.RpcError):
    """reason: why, for programs, where the service itself refused."""

    def __init__(self, code: mrpc.StatusCode, text: str, reason: Reason | None = None) -> None:
        super().__init__(f"{code.name}: {text}")
        self._code, self._text, self.reason = code, text, reason

    def code(self) -> mrpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._text


class UnexpectedResponse(ApiException):
    headers: dict[str, str] = {}

    @property
    def status_code(self) -> int:
        return STATUS_CODES.get(self._code.name, 500)

    @property
    def reason_phrase(self) -> str:
        return self.reason.name if self.reason else self._code.name

    @property
    def content(self) -> bytes:
        return json.dumps(self.structured()).encode()

    def structured(self) -> dict[str, Any]:
        return {"status": {"error": self._text}}


class ResourceExhaustedResponse(ApiException):
    @property
    def message(self) -> str:
        return self._text

    @property
    def retry_after_s(self) -> float:
        return float(self.reason.figures["retry_after_s"]) if self.reason else 0.0


class ResponseHandlingException(ApiException):
    @property
    def source(self) -> BaseException:
        return self.__cause__ or self


def refused(code: str, text: str, why: Reason | None = None) -> ApiException:
    """The error for a status. code: its name."""
    kind: type[ApiException] = UnexpectedResponse
    if code == "RESOURCE_EXHAUSTED" and why is not None and "retry_after_s" in why.figures:
        kind = ResourceExhaustedResponse
    elif code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"):
        kind = ResponseHandlingException
    return kind(mrpc.StatusCode[code], text, why)


def of(error: Any) -> ApiException:
    """The error for a transport's."""
    return error if isinstance(error, ApiException) else refused(error.code().name, error.details() or "", reason(error))
