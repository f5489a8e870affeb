"""mRPC beside gRPC, gRPC behind Envoy sidecars, and a bare relay through shared memory: latency, rate, goodput, CPU, memory."""
