"""`Local`: the pipeline on one machine, in a few processes."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing.connection import wait

from annotator.maker import EntryT
from annotator.shard import ShardMaker, Tally, Task
from annotator.worker import Worker, WorkerDiedError, WorkError

# Workers that may die one after another before they are ready.
_FALSE_STARTS = 3


@dataclass(frozen=True, kw_only=True)
class Local:
    """An engine of `workers` processes, each with a maker of its own."""

    workers: int

    def __call__(
        self, tasks: Sequence[Task[EntryT]], build: Callable[[], ShardMaker[EntryT]]
    ) -> Iterator[Tally]:
        """Give each worker that is ready the next shard; replace those that die."""
        waiting, false_starts = deque(tasks), 0
        # Who is at which shard; at none while it starts.
        crew: dict[Worker[Task[EntryT], Tally], Task[EntryT] | None] = {}
        with ExitStack() as stack:
            while waiting or crew:
                starting = sum(task is None for task in crew.values())
                for _ in range(min(self.workers - len(crew), len(waiting) - starting)):
                    crew[stack.enter_context(closing(Worker(build)))] = None
                ready = wait([worker.connection for worker in crew])
                for worker in [worker for worker in crew if worker.connection in ready]:
                    task = crew.pop(worker)
                    try:
                        made = worker.receive()
                    except WorkerDiedError as death:
                        if task is not None:
                            waiting.appendleft(task)
                        elif (false_starts := false_starts + 1) > _FALSE_STARTS:
                            raise WorkError(f"workers die before they begin ({death})") from death
                        continue
                    false_starts = 0
                    if made is not None:
                        yield made
                    if waiting:
                        crew[worker] = task = waiting.popleft()
                        worker.send(task)
