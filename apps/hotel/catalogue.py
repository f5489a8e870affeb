"""What is read and never written after seeding: rate plans, profiles, positions, scores. Knows nothing of RPC."""
from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from . import data
from .cache import Cache
from .storage import Database, id_list


class Rates:
    """Rate plans by hotel, cached."""

    _SCHEMA = ("CREATE TABLE plan (hotel_id TEXT, code TEXT, in_date TEXT, out_date TEXT, bookable_rate REAL,"
               " total_rate REAL, total_rate_inclusive REAL, room_code TEXT, currency TEXT, description TEXT,"
               " PRIMARY KEY (hotel_id, code, in_date)) WITHOUT ROWID",)

    def __init__(self, folder: Path, cache: Cache) -> None:
        self._cache = cache
        self._database = Database(folder / "rate.db", self._SCHEMA, self._seed)

    def plans(self, hotel_ids: Sequence[str]) -> list[data.RatePlan]:
        """Every plan of the hotels, dearest first (as the benchmark sorts them); hotels without a plan add none."""
        rows = self._cache.rows("plans", hotel_ids, self._load)
        plans = [data.RatePlan(*plan) for hotel_plans in rows.values() for plan in hotel_plans]
        return sorted(plans, key=lambda plan: plan.total_rate, reverse=True)

    def _load(self, hotel_ids: Sequence[str]) -> dict[str, list]:
        plans: dict[str, list] = {hotel_id: [] for hotel_id in hotel_ids}
        for row in self._database.query(
                "SELECT * FROM plan WHERE hotel_id IN (SELECT value FROM json_each(?))", (id_list(hotel_ids),)):
            plans[row[0]].append(row)
        return plans

    @staticmethod
    def _seed(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO plan VALUES (?,?,?,?,?,?,?,?,?,?)",
                               map(dataclasses.astuple, data.rate_plans()))


class Profiles:
    """Profiles by hotel, cached."""

    _SCHEMA = ("CREATE TABLE profile (id TEXT PRIMARY KEY, name TEXT, phone_number TEXT, description TEXT,"
               " street_number TEXT, street_name TEXT, city TEXT, state TEXT, country TEXT, postal_code TEXT,"
               " lat REAL, lon REAL) WITHOUT ROWID",
               "CREATE TABLE image (hotel_id TEXT, url TEXT, is_default INTEGER, PRIMARY KEY (hotel_id, url))"
               " WITHOUT ROWID")

    def __init__(self, folder: Path, cache: Cache) -> None:
        self._cache = cache
        self._database = Database(folder / "profile.db", self._SCHEMA, self._seed)

    def profiles(self, hotel_ids: Sequence[str]) -> list[data.Profile]:
        """In the order of the ids; unknown ids are left out."""
        rows = self._cache.rows("profile", hotel_ids, self._load)
        return [self._profile(rows[hotel_id]) for hotel_id in hotel_ids if hotel_id in rows]

    def _load(self, hotel_ids: Sequence[str]) -> dict[str, list]:
        ids = (id_list(hotel_ids),)
        rows = {row[0]: [*row, []] for row in self._database.query(
            "SELECT * FROM profile WHERE id IN (SELECT value FROM json_each(?))", ids)}
        for hotel_id, url, is_default in self._database.query(
                "SELECT * FROM image WHERE hotel_id IN (SELECT value FROM json_each(?)) ORDER BY is_default DESC, url", ids):
            rows[hotel_id][-1].append((url, bool(is_default)))
        return rows

    @staticmethod
    def _profile(row: Sequence) -> data.Profile:
        return data.Profile(*row[:4], data.Address(*row[4:12]), tuple(map(tuple, row[12])))

    @staticmethod
    def _seed(connection: sqlite3.Connection) -> None:
        for hotel in data.profiles():
            address = dataclasses.astuple(hotel.address)
            connection.execute("INSERT INTO profile VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                               (hotel.id, hotel.name, hotel.phone_number, hotel.description, *address))
            connection.executemany("INSERT INTO image VALUES (?,?,?)",
                                   [(hotel.id, url, is_default) for url, is_default in hotel.images])


def load_points(folder: Path) -> list[tuple[str, float, float]]:
    """(id, latitude, longitude) of every hotel, from geo's own file."""
    def seed(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO point VALUES (?,?,?)", data.points())
    schema = ("CREATE TABLE point (hotel_id TEXT PRIMARY KEY, lat REAL, lon REAL) WITHOUT ROWID",)
    return Database(folder / "geo.db", schema, seed).query("SELECT * FROM point")


def load_scores(folder: Path) -> list[data.Score]:
    """What recommendations are made from, from the recommendation service's own file."""
    def seed(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO score VALUES (?,?,?,?,?)", map(dataclasses.astuple, data.scores()))
    schema = ("CREATE TABLE score (hotel_id TEXT PRIMARY KEY, lat REAL, lon REAL, rate REAL, price REAL)"
              " WITHOUT ROWID",)
    rows = Database(folder / "recommendation.db", schema, seed).query("SELECT * FROM score")
    return [data.Score(*row) for row in rows]
