-- Version 4: the tables may be unlogged, in a schema of their own (pg_volatile_text() in src/store/pg_sql.c). A crash of the database
-- empties these; then the row of longwire.shard is missing, too, and the logs begin anew with another epoch.
create or replace function longwire.greet(new_writer bigint, old_writer bigint, known_epoch bigint, writers bigint[],
                                          acknowledged bigint[], out last_done bigint, out epoch bigint)
language plpgsql as $$
declare
    shard longwire.shard;
    is_lost boolean;
begin
    if pg_is_in_recovery() then
        raise exception 'the database is a standby, which can not be written to' using errcode = 'LW002';
    end if;
    last_done := -1;
    if old_writer <> 0 then
        update longwire.writer w set is_fenced = true where w.id = old_writer returning w.last into last_done;
        last_done := coalesce(last_done, 0);
    end if;
    is_lost := exists (select from unnest(writers, acknowledged) told(id, number)
                       left join longwire.writer w on w.id = told.id where coalesce(w.last, 0) < told.number);
    select * into shard from longwire.shard;
    if not found then
        insert into longwire.shard (version, epoch, incarnation)
            values (4, longwire.epoch_new(), longwire.incarnation_now()) on conflict do nothing;
        if found then
            -- Commits that did not wait for the disk may have taken ids that the sequences have forgotten.
            perform setval(s.seqrelid::regclass, nextval(s.seqrelid::regclass) + 100000 * s.seqincrement) from pg_sequence s
                where s.seqrelid in ('longwire.id_0'::regclass, 'longwire.id_1'::regclass, 'longwire.id_2'::regclass,
                                     'longwire.id_3'::regclass);
            -- The partitions are still there, and empty.
            insert into longwire.day select substring(c.relname from 9)::integer from pg_inherits i
                join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'longwire.message'::regclass and c.relname ~ '^message_[0-9]+$' on conflict do nothing;
        end if;
        select * into shard from longwire.shard;
    end if;
    if shard.incarnation <> longwire.incarnation_now() or (is_lost and shard.epoch = known_epoch) then
        select * into shard from longwire.shard for update;
        if shard.incarnation <> longwire.incarnation_now() or (is_lost and shard.epoch = known_epoch) then
            update longwire.shard s set epoch = longwire.epoch_new(), incarnation = longwire.incarnation_now()
                returning * into shard;
        end if;
    end if;
    insert into longwire.writer (id) values (new_writer);
    epoch := shard.epoch;
end $$;
