"""The benchmark's standard mix as lines of `METHOD PATH`: `python -m apps.hotel.workload --count 10000 --seed 1 > FILE`.

60 % searches, 39 % recommendations, half a per cent each log in and book. The same seed makes the same lines.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from random import Random
from urllib.parse import urlencode

SEARCH, RECOMMEND, LOGIN = 0.6, 0.39, 0.005  # the rest books
FIRST_DAY, LAST_DAY = 9, 24  # of April 2015


def lines(count: int, seed: int) -> Iterator[str]:
    """So many requests of the mix."""
    random = Random(seed)
    for _ in range(count):
        dice = random.random()
        if dice < SEARCH:
            yield _search(random)
        elif dice < SEARCH + RECOMMEND:
            yield _recommend(random)
        elif dice < SEARCH + RECOMMEND + LOGIN:
            yield f"POST /user?{urlencode(_user(random))}"
        else:
            yield _reserve(random)


def _search(random: Random) -> str:
    arrival = random.randint(FIRST_DAY, LAST_DAY - 1)
    leave = random.randint(arrival + 1, LAST_DAY)
    return f"GET /hotels?{urlencode({'inDate': _day(arrival), 'outDate': _day(leave), **_point(random)})}"


def _recommend(random: Random) -> str:
    require = random.choices(("dis", "rate", "price"), (33, 33, 34))[0]
    return f"GET /recommendations?{urlencode({'require': require, **_point(random)})}"


def _reserve(random: Random) -> str:
    arrival = random.randint(FIRST_DAY, LAST_DAY - 1)
    user = _user(random)
    query = {"inDate": _day(arrival), "outDate": _day(arrival + random.randint(1, 5)), **_point(random),
             "hotelId": random.randint(1, 80), "customerName": user["username"], **user, "number": 1}
    return f"POST /reservation?{urlencode(query)}"


def _day(day: int) -> str:
    return f"2015-04-{day:02d}"


def _point(random: Random) -> dict[str, str]:
    return {"lat": f"{38.0235 + (random.randint(0, 481) - 240.5) / 1000:.4f}",
            "lon": f"{-122.095 + (random.randint(0, 325) - 157) / 1000:.3f}"}


def _user(random: Random) -> dict[str, str]:
    number = random.randint(0, 500)
    return {"username": f"Cornell_{number}", "password": str(number) * 10}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.hotel.workload", description="The standard mix as request lines")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("\n".join(lines(options.count, options.seed)))


if __name__ == "__main__":
    main()
