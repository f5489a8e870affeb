"""Searches at equal recall: knobs are swept until recall@10 is 0.95 in every size class, then all systems answer the same queries in turns.

Every rival gets the cheapest setting that reaches it for this set and this case; ours has its default. Rows also tell a rival's time where a
mean recall of 0.95 is enough, and where each size class may have its own setting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apps.vectordb.data import CASES
from bench.common.report import Row
from bench.vectordb.corpus import Corpus
from bench.vectordb.scale import Bench
from bench.vectordb.seats import SEARCH_SECONDS, Seat, seated
from bench.vectordb.systems.names import OURS, SCAN
from bench.vectordb.worker import chosen_queries

RECALL = 0.95
HEAVY_SECONDS, HEAVY_PASSES = 1.0, 3  # who takes longer for a pass takes part in so many
RECALL_ROW = "recall@10; spread: of classes"
LARGEST = "largest class"
ONE_COPY = ("scan by id", "one IVF", "one HNSW")  # rivals that keep a vector once, as ours does, however many tenants see it
# Modes whose means are told for each class.
BY_CLASS = (OURS, SCAN, "scan by id (numpy)", "scan of a copy (numpy)", "HNSW per tenant (hnswlib)", "IVF per tenant")


@dataclass
class Mode:
    """One mode of one system in one case: what its knob's settings gave, and how long the chosen ones took, a row a pass."""

    seat: Seat
    name: str
    classes: np.ndarray  # of its queries
    recalls: dict[Any, np.ndarray] = field(default_factory=dict)
    seconds: dict[Any, float] = field(default_factory=dict)  # that all queries took when they were judged
    passes: dict[Any, list[np.ndarray]] = field(default_factory=dict)

    def least(self, setting: Any) -> float:
        return float(min(self.by_class(self.recalls[setting])))

    def by_class(self, values: np.ndarray) -> list[float]:
        return [float(values[self.classes == each].mean()) for each in np.unique(self.classes)]

    def first(self, enough: Callable[[Any], bool]) -> Any:
        """The cheapest setting that is good enough, or the last one tried."""
        return next((setting for setting in self.recalls if enough(setting)), list(self.recalls)[-1])

    @property
    def every(self) -> Any:
        return self.first(lambda setting: self.least(setting) >= RECALL)

    @property
    def on_average(self) -> Any:
        return self.first(lambda setting: self.recalls[setting].mean() >= RECALL)

    def of_class(self, each: int) -> Any:
        return self.first(lambda setting: self.recalls[setting][self.classes == each].mean() >= RECALL)

    def chosen(self) -> list[Any]:
        return list(dict.fromkeys([self.every, self.on_average, *(self.of_class(each) for each in np.unique(self.classes))]))

    def takes_part(self, turn: int) -> bool:
        """In a pass: of the slow ones only in the first few."""
        return turn < HEAVY_PASSES or max(self.seconds[setting] for setting in self.chosen()) < HEAVY_SECONDS

    def us(self, setting: Any) -> np.ndarray:
        return np.stack(self.passes[setting])

    def with_own_settings(self) -> np.ndarray:
        """Times when each class has its own setting."""
        found = np.empty_like(self.us(self.every))
        for each in np.unique(self.classes):
            mine = self.classes == each
            found[:, mine] = self.us(self.of_class(each))[:, mine]
        return found


def one_set(bench: Bench, title: str) -> None:
    with seated(bench, title, title, ["curator", *bench.scale.sets[title].rivals]) as seats:
        corpus = Corpus.load(bench.corpus(title))
        for case in CASES:
            modes = [mode for seat in seats for mode in _swept(bench, seat, corpus, title, case)]
            _timed(bench, modes, title, case)
            _told(bench, [mode for mode in modes if mode.seat.alive], corpus, f"{title}, {case}")


def _swept(bench: Bench, seat: Seat, corpus: Corpus, title: str, case: str) -> list[Mode]:
    found = []
    chosen = chosen_queries(len(corpus.queries), bench.scale.slow_queries if seat.about["slow"] else bench.scale.queries)
    for name, settings in seat.about["modes"].items():
        if not seat.alive:
            break
        bench.step(f"{title}, {case}: sweep {name}")
        mode, until = Mode(seat, name, corpus.class_of(case)[chosen]), time.monotonic() + bench.scale.sweep_seconds
        try:
            for setting in settings:
                answer = _search(seat, mode, setting, case, judge=True)
                mode.recalls[setting], mode.seconds[setting] = np.array(answer["recall"]), sum(answer["us"]) / 1e6
                if mode.least(setting) >= RECALL or time.monotonic() > until:
                    break
            found.append(mode)
        except RuntimeError as error:
            bench.report.fail(f"{title}, {case}", name, error)
    return found


def _search(seat: Seat, mode: Mode, setting: Any, case: str, judge: bool = False) -> dict[str, Any]:
    return seat.do("search", SEARCH_SECONDS, case=case, mode=mode.name, setting=setting, queries=len(mode.classes), judge=judge)


