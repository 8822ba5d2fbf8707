-- Everything that the PostgreSQL source runs.  Blocks are named by a line `-- name --`; what stands
-- in braces is put in by the driver as quoted identifiers or as other blocks of this file,
-- %(name)s are parameters.

-- pin --
-- All that changes what a row looks like as text, or how a statement runs (listing 80,000 entries
-- takes 10 MB).  Nested loops only: a
-- page looks up a bounded number of keys by index, whatever the statistics say; so a statement that
-- is prepared needs one plan.
set default_transaction_isolation = 'read committed';
set default_transaction_read_only = on;
set synchronous_commit = local;
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
set extra_float_digits = 1;
set bytea_output = 'hex';
set xmloption = 'content';
set lc_monetary = 'C';
set client_encoding = 'UTF8';
set standard_conforming_strings = on;
set row_security = off;
set jit = off;
set statement_timeout = %(statement_timeout)s;
set idle_in_transaction_session_timeout = 0;
set enable_seqscan = off;
set enable_bitmapscan = off;
set enable_hashjoin = off;
set enable_mergejoin = off;
set plan_cache_mode = force_generic_plan;
set work_mem = '16MB';

-- server --
-- Asked first, and alone: the functions of the other statements fail in recovery.
select pg_is_in_recovery() as in_recovery,
       current_setting('server_version_num')::int as version,
       current_setting('is_superuser') = 'on' as superuser,
       pg_backend_pid() as pid

-- identity --
-- Which cluster, history and database this is; one row, four columns.
select (select system_identifier::text from pg_control_system()) as system_identifier,
       substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) as timeline,
       (select oid::text from pg_database where datname = current_database()) as database_oid,
       pg_backend_pid()::text as pid

-- identity_standby --
-- The same on a standby, where the true timeline is that of the WAL receiver (shown to members of
-- pg_read_all_stats while it runs), and which server of several it is.
select (select system_identifier::text from pg_control_system()) as system_identifier,
       coalesce((select upper(lpad(to_hex(received_tli), 8, '0')) from pg_stat_wal_receiver), '')
         as timeline,
       (select oid::text from pg_database where datname = current_database()) as database_oid,
       case when pg_is_in_recovery() then 'standby' else 'promoted' end as role,
       concat_ws(' ', host(inet_server_addr()), inet_server_port(),
                 extract(epoch from pg_postmaster_start_time())) as server,
       pg_backend_pid()::text as pid

-- standby --
-- Asked after connecting to a standby, before anything else: how far it has replayed the WAL, and
-- whether the role would see the timeline of the WAL receiver.
select coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, 0)::bigint as place,
       pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_receiver,
       identity.*
  from ({identity}) identity

-- running --
-- Asked on a standby before each page: the bounds of its snapshot, and which of the txids that were
-- not known to have ended are in progress, at most so many of them (see recovery.py).
select pg_is_in_recovery() as in_recovery, b.xmin, b.x1, b.bound,
       array(select a.txid
               from (select unnest(%(open)s::bigint[]) as txid
                     union all
                     select generate_series(b.start, b.bound - 1)) a
              where a.txid >= b.xmin and txid_status(a.txid) = 'in progress'
              order by a.txid) as running
  from (select txid_snapshot_xmin(s) as xmin, txid_snapshot_xmax(s) as x1, start,
               greatest(start, least(txid_snapshot_xmax(s), start + %(limit)s)) as bound
          from (select s, greatest(txid_snapshot_xmin(s), %(start)s) as start
                  from txid_current_snapshot() s) n) b

-- poll --
-- The snapshot's text says whether any transaction has ended since the last poll, and which: the
-- window that it closes is what all that follows is asked for.
select txid_current_snapshot()::text as snapshot, identity.*
  from ({identity}) identity

-- clock --
select txid_current_snapshot()::text as snapshot

-- begin --
select txid_current_snapshot()::text as snapshot, pg_current_wal_insert_lsn()::text as lsn

-- place --
select v.*, identity.*
  from (select txid_current_snapshot() as s offset 0) n
 cross join lateral (select {version} as version, {lsn} as lsn) v
 cross join ({identity}) identity

