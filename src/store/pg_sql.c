#include "store/pg_sql.h"

#include "base/buf.h"

#define SCHEMA_STEP(symbol, path) \
    __asm__(".section .rodata\n" #symbol ":\n.incbin \"" path "\"\n.byte 0\n.previous\n"); \
    extern const char symbol[]

SCHEMA_STEP(pg_schema_1, "src/store/pg_schema.sql");
SCHEMA_STEP(pg_schema_2, "src/store/pg_schema_2.sql");
SCHEMA_STEP(pg_schema_3, "src/store/pg_schema_3.sql");
SCHEMA_STEP(pg_schema_4, "src/store/pg_schema_4.sql");
SCHEMA_STEP(pg_schema_5, "src/store/pg_schema_5.sql");
SCHEMA_STEP(pg_schema_6, "src/store/pg_schema_6.sql");
SCHEMA_STEP(pg_schema_7, "src/store/pg_schema_7.sql");
SCHEMA_STEP(pg_schema_8, "src/store/pg_schema_8.sql");
SCHEMA_STEP(pg_schema_9, "src/store/pg_schema_9.sql");
SCHEMA_STEP(pg_schema_10, "src/store/pg_schema_10.sql");
SCHEMA_STEP(pg_schema_11, "src/store/pg_schema_11.sql");

const char *const pg_schema_steps[PG_SCHEMA_VERSION] = { pg_schema_1, pg_schema_2, pg_schema_3, pg_schema_4,
                                                          pg_schema_5, pg_schema_6, pg_schema_7, pg_schema_8,
                                                          pg_schema_9, pg_schema_10, pg_schema_11 };

/* What keep_count and a policy of age leave of a channel c: keep is the count or 0, wanted the oldest time that is kept.
 */
#define FIRST_KEPT(keep, wanted) \
    "longwire.first_at(c.id, case when " keep " = 0 then c.floor else greatest(c.floor, c.head - " keep " + 1) end," \
    " c.head, " wanted ")"

/* The rows of a page, at most $4 of them; those behind the one that reaches $5 bytes are left out. What has expired by
 * $6 comes without its payload. */
#define READ_ROWS(order) \
    "select seq, id, kind::bigint, time, expires_at, target," \
    " case when expires_at <> 0 and expires_at <= $6::bigint then ''::bytea else payload end, media, sender, event," \
    " collapse from (select *, sum(octet_length(payload) + 64) over (order by seq " order \
    " rows between unbounded preceding and 1 preceding) as before from" \
    " (select * from longwire.message where channel = $1::bigint and seq between $2::bigint and $3::bigint" \
    " order by seq " order " limit $4::bigint) page) sized" \
    " where before is null or before < $5::bigint order by seq " order

/* What the two statements of a commit without questions share. The numbers: what the channels had before, and the blocks of ids, which
 * are taken when all channels are locked, because the sums need all rows. The mark of the writer. And the answer. */
#define STORE_NUMBERS \
    " numbers as materialized (select bases, array(select case when bases is not null then nextval(case kind" \
    " when 0 then 'longwire.id_0'::regclass when 1 then 'longwire.id_1'::regclass when 2 then 'longwire.id_2'::regclass" \
    " else 'longwire.id_3'::regclass end) end from unnest($4::bigint[]) kind) as blocks" \
    " from (select array_agg(base order by at) as bases from raised having count(*) = $3::bigint) sums)," \
    " marked as (update longwire.writer w set last = $2::bigint, seen = now(), blocks = n.blocks from numbers n" \
    " where w.id = $1::bigint and not w.is_fenced returning w.id),"

#define STORE_ANSWER \
    " select s.epoch, n.bases, n.blocks, case when n.bases is null or m.id is null" \
    " then longwire.refuse_store(n.bases is not null) end" \
    " from longwire.shard s left join numbers n on true left join marked m on true"

const struct pg_text pg_texts[SQL_COUNT] = {
    [SQL_BEGIN]    = { "begin", "begin isolation level read committed" },
    [SQL_COMMIT]   = { "commit", "commit" },
    [SQL_ROLLBACK] = { "rollback", "rollback" },
    [SQL_GREET]    = { "greet", "select last_done, epoch, system_identifier,"
                                " ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint,"
                                " coalesce((select s.epoch from longwire.shard s), 0)"  /* as it was before greet() */
                                " from longwire.greet($1::bigint, $2::bigint, $3::bigint, $4::bigint[], $5::bigint[]), pg_control_system()" },

    /* --- a commit: what is there ---------------------------------------------------------------------------------- */
    [SQL_LOCK_CHANNELS] = { "lock_channels",
        "select u.at, c.id, c.head, c.floor, c.bytes from unnest($1::bytea[], $2::bigint[]) u(name, at)"
        " join longwire.channel c on c.name = u.name order by c.id for update of c" },
    [SQL_MAKE_CHANNELS] = { "make_channels",
        "insert into longwire.channel (name) select u.name from unnest($1::bytea[]) u(name)"
        " where not exists (select from longwire.channel c where c.name = u.name) order by u.name"
        " on conflict do nothing" },
    [SQL_EPOCH] = { "epoch", "select epoch from longwire.shard" },
    [SQL_IDS]   = { "ids",
        "select 0::bigint, nextval('longwire.id_0') from generate_series(1, $1::bigint)"
        " union all select 1, nextval('longwire.id_1') from generate_series(1, $2::bigint)"
        " union all select 2, nextval('longwire.id_2') from generate_series(1, $3::bigint)"
        " union all select 3, nextval('longwire.id_3') from generate_series(1, $4::bigint)" },
    [SQL_USED_KEYS] = { "used_keys",
        "select u.at, k.digest, k.epoch, k.seq, k.id, k.time, k.forget_at"
        " from unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[]) u(name, publisher, key, at)"
        " join longwire.channel c on c.name = u.name join longwire.used_key k"
        " on k.channel = c.id and k.publisher = u.publisher and k.key = u.key" },
    [SQL_TARGETS] = { "targets",
        "select u.at, m.kind::bigint, m.time, m.expires_at, octet_length(m.payload)::bigint, m.target, r.id, r.time"
        " from unnest($1::bytea[], $2::bigint[], $3::bigint[]) u(name, target, at)"
        " join longwire.channel c on c.name = u.name"
        " join longwire.message m on m.channel = c.id and m.seq = u.target"
        " left join longwire.message r on r.channel = c.id and r.seq = m.target and m.kind = 2" },
    [SQL_FIRSTS] = { "firsts",
        "select u.at, " FIRST_KEPT("u.keep", "u.wanted")
        " from unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) u(name, keep, wanted, at)"
        " join longwire.channel c on c.name = u.name" },
    [SQL_LOCK_ROWS] = { "lock_rows",
        "select count(pg_advisory_xact_lock(1281053266, bucket::int)) from"
        " (select distinct u.bucket from unnest($1::bigint[]) u(bucket) order by 1) sorted" },
    [SQL_ROWS] = { "rows",
        "select u.at, l.generation, l.expires_at, l.value from unnest($1::bigint[], $2::bytea[], $3::bigint[])"
        " u(kind, key, at) join longwire.ledger l on l.kind = u.kind::smallint and l.key = u.key" },

    /* --- a commit: what changes ----------------------------------------------------------------------------------- */
    [SQL_INSERT] = { "insert",
        "insert into longwire.message (channel, seq, day, id, kind, time, expires_at, target, payload, media, sender,"
        " event, collapse) select channel, seq, day::int, id, kind::smallint, time, expires_at, target, payload, media,"
        " sender, event, collapse from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"
        " $6::bigint[], $7::bigint[], $8::bigint[], $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[])"
        " u(channel, seq, day, id, kind, time, expires_at, target, payload, media, sender, event, collapse)" },
    [SQL_RECALL] = { "recall",
        "update longwire.message m set kind = 2, target = u.recall, payload = '', media = '', sender = '', event = '',"
        " collapse = '' from unnest($1::bigint[], $2::bigint[], $3::bigint[]) u(channel, seq, recall)"
        " where m.channel = u.channel and m.seq = u.seq" },
    [SQL_SET_CHANNELS] = { "set_channels",
        "update longwire.channel c set head = u.head, floor = u.floor, bytes = u.bytes, room = null"
        " from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) u(id, head, floor, bytes)"
        " where c.id = u.id" },
    [SQL_KEEP_KEYS] = { "keep_keys",
        "insert into longwire.used_key select * from unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[],"
        " $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])"
        " on conflict (channel, publisher, key) do update set digest = excluded.digest, epoch = excluded.epoch,"
        " seq = excluded.seq, id = excluded.id, time = excluded.time, forget_at = excluded.forget_at" },
    [SQL_PUT_ROWS] = { "put_rows",
        "insert into longwire.ledger (kind, key, generation, expires_at, value) select kind::smallint, key, generation,"
        " expires_at, value from unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[])"
        " u(kind, key, generation, expires_at, value) on conflict (kind, key) do update set"
        " generation = excluded.generation, expires_at = excluded.expires_at, value = excluded.value" },
    /* As PUT_ROWS, but a row that is as high already stays; one that has expired by $6 is as low as can be. Generations have no sign. */
    [SQL_RAISE_ROWS] = { "raise_rows",
        "insert into longwire.ledger as l (kind, key, generation, expires_at, value) select kind::smallint, key, generation,"
        " expires_at, value from unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[])"
        " u(kind, key, generation, expires_at, value) on conflict (kind, key) do update set"
        " generation = excluded.generation, expires_at = excluded.expires_at, value = excluded.value"
        " where (l.generation # '-9223372036854775808'::bigint) < (excluded.generation # '-9223372036854775808'::bigint)"
        " or (l.expires_at <> 0 and l.expires_at <= $6::bigint)" },
    [SQL_DELETE_ROWS] = { "delete_rows",
        "delete from longwire.ledger l using unnest($1::bigint[], $2::bytea[]) u(kind, key)"
        " where l.kind = u.kind::smallint and l.key = u.key" },
    [SQL_MARK]     = { "mark", "select longwire.mark($1::bigint, $2::bigint)" },
    /* --- a commit that needs no question (pg_direct.c) ------------------------------------------------------------- */
    /* $1 $2 as for mark; $3 how many channels; $4 the kinds of id, one for each block; $5 the day and $6 the media type of all
     * messages; $7 to $10 the channels, in the order of their ids; from $11 on the messages, each with the place of its channel.
     * Arrays from $14 on, and $10, are empty if they say what is so without them: one message for each channel, ids in the order
     * of the messages, day and media type as above, and none of the rest. Each array costs PostgreSQL a pass over all messages. */
    [SQL_STORE] = { "store",
        "with raised as (update longwire.channel c set head = c.head + coalesce(u.count, 1), bytes = c.bytes + u.bytes, room = null"
        " from unnest($7::bytea[], $8::bigint[], $9::bigint[], $10::bigint[]) with ordinality u(name, id, bytes, count, at)"
        " where c.id = u.id and c.name = u.name returning u.at, c.head - coalesce(u.count, 1) as base)," STORE_NUMBERS
        " stored as (insert into longwire.message (channel, seq, day, id, time, expires_at, payload, media, sender, event,"
        " collapse) select ($8::bigint[])[u.channel], n.bases[u.channel] + coalesce(u.nth, 1),"
        " coalesce(u.day, $5::bigint)::int, n.blocks[coalesce(u.id, u.at - 1) / 32 + 1] + coalesce(u.id, u.at - 1) % 32,"
        " u.time, u.expires_at, u.payload, coalesce(u.media, $6::bytea), u.sender, u.event, u.collapse from numbers n,"
        " unnest($11::bigint[], $12::bigint[], $13::bytea[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bytea[],"
        " $18::bigint[], $19::bytea[], $20::bytea[], $21::bytea[]) with ordinality"
        " u(channel, time, payload, nth, day, id, media, expires_at, sender, event, collapse, at))" STORE_ANSWER },
    /* The same where those arrays would all be empty: then a channel and its message are one row, and the messages are in the order
     * of their channels. $1 to $6 as above; $7 to $10 the rows. */
    [SQL_STORE_PLAIN] = { "store_plain",
        "with raised as (update longwire.channel c set head = c.head + 1, bytes = c.bytes + octet_length(u.payload), room = null"
        " from unnest($7::bytea[], $8::bigint[], $9::bigint[], $10::bytea[]) with ordinality u(name, id, time, payload, at)"
        " where c.id = u.id and c.name = u.name returning u.at, c.id, c.head - 1 as base, u.time, u.payload)," STORE_NUMBERS
        " stored as (insert into longwire.message (channel, seq, day, id, time, payload, media) select r.id, r.base + 1,"
        " $5::bigint::int, n.blocks[(r.at - 1) / 32 + 1] + (r.at - 1) % 32, r.time, r.payload, $6::bytea"
        " from numbers n, raised r)" STORE_ANSWER },
    /* $1 the writer; then the messages, each with its channel and which id of the blocks it took. */
    [SQL_STORED] = { "stored",
        "select u.at, s.epoch, m.seq, m.id from longwire.shard s, longwire.writer w,"
        " unnest($2::bigint[], $3::bigint[], $4::bigint[]) u(at, channel, id), longwire.channel c,"
        " lateral (select seq, id from longwire.message m where m.channel = c.id and m.seq > c.head - 100000"
        " and m.id = w.blocks[u.id / 32 + 1] + u.id % 32 order by m.seq desc limit 1) m"
        " where w.id = $1::bigint and c.id = u.channel" },

    [SQL_MAKE_DAY] = { "make_day", "select longwire.make_day($1::bigint::int)" },

    /* --- reads ---------------------------------------------------------------------------------------------------- */
    /* $2 keep_count, $3 the oldest time that is kept, $4 since, $5 until. */
    [SQL_PLACE] = { "place",
        "select s.epoch, p.id, p.head, p.first, p.bytes, p.floor,"
        " case when $4::bigint > 0 then longwire.first_at(p.id, p.first, p.head, $4::bigint) end,"
        " case when $5::bigint > 0 then longwire.first_at(p.id, p.first, p.head, $5::bigint + 1) end"
        " from longwire.shard s left join (select c.*, " FIRST_KEPT("$2::bigint", "$3::bigint") " as first"
        " from longwire.channel c where c.name = $1::bytea) p on true" },
    [SQL_PLACES] = { "places",
        "select u.at, s.epoch, c.head, " FIRST_KEPT("u.keep", "u.wanted") ", c.bytes"
        " from longwire.shard s, unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) u(name, keep, wanted, at)"
        " left join longwire.channel c on c.name = u.name order by u.at" },
    [SQL_READ_UP]   = { "read_up", READ_ROWS("asc") },
    [SQL_READ_DOWN] = { "read_down", READ_ROWS("desc") },
    [SQL_LIST]      = { "list",
        "select name from longwire.channel where name >= $1::bytea and ($2::bigint = 0 or name > $1::bytea)"
        " and head > 0 order by name limit $3::bigint" },
    [SQL_GET_ROWS] = { "get_rows",
        "select at, generation, expires_at, case when before is null or before < $4::bigint then value end from"
        " (select u.at, l.generation, l.expires_at, l.value, sum(octet_length(l.value)) over (order by u.at rows between"
        " unbounded preceding and 1 preceding) as before from unnest($1::bigint[], $2::bytea[], $3::bigint[])"
        " u(kind, key, at) join longwire.ledger l on l.kind = u.kind::smallint and l.key = u.key) sized order by at" },
    /* Many scans at once: of the rows with a key from low on and below high, the first ones. Those that have expired by wall are
     * left out, but for the 10,000th row that was looked at, which is the last. */
    [SQL_SCAN_ROWS] = { "scan_rows",
        "select u.at, s.key, s.generation, s.expires_at, case when s.before is null or s.before < u.bytes then s.value end,"
        " s.n from unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])"
        " u(kind, low, high, rows, bytes, wall, at) cross join lateral (select *, sum(octet_length(value)) over (order by key"
        " rows between unbounded preceding and 1 preceding) as before from (select * from (select *, row_number() over"
        " (order by key) as n from longwire.ledger where kind = u.kind::smallint and key >= u.low and key < u.high"
        " order by key limit 10000) looked where expires_at = 0 or expires_at > u.wall or n = 10000"
        " order by key limit u.rows) page) s order by u.at, s.key" },

    /* --- retention ------------------------------------------------------------------------------------------------ */
    [SQL_DROP_DAY] = { "drop_day", "select longwire.drop_day($1::bigint)" },
    [SQL_TEND]     = { "tend",
        "select longwire.tend($1::bigint, $2::bigint, $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[])" },
    /* Names, is durable, is the server's own, kind of id, keep_ms, payload_bytes_max, ttl, how long keys are kept. */
    [SQL_KEEP_UP]  = { "keep_up",
        "select longwire.keep_up($1::bigint, $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],"
        " $7::bigint[], $8::bigint[], $9::bigint)" },
    [SQL_SIZES]    = { "sizes",
        "select greatest(reltuples, 0)::bigint, pg_database_size(current_database()),"
        " (extract(epoch from clock_timestamp()) * 1000)::bigint from pg_class where oid = 'longwire.channel'::regclass" },

    /* A megabyte of new pages, rolled back. */
    [SQL_TRY_ROOM] = { "try_room",
        "create table longwire.room as select n, repeat('x', 1000) as filler from generate_series(1, 1000) n" },

    /* --- what others publish --------------------------------------------------------------------------------------- */
    [SQL_LISTEN]      = { "listen", "listen longwire" },
    [SQL_MOVED_COUNT] = { "moved_count",
        "select count(distinct transaction) from longwire.moved where transaction = any($1::bigint[])" },
    [SQL_MOVED] = { "moved",
        "select c.name, c.head, s.epoch, c.id from (select distinct channel from longwire.moved"
        " where transaction = any($1::bigint[])) m join longwire.channel c on c.id = m.channel, longwire.shard s"
        " limit 4097" },
};

/* The first that fits counts. A table that only has partitions is not unlogged itself. */
static const struct { struct span from, to; } volatile_words[] = {
    { SPAN("create schema longwire;"), SPAN("create schema longwire_memory;") },
    { SPAN("create table longwire.message ("), SPAN("create table longwire_memory.message (") },
    { SPAN("create table longwire."), SPAN("create unlogged table longwire_memory.") },
    { SPAN("longwire."), SPAN("longwire_memory.") },
    { SPAN("1281053266"), SPAN("1281053267") },  /* advisory locks */
};

char *pg_volatile_text(const char *text)
{
    struct span rest = span_str(text);
    struct buf  out;

    buf_init(&out, 1024 * 1024);
    while (rest.len > 0) {
        size_t at = 0;
        while (at < sizeof volatile_words / sizeof volatile_words[0] && !span_starts(rest, volatile_words[at].from))
            at++;
        bool is_word = at < sizeof volatile_words / sizeof volatile_words[0];
        buf_put(&out, is_word ? volatile_words[at].to : span_head(rest, 1));
        rest = span_skip(rest, is_word ? volatile_words[at].from.len : 1);
    }
    buf_putc(&out, '\0');
    return out.at;
}
