"""A TOML file says what could be typed, and the same checks meet it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from brittle.cli.audit import audit
from brittle.cli.config import read_config
from brittle.errors import UsageError


@pytest.fixture
def ctx() -> typer.Context:
    app = typer.Typer()
    app.command()(audit)
    return typer.Context(typer.main.get_command(app))


def read(ctx: typer.Context, folder: Path, text: str) -> dict[str, Any]:
    (folder / "c.toml").write_text(text)
    assert read_config(ctx, folder / "c.toml") == folder / "c.toml"
    return dict(ctx.default_map or {})


def test_values_arrive_as_typed_whatever_their_toml_type(ctx: typer.Context, tmp_path: Path) -> None:
    text = (
        'samples = 500\nbatch-size = 7\nmax_drop = 1.5\ndata = "digits"\nepsilon = [0.05, "l2:0.5"]\nweights = "a.pt"\n'
    )
    expected = {"samples": "500", "batch_size": "7", "max_drop": "1.5", "data": "digits"}
    assert read(ctx, tmp_path, text) == {**expected, "epsilon": ["0.05", "l2:0.5"], "weights": ["a.pt"]}


def test_one_radius_needs_no_list(ctx: typer.Context, tmp_path: Path) -> None:
    assert read(ctx, tmp_path, "epsilon = 0.05")["epsilon"] == ["0.05"]


def test_no_file_changes_nothing(ctx: typer.Context) -> None:
    assert read_config(ctx, None) is None
    assert ctx.default_map is None


@pytest.mark.parametrize(
    "text", ["models = ['a']", "config = 'x'", "help = 1", "ctx = 1", "[audit]\nsamples = 5"],
)  # fmt: skip
def test_what_is_typed_in_place_is_no_option_of_a_file(ctx: typer.Context, tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"unknown option '\w+': expected one of .*batch-size"):
        read(ctx, tmp_path, text)


@pytest.mark.parametrize("value", ["true", "[1, 2]", "{ a = 1 }", "2026-01-01", "[[1]]"])
def test_values_that_no_option_takes_are_refused(ctx: typer.Context, tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="option 'samples' takes one text or number, got"):
        read(ctx, tmp_path, f"samples = {value}")


def test_the_command_line_wins(tmp_path: Path) -> None:
    app = typer.Typer()
    seen: list[tuple[int, list[str] | None]] = []

    @app.command()
    def command(
        samples: int = 1,
        epsilon: list[str] | None = None,
        config: Path | None = typer.Option(None, callback=read_config, is_eager=True),
    ) -> None:
        seen.append((samples, epsilon))

    (tmp_path / "c.toml").write_text("samples = 5\nepsilon = [0.1, 0.2]")
    for arguments in ([], ["--samples", "9"], ["--epsilon", "0.7"]):
        result = CliRunner().invoke(app, [*arguments, "--config", str(tmp_path / "c.toml")])
        assert result.exit_code == 0, result.output
    assert seen == [(5, ["0.1", "0.2"]), (9, ["0.1", "0.2"]), (5, ["0.7"])]