-- rebind --
-- Empty a log that another cluster wrote, or this one before its txids were lowered, before the
-- first snapshot is taken.
begin read write;
select txid_sync.rebind(%(relation)s::oid::regclass);
commit

-- begin_writing --
begin read write

-- upkeep --
select txid_sync.upkeep(%(relation)s::oid::regclass, nullif(%(reader)s, ''), %(wanted)s::bigint,
                        %(batch)s) as deleted

-- mark --
-- Which server it was written to is told by the same statement.
select identity.*
  from (select txid_sync.mark(%(name)s, %(nonce)s)) marked
 cross join ({identity}) identity

-- marker --
-- What this role has marked last under a name, and which server says so; null if nothing.
select m.nonce, identity.*
  from ({identity}) identity
  left join txid_sync.marker m on m.name = %(name)s and m.role = current_user


-- forget --
select txid_sync.unregister(%(reader)s) as logs

-- flushed --
select pg_current_wal_flush_lsn() >= %(lsn)s::pg_lsn as flushed

-- force_flush --
-- A transaction that logs one empty message: its commit flushes the WAL up to here.
select pg_logical_emit_message(true, 'txid_sync', '')

-- force_flush_17 --
-- The same without a transaction id.
select pg_logical_emit_message(false, 'txid_sync', '', true)

-- probe --
-- Which logs have rows in the window, and the greatest txid pruned from any of them.
select array_remove(array[{logs}]::int[], null) as logs,
       (select max(pruned_txid) from txid_sync.tracked
         where id = any ({tracked_ids})
           and system_identifier = (select system_identifier from pg_control_system()))
         as pruned_txid,
       identity.*
  from ({identity}) identity

-- probe_log --
-- The window's two ranges.  Of the txids that were in progress at the end of the last one only those
-- that have ended: others have no row that could be seen, but maybe a million to be looked at.
case when exists (select from {log} where txid = any (%(ended)s::bigint[]))
       or exists (select from {log} where txid >= %(xmax)s and txid < %(until)s)
     then {ordinal} end

-- one_line --
-- Between its values JSON may hold raw line ends (inside texts they are escaped).
replace({row_json}, E'\n', ' ')

-- now --
-- The statement's own snapshot: every version in the page is its clock.  The lines are what follows
-- an id in an action.  (Whether a txid was assigned is asked at the end, after the rows are built.)
now as materialized (
  select version, lsn, line as delete_line, line || E'\n' as index_line
    from (select txid_current_snapshot() as s offset 0) n
   cross join lateral (select {version} as version, {lsn} as lsn) v
   cross join lateral (
         select '{quote},"version":' || version || ',"version_type":"external_gte"}}}}' as line) l
)

-- version --
-- The snapshot is made once (`offset 0`): with 5,000 transactions in progress that takes its time.
(%(epoch)s::bigint << 48) + txid_snapshot_xmax(s) - (select count(*) from txid_snapshot_xip(s))

-- version_standby --
-- A snapshot of a standby does not show what is in progress: the version was found before.
%(version)s::bigint

-- lsn --
pg_current_wal_insert_lsn()::text

-- lsn_standby --
coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, 0)::bigint

-- stream_keys --
-- The next %(limit)s entries of the window in the order (txid, seq, item): whole log rows are
-- chosen by their counts, without touching the arrays, and only these are unnested; the last one
-- may be cut.  Two ordered, limited arms, never an `or`.  The second begins at one place: of two
-- lower bounds the index takes the row, and would walk from there over all that was read before.
-- A truncation is a row without items; it stands as item 0.
with {now},
log_rows as materialized (
  select arms.*, row_number() over w as place, sum(items) over w - items as items_before
    from ((select txid, seq, items, {log_keys}
             from {log}
            where txid = any (%(ended)s::bigint[])
              and (txid, seq) >= (%(at_txid)s, %(at_seq)s)
            order by txid, seq
            limit %(limit)s + 1)
          union all
          (select txid, seq, items, {log_keys}
             from {log}
            where (txid, seq) >= (%(from_txid)s, %(from_seq)s) and txid < %(until)s
            order by txid, seq
            limit %(limit)s + 1)) arms
  window w as (order by txid, seq rows unbounded preceding)
   order by txid, seq
   limit %(limit)s + 1
),
chosen as not materialized (
  select r.*,
         case when (txid, seq) = (%(at_txid)s, %(at_seq)s) then %(at_item)s else 0 end as first,
         least(items, %(limit)s::bigint + %(at_item)s - items_before) as last
    from log_rows r
   where items_before < %(limit)s::bigint + %(at_item)s
     and not (items = 0 and (txid, seq) = (%(at_txid)s, %(at_seq)s))
),
{wanted},
place as (
  select entries, truncated,
         (select array[txid, seq, last] from chosen
           where place = last_place and (items = 0 or last > first)) as last
    from (select coalesce(sum(case when items = 0 then 1 else (last - first)::int end), 0) as entries,
                 coalesce(bool_or(items = 0), false) as truncated, max(place) as last_place
            from chosen) counted
)

