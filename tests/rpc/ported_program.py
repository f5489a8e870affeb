"""Written for grpcio, in its manners: test_ported.py runs it with grpcio, and with mrpc in its place."""

import asyncio
from concurrent import futures

import echo_pb2
import echo_pb2_grpc
import grpc


class Echo(echo_pb2_grpc.EchoServicer):
    def Echo(self, request, context):
        if request.command == "abort":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad " + request.text)
        if request.command == "code":
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details("not here")
            return echo_pb2.EchoReply()
        if request.command == "raise":
            raise ValueError("oops")
        for key, value in context.invocation_metadata():
            if key == "who":
                context.set_trailing_metadata((("greeted", value),))
        return echo_pb2.EchoReply(text=request.text, payload=request.payload, numbers=request.numbers)


class Printer(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation, client_call_details, request):
        print("intercepted", client_call_details.method)
        return continuation(client_call_details, request)


def describe(error):
    print("error:", error.code(), error.code().value, error.details())


def calls(address):
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        stub = echo_pb2_grpc.EchoStub(channel)
        reply = stub.Echo(echo_pb2.EchoRequest(text="hello", payload=b"\x01\x02", numbers=[1, 2.5]), timeout=30)
        print("reply:", reply.text, bytes(reply.payload), list(reply.numbers))
        reply, call = stub.Echo.with_call(echo_pb2.EchoRequest(text="you"), metadata=(("who", "me"),), timeout=30)
        print("with_call:", reply.text, call.code(), [tuple(pair) for pair in call.trailing_metadata()])
        future = stub.Echo.future(echo_pb2.EchoRequest(text="later"), timeout=30, wait_for_ready=True)
        print("future:", future.result(timeout=30).text, future.done(), future.code())
        for command in ("abort", "code", "raise"):
            try:
                stub.Echo(echo_pb2.EchoRequest(text="input", command=command), timeout=30)
            except grpc.RpcError as error:
                describe(error)
        try:
            stub.Missing(echo_pb2.EchoRequest(), timeout=30)
        except grpc.RpcError as error:
            describe(error)
        intercepted = echo_pb2_grpc.EchoStub(grpc.intercept_channel(channel, Printer()))
        print("intercepted reply:", intercepted.Echo(echo_pb2.EchoRequest(text="through"), timeout=30).text)


async def async_calls(address):
    async with grpc.aio.insecure_channel(address) as channel:
        stub = echo_pb2_grpc.EchoStub(channel)
        replies = await asyncio.gather(*(stub.Echo(echo_pb2.EchoRequest(text=str(n)), timeout=30) for n in range(5)))
        print("async:", [reply.text for reply in replies])
        try:
            await stub.Echo(echo_pb2.EchoRequest(text="input", command="abort"), timeout=30)
        except grpc.aio.AioRpcError as error:
            describe(error)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    address = f"localhost:{port}"
    calls(address)
    asyncio.run(async_calls(address))
    print("stopped:", server.stop(grace=5).wait(30), server.wait_for_termination(timeout=30))


if __name__ == "__main__":
    main()
