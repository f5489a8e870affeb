"""`mrpc load`: constant-rate load on HTTP, gRPC and mRPC targets. The native program mrpc-load sends and counts; this package
prepares its requests and reports what it counted."""
