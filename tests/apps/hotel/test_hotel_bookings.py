from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from apps.hotel.bookings import Bookings, UnknownHotel, check_stay

STAY = ("2015-05-01", "2015-05-04")
HOTEL, ROOMS = "1", 200


def nights_by_booking(folder: Path, hotel: str) -> list[tuple[str, int]]:
    """(night, rooms) added up from the bookings themselves, not from the table that bookings.py decides by."""
    with closing(sqlite3.connect(folder / "reservation.db")) as connection:
        return connection.execute(
            "WITH RECURSIVE stay(night, out_date, rooms) AS ("
            " SELECT in_date, out_date, rooms FROM booking WHERE hotel_id = ?"
            " UNION ALL SELECT date(night, '+1 day'), out_date, rooms FROM stay WHERE date(night, '+1 day') < out_date)"
            " SELECT night, sum(rooms) FROM stay GROUP BY night ORDER BY night", (hotel,)).fetchall()


def test_books_every_night_but_the_last_day(tmp_path):
    bookings = Bookings(tmp_path)
    assert bookings.book("Ann", [HOTEL], *STAY, 3)
    assert [bookings.taken(HOTEL, f"2015-05-0{day}") for day in range(1, 6)] == [3, 3, 3, 0, 0]
    assert nights_by_booking(tmp_path, HOTEL) == [("2015-05-01", 3), ("2015-05-02", 3), ("2015-05-03", 3)]


def test_one_full_night_refuses_the_whole_stay(tmp_path):
    bookings = Bookings(tmp_path)
    assert bookings.book("Ann", [HOTEL], "2015-05-02", "2015-05-03", ROOMS)
    assert not bookings.book("Bob", [HOTEL], *STAY, 1)
    assert bookings.taken(HOTEL, "2015-05-01") == 0
    assert bookings.available([HOTEL, "2"], *STAY, 1) == ["2"]
    assert bookings.available([HOTEL], "2015-05-03", "2015-05-09", ROOMS) == [HOTEL]


def test_several_hotels_are_booked_together_or_not_at_all(tmp_path):
    bookings = Bookings(tmp_path)
    assert bookings.book("Ann", ["2"], *STAY, 200)
    assert not bookings.book("Bob", ["1", "2"], *STAY, 1)
    assert bookings.taken("1", STAY[0]) == 0
    assert bookings.book("Bob", ["1", "3", "1"], *STAY, 1)
    assert (bookings.taken("1", STAY[0]), bookings.taken("3", STAY[0])) == (1, 1)


def test_availability_keeps_the_order_and_leaves_out_strangers(tmp_path):
    assert Bookings(tmp_path).available(["9", "none", "1", "9"], *STAY, 200) == ["9", "1", "9"]
    assert Bookings(tmp_path).available(["8", "7"], *STAY, 251) == ["7"]


@pytest.mark.parametrize("in_date, out_date, rooms", [
    ("2015-05-04", "2015-05-04", 1), ("2015-05-04", "2015-05-01", 1), ("2015-05-01", "2016-06-01", 1),
    ("0001-01-01", "9999-12-31", 1), ("2015-5-1", "2015-05-04", 1), ("2015-W19-1", "2015-05-08", 1),
    ("2015-02-30", "2015-03-02", 1), ("", "", 1), ("2015-05-01", "2015-05-02", 0), ("2015-05-01", "2015-05-02", -5),
    ("2015-05-01", "2015-05-02", 2**31 - 1)])
def test_refuses_what_is_no_stay(tmp_path, in_date, out_date, rooms):
    with pytest.raises(ValueError):
        check_stay(in_date, out_date, rooms)
    with pytest.raises(ValueError):
        Bookings(tmp_path).book("Ann", [HOTEL], in_date, out_date, rooms)
    with pytest.raises(ValueError):
        Bookings(tmp_path).available([HOTEL], in_date, out_date, rooms)


def test_refuses_strangers(tmp_path):
    with pytest.raises(UnknownHotel, match="'81'"):
        Bookings(tmp_path).book("Ann", ["1", "81"], *STAY, 1)
    with pytest.raises(ValueError):
        Bookings(tmp_path).book("", ["1"], *STAY, 1)
    assert Bookings(tmp_path).taken("1", STAY[0]) == 0


def hammer(folder: Path, threads: int, tries: int, start, booked) -> None:
    """Each thread tries to book one room of overlapping stays over and over; the number that succeeded goes to booked."""
    bookings = Bookings(folder)

    def guest(number: int) -> int:
        start.wait()
        stays = [("2015-05-01", "2015-05-04"), ("2015-05-03", "2015-05-06"), ("2015-05-03", "2015-05-04")]
        return sum(bookings.book(f"guest {number}", [HOTEL], *stays[(number + attempt) % 3], 1)
                   for attempt in range(tries))

    with ThreadPoolExecutor(threads) as pool:
        booked.put(sum(pool.map(guest, range(threads))))


def test_no_room_is_sold_twice_by_many_threads_and_processes(tmp_path):
    assert Bookings(tmp_path).book("group", [HOTEL], "2015-05-03", "2015-05-04", ROOMS - 20)
    processes, threads, tries = 4, 8, 5
    context = multiprocessing.get_context("spawn")
    start, booked = context.Barrier(processes * threads), context.Queue()
    workers = [context.Process(target=hammer, args=(tmp_path, threads, tries, start, booked)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    total = sum(booked.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(60)
    # Every stay has the night of the third, which had 20 rooms left: 160 tries, exactly 20 bookings.
    assert total == 20
    nights = dict(nights_by_booking(tmp_path, HOTEL))
    assert nights["2015-05-03"] == ROOMS
    assert nights == {night: Bookings(tmp_path).taken(HOTEL, night) for night in nights}


def test_the_last_room_has_one_guest(tmp_path):
    bookings = Bookings(tmp_path)
    assert bookings.book("group", [HOTEL], *STAY, ROOMS - 1)
    start = threading.Barrier(16)

    def guest(number: int) -> bool:
        start.wait()
        return bookings.book(f"guest {number}", [HOTEL], *STAY, 1)

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(guest, range(16))) == 1
    assert bookings.taken(HOTEL, STAY[0]) == ROOMS
