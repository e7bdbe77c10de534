"""Modules import only what stands below them: nowhere a circle, not even one hidden in a function or for types."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import qmcbench

ROOT = Path(qmcbench.__file__).parent
MODULES = {
    ".".join(["qmcbench", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imported(name: str) -> set[str]:
    """Modules of the package that a module names in any import statement, wherever it stands."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import, which this test does not follow"
            found |= {f"{node.module}.{each.name}" for each in node.names} | {str(node.module)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    # Every module imports the packages it is in too; they may offer what it defines.
    return {each for each in found if each in MODULES and each != name and not name.startswith(f"{each}.")}


def test_imports_form_no_circle() -> None:
    """The modules have an order in which each imports only from those before it; a circle is named in the error."""
    assert len(MODULES) > 60
    order = list(TopologicalSorter({name: imported(name) for name in MODULES}).static_order())
    assert order.index("qmcbench.ansatz.layers") < order.index("qmcbench.ansatz.fast.fused")
    assert order.index("qmcbench.ansatz.fast.fused") < order.index("qmcbench.ansatz.cnn")
