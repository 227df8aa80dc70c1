"""Conventions that can be checked, checked."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from engine.kit.settings import REPOSITORY

CODE = [
    p for part in ("engine", "apps", "studio", "arena", "tests") for p in (REPOSITORY / part).rglob("*.py")
]
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_rooms_are_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or node.lineno) - node.lineno <= LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("face", ["apps.gateway.app", "apps.web", "studio.app", "apps.market", "arena.app"])
def test_importing_a_face_does_not_import_torch(face: str) -> None:
    code = f"import sys, {face}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_every_dependency_is_pinned_and_explained() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pins = (REPOSITORY / "requirements" / "constraints.txt").read_text().lower().replace("_", "-")
    reasons = (REPOSITORY / "docs" / "decisions" / "0008-dependencies.md").read_text().lower()
    for requirement in sum(project["optional-dependencies"].values(), project["dependencies"]):
        name = requirement.split("[")[0].lower()
        assert f"\n{name}==" in pins, f"{name} is not pinned"
        assert name in reasons, f"{name} is not explained"


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_what_the_readme_names_exists(readme: str) -> None:
    """Commands of make and mbe, and every local link and picture."""
    text = (REPOSITORY / readme).read_text("utf-8")
    makefile = (REPOSITORY / "Makefile").read_text()
    for line in text.splitlines():
        if line.startswith("make "):
            assert f"\n{line.split()[1]}:" in makefile, line
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    for link in (one for one in links if "://" not in one):
        assert (REPOSITORY / link).exists(), link
