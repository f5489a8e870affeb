"""What qdrant_client.models calls its models, as far as this service knows them. Arguments are checked where they are used: by
the service.

The client tells conditions by their class's name, so that qdrant_client's own models are taken as well.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple

PointId = int | str
"""A number from 0 to 2**64 - 1, or the text of a UUID."""
Vector = Sequence[float]
"""A list of numbers or a NumPy array [dim]."""


class Distance(StrEnum):
    COSINE = "Cosine"
    DOT = "Dot"
    EUCLID = "Euclid"


class Datatype(StrEnum):
    FLOAT32 = "float32"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class VectorParams:
    """size: components of a vector."""
    size: int
    distance: Distance
    datatype: Datatype | None = None


class Modifier(StrEnum):
    """What searches make of values, by what the searching tenant sees. BM25: values are counts of terms, and IDF is in it."""
    NONE = "none"
    IDF = "idf"
    BM25 = "bm25"


@dataclass(frozen=True)
class SparseVectorParams:
    """k1, b: of BM25."""
    modifier: Modifier | None = None
    k1: float | None = None
    b: float | None = None


@dataclass(frozen=True)
class SparseVector:
    """indices: from 0 to 2**32 - 1, none twice, in any order."""
    indices: Sequence[int]
    values: Sequence[float]


VectorStruct = Vector | dict[str, Vector | SparseVector]
"""The dense vector, or that under "" and sparse ones under their names."""


@dataclass(frozen=True)
class PointStruct:
    id: PointId
    vector: VectorStruct
    payload: dict[str, Any] | None = None


@dataclass(frozen=True)
class Batch:
    """Points as columns: the quickest way to write many. vectors: [n, dim], or that under "" and n sparse ones or None under each name."""
    ids: Sequence[PointId]
    vectors: Any
    payloads: Sequence[dict[str, Any] | None] | None = None


@dataclass(frozen=True)
class MatchValue:
    value: bool | int | str


@dataclass(frozen=True)
class MatchAny:
    any: Sequence[int | str]


@dataclass(frozen=True)
class MatchExcept:
    """Qdrant's own takes it as MatchExcept(**{"except": [...]}); so does this one."""
    except_: Sequence[int | str] = ()

    def __init__(self, except_: Sequence[int | str] = (), **values: Sequence[int | str]) -> None:
        object.__setattr__(self, "except_", values.get("except", except_))


@dataclass(frozen=True)
class MatchText:
    """All the words, in any order: words are letters and digits, in any case."""
    text: str


@dataclass(frozen=True)
class MatchTextAny:
    """One of the words."""
    text_any: str


@dataclass(frozen=True)
class MatchPhrase:
    """The words one after the other."""
    phrase: str


@dataclass(frozen=True)
class MatchPrefix:
    prefix: str


@dataclass(frozen=True)
class MatchSubstring:
    substring: str


@dataclass(frozen=True)
class Range:
    lt: float | None = None
    gt: float | None = None
    gte: float | None = None
    lte: float | None = None


@dataclass(frozen=True)
class DatetimeRange:
    """Datetimes without a zone, dates, and texts without an offset are of UTC."""
    lt: datetime | date | str | None = None
    gt: datetime | date | str | None = None
    gte: datetime | date | str | None = None
    lte: datetime | date | str | None = None


@dataclass(frozen=True)
class ValuesCount:
    lt: int | None = None
    gt: int | None = None
    gte: int | None = None
    lte: int | None = None


@dataclass(frozen=True)
class GeoPoint:
    """In degrees."""
    lon: float
    lat: float


@dataclass(frozen=True)
class GeoRadius:
    """radius: in metres."""
    center: GeoPoint
    radius: float


@dataclass(frozen=True)
class GeoBoundingBox:
    top_left: GeoPoint
    bottom_right: GeoPoint


@dataclass(frozen=True)
class GeoLineString:
    """A ring: the last point is the first."""
    points: Sequence[GeoPoint]


@dataclass(frozen=True)
class GeoPolygon:
    exterior: GeoLineString
    interiors: Sequence[GeoLineString] | None = None


@dataclass(frozen=True)
class FieldCondition:
    """One of its tests, on the payload field that key leads to."""
    key: str
    match: MatchValue | MatchAny | MatchExcept | MatchText | MatchTextAny | MatchPhrase | MatchPrefix | MatchSubstring | None = None
    range: Range | DatetimeRange | None = None
    geo_bounding_box: GeoBoundingBox | None = None
    geo_radius: GeoRadius | None = None
    geo_polygon: GeoPolygon | None = None
    values_count: ValuesCount | None = None
    is_empty: bool | None = None
    is_null: bool | None = None


