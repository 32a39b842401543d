#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/must.h"
#include "reactor/stream_battery.h"

#include <cmocka.h>

/* --- the owner ----------------------------------------------------------------------------------------------- */

static void rig_close_stream(struct battery_rig *rig)
{
    stream_close(rig->stream);
    rig->stream = NULL;
}

static void rig_on_readable(struct stream *stream, void *owner)
{
    struct battery_rig *rig = owner;
    char                into[4096];

    assert_ptr_equal(stream, rig->stream);
    rig->readable++;
    if (rig->closes) {
        rig_close_stream(rig);
        return;
    }
    while (rig->reads_left > 0) {
        rig->reads_left--;
        rig->last = stream_read(stream, into, rig->room);
        if (rig->last <= 0)
            return;
        buf_put(&rig->got, span_of(into, (size_t)rig->last));
        if (stream_is_drained(stream, (size_t)rig->last, rig->room))
            return;
    }
}

static void rig_on_writable(struct stream *stream, void *owner)
{
    struct battery_rig *rig = owner;

    assert_ptr_equal(stream, rig->stream);
    assert_false(stream->is_full);
    rig->writable++;
}

static const struct stream_events rig_events = { .on_readable = rig_on_readable, .on_writable = rig_on_writable };

static int rig_open(void **state)
{
    struct battery_rig *rig = calloc(1, sizeof *rig);

    assert_non_null(rig);
    rig->far        = *state;
    rig->room       = 4096;
    rig->reads_left = BATTERY_READS_MAX;
    rig->last       = STREAM_LATER;
    buf_init(&rig->got, SIZE_MAX / 2);
    rig->far->open(rig);
    stream_start(rig->stream, &rig_events, rig);
    rig->far->turn(rig);  /* the edge of a new socket: there is room to write */
    *state = rig;
    return 0;
}

static int rig_close(void **state)
{
    struct battery_rig *rig = *state;

    rig_close_stream(rig);
    rig->far->close(rig);
    buf_fini(&rig->got);
    free(rig);
    return 0;
}

static void rig_turns(struct battery_rig *rig)
{
    for (int i = 0; i < 3; i++)
        rig->far->turn(rig);
}

static void expect_got(struct battery_rig *rig, const char *want)
{
    assert_true(span_eq(buf_span(&rig->got), span_str(want)));
}

/* Takes what there is; expects it to be `want`, and the end behind it or not. */
static void expect_far(struct battery_rig *rig, struct span want, bool is_end)
{
    struct buf took;

    buf_init(&took, SIZE_MAX / 2);
    assert_int_equal(rig->far->take(rig, &took), is_end);
    assert_int_equal(took.len, want.len);
    assert_true(span_eq(buf_span(&took), want));
    buf_fini(&took);
}

/* Lets the far end take all that the maker has, in as many turns as that needs. True: and behind it stands the end. */
static bool take_all(struct battery_rig *rig, struct buf *took)
{
    size_t had;
    bool   is_end;

    do {
        had    = took->len;
        is_end = rig->far->take(rig, took);
        rig_turns(rig);
        is_end = rig->far->take(rig, took) || is_end;
    } while (took->len > had);
    return is_end;
}

static char *big_new(void)
{
    char *big = malloc(BATTERY_BIG_BYTES);

    assert_non_null(big);
    for (size_t i = 0; i < BATTERY_BIG_BYTES; i++)
        big[i] = (char)(i * 31 >> 3);
    return big;
}

/* --- reading ------------------------------------------------------------------------------------------------- */

static void a_short_read_is_not_all(void **state)
{
    struct battery_rig *rig  = *state;
    char               *big  = big_new();

    rig->reads_left = 100000;
    rig->far->send(rig, span_of(big, 10000));
    rig_turns(rig);
    rig->far->send(rig, SPAN("more"));
    rig_turns(rig);
    assert_int_equal(rig->got.len, 10004);
    assert_memory_equal(rig->got.at, big, 10000);
    assert_memory_equal(rig->got.at + 10000, "more", 4);
    free(big);
}

/* The far end says nothing more, so no descriptor becomes ready: only the maker knows that there is something. */
static void what_is_left_inside_is_told_to_who_asks(void **state)
{
    struct battery_rig *rig = *state;

    rig->room       = 1;
    rig->reads_left = 1;
    rig->far->send(rig, SPAN("abc"));
    rig_turns(rig);
    expect_got(rig, "a");
    unsigned told = rig->readable;
    for (int i = 0; i < 3; i++) {
        rig->reads_left = 1;
        stream_more(rig->stream);
        stream_more(rig->stream);  /* twice is once */
        rig_turns(rig);
    }
    expect_got(rig, "abc");
    assert_int_equal(rig->readable, told + 3);
    assert_int_equal(rig->last, STREAM_LATER);
    rig_turns(rig);
    assert_int_equal(rig->readable, told + 3);
}

