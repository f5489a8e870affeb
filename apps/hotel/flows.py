"""What the frontend does for each kind of request: which services it asks, in which order, and what it answers.

Knows nothing of HTTP: parameters come as a mapping of strings, answers go as what becomes JSON. Refused carries the
text of a request that cannot be served as it stands. The order of the calls is the benchmark's.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .bookings import check_stay
from .colour import Call
from .recommend import CRITERIA
from .rpc import pb

Params = Mapping[str, str]
LOCALE = "en"


class Refused(ValueError):
    """The request lacks a parameter, or has a senseless one; the text tells the guest which."""


class Flows:
    """Asks the services through stubs (by service name), each call made by `call`."""

    def __init__(self, stubs: Mapping[str, Any], call: Call) -> None:
        self._stubs, self._call = stubs, call

    async def hotels(self, params: Params) -> dict:
        """GET /hotels?inDate&outDate&lat&lon: near hotels with a price and a free room, as GeoJSON."""
        in_date, out_date = _stay(params)
        lat, lon = _point(params)
        found = await self._call(self._stubs["search"].Nearby, pb.SearchRequest(
            lat=lat, lon=lon, in_date=in_date, out_date=out_date))
        free = await self._call(self._stubs["reservation"].CheckAvailability, pb.ReservationRequest(
            hotel_ids=found.hotel_ids, in_date=in_date, out_date=out_date, room_number=1))
        return await self._features(free.hotel_ids)

    async def recommendations(self, params: Params) -> dict:
        """GET /recommendations?require&lat&lon: the best hotels by one criterion, as GeoJSON."""
        require = _need(params, "require")
        if require not in CRITERIA:
            raise Refused(f"require must be one of {', '.join(CRITERIA)}, not {require!r}")
        lat, lon = _point(params)
        best = await self._call(self._stubs["recommendation"].GetRecommendations, pb.RecommendationsRequest(
            require=require, lat=lat, lon=lon))
        return await self._features(best.hotel_ids)

    async def user(self, params: Params) -> dict:
        """/user?username&password: whether the two belong together."""
        if await self._known(params):
            return {"message": "Login successful."}
        return {"message": "Login failed: the user name and the password do not belong together."}

    async def reservation(self, params: Params) -> dict:
        """/reservation?inDate&outDate&hotelId&customerName&username&password&number: books, if the user may."""
        in_date, out_date = _stay(params)
        hotel_id, customer = _need(params, "hotelId"), _need(params, "customerName")
        rooms = _rooms(params)
        if not await self._known(params):
            return {"message": "Not booked: the user name and the password do not belong together."}
        booked = await self._call(self._stubs["reservation"].MakeReservation, pb.ReservationRequest(
            customer_name=customer, hotel_ids=[hotel_id], in_date=in_date, out_date=out_date, room_number=rooms))
        if not booked.hotel_ids:
            return {"message": "Not booked: the hotel has not so many rooms left on every night."}
        return {"message": "Booked."}

    async def _known(self, params: Params) -> bool:
        request = pb.UserRequest(username=_need(params, "username"), password=_need(params, "password"))
        return (await self._call(self._stubs["user"].CheckUser, request)).correct

    async def _features(self, hotel_ids: Iterable[str]) -> dict:
        reply = await self._call(self._stubs["profile"].GetProfiles, pb.ProfilesRequest(
            hotel_ids=hotel_ids, locale=LOCALE))
        return {"type": "FeatureCollection", "features": [_feature(hotel) for hotel in reply.hotels]}


def _feature(hotel: Any) -> dict:
    # Five digits are a metre, and as much as a float holds here.
    coordinates = [round(hotel.address.lon, 5), round(hotel.address.lat, 5)]
    return {"type": "Feature", "id": hotel.id,
            "properties": {"name": hotel.name, "phone_number": hotel.phone_number},
            "geometry": {"type": "Point", "coordinates": coordinates}}


def _need(params: Params, name: str) -> str:
    value = params.get(name, "")
    if not value:
        raise Refused(f"the parameter {name} is missing")
    return value


def _stay(params: Params) -> tuple[str, str]:
    in_date, out_date = _need(params, "inDate"), _need(params, "outDate")
    try:
        check_stay(in_date, out_date, 1)
    except ValueError as error:
        raise Refused(f"inDate and outDate: {error}") from None
    return in_date, out_date


def _point(params: Params) -> tuple[float, float]:
    return _degrees(params, "lat", 90), _degrees(params, "lon", 180)


def _degrees(params: Params, name: str, limit: int) -> float:
    text = _need(params, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -limit <= value <= limit:
        raise Refused(f"{name} must be a number of degrees, -{limit} to {limit}")
    return value


def _rooms(params: Params) -> int:
    text = params.get("number") or "1"
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) < 10**6):
        raise Refused("number must be a whole number of rooms, at least 1")
    return int(text)
