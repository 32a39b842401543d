#include "store/ledger_battery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/rng.h"
#include "store/ledger_round.h"

#include <cmocka.h>

enum { TRANSCRIPT_MAX = 128 * 1024, PAGE_BYTES = 1 << 20, TEXT_MAX = 64 };

/* --- short ways ------------------------------------------------------------------------------------------------- */

struct ledger_key bench_key(uint8_t kind, const char *text)
{
    return (struct ledger_key){ kind, span_str(text) };
}

struct ledger_change bench_put(uint8_t kind, const char *key, uint64_t generation, const char *value)
{
    return (struct ledger_change){
        .op = LEDGER_PUT, .key = bench_key(kind, key), .generation = generation, .value = span_str(value)
    };
}

static struct ledger_change bench_raise(uint8_t kind, const char *key, uint64_t generation, const char *value)
{
    struct ledger_change change = bench_put(kind, key, generation, value);

    change.op = LEDGER_RAISE;
    return change;
}

static struct ledger_change bench_delete(uint8_t kind, const char *key)
{
    return (struct ledger_change){ .op = LEDGER_DELETE, .key = bench_key(kind, key) };
}

static struct ledger_change bench_check(uint8_t kind, const char *key, uint64_t generation)
{
    return change_if((struct ledger_change){ .op = LEDGER_CHECK, .key = bench_key(kind, key) }, generation);
}

struct ledger_change change_if(struct ledger_change change, uint64_t generation)
{
    change.is_conditional = true;
    change.if_generation  = generation;
    return change;
}

struct bench_rows {
    struct ledger_batch batch;
    struct ledger_read  read;
    struct bench       *bench;
    bool                is_done;
};

static void on_batch_done(struct ledger_batch *batch)
{
    struct bench_rows *mine = container_of(batch, struct bench_rows, batch);

    bench_say_done(mine->bench, &mine->is_done);
}

static void on_read_done(struct ledger_read *read)
{
    struct bench_rows *mine = container_of(read, struct bench_rows, read);

    bench_say_done(mine->bench, &mine->is_done);
}

static void batch_fill(struct ledger_batch *batch, struct ledger_write *writes, size_t count)
{
    list_init(&batch->writes);
    batch->change_count = 0;
    for (size_t i = 0; i < count; i++) {
        list_push(&batch->writes, &writes[i].link);
        batch->change_count += writes[i].count;
    }
}

void bench_write_all(struct bench *bench, struct ledger_write *writes, size_t count)
{
    struct bench_rows mine = { .bench = bench, .batch = { .wall = bench->wall, .done = on_batch_done } };

    batch_fill(&mine.batch, writes, count);
    bench->store->ledger->ops->write(bench->store->ledger, &mine.batch);
    bench_wait(bench, &mine.is_done);
}

enum ledger_outcome bench_write(struct bench *bench, struct ledger_change *changes, size_t count)
{
    struct ledger_write write = { .changes = changes, .count = count };

    bench_write_all(bench, &write, 1);
    ledger_write_fini(&write);
    return write.outcome;
}

enum ledger_outcome bench_change(struct bench *bench, struct ledger_change change)
{
    return bench_write(bench, &change, 1);
}

static struct ledger_read read_rows(struct bench *bench, struct ledger_read read)
{
    struct bench_rows mine = { .bench = bench, .read = read };

    mine.read.wall      = bench->wall;
    mine.read.done      = on_read_done;
    mine.read.bytes_max = read.bytes_max == 0 ? PAGE_BYTES : read.bytes_max;
    bench->store->ledger->ops->read(bench->store->ledger, &mine.read);
    bench_wait(bench, &mine.is_done);
    return mine.read;
}

struct ledger_read bench_scan(struct bench *bench, uint8_t kind, struct span prefix, struct span after, uint32_t limit)
{
    return read_rows(bench, (struct ledger_read){ .way = LEDGER_SCAN, .kind = kind, .prefix = prefix, .after = after,
                                                  .limit = limit });
}

static struct ledger_read get_rows(struct bench *bench, const struct ledger_key *keys, size_t count)
{
    return read_rows(bench, (struct ledger_read){ .way = LEDGER_GET, .keys = keys, .key_count = count });
}

uint64_t bench_generation(struct bench *bench, uint8_t kind, const char *key)
{
    struct ledger_key  name = bench_key(kind, key);
    struct ledger_read read = get_rows(bench, &name, 1);

    assert_int_equal(read.rc, RC_OK);
    assert_int_equal(read.row_count, 1);
    uint64_t generation = read.rows[0].generation;
    ledger_read_fini(&read);
    return generation;
}

static void row_tell(struct buf *transcript, const struct ledger_row *row)
{
    if (row->generation == 0)
        buf_put_lit(transcript, "none");
    else
        buf_putf(transcript, "%llu %.*s", (unsigned long long)row->generation, SPAN_ARG(row->value));
}

void bench_expect_row(struct bench *bench, uint8_t kind, const char *key, const char *transcript, const char *file,
                      int line)
{
    struct ledger_key  name = bench_key(kind, key);
    struct ledger_read read = get_rows(bench, &name, 1);
    struct buf         told;

    buf_init(&told, TRANSCRIPT_MAX);
    if (read.row_count == 1)
        row_tell(&told, &read.rows[0]);
    bool is_same = read.rc == RC_OK && span_eq(buf_span(&told), span_str(transcript));
    if (!is_same)
        print_error("%s:%d: %s: got \"%.*s\" (%s), expected \"%s\"\n", file, line, key, SPAN_ARG(buf_span(&told)),
                    rc_text(read.rc), transcript);
    buf_fini(&told);
    ledger_read_fini(&read);
    _assert_true(is_same, "the row is as told", file, line);
}

/* A page as text: "key:generation …", with "+" at its end if there is a next page. */
static void expect_rows(struct bench *bench, uint8_t kind, const char *prefix, const char *after, uint32_t limit,
                        const char *transcript)
{
    struct ledger_read read = bench_scan(bench, kind, span_str(prefix), span_str(after), limit);
    struct buf         told;

    assert_int_equal(read.rc, RC_OK);
    buf_init(&told, TRANSCRIPT_MAX);
    for (size_t i = 0; i < read.row_count; i++)
        buf_putf(&told, "%s%.*s:%llu", i == 0 ? "" : " ", SPAN_ARG(read.rows[i].key),
                 (unsigned long long)read.rows[i].generation);
    if (read.next.len > 0)
        buf_put_lit(&told, "+");
    buf_putc(&told, '\0');
    assert_string_equal(told.at, transcript);
    buf_fini(&told);
    ledger_read_fini(&read);
}

