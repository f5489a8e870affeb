"""A well-behaved application: serves echo.Echo and calls it. Run as a program, it makes as many calls as each line of its input says.

The first argument says what it does: "both", "serve" or "call". Answers "ready", then a line for each line: "ok", or what went wrong.
"""

from __future__ import annotations

import sys
from typing import Any

import mrpc


def main(part: str) -> int:
    from echo_mrpc import EchoRequest, EchoStub, add_EchoServicer_to_server
    from echo_servicer import EchoServicer

    server = mrpc.server()
    if part != "call":
        add_EchoServicer_to_server(EchoServicer(), server)
        try:
            server.start()
        except mrpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}", flush=True)
            return 1

    def call(stub: Any, number: int) -> None:
        payload = b"x" * (number * 997 % 40_000)
        reply = stub.Echo(EchoRequest(text=str(number), payload=payload), timeout=9)
        assert reply.text == str(number) and bytes(reply.payload) == payload

    with mrpc.channel("mrpc:///echo.Echo") as channel:
        stub = EchoStub(channel)
        print("ready", flush=True)
        for line in sys.stdin:
            try:
                for number in range(int(line)):
                    call(stub, number)
                print("ok", flush=True)
            except Exception as error:
                print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
    if part != "call":
        server.stop(None).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
