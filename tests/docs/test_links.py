"""Links lead somewhere, the README shows what it must, and nothing ties the pages to one machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links, name

_IMAGE_LIMIT = 400_000


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_internal_links(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{name(page)}: no file {link}"
        assert ROOT in target.parents, f"{name(page)}: {link} leaves the repository"
        if anchor:
            assert anchor in anchors(target), f"{name(page)}: no heading #{anchor} in {name(target)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_machine_paths(page: Path) -> None:
    found = re.findall(r"/(?:work|tmp|home|root|Users)/\S+|\.\./shared\S*", page.read_text(encoding="utf-8"))
    assert not found, f"{name(page)} names {found}"


def test_readme_has_the_two_commands_and_a_picture() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\nmake demo\n" in text
    assert "\nmake test\n" in text
    images = re.findall(r"!\[.+?\]\((.+?)\)", text)
    assert images
    for image in images:
        assert (ROOT / image).stat().st_size < _IMAGE_LIMIT


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in ROOT.glob("docs/**/*.md"):
        assert f": {page.relative_to(ROOT / 'docs').as_posix()}\n" in navigation + "\n", (
            f"{name(page)} is not in mkdocs.yml"
        )


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("mkdocs") is None or find_spec("mkdocstrings") is None or find_spec("material") is None,
    reason="needs the docs extra: pip install -e '.[docs]'",
)
def test_strict_build_is_offline(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").glob("**/*.html"))
    assert len(pages) > 10
    for page in pages:
        loaded = re.findall(r'<(?:script|img)[^>]+src="(https?:[^"]+)', page.read_text(encoding="utf-8"))
        loaded += re.findall(
            r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(https?:[^"]+)', page.read_text(encoding="utf-8")
        )
        assert not loaded, f"{page.name} loads {loaded}"
    shutil.rmtree(tmp_path / "site")
