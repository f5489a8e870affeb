"""What a user of qdrant_client catches: the same names, with what the service said."""

from __future__ import annotations

import json

import mrpc
import pytest
import qdrant_client.http.exceptions as theirs

from apps.vectordb.client import Client, exceptions, models, reason
from apps.vectordb.client.reasons import Reason


def test_a_refusal_is_an_unexpected_response(ours: Client) -> None:
    with pytest.raises(exceptions.UnexpectedResponse, match="no collection 'nowhere'") as caught:
        ours.count("nowhere")
    error = caught.value
    assert (error.status_code, error.reason_phrase) == (404, "NOT_FOUND") and json.loads(error.content) == error.structured()
    assert isinstance(error, mrpc.RpcError) and error.code() is mrpc.StatusCode.NOT_FOUND and reason(error) == Reason("NOT_FOUND", {})
    with pytest.raises(exceptions.ApiException, match="3 components") as caught:
        ours.query_points("c", [1.0])
    assert caught.value.status_code == 400
    with pytest.raises(exceptions.UnexpectedResponse) as caught:
        ours.create_collection("c", models.VectorParams(3, models.Distance.DOT))
    assert caught.value.status_code == 409
    with pytest.raises(exceptions.UnexpectedResponse) as caught:
        ours.query_points("c", 99)
    assert caught.value.status_code == 404


def test_too_much_says_when_to_try_again(ours: Client) -> None:
    ours.set_quota("c", "local", queries_per_s=1, burst=1)
    with pytest.raises(exceptions.ResourceExhaustedResponse, match="too often") as caught:
        for _ in range(3):
            ours.count("c")
    assert 0 < caught.value.retry_after_s <= 1 and caught.value.message


def test_no_answer_is_a_handling_exception() -> None:
    with Client("127.0.0.1:1", system="grpc", tenant="a", timeout=5) as client, pytest.raises(exceptions.ResponseHandlingException) as caught:
        client.count("c")
    assert caught.value.code() is mrpc.StatusCode.UNAVAILABLE and caught.value.source is not caught.value


@pytest.mark.parametrize("name", ["ApiException", "UnexpectedResponse", "ResponseHandlingException"])
def test_names_are_theirs(name: str) -> None:
    bases = [each.__name__ for each in getattr(theirs, name).__mro__ if each.__module__ == theirs.__name__]
    assert set(bases) <= {each.__name__ for each in getattr(exceptions, name).__mro__}