static void the_end_comes_behind_all_bytes(void **state)
{
    struct battery_rig *rig = *state;

    rig->far->send(rig, SPAN("last words"));
    rig->far->end(rig);
    rig_turns(rig);
    expect_got(rig, "last words");
    assert_int_equal(rig->last, 0);
    assert_int_equal(stream_write(rig->stream, SPAN("heard")), 5);
    rig_turns(rig);
    expect_far(rig, SPAN("heard"), false);
}

static void an_end_is_seen_though_it_comes_late(void **state)
{
    struct battery_rig *rig = *state;

    rig->far->send(rig, SPAN("x"));
    rig_turns(rig);
    assert_int_not_equal(rig->last, 0);
    rig->far->end(rig);
    rig_turns(rig);
    assert_int_equal(rig->last, 0);
}

static void a_new_owner_is_told_what_the_old_one_left(void **state)
{
    struct battery_rig *rig = *state;
    struct battery_rig  heir = { .room = 16, .reads_left = BATTERY_READS_MAX };

    buf_init(&heir.got, 64);
    rig->room       = 1;
    rig->reads_left = 1;
    rig->far->send(rig, SPAN("ab"));
    rig_turns(rig);
    heir.stream = rig->stream;
    stream_hand_over(rig->stream, &rig_events, &heir);
    assert_int_equal(heir.readable, 0);
    rig_turns(rig);
    expect_got(rig, "a");
    expect_got(&heir, "b");
    buf_fini(&heir.got);
}

/* --- writing ------------------------------------------------------------------------------------------------- */

/* The bytes are gone as soon as the call returns: what was taken is the maker's. */
static size_t write_some(struct battery_rig *rig, struct span left)
{
    char *copy = malloc(left.len);

    assert_non_null(copy);
    memcpy(copy, left.at, left.len);
    ssize_t put = stream_write(rig->stream, span_of(copy, left.len));
    free(copy);
    assert_in_range(put, 0, left.len);
    assert_true(rig->stream->is_full || (size_t)put == left.len);
    return (size_t)put;
}

static void a_short_write_is_told_when_there_is_room_and_only_then(void **state)
{
    struct battery_rig *rig = *state;
    char               *big = big_new();
    struct buf          took;
    size_t              put = 0;

    buf_init(&took, SIZE_MAX / 2);
    while (put < BATTERY_BIG_BYTES) {
        unsigned told = rig->writable;
        put += write_some(rig, span_of(big + put, BATTERY_BIG_BYTES - put));
        bool is_full = rig->stream->is_full;
        rig->far->turn(rig);
        assert_int_equal(rig->writable, told);  /* the far end has taken nothing yet */
        take_all(rig, &took);
        assert_int_equal(rig->writable, told + is_full);
        assert_int_equal(took.len, put);
    }
    assert_true(rig->writable > 0);
    assert_int_equal(took.len, BATTERY_BIG_BYTES);
    assert_memory_equal(took.at, big, BATTERY_BIG_BYTES);
    buf_fini(&took);
    free(big);
}

/* A maker that has to repeat bytes has taken them. */
static void what_was_not_taken_may_be_replaced(void **state)
{
    struct battery_rig *rig  = *state;
    char               *big  = big_new();
    struct buf          took;

    buf_init(&took, SIZE_MAX / 2);
    size_t put = write_some(rig, span_of(big, BATTERY_BIG_BYTES));
    assert_true(put < BATTERY_BIG_BYTES);
    take_all(rig, &took);
    assert_int_equal(took.len, put);
    assert_int_equal(stream_write(rig->stream, SPAN("other")), 5);
    take_all(rig, &took);
    assert_int_equal(took.len, put + 5);
    assert_memory_equal(took.at, big, put);
    assert_memory_equal(took.at + put, "other", 5);
    buf_fini(&took);
    free(big);
}

static void an_empty_write_takes_nothing(void **state)
{
    struct battery_rig *rig = *state;

    assert_int_equal(stream_write(rig->stream, SPAN("")), 0);
    assert_false(rig->stream->is_full);
}

/* --- ends ---------------------------------------------------------------------------------------------------- */

static void a_half_close_ends_one_direction(void **state)
{
    struct battery_rig *rig = *state;

    assert_int_equal(stream_write(rig->stream, SPAN("bye")), 3);
    stream_shut(rig->stream);
    stream_shut(rig->stream);
    rig_turns(rig);
    expect_far(rig, SPAN("bye"), true);
    assert_int_equal(stream_write(rig->stream, SPAN("x")), STREAM_FAULT);
    rig->far->send(rig, SPAN("heard"));
    rig_turns(rig);
    expect_got(rig, "heard");
}

