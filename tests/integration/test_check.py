"""`check`: each thing that can be wrong is one FAILED line that says what mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.cli_place import Place, place, set_source

pytestmark = pytest.mark.integration

__all__ = ["place"]


@pytest.fixture
def ready(place: Place) -> Iterator[tuple[Place, list[str]]]:
    """Installed, with a reader that has all that it needs; and the arguments to check as it."""
    role = f"{place.database.name}_reader"
    place.sql(f'create role "{role}" login')
    place.run("init", "--reader", role)
    place.sql(
        f'grant usage on schema shop to "{role}";'
        f'grant select on shop.orders, public.lines to "{role}"'
    )
    yield place, ["-s", set_source(place, f"user={role}")]
    place.sql(f'drop owned by "{role}"; drop role "{role}"')


def points(ready: tuple[Place, list[str]], code: int) -> dict[str, dict[str, Any]]:
    """What check says, by the name of the point, without the prefix of the indices."""
    place, arguments = ready
    found = json.loads(place.run("check", "--json", *arguments, code=code).stdout)
    return {point["name"].replace(place.prefix, ""): point for point in found}


def test_W09_A01_all_is_well_with_select_only(ready: tuple[Place, list[str]]) -> None:
    """A role with SELECT and what init grants passes every point, and can run."""
    found = points(ready, 0)
    assert {point["state"] for point in found.values()} == {"OK"}
    place, arguments = ready
    lines = place.run("check", *arguments).stdout.splitlines()
    assert len(lines) == len(found)
    assert all(": OK " in line for line in lines)
    place.run("run", "--once", *arguments)
    assert len(place.documents("orders")) == 5


@pytest.mark.parametrize(
    ("damage", "point", "detail"),
    [
        ("revoke select on shop.orders from {role}", "document orders: rights", "no SELECT"),
        ("revoke usage on schema txid_sync from {role}", "schema rights", "may not read"),
        (
            "revoke select on txid_sync.log_1 from {role}",
            "document orders: log rights", "no SELECT on txid_sync.log_",
        ),
        ("alter table shop.orders disable trigger user", "document orders: triggers", "ALWAYS"),
        ("alter table shop.orders enable trigger user", "document orders: triggers", "ALWAYS"),
        (
            (
                "do $$ declare t name; begin for t in select tgname from pg_trigger"
                " where tgname like 'txid\\_sync%' and tgrelid = 'shop.orders'::regclass loop"
                " execute format('drop trigger %I on shop.orders', t); end loop; end $$"
            ),
            "document orders: triggers", "no trigger sees inserts",
        ),
        ("alter table shop.orders drop constraint orders_pkey", "document orders: key", "unique"),
        (
            "alter table shop.orders enable row level security", "document orders: row security",
            "hide rows",
        ),
        (
            (
                "do $$ begin execute (select format('drop index txid_sync.%I', c.relname)"
                " from pg_index i join pg_class c on c.oid = i.indexrelid join txid_sync.tracked t"
                " on ('txid_sync.' || t.log)::regclass = i.indrelid"
                " where t.relation = 'shop.orders'::regclass limit 1); end $$"
            ),
            "document orders: log index", "no valid index",
        ),
        ("drop table public.lines", "document lines: table", "does not exist"),
        ("revoke usage on schema shop from {role}", "document orders: table", "permission denied"),
    ],
)  # fmt: skip
def test_W09_each_damage_is_one_failed_point(
    ready: tuple[Place, list[str]], damage: str, point: str, detail: str
) -> None:
    """One thing broken: that point fails, says why, and says what mends it."""
    place = ready[0]
    place.sql(damage.replace("{role}", f'"{place.database.name}_reader"'))
    found = points(ready, 1)
    assert found[point]["state"] == "FAILED"
    assert detail in found[point]["detail"]
    assert found[point]["fix"]
    others = [p for n, p in found.items() if p["state"] == "FAILED" and n != point]
    assert others == []


@pytest.mark.parametrize(("capture", "suffix"), [("row", "key"), ("statement", "update")])
def test_a_missing_trigger_on_key_changes_is_told(place: Place, capture: str, suffix: str) -> None:
    """The trigger on all changes of rows sees an update of a key, but not the old key."""
    place.run("init")
    place.sql("select txid_sync.untrack('shop.orders')")
    place.sql(f"select txid_sync.track('shop.orders', '{capture}')")
    tracked = "select id from txid_sync.tracked where relation = 'shop.orders'::regclass"
    ((number,),) = place.sql(tracked)
    assert points((place, []), 1)["document orders: triggers"]["state"] == "OK"
    place.sql(f"drop trigger txid_sync_{number}_{suffix} on shop.orders")
    told = points((place, []), 1)["document orders: triggers"]
    assert told["state"] == "FAILED"
    assert "key changes" in told["detail"]


def test_a_condition_that_is_not_immutable_fails(ready: tuple[Place, list[str]]) -> None:
    """`where` with now() is found before a run, and nothing of the try is left."""
    place = ready[0]
    file = place.folder / "c.toml"
    file.write_text(file.read_text().replace("amount > 0", "now() > '2020-01-01'"))
    assert "IMMUTABLE" in points(ready, 1)["document lines: where"]["detail"]


def test_a_superuser_fails(place: Place) -> None:
    """A run as superuser would run other people's casts with its rights."""
    place.run("init")
    assert "superuser" in points((place, []), 1)["role"]["detail"]


def test_a_table_without_document_is_a_warning(ready: tuple[Place, list[str]]) -> None:
    """A table that was taken out of the file is named with the statement that untracks it."""
    place = ready[0]
    file = place.folder / "c.toml"
    file.write_text(file.read_text().partition('[[document]]\ntable = "public.lines"')[0])
    point = points(ready, 0)["table lines"]
    assert point["state"] == "WARNING"
    place.sql(point["fix"])
    assert "table lines" not in points(ready, 0)


def test_servers_that_are_away_are_exit_codes_3_and_4(ready: tuple[Place, list[str]]) -> None:
    """Each has its own code, and the other side is looked at all the same."""
    place, arguments = ready
    done = place.run("check", "-s", "source.dsn=host=127.0.0.1 port=1", code=3)
    assert "sink: OK" in done.stdout
    done = place.run("check", *arguments, "-s", "sink.url=http://127.0.0.1:1", code=4)
    assert "sink: FAILED" in done.stdout
    assert "document lines: rights: OK" in done.stdout.replace(place.prefix, "")
