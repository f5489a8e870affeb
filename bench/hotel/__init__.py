"""The hotel reservation over mRPC, gRPC, and gRPC behind Envoy sidecars: capacity, latency, and where the CPU time goes."""
