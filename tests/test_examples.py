"""The examples in the docstrings say what they say they say.

Read from the source and not by `doctest.testmod`: the wrappers that check shapes here hide a function's docstring from
it, and an example that is not found fails nobody.
"""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("fedkd", "strategies", "clients", "simulations")
WITH_EXAMPLES = [
    path for top in FOLDERS for path in sorted((ROOT / top).rglob("*.py")) if ">>> " in path.read_text("utf-8")
]
SLOW = {"fedkd/data/synthetic/__init__.py"}
"""Films a camera."""


def examples(path: Path) -> list[doctest.DocTest]:
    """One a docstring that has any; each starts from the module's own names."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    names, found = vars(importlib.import_module(name)), []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            found.append(doctest.DocTestParser().get_doctest(text, dict(names), name, str(path), 0))
    return [test for test in found if test.examples]


def marked(path: Path) -> object:
    name = path.relative_to(ROOT).as_posix()
    return pytest.param(path, id=name, marks=[pytest.mark.slow] if name in SLOW else [])


@pytest.mark.parametrize("path", [marked(path) for path in WITH_EXAMPLES])
def test_the_examples_give_what_they_show(path: Path) -> None:
    runner, said = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), []
    tests = examples(path)
    for test in tests:
        runner.run(test, out=said.append)
    assert sum(len(test.examples) for test in tests) and not runner.failures, "".join(said)