@dataclass(frozen=True)
class PayloadField:
    key: str


@dataclass(frozen=True)
class IsEmptyCondition:
    is_empty: PayloadField


@dataclass(frozen=True)
class IsNullCondition:
    is_null: PayloadField


@dataclass(frozen=True)
class HasIdCondition:
    has_id: Sequence[PointId]


@dataclass(frozen=True)
class Nested:
    """One object of the array at key meets the filter by itself."""
    key: str
    filter: Filter


@dataclass(frozen=True)
class NestedCondition:
    nested: Nested


@dataclass(frozen=True)
class MinShould:
    conditions: Sequence[Any]
    min_count: int


@dataclass(frozen=True)
class Filter:
    """All of must, at least one of should, none of must_not. Each is a condition, a Filter, or a list of them."""
    must: Any = None
    should: Any = None
    must_not: Any = None
    min_should: MinShould | None = None


@dataclass(frozen=True)
class PointIdsList:
    points: Sequence[PointId]


@dataclass(frozen=True)
class FilterSelector:
    filter: Filter


@dataclass(frozen=True)
class SearchParams:
    """exact: compare with all. recall: what share of the true nearest to find, in place of the collection's setting."""
    exact: bool = False
    recall: float | None = None


@dataclass(frozen=True)
class PayloadSelectorInclude:
    """Nothing but what the paths lead to."""
    include: Sequence[str]


@dataclass(frozen=True)
class PayloadSelectorExclude:
    """All but what the paths lead to."""
    exclude: Sequence[str]


WithPayload = bool | Sequence[str] | PayloadSelectorInclude | PayloadSelectorExclude


@dataclass(frozen=True)
class NearestQuery:
    nearest: Vector | SparseVector | PointId


class RecommendStrategy(StrEnum):
    """BEST_SCORE, SUM_SCORES: every point that qualifies is compared with all examples."""
    AVERAGE_VECTOR = "average_vector"
    BEST_SCORE = "best_score"
    SUM_SCORES = "sum_scores"


@dataclass(frozen=True)
class RecommendInput:
    """Vectors, and ids of the tenant's own points."""
    positive: Sequence[Vector | PointId] | None = None
    negative: Sequence[Vector | PointId] | None = None
    strategy: RecommendStrategy | None = None


@dataclass(frozen=True)
class RecommendQuery:
    recommend: RecommendInput


@dataclass(frozen=True)
class ContextPair:
    positive: Vector | PointId
    negative: Vector | PointId


@dataclass(frozen=True)
class ContextQuery:
    """Points that are nearer to each pair's positive than to its negative."""
    context: Sequence[ContextPair] | ContextPair


@dataclass(frozen=True)
class DiscoverInput:
    target: Vector | PointId
    context: Sequence[ContextPair] | ContextPair | None = None


@dataclass(frozen=True)
class DiscoverQuery:
    """The same, and of those the nearest to the target."""
    discover: DiscoverInput


class Fusion(StrEnum):
    RRF = "rrf"
    DBSF = "dbsf"


@dataclass(frozen=True)
class FusionQuery:
    """One list of what was prefetched, by ranks (RRF) or by scores (DBSF)."""
    fusion: Fusion


@dataclass(frozen=True)
class Rrf:
    """A hit's score: the sum over prefetches of 1 / (rank / weight + k - 1). k: 2 when it is None."""
    k: int | None = None
    weights: Sequence[float] | None = None


@dataclass(frozen=True)
class RrfQuery:
    rrf: Rrf


@dataclass(frozen=True)
class Prefetch:
    """One of the searches that are fused. limit: 10 when it is None."""
    query: Vector | SparseVector | PointId | NearestQuery | RecommendQuery
    using: str | None = None
    filter: Filter | None = None
    params: SearchParams | None = None
    score_threshold: float | None = None
    limit: int | None = None


Query = Vector | SparseVector | PointId | NearestQuery | RecommendQuery | DiscoverQuery | ContextQuery | FusionQuery | RrfQuery


@dataclass(frozen=True)
class QueryRequest:
    """One of query_batch_points."""
    query: Query
    using: str | None = None
    prefetch: Sequence[Prefetch] | Prefetch | None = None
    filter: Filter | None = None
    params: SearchParams | None = None
    limit: int = 10
    offset: int = 0
    with_payload: WithPayload = False
    with_vector: bool = False
    score_threshold: float | None = None


