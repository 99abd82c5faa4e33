"""The mutation run: its table fits the code of today, and what it draws is a change that Python can read."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import THOROUGH
from tests.process import ROOT
from tools import mutants
from tools.mutants import Mutant, TableError

TABLE = mutants.table()


@pytest.mark.parametrize("mutant", TABLE, ids=lambda mutant: mutant.name)
def test_mutant_fits_the_code(mutant: Mutant) -> None:
    """The old text stands in its file once, the new one is code, and the tests that must notice it are there."""
    changed = mutant.apply((ROOT / mutant.file).read_text(encoding="utf-8"))
    compile(changed, mutant.file, "exec")
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        function = re.escape(name.partition("[")[0])
        assert re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), test


def test_names_are_unique() -> None:
    """Each mutant can be run by its name."""
    assert len({mutant.name for mutant in TABLE}) == len(TABLE)


@pytest.mark.parametrize(("text", "times"), [("a = 1\n", 0), ("b = 1\nb = 1\n", 2)])
def test_mutant_that_does_not_fit(text: str, times: int) -> None:
    """A mutant whose old text is gone, or there more than once, is an error that names it."""
    mutant = Mutant("a wrong b", "bot/x.py", "b = 1", "b = 2", ())
    with pytest.raises(TableError, match=f"a wrong b: the old text is {times} times in bot/x.py, expected once"):
        mutant.apply(text)


@THOROUGH
def test_draw() -> None:
    """A draw depends on its seed alone, and each mutant in it changes one place of a file that stays readable."""
    drawn = mutants.draw(60, 7)
    assert drawn == mutants.draw(60, 7) != mutants.draw(60, 8)
    assert len({mutant.name for mutant in drawn}) > 50
    for mutant in drawn:
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        assert mutant.apply(text) != text
        compile(mutant.apply(text), mutant.file, "exec")
        assert all((ROOT / test.partition("::")[0]).exists() for test in mutant.tests)


def test_every_survivor_of_the_sample_is_judged() -> None:
    """docs/reliability.md tells of each survivor why it may live; nine of ten mutants or more are killed."""
    killers: dict[str, str | None] = json.loads(mutants.SAMPLE.read_text(encoding="utf-8"))["killers"]
    survivors = [name for name, killer in killers.items() if killer is None]
    assert all(map(mutants.judgement, survivors))
    assert len(mutants.stored()["judged"]) == len(survivors)
    assert mutants.percent_killed(killers) >= 90
    assert "\n".join(mutants.sample_page()) in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