/* --- one row ---------------------------------------------------------------------------------------------------- */

static void a_row_is_what_was_put(void **state)
{
    struct bench        *bench  = *state;
    struct ledger_change change = bench_put(KIND_SESSION, "ann/phone", 7, "one two");

    change.expires_at = bench->wall + 1000;
    assert_int_equal(bench_change(bench, change), LEDGER_DONE);
    struct ledger_key  key  = bench_key(KIND_SESSION, "ann/phone");
    struct ledger_read read = get_rows(bench, &key, 1);
    assert_int_equal(read.rc, RC_OK);
    assert_int_equal(read.row_count, 1);
    assert_true(span_eq(read.rows[0].key, SPAN("ann/phone")));
    assert_true(span_eq(read.rows[0].value, SPAN("one two")));
    assert_int_equal(read.rows[0].generation, 7);
    assert_true(read.rows[0].expires_at == bench->wall + 1000);
    ledger_read_fini(&read);
}

static void a_put_replaces_and_a_delete_ends(void **state)
{
    struct bench *bench = *state;

    expect_row(bench, KIND_SESSION, "a", "none");
    assert_int_equal(bench_change(bench, bench_delete(KIND_SESSION, "a")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 9, "a longer value")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 2, "")), LEDGER_DONE);
    expect_row(bench, KIND_SESSION, "a", "2 ");
    assert_int_equal(bench_change(bench, bench_delete(KIND_SESSION, "a")), LEDGER_DONE);
    expect_row(bench, KIND_SESSION, "a", "none");
}

static void kinds_keep_apart(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 1, "session")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_PLACE, "a", 2, "place")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_LAST, "a", 3, "last")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_delete(KIND_PLACE, "a")), LEDGER_DONE);
    expect_row(bench, KIND_SESSION, "a", "1 session");
    expect_row(bench, KIND_PLACE, "a", "none");
    expect_row(bench, KIND_LAST, "a", "3 last");
}

static void keys_and_values_may_be_any_bytes_up_to_their_maximum(void **state)
{
    struct bench        *bench = *state;
    char                *bytes = malloc(LEDGER_VALUE_BYTES_MAX);
    struct ledger_change change;

    assert_non_null(bytes);
    for (size_t i = 0; i < LEDGER_VALUE_BYTES_MAX; i++)
        bytes[i] = (char)(i * 7);
    change = (struct ledger_change){ .op = LEDGER_PUT, .key = { KIND_LAST, span_of(bytes, LEDGER_KEY_BYTES_MAX) },
                                     .value = span_of(bytes, LEDGER_VALUE_BYTES_MAX), .generation = UINT64_MAX };
    assert_int_equal(bench_change(bench, change), LEDGER_DONE);
    struct ledger_read read = get_rows(bench, &change.key, 1);
    assert_int_equal(read.row_count, 1);
    assert_true(read.rows[0].generation == UINT64_MAX);
    assert_true(span_eq(read.rows[0].key, change.key.bytes));
    assert_true(span_eq(read.rows[0].value, change.value));
    ledger_read_fini(&read);
    free(bytes);
}

/* --- conditions ------------------------------------------------------------------------------------------------- */

static void a_stale_generation_is_refused_and_told_what_stands(void **state)
{
    struct bench        *bench  = *state;
    struct ledger_change change = change_if(bench_put(KIND_SESSION, "a", 5, "node five"), 0);
    struct ledger_write  write  = { .changes = &change, .count = 1 };

    assert_int_equal(bench_change(bench, change), LEDGER_DONE);
    change = change_if(bench_put(KIND_SESSION, "a", 6, "node six"), 5);
    assert_int_equal(bench_change(bench, change), LEDGER_DONE);
    bench_write_all(bench, &write, 1);
    assert_int_equal(write.outcome, LEDGER_STALE);
    assert_int_equal(write.stale_at, 0);
    assert_int_equal(write.now.generation, 6);
    assert_true(span_eq(write.now.value, SPAN("node six")));
    assert_true(span_eq(write.now.key, SPAN("a")));
    ledger_write_fini(&write);
    expect_row(bench, KIND_SESSION, "a", "6 node six");
}

static struct ledger_change change_sure(struct ledger_change change)
{
    change.is_sure = true;
    return change;
}

/* Who is sure may be wrong about what comes before in the same batch. */
static void a_sure_condition_is_held_against_its_own_batch(void **state)
{
    struct bench        *bench  = *state;
    struct ledger_change first  = change_sure(change_if(bench_put(KIND_SESSION, "a", 6, "six"), 5)),
                         second = change_sure(change_if(bench_put(KIND_SESSION, "a", 7, "seven"), 5)),
                         third  = change_sure(change_if(bench_put(KIND_SESSION, "a", 8, "eight"), 6));
    struct ledger_write writes[] = { { .changes = &first, .count = 1 }, { .changes = &second, .count = 1 },
                                     { .changes = &third, .count = 1 } };

    assert_int_equal(bench_change(bench, change_sure(change_if(bench_put(KIND_SESSION, "a", 5, "five"), 0))), LEDGER_DONE);
    bench_write_all(bench, writes, 3);
    assert_int_equal(writes[0].outcome, LEDGER_DONE);
    assert_int_equal(writes[1].outcome, LEDGER_STALE);
    assert_int_equal(writes[1].now.generation, 6);
    assert_int_equal(writes[2].outcome, LEDGER_DONE);
    ledger_write_fini(&writes[1]);
    expect_row(bench, KIND_SESSION, "a", "8 eight");
}

static void conditions_on_rows_that_are_not_there(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(bench_change(bench, change_if(bench_put(KIND_SESSION, "a", 2, "x"), 1)), LEDGER_STALE);
    assert_int_equal(bench_change(bench, change_if(bench_delete(KIND_SESSION, "a"), 1)), LEDGER_STALE);
    assert_int_equal(bench_change(bench, bench_check(KIND_SESSION, "a", 0)), LEDGER_DONE);
    expect_row(bench, KIND_SESSION, "a", "none");
    assert_int_equal(bench_change(bench, change_if(bench_put(KIND_SESSION, "a", 2, "x"), 0)), LEDGER_DONE);
    assert_int_equal(bench_change(bench, change_if(bench_delete(KIND_SESSION, "a"), 1)), LEDGER_STALE);
    assert_int_equal(bench_change(bench, change_if(bench_delete(KIND_SESSION, "a"), 2)), LEDGER_DONE);
    expect_row(bench, KIND_SESSION, "a", "none");
}

