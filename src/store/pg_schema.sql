-- Version 1: the tables of one shard. `--init` runs this file, and then pg_schema_2.sql and so on. One database is one shard, and all of it lies in the schema `longwire`.
--
-- Whoever writes to a channel first locks its row in longwire.channel, and keeps that lock to the commit: so the order of
-- seqs is the order of commits, and a rollback gives its seqs back. Several channels are locked in the order of their ids.
-- Times are milliseconds since 1970. Numbers that the server reads as unsigned (epochs, generations) are stored as bigint
-- with the same 64 bits.

create schema longwire;

-- One row. `incarnation` names the life of the database: its system identifier and its timeline. After a restore or a
-- failover it is another one; then the logs get a new epoch, because acknowledged commits may be lost.
create table longwire.shard (
    one         boolean primary key default true check (one),
    version     bigint not null,
    epoch       bigint not null,
    incarnation text   not null
);

create table longwire.channel (
    id      bigint generated always as identity primary key,
    name    bytea  not null unique,      -- "topic:prices" in UTF-8; as bytes, so that their order needs no collation
    head    bigint not null default 0,   -- the last seq given; 0: made, but never used
    floor   bigint not null default 1,   -- the first seq that is kept
    cleared bigint not null default 1,   -- the rows below it are deleted
    bytes   bigint not null default 0    -- of the payloads from `floor` on
) with (fillfactor = 70);

-- `day` is the day after which nothing of the row is kept any more (days since 1970): what its namespace's keep_ms makes
-- of its time. Each day is a partition, which is dropped as a whole. Rows of namespaces without keep_ms have the last day
-- and are deleted one by one.
create table longwire.message (
    channel    bigint   not null,
    seq        bigint   not null,
    day        integer  not null,
    id         bigint   not null,
    kind       smallint not null,        -- 0 plain, 1 a recall, 2 what remains of a recalled message
    time       bigint   not null,
    expires_at bigint   not null,        -- 0: never
    target     bigint   not null,
    payload    bytea    not null,
    media      bytea    not null,
    sender     bytea    not null,
    event      bytea    not null,
    collapse   bytea    not null,
    primary key (channel, seq, day)
) partition by range (day);
create table longwire.message_kept partition of longwire.message for values from (2147483647) to (maxvalue);
create table longwire.day (day integer primary key);

-- Ids are taken in blocks of 32, one sequence for each kind of id.
create sequence longwire.id_0 increment by 32;
create sequence longwire.id_1 increment by 32;
create sequence longwire.id_2 increment by 32;
create sequence longwire.id_3 increment by 32;

create table longwire.used_key (
    channel   bigint not null,
    publisher bytea  not null,
    key       bytea  not null,
    digest    bigint not null,
    epoch     bigint not null,
    seq       bigint not null,
    id        bigint not null,
    time      bigint not null,
    forget_at bigint not null,
    primary key (channel, publisher, key)
);
create index on longwire.used_key (forget_at);

create table longwire.ledger (
    kind       smallint not null,
    key        bytea    not null,
    generation bigint   not null,
    expires_at bigint   not null,        -- 0: never
    value      bytea    not null,
    primary key (kind, key)
) with (fillfactor = 80);
create index on longwire.ledger (expires_at) where expires_at <> 0;

-- One row for each connection that writes. `last` is the number of its last commit. A connection whose COMMIT was not
-- answered is fenced by the next one, which then reads here whether that commit happened.
create table longwire.writer (
    id        bigint primary key,
    last      bigint not null default 0,
    is_fenced boolean not null default false,
    seen      timestamptz not null default now()
);

-- The first seq of low … high whose row is there and is not older than `wanted`; high + 1: none is. Looks at the first
-- one, then bisects. Rows that are gone count as older.
create function longwire.first_at(of_channel bigint, low bigint, high bigint, wanted bigint) returns bigint
language plpgsql stable as $$
declare
    middle bigint := low;
    behind bigint := high + 1;
    found_time bigint;
begin
    while low < behind loop
        found_time := (select m.time from longwire.message m where m.channel = of_channel and m.seq = middle);
        if found_time is null or found_time < wanted then
            low := middle + 1;
        else
            behind := middle;
        end if;
        middle := low + (behind - low) / 2;
    end loop;
    return low;
end $$;

create function longwire.incarnation_now() returns text language sql volatile as $$
    select system_identifier || '-' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) from pg_control_system()
$$;

-- Random, and never 0: the variant bits of the UUID are among its 64 bits.
create function longwire.epoch_new() returns bigint language sql volatile as $$
    select ('x' || right(replace(gen_random_uuid()::text, '-', ''), 16))::bit(64)::bigint
$$;

-- The first call of a connection. It registers the writer `new_writer`, and fences the connection that it replaces
-- (`old_writer`; 0: none): last_done is the last commit of that one, -1 without an old writer. The logs get a new epoch
-- if the database has another incarnation, or lacks one of the commits that the process was told of: `writers` are its
-- connections, the lost ones too, and `acknowledged` their commits under known_epoch.
create function longwire.greet(new_writer bigint, old_writer bigint, known_epoch bigint, writers bigint[],
                               acknowledged bigint[], out last_done bigint, out epoch bigint) language plpgsql as $$
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

-- The last statement of each commit that writes. It fails if a newer connection has fenced this one.
create function longwire.mark(of_writer bigint, number bigint) returns void language plpgsql as $$
begin
    update longwire.writer set last = number, seen = now() where id = of_writer and not is_fenced;
    if not found then
        raise exception 'another connection has taken the place of this one' using errcode = 'LW001';
    end if;
