-- What `txid-sync check` asks; every block is run on its own, outside a transaction.

-- server --
select current_setting('server_version_num')::int as version,
       current_setting('server_version') as version_text,
       pg_is_in_recovery() as in_recovery,
       current_setting('hot_standby_feedback') = 'on' as feedback,
       pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_receiver,
       quote_ident(current_user) as role,
       (select rolsuper from pg_roles where rolname = current_user) as superuser,
       (select rolbypassrls from pg_roles where rolname = current_user) as bypasses_rls

-- schema --
-- Asked in the catalog first: without USAGE the tables could not even be named.
select n.oid is not null as installed,
       coalesce(has_schema_privilege(n.oid, 'usage'), false) as usable,
       coalesce(has_table_privilege(c.oid, 'select'), false) as readable,
       coalesce((select bool_and(has_function_privilege(p.oid, 'execute')) from pg_proc p
                  where p.pronamespace = n.oid and p.proname = 'upkeep'), false) as may_prune,
       coalesce((select bool_and(has_function_privilege(p.oid, 'execute')) from pg_proc p
                  where p.pronamespace = n.oid and p.proname = 'mark'), false) as may_mark
  from (select 1) one
  left join pg_namespace n on n.nspname = 'txid_sync'
  left join pg_class c on c.relnamespace = n.oid and c.relname = 'tracked'

-- installed --
select version from txid_sync.installed

-- table --
select c.oid::text as relation, c.oid::regclass::text as name,
       has_table_privilege(c.oid, 'select') or (
         cardinality(%(columns)s::text[]) > 0 and (
           select count(*) = cardinality(%(columns)s::text[]) from pg_attribute a
            where a.attrelid = c.oid and a.attname = any (%(columns)s::text[])
              and has_column_privilege(c.oid, a.attnum, 'select'))) as readable,
       has_schema_privilege(c.relnamespace, 'usage') as reachable,
       c.relrowsecurity as row_security,
       pg_has_role(c.relowner, 'usage') and not c.relforcerowsecurity as exempt,
       c.relpersistence = 'u' as unlogged,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) as qualified,
       quote_ident(n.nspname) as schema,
       (select array_agg(a.attname::text) from pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.oid = to_regclass(%(table)s)

-- tracked --
select t.id, t.log::text as log, t.key::text[] as key, t.capture, t.relation::regclass::text as name,
       has_table_privilege(c.oid, 'select') as readable,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) as qualified,
       pg_table_size(c.oid) as table_bytes,
       pg_total_relation_size(c.oid) as bytes,
       t.system_identifier = (select system_identifier from pg_control_system()) as ours
  from txid_sync.tracked t
  join pg_namespace n on n.nspname = 'txid_sync'
  left join pg_class c on c.relnamespace = n.oid and c.relname = t.log
 where t.relation = %(relation)s::oid

-- unconfigured --
-- Tables that are captured although no document asks for it.
select c.oid::regclass::text as name
  from txid_sync.tracked t join pg_class c on c.oid = t.relation
 where not t.relation::oid::text = any (%(relations)s)
 order by 1

-- key --
-- Whether the key that a table was tracked by is still that of a valid unique index.
select exists (
  select from pg_index i
   where i.indrelid = %(relation)s::oid and i.indisunique and i.indisvalid and i.indpred is null
     and (select array_agg(a.attname::text order by k.place)
            from unnest(i.indkey::int2[]) with ordinality k(attnum, place)
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
           where k.place <= i.indnkeyatts) @> %(key)s::text[]
     and i.indnkeyatts = cardinality(%(key)s::text[])) as found

-- triggers --
-- Which events our triggers see (bits of pg_trigger.tgtype), and whether each fires always.  An old
-- key is seen by a trigger of rows on UPDATE alone, or by one that has the table of rows before.
select coalesce(bool_or(tgtype & 4 > 0), false) as inserts,
       coalesce(bool_or(tgtype & 16 > 0), false) as updates,
       coalesce(bool_or(tgtype & 8 > 0), false) as deletes,
       coalesce(bool_or(tgtype & 32 > 0), false) as truncates,
       coalesce(bool_or(tgtype & 29 = 17 or tgtype & 16 > 0 and tgoldtable is not null), false)
         as key_changes,
       (select array_agg(g.tgrelid::regclass || '.' || g.tgname order by 1) from pg_trigger g
         where g.tgname like 'txid\_sync%%' and g.tgenabled <> 'A'
           and g.tgrelid in (select relid from pg_partition_tree(%(relation)s::oid::regclass)
                              union select %(relation)s::oid)) as weak,
       (select array_agg(p.relid::regclass::text order by 1)
          from pg_partition_tree(%(relation)s::oid::regclass) p
         where not exists (select from pg_trigger g
                            where g.tgrelid = p.relid and g.tgname like 'txid\_sync%%'
                              and g.tgtype & 32 > 0)) as blind
  from pg_trigger
 where tgrelid = %(relation)s::oid and tgname like 'txid\_sync%%'

-- log_index --
select exists (
  select from pg_index i
    join pg_class c on c.oid = i.indrelid
    join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = 'txid_sync' and c.relname = %(log)s and i.indisvalid and i.indpred is null
     and (select array_agg(a.attname::text order by k.place)
            from unnest(i.indkey::int2[]) with ordinality k(attnum, place)
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
           where k.place <= 2) = '{txid,seq}') as found

-- temporary --
select has_database_privilege(current_database(), 'temporary') as allowed

-- copy_table --
-- An index takes only immutable conditions; on an empty copy, in a transaction that is undone.
create temporary table txid_sync_check (like {table}) on commit drop

-- immutable_condition --
create index on pg_temp.txid_sync_check ((1)) where ({condition})

-- oldest_transaction --
-- Transactions that hold a txid keep the cursor's list of open ones from shrinking.
select extract(epoch from now() - xact_start)::int as seconds, pid
  from pg_stat_activity
 where backend_xid is not null and xact_start is not null and pid <> pg_backend_pid()
 order by xact_start limit 1

-- oldest_prepared --
select extract(epoch from now() - prepared)::int as seconds, gid, database
  from pg_prepared_xacts
 order by prepared limit 1
