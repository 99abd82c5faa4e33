"""The documents and the docstrings are written in plain technical English."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

# What plain technical English does not say, and what it says instead.
REJECTED = {
    r"anew": "again",
    r"whoever": "people who, or the replica that",
    r"nobody's": "say who acts: if nobody ...",
    r"untold": "undelivered",
    r"tellings?": "delivery, delivery attempt",
    r"to tell (the|an|its) (outcome|end)": "to deliver the outcome",
    r"who may( not)?": "people with permission, approvers",
    r"may not be undoable": "no undo is documented",
    r"no way to get the number back": "no undo is documented",
    r"stands? (in|on|beside|behind|twice|there)": "is, appears, follows",
    r"(is|are|was|were|be|been) told": "is delivered, learns, reads",
    r"at the (most|latest)": "at most, after at most",
    r"worth (one|waking)": "say what to do",
    r"mend(s|ed|ing)?": "fix",
    r"of (its|their) own": "its own ...; an internal error",
    r"who asked": "requester",
    r"(a|the|each|every|this|that|one) press": "click",
    r"clear up": "fix",
    r"so it stays|stays so": "keeps happening",
    r"the same as told": "as before",
    r"endings?": "outcome",
    r"(a|an|the|one|each|every|that) (yes|asking)": "confirmation, request",
    r"(another|other|several|both|two|three|no|each|every|one|this|old) cop(y|ies)": "replica",
    r"goes deaf|dies": "stalls, stops",
    r"in vain": "too late",
    r"what it should be": "expected ...",
    r"none of (its|their) own": "no ... that belongs to it",
    r"nothing (more|else) than": "only",
    r"(is|are|be|were|was) no (id|ids|number|member|text|url|http)": "is not a ...",
    r"for (it|they|he|she|nobody|nothing|that) (would|will|can|could|is|are|has|have|was|were|changes)": "because ...",
    r"any more": "no longer",
}
PATTERN = re.compile(rf"\b(?:{'|'.join(REJECTED)})\b", re.IGNORECASE)
# "Where" is for places. A sentence cannot begin with it; a question can ("Where the time goes" is a heading).
BEGINS_WITH_WHERE = re.compile(r"(?:^|[.!?:] )Where (?![^.!?]*\?)", re.MULTILINE)
MAX_WORDS = 25

WRITTEN = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
# docs/messages.md repeats what the code says to people; tests/unit/test_messages.py reads that.
DOCUMENTS = [*WRITTEN, *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")) if p.name != "messages.md")]
# Files whose comments operators read.
COMMENTED = [
    ".env.example",
    "compose.yaml",
    "Dockerfile",
    *(f"deploy/{p.name}" for p in sorted((ROOT / "deploy").iterdir())),
]
# What a tool writes into documents from the texts of the code, and whole pages written by a tool.
GENERATED = re.compile(r"<!-- generated: (\w+) -->.*?<!-- end -->", re.DOTALL)
PAGES = ["docs/packages.md", "docs/performance.md", "docs/reliability.md"]

# Modules, and generated parts of documents, whose words are not clean yet. The lists may only get shorter.
NOT_YET_MODULES: list[str] = []
NOT_YET_GENERATED: list[str] = []


def found_in(text: str) -> list[str]:
    """Every place of a text that plain English would say otherwise."""
    found = [match[0] for match in PATTERN.finditer(text)]
    return found + [text[match.start() :].strip()[:40] for match in BEGINS_WITH_WHERE.finditer(text)]


def prose(name: str) -> str:
    """The words of a document without code, without addresses, and without what a tool has put in."""
    text = GENERATED.sub("", (ROOT / name).read_text(encoding="utf-8"))
    return _without_code(text)


def _without_code(text: str) -> str:
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]*`", "code", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def comments(name: str) -> str:
    """The comments of a file for operators."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line.strip().lstrip("# ") for line in lines if line.strip().startswith("#"))


def generated() -> Iterator[tuple[str, str]]:
    """Each generated part of a document, with its name."""
    for name in DOCUMENTS:
        for match in GENERATED.finditer((ROOT / name).read_text(encoding="utf-8")):
            yield match[1], _without_code(match[0])


def docstrings(path: Path) -> str:
    """Every docstring of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented)]
    return "\n\n".join(filter(None, found))


def modules() -> Iterator[str]:
    """Every module of the bot."""
    for folder in ("bot", "handlers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT))


def sentences(name: str) -> Iterator[str]:
    """The lines of a document that hold sentences: no headings, tables or pictures."""
    for line in prose(name).splitlines():
        stripped = re.sub(r"^(\s*([-*]|\d+\.)\s+|>\s*)", "", line).strip()
        if stripped and not stripped.startswith(("#", "|", "!", "<")):
            yield stripped


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_plain_english(name: str) -> None:
    """A document holds no word of the reject list."""
    assert found_in(prose(name)) == []


@pytest.mark.parametrize("name", COMMENTED)
def test_comments_for_operators_are_plain_english(name: str) -> None:
    """A comment holds no word of the reject list."""
    assert found_in(_without_code(comments(name))) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_one_sentence_a_line(name: str) -> None:
    """Each line of a document holds one sentence."""
    assert [line for line in sentences(name) if re.search(r"[a-z)\"*][.!?] +[A-Z*\[]", line)] == []


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in PAGES])
def test_sentences_are_short(name: str) -> None:
    """A sentence has at most 25 words."""
    assert [line for line in sentences(name) if len(re.findall(r"[\w'-]+", line)) > MAX_WORDS] == []


def test_generated_parts_are_plain_english() -> None:
    """The generated parts of the documents are clean, except those on the list, which must not be."""
    odd = {name: places for name, text in generated() if (places := found_in(text))}
    assert sorted(odd) == sorted(NOT_YET_GENERATED), odd


def test_docstrings_are_plain_english() -> None:
    """The docstrings are clean, except in the modules on the list, which must not be: remove those that are."""
    odd = {name: places for name in modules() if (places := found_in(docstrings(ROOT / name)))}
    assert sorted(odd) == sorted(NOT_YET_MODULES), odd


@pytest.mark.parametrize(
    "sentence",
    [
        pytest.param("Install the app anew.", id="anew"),
        pytest.param("Nobody's press makes no call.", id="nobody's"),
        pytest.param("Its own message stands in the channel.", id="stands in"),
        pytest.param("The outcome is told in the channel.", id="is told"),
        pytest.param("It stops. Where it stops, look.", id="a sentence that begins with Where"),
    ],
)
def test_reject_list_finds(sentence: str) -> None:
    """The reject list finds what it is for."""
    assert found_in(sentence)


def test_reject_list_lets_plain_english_pass() -> None:
    """Plain sentences, and questions, pass."""
    assert found_in("Where does the time go? The bot delivers each outcome at least once.") == []