end $$;

-- Makes the partition of one day. 1281053266 names Longwire's advisory locks; -2 is the one of the partitions.
create function longwire.make_day(wanted integer) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1281053266, -2);
    if wanted = 2147483647 or exists (select from longwire.day where day = wanted) then
        return;
    end if;
    execute format('create table longwire.message_%s partition of longwire.message for values from (%s) to (%s)',
                   wanted, wanted, wanted + 1);
    insert into longwire.day values (wanted);
end $$;

-- Drops the oldest partition whose day is over, by the server's clock and by the database's.
create function longwire.drop_day(wall bigint) returns void language plpgsql as $$
declare
    today bigint := least(wall, (extract(epoch from clock_timestamp()) * 1000)::bigint) / 86400000;
    oldest integer := (select min(day) from longwire.day);
begin
    if oldest is null or oldest >= today then
        return;
    end if;
    perform set_config('lock_timeout', '1000', true);
    perform pg_advisory_xact_lock(1281053266, -2);
    execute format('drop table if exists longwire.message_%s', oldest);
    delete from longwire.day where day = oldest;
end $$;

-- How far keep_bytes raises the floor of one channel that keeps `bytes` from `low` on; a step of at most 1,000 messages.
create function longwire.floor_by_bytes(of_channel bigint, low bigint, bytes bigint, keep_bytes bigint) returns bigint
language plpgsql stable as $$
declare
    row record;
begin
    for row in select m.seq, octet_length(m.payload) as size from longwire.message m
               where m.channel = of_channel and m.seq >= low order by m.seq limit 1000 loop
        exit when bytes <= keep_bytes;
        bytes := bytes - row.size;
        low := row.seq + 1;
    end loop;
    return low;
end $$;

-- Raises the floor of one channel by its namespace's policy (0: no bound), and deletes at most 1,000 rows below it. Rows
-- whose partition is dropped within two days are left to that.
create function longwire.tend_channel(of_channel bigint, wall bigint, keep_ms bigint, keep_count bigint,
                                      keep_bytes bigint) returns void language plpgsql as $$
declare
    c longwire.channel;
    low bigint;
    gone bigint;
begin
    select * into c from longwire.channel where id = of_channel;
    low := case when keep_count = 0 then c.floor else greatest(c.floor, c.head - keep_count + 1) end;
    if keep_ms <> 0 then
        low := longwire.first_at(c.id, low, c.head, wall - keep_ms + 1);
    end if;
    if low = c.floor and (keep_bytes = 0 or c.bytes <= keep_bytes) and c.cleared >= c.floor then
        return;
    end if;
    -- The lock, and then what is true under it: a purge may have come between.
    select * into c from longwire.channel where id = of_channel for update;
    low := greatest(low, c.floor);
    gone := coalesce((select sum(octet_length(payload)) from longwire.message
                      where channel = c.id and seq >= c.floor and seq < low), 0);
    if keep_bytes <> 0 and c.bytes - gone > keep_bytes then
        low := longwire.floor_by_bytes(c.id, low, c.bytes - gone, keep_bytes);
        gone := coalesce((select sum(octet_length(payload)) from longwire.message
                          where channel = c.id and seq >= c.floor and seq < low), 0);
    end if;
    delete from longwire.message where channel = c.id and seq >= c.cleared and seq < least(low, c.cleared + 1000)
        and day > wall / 86400000 + 1;
    update longwire.channel set floor = low, cleared = least(low, c.cleared + 1000),
        bytes = case when low > head then 0 else greatest(0, bytes - gone) end where id = c.id;
end $$;

-- One step of retention: 500 channels behind `from_channel`, and what has expired elsewhere. Returns where the next step
-- begins. `spaces` are the names of namespaces, or of channels with a policy of their own. Only one node does it at a
-- time.
create function longwire.tend(wall bigint, from_channel bigint, spaces bytea[], keep_ms bigint[], keep_count bigint[],
                              keep_bytes bigint[]) returns bigint language plpgsql as $$
declare
    c record;
    i integer;
    reached bigint := 0;
    seen_count integer := 0;
begin
    if not pg_try_advisory_xact_lock(1281053266, -1) then
        return from_channel;
    end if;
    for c in select id, name from longwire.channel where id > from_channel order by id limit 500 loop
        i := coalesce(array_position(spaces, c.name),
                      array_position(spaces, substring(c.name for position('\x3a'::bytea in c.name) - 1)));
        if i is not null then
            perform longwire.tend_channel(c.id, wall, keep_ms[i], keep_count[i], keep_bytes[i]);
        end if;
        reached := c.id;
        seen_count := seen_count + 1;
    end loop;
    delete from longwire.used_key where forget_at <= wall and (channel, publisher, key) in
        (select channel, publisher, key from longwire.used_key where forget_at <= wall limit 10000);
    delete from longwire.ledger where expires_at <> 0 and expires_at <= wall and (kind, key) in
        (select kind, key from longwire.ledger where expires_at <> 0 and expires_at <= wall limit 10000);
    delete from longwire.writer w where w.seen < now() - interval '7 days' and not exists
        (select from pg_stat_activity a where a.application_name = 'longwired-' || lpad(to_hex(w.id), 16, '0'));
    return case when seen_count < 500 then 0 else reached end;
end $$;

insert into longwire.shard (version, epoch, incarnation) values (1, longwire.epoch_new(), longwire.incarnation_now());
