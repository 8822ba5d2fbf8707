"""The rows of all contenders, about 320 bytes as JSON, and how they are changed."""

from __future__ import annotations

TABLE, UNTRACKED = "goods", "plain"
# Every writer sets `updated`, which the poller asks for (and has an index on).  `revision` grows
# with every change, so that two sides can be compared by their keys and revisions.
CREATE = """
create table {} (
  id bigint primary key, customer int, status text, total numeric(12, 2), paid boolean,
  created timestamptz, updated timestamptz not null default now(), note text, tags text[],
  details jsonb, revision bigint not null default 1);
"""
FILL = """
insert into {}
select g, g %% 5000, (array['new', 'paid', 'sent'])[1 + g %% 3], g * 1.25, g %% 2 = 0,
       timestamptz '2026-01-01' + g * interval '1 s', clock_timestamp(),
       repeat('words of a note ', 6), array['red', 'blue'], jsonb_build_object('a', g, 'b', 'x'), 1
  from generate_series(1::bigint, %s) g
"""
CHANGE = "update goods set revision = revision + 1, updated = now() where id = %s"
SCRIPT = """
\\set id random(1, {rows})
update {table} set revision = revision + 1, updated = now() where id = :id;
"""
# Changes of single rows, each a transaction; rows 1 to size in turn.
SINGLES = """
create procedure singles(changes int, size int) language plpgsql as $$
begin
  for n in 0 .. changes - 1 loop
    update goods set revision = revision + 1, updated = now() where id = 1 + n % size;
    commit;
  end loop;
end
$$
"""
TOTALS = "select count(*), coalesce(sum(revision), 0) from goods"
REVISIONS = "select id, revision from goods"
BYTES = "select round(avg(octet_length(row_to_json(g)::text))) from goods g where id <= 1000"

KEPT = {"index": False, "doc_values": False}
# The same for every contender, by an index template; most fields are kept and not indexed.
MAPPING = {
    "id": {"type": "long"}, "revision": {"type": "long", "index": False},
    "customer": {"type": "integer", **KEPT}, "total": {"type": "double", **KEPT},
    "paid": {"type": "boolean", **KEPT}, "created": {"type": "date", **KEPT},
    "updated": {"type": "date", **KEPT}, "note": {"type": "keyword", **KEPT},
    "tags": {"type": "keyword", **KEPT}, "details": {"type": "object", "enabled": False},
    "status": {"type": "keyword"},
}  # fmt: skip
