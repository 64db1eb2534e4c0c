"""`Worker`: a process of its own that answers requests one by one, and never outlives its owner."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from ldm.mistake import MistakeError

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")

# New processes are copies of one that has imported what takes seconds, and done nothing else.
_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["ldm.storage"])


class WorkerDiedError(Exception):
    """The process ended without an answer; the text says how."""


class WorkError(MistakeError):
    """The work as a whole cannot go on; the text is one line."""


@dataclass(frozen=True)
class _Failure:
    text: str


class Worker(Generic[RequestT, AnswerT]):
    """A new process that calls `build` once, says that it is ready (`None`), then applies what was
    built to each request. `build`, requests and answers are picklable.

    An error raised there is raised here, by `receive`, as a `WorkError`. `connection` tells
    `multiprocessing.connection.wait` that something can be received.
    """

    def __init__(self, build: Callable[[], Callable[[RequestT], AnswerT]]) -> None:
        self.connection, theirs = _FORKSERVER.Pipe()
        self._process = _FORKSERVER.Process(target=_serve, args=(build, theirs))
        self._process.start()
        # Only the process itself holds its end now, so that its death closes the connection.
        theirs.close()

    def send(self, request: RequestT) -> None:
        """Ask; where the process is dead, `receive` will say so."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(request)

    def receive(self) -> AnswerT | None:
        """Wait for the next answer; the first is `None`. Errors: `WorkerDiedError`, `WorkError`."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if isinstance(answer, _Failure):
            raise WorkError(answer.text)
        return answer

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _death(self) -> WorkerDiedError:
        self._process.join()
        code = self._process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return WorkerDiedError(how)


def _serve(build: Callable[[], Callable[[Any], Any]], connection: "Connection[Any, Any]") -> None:
    # The owner decides when to stop: Ctrl-C reaches the whole group of processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_owner, daemon=True).start()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        answer = _tried(build)
        if isinstance(answer, _Failure):
            connection.send(answer)
            return
        connection.send(None)
        while True:
            connection.send(_tried(partial(answer, connection.recv())))


def _tried(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return _Failure(f"{type(error).__name__}: {error}")


def _follow_owner() -> None:
    owner = multiprocessing.parent_process()
    assert owner is not None
    owner.join()
    os._exit(1)
