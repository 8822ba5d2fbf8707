-- Remove everything that install.sql and tracking have made: triggers, functions, logs, the schema,
-- and the role, if no other database of the cluster uses it.  Plain SQL, safe to repeat; run it as
-- the owner of the schema.  It waits for the transactions that are writing to tracked tables.

do $uninstall$
begin
  set local client_min_messages = warning;  -- not a line for each object that goes
  drop schema if exists txid_sync cascade;
end
$uninstall$;

do $uninstall$
declare
  ours oid := (select r.oid from pg_catalog.pg_roles r
                where r.rolname = 'txid_sync_capture'
                  and pg_catalog.shobj_description(r.oid, 'pg_authid')
                      = 'owns the capture functions of txid_sync');
begin
  if ours is not null then
    drop role txid_sync_capture;
  end if;
exception
  when dependent_objects_still_exist or undefined_object then
    null;  -- another database still uses it, or was quicker
  when insufficient_privilege then
    raise notice 'the role txid_sync_capture stays: only one with CREATEROLE may drop it';
end
$uninstall$;
