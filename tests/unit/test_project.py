"""What stands in the project's files is what the code says."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import check_jsonschema
import pytest
import yaml

from bot import __version__
from bot.domain.commands import COMMAND
from bot.domain.status import OutcomeCode
from bot.settings import Settings
from tests.log_contract import ALWAYS, check_log, documented_events, documented_fields, faults_of, logged_events
from tests.process import ROOT


def read(name: str) -> str:
    """A file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]


def test_env_example_names_every_variable() -> None:
    """`.env.example` holds each variable once, with its default where there is one, and no secret."""
    found = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", read(".env.example"), re.MULTILINE))
    assert set(found) == {name.upper() for name in Settings.model_fields}
    assert len(found) == len(re.findall(r"^#?[A-Z_]+=", read(".env.example"), re.MULTILINE))
    for name, field in Settings.model_fields.items():
        if found[name.upper()]:
            shown = ",".join(field.default) if isinstance(field.default, frozenset) else str(field.default)
            assert found[name.upper()] in (shown, shown.lower())


def test_generated_documents_are_up_to_date() -> None:
    """The generated tables are what the code says now."""
    checked = subprocess.run([sys.executable, "tools/docs.py", "--check"], cwd=ROOT, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_readme_is_short_and_has_its_parts() -> None:
    """The README has every part on at most 150 lines."""
    text = read("README.md")
    for heading in ("Try it", "Quick start in a workspace", "What people see", "Guarantees", "Limits", "Documentation"):
        assert f"\n## {heading}\n" in text
    assert len(text.splitlines()) <= 150


def test_documents_list_every_setting_and_outcome() -> None:
    """The generated tables have a row for each variable and for each outcome code."""
    settings, outcomes, glossary = (read(f"docs/{name}.md") for name in ("configuration", "outcomes", "glossary"))
    assert len(re.findall(r"^\| `[A-Z_]+` \|", settings, re.MULTILINE)) == len(Settings.model_fields)
    for code in OutcomeCode:
        assert f"| {code.status} | `{code}` |" in outcomes
        assert f"| `{code}` | {code.status} |" in glossary


DOCUMENTS = sorted(str(p.relative_to(ROOT)) for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def without_code(text: str) -> str:
    """A document without its blocks of code, in which # begins a comment."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", without_code(text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        # The second heading with the same words gets -1.
        found.add(next(name for n in itertools.count() if (name := f"{anchor}-{n}" if n else anchor) not in found))
    return found


def broken(links: list[str], folder: Path, itself: str) -> list[str]:
    """The links that lead to no file, or to no heading of it."""

    def leads_somewhere(link: str) -> bool:
        file, _, anchor = link.partition("#")
        path = folder / (file or itself)
        return path.exists() and (not anchor or anchor in anchors(path.read_text(encoding="utf-8")))

    return [link for link in links if not leads_somewhere(link)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """Each file and each heading that a document links to exists, and each path of the project that it names."""
    text = without_code(read(name))
    links = re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", text)
    assert broken(links, (ROOT / name).parent, Path(name).name) == []
    paths = re.findall(r"`((?:bot|handlers|sandbox|tests|tools|docs|deploy|benchmarks)/[\w./-]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_files_name_pages_that_exist() -> None:
    """Each page, and each heading of it, that the code and the files for operators name exists."""
    files = [*ROOT.glob("deploy/*"), *(ROOT / name for name in ("compose.yaml", "Dockerfile", ".env.example"))]
    files += [path for folder in ("bot", "handlers", "sandbox") for path in ROOT.glob(f"{folder}/**/*.py")]
    named = {path: re.findall(r"docs/[\w-]+\.md(?:#[\w-]+)?", path.read_text(encoding="utf-8")) for path in files}
    assert {str(path): wrong for path, links in named.items() if (wrong := broken(links, ROOT, ""))} == {}
    assert sum(map(len, named.values())) >= 4


def test_links_to_headings_are_as_on_the_forge() -> None:
    """Anchors are GitHub's: lower case, without punctuation and formatting, and numbered if they repeat."""
    text = "# A `b` c: d-e_f?\n\n## [Link](x.md) two\n\n```sh\n# no heading\n```\n\n## Same\n\n### Same\n"
    assert anchors(text) == {"a-b-c-d-e_f", "link-two", "same", "same-1"}


def test_operations_page_lists_each_log_event() -> None:
    """docs/operations.md lists each event that the code can log, with its level and its fields, and no other."""
    assert len(documented_events()) >= 50
    assert documented_events() == logged_events()
    used = set().union(*(event.always | event.sometimes for event in documented_events().values()))
    assert used | ALWAYS == documented_fields().keys()


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, []),
        ({"event": "request_forgotten"}, ["the event"]),
        ({"level": "error"}, ["the level"]),
        ({"number": "6"}, ["the field number"]),
        ({"ts": 5}, ["the type of ts"]),
        ({"channel": None, "ts": True}, ["the type of ts"]),
        ({"ts": ...}, ["no ts"]),
    ],
)
def test_log_of_a_test_is_compared_with_the_page(changed: dict[str, Any], fault: list[str]) -> None:
    """The check that reads the log of each bot that a test starts finds every difference."""
    line: dict[str, Any] = {
        "event": "card_posted",
        "level": "info",
        "logger": "bot.cards",
        "timestamp": "2026-01-31T09:05:07.123456Z",
    }
    line |= {"request": "6f1f", "channel": "C1", "ts": "1.2"} | changed
    line = {name: value for name, value in line.items() if value is not ...}
    assert faults_of(line) == fault
    with contextlib.nullcontext() if not fault else pytest.raises(AssertionError, match=fault[0]):
        check_log(f"a sentence\n{json.dumps(line)}\n")


