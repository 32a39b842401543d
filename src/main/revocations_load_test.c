/* What is revoked, as the ledger tells it at the start: page after page, without what is damaged or over, and from which
 * place of sys:control the loops go on. */
#include "main/revocations_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/revocations.h"
#include "base/must.h"
#include "device/row.h"
#include "device/row_kind.h"
#include "store/mem.h"

#include <cmocka.h>

static const struct hash_key key  = { 1, 2 };
static const msec            wall = INT64_C(1800000000000);

struct stage {
    struct namespaces    spaces;
    struct store        *store;
    struct channel_name *control;
    struct revocations   revocations;
    struct start         start;
};

static void stage_init(struct stage *stage)
{
    *stage = (struct stage){ .store = mem_store_new(&(struct mem_store_options){ .epoch_first = 77, .id_first = 1, .hash_key = key }) };
    namespaces_init(&stage->spaces);
    must(channel_name_new(&stage->spaces, &key, SPAN("sys:control"), &stage->control) == CHANNEL_NAME_OK);
    revocations_init(&stage->revocations, &key);
}

static void stage_fini(struct stage *stage)
{
    revocations_fini(&stage->revocations);
    channel_name_unref(stage->control);
    stage->store->ops->close(stage->store);
}

static void never_waits(struct ledger_batch *batch)
{
    (void)batch;  /* the memory store completes inline */
}

static void put_row(struct stage *stage, struct span row_key, uint64_t second, msec expires_at)
{
    struct ledger_change change = { .op = LEDGER_RAISE, .key = { ROW_REVOCATION, row_key }, .value = SPAN("\1"),
                                    .generation = second, .expires_at = expires_at };
    struct ledger_write  write = { .changes = &change, .count = 1 };
    struct ledger_batch  batch = { .change_count = 1, .wall = wall, .done = never_waits };

    list_init(&batch.writes);
    list_push(&batch.writes, &write.link);
    stage->store->ledger->ops->write(stage->store->ledger, &batch);
    assert_int_equal(write.outcome, LEDGER_DONE);
    ledger_write_fini(&write);
}

static void revoke(struct stage *stage, const char *kind, const char *name, uint64_t second, msec expires_at)
{
    struct buf text;

    buf_init(&text, LEDGER_KEY_BYTES_MAX);
    row_key_put(&text, span_str(kind), span_str(name));
    put_row(stage, buf_span(&text), second, expires_at);
    buf_fini(&text);
}

static void load(struct stage *stage)
{
    assert_int_equal(revocations_load(&stage->revocations, stage->store, stage->control, wall, &stage->start), RC_OK);
}

static bool refuses(const struct stage *stage, const char *user, uint64_t issued_at)
{
    return revocations_refuse(&stage->revocations, &(struct revocable){ .user = span_str(user), .issued_at = issued_at });
}

static void nothing_is_revoked(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    load(&stage);
    assert_int_equal(stage.revocations.count, 0);
    assert_int_equal(stage.start.kind, START_AFTER);
    assert_int_equal(stage.start.seq, 0);
    stage_fini(&stage);
}

static void each_kind_is_loaded(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    revoke(&stage, "user", "ann", 100, 0);
    revoke(&stage, "device", "bob/phone", 100, 0);
    revoke(&stage, "jti", "t1", 100, 0);
    revoke(&stage, "connection", "0123456789abcdef", 100, 0);
    load(&stage);
    assert_int_equal(stage.revocations.count, 4);
    assert_true(refuses(&stage, "ann", 100));
    assert_false(refuses(&stage, "ann", 101));
    assert_false(refuses(&stage, "bob", 100));
    assert_true(revocations_refuse(&stage.revocations, &(struct revocable){ .user = SPAN("bob"), .device = SPAN("phone"),
                                                                            .issued_at = 100 }));
    assert_true(revocations_refuse(&stage.revocations, &(struct revocable){ .jti = SPAN("t1"), .issued_at = 1 }));
    assert_true(revocations_refuse(&stage.revocations,
                                   &(struct revocable){ .connection = SPAN("0123456789abcdef"), .issued_at = 1 }));
    stage_fini(&stage);
}

/* More than two pages; the last page is not full. */
static void all_pages_are_read(void **state)
{
    enum { COUNT = 1234 };
    struct stage stage;
    char         name[32];

    (void)state;
    stage_init(&stage);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "user-%u", i);
        revoke(&stage, "user", name, 1 + i, 0);
    }
    load(&stage);
    assert_int_equal(stage.revocations.count, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "user-%u", i);
        assert_true(refuses(&stage, name, 1 + i));
        assert_false(refuses(&stage, name, 2 + i));
    }
    stage_fini(&stage);
}

static void rows_that_are_none_are_left_out(void **state)
{
    static const struct span rows[] = { SPAN("user"), SPAN("user\0"), SPAN("\0ann"), SPAN("planet\0mars"), SPAN("users\0ann") };
    struct stage stage;
    char         long_name[REVOKED_NAME_BYTES_MAX + 2];

    (void)state;
    stage_init(&stage);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        put_row(&stage, rows[i], 100, 0);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    revoke(&stage, "jti", long_name, 100, 0);
    revoke(&stage, "user", "over", 100, wall);      /* it has expired */
    revoke(&stage, "user", "ann", 100, wall + 1);
    load(&stage);
    assert_int_equal(stage.revocations.count, 1);
    assert_true(refuses(&stage, "ann", 100));
    stage_fini(&stage);
}

static void never_appends(struct append_batch *batch)
{
    (void)batch;
}

/* The loops follow from behind the head as it was before the rows were read. */
static void the_log_goes_on_behind_its_head(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    for (unsigned seq = 1; seq <= 3; seq++) {
        struct message     *message = message_new(stage.control, MESSAGE_PLAIN, "{}", 2, SPAN("text/plain"), SPAN(""));
        struct append       append  = { .message = message };
        struct append_batch batch   = { .count = 1, .wall = wall, .done = never_appends };
        message->time = wall;
        list_init(&batch.appends);
        list_push(&batch.appends, &append.link);
        stage.store->ops->append(stage.store, &batch);
        assert_int_equal(message->seq, seq);
        message_unref(message);
    }
    load(&stage);
    assert_int_equal(stage.start.kind, START_AFTER);
    assert_int_equal(stage.start.seq, 3);
    assert_int_equal(stage.start.epoch, 77);
    stage_fini(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_revoked),
        cmocka_unit_test(each_kind_is_loaded),
        cmocka_unit_test(all_pages_are_read),
        cmocka_unit_test(rows_that_are_none_are_left_out),
        cmocka_unit_test(the_log_goes_on_behind_its_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
