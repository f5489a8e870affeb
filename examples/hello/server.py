"""Greets whoever calls. Run it with mrpcd running: `python server.py`."""

import mrpc
from hello_mrpc import GreeterServicer, HelloReply, add_GreeterServicer_to_server


class Greeter(GreeterServicer):
    def SayHello(self, request, context):
        return HelloReply(message=f"Hello, {request.name}!")


server = mrpc.server()
add_GreeterServicer_to_server(Greeter(), server)
server.start()
print("serving hello.Greeter", flush=True)
server.wait_for_termination()
