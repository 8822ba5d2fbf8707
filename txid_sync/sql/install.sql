-- The schema txid_sync, first part: which tables are captured, their logs, what captures them.
-- Plain SQL, safe to repeat; run it as one transaction with the other parts, tracking.sql and
-- upkeep.sql, as the role that is to own the schema:
-- psql -1 -v ON_ERROR_STOP=1 -f install.sql -f tracking.sql -f upkeep.sql
-- A newer version brings an older one up to date; an older one refuses.  See docs/capture.md.

do $install$
declare
  owner name := (select nspowner::regrole::text from pg_catalog.pg_namespace
                  where nspname = 'txid_sync');
  found integer;
begin
  perform pg_catalog.pg_advisory_xact_lock(7468724, 0);
  if owner <> pg_catalog.quote_ident(current_user) then
    raise exception 'the schema txid_sync belongs to the role %', owner
      using errcode = 'insufficient_privilege', hint = 'run it as that role: set role ' || owner;
  end if;
  if pg_catalog.to_regclass('txid_sync.installed') is not null then
    execute 'select version from txid_sync.installed' into found;
    if found > 3 then
      raise exception 'the schema txid_sync has version %, this program knows version 3', found
        using errcode = 'object_not_in_prerequisite_state',
              hint = 'use a newer txid-sync; nothing was changed';
    end if;
  end if;
end
$install$;

create schema if not exists txid_sync;

-- One sequence for all logs: within a transaction it gives the order of the log rows.
create sequence if not exists txid_sync.log_seq cache 32;

create table if not exists txid_sync.installed (
  single       boolean primary key default true check (single),
  version      integer not null,
  capture_role name not null,          -- owns the capture functions
  installed_at timestamptz not null default now()
);

-- How long a reader that does not come back keeps log rows (since it was first seen to be behind),
-- and how large a log may become because of readers that are behind.
alter table txid_sync.installed
  add column if not exists retention interval not null default '3 days'
    check (retention >= '0 s'),
  add column if not exists max_log_bytes bigint not null default 10737418240
    check (max_log_bytes >= 0);

create table if not exists txid_sync.tracked (
  id                integer primary key generated always as identity,
  relation          regclass not null unique,
  log               name not null unique,
  key               name[] not null,
  capture           text not null check (capture in ('statement', 'row')),
  pruned_txid       bigint not null default 0,
  system_identifier bigint not null,   -- the cluster whose txids the log and the mark hold
  tracked_at        timestamptz not null default now()
);

-- Who reads a log, and from where on its rows are still wanted.  A reader is moved by the role that
-- has made it only.
create table if not exists txid_sync.readers (
  tracked      integer not null references txid_sync.tracked on delete cascade,
  reader       text not null check (octet_length(reader) between 1 and 300),
  role         name not null,
  wanted_txid  bigint not null,   -- the lowest txid whose rows it may not have read
  seen_at      timestamptz not null default now(),
  behind_since timestamptz,       -- when others first saw that it leaves rows unread
  primary key (tracked, reader, role)
);

-- What a pipeline has written last when it had come to rest: a history that holds it holds all that
-- was written before it.
create table if not exists txid_sync.marker (
  name      text not null check (octet_length(name) between 1 and 300),
  role      name not null,
  nonce     text not null check (octet_length(nonce) between 1 and 100),
  marked_at timestamptz not null default now(),
  primary key (name, role)
);

-- The capture functions run with the rights of a role that can do nothing but add to the logs, if
-- the installer may make one; else with the installer's own.
do $install$
declare
  installer record;
  role_ready boolean;
