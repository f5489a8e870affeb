"""What qdrant_client has and this service has not, and what to do instead: told to who uses it, and printed in PORTING.md."""
from __future__ import annotations

from collections.abc import Iterable

ONE_VECTOR = "a point has one dense vector, whose name is '', and maybe sparse ones"
SHARDS = "one process serves a database: there are no shards and no replicas"
SNAPSHOTS = "the database takes snapshots by itself; export_tenant and import_tenant move a tenant's points"
ALIASES = "collections have one name"
TUNING = "leave it out: the index tunes itself to the collection's `recall`"
LOOKUP = "retrieve the vector, and search by it"
RETRIES = "leave it out: batches are sent one after the other; catch ResourceExhaustedResponse, wait retry_after_s, go on"
ORDER = "leave it out: writes are in one order, and every read sees those that were acknowledged"
MODELS = "compute vectors yourself"
CONDITIONAL = "write, or read first"

METHODS = {
    **dict.fromkeys(("cluster_collection_update", "cluster_status", "cluster_telemetry", "collection_cluster_info", "create_shard_key",
                     "delete_shard_key", "list_shard_keys", "recover_current_peer", "remove_peer"), SHARDS),
    **dict.fromkeys(("create_snapshot", "delete_snapshot", "list_snapshots", "recover_snapshot", "create_full_snapshot", "delete_full_snapshot",
                     "list_full_snapshots", "create_shard_snapshot", "delete_shard_snapshot", "list_shard_snapshots", "recover_shard_snapshot",
                     "migrate"), SNAPSHOTS),
    **dict.fromkeys(("get_aliases", "get_collection_aliases", "update_collection_aliases"), ALIASES),
    **dict.fromkeys(("create_vector_name", "delete_vector_name", "delete_vectors"), f"{ONE_VECTOR}; delete the point"),
    **dict.fromkeys(("get_embedding_size", "list_image_models", "list_late_interaction_multimodal_models",
                     "list_late_interaction_text_models", "list_sparse_models", "list_text_models"), MODELS),
    **dict.fromkeys(("search_matrix_offsets", "search_matrix_pairs"), "search_columns has the neighbours of many points in one call"),
    "update_collection": "a collection's settings do not change: make another, and upload into it",
    "get_optimizations": "there is nothing to optimise",
    "info": "the service answers a health check",
}
"""By method."""

ARGUMENTS = {
    **dict.fromkeys(("consistency", "ordering"), ORDER),
    **dict.fromkeys(("shard_key_selector", "shard_key", "shard_number", "sharding_method", "replication_factor", "write_consistency_factor"), SHARDS),
    **dict.fromkeys(("hnsw_config", "optimizers_config", "wal_config", "quantization_config", "on_disk_payload", "strict_mode_config",
                     "id_tracker", "hnsw_ef", "quantization", "indexed_only", "acorn", "idf"), TUNING),
    **dict.fromkeys(("parallel", "method", "max_retries"), RETRIES),
    **dict.fromkeys(("update_filter", "update_mode"), CONDITIONAL),
    "lookup_from": LOOKUP,
    **dict.fromkeys(("metadata", "payload"), "keep it in a point's payload"),
    **dict.fromkeys(("host", "port", "grpc_port", "prefer_grpc", "https", "prefix", "grpc_options", "pool_size", "headers",
                     "check_compatibility"), "leave it out: the mesh finds the service"),
    **dict.fromkeys(("api_key", "auth_token_provider"), "the mesh knows who calls: see `mrpc app register`"),
    **dict.fromkeys(("cloud_inference", "local_inference_batch_size"), MODELS),
    "force_disable_check_same_thread": "leave it out",
    "field_type": "its name is field_schema",
    "prefetch": "query_points takes it: group what came",
    "with_lookup": "retrieve the points whose ids the groups are",
}
"""By argument."""


def missing_method(client: str, name: str) -> str:
    """The text of an AttributeError."""
    return f"{client} has no {name!r}" + (f": {METHODS[name]}" if name in METHODS else "")


def unknown_argument(method: str, names: Iterable[str]) -> str:
    """The text of a TypeError."""
    return "; ".join(f"{method}() takes no {name!r}" + (f": {ARGUMENTS[name]}" if name in ARGUMENTS else "") for name in sorted(names))
