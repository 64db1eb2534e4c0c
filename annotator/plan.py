"""`Plan`: what a folder of shards is being filled with, so that only the same is ever added."""

import fcntl
import hashlib
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import ndiff
from pathlib import Path

from annotator.maker import Entry
from annotator.shard import replace_text
from ldm.mistake import MistakeError


class PlanError(MistakeError):
    """The folder is being filled with something else, or by somebody else; one line."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What has to be the same when a run goes on: resolved settings and versions, line by line; the
    list of entries (their number, SHA-256 of their keys in order); entries to a shard; threads of
    arithmetic. The files themselves, photographs and weights, are taken on trust."""

    settings: Sequence[str]
    photographs: int
    keys_sha256: str
    shard_size: int
    threads: int


def plan(entries: Sequence[Entry], *, settings: str, shard_size: int, threads: int) -> Plan:
    """The plan of a run."""
    keys = "\n".join(entry.key for entry in entries)
    return Plan(
        settings=settings.splitlines(),
        photographs=len(entries),
        keys_sha256=hashlib.sha256(keys.encode()).hexdigest(),
        shard_size=shard_size,
        threads=threads,
    )


@contextmanager
def occupied(out: Path, wanted: Plan) -> Generator[None, None, None]:
    """Hold the folder for this plan: nobody else fills it meanwhile; what killed runs left behind
    is taken away.

    Errors: `PlanError` where the folder was begun with another plan, or another run is in it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            # Given back by the system whenever and however this process ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlanError(f"{out}: another run is writing here now") from None
        _agree(out / "plan.json", wanted)
        _tidy(out)
        try:
            yield
        finally:
            _tidy(out)


def _agree(path: Path, wanted: Plan) -> None:
    if not path.exists():
        replace_text(path, json.dumps(asdict(wanted), ensure_ascii=False, indent=1) + "\n")
        return
    begun = Plan(**json.loads(path.read_text(encoding="utf-8")))
    if begun != wanted:
        raise PlanError(
            f"{path}: begun with another plan ({_difference(begun, wanted)});"
            " go on with the same one, or choose another folder"
        )


def _difference(begun: Plan, wanted: Plan) -> str:
    lines = ndiff(begun.settings, wanted.settings)
    changed = [f"{line[0]} {line[2:].strip()}" for line in lines if line[0] in "+-"]
    if changed:
        return "settings " + ", ".join(changed)
    if (begun.photographs, begun.keys_sha256) != (wanted.photographs, wanted.keys_sha256):
        return f"a list of {begun.photographs} photographs, now {wanted.photographs} others"
    if begun.shard_size != wanted.shard_size:
        return f"shard_size {begun.shard_size}, now {wanted.shard_size}"
    return f"threads {begun.threads}, now {wanted.threads}"


def _tidy(out: Path) -> None:
    for pattern in (".shard-*.tmp", ".plan.json.*.tmp"):
        for leftover in out.glob(pattern):
            leftover.unlink(missing_ok=True)
