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


@click.command(short_help="Check a program, compile it, and play cases to it.",
               epilog="\b\nExamples:\n  mrpc policy test my_limit.py --config burst=3 --cases my_limit.yaml\n"
                      "  mrpc policy test acl.py --config field=name --method hello.Greeter/Greet")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--config", "given", multiple=True, metavar="KEY=VALUE", help="A field of the configuration, as YAML; repeatable.")
@click.option("--cases", "cases_file", type=click.Path(path_type=Path), help="Steps and the verdicts that they are to get.")
@click.option("--method", metavar="SERVICE/METHOD", help="Of the daemon's services: whose messages the program reads.")
@output_option
@click.pass_context
def test(context: click.Context, file: Path, given: tuple[str, ...], cases_file: Path | None, method: str | None, output: str) -> None:
    """Check FILE, compile it, and play cases to it, as Python and compiled; exits with 1 if a verdict of either is not as expected.

    A program that reads no message field needs no daemon, but one that does needs --method to be compiled. The compiled form runs in this
    process."""
    from mrpc_service.policy import cases
    from mrpc_service.policy.errors import PolicyError

    text = read_text(file)
    config = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in given)}
    target = method_target(context, method) if method else None
    try:
        played = None if cases_file is None else cases.read_cases(yaml.safe_load(read_text(cases_file)), config)
        found, outcomes = asyncio.run(tested(text, file.name, config, target, played))
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


async def tested(
    text: str, file: str, config: Mapping[str, Any], target: Any, played: list[Any] | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the compiler says of the program, and the outcomes of cases. PolicyError; CaseError; ValueError for a wrong configuration."""
    from mrpc_service.policy.cases import play
    from mrpc_service.policy.compiler import Compiler
    from mrpc_service.policy.source import parse

    with tempfile.TemporaryDirectory() as directory:
        compiler = Compiler(Path(directory))
        try:
            program = await compiler.load(text, file)
            found = {"name": program.name, "summary": program.summary, "hooks": list(program.hooks), "config": program.config_fields,
                     "reads": list(program.reads), "object_bytes": 0}
            outcomes = []
            for case in played or []:
                spec, compile_for = await compiled_case(compiler, program, case.config, target)
                found |= spec
                outcomes += [vars(each) for each in play(parse(text, file), case, message_maker(target), compile_for)]
            if played is None:
                found |= (await compiled_case(compiler, program, config, target))[0]
            return found, outcomes
        finally:
            await compiler.close()


async def compiled_case(compiler: Any, program: Any, config: Mapping[str, Any], target: Any) -> tuple[dict[str, Any], Any]:
    """What is to be told of the object, and a function that makes an instance of it for a host; none where messages are not known."""
    from mrpc_service.policy.compiled_form import CompiledForm

    checked = program.check_config(config)
    if target is None and program.needs_layout:
        return {}, None
    spec = await compiler.compile(program, checked, target)
    told = {"reads": spec["reads"], "object_bytes": Path(spec["object"]).stat().st_size}
    return told, lambda host: CompiledForm(spec, checked, host, encoder(target) if spec["needs_layout"] else lambda message: b"")


def encoder(target: Any) -> Callable[[Any], bytes]:
    """A message's image, by the data plane's own rules."""
    from mrpc_service._dataplane import message_image

    return lambda message: message_image(target.schema, message.DESCRIPTOR.full_name, message.SerializeToString())


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
    size = f"compiles to {found['object_bytes']} bytes" if found["object_bytes"] else "not compiled: it reads fields (give --method)"
    click.echo(f"{found['name']}: {found['summary'] or 'no summary'}")
    click.echo(f"hooks {', '.join(found['hooks'])}; reads {', '.join(found['reads']) or 'no fields'}; {size}")
    rows = [(each["case"], each["step"], each["hook"], forms_text(each), "as expected" if each["ok"] else f"expected {each['wanted']}")
            for each in outcomes]
    if rows:
        print_table(("case", "step#", "hook", "verdict", ""), rows, "")
        wrong = sum(not each["ok"] for each in outcomes)
        both = "as Python and compiled" if found["object_bytes"] else "as Python"
        click.echo(f"{len(outcomes) - wrong} of {len(outcomes)} as expected, {both}")


def forms_text(each: dict[str, Any]) -> str:
    """The verdict; of both forms where they differ."""
    python, compiled = each["found"], each["compiled"]
    return python if compiled in ("", python) else f"{python} as Python, {compiled} compiled"