/* Whatever a maker remembers of a check. */
static void a_row_that_was_not_there_is_written_once(void **state)
{
    struct bench        *bench    = *state;
    struct ledger_change check    = bench_check(KIND_SESSION, "a", 0), put = change_if(bench_put(KIND_SESSION, "a", 7, "new"), 0);
    struct ledger_write  writes[] = { { .changes = &check, .count = 1 }, { .changes = &put, .count = 1 },
                                      { .changes = &check, .count = 1 } };

    for (int round = 0; round < 2; round++) {
        assert_int_equal(bench_change(bench, check), LEDGER_DONE);
        assert_int_equal(bench_change(bench, check), LEDGER_DONE);
        expect_row(bench, KIND_SESSION, "a", "none");
        assert_int_equal(bench_change(bench, put), LEDGER_DONE);
        assert_int_equal(bench_change(bench, check), LEDGER_STALE);
        assert_int_equal(bench_change(bench, put), LEDGER_STALE);
        expect_row(bench, KIND_SESSION, "a", "7 new");
        assert_int_equal(bench_change(bench, bench_delete(KIND_SESSION, "a")), LEDGER_DONE);
    }
    bench_write_all(bench, writes, 3);
    assert_int_equal(writes[0].outcome, LEDGER_DONE);
    assert_int_equal(writes[1].outcome, LEDGER_DONE);
    assert_int_equal(writes[2].outcome, LEDGER_STALE);
    assert_int_equal(writes[2].now.generation, 7);
    ledger_write_fini(&writes[2]);
}

static void a_write_holds_as_a_whole_or_not_at_all(void **state)
{
    struct bench        *bench = *state;
    struct ledger_change fenced[] = { bench_put(KIND_PLACE, "a/x", 10, ""), bench_check(KIND_SESSION, "a", 1),
                                      bench_delete(KIND_PLACE, "a/old") };
    struct ledger_write  write    = { .changes = fenced, .count = 3 };

    assert_int_equal(bench_change(bench, bench_put(KIND_PLACE, "a/old", 3, "")), LEDGER_DONE);
    bench_write_all(bench, &write, 1);
    assert_int_equal(write.outcome, LEDGER_STALE);
    assert_int_equal(write.stale_at, 1);
    assert_int_equal(write.now.generation, 0);
    ledger_write_fini(&write);
    expect_rows(bench, KIND_PLACE, "a/", "", 10, "a/old:3");

    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 1, "")), LEDGER_DONE);
    assert_int_equal(bench_write(bench, fenced, 3), LEDGER_DONE);
    expect_rows(bench, KIND_PLACE, "a/", "", 10, "a/x:10");
}

static void a_raise_never_goes_back(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(bench_change(bench, bench_raise(KIND_PLACE, "a", 5, "five")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_raise(KIND_PLACE, "a", 4, "four")), LEDGER_DONE);
    expect_row(bench, KIND_PLACE, "a", "5 five");
    assert_int_equal(bench_change(bench, bench_raise(KIND_PLACE, "a", 5, "again")), LEDGER_DONE);
    expect_row(bench, KIND_PLACE, "a", "5 five");
    assert_int_equal(bench_change(bench, bench_raise(KIND_PLACE, "a", 6, "six")), LEDGER_DONE);
    expect_row(bench, KIND_PLACE, "a", "6 six");
    assert_int_equal(bench_change(bench, change_if(bench_raise(KIND_PLACE, "a", 9, "nine"), 5)), LEDGER_STALE);
    expect_row(bench, KIND_PLACE, "a", "6 six");
    assert_int_equal(bench_change(bench, bench_raise(KIND_PLACE, "a", UINT64_MAX, "top")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_raise(KIND_PLACE, "a", 7, "seven")), LEDGER_DONE);
    expect_row(bench, KIND_PLACE, "a", "18446744073709551615 top");
}

/* Raises of one batch, and a row that is raised and written otherwise in the same batch. */
static void raises_of_a_batch_end_at_the_highest(void **state)
{
    struct bench        *bench     = *state;
    struct ledger_change changes[] = {
        bench_raise(KIND_PLACE, "a", 3, "three"), bench_raise(KIND_PLACE, "a", 9, "nine"), bench_raise(KIND_PLACE, "a", 4, "four"),
        bench_raise(KIND_PLACE, "b", 9, "nine"),  bench_put(KIND_PLACE, "b", 2, "two"),
        bench_raise(KIND_PLACE, "c", 4, "four"),  change_if(bench_put(KIND_PLACE, "c", 3, "three"), 6),
    };
    enum { COUNT = sizeof changes / sizeof changes[0] };
    struct ledger_write writes[COUNT];

    assert_int_equal(bench_change(bench, bench_put(KIND_PLACE, "a", 5, "five")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_PLACE, "c", 6, "six")), LEDGER_DONE);
    for (size_t i = 0; i < COUNT; i++)
        writes[i] = (struct ledger_write){ .changes = &changes[i], .count = 1 };
    bench_write_all(bench, writes, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(writes[i].outcome, LEDGER_DONE);
    expect_row(bench, KIND_PLACE, "a", "9 nine");
    expect_row(bench, KIND_PLACE, "b", "2 two");
    expect_row(bench, KIND_PLACE, "c", "3 three");
}

/* --- batches ---------------------------------------------------------------------------------------------------- */

static void writes_of_a_batch_see_one_another_and_fail_alone(void **state)
{
    struct bench        *bench     = *state;
    struct ledger_change changes[] = {
        change_if(bench_put(KIND_SESSION, "a", 1, "first"), 0),
        change_if(bench_put(KIND_SESSION, "a", 2, "second"), 0),  /* refused: the answer has a row that is not committed
                                                                   * yet */
        change_if(bench_put(KIND_SESSION, "a", 3, "third"), 1),
        bench_raise(KIND_SESSION, "a", 2, "late"),
        change_if(bench_delete(KIND_SESSION, "a"), 3),
        bench_check(KIND_SESSION, "a", 0),
        change_if(bench_put(KIND_SESSION, "a", 8, "anew"), 0),
    };
    static const enum ledger_outcome outcomes[] = { LEDGER_DONE, LEDGER_STALE, LEDGER_DONE, LEDGER_DONE, LEDGER_DONE,
                                                    LEDGER_DONE, LEDGER_DONE };
    struct ledger_write writes[7];

    for (size_t i = 0; i < 7; i++)
        writes[i] = (struct ledger_write){ .changes = &changes[i], .count = 1 };
    bench_write_all(bench, writes, 7);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(writes[i].outcome, outcomes[i]);
    assert_int_equal(writes[1].now.generation, 1);
    assert_true(span_eq(writes[1].now.value, SPAN("first")));
    ledger_write_fini(&writes[1]);
    expect_row(bench, KIND_SESSION, "a", "8 anew");
}

