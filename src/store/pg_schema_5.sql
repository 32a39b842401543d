-- Version 5: retention looks at 500 channels in one query, and takes up only those that have something to let go. A commit of plain
-- messages is one statement (SQL_STORE in src/store/pg_sql.c).

-- The blocks of ids that the last commit took. If its answer was lost, its messages are found by their ids.
alter table longwire.writer add column blocks bigint[];

-- Ends a transaction that was numbered, but must not commit; or that could not be numbered.
create function longwire.refuse_store(is_numbered boolean) returns bigint language plpgsql as $$
begin
    if is_numbered then
        raise exception 'another connection has taken the place of this one' using errcode = 'LW001';
    end if;
    raise exception 'the channel with an id of this statement has another name, or is not there' using errcode = 'LW003';
end $$;
revoke execute on function longwire.refuse_store(boolean) from public;

-- As in version 1, but a channel of which nothing goes costs one row of that query and no call.
create or replace function longwire.tend(wall bigint, from_channel bigint, spaces bytea[], keep_ms bigint[], keep_count bigint[],
                                         keep_bytes bigint[]) returns bigint language plpgsql as $$
declare
    c record;
    reached bigint;
    seen_count integer;
begin
    if not pg_try_advisory_xact_lock(1281053266, -1) then
        return from_channel;
    end if;
    select max(id), count(*) into reached, seen_count
        from (select id from longwire.channel where id > from_channel order by id limit 500) page;
    for c in
        select page.id, at from (select * from longwire.channel where id > from_channel order by id limit 500) page,
            lateral (select coalesce(array_position(spaces, page.name),
                array_position(spaces, substring(page.name for position('\x3a'::bytea in page.name) - 1))) as at offset 0) policy
        where page.cleared < page.floor or (keep_count[at] <> 0 and page.head - keep_count[at] + 1 > page.floor)
            or (keep_bytes[at] <> 0 and page.bytes > keep_bytes[at])
            or (keep_ms[at] <> 0 and page.floor <= page.head and not exists
                (select from longwire.message m where m.channel = page.id and m.seq = page.floor
                 and m.time > wall - keep_ms[at]))
        order by page.id
    loop
        if c.at is not null then
            perform longwire.tend_channel(c.id, wall, keep_ms[c.at], keep_count[c.at], keep_bytes[c.at]);
        end if;
    end loop;
    delete from longwire.used_key where forget_at <= wall and (channel, publisher, key) in
        (select channel, publisher, key from longwire.used_key where forget_at <= wall limit 10000);
    delete from longwire.ledger where expires_at <> 0 and expires_at <= wall and (kind, key) in
        (select kind, key from longwire.ledger where expires_at <> 0 and expires_at <= wall limit 10000);
    delete from longwire.writer w where w.seen < now() - interval '7 days' and not exists
        (select from pg_stat_activity a where a.application_name = 'longwired-' || lpad(to_hex(w.id), 16, '0'));
    return case when seen_count < 500 then 0 else reached end;
end $$;
