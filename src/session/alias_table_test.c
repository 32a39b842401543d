/* Aliases: which messages are told by one, in how few bytes, and when a link has to be told anew. */
#include "session/alias_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/must.h"
#include "base/rng.h"
#include "codec/bin/bin_alias.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };
static struct namespaces     spaces;
static struct alias_table    table;

static int begin(void **state)
{
    (void)state;
    namespaces_init(&spaces);
    alias_table_init(&table, 200);
    return 0;
}

static int end(void **state)
{
    (void)state;
    alias_table_fini(&table);
    return 0;
}

static struct channel_name *name_of(const char *text)
{
    struct channel_name *name;

    must(channel_name_new(&spaces, &key, span_str(text), &name) == CHANNEL_NAME_OK);
    return name;
}

static struct message *message_at(const char *channel, uint64_t seq, uint64_t id, msec time, const char *from)
{
    struct channel_name *name    = name_of(channel);
    struct message      *message = message_new(name, MESSAGE_PLAIN, "hello", 5, SPAN("text/plain"), span_str(from));

    message->epoch = 9;
    message->seq   = seq;
    message->id    = id;
    message->time  = time;
    channel_name_unref(name);
    return message;
}

/* The announcement by which this message is told; 0: in full. */
static uint32_t told_by(struct message *message)
{
    const struct alias *alias = alias_table_get(&table, message);
    uint32_t            announcement = alias == NULL ? 0 : alias->announcement;

    message_unref(message);
    return announcement;
}

static void numbers_within_twelve_bytes_need_no_new_announcement(void **state)
{
    (void)state;
    static const struct { const char *name; uint64_t seq, id; msec time; bool is_new; } rows[] = {
        { "the first", 1000, 5000000, 1700000000000, true },
        { "the next", 1001, 5000001, 1700000000010, false },
        { "a day later", 1002, 5001000, 1700086400000, false },
        { "an older one, for a reader that catches up", 3, 17, 1690000000000, false },
        { "a month later, and others between", 1003, 9000000, 1702700000000, true },
        { "the next", 1004, 9000001, 1702700000001, false },
        { "the clock went back", 1005, 9000002, 1702600000001, true },
        { "the one before that, again", 1004, 9000001, 1702700000001, false },
    };
    uint32_t last = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t now = told_by(message_at("topic:a", rows[i].seq, rows[i].id, rows[i].time, ""));
        bool is_new  = now != 0 && now != last;
        if (is_new != rows[i].is_new)
            fail_msg("%s", rows[i].name);
        last = now != 0 ? now : last;
    }
}

static void what_does_not_fit_is_told_in_full(void **state)
{
    (void)state;
    struct message *message = message_at("topic:a", 10, 10, 1000, "ann");
    assert_int_not_equal(told_by(message_ref(message)), 0);
    message->kind = MESSAGE_RECALL;
    assert_int_equal(told_by(message), 0);
    message        = message_at("topic:a", 11, 11, 900, "ann");
    message->epoch = 8;
    assert_int_equal(told_by(message), 0);
    assert_int_equal(told_by(message_at("topic:a", 12, 12, 1001, "")), 0);       /* no sender where the alias has one */
    assert_int_equal(told_by(message_at("topic:a", 5, 12, 999, "ann")), 0);     /* before and behind */
    struct channel_name *name = name_of("topic:a");
    message                   = message_new(name, MESSAGE_PLAIN, NULL, ALIAS_PAYLOAD_BYTES_MOST + 1, SPAN("a/b"), SPAN(""));
    memset(message->bytes, 'x', ALIAS_PAYLOAD_BYTES_MOST + 1);
    assert_int_equal(told_by(message), 0);
    channel_name_unref(name);
}

/* A new life of the log takes the alias over; what is left of the old one is told in full. */
static void an_alias_follows_the_epoch(void **state)
{
    (void)state;
    uint32_t        first   = told_by(message_at("topic:a", 10, 10, 1000, ""));
    struct message *message = message_at("topic:a", 1, 11, 1100, "");
    message->epoch          = 8;
    uint32_t second         = told_by(message);
    assert_true(second != 0 && second != first);
    assert_int_equal(told_by(message_at("topic:a", 11, 10, 1001, "")), 0);
}

static void who_writes_most_becomes_the_usual_sender(void **state)
{
    (void)state;
    uint32_t first = told_by(message_at("topic:a", 1, 1, 1000, "ann"));
    for (uint64_t seq = 2; seq < 2 + ALIAS_ODD_MOST - 1; seq++)
        assert_int_equal(told_by(message_at("topic:a", seq, seq, 1000, "bob")), first);
    uint32_t second = told_by(message_at("topic:a", 50, 50, 1000, "bob"));
    assert_int_not_equal(second, first);
    assert_int_equal(told_by(message_at("topic:a", 51, 51, 1000, "bob")), second);
}