-- share --
-- Whether an id belongs to a worker's share; the same as share.py.
mod({hash}, {of}) = {rest}

-- hash --
-- Of a text in ASCII.  A tenth of what md5 costs, and every worker pays it for every row.
(hashtext({ascii} collate "C")::bigint & 4294967295)

-- escaped --
-- A text in ASCII, whatever the encoding of the database.
encode(convert_to({text}, 'UTF8'), 'escape')

-- hashes --
-- Whether this server hashes as share.py does.
select array_agg({hash} order by place) as hashes
  from unnest(%(texts)s::text[]) with ordinality as given(ascii, place)

-- wanted --
-- Each key of the page once, of those that belong to the share.
wanted as materialized (
  select distinct on ({distinct}) *
    from (select {wanted_columns}
            from (select {entry_keys} from chosen r where items > 0) e
           where {key_share}) k
   order by {distinct}
)

-- wanted_array --
-- The same keys in one array, for a single index scan; it may hold a key several times.
wanted as materialized (
  select array_agg(k1) as keys
    from (select {entry_keys} from chosen r where items > 0) e
   where {key_share}
)

-- entry_key --
-- The keys of a log row, cut to the entries of this page; most rows are whole, and not sliced.
unnest(case when r.first = 0 and r.last = r.items then r.{key}
            else r.{key}[r.first + 1 : r.last] end) as {key}

-- lookup_keys --
-- Single documents by id; the key's columns as texts come beside it.
with {now},
wanted as materialized (
  select id collate "C" as id, {key_casts}
    from unnest(%(ids)s::text[], {key_parameters}) as given(id, {log_keys})
),
place as (select 0 as entries, null::bigint[] as last, false as truncated)

-- lookup_array --
-- The same for a single index scan; a key that is written otherwise than PostgreSQL does is no id.
with {now},
wanted as materialized (
  select array_agg(k1) filter (where id = k1::text) as keys
    from (select given.id, {key_casts}
            from unnest(%(ids)s::text[], {key_parameters}) as given(id, {log_keys})) g
),
place as (select 0 as entries, null::bigint[] as last, false as truncated)

-- documents --
-- What every page brings beside its body.
select now.version, now.lsn, txid_current_if_assigned() is null as unassigned,
       place.*, body.*, identity.*,
       {fingerprint} as fingerprint, {pruned} as pruned_txid
  from now
 cross join place
 cross join ({identity}) identity
 cross join lateral ({body}) body

-- body --
-- One body for a bulk request: an index action for each wanted key that has a row in this
-- snapshot, a delete action for the others.  The id is compared too: keys that are equal but look
-- different (citext, numeric) are different documents.  The row's JSON is mentioned once, because it
-- would be built for each mention: without a row the index action is null.
select string_agg(coalesce(
         '{{"index":{{"_id":{quote}' || {id_json} || now.index_line || json,
         '{{"delete":{{"_id":{quote}' || {id_json} || now.delete_line), E'\n')
         filter (where {id_fits}) as body,
       count(*) filter (where {id_fits}) as documents, null as deletes,
       array_agg(id) filter (where not {id_fits} and json is not null) as long_ids
  from (select {wanted_id} as id, d.json
          from wanted w
          left join lateral (
            select {row_json} as json
              from {row}
          ) d on true) found

