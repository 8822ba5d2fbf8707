-- What schema.py runs.

-- is_installed --
select to_regclass('txid_sync.installed') is not null

-- installed_version --
select version from txid_sync.installed

-- tracked_relations --
-- As numbers, which also name tables that do not exist any more.
select relation::oid::text from txid_sync.tracked order by id

-- track --
select txid_sync.track(%(table)s::regclass, %(capture)s::text, %(key)s::text[]::name[])::text

-- untrack --
select txid_sync.untrack(%(table)s::regclass)

-- unregister --
select txid_sync.unregister(%(reader)s)

-- grant_reader --
select txid_sync.grant_reader(%(role)s::name)

-- missing_grants --
select format(g.statement, g.name, quote_ident(%(role)s))
  from (select distinct 1 as place, 'grant usage on schema %%s to %%s' as statement,
               c.relnamespace::regnamespace::text as name
          from txid_sync.tracked t join pg_class c on c.oid = t.relation
         where not has_schema_privilege(%(role)s, c.relnamespace, 'usage')
        union all
        select 2, 'grant select on %%s to %%s', format('%%I.%%I', n.nspname, c.relname)
          from txid_sync.tracked t join pg_class c on c.oid = t.relation
          join pg_namespace n on n.oid = c.relnamespace
         where not has_table_privilege(%(role)s, c.oid, 'select')) g
 order by g.place, g.name
