"""What processes use: seconds of processor over all of their threads and children, and memory."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from txid_sync.dev.processes import children, stat_fields

TICKS = os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat, counted from the state.
UTIME, STIME, CUTIME, CSTIME = 11, 12, 13, 14
COMPILED_SHARE = 0.1


def cpu_seconds(pid: int) -> float:
    """Of one process, with all of its threads."""
    fields = stat_fields(pid)
    return (int(fields[UTIME]) + int(fields[STIME])) / TICKS if fields else 0.0


def exact_cpu_seconds(pid: int) -> float:
    """The same to the nanosecond, for processes that hardly run; without threads that ended."""
    found = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has ended
            found += int(task.read_text().split()[0])
    return found / 1e9


def compiler_seconds(pid: int) -> float:
    """Of the threads of a Java process that compile."""
    found = 0.0
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            name, _, fields = task.read_text().rpartition(")")
        except OSError:
            continue  # a thread that has ended
        if "CompilerThre" in name:
            found += sum(map(int, fields.split()[UTIME : STIME + 1])) / TICKS
    return found


def until_compiled(pid: int, work: Callable[[], Any], most: int) -> None:
    """Do the work again until a Java process hardly compiles for it any more, `most` times."""
    for _ in range(most):
        used, compiled = cpu_seconds(pid), compiler_seconds(pid)
        work()
        if compiler_seconds(pid) - compiled < COMPILED_SHARE * (cpu_seconds(pid) - used):
            return


def family_seconds(pid: int) -> float:
    """Of a process, its living children, and those that have ended."""
    while True:
        ended = _ended_seconds(pid)
        living = sum(map(cpu_seconds, children(pid)))
        if _ended_seconds(pid) == ended:  # else one may have been missed on its way out
            return cpu_seconds(pid) + living + ended


def _ended_seconds(pid: int) -> float:
    fields = stat_fields(pid)
    return (int(fields[CUTIME]) + int(fields[CSTIME])) / TICKS if fields else 0.0


def machine_seconds() -> tuple[float, float]:
    """Of all processors since the machine's start: how long they worked, and how long they were."""
    ticks = _machine_ticks()
    idle = ticks[3] + ticks[4]  # idle, and waiting for a disk
    return (sum(ticks) - idle) / TICKS, sum(ticks) / TICKS


def stolen_percent() -> Callable[[], float]:
    """Tells when called how much of the processors' time since now the host of a virtual machine
    gave to others while it was wanted here."""
    begun = _machine_ticks()

    def percent() -> float:
        passed = [now - then for now, then in zip(_machine_ticks(), begun, strict=True)]
        return 100 * passed[7] / max(1, sum(passed))

    return percent


def _machine_ticks() -> list[int]:
    """User, nice, system, idle, waiting for a disk, interrupts, soft interrupts, stolen."""
    return [int(field) for field in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]


def own_seconds() -> float:
    """Of this process and those of its children that have ended."""
    used = os.times()
    return time.process_time() + used.children_user + used.children_system


def peak_megabytes(pid: int) -> float:
    """The most memory that a living process has held so far; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return found[0] / 1024 if found else 0.0


@dataclass(slots=True)
class Usage:
    """What one piece of work took; `cpu` by the name of the meter."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds of processor over all meters."""
        return sum(self.cpu.values())


@contextmanager
def measured(
    meters: Mapping[str, Callable[[], float]], settle: Callable[[], Any] = lambda: None
) -> Iterator[Usage]:
    """Time of a block; the processors' time counts what `settle` still waits for."""
    usage = Usage()
    before = {name: meter() for name, meter in meters.items()}
    begun = time.perf_counter()
    yield usage
    usage.seconds = time.perf_counter() - begun
    settle()
    usage.cpu = {name: meter() - before[name] for name, meter in meters.items()}


def seconds_of(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    with measured({}) as usage:
        work()
    return usage.seconds
