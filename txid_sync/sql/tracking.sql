-- The schema txid_sync, second part: tracking tables, pruning logs, rights.  Run it after
-- install.sql and before upkeep.sql, in the same transaction; safe to repeat.

-- Tracking ---------------------------------------------------------------------------------------

-- Raise an error unless the caller has the rights of the table's owner (of ours, if it is gone).
-- A SECURITY DEFINER function sees its own role as current_user: the caller's is SET ROLE's, or the
-- session's.
create or replace function txid_sync.refuse_stranger(relation regclass)
returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  caller name := case current_setting('role') when 'none' then session_user
                 else current_setting('role') end;
begin
  if not pg_has_role(caller, coalesce((select relowner from pg_class where oid = relation),
       (select nspowner from pg_namespace where nspname = 'txid_sync')), 'usage') then
    raise exception 'must be owner of table %', relation using errcode = 'insufficient_privilege';
  end if;
end
$$;

-- Remove what tracking has made.  The triggers go with their function.
create or replace function txid_sync.forget(entry txid_sync.tracked)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  execute format('drop function if exists txid_sync.capture_%s() cascade', entry.id);
  execute format('drop table if exists txid_sync.%I', entry.log);
  delete from txid_sync.tracked t where t.id = entry.id;
end
$$;

-- Stop capturing a table, also one that does not exist any more (by its number).  False: it was
-- not tracked.
create or replace function txid_sync.untrack(relation regclass)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
set client_min_messages = warning as $$
declare
  entry txid_sync.tracked;
begin
  perform txid_sync.refuse_stranger(relation), pg_advisory_xact_lock(7468724, 0);
  select * into entry from txid_sync.tracked t where t.relation = untrack.relation;
  if entry.id is not null then
    perform txid_sync.forget(entry);
  end if;
  return entry.id is not null;
end
$$;

-- Whether a log was written by another cluster (a restored dump), or by this one before its counter
-- was set back (pg_resetwal: rows of txids that are still to come were deleted): its txids mean
-- nothing here.
create or replace function txid_sync.is_foreign(entry txid_sync.tracked)
returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select entry.system_identifier <> (select system_identifier from pg_control_system())
      or entry.pruned_txid >= txid_snapshot_xmax(txid_current_snapshot())
$$;

-- Empty a log that is foreign.  True if it was one.  Whoever reads it must then load anew, from a
-- snapshot taken after this.
create or replace function txid_sync.rebind(relation regclass)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '500ms' as $$
declare
  here bigint := (select system_identifier from pg_control_system());
  entry txid_sync.tracked;
begin
  update txid_sync.tracked t set system_identifier = here, pruned_txid = 0
   where t.relation = rebind.relation and txid_sync.is_foreign(t) returning * into entry;
  if entry.id is not null then
    execute format('truncate txid_sync.%I', entry.log);
    delete from txid_sync.readers r where r.tracked = entry.id;
  end if;
  return entry.id is not null;
end
$$;

-- How to capture a table by default: in rows where a statement on another table changes it too.
create or replace function txid_sync.choose_capture(relation regclass, wanted text)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  rows_only boolean := exists (
    select from pg_class c left join pg_inherits i on i.inhrelid = c.oid
     where c.oid = relation and (c.relkind = 'p' or i.inhrelid is not null));
  chosen text := coalesce(wanted, case when rows_only then 'row' else 'statement' end);
begin
  if chosen not in ('statement', 'row') then
    raise exception 'capture is "statement" or "row", not "%"', chosen
      using errcode = 'invalid_parameter_value';
  elsif rows_only and chosen = 'statement' then
    raise exception '% is also written through its parent or its partitions', relation
      using errcode = 'feature_not_supported', hint = 'use capture "row", its default';
  end if;
  return chosen;
end
$$;

-- The part of tracking that works inside our schema: registry, log, function.  What is not wanted
-- explicitly stays as it is.
create or replace function txid_sync.prepare(relation regclass, capture text, key name[])
returns txid_sync.tracked language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
set client_min_messages = warning as $$
#variable_conflict use_variable
declare
  entry txid_sync.tracked;
  chosen record;
