"""The kinds of call that a soak makes, and how each may end."""

WEIGHTS = {"small": 50, "large": 8, "array": 7, "denied": 10, "expired": 10, "cancelled": 15}
EXPECTED = {
    "small": "OK",
    "large": "OK",
    "array": "OK",
    "denied": "PERMISSION_DENIED",  # by an access control in every chain that is ever in force
    "expired": "DEADLINE_EXCEEDED",
    "cancelled": "CANCELLED",
}
TOLERATED = "UNAVAILABLE"  # for each kind: its server was killed
