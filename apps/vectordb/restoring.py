"""Commands for one tenant of a database that nobody serves: into a file, and back."""
from __future__ import annotations

import argparse
import tempfile
import threading
from pathlib import Path
from typing import get_args

from .database import Database, Invalid, NotFound
from .database.backup import export_from
from .database.transfer import Conflicts

EXAMPLES = """
examples, with the service stopped:
  python -m apps.vectordb export --from ./vectors --collection papers --tenant acme acme.tenant
  python -m apps.vectordb restore --dir ./vectors --collection papers --from acme.tenant
  python -m apps.vectordb restore --dir ./vectors --collection papers --from ./backup --tenant acme --conflicts skip
  python -m apps.vectordb restore --dir ./vectors --collection papers --from ./backup/snapshot-0000000007 --tenant acme --as acme-before

A running service does the same for administrators: export_tenant and import_tenant of the client.
"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    for name, run, what in (("export", export, "write one tenant of a database or a backup to a file"),
                            ("restore", restore, "bring one tenant of a backup, or an exported file, into a database")):
        command = commands.add_parser(name, help=what, description=what, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
        command.set_defaults(run=run)
        command.add_argument("--collection", required=True, metavar="NAME")
        source = "a database's folder or a copy of it, or a snapshot in one" + (", or an exported file" if name == "restore" else "")
        command.add_argument("--from", dest="source", type=Path, required=True, metavar="PATH", help=source)
        command.add_argument("--tenant", metavar="NAME", required=name == "export", help="whose points; not for an exported file")
        if name == "export":
            command.add_argument("file", type=Path, metavar="FILE", help="the file to write")
            continue
        command.add_argument("--dir", type=Path, required=True, help="the database, with such a collection in it")
        command.add_argument("--as", dest="name", metavar="NAME", help="the tenant to bring them to (default: of the same name)")
        command.add_argument("--conflicts", choices=get_args(Conflicts), default="refuse",
                             help="when that tenant is there: leave all alone, replace points with the same ids, or skip them (default: %(default)s)")


def export(options: argparse.Namespace, stop: threading.Event) -> None:
    count = export_from(options.source, options.collection, options.tenant, options.file)
    print(f"{count} points of {options.tenant} are in {options.file}")


def restore(options: argparse.Namespace, stop: threading.Event) -> None:
    """DatabaseError: nothing was restored."""
    if options.source.is_dir() and options.tenant is None:
        raise Invalid(f"say with --tenant which tenant of {options.source} to restore")
    if not options.dir.is_dir():
        raise NotFound(f"there is no database in {options.dir}")
    with Database.open(options.dir) as database, tempfile.TemporaryDirectory(dir=options.dir) as aside:
        collection, file = database.collection(options.collection), options.source
        if file.is_dir():
            file = Path(aside) / "tenant"
            export_from(options.source, options.collection, options.tenant, file)
        count = collection.import_tenant(file, options.name, conflicts=options.conflicts)
    print(f"{count} points were restored")