begin
  select rolsuper, rolsuper or rolcreaterole as can_create into installer
    from pg_catalog.pg_roles where rolname = current_user;
  if installer.can_create and not exists (
       select from pg_catalog.pg_roles where rolname = 'txid_sync_capture') then
    begin
      create role txid_sync_capture nologin;
      comment on role txid_sync_capture is 'owns the capture functions of txid_sync';
    exception when duplicate_object or unique_violation then
      null;  -- another database of the cluster was quicker
    end;
  end if;
  if installer.can_create and not installer.rolsuper then
    begin
      grant txid_sync_capture to current_user;
    exception when insufficient_privilege or undefined_object then
      null;  -- someone else's role: it is looked at below
    end;
  end if;
  select not r.rolcanlogin and not r.rolsuper and not r.rolcreaterole and not r.rolbypassrls
         and pg_catalog.shobj_description(r.oid, 'pg_authid') like '%capture functions of txid_sync'
         and pg_catalog.pg_has_role(current_user, r.oid, 'member')
    into role_ready
    from pg_catalog.pg_roles r where r.rolname = 'txid_sync_capture';
  insert into txid_sync.installed (version, capture_role)
  values (3, case when role_ready then 'txid_sync_capture' else current_user end)
      on conflict (single) do update
     set version = excluded.version, capture_role = excluded.capture_role
   where (installed.version, installed.capture_role)
         is distinct from (excluded.version, excluded.capture_role);
  if role_ready then
    grant usage on schema txid_sync to txid_sync_capture;
    grant usage on sequence txid_sync.log_seq to txid_sync_capture;
  end if;
end
$install$;

-- What the catalog says about a table ------------------------------------------------------------

-- The table with its partitions, at every level.
create or replace function txid_sync.members(relation regclass)
returns setof regclass language sql stable set search_path = pg_catalog, pg_temp as $$
  select relation union select p.relid from pg_partition_tree(relation) p
$$;

-- Raise an error with a hint, unless the table is one that can be captured.
create or replace function txid_sync.refuse_unfit(relation regclass)
returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  it record;
begin
  select c.relkind, c.relnamespace::regnamespace::text as schema into it
    from pg_class c where c.oid = relation;
  if not found then
    raise exception 'the table % does not exist', relation using errcode = 'undefined_table';
  elsif it.relkind not in ('r', 'p') then
    raise exception '% is not a table', relation using errcode = 'wrong_object_type',
      hint = 'track the tables behind a view; rows of a foreign table change elsewhere, unseen';
  elsif it.schema ~ '^(txid_sync|information_schema|pg_.*)$' and it.schema !~ '^pg_temp' then
    raise exception 'tables in the schema % cannot be tracked', it.schema
      using errcode = 'feature_not_supported', hint = 'track tables with data of your own';
  elsif it.relkind = 'r' and exists (select from pg_inherits where inhparent = relation) then
    raise exception '% has tables that inherit from it', relation
      using errcode = 'feature_not_supported',
            hint = 'track tables without heirs, or make it a partitioned table';
  end if;
  select c.relkind, c.relpersistence, c.oid::regclass as name into it
    from txid_sync.members(relation) m join pg_class c on c.oid = m
   where c.relkind not in ('r', 'p') or c.relpersistence <> 'p' limit 1;
  if it.relpersistence = 'u' then
    raise exception '% is unlogged: a crash empties it, and no trigger sees that', it.name
      using errcode = 'feature_not_supported',
            hint = format('alter table %s set logged', it.name);
  elsif it.relpersistence = 't' then
    raise exception '% is temporary', it.name using errcode = 'feature_not_supported',
      hint = 'other sessions cannot read it; use a permanent table';
  elsif it.relkind is not null then
    raise exception 'the partition % is a foreign table', it.name
      using errcode = 'feature_not_supported', hint = 'its rows change elsewhere, unseen';
  end if;
end
$$;

-- Whether a type is an array, or a domain over one.
create or replace function txid_sync.is_array(type oid)
returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive base as (
    select t.* from pg_type t where t.oid = type
    union all
    select t.* from base b join pg_type t on t.oid = b.typbasetype where b.typtype = 'd'
  )
  select bool_or(typelem <> 0 and typlen = -1) from base
$$;

