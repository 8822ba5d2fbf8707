-- The schema txid_sync, third part: upkeep of the logs by those who read them.  Run it after
-- tracking.sql, in the same transaction; safe to repeat.

-- Who calls: a SECURITY DEFINER function sees its own role as current_user.
create or replace function txid_sync.caller()
returns name language sql stable set search_path = pg_catalog, pg_temp as $$
  select case current_setting('role') when 'none' then session_user::name
         else current_setting('role')::name end
$$;

-- About how many bytes the live rows of a log take, with their index: told from a sample of its
-- pages.  The files may be larger, for deleting leaves room in them.
create or replace function txid_sync.live_bytes(entry txid_sync.tracked)
returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  log regclass := format('txid_sync.%I', entry.log);
  pages bigint := pg_relation_size(log) / current_setting('block_size')::bigint;
  percent float8 := least(100, 100 * 300.0 / greatest(pages, 1));
  bytes float8;
begin
  execute format('select sum(80 + %s) from %s tablesample system (%s)',
                 (select string_agg(format('coalesce(pg_column_size(k%s), 0)', n), ' + ')
                    from generate_series(1, cardinality(entry.key)) n), log, percent) into bytes;
  return coalesce(bytes, 0) * 100 / percent;
end
$$;

-- Note which readers leave rows unread, and let go of those that have done so for longer than the
-- retention: they hold no row any more.  Nobody is waited for.
create or replace function txid_sync.let_go(
  entry txid_sync.tracked, open_txid bigint, retention interval)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  gone text;
begin
  for gone in
    delete from txid_sync.readers r where r.ctid = any (array(
      select q.ctid from txid_sync.readers q
       where q.tracked = entry.id and q.behind_since <= now() - retention
         for update skip locked)) returning r.reader
  loop
    raise log 'txid_sync: reader % of %: its rows are kept no longer', gone, entry.log;
  end loop;
  -- Only who was not seen for a while: others would be noted again and again.
  execute format(
    'update txid_sync.readers r set behind_since = now() where r.ctid = any (array(
       select q.ctid from txid_sync.readers q
        where q.tracked = $1 and q.behind_since is null and q.seen_at <= now() - $3
          and exists (select from txid_sync.%I l where l.txid >= q.wanted_txid and l.txid < $2)
          for update skip locked))', entry.log)
    using entry.id, open_txid, least(retention / 10, interval '1 minute');
end
$$;

-- If the log is too large, let go of the reader that is furthest behind.  True: there was one.
create or replace function txid_sync.let_go_of_last(
  entry txid_sync.tracked, open_txid bigint, max_log_bytes bigint)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  gone text;
begin
  if pg_total_relation_size(format('txid_sync.%I', entry.log)::regclass) <= max_log_bytes
     or txid_sync.live_bytes(entry) <= max_log_bytes then
    return false;
  end if;
  execute format(
    'delete from txid_sync.readers r where r.ctid = any (array(
       select q.ctid from txid_sync.readers q
        where q.tracked = $1
          and exists (select from txid_sync.%I l where l.txid >= q.wanted_txid and l.txid < $2)
        order by q.wanted_txid limit 1 for update skip locked)) returning r.reader', entry.log)
    into gone using entry.id, open_txid;
  if gone is null then
    return false;
  end if;
  raise log 'txid_sync: reader % of %: the log is too large, its rows are kept no longer',
    gone, entry.log;
  return true;
end
$$;

-- Note that a reader wants the rows of a log from txid `wanted` on, and delete at most `batch` rows
-- that no reader wants; gives how many.  `wanted` null: as noted before, else from now on; a reader
-- that begins anew moves its entry only when its new cursor is stored.  Without a reader it only
-- deletes.
--
-- Whoever may call it cannot delete what another role's readers want: their entries are its bound,
-- as is the oldest transaction in progress.  A reader that begins calls it first, and takes its
-- first snapshot then: a call that did not see its entry has an older bound than that snapshot.
-- Readers that were let go of, or never came here, find the mark above their cursor.
--
-- Nothing is written, and no txid taken, if all is as it was.  It never waits for another call, and
-- no writer and no page waits for it.
create or replace function txid_sync.upkeep(
  relation regclass, reader text, wanted bigint, batch integer default 10000)
returns bigint language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '500ms' as $$
declare
  open_txid bigint := txid_snapshot_xmin(txid_current_snapshot());
  entry txid_sync.tracked;
  limits txid_sync.installed;
  deleted bigint;
begin
  select * into entry from txid_sync.tracked t where t.relation = upkeep.relation;
  if entry.id is null then
    raise exception '% is not tracked', relation using errcode = 'undefined_object',
      hint = 'run txid-sync init';
  elsif entry.system_identifier <> (select system_identifier from pg_control_system()) then
    return 0;  -- its txids mean nothing here; rebind empties it
  end if;
  select * into limits from txid_sync.installed;
  if reader is not null and not exists (
       select from txid_sync.readers r
        where r.tracked = entry.id and r.reader = upkeep.reader and r.role = txid_sync.caller()
          and (wanted is null or r.wanted_txid = least(wanted, open_txid))
          and r.behind_since is null) then
    insert into txid_sync.readers as r (tracked, reader, role, wanted_txid)
    values (entry.id, upkeep.reader, txid_sync.caller(), least(wanted, open_txid))
        on conflict on constraint readers_pkey do update
       set wanted_txid = case when wanted is null then r.wanted_txid else excluded.wanted_txid end,
           seen_at = now(), behind_since = null;
  end if;
  perform txid_sync.let_go(entry, open_txid, limits.retention);
  for attempt in 1 .. 2 loop
    deleted := txid_sync.delete_batch(entry, least(open_txid, (
      select min(r.wanted_txid) from txid_sync.readers r where r.tracked = entry.id)), batch);
    exit when deleted > 0 or deleted is null
      or not txid_sync.let_go_of_last(entry, open_txid, limits.max_log_bytes);
  end loop;
  return coalesce(deleted, 0);
end
$$;

-- Forget a reader of the caller's; gives how many logs it read.
create or replace function txid_sync.unregister(reader text)
returns bigint language sql security definer set search_path = pg_catalog, pg_temp as $$
  with gone as (delete from txid_sync.readers r
                 where r.reader = unregister.reader and r.role = txid_sync.caller() returning 1)
  select count(*) from gone
$$;

-- Write the caller's marker of this name.
create or replace function txid_sync.mark(name text, nonce text)
returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
  insert into txid_sync.marker as m (name, role, nonce)
  values (mark.name, txid_sync.caller(), mark.nonce)
      on conflict on constraint marker_pkey do update set nonce = excluded.nonce, marked_at = now()
$$;

revoke all on all functions in schema txid_sync from public;

-- Those who could read before can do upkeep too; what anybody wants is no longer theirs to delete.
do $install$
declare
  reader name;
begin
  for reader in
    select r.rolname from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
      join pg_catalog.pg_roles r on r.oid = a.grantee
     where c.oid = 'txid_sync.tracked'::pg_catalog.regclass and a.privilege_type = 'SELECT'
       and a.grantee <> c.relowner
  loop
    if not pg_catalog.has_function_privilege(
         reader, 'txid_sync.upkeep(regclass, text, bigint, integer)', 'execute') then
      perform txid_sync.grant_reader(reader);
    end if;
    execute pg_catalog.format('revoke execute on function txid_sync.prune(regclass, bigint, integer) '
                              'from %I', reader);
  end loop;
end
$install$;
