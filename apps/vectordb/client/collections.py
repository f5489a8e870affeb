"""Collections, by qdrant_client's names."""
from __future__ import annotations

from .connection import Connection
from .models import CollectionDescription, CollectionInfo, CollectionsResponse, Datatype, Distance, VectorParams

_NOT_FOUND = "NOT_FOUND"


class CollectionsMixin(Connection):
    def create_collection(self, collection_name: str, vectors_config: VectorParams, recall: float = 0.0) -> bool:
        """For administrators. recall: what searches aim at, the service's default when 0."""
        config = self._pb.CollectionConfig(
            collection=collection_name, dim=vectors_config.size, recall=recall,
            metric=getattr(self._pb, Distance(vectors_config.distance).name),
            dtype=getattr(self._pb, Datatype(vectors_config.datatype or "float32").name))
        self._call(self._collections.Create, config)
        return True

    def delete_collection(self, collection_name: str) -> bool:
        """For administrators. False when there is none."""
        try:
            self._call(self._collections.Drop, self._pb.CollectionName(collection=collection_name))
        except self._transport.rpc.RpcError as error:
            if error.code().name == _NOT_FOUND:
                return False
            raise
        return True

    def collection_exists(self, collection_name: str) -> bool:
        return any(each.name == collection_name for each in self.get_collections().collections)

    def get_collections(self) -> CollectionsResponse:
        reply = self._call(self._collections.List, self._pb.Empty())
        return CollectionsResponse([CollectionDescription(each.collection) for each in reply.collections])

    def get_collection(self, collection_name: str) -> CollectionInfo:
        found = self._call(self._collections.Describe, self._pb.CollectionName(collection=collection_name))
        visible = self._call(self._points.Count, self._pb.CountRequest(collection=collection_name)).count
        params = VectorParams(found.dim, Distance[self._pb.Metric.Name(found.metric)], Datatype[self._pb.DType.Name(found.dtype)])
        return CollectionInfo(found.collection, params, visible)
