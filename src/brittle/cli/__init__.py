"""The command line: parse, call, render, exit code; nothing else. Torch is imported inside commands only."""

from brittle.cli.app import main

__all__ = ["main"]
