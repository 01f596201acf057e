"""The documentation as a whole: links resolve, nothing that exists is left out, generated pages have not drifted.

python -m pytest tests/docs/test_pages.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from tests.conftest import child_environment
from tests.docs.markdown import LANGUAGES, PAGES, ROOT, RUN, anchors, fences, links, prose

from septet.cli.main import COMMANDS, STEPS
from septet.core import registry
from septet.core.recipe import Recipe

GUIDES = ROOT / "docs" / "guides"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path):
    for line, target in links(page):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        there = page if not path else (page.parent / path).resolve()
        assert there.exists(), f"{name(page)}:{line}: {target} does not exist"
        assert there.is_relative_to(ROOT), f"{name(page)}:{line}: {target} leads out of the project"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{name(page)}:{line}: {there.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page: Path):
    for fence in fences(page):
        assert fence.language in LANGUAGES, f"{fence.place}: '{fence.info}' is none of {', '.join(sorted(LANGUAGES))}"
        if fence.note:
            kind, mark, reason = fence.note.partition(":")
            known = mark and kind in ("not-run", "file") and reason.strip()
            assert known, f"{fence.place}: after the language comes nothing, 'not-run: reason' or 'file: path'"
        if fence.language == "yaml":
            yaml.safe_load(fence.content)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_speak_of_no_particular_machine(page: Path):
    found = re.findall(r"/(?:home|Users|root|mnt)/\w+", page.read_text(encoding="utf-8"))
    assert not found, f"{name(page)} names {found}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_begin_with_one_title(page: Path):
    titles = [line for line in prose(page).split("\n") if line.startswith("# ")]
    assert len(titles) == 1, f"{name(page)}: {titles}"
    assert prose(page).lstrip().startswith("# ")


def test_every_page_is_reachable_from_the_readme():
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for _, target in links(page):
            path = (page.parent / target.partition("#")[0]).resolve()
            if path.suffix == ".md" and path.exists() and path != page:
                todo.append(path)
    assert sorted(map(name, set(PAGES) - seen)) == []


def test_the_readme_names_every_command_and_every_step():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in [*registry.names(COMMANDS), *registry.names(STEPS)]:
        assert re.search(rf"\b{command}\b", text), f"README.md does not name '{command}'"


def test_every_step_has_a_guide_that_uses_it():
    texts = {page.name: page.read_text(encoding="utf-8") for page in GUIDES.glob("*.md")}
    written = {key: text for key, text in texts.items() if key not in ("commands.md", "kinds.md")}
    for step in registry.names(STEPS):
        assert any(re.search(rf"\b{step}\b", text) for text in written.values()), f"no guide speaks of '{step}'"


def test_generated_pages_have_not_drifted(tmp_path: Path):
    command = [sys.executable, str(ROOT / "docs" / "build.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(tmp_path), timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_benchmark_page_has_not_drifted(tmp_path: Path):
    command = [sys.executable, str(ROOT / "bench" / "report.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(tmp_path), timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=lambda path: path.name)
def test_pictures_are_whole_and_have_words_for_those_who_cannot_see_them(picture: Path):
    space = "{http://www.w3.org/2000/svg}"
    root = ET.parse(picture).getroot()
    assert root.tag == f"{space}svg"
    assert root.get("role") == "img"
    for part in ("title", "desc"):
        found = root.find(f"{space}{part}")
        assert found is not None, f"{picture.name} has no <{part}>"
        assert (found.text or "").strip()


def test_pictures_in_pages_have_alternative_texts():
    for page in PAGES:
        for found in re.finditer(r"!\[([^\]]*)\]\(", prose(page)):
            assert len(found.group(1)) > 20, (
                f"{name(page)}: a picture's text says what it shows; got '{found.group(1)}'"
            )


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_recipes_are_valid_and_the_docs_speak_of_them(recipe: Path):
    if "${SEPTET_DATA}" not in recipe.read_text(encoding="utf-8") or os.environ.get("SEPTET_DATA"):
        assert Recipe.load(recipe).name == recipe.stem
    assert any(recipe.name in page.read_text(encoding="utf-8") for page in PAGES)


def test_the_pages_that_are_run_are_those_that_people_follow():
    assert ROOT / "README.md" in RUN
    assert ROOT / "CONTRIBUTING.md" in RUN
    assert len(RUN) > 3


def test_dependencies_each_have_a_line():
    text = (ROOT / "docs" / "design" / "dependencies.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'^\s+"([a-zA-Z0-9-]+)(?:[<>=~]=|==)', project, re.MULTILINE)
    assert len(listed) > 15
    for package in listed:
        assert f"`{package}`" in text, f"docs/design/dependencies.md has no line for '{package}'"


def test_hooks_use_the_tools_of_the_project_and_nothing_from_elsewhere():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    for hook in hooks["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/"), hook["id"]