-- The unique indexes that could be the key: on plain columns that are never null, without a
-- predicate; the best first.  A deferrable index will do: no snapshot ever shows it violated.
create or replace function txid_sync.key_candidates(relation regclass)
returns table (place bigint, columns name[], types oid[], usable boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select row_number() over (order by not bool_and(e.array_type <> 0 and not e.is_array),
           not i.indisprimary, not i.indimmediate, count(*), sum(e.width), i.indexrelid),
         array_agg(e.attname order by e.place), array_agg(e.array_type order by e.place),
         bool_and(e.array_type <> 0 and not e.is_array)
    from pg_index i
    join pg_class x on x.oid = i.indexrelid
    join pg_am m on m.oid = x.relam and m.amname = 'btree'
   cross join lateral (
     select k.place, a.attname, t.typarray as array_type, txid_sync.is_array(t.oid),
            case when a.attlen > 0 then a.attlen else 1000 end as width,
            a.attnotnull and not exists (
              select from pg_constraint n
               where n.conrelid = relation and n.contype = 'n' and not n.convalidated
                 and a.attnum = any (n.conkey)) as never_null
       from unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
       join pg_attribute a on a.attrelid = relation and a.attnum = k.attnum
       join pg_type t on t.oid = a.atttypid
      where k.place <= i.indnkeyatts) e
   where i.indrelid = relation and i.indisunique and i.indisvalid and i.indisready
     and i.indpred is null and i.indexprs is null
   group by i.indexrelid, i.indisprimary, i.indimmediate
  having bool_and(e.never_null)
$$;

-- The key to track a table by: the wanted columns in their index's order, or the best there are.
create or replace function txid_sync.choose_key(relation regclass, wanted name[])
returns table (columns name[], types oid[])
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  best record;
begin
  select c.columns, c.types, c.usable into best from txid_sync.key_candidates(relation) c
   where wanted is null or (c.columns @> wanted and c.columns <@ wanted)
   order by c.place limit 1;
  if best.columns is null and wanted is not null then
    raise exception '% has no unique index on exactly the not-null columns (%)', relation,
        array_to_string(wanted, ', ')
      using errcode = 'invalid_parameter_value',
            hint = 'name the columns of one such index, or none to take the primary key';
  elsif best.columns is null then
    raise exception '% has no primary key and no unique index on not-null columns', relation
      using errcode = 'object_not_in_prerequisite_state',
            hint = 'add one: documents are found by it (an expression or a predicate will not do)';
  elsif not best.usable then
    raise exception 'the key (%) of % holds an array', array_to_string(best.columns, ', '), relation
      using errcode = 'feature_not_supported',
            hint = 'add a unique index on not-null columns that are no arrays';
  end if;
  return query select best.columns, best.types;
end
$$;

-- The capture function of one table --------------------------------------------------------------

-- Its source: static SQL, so that its plans are kept.  It runs under the search path of whoever
-- writes, because setting one costs a tenth of the whole or more: so every function and operator is
-- qualified, no type is named, and only keywords, columns, and the transition tables, which hide
-- any other relations of their names, stand alone.  No `between`, `in`, `case x when`, `distinct`:
-- they hold an operator without a name.  The trigger with two arguments is that on UPDATE: the keys
-- of before are logged too, unless all are as they were, byte for byte.  Tables that were tracked by
-- an older version have one without arguments instead, and one with one argument on key changes.
-- Up to 1,000 keys make one log row; arrays made by subqueries cost less than an aggregate, and
-- `offset` keeps them from being made twice.  More are cut into chunks by sorting, which spills
-- to disk: an aggregate with an order is never hashed, so that one chunk at most is held in memory.
create or replace function txid_sync.capture_source(log name, key name[], capture text)
returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
  select format(case capture when 'statement' then $source$
#variable_conflict use_column
begin
  if tg_nargs operator(pg_catalog.=) 2 then
    insert into txid_sync.%1$I (txid, seq, items, %2$s)
    select pg_catalog.txid_current(), pg_catalog.nextval('txid_sync.log_seq'),
           pg_catalog.cardinality(c.k1), %5$s
      from (select %8$s, %9$s offset 0) c
     where %10$s and pg_catalog.cardinality(c.k1) operator(pg_catalog.>) 0
       and pg_catalog.cardinality(c.k1) operator(pg_catalog.<=) 1000;
    if not found then
      insert into txid_sync.%1$I (txid, seq, items, %2$s)
      select pg_catalog.txid_current(), pg_catalog.nextval('txid_sync.log_seq'),
             pg_catalog.cardinality(c.k1), %5$s
        from (select d.*
                from (select %11$s
                        from (select %6$s, true as is_new, pg_catalog.row_number() over () as n
                                from txid_sync_changed c
                              union all
                              select %6$s, false, pg_catalog.row_number() over ()
                                from txid_sync_before c) c
                       group by (c.n operator(pg_catalog.-) 1) operator(pg_catalog./) 1000) c
               cross join lateral (
                     select %12$s
                     union all
                     select %13$s where not %10$s) d) c;
    end if;
  elsif tg_nargs operator(pg_catalog.=) 1 then
    insert into txid_sync.%1$I (txid, seq, items, %2$s)
    values (pg_catalog.txid_current(), pg_catalog.nextval('txid_sync.log_seq'), 1, %3$s);
  elsif tg_op operator(pg_catalog.=) 'TRUNCATE' then
    insert into txid_sync.%1$I (txid, seq, items)
    values (pg_catalog.txid_current(), pg_catalog.nextval('txid_sync.log_seq'), 0);
  else
    insert into txid_sync.%1$I (txid, seq, items, %2$s)
    select pg_catalog.txid_current(), pg_catalog.nextval('txid_sync.log_seq'),
           pg_catalog.cardinality(c.k1), %5$s
      from (select %8$s offset 0) c
     where pg_catalog.cardinality(c.k1) operator(pg_catalog.>) 0
       and pg_catalog.cardinality(c.k1) operator(pg_catalog.<=) 1000;
    if not found then
      insert into txid_sync.%1$I (txid, seq, items, %2$s)
      select pg_catalog.txid_current(), pg_catalog.nextval('txid_sync.log_seq'),
             pg_catalog.count(*), %7$s
        from (select %6$s, (pg_catalog.row_number() over () operator(pg_catalog.-) 1)
                           operator(pg_catalog./) 1000 as chunk
                from txid_sync_changed c) c
       group by chunk;
    end if;
  end if;
  return null;
end
$source$ else $source$
#variable_conflict use_column
begin
  if tg_op operator(pg_catalog.=) 'DELETE' or tg_nargs operator(pg_catalog.>) 0 then
    insert into txid_sync.%1$I (txid, seq, items, %2$s)
    values (pg_catalog.txid_current(), pg_catalog.nextval('txid_sync.log_seq'), 1, %3$s);
  elsif tg_op operator(pg_catalog.=) 'TRUNCATE' then
    insert into txid_sync.%1$I (txid, seq, items)
    values (pg_catalog.txid_current(), pg_catalog.nextval('txid_sync.log_seq'), 0);
  else
    insert into txid_sync.%1$I (txid, seq, items, %2$s)
    values (pg_catalog.txid_current(), pg_catalog.nextval('txid_sync.log_seq'), 1, %4$s);
  end if;
  return null;
end
$source$ end, log,
    string_agg('k' || n, ', ' order by n),
    string_agg(format('array[old.%I]', name), ', ' order by n),
    string_agg(format('array[new.%I]', name), ', ' order by n),
    string_agg('c.k' || n, ', ' order by n),
    string_agg(format('c.%I as k%s', name, n), ', ' order by n),
    string_agg(format('pg_catalog.array_agg(c.k%s order by chunk)', n), ', ' order by n),
    string_agg(format('array(select c.%I from txid_sync_changed c limit 1001) as k%s', name, n),
               ', ' order by n),
    string_agg(format('array(select c.%I from txid_sync_before c limit 1001) as b%s', name, n),
               ', ' order by n),
    min(same),
    string_agg(format('pg_catalog.array_agg(c.k%s order by c.n) filter (where c.is_new) as k%1$s, '
                      'pg_catalog.array_agg(c.k%1$s order by c.n) filter (where not c.is_new) '
                      'as b%1$s', n), ', ' order by n),
    string_agg(format('c.k%s as k%1$s', n), ', ' order by n),
    string_agg('c.b' || n, ', ' order by n))
    from unnest(key) with ordinality as k(name, n)
   cross join (
     select format('pg_catalog.record_image_eq(row(%s), row(%s))',
                   string_agg('c.k' || i, ', ' order by i), string_agg('c.b' || i, ', ' order by i))
            as same
       from generate_subscripts(key, 1) i) s
$$;

-- Write the function, if it is not there as it should be, and the rights around it.
create or replace function txid_sync.write_capture(entry txid_sync.tracked)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  capture_role name := (select i.capture_role from txid_sync.installed i);
  source text := txid_sync.capture_source(entry.log, entry.key, entry.capture);
  called text := format('txid_sync.capture_%s()', entry.id);
  table_owner regrole := (select relowner from pg_class where oid = entry.relation);
  compressed text := (
    select string_agg(format('alter %I set storage external', a.attname), ', ')
      from pg_attribute a
     where a.attrelid = to_regclass(format('txid_sync.%I', entry.log))
       and a.attname ~ '^k[0-9]+$' and not a.attisdropped and a.attstorage <> 'e');
  reader regrole;
begin
  if compressed is not null then  -- it would take longer than all the rest of the capture
    execute format('alter table txid_sync.%I %s', entry.log, compressed);
  end if;
  if not exists (select from pg_proc p where p.oid = to_regprocedure(called)
                    and p.prosrc = source and p.proowner = capture_role::regrole) then
    execute format('create or replace function %s returns trigger language plpgsql '
                   'security definer as %L', called, source);
    execute format('revoke all on function %s from public', called);
    if capture_role <> current_user then
      execute format('grant insert on txid_sync.%I to %I', entry.log, capture_role);
      -- Who is given a function must be allowed to create one there, at that moment.
      execute format('grant create on schema txid_sync to %I', capture_role);
      execute format('alter function %s owner to %I', called, capture_role);
      execute format('revoke create on schema txid_sync from %I', capture_role);
    end if;
  end if;
  if not has_function_privilege(table_owner, to_regprocedure(called), 'execute') then
    execute format('grant execute on function %s to %s', called, table_owner);
  end if;
  for reader in
    select a.grantee from pg_class c, aclexplode(c.relacl) a
     where c.oid = 'txid_sync.tracked'::regclass and a.privilege_type = 'SELECT'
       and a.grantee not in (0, c.relowner)
       and not has_table_privilege(a.grantee, format('txid_sync.%I', entry.log), 'select')
  loop
    execute format('grant select on txid_sync.%I to %s', entry.log, reader);
  end loop;
end
$$;

-- The triggers of one table: names, where, and how to make them.  Where equal keys look alike,
-- plain comparison tells whether one has changed: that of records takes longer, in every UPDATE.
-- That on key changes never fires where statements are captured: as it names the key's columns they
-- cannot be retyped or dropped.  It must fire as long as that on UPDATE, made by an older version,
-- does not see the rows of before.
create or replace function txid_sync.wanted_triggers(entry txid_sync.tracked)
returns table (relation regclass, name name, definition text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select w.relation, w.name,
         format('create trigger %I after %s execute function txid_sync.capture_%s(%s)',
                w.name, format(w.events, w.relation, k.changed, c.columns), entry.id, w.argument)
    from (select string_agg(format('%I', k), ', ') as columns,
                 string_agg(format('old.%I', k), ', ') as old,
                 string_agg(format('new.%I', k), ', ') as new,
                 string_agg(format('old.%1$I is distinct from new.%1$I', k), ' or ') as differ,
                 bool_and(a.atttypid = any ('{int2,int4,int8,oid,uuid,date}'::regtype[])
                          or a.atttypid in ('text'::regtype, 'varchar'::regtype)
                             and l.collisdeterministic) as alike
            from unnest(entry.key) k
            join pg_attribute a on a.attrelid = entry.relation and a.attname = k
            left join pg_collation l on l.oid = a.attcollation) c
   cross join lateral (
     select case when c.alike
                 then format('(%s)', c.differ)
                 else format('(pg_catalog.record_image_ne(row(%s), row(%s)))', c.old, c.new)
            end as changed,
            entry.capture = 'row' or exists (
              select from pg_trigger g
               where g.tgrelid = entry.relation and g.tgoldtable is null
                 and g.tgname = format('txid_sync_%s_update', entry.id)) as fires) k
   cross join lateral (
     select entry.relation, format('txid_sync_%s_%s', entry.id, v.suffix)::name as name,
            v.events, v.argument
       from (values
         ('statement', 'insert', '', 'insert on %1$s referencing new table as txid_sync_changed '
                                     'for each statement'),
         ('statement', 'update', '''old'', ''new''',
          'update on %1$s referencing old table as txid_sync_before '
          'new table as txid_sync_changed for each statement'),
         ('statement', 'delete', '', 'delete on %1$s referencing old table as txid_sync_changed '
                                     'for each statement'),
         ('row', 'row', '', 'insert or update or delete on %1$s for each row'),
         (case when not k.fires then 'statement' end, 'key', '',
          'update of %3$s on %1$s for each statement when (false)'),
         (case when k.fires then entry.capture end, 'key', '''old''',
          'update on %1$s for each row when %2$s')
       ) v(capture, suffix, argument, events)
      where v.capture = entry.capture
     union all
     -- Not cloned to partitions, so each one has its own.
     select m, format('txid_sync_%s_truncate', entry.id)::name,
            'truncate on %1$s for each statement', ''
       from txid_sync.members(entry.relation) m) w
$$;