class ScoredPoint(NamedTuple):
    """A hit. score: similarity, or distance under EUCLID. vector: a dict by name when it has sparse ones. owner: the tenant whose point it is."""
    id: PointId
    score: float
    payload: dict[str, Any] | None
    vector: Any
    owner: str


class Record(NamedTuple):
    """order_value: under order_by, what the point stands for in that order; times in microseconds since 1970."""
    id: PointId
    payload: dict[str, Any] | None
    vector: Any
    owner: str
    order_value: int | float | None = None


class Direction(StrEnum):
    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True)
class OrderBy:
    """By the numbers and times at the path key, from start_from on."""
    key: str
    direction: Direction | None = None
    start_from: int | float | datetime | date | str | None = None


class FacetValueHit(NamedTuple):
    value: bool | int | str
    count: int


class FacetResponse(NamedTuple):
    hits: list[FacetValueHit]


class QueryResponse(NamedTuple):
    points: list[ScoredPoint]


class PointGroup(NamedTuple):
    """id: what the payloads of its hits have in common."""
    hits: list[ScoredPoint]
    id: int | str


class GroupsResult(NamedTuple):
    groups: list[PointGroup]


class UpdateStatus(StrEnum):
    COMPLETED = "completed"


@dataclass(frozen=True)
class UpdateResult:
    """count: points that were changed."""
    count: int
    status: UpdateStatus = UpdateStatus.COMPLETED
    operation_id: int | None = None


@dataclass(frozen=True)
class CountResult:
    count: int


class CollectionDescription(NamedTuple):
    name: str


class CollectionsResponse(NamedTuple):
    collections: list[CollectionDescription]


class CollectionStatus(StrEnum):
    GREEN = "green"


class CollectionParams(NamedTuple):
    vectors: VectorParams
    sparse_vectors: dict[str, SparseVectorParams] | None = None


class CollectionConfig(NamedTuple):
    params: CollectionParams


@dataclass(frozen=True)
class CollectionInfo:
    """points_count: those that the tenant sees. payload_schema: its own payload indexes, by path."""
    name: str
    vectors: VectorParams
    points_count: int
    status: CollectionStatus = CollectionStatus.GREEN
    segments_count: int = 1
    payload_schema: dict[str, Any] = field(default_factory=dict)
    sparse_vectors: dict[str, SparseVectorParams] | None = None

    @property
    def indexed_vectors_count(self) -> int:
        return self.points_count

    @property
    def config(self) -> CollectionConfig:
        return CollectionConfig(CollectionParams(self.vectors, self.sparse_vectors))


@dataclass(frozen=True)
class PayloadIndexInfo:
    """points: own ones that have a value there."""
    data_type: PayloadSchemaType
    points: int


class PayloadSchemaType(StrEnum):
    KEYWORD = "keyword"
    INTEGER = "integer"
    FLOAT = "float"
    GEO = "geo"
    TEXT = "text"
    BOOL = "bool"
    DATETIME = "datetime"
    UUID = "uuid"


@dataclass(frozen=True)
class PointVectors:
    id: PointId
    vector: VectorStruct


@dataclass(frozen=True)
class PointsList:
    points: Sequence[PointStruct]


@dataclass(frozen=True)
class PointsBatch:
    batch: Batch


@dataclass(frozen=True)
class SetPayload:
    """points: ids; or a filter."""
    payload: dict[str, Any]
    points: Sequence[PointId] | None = None
    filter: Filter | None = None
    key: str | None = None


@dataclass(frozen=True)
class DeletePayload:
    keys: Sequence[str]
    points: Sequence[PointId] | None = None
    filter: Filter | None = None


@dataclass(frozen=True)
class UpdateVectors:
    points: Sequence[PointVectors]


@dataclass(frozen=True)
class UpsertOperation:
    upsert: PointsList | PointsBatch


@dataclass(frozen=True)
class DeleteOperation:
    delete: PointIdsList | FilterSelector


@dataclass(frozen=True)
class SetPayloadOperation:
    set_payload: SetPayload


@dataclass(frozen=True)
class OverwritePayloadOperation:
    overwrite_payload: SetPayload


@dataclass(frozen=True)
class DeletePayloadOperation:
    delete_payload: DeletePayload


@dataclass(frozen=True)
class ClearPayloadOperation:
    clear_payload: PointIdsList | FilterSelector


@dataclass(frozen=True)
class UpdateVectorsOperation:
    update_vectors: UpdateVectors
