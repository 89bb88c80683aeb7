"""`python -m runtime` is `esm`."""

from runtime.cli import main

main()