static void a_batch_may_be_empty(void **state)
{
    bench_write_all(*state, NULL, 0);
}

static void a_full_batch_is_taken(void **state)
{
    struct bench         *bench   = *state;
    struct ledger_change *changes = calloc(LEDGER_BATCH_COUNT_MAX, sizeof *changes);
    struct ledger_write  *writes  = calloc(LEDGER_BATCH_COUNT_MAX, sizeof *writes);
    char                (*texts)[TEXT_MAX] = calloc(LEDGER_BATCH_COUNT_MAX, sizeof *texts);

    assert_true(changes != NULL && writes != NULL && texts != NULL);
    for (size_t i = 0; i < LEDGER_BATCH_COUNT_MAX; i++) {
        snprintf(texts[i], TEXT_MAX, "user-%04zu/phone", i);
        changes[i] = bench_raise(KIND_PLACE, texts[i], i + 1, "12345678");
        writes[i]  = (struct ledger_write){ .changes = &changes[i], .count = 1 };
    }
    bench_write_all(bench, writes, LEDGER_BATCH_COUNT_MAX);
    for (size_t i = 0; i < LEDGER_BATCH_COUNT_MAX; i++)
        assert_int_equal(writes[i].outcome, LEDGER_DONE);
    expect_row(bench, KIND_PLACE, "user-1023/phone", "1024 12345678");
    free(changes);
    free(writes);
    free(texts);
}

/* --- order ------------------------------------------------------------------------------------------------------ */

enum { STREAM_COUNT = 200 };

struct row_stream_batch {
    struct ledger_batch  batch;
    struct ledger_write  write;
    struct ledger_change changes[2];
    struct row_stream       *stream;
};

struct row_stream {
    struct bench       *bench;
    struct row_stream_batch batches[STREAM_COUNT];
    size_t              done_count;
    bool                is_in_order, is_done;
};

static void on_stream_done(struct ledger_batch *batch)
{
    struct row_stream_batch *mine   = container_of(batch, struct row_stream_batch, batch);
    struct row_stream       *stream = mine->stream;

    stream->is_in_order &= mine == &stream->batches[stream->done_count];
    if (++stream->done_count == STREAM_COUNT)
        bench_say_done(stream->bench, &stream->is_done);
}

/* Each write is conditional on the one before it, and doesn't wait for it. */
static void writes_apply_in_the_order_of_submission(void **state)
{
    struct bench  *bench  = *state;
    struct row_stream *stream = calloc(1, sizeof *stream);

    assert_non_null(stream);
    stream->bench       = bench;
    stream->is_in_order = true;
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        struct row_stream_batch *mine = &stream->batches[i];
        mine->stream     = stream;
        mine->changes[0] = change_if(bench_put(KIND_SESSION, "a", i + 1, "x"), i);
        mine->changes[1] = bench_put(KIND_SESSION, i % 2 ? "b" : "c", i + 1, "x");
        mine->write      = (struct ledger_write){ .changes = mine->changes, .count = 2 };
        mine->batch      = (struct ledger_batch){ .wall = bench->wall, .done = on_stream_done };
        batch_fill(&mine->batch, &mine->write, 1);
        bench->store->ledger->ops->write(bench->store->ledger, &mine->batch);
    }
    bench_wait(bench, &stream->is_done);
    assert_true(stream->is_in_order);
    for (size_t i = 0; i < STREAM_COUNT; i++)
        assert_int_equal(stream->batches[i].write.outcome, LEDGER_DONE);
    free(stream);
    expect_rows(bench, KIND_SESSION, "", "", 10, "a:200 b:200 c:199");
}

/* A chain: each write's done() reads what was written, and each read's done() makes the next write. */
struct row_chain {
    struct bench        *bench;
    struct ledger_batch  batch;
    struct ledger_read   read;
    struct ledger_write  write;
    struct ledger_change change;
    struct ledger_key    key;
    uint64_t             at;
    bool                 is_true, is_done;
};

enum { CHAIN_COUNT = 100 };

static void chain_write(struct row_chain *chain)
{
    struct ledger *ledger = chain->bench->store->ledger;

    chain->change = bench_put(KIND_SESSION, "a", ++chain->at, "x");
    chain->write  = (struct ledger_write){ .changes = &chain->change, .count = 1 };
    batch_fill(&chain->batch, &chain->write, 1);
    ledger->ops->write(ledger, &chain->batch);
}

static void on_chain_read(struct ledger_read *read)
{
    struct row_chain *chain = container_of(read, struct row_chain, read);

    chain->is_true &= read->rc == RC_OK && read->row_count == 1 && read->rows[0].generation == chain->at;
    ledger_read_fini(read);
    if (chain->at == CHAIN_COUNT)
        bench_say_done(chain->bench, &chain->is_done);
    else
        chain_write(chain);
}

static void on_chain_written(struct ledger_batch *batch)
{
    struct row_chain  *chain  = container_of(batch, struct row_chain, batch);
    struct ledger *ledger = chain->bench->store->ledger;

    ledger->ops->read(ledger, &chain->read);
}

static void a_read_after_done_sees_the_write_and_done_may_submit(void **state)
{
    struct bench *bench = *state;
    struct row_chain  chain = { .bench = bench, .is_true = true, .key = bench_key(KIND_SESSION, "a") };

    chain.batch = (struct ledger_batch){ .wall = bench->wall, .done = on_chain_written };
    chain.read  = (struct ledger_read){ .way = LEDGER_GET, .keys = &chain.key, .key_count = 1, .bytes_max = 100,
                                        .wall = bench->wall, .done = on_chain_read };
    chain_write(&chain);
    bench_wait(bench, &chain.is_done);
    assert_true(chain.is_true);
}

/* --- reads ------------------------------------------------------------------------------------------------------ */

