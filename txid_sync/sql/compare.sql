-- What the comparison of both sides reads.  Blocks are named by a line `-- name --`; what stands in
-- braces is put in by the driver as quoted identifiers or conditions, %(name)s are parameters.

-- tracked_readable --
-- Whether this role may ask by which key a table is tracked.
select exists (
  select from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = 'txid_sync' and c.relname = 'tracked'
     and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')) as yes

-- tracked_key --
select key::text[] as key from txid_sync.tracked where relation = %(relation)s::oid

-- index_key --
-- The primary key, or else the oldest unique index over columns that are never null.
select array_agg(a.attname::text order by k.place) as key
  from pg_index i
 cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
 where i.indrelid = %(relation)s::oid and i.indisunique and i.indisvalid
   and i.indpred is null and i.indexprs is null and k.place <= i.indnkeyatts
 group by i.indexrelid, i.indisprimary
having bool_and(a.attnotnull)
 order by i.indisprimary desc, i.indexrelid
 limit 1

-- rows --
-- The rows after a key, in the order of the key: the key's texts, and the row as JSON on one line.
select {key_texts} as key, replace({row_json}::text, E'\n', ' ') as json
  from (select * from {table} t where ({condition}) and {after} order by {order}
         limit %(limit)s) t {row_source}
 order by {order}

-- present --
-- Which of the given keys have a row, told by the texts of the row's own key.
select coalesce(array_agg({key_texts}), array[]::text[]) as keys
  from (select {casts} from unnest({arrays}) as given({names})) w
  join {table} t on {match}
 where ({condition})
