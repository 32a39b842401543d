-- Version 10: partitions are made and dropped while a long transaction runs, such as a backup, without holding up publishes.

-- When the partition could not be dropped last.
alter table longwire.day add column tried timestamptz;

-- As in version 1; but a table that is attached does not need longwire.message for itself, as one that is made as its partition does. That
-- would wait for all transactions that have read or written there, and everybody else would wait behind it.
create or replace function longwire.make_day(wanted integer) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1281053266, -2);
    if wanted = 2147483647 or exists (select from longwire.day where day = wanted) then
        return;
    end if;
    execute format('create table longwire.message_%s (like longwire.message including all)', wanted);
    execute format('alter table longwire.message attach partition longwire.message_%s for values from (%s) to (%s)',
                   wanted, wanted, wanted + 1);
    insert into longwire.day (day) values (wanted);
end $$;

-- As in version 1; but everybody waits behind a drop that waits, so it waits for 100 ms, once a minute.
create or replace function longwire.drop_day(wall bigint) returns void language plpgsql as $$
declare
    today bigint := least(wall, (extract(epoch from clock_timestamp()) * 1000)::bigint) / 86400000;
    oldest longwire.day;
begin
    select * into oldest from longwire.day order by day limit 1;
    if oldest.day is null or oldest.day >= today or oldest.tried > clock_timestamp() - interval '1 minute'
        or not pg_try_advisory_xact_lock(1281053266, -2) then
        return;
    end if;
    perform set_config('lock_timeout', '100', true);
    begin
        execute format('drop table if exists longwire.message_%s', oldest.day);
        delete from longwire.day where day = oldest.day;
    exception when lock_not_available then
        update longwire.day set tried = clock_timestamp() where day = oldest.day;
    end;
end $$;
