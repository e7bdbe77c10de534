"""The house in order: imports form no circle and lead downward, modules and functions stay small."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the bottom up: a module imports from its own line and those above it. An entry is a module or a package of
# qmcbench (or a module of one, which then goes before its package); the longest that fits counts. `reference` has its
# own layers below the engine's.
LAYERS = (
    ("__init__", "errors", "files", "structure", "shipped", "progress", "cores", "provenance", "rng", "statistics"),
    ("reference",),
    ("ranks.launch", "ranks.witness"),
    ("group", "lattice", "hamiltonian"),
    ("recipe", "config", "ranks"),
    ("ansatz", "kernels"),
    ("sampler", "local_energy", "local_powers", "observables", "sr"),
    ("store.records", "gates.check", "store"),
    (
        "memory",
        "tensors",
        "log",
        "leaps",
        "soundness",
        "checkpoint",
        "pickles",
        "npz",
        "evaluator",
        "mixing",
        "vmc",
        "snapshots",
        "starts",
        "hours",
    ),
    ("training", "weights", "lanczos"),
    ("estimates", "stopping", "evaluation_state", "evaluation", "sector", "exact", "infidelity"),
    ("gates",),
    ("bench", "scaling"),
    ("paper", "export"),
    ("report",),
    ("jobs",),
    ("guide",),
    ("cli", "__main__"),
)
MODULE_LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 6
LONG_FUNCTIONS = {
    "reference.bit_basis.symmetric_basis": "QuSpin takes compiled callbacks, which are closures over the cluster",
}
"""Functions over 60 lines, by module and name, each with the reason."""
MANY_PARAMETERS = {
    "gates.cases.parametrize_with_gates": "a decorator's options are what a user writes: those of the command",
    "cli.*": "each option of a command is a parameter: that is how typer reads them",
    "local_energy.amplitude_ratios": "psi, spins, log_psi, phase are what is known of a batch; the rest, where to",
    "observables.local_estimators": "psi, spins, log_psi, phase are what is known of a batch; the rest, what to do",
}
"""Functions of more than six parameters, by module and name (or all of a package), each with the reason."""


@cache
def modules() -> dict[str, ast.Module]:
    """Syntax tree of every module of the package, by its dotted name without ``qmcbench.``."""
    found = {}
    for folder, prefix in ((ROOT / "qmcbench", ""), (ROOT / "reference", "reference.")):
        for path in sorted(folder.rglob("*.py")):
            name = prefix + ".".join(path.relative_to(folder).with_suffix("").parts)
            found[name.removesuffix(".__init__") if name != "__init__" else name] = ast.parse(path.read_text())
    return found


def imports(tree: ast.Module, *, at_import: bool = False, typing: bool = False) -> Iterator[tuple[str, int]]:
    """Modules of the package that a module imports, and the line.

    ``at_import``: only those that importing it needs. ``typing``: also those that stand under ``if TYPE_CHECKING``.
    """
    nodes: list[ast.AST] = list(tree.body)
    while nodes:
        node = nodes.pop()
        if not typing and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
            continue
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "", alias.name) for alias in node.names]
        else:
            nodes += ast.iter_child_nodes(node)
            continue
        for module, name in names:
            if module == "qmcbench" or module.startswith("qmcbench."):
                inner = f"{module}.{name}".removeprefix("qmcbench.").rstrip(".")
                whole = module.removeprefix("qmcbench").lstrip(".") or "__init__"
                yield (inner if inner in modules() else whole), node.lineno


def layer(module: str) -> int:
    """Number of a module's layer, from the bottom."""
    for length in range(module.count(".") + 1, 0, -1):
        entry = ".".join(module.split(".")[:length])
        for number, entries in enumerate(LAYERS):
            if entry in entries:
                return number
    raise AssertionError(f"{module} stands in no layer; add it to LAYERS")


def test_imports_form_no_circle() -> None:
    """The modules have an order in which each imports only from those before it, in functions and for types too."""
    needs = {
        # Every module imports the packages that it is in; they may offer what it defines.
        name: {target for target, _ in imports(tree, typing=True) if not f"{name}.".startswith(f"{target}.")}
        for name, tree in modules().items()
        if name != "__init__"
    }
    assert len(needs) > 60
    order = list(TopologicalSorter({name: targets - {"__init__"} for name, targets in needs.items()}).static_order())
    assert order.index("ansatz.layers") < order.index("ansatz.fast.fused") < order.index("ansatz.cnn")


