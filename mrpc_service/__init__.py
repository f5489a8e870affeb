"""mrpcd, the mRPC daemon: the control plane around the native data plane, and the operators' CLI."""

__version__ = "0.1.0"
