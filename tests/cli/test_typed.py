"""What the user typed, before the parser sees it and for the record."""

from __future__ import annotations

import shlex

import click
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from brittle.cli.typed import spread_numbers, typed_command


@pytest.mark.parametrize(
    ("typed", "spread"),
    [
        ("--epsilon 0.05 0.1", "--epsilon 0.05 --epsilon 0.1"),
        ("--epsilon=0.05 0.1 --k 1", "--epsilon=0.05 --epsilon 0.1 --k 1"),
        ("--epsilon 8/255 l2:0.5 net.safetensors", "--epsilon 8/255 --epsilon l2:0.5 net.safetensors"),
        ("--epsilon linf:0.05,l2:0.5 l2:1,2", "--epsilon linf:0.05,l2:0.5 --epsilon l2:1,2"),
        ("--epsilon -1 2", "--epsilon -1 --epsilon 2"),
        ("--epsilon 1 zoo:mlp 2", "--epsilon 1 zoo:mlp 2"),
        ("--samples 5 6 --epsilons 1 2", "--samples 5 6 --epsilons 1 2"),
        ("--epsilon small", "--epsilon small"),
        ("audit --epsilon", "audit --epsilon"),
        ("", ""),
    ],
)
def test_one_flag_takes_several_radii_and_nothing_else(typed: str, spread: str) -> None:
    assert spread_numbers(typed.split()) == spread.split()


@given(st.lists(st.text(max_size=8), max_size=6))
def test_without_the_flag_nothing_changes(arguments: list[str]) -> None:
    if not any(argument.partition("=")[0] == "--epsilon" for argument in arguments):
        assert spread_numbers(arguments) == arguments


def test_the_command_can_be_pasted_into_a_shell() -> None:
    typed = ("audit", "zoo:mlp?width=3&depth=1", "--data", "npz:my file.npz")
    child = typer.Context(click.Command("audit"), parent=typer.Context(click.Command("brittle"), obj=typed))
    assert shlex.split(typed_command(child)) == ["brittle", *typed]
    assert typed_command(typer.Context(click.Command("brittle"))) == "brittle"
