"""What benchmarks share: environment, processes and their CPU time, peers (Envoy), network namespaces, rows, claims, plots."""
