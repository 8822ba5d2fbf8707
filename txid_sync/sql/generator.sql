-- What the load generator asks the catalog.  Blocks are named by a line `-- name --`; %(name)s are
-- parameters.

-- table --
-- A table by its name in a query: its schema and name, and whether it is partitioned.
select c.oid::text as relation, n.nspname as schema, c.relname as name,
       c.relkind = 'p' as partitioned
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.oid = to_regclass(%(table)s)

-- columns --
-- Its columns that can be written: base type, labels of an enum, place in the primary key, whether
-- the partition is chosen by it.
select a.attname as name, a.attnotnull as not_null,
       case when t.typelem <> 0 and t.typlen = -1 then e.typname else t.typname end as type,
       t.typelem <> 0 and t.typlen = -1 as array,
       array(select enumlabel::text from pg_enum where enumtypid in (t.oid, t.typelem)
              order by enumsortorder) as labels,
       coalesce(array_position(i.indkey::int2[], a.attnum), -1)::int as key_place,
       coalesce(a.attnum = any (p.partattrs::int2[]), false) as partition_key
  from pg_attribute a
  join pg_type d on d.oid = a.atttypid
  join pg_type t on t.oid = case d.typtype when 'd' then d.typbasetype else d.oid end
  left join pg_type e on e.oid = t.typelem
  left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
  left join pg_partitioned_table p on p.partrelid = a.attrelid
 where a.attrelid = %(relation)s::oid and a.attnum > 0 and not a.attisdropped
   and a.attgenerated = '' and a.attidentity <> 'a'
 order by a.attnum

-- parents --
-- Its foreign keys: the table they point to, and the columns on both sides.
select c.confrelid::text as relation,
       array(select a.attname::text from unnest(c.conkey) with ordinality k(n, place)
               join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n
              order by place) as columns,
       array(select a.attname::text from unnest(c.confkey) with ordinality k(n, place)
               join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n
              order by place) as parent_columns
  from pg_constraint c
 where c.conrelid = %(relation)s::oid and c.contype = 'f' and c.conparentid = 0

-- powers --
-- What this server and role allow.
select current_setting('max_prepared_transactions')::int > 0 as two_phase,
       current_setting('is_superuser') = 'on' as replica,
       pg_is_in_recovery() as in_recovery

-- prepared --
-- Prepared transactions of load generators in this database.
select gid from pg_prepared_xacts
 where database = current_database() and gid like 'txid-sync-load/%%'

-- session --
-- Waiting for locks ends soon: a sleeping transaction must not stop all the others.
set application_name = 'txid-sync-load';
set lock_timeout = '3s';
set statement_timeout = '60s';
set idle_in_transaction_session_timeout = 0;
set client_encoding = 'UTF8';
select pg_advisory_lock_shared(%(class)s, %(run)s)
