"""The rules, pure: no await, clock, randomness, I/O or logging. Time and jitter are arguments."""
