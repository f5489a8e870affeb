"""Asks to be greeted: `python client.py NAME`."""

import sys

import mrpc
from hello_mrpc import GreeterStub, HelloRequest

with mrpc.channel("mrpc:///hello.Greeter") as channel:
    reply = GreeterStub(channel).SayHello(HelloRequest(name=sys.argv[1] if len(sys.argv) > 1 else "world"), timeout=5)
print(reply.message)
