"""`mrpc call`: one call to any method that is on offer, from JSON to JSON, as an application of its own."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from mrpc_service.cli.output import connect, emit, output_option, printable, runtime_of

EXAMPLES = """\b
Examples:
  mrpc call hotel.Geo/Nearby '{"lat": 37.78, "lon": -122.4}'
  mrpc call hotel.User/CheckUser - --timeout 0.5 < request.json
  mrpc call hotel.Geo/Nearby '{}' --metadata x-trace:on -o json
"""


@click.command(epilog=EXAMPLES)
@click.argument("path", metavar="SERVICE/METHOD")
@click.argument("request", metavar="[JSON]", default="{}")
@click.option("-t", "--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True, metavar="SECONDS",
              help="Deadline of the call.")
@click.option("-m", "--metadata", multiple=True, metavar="KEY:VALUE", help="To send with the call; repeatable.")
@click.option("--target", metavar="NAME", help="An app, where several offer the service; default: the service's name.")
@output_option
@click.pass_context
def call(
    context: click.Context, path: str, request: str, timeout: float, metadata: tuple[str, ...], target: str | None, output: str
) -> None:
    """Call SERVICE/METHOD with JSON and print the reply as JSON.

    JSON of '-' is standard input; without it the request is empty. The call passes the policies as any application's does. A status
    other than OK is printed with its text; exit code 1.
    """
    service, slash, method = path.strip("/").rpartition("/")
    if not slash or not service or not method:
        raise click.UsageError(f"{path!r} is not SERVICE/METHOD, as hotel.Geo/Nearby")
    pairs = [pair_of(text) for text in metadata]
    with connect(context) as client:
        file_set = client.call("GetSchema", service=service).file_descriptor_set
    text = sys.stdin.read() if request == "-" else request
    os.environ["MRPC_RUNTIME_DIR"] = str(runtime_of(context).path)  # where the stubs find the daemon
    answer = make_call(file_set, service, method, text, timeout, pairs, target or service)
    emit(output, answer, lambda: show(answer))
    if answer["code"] != "OK":
        context.exit(1)


def pair_of(text: str) -> tuple[str, str | bytes]:
    """A pair of metadata from KEY:VALUE; the value of a key that ends in -bin is in base64."""
    key, colon, value = text.partition(":")
    if not colon or not key:
        raise click.UsageError(f"--metadata {text!r} is not KEY:VALUE")
    if not key.endswith("-bin"):
        return key.lower(), value
    import base64
    import binascii

    try:
        return key.lower(), base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise click.UsageError(f"--metadata {key}: the value of a -bin key is written in base64: {error}") from None


def make_call(
    file_set: bytes, service: str, method: str, text: str, timeout: float, metadata: list[tuple[str, str | bytes]], target: str
) -> dict[str, Any]:
    """The reply, or the status with which the call ended, as plain values."""
    import mrpc

    from mrpc_service.dynamic import UnknownMethod, load_service

    try:
        found = load_service(file_set, service).method(method)
        request = found.request_from_json(text)
    except UnknownMethod as error:
        raise click.ClickException(str(error)) from None
    except ValueError as error:
        raise click.UsageError(f"the request is no {service}/{method} request: {error}") from None
    if found.info.client_streaming or found.info.server_streaming:
        raise click.ClickException(f"{service}/{method} is a streaming method; 'mrpc call' makes unary calls")
    with mrpc.channel(f"mrpc:///{target}", options=[("mrpc.label", "mrpc call")]) as channel:
        try:
            reply = channel.unary_unary(found.info)(request, timeout=timeout, metadata=metadata)
        except mrpc.RpcError as error:
            return failure(error)
    return {"code": "OK", "reply": found.reply_to_dict(reply)}


def failure(error: Any) -> dict[str, Any]:
    from base64 import b64encode

    trailing = error.trailing_metadata() or ()
    return {
        "code": error.code().name,
        "text": error.details() or "",
        "trailing_metadata": [
            {"key": key, "value": b64encode(value).decode() if isinstance(value, bytes) else value} for key, value in trailing
        ],
    }


def show(answer: dict[str, Any]) -> None:
    if answer["code"] == "OK":
        click.echo(json.dumps(answer["reply"], indent=2, ensure_ascii=False))
        return
    click.secho(f"{answer['code']}: {printable(answer['text'])}", fg="red", err=True)
    for pair in answer["trailing_metadata"]:
        value = "binary; -o json shows it" if pair["key"].endswith("-bin") else printable(pair["value"])
        click.echo(f"  {pair['key']}: {value}", err=True)
