-- Version 2: longwire.publish(), for callers that publish within transactions of their own; and the tables of a cluster without
-- another engine.

-- What publish() has to know of the namespaces of the nodes, which keep it up: one row for each, and one for each channel
-- with a policy of its own. Nodes that share a database have the same namespaces.
create table longwire.policy (
    name              text     primary key,
    is_durable        boolean  not null,
    is_servers        boolean  not null,   -- nobody publishes there but the server itself
    id_kind           smallint not null,
    keep_ms           bigint   not null,   -- 0: not by age
    payload_bytes_max bigint   not null,
    ttl_s             bigint   not null,   -- of messages whose publisher names none; 0: none
    key_keep_ms       bigint   not null    -- how long idempotency keys are kept
);

-- Which channels a transaction has published to, for the nodes that it notified. It may lack rows after a crash; nodes
-- then compare heads.
create unlogged table longwire.moved (
    transaction bigint      not null,
    channel     bigint      not null,
    noted       timestamptz not null default now(),
    primary key (transaction, channel)
);
create index on longwire.moved (noted);

-- Numbers and stores one message; its arguments are checked and complete. The order of the steps is that of the nodes'
-- own appends: lock the channel, look at the key, number, insert, raise the head.
create function longwire.publish_checked(channel bytea, payload bytea, media bytea, ttl_s bigint, key bytea, policy longwire.policy,
                                         out epoch text, out seq bigint, out id bigint, out "time" bigint,
                                         out is_replayed boolean)
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    shard longwire.shard;
    c longwire.channel;
    used longwire.used_key;
    key_publisher bytea := '\x00'::bytea || convert_to(session_user, 'UTF8');
    key_digest bigint;
    last_day constant integer := 2147483647;
    message_day integer;
begin
    select * into c from longwire.channel where name = publish_checked.channel for update;
    if not found then
        insert into longwire.channel (name) values (publish_checked.channel) on conflict do nothing;
        select * into c from longwire.channel where name = publish_checked.channel for update;
        if not found then
            raise exception 'another transaction has made this channel since this one began; repeat the transaction'
                using errcode = '40001';
        end if;
    end if;

    -- A database that was restored or failed over to a replica may lack messages that were delivered, so its logs begin a
    -- new epoch, whoever notices it first.
    select * into shard from longwire.shard;
    if shard.incarnation <> longwire.incarnation_now() then
        update longwire.shard set epoch = longwire.epoch_new(), incarnation = longwire.incarnation_now()
            where incarnation <> longwire.incarnation_now();
        select * into shard from longwire.shard;
    end if;

    time := (extract(epoch from clock_timestamp()) * 1000)::bigint;
    if length(publish_checked.key) > 0 then
        key_digest := ('x' || left(encode(sha256(publish_checked.media || '\x00'::bytea || publish_checked.payload), 'hex'), 16))
                      ::bit(64)::bigint;
        select * into used from longwire.used_key k
            where k.channel = c.id and k.publisher = key_publisher and k.key = publish_checked.key and k.forget_at > time;
        if found and used.digest <> key_digest then
            raise exception 'this idempotency key was used with another payload or media type' using errcode = 'LW422';
        elsif found then
            epoch := lpad(to_hex(used.epoch), 16, '0');
            seq := used.seq;
            id := used.id;
            time := used.time;
            is_replayed := true;
            return;
        end if;
    end if;

    seq := c.head + 1;
    id := nextval(('longwire.id_' || policy.id_kind)::regclass);
    epoch := lpad(to_hex(shard.epoch), 16, '0');
    is_replayed := false;
    -- Partitions are made by the nodes, ahead of time: made here, one would keep everybody out until the caller's commit.
    -- The last day takes what has none yet.
    message_day := case when policy.keep_ms = 0 then last_day else (time + policy.keep_ms) / 86400000 end;
    if not exists (select from longwire.day d where d.day = message_day) then
        message_day := last_day;
    end if;
    insert into longwire.message (channel, seq, day, id, kind, time, expires_at, target, payload, media, sender, event,
                                  collapse)
        values (c.id, seq, message_day, id, 0, time, case when publish_checked.ttl_s = 0 then 0 else time + publish_checked.ttl_s * 1000 end,
                0, publish_checked.payload, publish_checked.media, '', '', '');
    update longwire.channel set head = publish_checked.seq, bytes = bytes + length(publish_checked.payload)
        where id = c.id;
    if length(publish_checked.key) > 0 then
        insert into longwire.used_key values (c.id, key_publisher, publish_checked.key, key_digest, shard.epoch,
                                              publish_checked.seq, publish_checked.id, publish_checked.time,
                                              publish_checked.time + policy.key_keep_ms)
            on conflict (channel, publisher, key) do update set digest = excluded.digest, epoch = excluded.epoch,
                seq = excluded.seq, id = excluded.id, time = excluded.time, forget_at = excluded.forget_at;
    end if;

    -- A transaction notifies once: PostgreSQL drops notices of one transaction that are equal.
    insert into longwire.moved (transaction, channel) values (pg_current_xact_id()::text::bigint, c.id)
        on conflict do nothing;
    perform pg_notify('longwire', pg_current_xact_id()::text);
