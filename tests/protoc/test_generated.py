"""Generated code, imported as users do: from a package, from a folder on the path, and as gRPC's twins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import protoc_gen_mrpc
import pytest
from google.protobuf.compiler import plugin_pb2
from mrpc import protoc

PROTOS = Path(__file__).parents[1] / "protos"

USE_CART = """
import pickle
item = cart.Item(name="tea", price={"units": 5, "currency": "CURRENCY_EUR"}, count_by_size={"S": 1}, state=cart.STATE_PAID)
assert type(item.price) is money.Money is cart.Money
assert item.price.currency == money.Money.CURRENCY_EUR == money.Money.Currency.Value("CURRENCY_EUR")
assert pickle.loads(pickle.dumps(item)) == item
assert cart.Item.__doc__ == 'A thing to buy. Its name may hold "quotes" and \\\\backslashes\\\\.'
assert cart.DESCRIPTOR.services_by_name["Cart"].full_name == "shop.Cart"
assert cart.Item.DESCRIPTOR.fields_by_name["price"].message_type is money.Money.DESCRIPTOR
assert getattr(cart.Item(**{"from": 3}), "from") == 3

class Channel:
    def __getattr__(self, kind):
        return lambda method: (kind, method.path, method.request_class, method.reply_class)

stub = services.CartStub(Channel())
assert stub.Add == ("unary_unary", "/shop.Cart/Add", cart.Item, money.Money)
assert stub.Watch == ("unary_stream", "/shop.Cart/Watch", cart.Item, cart.Item)
assert stub.AddAll[0] == "stream_unary" and stub.Chat[0] == "stream_stream"

class Server:
    def add_service(self, info, servicer):
        self.added = info.full_name, [method.name for method in info.methods], servicer

server, servicer = Server(), services.CartServicer()
services.add_CartServicer_to_server(servicer, server)
assert server.added == ("shop.Cart", ["Add", "Watch", "AddAll", "Chat"], servicer)

class Context:
    def set_code(self, code): self.code = code
    def set_details(self, details): self.details = details

context = Context()
try:
    servicer.Add(item, context)
except NotImplementedError:
    assert context.code.name == "UNIMPLEMENTED"
"""


def run(code: str, *path: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, (*path, *sys.path))))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def compile_shop(out: Path, *options: str) -> None:
    protoc.write(protoc.compile_files(["shop/cart.proto", "shop/types/money.proto"], [str(PROTOS)], options), out)


@pytest.mark.parametrize("options", [(), ("init_files=false",), ("imports=absolute",)])
def test_from_a_folder_on_the_path(tmp_path: Path, options: tuple[str, ...]) -> None:
    compile_shop(tmp_path, *options)
    run(f"from shop import cart_mrpc as cart\nfrom shop.types import money_mrpc as money\nservices = cart\n{USE_CART}", tmp_path)


def test_inside_another_package(tmp_path: Path) -> None:
    compile_shop(tmp_path / "app" / "generated")
    run(
        "from app.generated.shop import cart_mrpc as cart\nfrom app.generated.shop.types import money_mrpc as money\n"
        f"services = cart\n{USE_CART}",
        tmp_path,
    )


def test_grpc_twins(tmp_path: Path) -> None:
    compile_shop(tmp_path, "grpc_names")
    run(f"from shop import cart_pb2 as cart, cart_pb2_grpc as services\nfrom shop.types import money_pb2 as money\n{USE_CART}", tmp_path)


def test_files_at_the_top(tmp_path: Path) -> None:
    (tmp_path / "a.proto").write_text('syntax = "proto3"; package top; message A { int32 n = 1; }')
    (tmp_path / "b-c.proto").write_text('syntax = "proto3"; package top; import "a.proto"; message B { A a = 1; }')
    out = tmp_path / "out" / "package"
    protoc.write(protoc.compile_files(["a.proto", "b-c.proto"], [str(tmp_path)]), out)
    assert not (out / "__init__.py").exists()
    run("import b_c_mrpc; assert b_c_mrpc.B(a={'n': 3}).a.n == 3", out)
    run("from package import b_c_mrpc; assert b_c_mrpc.B(a={'n': 3}).a.n == 3", tmp_path / "out")


def test_an_existing_init_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("MINE = 1\n")
    compile_shop(tmp_path)
    assert (tmp_path / "shop" / "__init__.py").read_text() == "MINE = 1\n"


def test_code_for_a_newer_runtime_says_what_to_do(tmp_path: Path) -> None:
    compile_shop(tmp_path)
    module = tmp_path / "shop" / "types" / "money_mrpc.py"
    module.write_text(module.read_text().replace("abi_level=1", "abi_level=99"))
    run(
        "try:\n    import shop.types.money_mrpc\nexcept ImportError as error:\n    assert 'upgrade mrpc' in str(error), error\n"
        "else:\n    raise SystemExit('imported')",
        tmp_path,
    )


def test_a_bad_option_is_an_error_of_the_plugin() -> None:
    for parameter, text in (("nothing", "unknown option 'nothing'"), ("imports=odd", "relative or absolute"), ("pyi=maybe", "true or false")):
        response = protoc_gen_mrpc.generate(plugin_pb2.CodeGeneratorRequest(parameter=parameter), "0")
        assert text in response.error


def test_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert protoc.main(["-I", str(PROTOS), "--out", str(tmp_path), "--opt", "grpc_names", str(PROTOS / "shop" / "cart.proto")]) == 0
    assert (tmp_path / "shop" / "cart_pb2_grpc.py").exists()
    assert protoc.main(["-I", str(PROTOS), "--out", str(tmp_path), "shop/none.proto"]) == 1
    assert "mrpc.protoc: protoc refused the input" in capfd.readouterr().err


def test_the_plugin_speaks_protocs_language() -> None:
    request = plugin_pb2.CodeGeneratorRequest(file_to_generate=["x.proto"])
    request.proto_file.add(name="x.proto", package="x", syntax="proto3").message_type.add(name="M")
    done = subprocess.run(
        [sys.executable, "-m", "protoc_gen_mrpc"], input=request.SerializeToString(), capture_output=True, check=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)), timeout=120,
    )  # fmt: skip
    response = plugin_pb2.CodeGeneratorResponse.FromString(done.stdout)
    assert [file.name for file in response.file] == ["x_mrpc.py", "x_mrpc.pyi"]
    assert response.supported_features & plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