-- body_array --
-- The same for a table with a key of one plain column: a single index scan takes a fifth of the
-- time of a lookup for each key.  Whoever was not found in it is deleted; nobody is looked for if as
-- many rows were found as keys were wanted.
select built.body, built.rows + gone.ids as documents, gone.body as deletes, null as long_ids
  from (select string_agg('{{"index":{{"_id":{quote}' || {row_id} || now.index_line || {row_json},
                          E'\n') as body,
               count(*) as rows, array_agg(t.{key}) as keys
          from (select * from {table} t
                 where t.{key} = any ((select keys from wanted)::{key_type}[]) and ({condition})) t
               {row_source}) built
 cross join lateral (
   select string_agg('{{"delete":{{"_id":{quote}' || id || now.delete_line, E'\n') as body,
          count(*) as ids
     from ({wanted_ids} except select unnest(built.keys)::text) gone(id)
    where {wanted_count} > built.rows) gone

-- ids_of_page --
select unnest(w.keys)::text from wanted w

-- count_of_page --
(select cardinality(w.keys) from wanted w)

-- ids_of_lookup --
select unnest(%(ids)s::text[])

-- count_of_lookup --
cardinality(%(ids)s::text[])

-- row --
-- The row of a key, as it is: its JSON is made of the stored tuple itself.
{table} t where {key_match} and {image_match} and ({condition})

-- row_columns --
-- The row of a key, cut to the columns of the document.
(select * from {table} t where {key_match} and {image_match} and ({condition})) t {row_source}

-- ids --
-- The same place of the window without its documents, for a page that cannot be built.
select now.version, now.lsn, txid_current_if_assigned() is null as unassigned,
       place.*, identity.*,
       (select array_agg({wanted_id}) from wanted w) as ids,
       {fingerprint} as fingerprint, {pruned} as pruned_txid
  from now cross join place cross join ({identity}) identity

-- sample --
-- Whether keys repeat in a window.  A point finds the first log row of a transaction; where several
-- points have found one transaction (a window may be a single one), as many of its rows are chosen
-- between its first and its last.  A single point goes up to three rows further: what comes first
-- in every transaction may be special.  Of each row one entry, by a hash that knows no pattern of
-- the keys; an entry that was chosen twice is one.  Nothing but speed depends on the answer.
with met as materialized (
  select r.*, p.points
    from unnest(%(txids)s::bigint[], %(bounds)s::bigint[], %(points)s::int[])
           p(txid, bound, points)
   cross join lateral (
         select l.txid, l.seq, d.item, {sampled_keys}
           from {log} l
          cross join lateral (select 1 + (hashint8(l.seq) & 65535) %% l.items as item) d
          where l.txid >= p.txid and l.txid < p.bound and l.items > 0
          order by l.txid, l.seq
         offset case when p.points = 1 then p.txid & 3 else 0 end
          limit 1) r
),
entries as materialized (
  select txid, seq, item, {log_keys} from met
  union
  select r.*
    from (select txid, min(seq) as first, sum(points)::int as points from met
           group by txid having sum(points) > 1) m
   cross join lateral (
         select max(l.seq) - m.first as length from {log} l where l.txid = m.txid) e
   cross join generate_series(1, m.points) n
   cross join lateral (select (hashint8(m.first + n) & 65535) / 65536::float as share) spot
   cross join lateral (
         select l.txid, l.seq, d.item, {sampled_keys}
           from {log} l
          cross join lateral (select 1 + (hashint8(l.seq + n) & 65535) %% l.items as item) d
          where l.txid = m.txid and l.items > 0
            and l.seq >= m.first + (e.length * spot.share)::bigint
          order by l.txid, l.seq
          limit 1) r
)
select (select count(*) from entries)
       > (select count(*) from (select distinct {log_keys} from entries) keys) as repeats

-- sampled_key --
l.{key}[d.item] as {key}