end $$;

-- The policy of a channel, whose name is checked.
create function longwire.policy_of(channel text) returns longwire.policy
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    space text := split_part(channel, ':', 1);
    rest text := substr(channel, length(space) + 2);
    found_policy longwire.policy;
begin
    -- U+0000 to U+001F and U+007F to U+009F are control characters.
    if channel is null or position(':' in channel) = 0 or octet_length(rest) > 200 or (rest = '' and space <> 'all')
        or rest ~ '[\u0001-\u001f\u007f-\u009f]' then
        raise exception 'a channel is namespace:name, with 1 to 200 bytes of UTF-8 without control characters as its name'
            using errcode = 'LW400';
    end if;
    select * into found_policy from longwire.policy where name in (channel, space) order by length(name) desc limit 1;
    if found_policy.name is null and not exists (select from longwire.policy) then
        raise exception 'no node has used this database yet, so its namespaces are not known; start longwired once'
            using errcode = 'LW503';
    elsif found_policy.name is null then
        raise exception 'no such namespace: "%"; add it to the configuration or use a built-in one', left(space, 40)
            using errcode = 'LW404';
    elsif found_policy.is_servers then
        raise exception 'only the server itself publishes in the namespace %', space using errcode = 'LW403';
    elsif not found_policy.is_durable then
        raise exception 'the namespace % is not kept in this database; publish there over HTTP', space
            using errcode = 'LW403';
    end if;
    return found_policy;
end $$;

-- Is it UTF-8? Zero bytes are, although no text of PostgreSQL may hold them.
create function longwire.is_utf8(payload bytea) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if position('\x00'::bytea in payload) > 0 then
        payload := decode(replace(replace(encode(payload, 'escape'), '\\', '\134'), '\000', ' '), 'escape');
    end if;
    perform convert_from(payload, 'UTF8');
    return true;
exception when character_not_in_repertoire or untranslatable_character then
    return false;
end $$;

create function longwire.is_json(payload bytea) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    perform convert_from(payload, 'UTF8')::json;
    return true;
exception when character_not_in_repertoire or untranslatable_character or invalid_text_representation
               or statement_too_complex then
    return false;
end $$;

