"""`mrpc policy test`: a policy file by itself, before any daemon runs it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from mrpc_service.cli.output import connect, emit, output_option, print_table
from mrpc_service.cli.policy_files import read_text


@click.command(epilog="\b\nExamples:\n  mrpc policy test my_limit.py --config burst=3 --cases my_limit.yaml\n"
                      "  mrpc policy test acl.py --config field=name --method hello.Greeter/Greet")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--config", "given", multiple=True, metavar="KEY=VALUE", help="A field of the configuration, as YAML; repeatable.")
@click.option("--cases", "cases_file", type=click.Path(path_type=Path), help="Steps and the verdicts that they are to get.")
@click.option("--method", metavar="SERVICE/METHOD", help="Of the daemon's services: whose messages the program reads.")
@output_option
@click.pass_context
def test(context: click.Context, file: Path, given: tuple[str, ...], cases_file: Path | None, method: str | None, output: str) -> None:
    """Check FILE, compile it, and play cases to it as Python; exits with 1 if a verdict is not as expected.

    A program that reads no message field needs no daemon. The compiled form is compiled, not run; the project's conformance suite and
    fuzzer hold both forms against each other."""
    from mrpc_service.policy import cases
    from mrpc_service.policy.errors import PolicyError
    from mrpc_service.policy.source import parse

    text = read_text(file)
    config = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in given)}
    target = method_target(context, method) if method else None
    try:
        found = asyncio.run(compiled(text, file.name, config, target, checks=cases_file is None))
        outcomes = []
        if cases_file is not None:
            played = yaml.safe_load(read_text(cases_file))
            outcomes = [vars(each) for each in cases.play(parse(text, file.name), played, config, message_maker(target))]
    except (PolicyError, cases.CaseError, ValueError, yaml.YAMLError) as error:
        raise click.ClickException(str(error)) from None
    emit(output, found | {"outcomes": outcomes}, lambda: show(found, outcomes))
    if not all(each["ok"] for each in outcomes):
        context.exit(1)


def method_target(context: click.Context, method: str) -> Any:
    from mrpc_service.policy.compiler_api import Target

    service, slash, name = method.rpartition("/")
    if not slash:
        raise click.UsageError(f"{method!r} is not SERVICE/METHOD, as hotel.Search/Nearby")
    with connect(context) as client:
        return Target(service, name, client.call("GetSchema", service=service).file_descriptor_set)


async def compiled(text: str, file: str, config: Mapping[str, Any], target: Any, *, checks: bool) -> dict[str, Any]:
    """What the compiler says of the program. PolicyError; ValueError for a wrong configuration, if `checks`."""
    from mrpc_service.policy.compiler import Compiler

    with tempfile.TemporaryDirectory() as directory:
        compiler = Compiler(Path(directory))
        try:
            program = await compiler.load(text, file)
            found = {"name": program.name, "summary": program.summary, "hooks": list(program.hooks), "config": program.config_fields,
                     "reads": list(program.reads), "object_bytes": 0}
            complete = all(name in config for name, field in program.fields.items() if required(field))
            if checks or complete:
                checked = program.check_config(config)
                if target is not None or not program.needs_layout:
                    spec = await compiler.compile(program, checked, target)
                    found |= {"reads": spec["reads"], "object_bytes": Path(spec["object"]).stat().st_size}
            return found
        finally:
            await compiler.close()


def required(field: Any) -> bool:
    from mrpc_service.policy.values import MISSING

    return field.default is MISSING


def message_maker(target: Any) -> Callable[[str, Mapping[str, Any]], Any]:
    """Messages of a method's request and reply; without a method, only empty ones."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.json_format import ParseDict, ParseError
    from google.protobuf.message_factory import GetMessageClass

    if target is None:
        return lambda hook, fields: Empty()
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(target.schema).file:
        pool.Add(file)
    method = pool.FindServiceByName(target.service).methods_by_name[target.method]

    def make(hook: str, fields: Mapping[str, Any]) -> Any:
        kind = method.output_type if hook == "reply" else method.input_type
        try:
            return ParseDict(fields, GetMessageClass(kind)(), descriptor_pool=pool)
        except ParseError as error:
            raise ValueError(f"{hook} {dict(fields)!r}: {error}") from None

    return make


def show(found: dict[str, Any], outcomes: list[dict[str, Any]]) -> None:
    size = f"compiles to {found['object_bytes']} bytes" if found["object_bytes"] else "not compiled (give --config, and --method if it reads fields)"
    click.echo(f"{found['name']}: {found['summary'] or 'no summary'}")
    click.echo(f"hooks {', '.join(found['hooks'])}; reads {', '.join(found['reads']) or 'no fields'}; {size}")
    rows = [(each["case"], each["step"], each["hook"], each["found"], "as expected" if each["ok"] else f"expected {each['wanted']}")
            for each in outcomes]
    if rows:
        print_table(("case", "step#", "hook", "verdict", ""), rows, "")
        wrong = sum(not each["ok"] for each in outcomes)
        click.echo(f"{len(outcomes) - wrong} of {len(outcomes)} as expected")
