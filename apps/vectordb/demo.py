"""`make demo-vectordb`: real texts, questions in plain words by two tenants over the mesh, a grant, a revoke, a policy, timings."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import mrpc
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .client import models, text
from .data import Dataset, MissingSource, load_texts
from .data.embed import Embedder
from .demo_parts import COLLECTION, LIBRARY, WORDS, Loaded, Tenants, load, time_searches, time_sharing
from .mesh import POLICIES, Mesh, StartError

TOP = 3
FUSED = 100  # of each search
BUDGET = 200  # results a second of each tenant, under the demo's policy

console = Console()


@dataclass(frozen=True)
class Script:
    """Who asks what. The first tenant shares its note with the second, who asks about it. fact: what the library asks, of which words say
    more than their meaning."""

    tenants_are: str
    pair: tuple[str, str]
    questions: tuple[str, ...]
    note: str
    about: str
    fact: str


SCRIPTS = {
    "wordnet": Script("A tenant is a word that occurs in the texts", ("music", "water"),
                      ("how do you keep an instrument in good order", "something that moves in waves"),
                      "unpublished: a song about the waves of a great river at night", "waves on a river", "war from 1618 to 1648"),
    "packages": Script("A tenant is a section or a tag of Debian's packages", ("sound", "games"),
                       ("play a song", "something for children to learn with"), "in work: a game in which one sings", "sing and play",
                       "a client for NNTP"),
}


def main() -> None:
    argparse.ArgumentParser(prog="python -m apps.vectordb.demo", description="The vector database at work, on a mesh of its own").parse_args()
    try:
        with progress() as bar:
            task = bar.add_task("Embedding texts", total=None)
            data = load_texts(lambda done, total: bar.update(task, completed=done, total=total))
        show(data, SCRIPTS[data.name], Embedder())
    except (MissingSource, StartError) as error:
        raise SystemExit(f"demo: {error}") from None
    show_next_steps()


def show(data: Dataset, script: Script, embed: Embedder) -> None:
    """The whole demo on a mesh of its own. StartError when that does not come up; RpcError for what should not fail."""
    with console.status("Starting mrpcd and the vector database …"):
        mesh = Mesh()
    with mesh, Tenants() as tenants:
        console.rule("[bold]A vector database for many tenants, over mRPC")
        show_loaded(load_all(data, tenants), script, mesh)
        show_questions(script, tenants, embed)
        show_words(script, tenants, embed)
        show_sharing(script, tenants, embed)
        show_policy(script, tenants, embed, mesh)
        show_timings(data, script, tenants)


def progress() -> Progress:
    return Progress(TextColumn("{task.description:16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True)


def load_all(data: Dataset, tenants: Tenants) -> Loaded:
    with progress() as bar:
        tasks = [bar.add_task(name, total=None) for name in ("Storing texts", "Granting them")]
        return load(data, tenants, *(lambda done, total, task=task: bar.update(task, completed=done, total=total) for task in tasks))


def show_loaded(loaded: Loaded, script: Script, mesh: Mesh) -> None:
    console.print(f"Tenant {LIBRARY!r} stored {loaded.texts:,} texts, each once, in {loaded.storing_s:.1f} s, and granted them to "
                  f"{loaded.tenants:,} tenants: {loaded.grants:,} grants in {loaded.granting_s:.1f} s.", highlight=False)
    console.print(f"{script.tenants_are}, and sees its texts. The service has {mesh.memory_bytes() >> 20} MiB in memory, "
                  f"of which {loaded.vector_bytes >> 20} MiB are vectors; all of it is on disk, too.\n", highlight=False)


def show_questions(script: Script, tenants: Tenants, embed: Embedder) -> None:
    console.rule("[bold]The same question, two tenants")
    seen = {name: f"{name}, who sees {tenants[name].count(COLLECTION).count:,} texts" for name in script.pair}
    for question in script.questions:
        vector = embed([question])[0]
        console.print(side_by_side(f"{question}?", {title: answers(tenants, name, vector) for name, title in seen.items()}))
    console.print()


def side_by_side(title: str, columns: dict[str, str]) -> Table:
    table = Table(title=title, title_style="bold", expand=True)
    for name in columns:
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_row(*columns.values())
    return table


def answers(tenants: Tenants, name: str, vector: np.ndarray) -> str:
    """The nearest texts that the tenant sees, with their cosine; those of another owner than the library are green."""
    return listed(tenants[name].query_points(COLLECTION, vector, limit=TOP).points)


def listed(hits: list[models.ScoredPoint]) -> str:
    return "\n".join(f"{hit.score:.2f} {told(hit)}" for hit in hits)


def told(hit: models.ScoredPoint) -> str:
    shown = escape((hit.payload or {})["text"])
    return shown if hit.owner == LIBRARY else f"[green]{shown}[/]"


def show_words(script: Script, tenants: Tenants, embed: Embedder) -> None:
    console.rule("[bold]Words and meaning")
    library = tenants[LIBRARY]
    meaning, words = embed([script.fact])[0], text.terms(script.fact)
    both = [models.Prefetch(meaning, limit=FUSED), models.Prefetch(words, using=WORDS, limit=FUSED)]
    console.print(side_by_side(f"{LIBRARY} asks: {script.fact}?", {
        "by meaning": listed(library.query_points(COLLECTION, meaning, limit=TOP).points),
        "by words (BM25)": listed(library.query_points(COLLECTION, words, using=WORDS, limit=TOP).points),
        "by both, in one call": listed(library.query_points(COLLECTION, models.FusionQuery(models.Fusion.RRF), prefetch=both, limit=TOP).points)}))
    console.print("What a word weighs is counted, for each tenant, in the texts that it sees.\n")


def show_sharing(script: Script, tenants: Tenants, embed: Embedder) -> None:
    console.rule("[bold]Grant and revoke")
    giver, taker = script.pair
    vector = embed([script.about])[0]
    tenants[giver].upsert(COLLECTION, [models.PointStruct(1, embed([script.note])[0], {"text": script.note})])
    columns = {f"{giver} wrote a text": answers(tenants, taker, vector)}
    tenants[giver].grant(COLLECTION, [1], to=taker)
    columns[f"{giver} granted it"] = answers(tenants, taker, vector)
    tenants[giver].revoke(COLLECTION, [1], to=taker)
    columns[f"{giver} revoked it"] = answers(tenants, taker, vector)
    console.print(side_by_side(f"{taker} asks: {script.about}?", columns))
    by_id = tenants[taker].retrieve(COLLECTION, [1], owner=giver)
    console.print(f"Asked for by its id, {taker} gets {len(by_id)} points: what one may not see is not there.\n", highlight=False)


def show_policy(script: Script, tenants: Tenants, embed: Embedder, mesh: Mesh) -> None:
    console.rule("[bold]A policy at work")
    name = script.pair[0]
    file = mesh.folder / "budget.yaml"
    file.write_text(f"""\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {{name: budget}}
