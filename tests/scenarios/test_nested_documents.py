"""Tools that search the index for the documents to change miss those not yet searchable.

A child row has changed: which nested documents hold it?  Asked of the index, the answer is that of
the last refresh, so that a child moved on quickly stays in a parent which the search did not find.
txid-sync takes old and new key from the log and never searches an index while it streams.
"""

from __future__ import annotations

from typing import Any

from tests.scenarios.stage import Stage

PARENTS = (
    "select p.id::text, json_build_object('id', p.id, 'children', coalesce((select"
    " json_agg(c.id order by c.id) from public.child c where c.parent = p.id), '[]'))"
    " from public.parent p"
)


class Nested:
    """Writes parents with their children, and searches its index for a child's old parent."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.index = stage, f"{stage.prefix}nested"
        stage.server.request(
            "PUT", f"/{self.index}", {"settings": {"index": {"refresh_interval": "-1"}}}
        )
        self.write({id for id, _ in stage.run(PARENTS)})
        stage.server.request("POST", f"/{self.index}/_refresh")

    def write(self, ids: set[str]) -> None:
        """Write these parents as they are now."""
        for id, document in self.stage.run(PARENTS):
            if id in ids:
                self.stage.server.request("PUT", f"/{self.index}/_doc/{id}", document)

    def child_changed(self, child: int) -> None:
        """Write the parents that hold the child by the index, and that of the row."""
        asked = {"query": {"term": {"children": child}}}
        found = self.stage.server.request("POST", f"/{self.index}/_search", asked)["hits"]["hits"]
        now = self.stage.run("select parent::text from public.child where id = %s", child)
        self.write({hit["_id"] for hit in found} | {parent for (parent,) in now})

    def holders(self, child: int) -> set[str]:
        """The parents whose document holds the child, read by id."""
        ids = [id for id, _ in self.stage.run(PARENTS)]
        request = self.stage.server.request
        documents = {id: request("GET", f"/{self.index}/_doc/{id}")["_source"] for id in ids}
        return {id for id, document in documents.items() if child in document["children"]}


def searches(stage: Stage) -> Any:
    """How many searches the indices of txid-sync have answered."""
    path = f"/{stage.index_of('parent')},{stage.index_of('child')}/_stats/search"
    return stage.server.request("GET", path)["_all"]["total"]["search"]["query_total"]


def test_a_child_moves_twice_between_two_refreshes(stage: Stage) -> None:
    """From parent 1 to 2 to 3: the rival does not find it in 2, where it stays for ever."""
    stage.table("id bigint primary key", name="parent")
    stage.table("id bigint primary key, parent bigint references public.parent", name="child")
    stage.run("insert into public.parent values (1), (2), (3)")
    stage.run("insert into public.child values (7, 1)")
    rival = Nested(stage)
    stage.sync()
    searched = searches(stage)
    for parent in (2, 3):
        stage.run("update public.child set parent = %s", parent)
        rival.child_changed(7)
        while stage.step():
            pass
    assert searches(stage) == searched
    assert rival.holders(7) == {"2", "3"}
    stage.assert_equal()
    assert stage.held("child") == {"7": {"id": 7, "parent": 3}}


def test_a_child_changes_key_and_parent_at_once(stage: Stage) -> None:
    """Parent 1's child 7 becomes parent 2's child 8: a search for 8 never finds parent 1."""
    stage.table("id bigint primary key", name="parent")
    stage.table("id bigint primary key, parent bigint references public.parent", name="child")
    stage.run("insert into public.parent values (1), (2)")
    stage.run("insert into public.child values (7, 1)")
    rival = Nested(stage)
    stage.sync()
    stage.run("update public.child set id = 8, parent = 2")
    rival.child_changed(8)
    assert rival.holders(7) == {"1"}
    stage.assert_equal()