begin
  perform txid_sync.refuse_stranger(relation), pg_advisory_xact_lock(7468724, 0);
  perform txid_sync.forget(t) from txid_sync.tracked t
    where not exists (select from pg_class c where c.oid = t.relation);
  select * into entry from txid_sync.tracked t where t.relation = prepare.relation;
  capture := txid_sync.choose_capture(relation, coalesce(capture, entry.capture));
  if key is null and exists (select from txid_sync.key_candidates(relation) c
                              where c.columns = entry.key and c.usable) then
    key := entry.key;
  end if;
  select * into chosen from txid_sync.choose_key(relation, key);
  if entry.id is not null and ((entry.capture, entry.key) <> (capture, chosen.columns)
       or chosen.types is distinct from (
         select array_agg(a.atttypid order by a.attnum) from pg_attribute a
          where a.attrelid = to_regclass(format('txid_sync.%I', entry.log))
            and a.attname ~ '^k[0-9]+$' and not a.attisdropped)) then
    perform txid_sync.forget(entry);
    entry := null;
  end if;
  if entry.id is null then
    insert into txid_sync.tracked (id, relation, log, key, capture, system_identifier)
    overriding system value
    select n, relation, 'log_' || n, chosen.columns, capture, system_identifier
      from nextval(pg_get_serial_sequence('txid_sync.tracked', 'id')) n, pg_control_system()
    returning * into entry;
    execute format('create table txid_sync.%I (txid bigint not null, seq bigint not null, '
                   'items integer not null, %s)', entry.log,
                   (select string_agg(format('k%s %s', n, format_type(type, -1)), ', ' order by n)
                      from unnest(chosen.types) with ordinality as k(type, n)));
    execute format('create index on txid_sync.%I (txid, seq)', entry.log);
  end if;
  perform txid_sync.rebind(relation), txid_sync.write_capture(entry);
  return entry;
end
$$;

-- Capture the changes of a table from now on; gives the name of its log.  Safe to repeat: nothing
-- is locked if all is as it should be, else what is missing is added and disabled triggers fire
-- again.  Waits for locks for half a second at most, because every writer would wait behind it.
create or replace function txid_sync.track(
  relation regclass, capture text default null, key name[] default null)
returns name language plpgsql
set search_path = pg_catalog, pg_temp set lock_timeout = '500ms'
set client_min_messages = warning as $$
declare
  entry txid_sync.tracked;
  capture_function oid;
  command text;
  commands text[];
begin
  if relation is null then
    raise exception 'no table is named' using errcode = 'invalid_parameter_value';
  end if;
  perform txid_sync.refuse_unfit(relation);
  perform txid_sync.refuse_stranger(relation);
  execute format('lock table only %s in access share mode', relation);
  entry := txid_sync.prepare(relation, capture, key);
  capture_function := to_regprocedure(format('txid_sync.capture_%s()', entry.id));
  select array_agg(format('drop trigger %I on %s', g.tgname, g.tgrelid::regclass)) into commands
    from pg_trigger g
   where g.tgfoid = capture_function and g.tgparentid = 0
     and g.tgrelid not in (select m from txid_sync.members(relation) m);
  select commands || array_agg(w.definition order by w.name) into commands
    from txid_sync.wanted_triggers(entry) w
   where not exists (select from pg_trigger g where g.tgrelid = w.relation
                        and g.tgname = w.name and g.tgfoid = capture_function);
  if commands <> '{}' or exists (select from pg_trigger g where g.tgfoid = capture_function
                                    and g.tgenabled <> 'A') then
    execute format('lock table %s in share row exclusive mode', relation);
    foreach command in array coalesce(commands, '{}') loop
      execute command;
    end loop;
    -- Those of partitions too: not every version passes the setting down.
    for command in
      select format('alter table %s enable always trigger %I', g.tgrelid::regclass, g.tgname)
        from pg_trigger g where g.tgfoid = capture_function and g.tgenabled <> 'A'
       order by g.tgparentid, g.tgrelid
    loop
      execute command;
    end loop;
  end if;
  return entry.log;
end
$$;

-- Pruning and rights -----------------------------------------------------------------------------

