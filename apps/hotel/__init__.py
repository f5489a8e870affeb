"""DeathStarBench's hotel reservation: eight processes, over mRPC or gRPC by one switch (see rpc.py and README.md)."""
