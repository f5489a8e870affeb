"""Names: `mrpc app` binds them to principals, `mrpc service` shows and frees what principals hold."""

from __future__ import annotations

import pwd
from typing import Any

import click

from mrpc_service.cli.output import connect, emit, output_option, plain, print_table, time_text
from mrpc_service.registry import UID_MAX


class User(click.ParamType):
    """A uid, or the name of a user of this host."""

    name = "user"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        if str(value).isdecimal() and int(value) <= UID_MAX:
            return int(value)
        try:
            return pwd.getpwnam(str(value)).pw_uid
        except (KeyError, ValueError):  # unknown; a NUL in it
            self.fail(f"{value!r} is neither a user of this host nor a uid of 0 to {UID_MAX}", param, context)


@click.group()
def app() -> None:
    """Give applications names that rules can trust."""


@app.command(short_help="Bind each NAME to a user and issue its token.",
             epilog="\b\nExample: MRPC_TOKEN=$(mrpc app register frontend --uid 1001 --quiet)")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--uid", type=User(), required=True, metavar="USER", help="That the application runs as: a uid or a name.")
@click.option("--act-as", default="", metavar="T1,T2", help="Tenants on whose behalf it may call, besides its own; * is any.")
@click.option("--replace", is_flag=True, help="Give a registered name a new token; the old one is void at once.")
@click.option("--quiet", "-q", is_flag=True, help="Print the token alone: of several names, one a line.")
@output_option
@click.pass_context
def register(
    context: click.Context, names: tuple[str, ...], uid: int, act_as: str, replace: bool, quiet: bool, output: str
) -> None:
    """Bind each NAME to a user and issue its token, which is shown this once."""
    tenants = split(act_as)
    with connect(context) as client:
        made = [plain(client.call("RegisterApp", name=name, uid=uid, replace=replace, act_as=tenants)) for name in names]
    if quiet:
        click.echo("\n".join(each["token"] for each in made))
        return

    def show() -> None:
        for name, each in zip(names, made, strict=True):
            click.echo(f"{name} is uid {uid} with this token, which is not kept and not shown again:\n\n  {each['token']}\n")
        click.echo("Give it to the application in the environment variable MRPC_TOKEN.")

    emit(output, made[0] if len(made) == 1 else made, show)


def split(tenants: str) -> list[str]:
    return [tenant.strip() for tenant in tenants.split(",") if tenant.strip()]


@app.command(epilog="\b\nExamples:\n  mrpc app grant gateway --tenants acme,globex\n  mrpc app grant gateway --tenants ''    none any more")
@click.argument("name")
@click.option("--tenants", required=True, metavar="T1,T2", help="On whose behalf it may call, besides its own, from now on; * is any.")
@output_option
@click.pass_context
def grant(context: click.Context, name: str, tenants: str, output: str) -> None:
    """Change for which tenants NAME may call; its token stays.

    Processes that are attached have the change at their next call."""
    with connect(context) as client:
        changed = plain(client.call("GrantTenants", name=name, act_as=split(tenants)))
    emit(output, changed, lambda: click.echo(f"{name} may call for {', '.join(changed['act_as']) or 'nobody'} besides its own."))


@app.command("list", epilog="\b\nExample: mrpc app list -o json")
@output_option
@click.pass_context
def list_apps(context: click.Context, output: str) -> None:
    """List registered names."""
    with connect(context) as client:
        found = plain(client.call("ListApps"))["apps"]
    rows = [(each["name"], each["uid"], ", ".join(each["act_as"]), time_text(each["created_unix_s"])) for each in found]
    empty = "No app is registered; 'mrpc app register' does so."
    emit(output, found, lambda: print_table(("name", "uid#", "acts for", "registered"), rows, empty))


@app.command(epilog="\b\nExample: mrpc app remove frontend")
@click.argument("name")
@output_option
@click.pass_context
def remove(context: click.Context, name: str, output: str) -> None:
    """Forget NAME; its token is void for attachments to come."""
    with connect(context) as client:
        gone = plain(client.call("RemoveApp", name=name))
    emit(output, gone, lambda: click.echo(f"{name} (uid {gone['uid']}) is no longer registered."))


@click.group()
def service() -> None:
    """See and free the service names that principals hold."""


@service.command(epilog="\b\nExample: mrpc service owners")
@output_option
@click.pass_context
def owners(context: click.Context, output: str) -> None:
    """List which principal holds which service name."""
    with connect(context) as client:
        found = plain(client.call("ListOwners"))["owners"]
    rows = [(each["service"], each["principal"], time_text(each["since_unix_s"])) for each in found]
    emit(output, found, lambda: print_table(("service", "held by", "since"), rows, "No service name is held."))


@service.command(epilog="\b\nExample: mrpc service release hotel.Search")
@click.argument("name")
@output_option
@click.pass_context
def release(context: click.Context, name: str, output: str) -> None:
    """Free a service name for the next principal that offers it."""
    with connect(context) as client:
        freed = plain(client.call("ReleaseService", service=name))
    emit(output, freed, lambda: click.echo(f"{name} is no longer held by {freed['principal']}."))
