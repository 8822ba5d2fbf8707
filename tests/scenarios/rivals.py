"""The other kinds of tool, each as small and as fair as it can be: its ordinary rule, no more.

A reader keeps its copy in a dict, which never loses anything: what is wrong there, the rule of
reading has lost.  A writer has a real index.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.scenarios.stage import Documents, Stage, query, wrong

# As test_decoding writes them: table public.t: UPDATE: id[bigint]:1 v[text]:'new'
CHANGE = r"table public\.t: (?P<operation>\w+): (?P<columns>.*)"
COLUMN = r"(\w+)\[[^]]+\]:('[^']*'|\S+)"
FIRST_LOAD = "select id::text, row_to_json(t) from public.t"


class Reader:
    """Polls the table t and keeps a copy."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.copy: Documents = {}
        self.taken = 0
        self._connection = stage.database.connect()

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """A statement on this tool's connection, in a transaction of its own."""
        return query(self._connection, statement, *parameters)

    def reconnect(self) -> None:
        """Connect anew, after the server was away."""
        self._connection = self.stage.database.connect()

    def take(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Copy the rows, which begin with id and document (None: it is gone)."""
        for id, document, *_ in rows:
            self.taken += 1
            if document is None:
                self.copy.pop(id, None)
            else:
                self.copy[id] = document

    def fetch(self, ids: Iterable[str]) -> None:
        """Copy the current rows with these ids, or their absence."""
        for id in ids:
            self.take(self.rows(f"{FIRST_LOAD} where id::text = %s", id) or [(id, None)])

    def wrong(self) -> dict[str, str]:
        """What is wrong with the copy now, by id."""
        return wrong(self.copy, self.stage.truth())


class ColumnPoller(Reader):
    """Rows whose column is above the highest value seen: timestamps, serial numbers, versions."""

    def __init__(self, stage: Stage, column: str, first: str, limit: int = 1000) -> None:
        super().__init__(stage)
        self.column, self.last, self.limit = column, first, limit

    def bound(self) -> str:
        """The condition on the column."""
        return f"{self.column} > %s"

    def poll(self) -> int:
        """Read one batch; how many rows it had."""
        value = f"({self.column})::text"
        rows = self.rows(
            f"select id::text, row_to_json(t), {value} from public.t where {self.bound()}"
            f" order by {self.column} limit {self.limit}",
            self.last,
        )
        self.take(rows)
        if rows:
            self.last = rows[-1][2]
        return len(rows)

    def drain(self) -> None:
        """Poll until a batch is empty."""
        while self.poll():
            pass


class SlotReader(Reader):
    """Takes the changes of a logical replication slot: table, operation and columns as texts."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.slot = stage.database.name
        self.rows("select pg_create_logical_replication_slot(%s, 'test_decoding')", self.slot)
        self.take(self.rows(FIRST_LOAD))

    def consume(self) -> list[tuple[str, dict[str, str]]]:
        """The next changes of t, operation and columns; the slot moves beyond them."""
        get = "select data from pg_logical_slot_get_changes(%s, null, null)"
        changes = (re.match(CHANGE, data) for (data,) in self.rows(get, self.slot))
        return [(c["operation"], dict(re.findall(COLUMN, c["columns"]))) for c in changes if c]


def timestamp_poller(stage: Stage, limit: int = 1000) -> ColumnPoller:
    """`updated_at > :last`, as JDBC pollers and most hand-written scripts do."""
    return ColumnPoller(stage, "updated_at", "-infinity", limit)


class Outbox(Reader):
    """An ordinary trigger puts the key of each changed row into a queue, which is then emptied."""

    def __init__(self, stage: Stage, trigger: str, function: str = "") -> None:
        super().__init__(stage)
        stage.run("create table public.outbox (seq bigserial, key text)")
        body = function or "insert into public.outbox (key) values (coalesce(new.id, old.id));"
        stage.run(
            "create function public.to_outbox() returns trigger language plpgsql as"
            f" $$ begin {body} return null; end $$"
        )
        stage.run(f"create trigger outbox {trigger} execute function public.to_outbox()")
        self.take(self.rows(FIRST_LOAD))

    def drain(self) -> None:
        """Take everything that is in the queue."""
        took = "with d as (delete from public.outbox returning seq, key) select key from d"
        self.fetch([key for (key,) in self.rows(f"{took} order by seq")])


EVERY_ROW = "after insert or update or delete on public.t for each row"


class Writer:
    """Writes bulk requests without versions into a real index of its own."""

    def __init__(self, stage: Stage, mapping: object = None) -> None:
        self.stage, self.index = stage, f"{stage.prefix}rival"
        stage.server.request("PUT", f"/{self.index}", mapping or {})

    @staticmethod
    def body(changes: Mapping[str, Any]) -> bytes:
        """The body of a request: a document, or None for a delete, by id."""
        lines: list[Any] = []
        for id, document in changes.items():
            head = {"_id": id}
            lines += [{"delete": head}] if document is None else [{"index": head}, document]
        return "".join(json.dumps(line) + "\n" for line in lines).encode()

    def send(self, body: bytes) -> dict[str, Any]:
        """Send a request; the answer to HTTP 200."""
        return self.stage.bulk(self.index, body)

    def wrong(self) -> dict[str, str]:
        """What is wrong with the index now, by id."""
        held = {id: document for id, _, document in self.stage.search(self.index)}
        return wrong(held, self.stage.truth())


class StampedReader(Reader):
    """A cursor over a column that a trigger stamps with the txid: `open`, `page`s, then `close`.

    As it stands here the rule is right; each scenario that derives from it changes one thing.
    """

    COLUMNS = "id bigint primary key, v text, txid bigint"
    ORDER = "txid, t.id"
    NEW = "not txid_visible_in_snapshot(txid, %s) and (txid, id) > (%s, %s)"

    def __init__(self, stage: Stage, limit: int = 2) -> None:
        super().__init__(stage)
        stage.run(
            "create function public.stamp() returns trigger language plpgsql as"
            " $$ begin new.txid := txid_current(); return new; end $$"
        )
        stage.run(
            "create trigger stamp before insert or update on public.t for each row"
            " execute function public.stamp()"
        )
        self.limit = limit
        self.done = self.until = "1:1:"
        self.after = (0, 0)

    def snapshot(self) -> str:
        """The snapshot of a statement of its own."""
        return str(self.rows("select txid_current_snapshot()::text")[0][0])

    def open(self) -> None:
        """Begin at the lowest txid that is not done."""
        self.until, self.after = self.snapshot(), (0, 0)

    def read(self) -> list[tuple[Any, ...]]:
        """The next rows: id, document, txid, key."""
        return self.rows(
            f"select id::text, row_to_json(t), txid, id from public.t where {self.NEW}"
            f" order by {self.ORDER} limit {self.limit}",
            self.done,
            *self.after,
        )

    def page(self) -> bool:
        """Take one page; whether it was full."""
        rows = self.read()
        self.take(rows)
        if rows:
            self.after = rows[-1][2:4]
        return len(rows) == self.limit

    def close(self) -> None:
        """What had ended when the first page was read is done."""
        self.done = self.until

    def poll(self) -> None:
        """Everything that is new."""
        self.open()
        while self.page():
            pass
        self.close()
