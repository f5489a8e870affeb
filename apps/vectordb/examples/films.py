"""A program for qdrant_client that runs here: with `from qdrant_client import QdrantClient, models` it prints the same.

    python -m apps.vectordb.examples.films
"""
from apps.vectordb.client import QdrantClient, models

FILMS = [
    ("Alien", 1979, ["horror", "space"], (2.35, 48.86), [{"of": "image", "won": 1}], [0.9, 0.1, 0.0]),
    ("Solaris", 1972, ["space"], (37.62, 55.76), [], [0.8, 0.3, 0.1]),
    ("Amélie", 2001, ["comedy"], (2.34, 48.89), [{"of": "film", "won": 4}, {"of": "sound", "won": 0}], [0.0, 0.2, 0.9]),
    ("Heat", 1995, ["crime"], (-118.24, 34.05), [], [0.1, 0.9, 0.2]),
]

client = QdrantClient(":memory:")
client.create_collection("films", vectors_config=models.VectorParams(size=3, distance=models.Distance.COSINE))
client.create_payload_index("films", field_name="year", field_schema=models.PayloadSchemaType.INTEGER)
client.upload_points("films", [
    models.PointStruct(id=number, vector=vector, payload={
        "title": title, "shown": f"{year}-05-25T20:00:00Z", "genres": genres, "at": {"lon": lon, "lat": lat}, "prizes": prizes})
    for number, (title, year, genres, (lon, lat), prizes, vector) in enumerate(FILMS)], batch_size=2)


def show(what: str, wanted: models.Filter | None = None, **how: object) -> None:
    found = client.query_points("films", query=how.pop("query", [1.0, 0.2, 0.0]), query_filter=wanted, **how).points
    print(f"{what}:", ", ".join(f"{hit.payload['title']} {hit.score:.2f}" for hit in found))


def field(key: str, **test: object) -> models.FieldCondition:
    return models.FieldCondition(key=key, **test)


paris = models.GeoRadius(center=models.GeoPoint(lon=2.35, lat=48.86), radius=10_000)
won = models.Filter(must=[field("of", match=models.MatchValue(value="film")), field("won", range=models.Range(gt=0))])
show("nearest", limit=2)
show("like Alien", query=0, limit=2)
show("space", models.Filter(must=[field("genres", match=models.MatchAny(any=["space"]))]))
show("in Paris", models.Filter(must=[field("at", geo_radius=paris)]))
show("since 1990", models.Filter(must=[field("shown", range=models.DatetimeRange(gte="1990-01-01T00:00:00Z"))]))
show("won for a film", models.Filter(must=[models.NestedCondition(nested=models.Nested(key="prizes", filter=won))]))
client.set_payload("films", payload={"seen": True}, points=models.Filter(must=[field("genres", values_count=models.ValuesCount(gt=1))]))
client.delete("films", points_selector=models.FilterSelector(filter=models.Filter(must_not=[field("prizes", is_empty=False)])))
for record in client.retrieve("films", ids=[0, 1, 2], with_payload=["title", "seen"]):
    print(record.id, record.payload)
print(client.count("films", exact=True).count, "left of", len(FILMS))
client.close()
