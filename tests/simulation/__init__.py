"""Stream mappings under virtual time: everything that can go wrong, drawn from a seed, and a judge who trusts nobody.

`scenario` draws what shall happen, `world` makes it happen to the real runner and writes a `journal`, `checker` reads the journal.
`python -m tests.simulation SEED --journal` shows one seed.
"""