-- load --
-- The rows after a key, in the order of the key, as index actions, and the last key of them.
with {now}
select now.version, now.lsn, txid_current_if_assigned() is null as unassigned,
       body.*, identity.*, {fingerprint} as fingerprint, null::bigint as pruned_txid
  from now
 cross join ({identity}) identity
 cross join lateral (
   select count(*) as entries, array[{last_key}] as last, null as deletes,
          string_agg('{{"index":{{"_id":{quote}' || {id_json} || now.index_line || json, E'\n')
            filter (where {id_fits}) as body,
          count(*) filter (where {id_fits}) as documents,
          array_agg(id) filter (where not {id_fits}) as long_ids
     from (select {row_id} as id, {row_json} as json, {row_keys}
             from (select * from {table} t where ({condition}) and {after} and {row_share}
                    order by {order} limit %(limit)s) t {row_source}) row) body

-- last_key --
-- Rows are aggregated in the order in which they come.
(array_agg({key}))[count(*)]::text

-- load_key --
-- The next key alone, for a row that cannot be built.
select {key_texts} as key from {table} t where {after} and {row_share} order by {order} limit 1

-- cast_key --
-- Whether these texts are a key of the table at all.
select {key_casts} from (select {key_parameters}) as given({log_keys})

-- resolve --
-- The table that a name in the configuration means, as schema and name.
select c.oid::text as relation, n.nspname as schema, c.relname as name,
       c.relkind = 'p' as partitioned
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.oid = to_regclass(%(table)s)

-- tracked --
-- How a table is captured, and whether rebind must empty its log; no row if it is not.
select id, log, key::text[] as key, capture,
       system_identifier <> (select system_identifier from pg_control_system())
         or pruned_txid >= txid_snapshot_xmax(txid_current_snapshot()) as foreign_log
  from txid_sync.tracked
 where relation = %(relation)s::oid

-- key_columns --
-- The key's columns: type to cast a text to, and the schema of the operator that its index uses.
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
       n.nspname as operator_schema, p.ordinality as place,
       t.typname in ('int2', 'int4', 'int8', 'uuid', 'oid', 'date') as plain
  from unnest(%(key)s::name[]) with ordinality as p(name, ordinality)
  join pg_attribute a on a.attrelid = %(relation)s::oid and a.attname = p.name
  join pg_type t on t.oid = a.atttypid
  left join lateral (
    select o.oprnamespace
      from pg_index i
      join pg_opclass c on c.oid = i.indclass[array_position(i.indkey::int2[], a.attnum)]
      join pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype
                    and m.amoprighttype = c.opcintype and m.amopstrategy = 3
      join pg_operator o on o.oid = m.amopopr
     where i.indrelid = a.attrelid and i.indisunique and a.attnum = any (i.indkey)
     limit 1) op on true
  left join pg_namespace n on n.oid = coalesce(op.oprnamespace, 'pg_catalog'::regnamespace)
 order by p.ordinality

-- columns --
-- The table's columns as the sink needs to know them: domains resolved, arrays by their element.
-- `newlines`: the JSON of a value may hold raw line ends, as that of json does, of composite types
-- with such a column, and of foreign types with a cast to json.  `named`: it holds names that
-- another entry of the catalog gives, labels or fields of a type that somebody made.
with recursive base as (
  select a.attnum, a.attname, a.atttypid as type, false as array
    from pg_attribute a
   where a.attrelid = %(relation)s::oid and a.attnum > 0 and not a.attisdropped
  union all
  select b.attnum, b.attname,
         case when t.typtype = 'd' then t.typbasetype else t.typelem end,
         b.array or t.typtype <> 'd'
    from base b join pg_type t on t.oid = b.type
   where t.typtype = 'd' or (t.typelem <> 0 and t.typlen = -1)
)
select b.attname as name, t.typname as type, b.array,
       case t.typtype when 'e' then 'enum' when 'r' then 'range' when 'm' then 'range'
                      when 'c' then 'composite' when 'p' then 'pseudo' else 'base' end as kind,
       t.typname = 'json' or t.typtype in ('c', 'p')
         or (t.typtype = 'b' and t.typnamespace <> 'pg_catalog'::regnamespace) as newlines,
       t.typtype in ('e', 'c', 'r', 'm') and t.oid >= 16384 as named
  from base b join pg_type t on t.oid = b.type
 where not (t.typtype = 'd' or (t.typelem <> 0 and t.typlen = -1))
 order by b.attnum

