"""Collections, by qdrant_client's names."""
from __future__ import annotations

from typing import Any

from . import hybrid
from .advice import ONE_VECTOR
from .connection import Base
from .exceptions import ApiException
from .models import (
    CollectionDescription,
    CollectionInfo,
    CollectionsResponse,
    Datatype,
    Distance,
    PayloadIndexInfo,
    PayloadSchemaType,
    SparseVectorParams,
    UpdateResult,
    VectorParams,
)
from .operations import operation


class CollectionsMixin(Base):
    @operation
    async def create_collection(self, collection_name: str, vectors_config: VectorParams,
                                sparse_vectors_config: dict[str, SparseVectorParams] | None = None, recall: float = 0.0, *,
                                timeout: float | None = None) -> bool:
        """For administrators. recall: what searches aim at, the service's default when 0."""
        await self._create(collection_name, vectors_config, sparse_vectors_config, recall)
        return True

    @operation
    async def delete_collection(self, collection_name: str, *, timeout: float | None = None) -> bool:
        """For administrators. False when there is none."""
        return await self._drop(collection_name)

    @operation
    async def recreate_collection(self, collection_name: str, vectors_config: VectorParams,
                                  sparse_vectors_config: dict[str, SparseVectorParams] | None = None, recall: float = 0.0, *,
                                  timeout: float | None = None) -> bool:
        """Deletes it, if it is there, and creates it."""
        await self._drop(collection_name)
        await self._create(collection_name, vectors_config, sparse_vectors_config, recall)
        return True

    @operation
    async def collection_exists(self, collection_name: str) -> bool:
        return collection_name in await self._names()

    @operation
    async def get_collections(self) -> CollectionsResponse:
        return CollectionsResponse(list(map(CollectionDescription, await self._names())))

    @operation
    async def get_collection(self, collection_name: str) -> CollectionInfo:
        found = await self._describe(collection_name)
        visible = (await self._call(self._points.Count, self._pb.CountRequest(collection=collection_name))).count
        params = VectorParams(found.dim, Distance[self._pb.Metric.Name(found.metric)], Datatype[self._pb.DType.Name(found.dtype)])
        schema = await self._schema(collection_name)
        return CollectionInfo(found.collection, params, visible, payload_schema=schema, sparse_vectors=hybrid.described(found))

    async def _schema(self, collection: str) -> dict[str, PayloadIndexInfo]:
        found = await self._call(self._points.ListIndexes, self._pb.CollectionName(collection=collection))
        return {each.key: PayloadIndexInfo(PayloadSchemaType(each.schema), points)
                for each, points in zip(found.indexes, found.points, strict=True)}

    @operation
    async def create_payload_index(self, collection_name: str, field_name: str, field_schema: Any = None, wait: bool = True, *,
                                   timeout: float | None = None) -> UpdateResult:
        """Reads the values at a path of the tenant's own points now, and together with those of its other indexes after a restart, so that no
        filter, facet or order has to wait for it. field_schema: a PayloadSchemaType, or the parameters of one, of which nothing else is heeded."""
        schema = getattr(field_schema, "type", field_schema) or "keyword"
        request = self._pb.IndexRequest(collection=collection_name, key=field_name, schema=str(getattr(schema, "value", schema)))
        await self._call(self._points.CreateIndex, request)
        return UpdateResult(0)

    @operation
    async def delete_payload_index(self, collection_name: str, field_name: str, wait: bool = True, *,
                                   timeout: float | None = None) -> UpdateResult:
        """Filters find the same without."""
        await self._call(self._points.DropIndex, self._pb.IndexRequest(collection=collection_name, key=field_name))
        return UpdateResult(0)

    async def _create(self, name: str, vectors: VectorParams, sparse: dict[str, SparseVectorParams] | None, recall: float) -> None:
        if not hasattr(vectors, "size"):
            raise TypeError(f"vectors_config is one VectorParams: {ONE_VECTOR}")
        config = self._pb.CollectionConfig(collection=name, dim=vectors.size, recall=recall,
                                           metric=getattr(self._pb, Distance(vectors.distance).name),
                                           dtype=getattr(self._pb, Datatype(vectors.datatype or "float32").name),
                                           sparse=hybrid.params(self._pb, sparse))
        await self._call(self._collections.Create, config)

    async def _drop(self, name: str) -> bool:
        try:
            await self._call(self._collections.Drop, self._pb.CollectionName(collection=name))
        except ApiException as error:
            if error.code().name == "NOT_FOUND":
                return False
            raise
        return True

    async def _describe(self, name: str) -> Any:
        return await self._call(self._collections.Describe, self._pb.CollectionName(collection=name))

    async def _names(self) -> list[str]:
        reply = await self._call(self._collections.List, self._pb.Empty())
        return [each.collection for each in reply.collections]
