"""The changes that a transaction of the load generator makes, in one table at a time.

Nothing is read from the database to decide what to do: keys are numbers out of a bounded space, so
that tables stay bounded, that a run can be repeated from its seed, and that keys come back after
they were deleted.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from psycopg2 import extensions, sql
from psycopg2.extras import execute_values

from txid_sync.dev.load_tables import LoadColumn, LoadTable
from txid_sync.dev.load_values import key_of, value_of
from txid_sync.sources.postgres_sql import name

HOT_KEYS = range(10)
COMMON_KEYS = range(5000)
BIG_KEYS = range(4900, 25_000)  # few common ones: who locks so much would wait for everybody
SECOND_KEYS = 5  # numbers of all key columns but the first
ROWS_PER_STATEMENT = 1000

SQL = sql.SQL
Key = tuple[str, ...]


@dataclass(slots=True)
class Writer:
    """Writes rows of the tables through one cursor, as `random` decides; counts them."""

    cursor: extensions.cursor
    tables: Sequence[LoadTable]
    random: Random
    rows: int = 0

    # -- keys -------------------------------------------------------------------------------

    def key(self, table: LoadTable, number: int) -> Key:
        """The key with this number."""
        first, *others = table.key
        width = SECOND_KEYS ** len(others)
        group, rest = divmod(number, width)
        texts = [key_of(first, group)]
        for column in others:
            place = rest % SECOND_KEYS
            # Days lie years apart within a group, and are not the same in all groups: rows of one
            # group are in different partitions.
            moving = column.name in table.moving
            texts.append(key_of(column, place * 40 + group % 40 if moving else place))
            rest //= SECOND_KEYS
        return tuple(texts)

    def sibling(self, table: LoadTable, number: int) -> int:
        """The number of a key that differs in the last columns at most."""
        width: int = SECOND_KEYS ** (len(table.key) - 1)
        return number - number % width + self.random.randrange(width)

    def keys(self, table: LoadTable, count: int, space: range) -> list[Key]:
        """Some different keys, in no order, with numbers out of `space`."""
        numbers = self.random.sample(space, min(count, len(space)))
        return list(dict.fromkeys(self.key(table, number) for number in numbers))

    # -- changes ----------------------------------------------------------------------------

    def upsert(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """Insert or update."""
        names = [c.name for c in table.others]
        sets = SQL(", ").join([SQL("{0} = excluded.{0}").format(name(n)) for n in names])
        action = SQL("do update set {}").format(sets) if names else SQL("do nothing")
        key = SQL(", ").join([name(c.name) for c in table.key])
        self._insert(table, keys, SQL("on conflict ({}) {}").format(key, action))

    def insert(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """Insert what is not there."""
        self._insert(table, keys, SQL("on conflict do nothing"))

    def insert_blindly(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """Insert; fails if one of them is there."""
        self._insert(table, keys, SQL(""))

    def update(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """One statement per row, of some of the columns."""
        for key in keys:
            columns = [c for c in table.others if self.random.random() < 0.6] or table.others
            self._set(table, columns, [value_of(self.random, c) for c in columns], [key])

    def update_together(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """One statement for all rows."""
        for at in range(0, len(keys), ROWS_PER_STATEMENT):
            values = [value_of(self.random, c) for c in table.others]
            self._set(table, table.others, values, keys[at : at + ROWS_PER_STATEMENT])

    def delete(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """One statement for all rows; what depends on them goes with them."""
        for at in range(0, len(keys), ROWS_PER_STATEMENT):
            some = keys[at : at + ROWS_PER_STATEMENT]
            where, values = _where(table, some)
            self._run(SQL("delete from {} where {}").format(_name(table), where), values)

    def reinsert(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """Delete and insert again in one transaction."""
        self.delete(table, keys)
        self.insert(table, keys)

    def change_keys(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """Move rows to other keys, which are made free before."""
        for old in keys:
            (new,) = self.keys(table, 1, COMMON_KEYS)
            self._rename(table, old, new)

    def move(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """As many rows to other partitions, where the table has some."""
        for _ in keys:
            number = self.random.choice(COMMON_KEYS)
            new = self.key(table, self.sibling(table, number))
            self._rename(table, self.key(table, number), new)

    def _rename(self, table: LoadTable, old: Key, new: Key) -> None:
        if new != old:
            self._parents_of(table, [new])
            self.delete(table, [new])
            self._set(table, table.key, new, [old])

    def copy(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """Replace rows through COPY."""
        self.delete(table, keys)
        self._parents_of(table, keys)
        columns = (*table.key, *table.others)
        lines = (
            "\t".join(map(_copied, (*key, *self._values(table)))) + "\n" for key in keys
        )
        names = SQL(", ").join([sql.Identifier(c.name) for c in columns])
        target = sql.Identifier(table.schema, table.name)  # COPY takes no parameters: % is a %
        statement = SQL("copy {} ({}) from stdin").format(target, names)
        self.cursor.copy_expert(statement, io.StringIO("".join(lines)))
        self.rows += len(keys)

    def truncate(self, table: LoadTable) -> None:
        """Empty the table, unless somebody is in the way."""
        self.cursor.execute("set local lock_timeout = '200ms'")
        self._run(SQL("truncate {}").format(_name(table)), [])

    # -- statements -------------------------------------------------------------------------

    def _insert(self, table: LoadTable, keys: Sequence[Key], conflict: sql.Composable) -> None:
        self._parents_of(table, keys)
        names = SQL(", ").join([name(c.name) for c in (*table.key, *table.others)])
        statement = SQL("insert into {} ({}) values %s {}").format(_name(table), names, conflict)
        text = statement.as_string(self.cursor)
        rows = [(*key, *self._values(table)) for key in keys]
        for at in range(0, len(rows), ROWS_PER_STATEMENT):
            some = rows[at : at + ROWS_PER_STATEMENT]
            execute_values(self.cursor, text, some, page_size=ROWS_PER_STATEMENT)
            self.rows += max(0, self.cursor.rowcount)

    def _parents_of(self, table: LoadTable, keys: Sequence[Key]) -> None:
        """Make the rows that these keys point to, where they are not there."""
        names = [column.name for column in table.key]
        for parent in table.parents:
            target = self.tables[parent.table]
            if not set(parent.columns) <= set(names):
                continue
            order = [parent.parent_columns.index(c.name) for c in target.key]
            places = [names.index(parent.columns[n]) for n in order]
            wanted = dict.fromkeys(tuple(key[place] for place in places) for key in keys)
            self.insert(target, list(wanted))

    def _set(
        self,
        table: LoadTable,
        columns: Sequence[LoadColumn],
        values: Sequence[str | None],
        keys: Sequence[Key],
    ) -> None:
        if not columns:
            return
        sets = SQL(", ").join([SQL("{} = %s").format(name(c.name)) for c in columns])
        where, wanted = _where(table, keys)
        statement = SQL("update {} set {} where {}").format(_name(table), sets, where)
        self._run(statement, [*values, *wanted])

    def _values(self, table: LoadTable) -> Iterable[str | None]:
        return [value_of(self.random, column) for column in table.others]

    def _run(self, statement: sql.Composable, values: Sequence[str | None]) -> None:
        self.cursor.execute(statement, values)
        self.rows += max(0, self.cursor.rowcount)


def _name(table: LoadTable) -> sql.Identifier:
    return name(table.schema, table.name)


def _where(table: LoadTable, keys: Sequence[Key]) -> tuple[sql.Composable, list[str]]:
    columns = SQL(", ").join([name(column.name) for column in table.key])
    marks = SQL("({})").format(SQL(", ").join([sql.Placeholder()] * len(table.key)))
    several = SQL(", ").join([marks] * len(keys))
    condition = SQL("({}) in ({})").format(columns, several)
    return condition, [text for key in keys for text in key]


def _copied(text: str | None) -> str:
    if text is None:
        return "\\N"
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return text
