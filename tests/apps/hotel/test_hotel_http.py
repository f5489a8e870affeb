"""The frontend's behaviour, the same over both RPC systems."""
from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urlsplit

import pytest

from apps.hotel.run import HotelApp

CITY = {"lat": "37.7867", "lon": "-122.4112"}
STAY = {"inDate": "2015-06-09", "outDate": "2015-06-11"}
LOGIN = {"username": "Cornell_7", "password": "7777777777"}
BOOKING = {**STAY, **LOGIN, "hotelId": "1", "customerName": "Ann", "number": "1"}


def ask(app: HotelApp, path: str, query: dict, form: dict | None = None) -> tuple[int, str]:
    body = urlencode(form).encode() if form is not None else None
    try:
        with urllib.request.urlopen(f"{app.url}{path}?{urlencode(query)}", body, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def ids(answer: tuple[int, str]) -> list[str]:
    status, text = answer
    assert status == 200, text
    return [feature["id"] for feature in json.loads(text)["features"]]


def message(answer: tuple[int, str]) -> str:
    status, text = answer
    assert status == 200, text
    return json.loads(text)["message"]


def without(query: dict, name: str) -> dict:
    return {key: value for key, value in query.items() if key != name}


def test_hotels_are_near_have_a_price_and_a_room(app):
    # Of the five nearest (1, 3, 5, 6, 2), 1 to 3 have a price; the dearest comes first.
    assert sorted(ids(ask(app, "/hotels", {**STAY, **CITY}))) == ["1", "2", "3"]
    assert ids(ask(app, "/hotels", {**STAY, "lat": "0", "lon": "0"})) == []


def test_hotels_are_geojson(app):
    _, text = ask(app, "/hotels", {**STAY, **CITY})
    reply = json.loads(text)
    assert reply["type"] == "FeatureCollection"
    first = next(feature for feature in reply["features"] if feature["id"] == "1")
    assert first == {"type": "Feature", "id": "1",
                     "properties": {"name": "Clift Corner", "phone_number": "(415) 555-0001"},
                     "geometry": {"type": "Point", "coordinates": [-122.4112, 37.7867]}}


@pytest.mark.parametrize("require, expected", [("dis", ["1"]), ("rate", ["24", "39", "54", "69", "9"]), ("price", ["2"])])
def test_recommendations(app, require, expected):
    assert sorted(ids(ask(app, "/recommendations", {"require": require, **CITY}))) == expected


def test_users(app):
    assert message(ask(app, "/user", LOGIN)).startswith("Login successful")
    assert message(ask(app, "/user", {}, form=LOGIN)).startswith("Login successful")
    assert message(ask(app, "/user", {**LOGIN, "password": "7"})).startswith("Login failed")
    assert message(ask(app, "/user", {**LOGIN, "username": "nobody"})).startswith("Login failed")


def test_a_full_hotel_is_refused_and_no_longer_found(app):
    stay = {"inDate": "2015-07-01", "outDate": "2015-07-03"}
    book = {**BOOKING, **stay, "hotelId": "2"}
    assert message(ask(app, "/reservation", {**book, "number": "199"})) == "Booked."
    assert "2" in ids(ask(app, "/hotels", {**stay, **CITY}))
    assert message(ask(app, "/reservation", {}, form=book)) == "Booked."
    assert message(ask(app, "/reservation", book)).startswith("Not booked: the hotel")
    assert "2" not in ids(ask(app, "/hotels", {**stay, **CITY}))
    assert "2" in ids(ask(app, "/hotels", {"inDate": "2015-07-03", "outDate": "2015-07-04", **CITY}))


def test_who_is_not_known_does_not_book(app):
    assert message(ask(app, "/reservation", {**BOOKING, "password": "8"})).startswith("Not booked: the user name")


def test_the_last_rooms_are_sold_once_through_the_whole_chain(app):
    book = {**BOOKING, "inDate": "2015-08-01", "outDate": "2015-08-02", "hotelId": "3"}
    assert message(ask(app, "/reservation", {**book, "number": "190"})) == "Booked."
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: message(ask(app, "/reservation", book)), range(40)))
    assert answers.count("Booked.") == 10


@pytest.mark.parametrize("path, query", [
    ("/hotels", {**STAY, **CITY}), ("/recommendations", {"require": "dis", **CITY}), ("/user", LOGIN),
    ("/reservation", without(BOOKING, "number"))])
def test_every_missing_parameter_is_named(app, path, query):
    for name in query:
        for broken in (without(query, name), {**query, name: ""}):
            assert ask(app, path, broken) == (400, f"the parameter {name} is missing\n")


@pytest.mark.parametrize("path, query, told", [
    ("/hotels", {**STAY, **CITY, "lat": "north"}, "lat"),
    ("/hotels", {**STAY, **CITY, "lat": "nan"}, "lat"),
    ("/hotels", {**STAY, **CITY, "lon": "1e9"}, "lon"),
    ("/hotels", {**STAY, **CITY, "inDate": "9 April"}, "YYYY-MM-DD"),
    ("/hotels", {**STAY, **CITY, "outDate": "2015-06-09"}, "nights"),
    ("/hotels", {**CITY, "inDate": "0001-01-01", "outDate": "9999-12-31"}, "nights"),
    ("/recommendations", {"require": "stars", **CITY}, "require"),
    ("/reservation", {**BOOKING, "number": "0"}, "number"),
    ("/reservation", {**BOOKING, "number": "-1"}, "number"),
    ("/reservation", {**BOOKING, "number": "9" * 500}, "number"),
    ("/reservation", {**BOOKING, "number": "many"}, "number"),
    ("/reservation", {**BOOKING, "number": "5000"}, "rooms"),
    ("/reservation", {**BOOKING, "outDate": "2015-06-08"}, "nights")])
def test_senseless_parameters_are_told(app, path, query, told):
    status, text = ask(app, path, query)
    assert status == 400 and told in text, text


def test_a_hotel_that_is_none_is_not_found(app):
    status, text = ask(app, "/reservation", {**BOOKING, "hotelId": "81"})
    assert status == 404 and "'81'" in text


@pytest.mark.parametrize("name", ["Zoë O'Neill; DROP TABLE booking", "山田 太郎", "\x00", "a" * 5000])
def test_any_name_may_book(app, name):
    assert message(ask(app, "/reservation", {}, form={**BOOKING, "hotelId": "50", "customerName": name})) == "Booked."


def test_bytes_that_are_no_text(app):
    status, _ = ask(app, "/user", {}, form={"username": b"\xff\xfe", "password": b"\xed\xa0\x80"})
    assert status == 200


def test_a_form_that_is_too_large_is_refused(app):
    status, text = ask(app, "/user", {}, form={**LOGIN, "x": "y" * 70_000})
    assert status == 400 and "form" in text


def test_other_methods_and_paths(app):
    assert ask(app, "/nowhere", {})[0] == 404
    assert ask(app, "/hotels", {**STAY, **CITY}, form={})[0] == 405


def test_health_and_metrics(app):
    ask(app, "/user", LOGIN)
    assert ask(app, "/health", {}) == (200, "ok\n")
    assert 'hotel_http_requests_total{code="200",route="user"}' in ask(app, "/metrics", {})[1]


def test_a_connection_is_used_again(app):
    at = urlsplit(app.url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
    for _ in range(3):
        connection.request("GET", f"/user?{urlencode(LOGIN)}")
        assert connection.getresponse().read()
    connection.close()
