-- Version 3: a cluster may have several databases, each with a part of the slots (src/message/slot.h).

-- `cluster` is a random number, the same in all databases of a cluster.
alter table longwire.shard
    add column cluster    bigint  not null default 0,
    add column first_slot integer not null default 0,
    add column last_slot  integer not null default 4095;

-- The slot of a channel: FNV-1a of its name, or of the name of the user or group that it belongs to, folded to 12 bits.
create function longwire.slot(channel bytea) returns integer
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
declare
    name bytea := channel;
    owner bytea := '';
    hash bigint := 2166136261;
begin
    if substring(channel for 5) = 'user:' then
        owner := substring(channel from 6);
    elsif substring(channel for 6) = 'group:' then
        owner := substring(channel from 7);
    elsif substring(channel for 7) = 'device:' then
        owner := substring(channel from 8);
        if position('/' in owner) > 0 then
            owner := substring(owner for position('/' in owner) - 1);
        end if;
    end if;
    if octet_length(owner) > 0 then
        name := owner;
    end if;
    for i in 0 .. octet_length(name) - 1 loop
        hash := ((hash # get_byte(name, i)) * 16777619) & 4294967295;
    end loop;
    return ((hash # (hash >> 12) # (hash >> 24)) & 4095)::integer;
end $$;

-- What this database has of its cluster; only when the schema is made. Ids of the databases are disjoint: of each 32 * parts
-- numbers, one has 32.
create function longwire.take_place(of_cluster bigint, first integer, last integer, part bigint, parts bigint) returns void
language plpgsql as $$
begin
    update longwire.shard set cluster = of_cluster, first_slot = first, last_slot = last;
    for kind in 0 .. 3 loop
        execute format('alter sequence longwire.id_%s increment by %s restart with %s', kind, 32 * parts, 1 + 32 * part);
    end loop;
end $$;

-- A channel is made only in the database that has its slot, whoever inserts it.
create function longwire.check_slot() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from longwire.shard where longwire.slot(new.name) between first_slot and last_slot) then
        raise exception 'the channel % lies in another database of this cluster', convert_from(new.name, 'UTF8')
            using errcode = 'LW404', hint = 'its slot is ' || longwire.slot(new.name);
    end if;
    return new;
end $$;
create trigger check_slot before insert on longwire.channel for each row execute function longwire.check_slot();
