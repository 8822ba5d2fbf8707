"""The house style, checked with nothing but the standard library and git.

Each finding reads `path:line: what -> do this instead`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COLUMNS, FUNCTION_LINES, FILE_LINES = 100, 50, 400
PURE = {
    "snapshot", "cursor", "recovery", "share", "model", "backoff", "mapping", "documents",
    "address",
}  # fmt: skip
IMPURE_IMPORTS = {"time", "random", "os", "socket"}
MAY_PRINT = re.compile(r"^(txid_sync/(ui\.py|dev/)|benchmarks/|tests/|[^/]*\.py$)")
SQL_WORDS = re.compile(
    r"\b(select\s.*\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from"
    r"|create\s+(table|index|schema|function|trigger)|alter\s+table)\b",
    re.IGNORECASE | re.DOTALL,
)
# Pieced together, so that this file does not contain them.
FORBIDDEN_TEXT = {
    r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b": "do it, or write down the limit in the docs",
    r"/wor" r"k/": "use a path relative to the repository",
    r"\b(py" r"pi\.org|python" r"hosted\.org|repo1?\.mav" r"en|mav" r"en\.org"
    r"|npm" r"js\.(org|com)|proxy\.go" r"lang\.org)\b": "leave it to the client's settings",
}
FORBIDDEN = {re.compile(pattern): remedy for pattern, remedy in FORBIDDEN_TEXT.items()}
# The dependency rule: a layer may import layers of a lower number, and its own where so said.
LAYERS = (
    ("pure", PURE | {"errors", "ids", "failpoints"}),
    ("bases", {"sources.base", "sinks.base", "progress.base"}),
    ("pipeline", {"pipeline"}),
    ("daemon", {"daemon"}),
)
ADAPTERS = ("sources.", "sinks.", "progress.")


@dataclass(frozen=True, slots=True)
class Source:
    """A tracked (or not yet tracked, not ignored) Python file."""

    path: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """Dotted name below txid_sync, or an empty string for files outside."""
        if not self.path.startswith("txid_sync/"):
            return ""
        return self.path.removeprefix("txid_sync/").removesuffix(".py").replace("/", ".")

    def at(self, line: int, what: str, remedy: str) -> str:
        """One finding."""
        return f"{self.path}:{line}: {what} -> {remedy}"


@cache
def files() -> tuple[str, ...]:
    """Every file that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(name for name in listed.split("\0") if name and (ROOT / name).is_file())


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file, parsed."""
    texts = {name: (ROOT / name).read_text() for name in files() if name.endswith(".py")}
    return tuple(Source(name, text, ast.parse(text)) for name, text in texts.items())


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that a file imports."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def shape(source: Source) -> Iterator[str]:
    """Columns, function and file lengths, module docstring."""
    lines = source.text.splitlines()
    if len(lines) > FILE_LINES:
        yield source.at(len(lines), f"{len(lines)} lines", f"split it; {FILE_LINES} at most")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            yield source.at(number, f"{len(line)} columns", f"break it; {COLUMNS} at most")
    if ast.get_docstring(source.tree) is None:
        yield source.at(1, "no module docstring", "say what the file is for")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                what = f"{node.name} has {length} lines"
                yield source.at(node.lineno, what, f"split it; {FUNCTION_LINES} at most")


def habits(source: Source) -> Iterator[str]:
    """No print, no bare except."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield source.at(node.lineno, "bare except", "name the exceptions")
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            if MAY_PRINT.match(source.path):
                continue
            yield source.at(node.lineno, "print", "return it, or use txid_sync/ui.py")


def docstrings(tree: ast.Module) -> set[int]:
    """The ids of the nodes that are docstrings."""
    owners = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    bodies = [node.body[0] for node in ast.walk(tree) if isinstance(node, owners) and node.body]
    return {id(first.value) for first in bodies if isinstance(first, ast.Expr)}


def long_sql(source: Source) -> Iterator[str]:
    """No SQL of more than one line in the package."""
    if not source.module:
        return
    spared = docstrings(source.tree)
    for node in ast.walk(source.tree):
        if id(node) in spared or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(str(p.value) for p in pieces if isinstance(p, ast.Constant))
        several = "\n" in text.strip() or (node.end_lineno or node.lineno) > node.lineno
        if several and SQL_WORDS.search(text):
            yield source.at(node.lineno, "SQL over several lines", "move it to txid_sync/sql/*.sql")


def purity(source: Source) -> Iterator[str]:
    """Pure modules import the standard library only, and nothing that touches the world."""
    if source.module not in PURE:
        return
    for line, name in imports(source):
        top, _, rest = name.partition(".")
        inside = top == "txid_sync" and rest.split(".")[0] in PURE | {"errors", ""}
        if top in IMPURE_IMPORTS or not (top in sys.stdlib_module_names or inside):
            yield source.at(line, f"pure module imports {name}", "pass the value in as an argument")


def layer(module: str) -> int:
    """The number of a module's layer; adapters and edges have none and give -1."""
    for number, (_, members) in enumerate(LAYERS):
        if any(module == member or module.startswith(f"{member}.") for member in members):
            return number
    return -1


def arrows(source: Source) -> Iterator[str]:
    """edges -> daemon -> pipeline -> bases -> pure core; adapters -> bases; nobody -> cli."""
    own = source.module
    if not own:
        return
    for line, name in imports(source):
        target = name.removeprefix("txid_sync.")
        if target == name:
            continue
        if reason := wrong_arrow(own, target):
            yield source.at(line, f"{own} imports {target}", reason)


def wrong_arrow(own: str, target: str) -> str:
    """Why a module may not import another; empty when it may."""
    if target.partition(".")[0] == "cli" and own not in ("__main__", "dev.reference"):
        return "nobody imports cli"
    above, below = layer(own), layer(target)
    if above >= 0 and below > above:
        return f"the {LAYERS[above][0]} layer may not know the {LAYERS[below][0]} layer"
    if above >= 0 and target.startswith(ADAPTERS) and below < 0:
        return "only the edges name an adapter; import its base"
    if own.startswith(ADAPTERS):
        # Progress may be kept in the sink's store and then shares its transport.
        for one, other in (("sources.", "sinks."), ("sinks.", "sources.")):
            if own.startswith(one) and target.startswith(other) and below < 0:
                return "sources and sinks do not know each other"
        if below > 1:
            return "an adapter knows its base, not the pipeline"
    return ""


def words(source: Source) -> Iterator[str]:
    """Every test has a docstring."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            named = node.name.startswith("test_") and source.path.startswith("tests/")
            if named and not ast.get_docstring(node):
                yield source.at(node.lineno, f"{node.name} has no docstring", "say what it proves")


RULES = (shape, habits, long_sql, purity, arrows, words)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_follow(rule: Callable[[Source], Iterator[str]]) -> None:
    """No Python file of the repository breaks this rule."""
    findings = [finding for source in sources() for finding in rule(source)]
    assert not findings, "\n" + "\n".join(findings)


def test_no_file_holds_forbidden_text() -> None:
    """No loose ends, no paths of one machine and no registry's address in any text file."""
    findings = []
    for name in files():
        lines = (ROOT / name).read_text(errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            found = [(p.search(line), remedy) for p, remedy in FORBIDDEN.items()]
            findings += [f"{name}:{number}: {m[0]!r} -> {fix}" for m, fix in found if m]
    assert not findings, "\n" + "\n".join(findings)
