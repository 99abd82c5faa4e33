"""Group commit: jobs that wait for the database's thread are committed together, so a burst pays for one commit.

SQLite has one writer, so its jobs run on one thread and up to 64 share a transaction. On PostgreSQL each job has its
own connection and transaction. A caller learns its result only after the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from bot.ledger.threads import Threads

T = TypeVar("T")
Work = Callable[[sa.Connection], T]


class Connect(Protocol):
    """Opens a connection with a transaction begun, which is rolled back unless it is committed."""

    def __call__(self, *, writes: bool) -> AbstractContextManager[sa.Connection]: ...  # noqa: D102 - as above


class Job(Generic[T]):
    """A function of a connection, and the future that its caller awaits."""

    def __init__(self, work: Work[T], *, writes: bool) -> None:
        self.work, self.writes = work, writes
        self.done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(_heed)
        self.began = False
        self.committing = False
        self.abandoned = False  # its caller's time is over: it must no longer be committed


class GroupCommit:
    """A queue of jobs and the threads that run them, for one event loop."""

    def __init__(self, connect: Connect, threads: Threads, group_size: int) -> None:
        self._connect, self._threads, self._group_size = connect, threads, group_size
        # What an ack waits for goes first.
        self._first: deque[Job[Any]] = deque()
        self._rest: deque[Job[Any]] = deque()

    def close(self) -> None:
        """Wait for the running jobs, unless they hang, and end the threads."""
        self._threads.close()

    async def submit(self, job: Job[T], *, timeout: float, first: bool) -> T:
        """Run a job and return its result. Raise TimeoutError after `timeout` seconds, or the job's own error."""
        (self._first if first else self._rest).append(job)
        self._threads.submit(self._run_next)
        try:
            await asyncio.wait([job.done], timeout=timeout)
        finally:
            job.abandoned = not job.done.done()
        if job.abandoned:
            raise TimeoutError
        return job.done.result()

    def _run_next(self) -> None:
        jobs: list[Job[Any]] = []
        while len(jobs) < self._group_size and (job := self._pop()) is not None:
            if not job.abandoned:
                jobs.append(job)
        if jobs:
            self._commit(jobs)

    def _pop(self) -> Job[Any] | None:
        for queue in (self._first, self._rest):
            with contextlib.suppress(IndexError):  # another thread may have taken the last one
                return queue.popleft()
        return None

    def _commit(self, jobs: list[Job[Any]]) -> None:
        """Run jobs in one transaction; if one fails before the commit, run each by itself."""
        began = committing = False
        try:
            with self._connect(writes=any(job.writes for job in jobs)) as db:
                began = True
                results = []
                for job in jobs:
                    job.began = True
                    results.append(job.work(db))
                if any(job.abandoned for job in jobs):  # its caller has heard that it was not recorded
                    raise TimeoutError  # noqa: TRY301 - it leaves the transaction
                for job in jobs:
                    committing = job.committing = True
                db.commit()
        except Exception as error:  # noqa: BLE001 - the callers get it
            if began and not committing and len(jobs) > 1:
                for job in jobs:
                    job.began = False
                    if not job.abandoned:
                        self._commit([job])
            else:  # after a failed commit nobody knows: nothing is run a second time
                _finish(jobs, [error] * len(jobs))
        else:
            _finish(jobs, results)


def _heed(done: asyncio.Future[Any]) -> None:
    """Look at the error of a job: a caller that was cancelled does not, and asyncio would log it."""
    if not done.cancelled():
        done.exception()


def _finish(jobs: list[Job[Any]], results: list[Any]) -> None:
    """Wake the event loop once for all of them."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: the bot stopped without waiting for this job
        jobs[0].done.get_loop().call_soon_threadsafe(_set_results, jobs, results)


def _set_results(jobs: list[Job[Any]], results: list[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        if job.abandoned:
            job.done.cancel()
        elif isinstance(result, Exception):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)
