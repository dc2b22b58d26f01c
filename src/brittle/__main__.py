"""`python -m brittle` is the command line."""

from brittle.cli import main

main()
