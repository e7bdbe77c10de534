"""What is declared is what is tested: floors of the dependencies, versions, packages and their data."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_PINNED = {"torch"}
"""Dependencies whose floor CI does not install; .ci/floors.txt says why."""


def floors(requirements: list[str]) -> dict[str, tuple[int, ...]]:
    """Lowest version of each requirement that states one."""
    found = (re.match(r"([\w-]+)>=([\d.]+)", requirement) for requirement in requirements)
    return {each[1]: tuple(map(int, each[2].split("."))) for each in found if each}


def test_floors_are_what_ci_installs() -> None:
    """Each runtime dependency is pinned at its floor, and pytest at its own."""
    text = (ROOT / ".ci" / "floors.txt").read_text()
    pinned = {
        name: tuple(map(int, version.split("."))) for name, version in re.findall(r"^([\w-]+)==(.+)$", text, re.M)
    }
    declared = floors(PROJECT["project"]["dependencies"])
    assert set(declared) - NOT_PINNED <= set(pinned)
    declared |= floors(PROJECT["project"]["optional-dependencies"]["test"])
    for name in set(declared) & set(pinned):
        length = len(declared[name])
        assert pinned[name][:length] == declared[name], name
        assert not any(pinned[name][length:]), name
    assert "-c .ci/floors.txt" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_one_version_everywhere() -> None:
    """The package, its citation and its changelog agree, and the changelog's is dated."""
    version = PROJECT["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text()
    dated = re.search(rf"^## {re.escape(version)} - (\d{{4}}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert dated
    assert f"version: {version}\n" in citation
    assert f"date-released: {dated[1]}\n" in citation


def test_every_package_is_installed_with_its_data() -> None:
    """A folder of modules that pyproject.toml forgets is missing from the wheel alone, where no other test looks."""
    setuptools = PROJECT["tool"]["setuptools"]
    here = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("qmcbench/**/__init__.py")}
    assert set(setuptools["packages"]) == here | {"qmcbench.reference"}
    patterns = setuptools["package-data"]
    for name, folder in (("qmcbench", ROOT / "qmcbench"), ("qmcbench.reference", ROOT / "reference")):
        files = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        covered = {path for pattern in patterns[name] for path in folder.glob(pattern)}
        assert not files - covered, files - covered
