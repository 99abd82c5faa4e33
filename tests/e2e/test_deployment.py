"""The files that run the bot elsewhere: image, compose, and a production tree that nobody may write."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from dotenv import dotenv_values
from sqlalchemy.engine import make_url

from bot.secret_files import FROM_FILES
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import APP_TOKEN, BEN, KEY, NUMBERS, THOROUGH, TOKEN, ask
from tests.e2e.test_mistakes import in_table
from tests.process import ROOT, free_port, healthy, run_command

BIN = Path(sys.executable).parent
NO_DEMO = (
    "`python -m bot demo` needs the folder sandbox/, which the image does not carry. Run it from a checkout of the "
    "project, or from its package."
)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The image's own database is SQLite."""
    return f"sqlite:///{tmp_path}/unused.db"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the tests' own environment."""
    program, *arguments = command
    return subprocess.run(  # noqa: S603 - the tests' own choice
        [str(BIN / program), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_dockerfile_has_no_fault() -> None:
    """hadolint finds nothing in the Dockerfile."""
    found = run("hadolint", "Dockerfile")
    assert (found.returncode, found.stdout) == (0, ""), found.stdout


@THOROUGH
@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.compose-spec", "compose.yaml"),
        ("vendor.github-workflows", ".github/workflows/ci.yaml"),
        ("vendor.github-workflows", ".github/workflows/release.yaml"),
    ],
)
def test_files_keep_to_their_schemas(schema: str, file: str) -> None:
    """compose.yaml and the workflows keep to the published schemas."""
    found = run("check-jsonschema", "--builtin-schema", schema, file)
    assert found.returncode == 0, found.stdout


def read(file: str) -> Any:
    """A YAML file of the project."""
    return yaml.safe_load((ROOT / file).read_text())


def test_every_package_of_the_image_is_accounted_for() -> None:
    """docs/packages.md says of each locked package how large it is and what it is there for."""
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    told = re.findall(r"^\| ([a-z0-9-]+) \| [0-9.]+ \| \S", (ROOT / "docs" / "packages.md").read_text(), re.MULTILINE)
    # What only other systems or Pythons need is in the lock, and not in the image.
    elsewhere = set(re.findall(r"^([a-z0-9-]+)==\S+ ; ", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert set(told) <= set(locked)
    assert set(locked) - elsewhere <= set(told)


def test_compose_runs_the_bot_without_rights() -> None:
    """Both ways of compose have a tree that cannot be written, no capabilities, and time to end a call."""
    services = read("compose.yaml")["services"]
    for name in ("bot", "replicas"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["stop_grace_period"] == "30s"
    assert services["bot"]["volumes"] == ["data:/data"]
    assert "profiles" not in services["bot"]
    assert services["replicas"]["deploy"]["replicas"] == 2
    assert services["replicas"]["profiles"] == services["postgres"]["profiles"] == ["postgres"]


def test_compose_passes_secrets_as_files() -> None:
    """Each service gets the files that its variables name and no other, and no secret stands in its environment."""
    compose = read("compose.yaml")
    assert compose["secrets"] == {name: {"file": f"./secrets/{name}"} for name in [*FROM_FILES, "postgres_password"]}
    for service in compose["services"].values():
        files = {name: path for name, path in service["environment"].items() if name.endswith("_FILE")}
        assert files == {f"{name.upper()}_FILE": f"/run/secrets/{name}" for name in service["secrets"]}
        assert not {name.upper() for name in compose["secrets"]} & service["environment"].keys()
    assert compose["services"]["postgres"]["secrets"] == ["postgres_password"]
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


async def test_secrets_are_moved_out_of_env(environment: dict[str, str], tmp_path: Path) -> None:
    """The commands of docs/deployment.md write the files of compose.yaml from what `setup` wrote; twice does no harm."""
    text = (ROOT / "docs" / "deployment.md").read_text().partition("## Secrets in Compose")[2]
    commands, for_postgres = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[:2]
    environment["SLACK_APP_TOKEN"] = APP_TOKEN
    kept = {name: environment[name] for name in ("ALLOWED_USERS", "SLACK_API_URL", "CELLCAST_BASE_URL")}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    sudo = tmp_path / "sudo"
    sudo.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/as_root\n')
    sudo.chmod(0o700)
    shell = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for script in (commands, commands, for_postgres):
        process = await asyncio.create_subprocess_exec("sh", "-c", script, cwd=tmp_path, env=shell)
        assert await process.wait() == 0
    assert set((tmp_path / "as_root").read_text().splitlines()) == {
        "chown 10001 secrets/slack_bot_token secrets/slack_app_token secrets/cellcast_api_key",
        "chown 10001 secrets/database_url",
    }
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "secrets").iterdir())
    url = make_url((tmp_path / "secrets" / "database_url").read_text())
    assert (url.host, url.username, url.database) == ("postgres", "bot", "bot")
    assert url.password == (tmp_path / "secrets" / "postgres_password").read_text()
    named = read("compose.yaml")["services"]["bot"]["environment"]
    settings = {name: path.replace("/run/", f"{tmp_path}/") for name, path in named.items()}
    code, out, _ = await run_command("check", settings=settings, cwd=tmp_path)
    assert code == 0, out
    assert kept.items() <= dotenv_values(tmp_path / ".env").items()
    assert not [secret for secret in (KEY, TOKEN, APP_TOKEN) if secret in (tmp_path / ".env").read_text()]


def test_workflow_runs_the_same_ci() -> None:
    """The workflow runs .ci/run on each Python that is promised, with actions pinned by commit and rights to read only."""
    workflow = read(".github/workflows/ci.yaml")
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert workflow["permissions"] == {"contents": "read"}
    for step in job["steps"][:-1]:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])


