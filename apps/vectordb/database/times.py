"""Points in time: RFC 3339, and what Qdrant reads besides: a space for the T, no seconds, a date alone, no offset (then UTC)."""
from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(r"""\s*(\d{4}-\d\d-\d\d)                          # a date
                       (?:[T ](\d\d:\d\d(?:(:\d\d)(?:\.(\d+))?       # a time
                       (?:\ ?(Z|z|UTC|[+-]\d\d(?::?\d\d)?))?)?))?    # its offset, only behind seconds
                    """, re.ASCII | re.VERBOSE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse(text: str) -> int | None:
    """Microseconds since 1970 in UTC, rounded down; None for what is no time."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    date, clock, seconds, fraction, zone = found.groups()
    offset = "+00:00" if zone in (None, "Z", "z", "UTC") else zone
    try:
        whole = datetime.fromisoformat(f"{date}T{clock[:5] if clock else '00:00'}{seconds or ':00'}{offset}")
    except ValueError:  # a thirteenth month
        return None
    return (whole - _EPOCH) // _MICROSECOND + int((fraction or "")[:6].ljust(6, "0"))