spec:
  selector: {{service: vectordb.Points, method: Search}}
  policies:
    - {{name: results, use: {POLICIES / "search_budget.py"}, config: {{results_per_s: {BUDGET}, burst: {BUDGET}}}}}
""")
    mesh.command("policy", "apply", str(file), "--force")
    console.print(f"mrpcd now gives each tenant {BUDGET} results a second, by the fields k and queries of its messages.", highlight=False)
    vector = embed([script.about])[0]
    try:
        for _ in range(BUDGET):
            tenants[name].query_points(COLLECTION, vector, limit=10)
        outcome = "nothing was refused"
    except mrpc.RpcError as error:
        outcome = f"{error.code().name}: {error.details()}"
    console.print(Text.assemble(f"{name}: ", (outcome, "red")))
    answers(tenants, script.pair[1], vector)
    console.print(f"{script.pair[1]} is answered meanwhile. The policy goes as it came; neither program knew of it.\n")
    mesh.command("policy", "delete", "budget")


def show_timings(data: Dataset, script: Script, tenants: Tenants) -> None:
    console.rule("[bold]How long it takes")
    table = Table("Tenant", "sees", "p50", "p99", "in batches of 32", "recall@10", title="Searches from Python over the mesh, one caller")
    with console.status("Searching …"):
        for name in (*script.pair, LIBRARY):
            timed = time_searches(data, tenants[name])
            table.add_row(name, f"{timed.sees:,}", f"{timed.p50_us:.0f} µs", f"{timed.p99_us:.0f} µs", f"{timed.batched_per_s:,.0f}/s",
                          f"{timed.recall:.1%}")
        sharing = time_sharing(tenants, script.pair[0])
    console.print(table)
    console.print(f"A grant and a revoke of one point: {sharing.one_us:.0f} µs each, of {sharing.batch} at once: {sharing.each_us:.1f} µs for each; "
                  "both are on disk when acknowledged.", highlight=False)
    console.print("A sample of seconds on this machine, with whatever else it does; `make bench ARGS=vectordb` compares with others.\n")


def show_next_steps() -> None:
    steps = Table.grid(padding=(0, 2))
    steps.add_row(".venv/bin/python -m apps.vectordb serve --help", "run the service")
    steps.add_row(".venv/bin/python -m apps.vectordb.picture", "draw the trees of two tenants")
    steps.add_row("apps/vectordb/README.md", "how it is used and built")
    console.print(Panel(steps, title="Where to look next", expand=False))


if __name__ == "__main__":
    main()