def test_hooks_are_those_of_ci() -> None:
    """The pre-commit hook and CI run the same task of noxfile.py."""
    hooks = [hook["entry"] for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert hooks == [".venv/bin/ruff format", ".venv/bin/nox -s lint"]
    assert hooks[-1] in (ROOT / ".ci" / "run").read_text()


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    """The image's tree, made here step by step as the Dockerfile makes it."""
    found = build(tmp_path)
    yield found
    chmod(found, "u+w")  # so that it can be deleted


def start_in(image: Path, *arguments: str, settings: dict[str, str]) -> Coroutine[Any, Any, asyncio.subprocess.Process]:
    """Start `python -m bot` in the image's tree, as a user without rights if the tests run as root."""
    as_bot = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups"] if os.geteuid() == 0 else []
    own = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(image / "app")}
    own |= {"PYTHONPATH": str(image / "app"), "PYTHONSAFEPATH": "1"}
    return asyncio.create_subprocess_exec(
        *as_bot, str(image / "venv/bin/python"), "-m", "bot", *arguments, env=settings | own,
        cwd=image.parent / "data", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@THOROUGH
async def test_read_only_tree_and_a_user_without_rights(
    workspace: Workspace, cellcast: Cellcast, environment: dict[str, str], image: Path
) -> None:
    """With only the locked packages, a read-only tree and a user without rights, the main round works.

    The key's file is as docs/deployment.md has it: readable for that user alone.
    """
    port = free_port()
    settings = environment | {"CELLCAST_API_KEY_FILE": str(image.parent / "key"), "PORT": str(port)}
    key = image.parent / "key"
    key.write_text(settings.pop("CELLCAST_API_KEY"))
    key.chmod(0o400 if os.geteuid() == 0 else 0)
    del settings["DATABASE_URL"]  # the image's own is in the volume
    refused = await start_in(image, settings=settings)
    said = (await refused.communicate())[1].decode()
    assert (refused.returncode, f"{key}, which cannot be read (Permission denied)" in said) == (2, True)
    in_table(said)
    key.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(key, 10001, 10001)
    process = await start_in(image, settings=settings)
    workspace.bot_url = f"http://127.0.0.1:{port}"
    try:
        await healthy(process, workspace.bot_url)
        card = await ask(workspace, channel=NUMBERS)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await workspace.until(lambda: workspace.notes[-1].text.startswith(SUCCESS))
        async with aiohttp.ClientSession() as client, client.get(f"{workspace.bot_url}/metrics") as answer:
            assert "unsubscribe_healthy 1.0" in await answer.text()
        demo = await asyncio.create_subprocess_exec(
            str(image / "venv/bin/python"), "-m", "bot", "demo",
            env={"PATH": os.environ["PATH"]}, cwd=image / "app", stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said = (await demo.communicate())[1].decode()
        assert (demo.returncode, said) == (1, f"{NO_DEMO}\n")
    finally:
        process.terminate()
        _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert len(cellcast.calls) == 1
    assert (image.parent / "data" / "unsubscribe.db").exists()


@THOROUGH
async def test_image_does_not_carry_the_demo(image: Path) -> None:
    """`python -m bot demo` in the image says where the demo is."""
    assert (ROOT / ".dockerignore").read_text().split("\n")[:4] == ["*", "!bot", "!handlers", "!requirements.lock"]
    process = await start_in(image, "demo", "--once", settings={})
    out, err = await process.communicate()
    assert (process.returncode, out, err.decode()) == (1, b"", f"{NO_DEMO}\n")


def chmod(folder: Path, mode: str) -> None:
    """Change the rights of a whole tree."""
    subprocess.run(["chmod", "-R", mode, str(folder)], check=True)  # noqa: S603, S607 - a folder of the tests' own


def _open_to_all() -> str:
    """A Python that a user without rights can start: this one, or the system's where this lives in somebody's home."""
    here = Path(sys.base_prefix)
    is_open = all(place.stat().st_mode & 0o005 == 0o005 for place in (here, *here.parents))
    return str(here / "bin" / "python3") if is_open else "/usr/bin/python3"


def build(folder: Path) -> Path:
    """Make the image's tree, which nobody can write, and the volume beside it. Raises if a package is not in the lock."""
    folder.chmod(0o755)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o111)  # a user without rights must get here
    image, data = folder / "image", folder / "data"
    (image / "app").mkdir(parents=True)
    parts = re.findall(r"^COPY (\w+) \./\1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert parts == ["bot", "handlers"]
    for part in parts:
        shutil.copytree(ROOT / part, image / "app" / part, ignore=shutil.ignore_patterns("__pycache__"))
    python = str(image / "venv" / "bin" / "python")
    lock = ["--require-hashes", "--no-deps", "-r", str(ROOT / "requirements.lock")]
    commands = [
        [str(BIN / "uv"), "venv", "--quiet", "--python", _open_to_all(), str(image / "venv")],
        [str(BIN / "uv"), "pip", "install", "--quiet", "--link-mode", "copy", "--python", python, *lock],
    ]
    commands.append([python, "-m", "compileall", "-q", str(image / "app")])
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - the Dockerfile's own steps
    data.mkdir()
    if os.geteuid() == 0:
        os.chown(data, 10001, 10001)
    chmod(image, "a-w")
    return image
