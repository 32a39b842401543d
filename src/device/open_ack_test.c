/* Calls that acknowledge in a cluster: stored before they are answered, wherever the session goes meanwhile (threat 33). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/cluster_battery.h"

#include <cmocka.h>

static void appended(struct append_batch *batch)
{
    (void)batch;
}

static void publishes(struct cluster *cluster, const char *channel, unsigned count)
{
    struct channel_name *name = name_of(cluster, channel);

    for (unsigned i = 0; i < count; i++) {
        struct message     *message = message_new(name, MESSAGE_PLAIN, NULL, 0, SPAN("text/plain"), SPAN("x"));
        struct append       append  = { .message = message };
        struct append_batch batch   = { .count = 1, .wall = WALL, .done = appended };
        list_init(&batch.appends);
        list_push(&batch.appends, &append.link);
        cluster->durable->ops->append(cluster->durable, &batch);
        assert_int_equal(append.outcome, APPEND_DONE);
        message_unref(message);
    }
    channel_name_unref(name);
}

static struct session_open *calls(struct node *node, const char *channel, uint64_t seq, const struct session_open *of)
{
    struct session_open *call = asks(node, OPEN_ACK, "phone", 0, of);

    call->named         = calloc(1, sizeof call->named[0]);
    call->named_count   = 1;
    call->named[0].name = name_of(node->cluster, channel);
    call->named[0].seq  = seq;
    return call;
}

static void turns_until_answered(struct node *node)
{
    for (const size_t before = node->answer_count; node->answer_count == before;)
        node_take(node);
}

/* Its node is gone at once, and the link that is opened next is given nothing of it again. The link before is on that node, on another
 * one, or has ended. */
static void what_a_call_acknowledged_is_stored_before_it_is_told(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 6; way++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[(way & 1) == 0 ? 1 : 0], *c = &cluster->nodes[2];
        publishes(cluster, "user:alice", 9);
        struct session_open *first = opens(a, "phone", 10);
        if (way >= 4)
            closes(a, first);
        publishes(cluster, "user:alice", 5);
        struct session_open *call = calls(b, "user:alice", 12, (way & 2) == 0 ? NULL : first);
        turns_until_answered(b);
        assert_int_equal(call->outcome, OPEN_DONE);
        assert_int_equal(call->named[0].seq, 12);
        node_restarts(b);
        assert_string_equal(places_of(opens(c, "phone", 30)), "device:alice/phone@0 user:alice@12");
        cluster_end(cluster);
    }
}

/* Another node takes the session over at any step of the call. Where the call names no generation it counts in the new one. */
static void a_call_that_meets_a_newer_link_is_stored_or_refused(void **state)
{
    unsigned done_count = 0;

    (void)state;
    for (unsigned way = 0; way < 60; way++) {
        const bool      names_it = (way & 1) != 0;
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[(way & 2) == 0 ? 1 : 0], *c = &cluster->nodes[2];
        publishes(cluster, "user:alice", 9);
        struct session_open *first = opens(a, "phone", 10);
        publishes(cluster, "user:alice", 5);
        struct session_open *call   = calls(b, "user:alice", 12, names_it ? first : NULL);
        struct session_open *second = NULL;
        for (unsigned turn = 0; b->answer_count < 1 + (b == a); turn++) {
            if (turn == way / 4)
                second = asks(c, OPEN_NEWER, "phone", 30, NULL);
            node_take(b);
            for (unsigned i = 0; second != NULL && i < 1 + turn; i++)
                node_take(c);
        }
        if (!names_it || call->outcome != OPEN_STALE)
            assert_int_equal(call->outcome, OPEN_DONE);
        const bool is_done = call->outcome == OPEN_DONE;
        node_restarts(b);
        settle(cluster);
        const char *places = places_of(opens(&cluster->nodes[1], "phone", 40));
        if (is_done)  /* else the newer link may have been told of it before it was refused */
            assert_string_equal(places, "device:alice/phone@0 user:alice@12");
        done_count += is_done;
        cluster_end(cluster);
    }
    assert_in_range(done_count, 30, 59);
}

