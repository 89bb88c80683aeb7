"""How long to wait after a failure: doubling, capped, with jitter."""


def backoff(failures: int, *, base: float, cap: float, jitter: float) -> float:
    """Seconds to wait after `failures` (1, 2, ...) in a row. `jitter` in [0, 1) spreads the wait over its upper half."""
    ceiling = min(cap, base * 2.0 ** min(failures - 1, 30))
    return ceiling * (0.5 + jitter / 2)