static void a_get_answers_key_by_key(void **state)
{
    struct bench           *bench  = *state;
    const struct ledger_key keys[] = { bench_key(KIND_PLACE, "b"), bench_key(KIND_SESSION, "a"),
                                       bench_key(KIND_PLACE, "a"), bench_key(KIND_PLACE, "b") };
    struct ledger_change    changes[] = { bench_put(KIND_SESSION, "a", 1, "one"),
                                          bench_put(KIND_PLACE, "b", 2, "two") };

    assert_int_equal(bench_write(bench, changes, 2), LEDGER_DONE);
    struct ledger_read read = get_rows(bench, keys, 4);
    assert_int_equal(read.row_count, 4);
    static const uint64_t generations[] = { 2, 1, 0, 2 };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(read.rows[i].generation, generations[i]);
        assert_true(span_eq(read.rows[i].key, keys[i].bytes));
    }
    assert_true(span_eq(read.rows[1].value, SPAN("one")));
    assert_true(span_eq(read.rows[3].value, SPAN("two")));
    ledger_read_fini(&read);

    read = read_rows(bench, (struct ledger_read){ .way = LEDGER_GET, .keys = keys, .key_count = 4, .bytes_max = 5 });
    assert_int_equal(read.row_count, 2);
    ledger_read_fini(&read);
    read = get_rows(bench, keys, 0);
    assert_true(read.rc == RC_OK && read.row_count == 0);
    ledger_read_fini(&read);
}

static void a_scan_keeps_to_its_prefix_and_its_order(void **state)
{
    struct bench      *bench   = *state;
    static const char *texts[] = { "lobby/bob", "lobby/ann", "lobby", "lobby/", "lobbyists/x", "lobby/\xff", "lob",
                                   "m" };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(bench_change(bench, bench_put(KIND_MEMBER, texts[i], i + 1, "")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_LAST, "\xff\xff", 5, "")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_LAST, "\xff\xff\x01", 6, "")), LEDGER_DONE);
    expect_rows(bench, KIND_MEMBER, "lobby/", "", 10, "lobby/:4 lobby/ann:2 lobby/bob:1 lobby/\xff:6");
    expect_rows(bench, KIND_MEMBER, "", "", 10,
                "lob:7 lobby:3 lobby/:4 lobby/ann:2 lobby/bob:1 lobby/\xff:6 lobbyists/x:5 m:8");
    expect_rows(bench, KIND_MEMBER, "lobby/", "lobby/ann", 10, "lobby/bob:1 lobby/\xff:6");
    expect_rows(bench, KIND_MEMBER, "lobby/", "lobby/b", 10, "lobby/bob:1 lobby/\xff:6");
    expect_rows(bench, KIND_MEMBER, "lobby/", "a", 1, "lobby/:4+");
    expect_rows(bench, KIND_MEMBER, "lobby/", "lobby/", 1, "lobby/ann:2+");
    expect_rows(bench, KIND_MEMBER, "lobby/", "n", 10, "");
    expect_rows(bench, KIND_MEMBER, "nobody/", "", 10, "");
    expect_rows(bench, KIND_SESSION, "", "", 10, "");
    expect_rows(bench, KIND_LAST, "\xff\xff", "", 10, "\xff\xff:5 \xff\xff\x01:6");
    expect_rows(bench, KIND_LAST, "", "\xff\xff", 10, "\xff\xff\x01:6");
}

static void members_fill(struct bench *bench, size_t count)
{
    char text[TEXT_MAX];

    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "lobby/user-%05zu", i);
        assert_int_equal(bench_change(bench, bench_put(KIND_MEMBER, text, 1, "")), LEDGER_DONE);
    }
}

/* Reads all pages and returns their number. Each row comes once, in order. */
static size_t members_walk(struct bench *bench, uint32_t limit, size_t bytes_max, size_t count)
{
    struct ledger_read page, last = { 0 };
    size_t             page_count = 0, at = 0;
    char               text[TEXT_MAX];

    do {
        page = read_rows(bench, (struct ledger_read){ .way = LEDGER_SCAN, .kind = KIND_MEMBER, .prefix = SPAN("lobby/"),
                                                      .after = last.next, .limit = limit, .bytes_max = bytes_max });
        assert_int_equal(page.rc, RC_OK);
        assert_true(page.row_count <= limit);
        for (size_t i = 0; i < page.row_count; i++, at++) {
            snprintf(text, sizeof text, "lobby/user-%05zu", at);
            assert_true(span_eq(page.rows[i].key, span_str(text)));
        }
        ledger_read_fini(&last);
        last = page;
        page_count++;
    } while (last.next.len > 0);
    ledger_read_fini(&last);
    assert_int_equal(at, count);
    return page_count;
}

static void a_group_is_listed_page_by_page(void **state)
{
    struct bench *bench = *state;

    members_fill(bench, 250);
    assert_int_equal(members_walk(bench, 100, 0, 250), 3);
    assert_int_equal(members_walk(bench, 125, 0, 250), 2);
    assert_int_equal(members_walk(bench, 1000, 0, 250), 1);
    assert_int_equal(members_walk(bench, 1000, 1, 250), 250);
    assert_int_equal(members_walk(bench, 1000, 10 * sizeof "lobby/user-00000", 250), 23);
}

/* --- several questions at once ---------------------------------------------------------------------------------- */

struct bench_round {
    struct ledger_round round;
    struct bench       *bench;
    bool                is_done;
};

static void on_round_done(struct ledger_round *round)
{
    struct bench_round *mine = container_of(round, struct bench_round, round);

    bench_say_done(mine->bench, &mine->is_done);
}

static struct ledger_read round_scan(const struct bench *bench, uint8_t kind, const char *prefix, uint32_t limit)
{
    return (struct ledger_read){ .way = LEDGER_SCAN, .kind = kind, .prefix = span_str(prefix), .limit = limit,
                                 .bytes_max = PAGE_BYTES, .wall = bench->wall };
}

static void rounds_ask(struct bench *bench, struct bench_round *rounds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rounds[i].bench      = bench;
        rounds[i].round.done = on_round_done;
        ledger_round_ask(bench->store, &rounds[i].round);
    }
    for (size_t i = 0; i < count; i++)
        bench_wait(bench, &rounds[i].is_done);
}