/* The link has acknowledged the same, and that is being written. */
static void a_call_waits_for_what_is_being_stored(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0];

    (void)state;
    struct session_open *first = opens(a, "phone", 10);
    publishes(cluster, "user:alice", 9);
    cluster->is_holding = true;
    says(a, first, "user:alice", 8, ACK_PLACE);
    settle(cluster);
    struct session_open *call = calls(a, "user:alice", 8, NULL);
    settle(cluster);
    assert_int_equal(a->answer_count, 1);
    lets_go(cluster);
    settle(cluster);
    assert_int_equal(a->answer_count, 2);
    assert_int_equal(call->outcome, OPEN_DONE);
    cluster_end(cluster);
}

/* What the ledger refuses is not said to be acknowledged. It stays in memory, and is stored later. */
static void a_call_that_can_not_be_stored_says_so(void **state)
{
    static const struct { enum ledger_outcome refusal; enum open_outcome want; } rows[] = {
        { LEDGER_BUSY, OPEN_BUSY }, { LEDGER_AWAY, OPEN_AWAY }, { LEDGER_NO_SPACE, OPEN_NO_SPACE }, { LEDGER_BROKEN, OPEN_AWAY },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];
        publishes(cluster, "user:alice", 9);
        closes(a, opens(a, "phone", 10));
        publishes(cluster, "user:alice", 5);
        cluster->refuses_with = rows[i].refusal;
        for (unsigned again = 0; again < 2; again++) {  /* the second one comes while nothing is tried */
            struct session_open *call = calls(b, "user:alice", 12, NULL);
            settle(cluster);
            assert_int_equal(call->outcome, rows[i].want);
        }
        cluster->refuses_with = LEDGER_WAITING;
        ticks(cluster, 20);
        node_restarts(b);
        assert_string_equal(places_of(opens(a, "phone", 11)), "device:alice/phone@0 user:alice@12");
        cluster_end(cluster);
    }
}

/* … nor is it kept waiting for a write that is not tried for a while, because that of another session was refused. */
static void a_call_does_not_wait_while_nothing_is_stored(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    publishes(cluster, "user:alice", 9);
    opens(a, "phone", 10);
    struct session_open *other = opens(b, "tablet", 20);
    publishes(cluster, "user:alice", 5);
    cluster->is_holding = true;
    says(b, other, "user:alice", 11, ACK_PLACE);
    settle(cluster);
    assert_non_null(cluster->held);
    struct session_open *call = calls(b, "user:alice", 12, NULL);
    settle(cluster);
    assert_int_equal(b->answer_count, 1);
    cluster->is_holding   = false;
    cluster->refuses_with = LEDGER_NO_SPACE;
    lets_go(cluster);
    settle(cluster);
    assert_int_equal(b->answer_count, 2);
    assert_int_equal(call->outcome, OPEN_NO_SPACE);
    cluster->refuses_with = LEDGER_WAITING;
    ticks(cluster, 20);
    cluster_end(cluster);
}

/* A link acknowledges on and on, and its node stores that, too. */
static void a_call_does_not_wait_for_ever(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0];
    uint64_t        seq = 0;

    (void)state;
    struct session_open *first = opens(a, "phone", 10);
    publishes(cluster, "user:alice", 9);
    struct session_open *call = calls(a, "user:alice", 1, NULL);
    cluster->is_holding = true;
    while (a->answer_count < 2) {
        says(a, first, "user:alice", ++seq, ACK_PLACE);  /* before the write of the one before has ended */
        lets_go(cluster);
        node_take(a);
        assert_true(seq < 1000);
    }
    cluster->is_holding = false;
    lets_go(cluster);
    assert_int_equal(call->outcome, OPEN_BUSY);
    cluster_end(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_call_acknowledged_is_stored_before_it_is_told),
        cmocka_unit_test(a_call_that_meets_a_newer_link_is_stored_or_refused),
        cmocka_unit_test(a_call_waits_for_what_is_being_stored),
        cmocka_unit_test(a_call_that_can_not_be_stored_says_so),
        cmocka_unit_test(a_call_does_not_wait_while_nothing_is_stored),
        cmocka_unit_test(a_call_does_not_wait_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
