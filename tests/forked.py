"""The bot as a process forked from one that has loaded its packages: loading them is most of a start of `python -m bot`.

It has its own memory, files, sockets, signals and exit code, as any process. Only its first moment and the very end of
the interpreter are other ones: the tests of those (tests/e2e/test_start.py) start Python.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

from bot.cli.main import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.forked", "bot.app"])


def _run(
    arguments: tuple[str, ...], environment: dict[str, str], folder: Path, out: Connection, err: Connection
) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    raise SystemExit(main(list(arguments)))


class _ReaderProtocol(asyncio.StreamReaderProtocol):
    def eof_received(self) -> bool:
        super().eof_received()
        return False  # nothing is written to a pipe that is read: uvloop need not keep it open


async def _stream(pipe: Connection) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    file = os.fdopen(os.dup(pipe.fileno()), "rb")
    pipe.close()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: _ReaderProtocol(reader), file)
    return reader


class ForkedBot:
    """A forked bot, with those methods of asyncio.subprocess.Process that the tests use."""

    def __init__(
        self, process: multiprocessing.process.BaseProcess, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader
    ) -> None:
        self.stdout, self.stderr = stdout, stderr
        self.returncode: int | None = None
        self._process = process
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._notice_end)

    def _notice_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self.returncode = self._process.exitcode
        self._ended.set()

    async def wait(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read what the process writes until it has ended."""
        out, err = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, err

    def send_signal(self, name: int) -> None:
        """Send a signal. Raises ProcessLookupError if the process has ended."""
        if self.returncode is not None or self._process.pid is None:
            raise ProcessLookupError
        os.kill(self._process.pid, name)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


async def fork_bot(*arguments: str, settings: dict[str, str], cwd: Path) -> ForkedBot:
    """Fork a bot with the arguments of `python -m bot`; `settings` are its whole environment."""
    (out, write_out), (err, write_err) = _FORKS.Pipe(duplex=False), _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_run, args=(arguments, settings, cwd, write_out, write_err), daemon=True)
    process.start()
    write_out.close()
    write_err.close()
    return ForkedBot(process, await _stream(out), await _stream(err))
