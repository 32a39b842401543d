-- Version 11: a search by time passes over rows that are missing.

-- As in version 1: the first seq of low … high whose row is there and is not older than `wanted`; high + 1: none is. But a row that is
-- missing stands for the next one that is there. Version 1 took it as older, so that retention and `since` left out everything below
-- it: a log that was copied from another store lacks what had expired there, in the midst of what is kept.
create or replace function longwire.first_at(of_channel bigint, low bigint, high bigint, wanted bigint) returns bigint
language plpgsql stable as $$
declare
    middle bigint := low;
    behind bigint := high + 1;
    result bigint := high + 1;
    found_seq bigint;
    found_time bigint;
begin
    while low < behind loop
        found_seq := middle;
        found_time := (select m.time from longwire.message m where m.channel = of_channel and m.seq = middle);
        if found_time is null then
            select m.seq, m.time into found_seq, found_time from longwire.message m
                where m.channel = of_channel and m.seq > middle and m.seq < behind order by m.seq limit 1;
        end if;
        if found_time is null then
            behind := middle;
        elsif found_time < wanted then
            low := found_seq + 1;
        else
            behind := middle;
            result := found_seq;
        end if;
        middle := low + (behind - low) / 2;
    end loop;
    return result;
end $$;