def test_sample_for_vector_uses_fields_of_the_log() -> None:
    """Each field that docs/vector.yaml reads or tries is in the contract, and its parts are joined to one another."""
    sample = yaml.safe_load(read("docs/vector.yaml"))
    assert {"sources", "transforms", "sinks", "tests"} < sample.keys()
    parts = sample["transforms"] | sample["sinks"]
    joined = [name for part in parts.values() for name in part["inputs"]]
    assert set(joined) == sample["sources"].keys() | sample["transforms"].keys()
    tried = [test["inputs"][0]["log_fields"]["message"] for test in sample["tests"]]
    programs = [sample["transforms"]["bot_log"]["source"], sample["transforms"]["bot_problems"]["condition"]]
    programs += [test["outputs"][0]["conditions"][0]["source"] for test in sample["tests"]]
    fields = {field for program in programs for field in re.findall(r"(?<!\w)\.([a-z]\w*)", program)}
    assert fields - {"message"} <= documented_fields().keys()  # Docker's own name for a line
    assert faults_of(json.loads(tried[0])) == []
    (container,) = sample["sources"]["bot_output"]["include_containers"]
    assert f"docker logs {container} " in read("docs/operations.md")


def test_manifest_fits_the_bot() -> None:
    """The manifest has the bot's command, its buttons, and the scopes that it uses."""
    manifest = json.loads(read("bot/manifest.json"))
    (command,) = manifest["features"]["slash_commands"]
    assert command["command"] == COMMAND
    assert manifest["settings"]["interactivity"]["is_enabled"]
    assert manifest["settings"]["socket_mode_enabled"]
    assert manifest["oauth_config"]["scopes"]["bot"] == [
        "commands",
        "chat:write",
        "chat:write.public",
        "usergroups:read",
        "users:read",
    ]
    # An optional scope must be among the others too: https://docs.slack.dev/authentication/installing-with-oauth
    assert manifest["oauth_config"]["scopes"]["bot_optional"] == ["chat:write.public", "usergroups:read"]
    assert manifest["settings"]["event_subscriptions"]["bot_events"] == ["app_home_opened"]
    assert manifest["features"]["app_home"]["home_tab_enabled"]


def test_lock_holds_every_package_with_hashes() -> None:
    """Each runtime package is pinned with its hashes, and no registry's address stands in the lock."""
    lock = read("requirements.lock")
    pinned = re.findall(r"^([a-z0-9_.-]+)==\S+(?: ; .+?)? \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^[a-z]", lock, re.MULTILINE))
    for wanted in PROJECT["dependencies"]:
        assert re.split(r"[>=\[]", wanted)[0] in pinned
    assert "://" not in lock
    assert "index-url" not in lock


def test_versions_agree() -> None:
    """The package and the code have one version."""
    assert PROJECT["version"] == __version__


@pytest.mark.parametrize(
    "command",
    [
        "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python -m bot demo",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest",
    ],
)
def test_readme_has_the_two_commands(command: str) -> None:
    """Both commands stand in the README, each complete."""
    assert f"```sh\n{command}\n```" in read("README.md")


def test_image_runs_without_rights_and_hears_signals() -> None:
    """The image has a user of its own, the volume, a health check, and an entry point in the exec form."""
    dockerfile = read("Dockerfile")
    for line in (
        "USER 10001:10001",
        "VOLUME /data",
        "WORKDIR /data",
        "PYTHONPATH=/app PYTHONSAFEPATH=1",
        'ENTRYPOINT ["python", "-m", "bot"]',
        "HOST=0.0.0.0",
        "/healthz",
    ):
        assert line in dockerfile
    assert "--require-hashes" in dockerfile


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.dependabot", ".github/dependabot.yml"),
        ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml"),
        ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/idea.yml"),
        ("vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_templates_keep_to_their_schemas(schema: str, file: str) -> None:
    """The issue forms and the configuration of dependabot keep to the published schemas."""
    assert keeps_to("--builtin-schema", schema, str(ROOT / file))


@pytest.mark.parametrize(("changed", "is_valid"), [({}, True), ({"display_information": {"name": "x" * 36}}, False)])
def test_manifest_keeps_to_the_schema_of_slack(tmp_path: Path, changed: dict[str, Any], is_valid: bool) -> None:
    """The manifest keeps to what https://github.com/slackapi/manifest-schema says, and the check can fail."""
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(json.loads(read("bot/manifest.json")) | changed), encoding="utf-8")
    assert keeps_to("--schemafile", str(ROOT / "tests/schemas/slack_manifest.json"), str(file)) is is_valid


def keeps_to(*arguments: str) -> bool:
    """Run check-jsonschema, in this process because its start takes longest; what it finds is shown if a test fails."""
    with pytest.raises(SystemExit) as ended:
        check_jsonschema.main([*arguments])
    return ended.value.code == 0


def test_security_claims_point_to_tests() -> None:
    """Each test that SECURITY.md names is there."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", read("SECURITY.md"))
    assert len(named) >= 20
    for file, name in named:
        assert re.search(rf"^(async )?def {name}\(", read(file), re.MULTILINE), name