-- triggers --
-- Our triggers on a table and its partitions: how many, and how many of them do not fire always;
-- whether a unique index still keeps the key; whether other tables inherit from it.
select count(*) as triggers,
       count(*) filter (where g.tgenabled <> 'A') as weak,
       %(wanted)s - count(distinct regexp_replace(g.tgname, '.*_', ''))
         filter (where g.tgrelid = %(relation)s::oid) as missing,
       exists (select from pg_inherits i join pg_class c on c.oid = i.inhparent
                where c.oid = %(relation)s::oid and c.relkind = 'r') as heirs,
       exists (select from pg_index i
                where i.indrelid = %(relation)s::oid and i.indisunique and i.indisvalid
                  and i.indpred is null and i.indexprs is null
                  and i.indnkeyatts = cardinality(%(key)s::name[])
                  and i.indnkeyatts = (
                      select count(*) from pg_attribute a
                       where a.attrelid = i.indrelid and a.attname = any (%(key)s::name[])
                         and a.attnum = any ((i.indkey::int2[])[0 : i.indnkeyatts - 1]))) as keyed
  from pg_trigger g
 where g.tgrelid in (select relid from pg_partition_tree(%(relation)s::oid::regclass)
                      union select %(relation)s::oid)
   and g.tgname like 'txid\_sync%%'

-- catalog --
-- Whether anything has changed of what is asked of each table one by one: all that the fingerprints
-- hold, keys, heirs, and how the tables are tracked.  One statement for all tables.  Beside it about
-- how many rows each has, by the statistics (null: there are none); those of a partitioned table are
-- kept for its partitions.
with members as (
  select c.oid, concat_ws(' ', c.oid, c.relname, c.relnamespace, c.relkind, c.relrowsecurity,
                                  c.relforcerowsecurity) as text
    from pg_class c
   where c.oid in (select unnest(%(relations)s::oid[])
                   union
                   select p.relid
                     from unnest(%(relations)s::oid[]) r cross join pg_partition_tree(r) p)
)
select md5(concat_ws('|',
  (select string_agg(m.text, ',' order by m.oid) from members m),
  (select string_agg(concat_ws(' ', n.oid, n.xmin), ',' order by n.oid) from pg_namespace n),
  (select string_agg(concat_ws(' ', a.attrelid, a.attnum, a.xmin), ',' order by a.attrelid, a.attnum)
     from pg_attribute a where a.attnum > 0 and a.attrelid in (select oid from members)),
  (select string_agg(concat_ws(' ', g.oid, g.xmin), ',' order by g.oid)
     from pg_trigger g where g.tgrelid in (select oid from members)),
  (select string_agg(concat_ws(' ', i.indexrelid, i.indisvalid, i.xmin), ',' order by i.indexrelid)
     from pg_index i where i.indrelid in (select oid from members)),
  (select string_agg(concat_ws(' ', i.inhparent, i.inhrelid, i.xmin), ',' order by i.inhrelid)
     from pg_inherits i where i.inhparent in (select oid from members)),
  (select string_agg(concat_ws(' ', t.oid, t.xmin), ',' order by t.oid)
     from pg_type t where t.oid >= 16384 and t.typtype in ('e', 'd', 'r', 'm', 'c')),
  (select string_agg(concat_ws(' ', e.oid, e.enumlabel), ',' order by e.oid) from pg_enum e),
  (select string_agg(concat_ws(' ', a.attrelid, a.attnum, a.xmin), ',' order by a.attrelid, a.attnum)
     from pg_class c join pg_attribute a on a.attrelid = c.oid where c.relkind = 'c'),
  (select string_agg(concat_ws(' ', t.id, t.relation::oid, t.log, t.key, t.capture), ',' order by t.id)
     from txid_sync.tracked t))) as catalog,
  array(select (select nullif(sum(greatest(c.reltuples, 0)), 0)::bigint
                  from (select r.oid as relid union select relid from pg_partition_tree(r.oid)) p
                  join pg_class c on c.oid = p.relid and c.relkind <> 'p')
          from unnest(%(relations)s::oid[]) with ordinality r(oid, ordinal)
         order by r.ordinal) as rows

