"""Names in tables of our index's modes."""

OURS = "curator"
FIXED, EARLY, SCAN = f"{OURS}, fixed budget", f"{OURS}, early termination", f"{OURS}, exact scan"
HALF = f"{OURS}, float16"
STORED = "database"
