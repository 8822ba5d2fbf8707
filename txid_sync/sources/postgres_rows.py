"""Rows as documents: loads in the order of the key, and lookups of single documents."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import psycopg2

from txid_sync import ids
from txid_sync.errors import Discontinuity, PreconditionError
from txid_sync.model import MAX_ID_BYTES, DeadLetter, Limits, LoadPage, Page
from txid_sync.pagesize import PageSize
from txid_sync.sources.postgres_errors import is_poison, is_too_much, reason, translate
from txid_sync.sources.postgres_log import PostgresLog
from txid_sync.sources.postgres_prepared import array
from txid_sync.sources.postgres_sql import Statements


class PostgresRows(PostgresLog):
    """The part of the PostgreSQL source that reads rows by their keys."""

    _sizes: dict[str, PageSize]

    def load(
        self, document: str, after: tuple[str, ...] | None, epoch: int, limits: Limits
    ) -> LoadPage:
        """The rows whose keys follow `after`, in the order of the key."""
        self.connect()
        self._server.look()
        statements, size = self._statements[document], self._sizes[document]
        query = statements.load_first if after is None else statements.load
        parameters = {**self._server.parameters(epoch), **_key_parameters(after or ())}
        while True:
            limit = parameters["limit"] = size.within(limits)
            row = self._try(query, parameters, size)
            if row is SMALLER:
                continue
            if row is not None:
                page = self._built(statements, row)
                return LoadPage(page, tuple(row["last"]) if row["entries"] == limit else None)
            if limit == 1:
                break
            size.shrink(limit)
        query = statements.load_key_first if after is None else statements.load_key
        keys = self._session.rows(query, parameters)
        if not keys:
            return LoadPage(self.lookup(document, [], epoch), None)
        key = tuple(keys[0]["key"])
        return LoadPage(self.lookup(document, [ids.encode(key)], epoch), key)

    def lookup(self, document: str, wanted: Sequence[str], epoch: int) -> Page:
        """These documents as they are now; halves a list that cannot be built down to the id."""
        self.connect()
        self._server.look()
        statements = self._statements[document]
        keys, foreign = ids.decode_all([*dict.fromkeys(wanted)], len(statements.table.key))
        pages = [self._lookup(statements, keys, epoch)]
        if foreign:
            pages.append(self._deletes(statements, foreign, epoch))
        return _joined(pages)

    def _lookup(self, statements: Statements, keys: ids.Keys, epoch: int) -> Page:
        parameters = {**self._server.parameters(epoch), "ids": array(keys.ids)}
        for n, column in enumerate(keys.columns, 1):
            same = column is keys.ids
            parameters[f"k{n}"] = parameters["ids"] if same else array(column)
        try:
            row = self._session.raw_row(statements.lookup, parameters)
            return self._built(statements, row)
        except psycopg2.Error as error:
            self._session.drop_if_broken()
            if not (is_poison(error) or (is_too_much(error) and len(keys.ids) > 1)):
                name = statements.table.document.name
                raise translate(error, f"look up documents of {name}") from None
            if len(keys.ids) == 1:
                return self._refused(statements, keys, epoch, reason(error))
        middle = len(keys.ids) // 2
        halves = keys.part(slice(middle)), keys.part(slice(middle, None))
        return _joined([self._lookup(statements, half, epoch) for half in halves])

    def _refused(
        self, statements: Statements, keys: ids.Keys, epoch: int, why: str
    ) -> Page:
        """One id that cannot be looked up: no key of this table, or a row that cannot be built."""
        (id,), key = keys.ids, [column[0] for column in keys.columns]
        try:
            self._session.raw_row(statements.cast_key, _key_parameters(key))
        except psycopg2.Error as error:
            if not is_poison(error):
                raise translate(error, "look up a document") from None
            return self._deletes(statements, [id], epoch)
        page = self._deletes(statements, [], epoch)
        dead = DeadLetter(page.document, id, page.version, why)
        return _joined([page], (dead,))

    def _deletes(self, statements: Statements, wanted: Sequence[str], epoch: int) -> Page:
        """Delete actions for ids that no row of the table can ever have."""
        fields = self._server.page_fields(self._server.place(epoch))
        version = fields["version"]
        lines = [
            json.dumps({"delete": {"_id": id, "version": version, "version_type": "external_gte"}},
                       ensure_ascii=False, separators=(",", ":")) + "\n"
            for id in wanted
        ]  # fmt: skip
        return Page(
            document=statements.table.document.name, body="".join(lines).encode(),
            documents=len(lines), read_at_seconds=time.monotonic(), **fields,
        )  # fmt: skip

    # -- shared -----------------------------------------------------------------------------

    def _try(
        self, query: Any, parameters: dict[str, Any], size: PageSize
    ) -> dict[str, Any] | None:
        """The page's row; None if a row cannot be built, SMALLER to ask for fewer."""
        try:
            return self._session.raw_row(query, parameters)
        except psycopg2.errors.UndefinedColumn as error:
            raise Discontinuity(f"a column is gone: {reason(error)}") from None
        except psycopg2.Error as error:
            self._session.drop_if_broken()
            if is_too_much(error) and parameters["limit"] > 1:
                size.shrink(parameters["limit"])
                return SMALLER
            if is_poison(error):
                return None
            raise translate(error, "read a page") from None

    def _built(self, statements: Statements, row: dict[str, Any]) -> Page:
        name = statements.table.document.name
        if not row["unassigned"]:
            raise PreconditionError(
                f"reading document {name} assigned a transaction id",
                "its condition or a type of its table calls a function that writes",
            )
        fields = self._server.page_fields(row)
        dead = tuple(
            DeadLetter(name, id, row["version"], f"id is longer than {MAX_ID_BYTES} bytes")
            for id in row["long_ids"] or ()
        )
        actions = [part for part in (row["body"], row["deletes"]) if part]
        body = b"\n".join([*actions, b""])
        self._sizes[name].learn(row["documents"], len(body))
        return Page(
            document=name, body=body, documents=row["documents"], dead=dead,
            read_at_seconds=time.monotonic(), fingerprint=row["fingerprint"] or "gone", **fields,
        )  # fmt: skip


SMALLER: dict[str, Any] = {}


def _key_parameters(key: Sequence[str]) -> dict[str, str]:
    return {f"k{n}": value for n, value in enumerate(key, 1)}


def _joined(pages: Sequence[Page], dead: tuple[DeadLetter, ...] = ()) -> Page:
    """Several lookups as one page: the last one's gate covers them all."""
    if len(pages) == 1 and not dead:
        return pages[0]
    last = pages[-1]
    return Page(
        document=last.document,
        body=b"".join(page.body for page in pages),
        documents=sum(page.documents for page in pages),
        version=max(page.version for page in pages),
        dead=tuple(letter for page in pages for letter in page.dead) + dead,
        ready=last.ready,
        exact=all(page.exact for page in pages),
        place=max(page.place for page in pages),
        identity=last.identity,
        read_at_seconds=pages[0].read_at_seconds,
        fingerprint=next((page.fingerprint for page in pages if page.fingerprint), ""),
    )
