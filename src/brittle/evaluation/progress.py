"""What long work tells its caller. Free of torch."""

from __future__ import annotations

from collections.abc import Callable

# (stage, done, total); a total of 0 marks a remark without a bar.
Progress = Callable[[str, int, int], None]