-- fingerprint --
-- What the change log does not show: the table itself, its columns, our triggers, row-level
-- security, partitions, the names within its types (the next block, where there are any).
-- The xmin of a catalog row changes with every change of that row.
(select md5(concat_ws('|', c.oid, c.relrowsecurity, c.relforcerowsecurity,
   (select string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.xmin), ','
                      order by a.attnum)
      from pg_attribute a
     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
   (select string_agg(concat_ws(' ', g.tgrelid, g.tgname, g.tgenabled, g.xmin), ','
                      order by g.tgrelid, g.tgname)
      from pg_trigger g
     where g.tgrelid in (select relid from pg_partition_tree(c.oid) union select c.oid)
       and g.tgname like 'txid\_sync%%'),
   (select string_agg(p.relid::oid::text, ',' order by p.relid::oid)
      from pg_partition_tree(c.oid) p), {type_names}))
   from pg_class c where c.oid = to_regclass({table_text}))

-- type_names --
-- Every label and field of every type that the columns use, at any depth.  16384 is the first oid
-- that is not the server's own.  Of a multirange the cast alone tells the range, before 14 too.
(with recursive used(type) as (
   select a.atttypid from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
   union
   select part.type
     from used u join pg_type t on t.oid = u.type
    cross join lateral (
          select t.typelem union all select t.typbasetype
          union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
          union all select m.castsource from pg_cast m
                     where m.casttarget = t.oid and t.typtype = 'm'
          union all select f.atttypid from pg_attribute f
                     where f.attrelid = t.typrelid and f.attnum > 0 and not f.attisdropped
         ) part(type)
    where part.type >= 16384)
 select concat((select string_agg(concat_ws(' ', e.oid, e.enumlabel), ',' order by e.oid)
                  from used u join pg_enum e on e.enumtypid = u.type),
               (select string_agg(concat_ws(' ', f.attrelid, f.attnum, f.attname, f.xmin), ','
                                  order by f.attrelid, f.attnum)
                  from used u join pg_type t on t.oid = u.type
                  join pg_attribute f on f.attrelid = t.typrelid
                 where f.attnum > 0 and not f.attisdropped)))

-- pruned --
-- The greatest txid pruned from the log; a mark that another cluster made says nothing here.
(select pruned_txid from txid_sync.tracked
  where id = {tracked_id}
    and system_identifier = (select system_identifier from pg_control_system()))


-- log_entries --
-- What a log holds of some documents that a finished set does not count: two arms, as in a window.
-- The oldest log rows are looked at, one more than the limit is counted.  A truncation is a row
-- without items: it stands as the id null.
with log_rows as materialized (
  select arms.*, row_number() over (order by txid, seq) as place
    from ((select txid, seq, items, {log_keys}
             from {log}
            where txid = any ((select array_agg(x)
                                 from (select txid_current_snapshot() as s offset 0) n
                                cross join unnest(%(xip)s::bigint[]) x
                                where txid_visible_in_snapshot(x, n.s))::bigint[])
            order by txid, seq
            limit %(limit)s + 1)
          union all
          (select txid, seq, items, {log_keys}
             from {log}
            where txid >= %(xmax)s
            order by txid, seq
            limit %(limit)s + 1)) arms
),
entries as (
  select distinct e.txid, {log_id} as id
    from (select txid, {unnested} from log_rows where items > 0 and place <= %(limit)s) e
   where {log_id} = any (%(ids)s::text[])
  union all
  select distinct txid, null from log_rows where items = 0 and place <= %(limit)s
)
select txid_current_snapshot()::text as snapshot, identity.*, {pruned} as pruned_txid,
       (select count(*) <= %(limit)s from log_rows) as complete,
       (select json_agg(json_build_array(id, txid) order by txid)::text from entries) as entries
  from ({identity}) identity

-- key_texts --
-- A key given as texts, as its own types write it.
select array[{texts}] as key from ({cast_key}) given({log_keys})