static void the_number_used_longest_ago_is_given_again(void **state)
{
    (void)state;
    uint32_t first = told_by(message_at("topic:first", 1, 1, 1000, ""));
    for (int i = 0; i < 199; i++) {
        char channel[32];
        snprintf(channel, sizeof channel, "topic:%d", i);
        assert_int_not_equal(told_by(message_at(channel, 1, 1, 1000, "")), 0);
    }
    assert_true(alias_table_is_current(&table, 0, first));
    assert_int_not_equal(told_by(message_at("topic:one-more", 1, 1, 1000, "")), 0);
    assert_false(alias_table_is_current(&table, 0, first));
    assert_int_equal(table.count, 200);
    assert_int_not_equal(told_by(message_at("topic:first", 2, 2, 1000, "")), first);
}

static void an_unused_alias_is_dropped(void **state)
{
    (void)state;
    uint32_t first = told_by(message_at("topic:a", 1, 1, 1000, ""));
    for (int i = 0; i < ALIAS_KEPT_S; i++)
        alias_table_tick(&table);
    assert_true(alias_table_is_current(&table, 0, first));
    alias_table_tick(&table);
    assert_false(alias_table_is_current(&table, 0, first));
    assert_true(list_is_empty(&table.used) && table.free_count == table.count);
}

/* A reader that is told each announcement before its first use reads what was published. */
static void what_is_told_is_read_as_it_was(void **state)
{
    (void)state;
    struct rng         rng = { 3 };
    struct bin_aliases aliases;
    uint32_t           told[4] = { 0 };
    static const char *const channels[] = { "topic:a", "topic:b", "user:ann", "group:lobby" };
    static const char *const senders[]  = { "", "ann", "bob" };

    bin_aliases_init(&aliases);
    for (int draw = 0; draw < 5000; draw++) {
        size_t          at      = rng_below(&rng, 4);
        struct message *message = message_at(channels[at], rng_below(&rng, 1000) + 1, rng_below(&rng, 1u << 30),
                                             (msec)rng_below(&rng, 1u << 31), senders[rng_below(&rng, 3)]);
        struct buf      wire;
        struct span     bytes, rest;
        size_t          used;
        struct bin_fault fault;
        struct bin_frame frame = { 0 };
        const char      *reason;
        buf_init(&wire, 4096);
        const struct alias *alias = alias_table_get(&table, message);
        if (alias != NULL && alias->announcement != told[at])
            alias_put_announcement(&wire, alias);
        told[at] = alias != NULL ? alias->announcement : told[at];
        alias_put_message(&wire, alias, message);
        for (rest = buf_span(&wire); rest.len > 0; rest = span_skip(rest, used)) {
            assert_int_equal(bin_split(rest, 4096, &bytes, &used, &fault), BIN_SPLIT_FRAME);
            assert_int_equal(bin_read(bytes, BIN_SERVER, &frame, &reason), BIN_OK);
            assert_true(bin_aliases_take(&aliases, &frame));
        }
        assert_int_equal(frame.type, BIN_FULL);
        assert_true(span_eq(bin_bytes(&frame, BIN_CHANNEL), span_str(channels[at])));
        assert_true(bin_number(&frame, BIN_SEQ) == message->seq && bin_number(&frame, BIN_ID) == message->id);
        assert_true(bin_number(&frame, BIN_TIME) == (uint64_t)message->time && bin_number(&frame, BIN_EPOCH) == 9);
        assert_true(span_eq(bin_bytes(&frame, BIN_FROM), message_from(message)));
        assert_true(span_eq(bin_bytes(&frame, BIN_MEDIA), message_media(message)));
        assert_true(span_eq(frame.payload, message_payload(message)));
        buf_fini(&wire);
        message_unref(message);
    }
    bin_aliases_fini(&aliases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers_within_twelve_bytes_need_no_new_announcement, begin, end),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_told_in_full, begin, end),
        cmocka_unit_test_setup_teardown(an_alias_follows_the_epoch, begin, end),
        cmocka_unit_test_setup_teardown(who_writes_most_becomes_the_usual_sender, begin, end),
        cmocka_unit_test_setup_teardown(the_number_used_longest_ago_is_given_again, begin, end),
        cmocka_unit_test_setup_teardown(an_unused_alias_is_dropped, begin, end),
        cmocka_unit_test_setup_teardown(what_is_told_is_read_as_it_was, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