/* Many rounds are under way together, and each gets its own answers. */
static void a_round_asks_for_heads_and_scans_at_once(void **state)
{
    enum { ROUNDS = 40 };
    struct bench        *bench = *state;
    struct bench_round   rounds[ROUNDS];
    struct channel_name *name  = NULL;
    struct store_head    heads[ROUNDS];
    char                 keys[ROUNDS][TEXT_MAX], prefixes[ROUNDS][TEXT_MAX];

    assert_int_equal(channel_name_new(&bench->spaces, &bench->hash_key, SPAN("user:ann"), &name), CHANNEL_NAME_OK);
    bench_publish(bench, (struct publish){ .channel = "user:ann", .payload = "hello" });
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(keys[i], TEXT_MAX, "u%02d/phone", i);
        snprintf(prefixes[i], TEXT_MAX, "u%02d/", i);
        assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, keys[i], (uint64_t)i + 1, "x")), LEDGER_DONE);
        rounds[i] = (struct bench_round){ .round = { .read_count = 2, .of = {
            { .read = round_scan(bench, KIND_SESSION, prefixes[i], 10) },
            { .read = round_scan(bench, KIND_MEMBER, "lobby/", 1) },
        } } };
        if (i % 2 == 0)
            rounds[i].round.heads = (struct store_heads){ .names = &name, .heads = &heads[i], .count = 1, .wall = bench->wall };
    }
    assert_int_equal(bench_change(bench, bench_put(KIND_MEMBER, "lobby/ann", 1, "")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_MEMBER, "lobby/bob", 1, "")), LEDGER_DONE);
    rounds_ask(bench, rounds, ROUNDS);
    for (int i = 0; i < ROUNDS; i++) {
        struct ledger_read *session = &rounds[i].round.of[0].read, *member = &rounds[i].round.of[1].read;
        assert_true(session->rc == RC_OK && session->row_count == 1 && session->next.len == 0);
        assert_true(span_eq(session->rows[0].key, span_str(keys[i])));
        assert_int_equal(session->rows[0].generation, i + 1);
        assert_true(member->rc == RC_OK && member->row_count == 1);
        assert_true(span_eq(member->next, SPAN("lobby/ann")));
        assert_true(i % 2 != 0 || (heads[i].rc == RC_OK && heads[i].head == 1));
        ledger_read_fini(session);
        ledger_read_fini(member);
    }
    channel_name_unref(name);
}

/* --- expiry ----------------------------------------------------------------------------------------------------- */

static struct ledger_change change_until(struct ledger_change change, msec expires_at)
{
    change.expires_at = expires_at;
    return change;
}

static void what_expired_is_not_there_for_anybody(void **state)
{
    struct bench *bench = *state;
    msec          end   = bench->wall + 1000;

    assert_int_equal(bench_change(bench, change_until(bench_put(KIND_SESSION, "a", 5, "x"), end)), LEDGER_DONE);
    assert_int_equal(bench_change(bench, change_until(bench_put(KIND_SESSION, "b", 5, "x"), end)), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "c", 5, "x")), LEDGER_DONE);
    bench->wall = end - 1;
    expect_rows(bench, KIND_SESSION, "", "", 10, "a:5 b:5 c:5");
    assert_int_equal(bench_change(bench, change_if(bench_put(KIND_SESSION, "a", 6, "y"), 0)), LEDGER_STALE);
    bench->wall = end;
    expect_rows(bench, KIND_SESSION, "", "", 10, "c:5");
    expect_row(bench, KIND_SESSION, "a", "none");
    assert_int_equal(bench_change(bench, bench_check(KIND_SESSION, "a", 5)), LEDGER_STALE);
    assert_int_equal(bench_change(bench, change_if(bench_put(KIND_SESSION, "a", 1, "anew"), 0)), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_raise(KIND_SESSION, "b", 2, "anew")), LEDGER_DONE);
    expect_rows(bench, KIND_SESSION, "", "", 10, "a:1 b:2 c:5");
}

static void a_put_sets_the_end_anew(void **state)
{
    struct bench        *bench     = *state;
    struct ledger_change changes[] = { change_until(bench_put(KIND_SESSION, "a", 1, "x"), bench->wall + 10),
                                       change_until(bench_put(KIND_SESSION, "a", 2, "y"), bench->wall + 20),
                                       change_until(bench_put(KIND_SESSION, "b", 2, "y"), bench->wall + 10) };

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(bench_change(bench, changes[i]), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "b", 3, "z")), LEDGER_DONE);
    bench->wall += 15;
    bench->store->ops->tick(bench->store, bench->wall);
    expect_rows(bench, KIND_SESSION, "", "", 10, "a:2 b:3");
    bench->wall += 5;
    bench->store->ops->tick(bench->store, bench->wall);
    expect_rows(bench, KIND_SESSION, "", "", 10, "b:3");
}

static void a_scan_over_many_that_expired_still_ends(void **state)
{
    struct bench *bench = *state;
    enum { DEAD_COUNT = 12000, AT_ONCE = 1000 };
    struct ledger_change *changes = calloc(AT_ONCE, sizeof *changes);
    struct ledger_write  *writes  = calloc(AT_ONCE, sizeof *writes);
    char                (*texts)[TEXT_MAX] = calloc(AT_ONCE, sizeof *texts);

    assert_true(changes != NULL && writes != NULL && texts != NULL);
    for (size_t from = 0; from < DEAD_COUNT; from += AT_ONCE) {
        for (size_t i = 0; i < AT_ONCE; i++) {
            snprintf(texts[i], TEXT_MAX, "dead-%05zu", from + i);
            changes[i] = change_until(bench_put(KIND_SESSION, texts[i], 1, ""), bench->wall + 1);
            writes[i]  = (struct ledger_write){ .changes = &changes[i], .count = 1 };
        }
        bench_write_all(bench, writes, AT_ONCE);
    }
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "living", 1, "")), LEDGER_DONE);
    bench->wall += 1;
    struct ledger_read first = bench_scan(bench, KIND_SESSION, SPAN(""), SPAN(""), 10);
    assert_true(first.rc == RC_OK && first.row_count == 0 && first.next.len > 0);
    struct ledger_read second = bench_scan(bench, KIND_SESSION, SPAN(""), first.next, 10);
    assert_true(second.rc == RC_OK && second.row_count == 1 && second.next.len == 0);
    ledger_read_fini(&first);
    ledger_read_fini(&second);
    free(changes);
    free(writes);
    free(texts);
}

/* --- what belongs together commits together --------------------------------------------------------------------- */

static struct ledger_change change_take_seq(struct ledger_change change)
{
    change.takes_seq  = true;
    change.generation = 0;
    return change;
}