-- Delete at most `batch` rows below txid `bound` from a log; gives their number, null if another
-- session is at it.  The mark moves to the greatest txid that was really deleted, in the same
-- transaction, so that readers know.  It starts at the mark, for the index is full of dead entries
-- before it; what was committed late lies there, and is taken when there is nothing else to do, and
-- now and then.  If there is nothing at all it takes no lock and no txid, so that an idle cluster
-- stays idle.
create or replace function txid_sync.delete_batch(
  entry txid_sync.tracked, bound bigint, batch integer)
returns bigint language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  pass text := 'with gone as (delete from txid_sync.%I where ctid = any (array(
    select ctid from txid_sync.%1$I where txid >= $1 and txid < $2 order by txid, seq limit $3
    )) returning txid) select count(*), max(txid) from gone';
  probe text := 'select exists (select from txid_sync.%I where txid >= $1 and txid < $2)';
  deleted bigint;
  late bigint;
  greatest_txid bigint;
  any_rows boolean;
begin
  -- A mark above a transaction in progress would overtake every cursor that begins meanwhile.
  bound := least(bound, txid_snapshot_xmin(txid_current_snapshot()));
  pass := format(pass, entry.log);
  probe := format(probe, entry.log);
  execute probe into any_rows using entry.pruned_txid, bound;
  if not any_rows then
    execute probe into any_rows using 0::bigint, least(entry.pruned_txid, bound);
  end if;
  if not any_rows then
    return 0;
  end if;
  select t.pruned_txid into entry.pruned_txid from txid_sync.tracked t where t.id = entry.id
     for no key update skip locked;
  if not found then
    return null;
  end if;
  execute pass into deleted, greatest_txid using entry.pruned_txid, bound, batch;
  if deleted = 0 or (deleted < batch and random() < 0.05) then
    execute pass into late using 0::bigint, least(entry.pruned_txid, bound), batch - deleted;
  end if;
  update txid_sync.tracked t set pruned_txid = greatest_txid
   where t.id = entry.id and t.pruned_txid < greatest_txid;
  return deleted + coalesce(late, 0);
end
$$;

-- Delete at most `batch` rows below txid `bound`, whoever still wants them: for the owner of the
-- schema.  A cursor that is overtaken notices it.
create or replace function txid_sync.prune(relation regclass, bound bigint, batch integer)
returns bigint language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
  entry txid_sync.tracked;
begin
  select * into entry from txid_sync.tracked t
   where t.relation = prune.relation
     and t.system_identifier = (select system_identifier from pg_control_system());
  if entry.id is null then
    raise exception '% is not tracked, or its log comes from another cluster', relation
      using errcode = 'object_not_in_prerequisite_state',
            hint = format('select txid_sync.track(%L), as its owner', relation);
  end if;
  return coalesce(txid_sync.delete_batch(entry, bound, batch), 0);
end
$$;

-- Let a role read the logs, also later ones, and do their upkeep.  SELECT on the tables is given by
-- their owners.
create or replace function txid_sync.grant_reader(role name)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  log name;
begin
  execute format('grant usage on schema txid_sync to %I', role);
  execute format('grant select on txid_sync.tracked, txid_sync.installed, txid_sync.readers, '
                 'txid_sync.marker to %I', role);
  execute format('grant execute on function txid_sync.upkeep(regclass, text, bigint, integer), '
                 'txid_sync.unregister(text), txid_sync.mark(text, text), '
                 'txid_sync.rebind(regclass) to %I', role);
  for log in select t.log from txid_sync.tracked t loop
    execute format('grant select on txid_sync.%I to %I', log, role);
  end loop;
end
$$;

-- Let a role track tables that it owns.
create or replace function txid_sync.grant_tracker(role name)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  execute format('grant usage on schema txid_sync to %I', role);
  execute format('grant execute on function txid_sync.track(regclass, text, name[]), '
    'txid_sync.untrack(regclass), txid_sync.rebind(regclass), txid_sync.members(regclass), '
    'txid_sync.prepare(regclass, text, name[]), txid_sync.refuse_unfit(regclass), '
    'txid_sync.refuse_stranger(regclass), '
    'txid_sync.wanted_triggers(txid_sync.tracked) to %I', role);
end
$$;

-- The functions of tables that are tracked already follow this version.
do $install$
begin
  perform txid_sync.write_capture(t) from txid_sync.tracked t
    where exists (select from pg_catalog.pg_class c where c.oid = t.relation);
end
$install$;