static void a_reset_is_told_and_is_a_fault(void **state)
{
    struct battery_rig *rig = *state;

    assert_int_equal(stream_write(rig->stream, SPAN("unread")), 6);
    rig_turns(rig);
    unsigned told = rig->readable;
    rig->far->reset(rig);
    assert_int_equal(stream_write(rig->stream, SPAN("x")), STREAM_FAULT);
    rig_turns(rig);
    assert_true(rig->readable > told);
    assert_true(rig->last == STREAM_FAULT || rig->last == 0);
    assert_true(rig->stream->is_ended);
}

static void what_was_taken_is_sent_though_the_stream_closes(void **state)
{
    struct battery_rig *rig = *state;
    char               *big = big_new();

    struct buf          took;

    buf_init(&took, SIZE_MAX / 2);
    size_t put = write_some(rig, span_of(big, BATTERY_BIG_BYTES));
    rig_close_stream(rig);
    assert_true(take_all(rig, &took));
    assert_int_equal(took.len, put);
    assert_memory_equal(took.at, big, put);
    buf_fini(&took);
    free(big);
}

static void a_closed_stream_is_still_and_refuses_all(void **state)
{
    struct battery_rig *rig    = *state;
    struct stream      *stream = rig->stream;
    char                into[8];

    rig->far->send(rig, SPAN("unheard"));
    stream_more(stream);
    rig_close_stream(rig);
    unsigned told = rig->readable;
    assert_int_equal(stream_write(stream, SPAN("x")), STREAM_FAULT);
    assert_int_equal(stream_read(stream, into, sizeof into), STREAM_FAULT);
    assert_false(stream_is_dead(stream, 0));
    stream_shut(stream);
    stream_more(stream);
    stream_close(stream);
    rig_turns(rig);
    assert_int_equal(rig->readable, told);
    assert_null(rig->loop->again);
    assert_null(rig->loop->closed);
}

static void who_closes_when_told_to_read_is_not_told_to_write(void **state)
{
    struct battery_rig *rig = *state;
    char               *big = big_new();
    struct buf          took;

    buf_init(&took, SIZE_MAX / 2);
    write_some(rig, span_of(big, BATTERY_BIG_BYTES));
    rig->far->take(rig, &took);
    rig->far->send(rig, SPAN("x"));
    rig->closes = true;
    rig_turns(rig);
    assert_int_equal(rig->readable, 1);
    assert_int_equal(rig->writable, 0);
    buf_fini(&took);
    free(big);
}

#define TEST(name) { #name, name, rig_open, rig_close, NULL }

/* The simulated links have no address, sockets of tests are no TCP: so all that is known is what was named. */
static void a_proxy_names_the_client(void **state)
{
    struct battery_rig *rig = *state;
    struct ip_address   one, other, got = IP_UNKNOWN;

    assert_true(ip_read(SPAN("192.0.2.7"), &one) && ip_read(SPAN("2001:db8::7"), &other));
    assert_false(stream_peer(rig->stream, &got));
    assert_false(ip_is_known(&got));
    for (int i = 0; i < 100; i++) {
        stream_name_peer(rig->stream, i % 2 == 0 ? &one : &other);
        assert_true(stream_peer(rig->stream, &got));
        assert_true(ip_eq(&got, i % 2 == 0 ? &one : &other));
    }
    assert_int_equal(rig->loop->named_peers.count, 1);
    stream_close(rig->stream);
    assert_false(stream_peer(rig->stream, &got));
    rig->stream = NULL;
    assert_int_equal(named_peers_add(&rig->loop->named_peers, &one), 1);  /* its place was free again */
}

int stream_battery_run(const struct battery_far *far)
{
    struct CMUnitTest tests[] = {
        TEST(a_short_read_is_not_all),
        TEST(what_is_left_inside_is_told_to_who_asks),
        TEST(the_end_comes_behind_all_bytes),
        TEST(an_end_is_seen_though_it_comes_late),
        TEST(a_new_owner_is_told_what_the_old_one_left),
        TEST(a_short_write_is_told_when_there_is_room_and_only_then),
        TEST(what_was_not_taken_may_be_replaced),
        TEST(an_empty_write_takes_nothing),
        TEST(a_half_close_ends_one_direction),
        TEST(a_reset_is_told_and_is_a_fault),
        TEST(what_was_taken_is_sent_though_the_stream_closes),
        TEST(a_closed_stream_is_still_and_refuses_all),
        TEST(who_closes_when_told_to_read_is_not_told_to_write),
        TEST(a_proxy_names_the_client),
    };
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tests[i].initial_state = (void *)(uintptr_t)far;
    return cmocka_run_group_tests_name(far->name, tests, NULL, NULL);
}
