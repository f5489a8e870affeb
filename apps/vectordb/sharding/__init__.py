"""A vector database of several processes: a router that offers the service, and shards that hold the points.

    client -> router -> shard a: replica a0, replica a1
                     -> shard b: replica b0, replica b1

What a tenant owns lies on one shard, its home (ledger.py). A shard is a group of replicas that hold the same (group.py); the router
brings their writes in one order, so that there is one router at a time (gate.py). docs/decisions/022 says why.
"""
