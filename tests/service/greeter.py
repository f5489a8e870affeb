"""A small service with a schema made at run time: test.Greeter/Greet. Run as a program, it serves until its input ends."""

from __future__ import annotations

import sys
from typing import Any

import mrpc
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from mrpc_service.dynamic import load_service

SERVICE = "test.Greeter"


def schema() -> bytes:
    """GreetRequest {name, times, tags}, GreetReply {text, caller}."""
    file = FileDescriptorProto(name="test/greeter.proto", package="test", syntax="proto3")
    request = file.message_type.add(name="GreetRequest")
    request.field.add(name="name", number=1, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL)
    request.field.add(name="times", number=2, type=FieldDescriptorProto.TYPE_INT32, label=FieldDescriptorProto.LABEL_OPTIONAL)
    request.field.add(name="tags", number=3, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_REPEATED)
    reply = file.message_type.add(name="GreetReply")
    reply.field.add(name="text", number=1, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL)
    reply.field.add(name="caller", number=2, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL)
    service = file.service.add(name="Greeter")
    service.method.add(name="Greet", input_type=".test.GreetRequest", output_type=".test.GreetReply")
    service.method.add(name="Watch", input_type=".test.GreetRequest", output_type=".test.GreetReply", server_streaming=True)
    return FileDescriptorSet(file=[file]).SerializeToString()


class Greeter:
    def __init__(self, reply_class: Any) -> None:
        self._reply_class = reply_class

    def Greet(self, request: Any, context: Any) -> Any:
        if request.name == "nobody":
            context.set_trailing_metadata((("hint", "give a name"),))
            context.abort(mrpc.StatusCode.NOT_FOUND, "nobody is here")
        text = " ".join([f"hello {request.name}"] * max(request.times, 1) + list(request.tags))
        metadata = dict(context.invocation_metadata())
        return self._reply_class(text=text, caller=f"{context.peer()} for {context.tenant()} {metadata.get('x-mood', '')}".strip())


def serve() -> mrpc.Server:
    """A started server. mrpc.RpcError when the daemon refuses it."""
    service = load_service(schema(), SERVICE)
    server = mrpc.server(name="greeter")
    server.add_service(service.info, Greeter(service.method("Greet").info.reply_class))
    server.start()
    return server


def main() -> int:
    try:
        server = serve()
    except mrpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", flush=True)
        return 1
    print("serving", flush=True)
    sys.stdin.read()
    server.stop(None).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