def test_imports_lead_downward() -> None:
    """A module imports only from its own layer and those below it, inside functions too."""
    upward = [
        f"{name}:{line} imports {target}"
        for name, tree in modules().items()
        if name != "__init__"  # which offers names of every layer, lazily
        for target, line in imports(tree)
        if layer(target) > layer(name)
    ]
    assert not upward, "\n".join(upward)


def test_the_reference_layer_imports_nothing_of_the_engine() -> None:
    """No bug can hide in both what is tested and what it is tested against."""
    foreign = [
        f"{name}:{line} imports {target}"
        for name, tree in modules().items()
        if name.split(".")[0] == "reference"
        for target, line in imports(tree)
        if target.split(".")[0] not in ("reference", "__init__")
    ]
    assert not foreign, "\n".join(foreign)


def test_the_report_imports_no_torch() -> None:
    """Records, claims and reports can be read on a machine without torch."""
    heads = (
        "report.",
        "store.",
        "gates.check",
        "gates.energies",
        "bench.claims",
        "scaling.claims",
        "paper.",
        "cli.",
        "guide",
    )
    ways = {name: name for name in modules() if name.startswith(heads) and name != "gates.checks"}
    waiting = list(ways)
    while waiting:
        name = waiting.pop()
        for target, _ in imports(modules()[name], at_import=True):
            if target not in ways:
                ways[target] = f"{ways[name]} -> {target}"
                waiting.append(target)
    using = [ways[name] for name in sorted(ways) if imports_torch(modules()[name])]
    assert not using, "\n".join(using)


def imports_torch(tree: ast.Module) -> bool:
    """Whether importing a module imports torch."""
    return any(
        name.split(".")[0] == "torch"
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    )


def test_no_module_imports_scipy_stats() -> None:
    """It takes a third of a process's start: only the gates, which start none, import it before it is used."""
    using = [
        name
        for name, tree in modules().items()
        for node in tree.body
        if not name.startswith("gates.")
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scipy.stats"))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("scipy.stats") for alias in node.names))
    ]
    assert not using


def test_modules_are_short() -> None:
    """What does not fit on a few screens is two things."""
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("qmcbench", "reference", "benchmarks", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (lines := len(path.read_text().splitlines())) > MODULE_LINES
    }
    assert not long, long


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function and method of the package by its dotted name."""
    for module, tree in modules().items():
        stack: list[tuple[str, ast.AST]] = [(module, tree)]
        while stack:
            prefix, node = stack.pop()
            for child in ast.iter_child_nodes(node):
                named = isinstance(child, ast.FunctionDef | ast.ClassDef)
                name = f"{prefix}.{child.name}" if isinstance(child, ast.FunctionDef | ast.ClassDef) else prefix
                if isinstance(child, ast.FunctionDef):
                    yield name, child
                if named or not isinstance(child, ast.expr):
                    stack.append((name, child))


def excused(name: str, reasons: dict[str, str]) -> bool:
    """Whether a reason is given for a function or for all of its package."""
    return name in reasons or f"{name.split('.')[0]}.*" in reasons


def test_functions_are_short() -> None:
    """At most 60 lines without the docstring; an exception has its reason."""
    long = {}
    for name, node in functions():
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        lines = body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0
        if lines > FUNCTION_LINES and not excused(name, LONG_FUNCTIONS):
            long[name] = lines
    assert not long, long


def test_functions_have_few_parameters() -> None:
    """At most six in the public path; an exception has its reason."""
    many = {}
    for name, node in functions():
        arguments = node.args
        given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        count = len([each for each in given if each.arg not in ("self", "cls")])
        private = any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
        if count > PARAMETERS and not private and not excused(name, MANY_PARAMETERS):
            many[name] = count
    assert not many, "\n".join(f"{name}: {count}" for name, count in many.items())


@pytest.mark.parametrize("reasons", [LONG_FUNCTIONS, MANY_PARAMETERS], ids=["length", "parameters"])
def test_exceptions_are_still_needed(reasons: dict[str, str]) -> None:
    """A reason whose function is gone goes too."""
    names = {name for name, _ in functions()}
    assert {each for each in reasons if not each.endswith(".*")} <= names
    assert all(reasons.values())
