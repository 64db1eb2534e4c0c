"""Killed at random moments and begun again, a run gives the bytes of an undisturbed one."""

import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pipeline_driver import fill

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
TRIALS = 20
SHARDS, SHARD_SECONDS = 8, 0.15
PATHS = os.pathsep.join(str(path) for path in (ROOT, ROOT / "tests"))

Victims = Callable[[], list[psutil.Process]]


def test_the_driver_is_killed(
    undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On one machine: its workers go with it."""

    def trial(out: Path, moment: float) -> bool:
        hit = kill_driver(out, "local", moment)
        fill(out, "local")
        return hit

    compare("driver, local", trial, undisturbed, tmp_path, capsys)


def test_a_worker_is_killed(
    undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On one machine: the run goes on."""
    me = psutil.Process()

    def workers() -> list[psutil.Process]:
        # They are copies of a server, which is our child.
        return [worker for child in me.children() for worker in child.children()]

    def trial(out: Path, moment: float) -> bool:
        killer = Killer(out, workers, moment)
        fill(out, "local")
        return killer.has_hit()

    compare("worker, local", trial, undisturbed, tmp_path, capsys)


def test_the_driver_of_a_cluster_is_killed(
    cluster: psutil.Process,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its actors may work on for a while, beside those of the next run."""

    def trial(out: Path, moment: float) -> bool:
        hit = kill_driver(out, "ray", moment)
        assert driver(out, "ray").wait(300) == 0
        return hit

    compare("driver, Ray", trial, undisturbed, tmp_path, capsys)


def test_an_actor_is_killed(
    cluster: psutil.Process,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ray begins another, and the run goes on."""

    def actors() -> list[psutil.Process]:
        return [p for p in cluster.children(recursive=True) if "_Actor" in "".join(p.cmdline())]

    def trial(out: Path, moment: float) -> bool:
        killer = Killer(out, actors, moment)
        assert driver(out, "ray").wait(300) == 0
        return killer.has_hit()

    compare("actor, Ray", trial, undisturbed, tmp_path, capsys)


class Killer(threading.Thread):
    """Kills one of the victims at a moment of a run."""

    def __init__(self, out: Path, victims: Victims, moment: float) -> None:
        super().__init__(daemon=True)
        self._out, self._victims, self._moment = out, victims, moment
        self._hit = False
        self.start()

    def run(self) -> None:
        await_moment(self._out, self._moment, threading.main_thread().is_alive)
        if victims := self._victims():
            random.choice(victims).kill()
            self._hit = True

    def has_hit(self) -> bool:
        """Whether there was still anybody to be killed."""
        self.join()
        return self._hit


def compare(
    kind: str,
    trial: Callable[[Path, float], bool],
    undisturbed: dict[str, bytes],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Disturb a run again and again, at moments 0..1 of its time."""
    moments = random.Random(0)
    equal = hits = 0
    for number in range(TRIALS):
        out = folder / str(number)
        hits += trial(out, moments.random())
        equal += contents(out) == undisturbed
    with capsys.disabled():
        print(f"\nkilled {kind}: {equal} of {TRIALS} equal, {hits} were killed at work")
    assert equal == TRIALS
    assert hits >= TRIALS // 2


def kill_driver(out: Path, engine: str, moment: float) -> bool:
    """Begin a run and kill its driver at a moment; whether it was still running."""
    process = driver(out, engine)
    await_moment(out, moment, lambda: process.poll() is None)
    running = process.poll() is None
    process.kill()
    process.wait()
    return running


def driver(out: Path, engine: str) -> subprocess.Popen[bytes]:
    """A run in a process of its own."""
    command = [sys.executable, str(ROOT / "tests" / "pipeline_driver.py"), str(out), engine]
    return silent(command)


def silent(command: list[str]) -> subprocess.Popen[bytes]:
    """A process that says nothing, and whose own processes find our modules."""
    nowhere, environment = subprocess.DEVNULL, os.environ | {"PYTHONPATH": PATHS}
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=nowhere, stderr=nowhere)


def await_moment(out: Path, moment: float, goes_on: Callable[[], bool]) -> None:
    """Wait until that share of a run is done, 0..1: whole shards, then a part of the next."""
    shards, part = divmod(moment * SHARDS, 1)
    while goes_on() and not (
        (out / "plan.json").exists() and len(list(out.glob("shard-*.tar"))) >= shards
    ):
        time.sleep(0.005)
    time.sleep(part * SHARD_SECONDS)


def contents(out: Path) -> dict[str, bytes]:
    """All files of a run."""
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run on one machine that nobody disturbs."""
    out = tmp_path_factory.mktemp("undisturbed")
    fill(out, "local")
    return contents(out)


@pytest.fixture(scope="module")
def cluster() -> Iterator[psutil.Process]:
    """Ray on this machine, begun apart from any run; `RAY_ADDRESS` names it."""
    command = [
        str(Path(sys.executable).parent / "ray"),
        *("start", "--head", "--block", "--port=6399", "--num-cpus=2"),
        *("--object-store-memory=200000000", "--include-dashboard=false"),
        "--disable-usage-stats",
    ]
    with pytest.MonkeyPatch.context() as patch:
        # A token of our own: whether Ray wants one else depends on what is in the home folder.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_ADDRESS", "127.0.0.1:6399")
        head = silent(command)
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", 6399)):
                assert head.poll() is None
                time.sleep(0.1)
        yield psutil.Process(head.pid)
        for process in [*psutil.Process(head.pid).children(recursive=True), head]:
            process.kill()
        head.wait()