static void an_append_carries_its_rows(void **state)
{
    struct bench        *bench     = *state;
    struct ledger_change changes[] = { change_take_seq(change_if(bench_put(KIND_MEMBER, "lobby/ann", 0, "joined"), 0)),
                                       bench_put(KIND_SESSION, "ann", 4, "x") };
    struct ledger_write  write     = { .changes = changes, .count = 2 };
    const struct publish join      = { .channel = "user:ann", .payload = "joined lobby", .write = &write };

    bench_publish(bench, (struct publish){ .channel = "user:ann", .payload = "before" });
    struct published said = bench_publish(bench, join);
    assert_int_equal(said.outcome, APPEND_DONE);
    assert_int_equal(said.answer.seq, 2);
    assert_int_equal(write.outcome, LEDGER_DONE);
    expect_row(bench, KIND_MEMBER, "lobby/ann", "2 joined");
    expect_row(bench, KIND_SESSION, "ann", "4 x");
}

static void an_append_whose_condition_fails_is_not_numbered(void **state)
{
    struct bench        *bench  = *state;
    struct ledger_change changes[] = { bench_put(KIND_SESSION, "other", 1, "x"),
                                       change_take_seq(change_if(bench_put(KIND_MEMBER, "lobby/ann", 0, "again"), 0)) };
    struct ledger_write  write  = { .changes = changes, .count = 2 };
    const struct publish join   = { .channel = "user:ann", .payload = "joined", .key = "k", .write = &write };

    assert_int_equal(bench_change(bench, bench_put(KIND_MEMBER, "lobby/ann", 17, "joined")), LEDGER_DONE);
    assert_int_equal(bench_publish(bench, join).outcome, APPEND_STALE);
    assert_int_equal(write.outcome, LEDGER_STALE);
    assert_int_equal(write.stale_at, 1);
    assert_int_equal(write.now.generation, 17);
    assert_true(span_eq(write.now.value, SPAN("joined")));
    ledger_write_fini(&write);
    expect_row(bench, KIND_SESSION, "other", "none");
    expect_page(bench, "user:ann", READ_AFTER, 0, 10, "");

    /* The refused append neither used its key nor took a seq. */
    changes[1].if_generation = 17;
    struct published said    = bench_publish(bench, join);
    assert_int_equal(said.outcome, APPEND_DONE);
    assert_int_equal(said.answer.seq, 1);
    expect_row(bench, KIND_MEMBER, "lobby/ann", "1 again");
}

static void an_append_that_is_not_numbered_changes_no_row(void **state)
{
    struct bench        *bench  = *state;
    struct ledger_change change = bench_put(KIND_MEMBER, "lobby/ann", 5, "x");
    struct ledger_write  write  = { .changes = &change, .count = 1 };
    struct publish       once   = { .channel = "user:ann", .payload = "x", .key = "k" };

    assert_int_equal(bench_publish(bench, once).outcome, APPEND_DONE);
    once.write = &write;
    assert_int_equal(bench_publish(bench, once).outcome, APPEND_REPLAYED);
    once.payload = "y";
    assert_int_equal(bench_publish(bench, once).outcome, APPEND_KEY_CONFLICT);
    const struct publish recall = { .channel = "user:ann", .recall = 9, .write = &write };
    assert_int_equal(bench_publish(bench, recall).outcome, APPEND_NO_TARGET);
    expect_row(bench, KIND_MEMBER, "lobby/ann", "none");
}

static void appends_of_a_batch_see_the_rows_of_those_before(void **state)
{
    struct bench        *bench   = *state;
    struct ledger_change changes[3];
    struct ledger_write  writes[3];
    struct publish       joins[3];
    struct published     said[3];

    for (size_t i = 0; i < 3; i++) {
        changes[i] = change_take_seq(change_if(bench_put(KIND_MEMBER, "lobby/ann", 0, "x"), i == 2 ? 1 : 0));
        writes[i]  = (struct ledger_write){ .changes = &changes[i], .count = 1 };
        joins[i]   = (struct publish){ .channel = "user:ann", .payload = "x", .write = &writes[i] };
    }
    bench_publish_all(bench, joins, 3, said);
    assert_int_equal(said[0].outcome, APPEND_DONE);
    assert_int_equal(said[1].outcome, APPEND_STALE);
    assert_int_equal(writes[1].now.generation, 1);
    ledger_write_fini(&writes[1]);
    assert_int_equal(said[2].outcome, APPEND_DONE);
    assert_int_equal(said[2].answer.seq, 2);
    expect_row(bench, KIND_MEMBER, "lobby/ann", "2 x");
}

static void a_recall_that_is_refused_for_its_rows_takes_nothing_back(void **state)
{
    struct bench        *bench  = *state;
    struct ledger_change change = bench_check(KIND_SESSION, "a", 1);
    struct ledger_write  write  = { .changes = &change, .count = 1 };
    const struct publish recall = { .channel = "topic:a", .recall = 1, .write = &write };

    bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "0123456789" });
    assert_int_equal(bench_publish(bench, recall).outcome, APPEND_STALE);
    ledger_write_fini(&write);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1");
    bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    assert_int_equal(bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).bytes, 11);
}

/* --- a walk ----------------------------------------------------------------------------------------------------- */

enum { WALK_KEYS = 12, WALK_WRITES = 4, WALK_CHANGES = 3, WALK_STEPS = 600 };

struct row_model {
    uint64_t generation;
    msec     expires_at;
};

struct row_walk {
    struct bench   *bench;
    struct rng      rng;
    struct row_model rows[WALK_KEYS];
    char            keys[WALK_KEYS][TEXT_MAX];
};

static uint64_t walk_now(const struct row_walk *walk, size_t at)
{
    const struct row_model *row = &walk->rows[at];

    return row->expires_at != 0 && row->expires_at <= walk->bench->wall ? 0 : row->generation;
}

static struct ledger_change walk_change(struct row_walk *walk, size_t at)
{
    uint64_t             now    = walk_now(walk, at);
    struct ledger_change change = {
        .op = (enum ledger_op)rng_below(&walk->rng, 4), .key = bench_key(KIND_SESSION, walk->keys[at]),
        .generation = 1 + rng_below(&walk->rng, 6), .value = span_str("value"),
        .is_conditional = rng_below(&walk->rng, 2) == 0,
        .if_generation = rng_below(&walk->rng, 4) == 0 ? rng_below(&walk->rng, 6) : now,
        .expires_at = rng_below(&walk->rng, 3) == 0 ? walk->bench->wall + (msec)rng_below(&walk->rng, 20) : 0,
    };

