-- Version 9: the life of a database has the number of its table, too.

-- A dump that is loaded into the PostgreSQL that it came from finds the system identifier and the timeline that it had. Its tables are
-- new ones: PostgreSQL gives each another number (OID), which no dump holds. A database that lives on keeps its epoch over
-- this step.
do $$
declare
    before text := longwire.incarnation_now();
begin
    create or replace function longwire.incarnation_now() returns text language sql volatile as $f$
        select system_identifier || '-' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) || '-' || 'longwire.shard'::regclass::oid
            from pg_control_system()
    $f$;
    update longwire.shard set incarnation = longwire.incarnation_now() where incarnation = before;
end $$;
