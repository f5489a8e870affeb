"""The seven services: they translate between messages and the modules that do the work, and nothing else.

Methods are coroutines of the request alone; colour.handlers fits them to the blocking or the asyncio server and maps
their errors to status codes.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import catalogue, data
from .bookings import Bookings
from .cache import Cache
from .colour import Call
from .recommend import Recommender
from .rpc import pb, pb_grpc
from .users import Users


@dataclass(frozen=True)
class Parts:
    """What a service may be built from: its data folder, the cache, and how to call the services it depends on."""
    folder: Path
    cache: Cache
    call: Call
    stubs: dict[str, Any] = field(default_factory=dict)


class Geo(pb_grpc.GeoServicer):
    def __init__(self, parts: Parts) -> None:
        from .geo_index import GeoIndex  # SciPy: 50 MiB and a third of a second that the other processes do without

        self._index = GeoIndex(catalogue.load_points(parts.folder))

    async def Nearby(self, request):
        return pb.HotelIds(hotel_ids=self._index.nearest(request.lat, request.lon))


class Rate(pb_grpc.RateServicer):
    def __init__(self, parts: Parts) -> None:
        self._rates = catalogue.Rates(parts.folder, parts.cache)

    async def GetRates(self, request):
        return pb.RatesReply(rate_plans=map(_rate_plan, self._rates.plans(request.hotel_ids)))


class Search(pb_grpc.SearchServicer):
    def __init__(self, parts: Parts) -> None:
        self._call, self._geo, self._rate = parts.call, parts.stubs["geo"], parts.stubs["rate"]

    async def Nearby(self, request):
        near = await self._call(self._geo.Nearby, pb.NearbyRequest(lat=request.lat, lon=request.lon))
        rates = await self._call(self._rate.GetRates, pb.RatesRequest(
            hotel_ids=near.hotel_ids, in_date=request.in_date, out_date=request.out_date))
        # A hotel with several plans is still one hotel.
        return pb.HotelIds(hotel_ids=dict.fromkeys(plan.hotel_id for plan in rates.rate_plans))


class Profile(pb_grpc.ProfileServicer):
    def __init__(self, parts: Parts) -> None:
        self._profiles = catalogue.Profiles(parts.folder, parts.cache)

    async def GetProfiles(self, request):
        return pb.ProfilesReply(hotels=map(_profile, self._profiles.profiles(request.hotel_ids)))


class Recommendation(pb_grpc.RecommendationServicer):
    def __init__(self, parts: Parts) -> None:
        self._recommender = Recommender(catalogue.load_scores(parts.folder))

    async def GetRecommendations(self, request):
        return pb.HotelIds(hotel_ids=self._recommender.recommend(request.require, request.lat, request.lon))


class User(pb_grpc.UserServicer):
    def __init__(self, parts: Parts) -> None:
        self._users = Users(parts.folder)

    async def CheckUser(self, request):
        return pb.UserReply(correct=self._users.check(request.username, request.password))


class Reservation(pb_grpc.ReservationServicer):
    def __init__(self, parts: Parts) -> None:
        self._bookings = Bookings(parts.folder)

    async def MakeReservation(self, request):
        booked = self._bookings.book(request.customer_name, request.hotel_ids, request.in_date, request.out_date,
                                     request.room_number)
        return pb.HotelIds(hotel_ids=request.hotel_ids if booked else [])

    async def CheckAvailability(self, request):
        return pb.HotelIds(hotel_ids=self._bookings.available(request.hotel_ids, request.in_date, request.out_date,
                                                              request.room_number))


@dataclass(frozen=True)
class Service:
    """One of the seven: what makes its servicer, what puts it on a server, its methods and what it calls."""
    servicer: Callable[[Parts], Any]
    add_to_server: Callable[[Any, Any], None]
    stub: Callable[[Any], Any]
    methods: list[str]
    needs: tuple[str, ...] = ()


SERVICES = {
    "geo": Service(Geo, pb_grpc.add_GeoServicer_to_server, pb_grpc.GeoStub, ["Nearby"]),
    "rate": Service(Rate, pb_grpc.add_RateServicer_to_server, pb_grpc.RateStub, ["GetRates"]),
    "search": Service(Search, pb_grpc.add_SearchServicer_to_server, pb_grpc.SearchStub, ["Nearby"], ("geo", "rate")),
    "profile": Service(Profile, pb_grpc.add_ProfileServicer_to_server, pb_grpc.ProfileStub, ["GetProfiles"]),
    "recommendation": Service(Recommendation, pb_grpc.add_RecommendationServicer_to_server,
                              pb_grpc.RecommendationStub, ["GetRecommendations"]),
    "user": Service(User, pb_grpc.add_UserServicer_to_server, pb_grpc.UserStub, ["CheckUser"]),
    "reservation": Service(Reservation, pb_grpc.add_ReservationServicer_to_server, pb_grpc.ReservationStub,
                           ["MakeReservation", "CheckAvailability"]),
}
FRONTEND_NEEDS = ("search", "profile", "recommendation", "user", "reservation")


def _rate_plan(plan: data.RatePlan):
    room = pb.RoomType(bookable_rate=plan.bookable_rate, total_rate=plan.total_rate,
                       total_rate_inclusive=plan.total_rate_inclusive, code=plan.room_code, currency=plan.currency,
                       room_description=plan.description)
    return pb.RatePlan(hotel_id=plan.hotel_id, code=plan.code, in_date=plan.in_date, out_date=plan.out_date,
                       room_type=room)


def _profile(hotel: data.Profile):
    place = hotel.address
    address = pb.Address(street_number=place.street_number, street_name=place.street_name, city=place.city,
                         state=place.state, country=place.country, postal_code=place.postal_code, lat=place.lat,
                         lon=place.lon)
    images = [pb.Image(url=url, default=default) for url, default in hotel.images]
    return pb.HotelProfile(id=hotel.id, name=hotel.name, phone_number=hotel.phone_number,
                           description=hotel.description, address=address, images=images)
