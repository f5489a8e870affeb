"""The benchmark's data set, computed: 80 hotels, their rate plans and rooms, 501 users, one booking.

Hotels 1 to 6 stand where six hotels of San Francisco do; 7 to 80 lie on a line towards the north-east, which the
standard workload's search box covers. Names and descriptions are our own.
"""
from __future__ import annotations

from dataclasses import dataclass

HOTEL_COUNT = 80
USER_COUNT = 501

_CITY_HOTELS = {  # id: (name, street number, street, lat, lon)
    1: ("Clift Corner", "495", "Geary Street", 37.7867, -122.4112),
    2: ("The Third Street", "125", "3rd Street", 37.7854, -122.4005),
    3: ("Fourth and Market", "12", "4th Street", 37.7854, -122.4071),
    4: ("Harbour House", "8", "Mission Street", 37.7936, -122.3930),
    5: ("Phoenix Court", "601", "Eddy Street", 37.7831, -122.4181),
    6: ("Museum Square", "125", "3rd Street", 37.7863, -122.4015),
}
_CITY_SCORES = {1: (109.0, 150.0), 2: (139.0, 120.0), 3: (109.0, 190.0), 4: (129.0, 160.0), 5: (119.0, 140.0),
                6: (149.0, 200.0)}
_CITY_RATES = {1: (109.0, 123.17), 2: (139.0, 153.09), 3: (109.0, 123.17)}
_RATES_BY_REMAINDER = {1: (120.0, 140.0), 2: (124.0, 144.0), 3: (132.0, 158.0), 4: (232.0, 258.0), 0: (109.0, 123.17)}
_ROOMS_BY_REMAINDER = {1: 300, 2: 250, 0: 200}


@dataclass(frozen=True, slots=True)
class Address:
    street_number: str
    street_name: str
    city: str
    state: str
    country: str
    postal_code: str
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What a guest reads about a hotel; images are (url, is the default)."""
    id: str
    name: str
    phone_number: str
    description: str
    address: Address
    images: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class RatePlan:
    """A price for one room and night, offered from in_date to out_date (ISO days)."""
    hotel_id: str
    code: str
    in_date: str
    out_date: str
    bookable_rate: float
    total_rate: float
    total_rate_inclusive: float
    room_code: str
    currency: str
    description: str


@dataclass(frozen=True, slots=True)
class Score:
    """What recommendations are made from."""
    hotel_id: str
    lat: float
    lon: float
    rate: float
    price: float


@dataclass(frozen=True, slots=True)
class Booking:
    """Rooms in one hotel for the nights from in_date to the day before out_date (ISO days)."""
    hotel_id: str
    customer: str
    in_date: str
    out_date: str
    rooms: int


def position(number: int) -> tuple[float, float]:
    """Where hotel `number` stands: (latitude, longitude) in degrees."""
    if number in _CITY_HOTELS:
        return _CITY_HOTELS[number][3:]
    return 37.7835 + number / 500 * 3, -122.41 + number / 500 * 4


def points() -> list[tuple[str, float, float]]:
    """(hotel id, latitude, longitude) of every hotel."""
    return [(str(number), *position(number)) for number in _numbers()]


def profiles() -> list[Profile]:
    return [_profile(number) for number in _numbers()]


def rate_plans() -> list[RatePlan]:
    """One plan each for the hotels that have a price: 1 to 3, and every third from 9."""
    priced = [number for number in _numbers() if number in _CITY_RATES or (number > 6 and number % 3 == 0)]
    return [_rate_plan(number) for number in priced]


def scores() -> list[Score]:
    return [Score(str(number), *position(number), *_score(number)) for number in _numbers()]


def rooms() -> list[tuple[str, int]]:
    """(hotel id, number of rooms) of every hotel."""
    return [(str(number), 200 if number <= 6 else _ROOMS_BY_REMAINDER[number % 3]) for number in _numbers()]


def users() -> list[tuple[str, str]]:
    """(user name, password): the password is the user's number, ten times over."""
    return [(f"Cornell_{number}", str(number) * 10) for number in range(USER_COUNT)]


def bookings() -> list[Booking]:
    return [Booking("4", "Alice", "2015-04-09", "2015-04-10", 1)]


def _numbers() -> range:
    return range(1, HOTEL_COUNT + 1)


def _profile(number: int) -> Profile:
    lat, lon = position(number)
    name, house, street = _CITY_HOTELS.get(number, (f"Bay Line {number}", str(number), "Ridge Road", lat, lon))[:3]
    city, postal_code = ("San Francisco", "94103") if number in _CITY_HOTELS else ("Bay Area", f"94{500 + number}")
    text = f"{name} has quiet rooms, a good breakfast, and a train stop within ten minutes on foot."
    address = Address(house, street, city, "CA", "United States", postal_code, lat, lon)
    images = ((f"/images/hotel-{number}.jpg", True), (f"/images/hotel-{number}-room.jpg", False))
    return Profile(str(number), name, f"(415) 555-{number:04d}", text, address, images)


def _rate_plan(number: int) -> RatePlan:
    rate, inclusive = _CITY_RATES.get(number) or _RATES_BY_REMAINDER[number % 5]
    late = number > 6 and number % 2 == 1
    return RatePlan(str(number), "RACK", "2015-04-09", "2015-04-24" if late else "2015-04-17",
                    rate, rate, inclusive, "KNG", "USD", "King sized bed")


def _score(number: int) -> tuple[float, float]:
    if number in _CITY_SCORES:
        return _CITY_SCORES[number]
    return _RATES_BY_REMAINDER[number % 5] if number % 3 == 0 else (135.0, 179.0)