    return change;
}

/* Keys of one write differ: i, i + 4, i + 8. */
static size_t walk_at(const struct ledger_change *change)
{
    return (size_t)(change->key.bytes.at[0] - 'a');
}

static bool walk_holds(const struct row_walk *walk, const struct ledger_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        const struct ledger_change *change = &write->changes[i];
        if (change->is_conditional && change->if_generation != walk_now(walk, walk_at(change)))
            return false;
    }
    return true;
}

static void walk_apply(struct row_walk *walk, const struct ledger_change *change)
{
    struct row_model *row = &walk->rows[walk_at(change)];
    struct row_model  put = { change->generation, change->expires_at };

    if (change->op == LEDGER_DELETE)
        *row = (struct row_model){ 0 };
    if (change->op == LEDGER_PUT ||
        (change->op == LEDGER_RAISE && change->generation > walk_now(walk, walk_at(change))))
        *row = put;
}

static void retention_step(struct row_walk *walk)
{
    struct ledger_change changes[WALK_WRITES][WALK_CHANGES];
    struct ledger_write  writes[WALK_WRITES];

    for (size_t w = 0; w < WALK_WRITES; w++) {
        size_t first = rng_below(&walk->rng, WALK_KEYS / WALK_CHANGES);
        writes[w]    = (struct ledger_write){ .changes = changes[w], .count = 1 + rng_below(&walk->rng, WALK_CHANGES) };
        for (size_t c = 0; c < writes[w].count; c++)
            changes[w][c] = walk_change(walk, first + c * (WALK_KEYS / WALK_CHANGES));
    }
    bench_write_all(walk->bench, writes, WALK_WRITES);
    for (size_t w = 0; w < WALK_WRITES; w++) {
        assert_int_equal(writes[w].outcome, walk_holds(walk, &writes[w]) ? LEDGER_DONE : LEDGER_STALE);
        for (size_t c = 0; writes[w].outcome == LEDGER_DONE && c < writes[w].count; c++)
            walk_apply(walk, &changes[w][c]);
        ledger_write_fini(&writes[w]);
    }
}

static void walk_compare(struct row_walk *walk)
{
    struct ledger_read read = bench_scan(walk->bench, KIND_SESSION, SPAN(""), SPAN(""), WALK_KEYS);
    size_t             at   = 0;

    for (size_t i = 0; i < WALK_KEYS; i++) {
        if (walk_now(walk, i) == 0)
            continue;
        assert_true(at < read.row_count);
        assert_true(span_eq(read.rows[at].key, span_str(walk->keys[i])));
        assert_int_equal(read.rows[at].generation, walk_now(walk, i));
        at++;
    }
    assert_int_equal(at, read.row_count);
    ledger_read_fini(&read);
}

static void random_writes_agree_with_a_tiny_model(void **state)
{
    struct row_walk walk = { .bench = *state, .rng = { 23 } };

    for (size_t i = 0; i < WALK_KEYS; i++)
        snprintf(walk.keys[i], TEXT_MAX, "%c%.*s", (char)('a' + i), (int)(i * 3), "----------------------------------");
    for (size_t step = 0; step < WALK_STEPS; step++) {
        retention_step(&walk);
        walk.bench->wall += (msec)rng_below(&walk.rng, 5);
        if (step % 10 == 0)
            walk.bench->store->ops->tick(walk.bench->store, walk.bench->wall);
        walk_compare(&walk);
    }
}

/* --- all of them ------------------------------------------------------------------------------------------------ */

static int setup(void **state)
{
    struct bench *bench = malloc(sizeof *bench);

    assert_non_null(bench);
    bench_open(bench, *state);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    bench_close(bench);
    free(bench);
    return 0;
}

int ledger_battery_run(const struct store_maker *maker)
{
    char name[TEXT_MAX];
#define BATTERY_TEST(test) { #test, test, setup, teardown, (void *)(uintptr_t)maker }
    const struct CMUnitTest tests[] = {
        BATTERY_TEST(a_row_is_what_was_put),
        BATTERY_TEST(a_put_replaces_and_a_delete_ends),
        BATTERY_TEST(kinds_keep_apart),
        BATTERY_TEST(keys_and_values_may_be_any_bytes_up_to_their_maximum),
        BATTERY_TEST(a_stale_generation_is_refused_and_told_what_stands),
        BATTERY_TEST(a_sure_condition_is_held_against_its_own_batch),
        BATTERY_TEST(conditions_on_rows_that_are_not_there),
        BATTERY_TEST(a_row_that_was_not_there_is_written_once),
        BATTERY_TEST(a_write_holds_as_a_whole_or_not_at_all),
        BATTERY_TEST(a_raise_never_goes_back),
        BATTERY_TEST(raises_of_a_batch_end_at_the_highest),
        BATTERY_TEST(writes_of_a_batch_see_one_another_and_fail_alone),
        BATTERY_TEST(a_batch_may_be_empty),
        BATTERY_TEST(a_full_batch_is_taken),
        BATTERY_TEST(writes_apply_in_the_order_of_submission),
        BATTERY_TEST(a_read_after_done_sees_the_write_and_done_may_submit),
        BATTERY_TEST(a_get_answers_key_by_key),
        BATTERY_TEST(a_scan_keeps_to_its_prefix_and_its_order),
        BATTERY_TEST(a_group_is_listed_page_by_page),
        BATTERY_TEST(a_round_asks_for_heads_and_scans_at_once),
        BATTERY_TEST(what_expired_is_not_there_for_anybody),
        BATTERY_TEST(a_put_sets_the_end_anew),
        BATTERY_TEST(a_scan_over_many_that_expired_still_ends),
        BATTERY_TEST(an_append_carries_its_rows),
        BATTERY_TEST(an_append_whose_condition_fails_is_not_numbered),
        BATTERY_TEST(an_append_that_is_not_numbered_changes_no_row),
        BATTERY_TEST(appends_of_a_batch_see_the_rows_of_those_before),
        BATTERY_TEST(a_recall_that_is_refused_for_its_rows_takes_nothing_back),
        BATTERY_TEST(random_writes_agree_with_a_tiny_model),
    };
#undef BATTERY_TEST
    snprintf(name, sizeof name, "%s, ledger", maker->name);
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
