"""Rooms sold, each at most once a night. Knows nothing of RPC.

`night` holds, for each hotel and night, how many rooms are taken: the sum over `booking`, kept in the same transaction.
A booking takes SQLite's write lock *before* it looks (BEGIN IMMEDIATE), so that no other process or thread can sell
the room between the look and the sale.
"""
from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from . import data
from .storage import Database, id_list

NIGHTS_MAX = 365
ROOMS_MAX = 1000


class UnknownHotel(LookupError):
    """There is no hotel of that id."""


class Bookings:
    _SCHEMA = (
        "CREATE TABLE hotel (id TEXT PRIMARY KEY, rooms INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE booking (id INTEGER PRIMARY KEY, hotel_id TEXT NOT NULL REFERENCES hotel, customer TEXT NOT NULL,"
        " in_date TEXT NOT NULL, out_date TEXT NOT NULL, rooms INTEGER NOT NULL)",
        "CREATE TABLE night (hotel_id TEXT NOT NULL, date TEXT NOT NULL, taken INTEGER NOT NULL,"
        " PRIMARY KEY (hotel_id, date)) WITHOUT ROWID",
    )
    # Free on every night of the stay = free on the fullest one.
    _FREE = ("SELECT id, rooms - (SELECT coalesce(max(taken), 0) FROM night"
             " WHERE hotel_id = hotel.id AND date >= ? AND date < ?)"
             " FROM hotel WHERE id IN (SELECT value FROM json_each(?))")

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "reservation.db", self._SCHEMA, self._seed, durable=True)

    def available(self, hotel_ids: Sequence[str], in_date: str, out_date: str, rooms: int) -> list[str]:
        """Those of the hotels with so many rooms free on every night, in the order given; unknown ones have none.

        ValueError for dates that are no stay or a senseless number of rooms.
        """
        check_stay(in_date, out_date, rooms)
        free = dict(self._database.query(self._FREE, (in_date, out_date, id_list(hotel_ids))))
        return [hotel_id for hotel_id in hotel_ids if free.get(hotel_id, 0) >= rooms]

    def book(self, customer: str, hotel_ids: Sequence[str], in_date: str, out_date: str, rooms: int) -> bool:
        """Books the rooms in all the hotels for every night, or nothing (False: one of them is full on some night).

        UnknownHotel for an id that is none; ValueError as for available, and for no customer or no hotel.
        """
        check_stay(in_date, out_date, rooms)
        hotel_ids = list(dict.fromkeys(hotel_ids))
        if not customer or not hotel_ids:
            raise ValueError("a booking needs a customer and a hotel")
        with self._database.transaction() as connection:
            free = dict(connection.execute(self._FREE, (in_date, out_date, id_list(hotel_ids))).fetchall())
            for hotel_id in hotel_ids:
                if hotel_id not in free:
                    raise UnknownHotel(f"there is no hotel {hotel_id!r}")
            if min(free.values()) < rooms:
                return False
            for hotel_id in hotel_ids:
                _insert(connection, data.Booking(hotel_id, customer, in_date, out_date, rooms))
        return True

    def taken(self, hotel_id: str, night: str) -> int:
        """Rooms taken in the hotel on that night."""
        rows = self._database.query("SELECT taken FROM night WHERE hotel_id = ? AND date = ?", (hotel_id, night))
        return rows[0][0] if rows else 0

    @staticmethod
    def _seed(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO hotel VALUES (?,?)", data.rooms())
        for booking in data.bookings():
            _insert(connection, booking)


def check_stay(in_date: str, out_date: str, rooms: int) -> None:
    """ValueError, with a text for the guest, unless these are 1 to 365 nights and 1 to 1000 rooms."""
    nights = (parse_day(out_date) - parse_day(in_date)).days
    if not 1 <= nights <= NIGHTS_MAX:
        raise ValueError(f"a stay is 1 to {NIGHTS_MAX} nights: from {in_date} to {out_date} it is {nights}")
    if not 1 <= rooms <= ROOMS_MAX:
        raise ValueError(f"the number of rooms is 1 to {ROOMS_MAX}, not {rooms}")


def parse_day(text: str) -> date:
    """ValueError unless the text is a day in the form YYYY-MM-DD, the only form that sorts as its date does."""
    try:
        day = date.fromisoformat(text)
        if day.isoformat() == text:  # not 2015-W15-4, which Python reads too
            return day
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not a day: write it as YYYY-MM-DD")


def _insert(connection: sqlite3.Connection, booking: data.Booking) -> None:
    connection.execute("INSERT INTO booking (hotel_id, customer, in_date, out_date, rooms) VALUES (?,?,?,?,?)",
                       (booking.hotel_id, booking.customer, booking.in_date, booking.out_date, booking.rooms))
    connection.executemany(
        "INSERT INTO night VALUES (?,?,?) ON CONFLICT (hotel_id, date) DO UPDATE SET taken = taken + excluded.taken",
        [(booking.hotel_id, night, booking.rooms) for night in _nights(booking.in_date, booking.out_date)])


def _nights(in_date: str, out_date: str) -> Iterator[str]:
    day, last = parse_day(in_date), parse_day(out_date)
    while day < last:
        yield day.isoformat()
        day += timedelta(days=1)
