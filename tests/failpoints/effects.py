"""Every effect of a process numbered, and the process dying before or after any of them.

An effect is whatever reaches outside: each call of a source, a sink or a store of progress, each
look at an answer, each question to a gate, each chunk of a scan, and each named failpoint.  The
calls are found by introspection of the bases, so what is added there is numbered by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

from txid_sync.model import Ack, LoadPage, Page, Reading, StreamPage

T = TypeVar("T")


class Death(BaseException):
    """The process was killed; nothing in the program catches it."""


@dataclass
class Effects:
    """The effects of one process; it dies at number `last` (0: never), before or after it.

    `saved_pages` is how many pages stored progress counts after its death.  `dying` is called
    instead of an effect that the death falls before, with its name and arguments: what the
    outside still gets to see of it.
    """

    last: int = 0
    after: bool = False
    dying: Callable[[str, tuple[Any, ...]], None] = lambda name, arguments: None
    names: list[str] = field(default_factory=list)
    dead: bool = False
    saved_pages: int = 0

    def happen(self, name: str, effect: Callable[..., T], *arguments: Any) -> T:
        """Let an effect happen; a dead process has none."""
        if self.dead:
            raise Death
        self.names.append(name)
        dies = len(self.names) == self.last
        if dies and not self.after:
            self.dead = True
            self.dying(name, arguments)
            raise Death
        try:
            return effect(*arguments)
        finally:
            if dies:
                self.dead = True
                raise Death

    def failpoint(self, name: str) -> None:
        """A named failpoint, as one more effect."""
        self.happen(f"failpoint {name}", lambda: None)


def calls_of(base: type) -> list[str]:
    """The names of everything that can be called on a base."""
    public = (name for name in dir(base) if not name.startswith("_"))
    return sorted(name for name in public if callable(getattr(base, name)))


def counted(base: type[T], real: T, effects: Effects) -> T:
    """`real` behind its base, every call of it an effect."""

    def method(name: str) -> Callable[..., Any]:
        def call(_: object, *arguments: Any, **named: Any) -> Any:
            effect = partial(getattr(real, name), **named)
            result = effects.happen(f"{base.__name__}.{name}", effect, *arguments)
            return watched(result, effects)

        return call

    members = {name: method(name) for name in calls_of(base)}
    return cast("T", type(f"Counted{base.__name__}", (base,), members)())


def watched(result: Any, effects: Effects) -> Any:
    """A result whose own effects are numbered too."""
    if isinstance(result, Page):
        return replace(result, ready=partial(effects.happen, "Page.ready", result.ready))
    if isinstance(result, StreamPage | LoadPage):
        return replace(result, page=watched(result.page, effects))
    if isinstance(result, Reading) and result.page is not None:
        return replace(result, page=watched(result.page, effects))
    if isinstance(result, Future):
        return Answer(result, effects)
    if isinstance(result, Iterator):
        return _chunks(result, effects)
    return result


def _chunks(chunks: Iterator[Any], effects: Effects) -> Iterator[Any]:
    end = object()
    while (chunk := effects.happen("Sink.scan chunk", next, chunks, end)) is not end:
        yield chunk


class Answer(Future[Ack]):
    """The answer to a page that was sent; a request under way cannot be called back."""

    def __init__(self, real: Future[Ack], effects: Effects) -> None:
        super().__init__()
        self._real, self._effects = real, effects

    def cancel(self) -> bool:
        """It is too late."""
        return self._effects.happen("Answer.cancel", lambda: False)

    def done(self) -> bool:
        """Whether it has come."""
        return self._effects.happen("Answer.done", self._real.done)

    def result(self, timeout: float | None = None) -> Ack:
        """Wait for it."""
        return self._effects.happen("Answer.result", self._real.result, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for it, and keep what went wrong."""
        return self._effects.happen("Answer.exception", self._real.exception, timeout)