-- Without jit: with enable_seqscan off, plans look so costly that PostgreSQL would compile each of them, for 100 ms.
--
-- Publishes one message within the caller's transaction: commit publishes it, rollback leaves no trace. The channel stays
-- locked until then, so seqs are in the order of commits, and other publishers of this channel wait. The checks and their
-- sentences are those of POST /v1/channels/{channel}/messages; errcode is LW and the status of its answer.
create function longwire.publish(channel text, payload bytea, media text default null, ttl integer default null,
                                 key text default null, out epoch text, out seq bigint, out id bigint, out "time" bigint,
                                 out is_replayed boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
set jit = off as $$
declare
    policy longwire.policy := longwire.policy_of(channel);
    type text := trim(split_part(media, ';', 1));
begin
    if payload is null then
        raise exception 'the payload is null' using errcode = 'LW400';
    elsif length(payload) > policy.payload_bytes_max then
        raise exception 'the payload has % bytes; the namespace % takes % at most (payload_bytes_max)', length(payload),
            policy.name, policy.payload_bytes_max using errcode = 'LW413';
    elsif octet_length(key) > 255 or key ~ '[\u0001-\u001f\u007f]' then
        raise exception 'an idempotency key is 1 to 255 bytes without control characters' using errcode = 'LW400';
    elsif ttl < 1 or ttl > 316224000 then
        raise exception 'ttl takes seconds, from 1 to ten years' using errcode = 'LW400';
    end if;
    if media is null or media = '' then
        media := case when longwire.is_utf8(payload) then 'text/plain' else 'application/octet-stream' end;
    elsif octet_length(media) > 255 or media !~ '^[ -~]*$' or type !~ '^[!#-+.0-:<-~-]+/[!#-+.0-:<-~-]+$' then
        raise exception 'a media type is type/subtype in visible ASCII, 255 bytes at most' using errcode = 'LW415';
    elsif starts_with(lower(trim(media)), 'application/vnd.longwire.') then
        raise exception 'media types application/vnd.longwire.* are the server''s own; take another one'
            using errcode = 'LW400';
    elsif lower(type) = 'application/json' or lower(type) like '_%+json' then
        payload := case when substr(payload, 1, 3) = '\xefbbbf' then substr(payload, 4) else payload end;
        if not longwire.is_json(payload) then
            raise exception 'the payload is declared JSON but isn''t' using errcode = 'LW400';
        end if;
    end if;
    -- A commit that a crash may lose would let a seq name two messages.
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    select * into epoch, seq, id, time, is_replayed from longwire.publish_checked(
        convert_to(channel, 'UTF8'), payload, convert_to(media, 'UTF8'), coalesce(ttl, policy.ttl_s),
        convert_to(coalesce(key, ''), 'UTF8'), policy);
end $$;

create function longwire.publish(channel text, payload text, media text default 'text/plain', ttl integer default null,
                                 key text default null, out epoch text, out seq bigint, out id bigint, out "time" bigint,
                                 out is_replayed boolean)
language sql set search_path = pg_catalog, pg_temp as $$
    select * from longwire.publish($1, convert_to($2, 'UTF8'), $3, $4, $5)
$$;

create function longwire.publish(channel text, payload json, media text default 'application/json',
                                 ttl integer default null, key text default null, out epoch text, out seq bigint,
                                 out id bigint, out "time" bigint, out is_replayed boolean)
language sql set search_path = pg_catalog, pg_temp as $$
    select * from longwire.publish($1, convert_to($2::text, 'UTF8'), $3, $4, $5)
$$;

create function longwire.publish(channel text, payload jsonb, media text default 'application/json',
                                 ttl integer default null, key text default null, out epoch text, out seq bigint,
                                 out id bigint, out "time" bigint, out is_replayed boolean)
language sql set search_path = pg_catalog, pg_temp as $$
    select * from longwire.publish($1, convert_to($2::text, 'UTF8'), $3, $4, $5)
$$;

-- Lets a role call publish(), and nothing else of this schema.
create function longwire.allow_publish(publisher regrole) returns void language plpgsql as $$
begin
    execute format('grant usage on schema longwire to %s', publisher);
    execute format('grant execute on function longwire.publish(text, bytea, text, integer, text),'
                   ' longwire.publish(text, text, text, integer, text), longwire.publish(text, json, text, integer, text),'
                   ' longwire.publish(text, jsonb, text, integer, text) to %s', publisher);
end $$;

-- What each node calls once a minute: the policies become those of `names`, the partitions of today's and tomorrow's
-- messages are made, and old notes of what has moved go.
create function longwire.keep_up(wall bigint, names bytea[], durable bigint[], servers bigint[], id_kinds bigint[],
                                 keep_ms bigint[], payload_bytes bigint[], ttl_s bigint[], key_keep_ms bigint)
returns void language plpgsql as $$
declare
    wanted_day integer;
begin
    delete from longwire.policy where convert_to(name, 'UTF8') <> all (names);
    insert into longwire.policy as old
        select convert_from(name, 'UTF8'), d <> 0, s <> 0, i, k, p, t, keep_up.key_keep_ms
        from unnest(names, durable, servers, id_kinds, keep_up.keep_ms, payload_bytes, keep_up.ttl_s) u(name, d, s, i, k, p, t)
        on conflict (name) do update set is_durable = excluded.is_durable, is_servers = excluded.is_servers,
            id_kind = excluded.id_kind, keep_ms = excluded.keep_ms, payload_bytes_max = excluded.payload_bytes_max,
            ttl_s = excluded.ttl_s, key_keep_ms = excluded.key_keep_ms
        where old is distinct from excluded;
    for wanted_day in select distinct (wall + p.keep_ms) / 86400000 + ahead from longwire.policy p, generate_series(0, 1) ahead
                      where p.is_durable and p.keep_ms <> 0 order by 1 loop
        if not exists (select from longwire.day d where d.day = wanted_day) then
            perform longwire.make_day(wanted_day);
        end if;
    end loop;
    delete from longwire.moved where noted < now() - interval '10 minutes';
end $$;

-- What `--cluster postgres` keeps (cluster/pg_engine.h). All of it is hints: the tables are not logged, and are empty after
-- a crash or on a replica that was promoted.

-- Names the life of these tables. The row is made by whoever misses it.
create unlogged table longwire.cluster_life (
    one  boolean primary key default true check (one),
    word bigint  not null
);

create unlogged table longwire.cluster_lease (
    name        text        primary key,
    incarnation bigint      not null unique,
    started     bigint      not null,
    record      bytea       not null,
    until       timestamptz not null         -- by the database's clock
);

-- Counts only while the lease of that incarnation runs.
create unlogged table longwire.cluster_route (
    name        bytea  not null,
    incarnation bigint not null,
    primary key (name, incarnation)
) with (fillfactor = 80);
create index on longwire.cluster_route (incarnation);

-- Frames that are too long for a NOTIFY, which then names the row. The receiver takes them away.
create unlogged table longwire.cluster_mail (
    id    bigint      generated always as identity primary key,
    frame bytea       not null,
    sent  timestamptz not null default now()
);
create index on longwire.cluster_mail (sent);

create function longwire.cluster_word() returns bigint language plpgsql as $$
declare
    found_word bigint := (select word from longwire.cluster_life);
begin
    if found_word is null then
        insert into longwire.cluster_life (word) values (longwire.epoch_new()) on conflict do nothing;
        found_word := (select word from longwire.cluster_life);
    end if;
    return found_word;
end $$;

-- Takes or renews a lease. 1: renewed; 0: taken, it did not run before; -1: a newer incarnation of the name has it; -2: there
-- are nodes_max others. Of two incarnations the newer one has the larger `started`; equal ones are ordered by their
-- number, without its sign. What belongs to others that are gone for long is swept here.
create function longwire.cluster_lease(of_name text, mine bigint, of_started bigint, of_record bytea, lease_ms bigint,
                                       nodes_max bigint) returns bigint language plpgsql as $$
declare
    old longwire.cluster_lease;
    at timestamptz;
    sign constant bigint := -9223372036854775808;
    is_new boolean;
begin
    -- One at a time: 1281053266 names Longwire's advisory locks, and -4 the one of leases.
    perform pg_advisory_xact_lock(1281053266, -4);
    at := clock_timestamp();
    select * into old from longwire.cluster_lease l where l.name = of_name;
    if old.until > at and (old.started, old.incarnation # sign) > (of_started, mine # sign) then
        return -1;
    end if;
    is_new := old.incarnation is distinct from mine or old.until <= at;
    delete from longwire.cluster_route r using longwire.cluster_lease l
        where r.incarnation = l.incarnation and l.incarnation <> mine and
              (l.name = of_name or l.until < at - interval '10 seconds');
    delete from longwire.cluster_lease l
        where l.incarnation <> mine and (l.name = of_name or l.until < at - interval '10 seconds');
    delete from longwire.cluster_mail where sent < at - interval '1 minute';
    if is_new and (select count(*) from longwire.cluster_lease l where l.until > at and l.name <> of_name) >= nodes_max then
        return -2;
    end if;
    insert into longwire.cluster_lease values (of_name, mine, of_started, of_record, at + lease_ms * interval '1 ms')
        on conflict (name) do update set incarnation = excluded.incarnation, started = excluded.started,
            record = excluded.record, until = excluded.until;
    return case when is_new then 0 else 1 end;
end $$;

create function longwire.cluster_leave(mine bigint) returns void language sql as $$
    delete from longwire.cluster_route where incarnation = mine;
    delete from longwire.cluster_lease where incarnation = mine
$$;

-- Adds and removes routes. If a name is there twice, the later one holds.
create function longwire.cluster_route(mine bigint, names bytea[], removed bigint[]) returns void language plpgsql as $$
begin
    delete from longwire.cluster_route r
        using (select distinct on (name) name, is_removed from unnest(names, removed) with ordinality u(name, is_removed, at)
               order by name, at desc) last
        where r.name = last.name and r.incarnation = mine and last.is_removed <> 0;
    insert into longwire.cluster_route
        select name, mine from (select distinct on (name) name, is_removed
                                from unnest(names, removed) with ordinality u(name, is_removed, at)
                                order by name, at desc) last
        where is_removed = 0 order by name on conflict do nothing;
end $$;

-- Sends notices to incarnations, in their order. `texts` hold what a notice says; where `mails` is not empty, it is put into
-- a row, and the row's number is added to the text.
create function longwire.cluster_send(receivers bigint[], texts bytea[], mails bytea[]) returns void language plpgsql as $$
declare
    item record;
    mail_id bigint;
    notice text;
begin
    for item in select receiver, body, mail from unnest(receivers, texts, mails) with ordinality u(receiver, body, mail, at)
                order by at loop
        notice := convert_from(item.body, 'UTF8');
        if length(item.mail) > 0 then
            insert into longwire.cluster_mail (frame) values (item.mail) returning id into mail_id;
            notice := notice || mail_id;
        end if;
        perform pg_notify('longwire_' || lpad(to_hex(item.receiver), 16, '0'), notice);
    end loop;
end $$;

revoke execute on all functions in schema longwire from public;