def _timed(bench: Bench, modes: list[Mode], title: str, case: str) -> None:
    """Every pass in another order, so that nobody always comes after the same one."""
    for turn in range(bench.scale.passes):
        bench.step(f"{title}, {case}: pass {turn + 1}")
        start = turn * len(modes) // bench.scale.passes
        for mode in modes[start:] + modes[:start]:
            for setting in mode.chosen():
                if not mode.seat.alive or not mode.takes_part(turn):
                    break
                try:
                    mode.passes.setdefault(setting, []).append(np.array(_search(mode.seat, mode, setting, case)["us"]))
                except RuntimeError as error:
                    bench.report.fail(f"{title}, {case}", mode.name, error)


def _told(bench: Bench, modes: list[Mode], corpus: Corpus, work: str) -> None:
    ours = {mode.name: mode for mode in modes}.get(OURS)
    for mode in modes:
        _rows(bench, mode, corpus, work)
        if ours:
            _beside(bench, mode, ours, corpus, work)
    if ours:
        _ours(bench, ours, {mode.name: mode for mode in modes}[SCAN], corpus, work)
        _quickest(bench, ours, [mode for mode in modes if mode.name.startswith(ONE_COPY)], work)


def _rows(bench: Bench, mode: Mode, corpus: Corpus, work: str) -> None:
    add, chosen = bench.report.add, mode.every
    us, recalls = mode.us(chosen), mode.by_class(mode.recalls[chosen])
    if chosen is not None:
        add(work, mode.name, "knob", "", [float(chosen)])
    recall = float(mode.recalls[chosen].mean())
    bench.report.rows.append(Row(work, mode.name, RECALL_ROW, recall, "", (min(recalls), max(recalls))))
    add(work, mode.name, "mean", "us", us.mean(1).tolist())
    add(work, mode.name, "p99", "us", np.percentile(us, 99, axis=1).tolist())
    if mode.on_average != chosen:
        add(work, mode.name, "mean, where mean recall is enough", "us", mode.us(mode.on_average).mean(1).tolist())
    if any(mode.of_class(each) != chosen for each in np.unique(mode.classes)):
        add(work, mode.name, "mean, a setting for each class", "us", mode.with_own_settings().mean(1).tolist())
    if mode.name in BY_CLASS:
        for each in np.unique(mode.classes):
            add(work, mode.name, f"mean, {corpus.classes()[each]}", "us", us[:, mode.classes == each].mean(1).tolist())


def _beside(bench: Bench, mode: Mode, ours: Mode, corpus: Corpus, work: str) -> None:
    """A rival's time over ours, pass by pass; in the largest class with the setting that this class needs."""
    if mode is ours:
        return
    asked = np.isin(chosen_queries(len(corpus.queries), len(ours.classes)), chosen_queries(len(corpus.queries), len(mode.classes)))
    mine = ours.us(ours.every)
    same = mine[:, asked] if asked.sum() == len(mode.classes) else mine
    bench.report.add(work, mode.name, f"times {OURS}", "x", ratios(mode.us(mode.every).mean(1), same.mean(1)))
    if mode.name in BY_CLASS:
        largest = max(np.unique(mode.classes))
        theirs = mode.us(mode.of_class(largest))[:, mode.classes == largest].mean(1)
        bench.report.add(work, mode.name, f"times {OURS}, {LARGEST}", "x", ratios(theirs, mine[:, ours.classes == largest].mean(1)))


def _ours(bench: Bench, ours: Mode, scan: Mode, corpus: Corpus, work: str) -> None:
    add, us = bench.report.add, ours.us(ours.every)
    for each, recall in zip(np.unique(ours.classes), ours.by_class(ours.recalls[ours.every]), strict=True):
        add(work, OURS, f"recall@10, {corpus.classes()[each]}", "", [recall])
    add(work, OURS, "recall@10, least class", "", [ours.least(ours.every)])
    own = us.min(0)
    add(work, OURS, "p99 over mean, a query's least of all passes", "x", [float(np.percentile(own, 99) / own.mean())])
    shares = [ratios(us[:, ours.classes == each].mean(1), scan.us(scan.every)[:, scan.classes == each].mean(1)) for each in np.unique(ours.classes)]
    add(work, OURS, "over its own exact scan, worst class", "x", max(shares, key=np.median))


def _quickest(bench: Bench, ours: Mode, rivals: list[Mode], work: str) -> None:
    if rivals:
        best = min(rivals, key=lambda mode: np.median(mode.us(mode.every).mean(1)))
        bench.report.add(work, f"the quickest that keeps a vector once: {best.name}", f"times {OURS}", "x",
                         ratios(best.us(best.every).mean(1), ours.us(ours.every).mean(1)))


def ratios(some: np.ndarray, others: np.ndarray) -> list[float]:
    """Pass by pass, of those in which both took part."""
    return [float(one / other) for one, other in zip(some, others, strict=False)]
