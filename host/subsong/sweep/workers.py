"""Who computes: this process, processes of this machine (joblib), or a cluster (Dask).

Each takes chunks and yields what comes of them, in whatever order it is done. A chunk whose worker dies on a cluster is
computed elsewhere; on one machine the sweep ends, and its table goes on from what it has.
"""

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from subsong.errors import SubsongError
from subsong.sweep.work import Chunk, Done, checked, compute

CONNECT_S = 10
WATCH_S = 0.5  # between a worker's looks whether its parent is there


@dataclass(frozen=True)
class Workers:
    """How many there are, what makes them compute, and what there is to know of them, if anything."""

    count: int
    compute: Callable[[Sequence[Chunk]], Iterator[Done]]
    note: str = ""


def workers(jobs: int | None, scheduler: str | None) -> AbstractContextManager[Workers]:
    """Return who computes, to be used in a `with`.

    Args:
        jobs: processes; 1: this one; None: one a core. A cluster has as many as it has.
        scheduler: the address of a Dask scheduler; None: this machine.

    Raises:
        SubsongError: there is no such scheduler, or no Dask; in `compute`, a worker is lost for good.
    """
    return _local(jobs) if scheduler is None else _cluster(scheduler)


@contextmanager
def _local(jobs: int | None) -> Iterator[Workers]:
    import joblib

    count = jobs or joblib.cpu_count()
    if count == 1:
        yield Workers(1, lambda chunks: map(compute, chunks))
        return

    def spread(chunks: Sequence[Chunk]) -> Iterator[Done]:
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        # Each process one thread: so many processes as cores have nothing to gain from more.
        with joblib.parallel_config(
            "loky", n_jobs=count, inner_max_num_threads=1, initializer=_begin, initargs=(os.getpid(),)
        ):
            parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, max_nbytes=None)
            results = parallel(joblib.delayed(compute)(chunk) for chunk in chunks)
        with warnings.catch_warnings():
            # That chunks were given up: whoever gave them up knows.
            warnings.filterwarnings("ignore", r"[\s\S]*You could benefit from adjusting", UserWarning)
            try:
                yield from results
            except TerminatedWorkerError:
                raise SubsongError(
                    "a worker process was killed, perhaps for want of memory (-j 1 needs least)"
                ) from None
            finally:
                results.close()

    yield Workers(count, spread)


def _begin(parent: int) -> None:
    """Prepare a worker process: Ctrl-C, which a terminal sends to all, is its parent's to answer; it dies with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)  # nobody is left to be told


@contextmanager
def _cluster(address: str) -> Iterator[Workers]:
    try:
        import distributed
        from distributed.comm.addressing import get_address_host_port
    except ImportError:
        raise SubsongError("--dask needs distributed: pip install 'subsong[cluster]'") from None
    # Lost connections are this module's to tell of, in one line.
    for name in ("distributed", "distributed.client"):  # each has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        get_address_host_port(address)  # a client that was given nonsense leaves noise behind
        client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, OverflowError, ValueError) as error:
        raise SubsongError(
            f"--dask {address}: no scheduler answers there ({str(error) or 'nothing came'}); "
            f"`dask scheduler` starts one, `dask worker {address}` its workers"
        ) from None

    def spread(chunks: Sequence[Chunk]) -> Iterator[Done]:
        futures = client.map(compute, chunks, pure=False)
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                yield future.result()
                future.release()
        except distributed.KilledWorker:
            raise SubsongError(f"--dask {address}: one chunk was lost with worker after worker") from None
        except ImportError as error:
            raise SubsongError(
                f"--dask {address}: a worker has no {error.name}: install Subsong there as here"
            ) from None
        except (CancelledError, OSError):
            raise SubsongError(f"--dask {address}: the scheduler was lost") from None
        finally:
            client.cancel(futures)

    try:
        count = sum(client.ncores().values())
        note = "" if count else f"--dask {address}: has no worker yet; waits for one (`dask worker {address}`)"
        yield Workers(max(1, count), lambda chunks: checked(spread(chunks)), note)
    finally:
        client.close()
