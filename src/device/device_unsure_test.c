/* Raises of which nobody knows whether they were written (threats 33, 40). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/cluster_battery.h"

#include <cmocka.h>

/* The opener is refused, and nobody is asked. */
static void opens_in_vain(struct node *node, uint64_t key, enum commit_end end)
{
    const unsigned       asked = node->cluster->asked_count;
    struct session_open *open  = asks(node, OPEN_NEWER, "phone", key, NULL);

    node->cluster->commit_end = end;
    settle(node->cluster);
    assert_int_equal(open->outcome, OPEN_AWAY);
    assert_int_equal(node->cluster->commit_end, COMMIT_KNOWN);
    assert_int_equal(node->cluster->asked_count, asked);
}

static void says_last(struct node *node, const struct session_open *open, uint64_t seq)
{
    node->last_words = words(node, open, "user:alice", seq, ACK_PLACE);
}

static void closes_late(struct node *node, const struct session_open *open)
{
    bundle_add(&node->posted, &session_close_new(&node->devices, open->standing, open->key, open->generation)->command.mail);
}

static void assert_goes_on(const struct session_open *open, uint64_t generation, uint64_t seq)
{
    char want[64];

    snprintf(want, sizeof want, "device:alice/phone@0 user:alice@%llu", (unsigned long long)seq);
    assert_int_equal(open->outcome, OPEN_DONE);
    assert_int_equal(open->generation, generation);
    assert_string_equal(places_of(open), want);
}

/* The first node has the link. A raise of the second one was written, and it does not know so. Then the device comes to any of the three
 * nodes: at once, when a write of the first one was refused and its link has ended, or long after that. What is told is stored by the
 * newest link's node. */
static void what_was_acknowledged_before_a_raise_that_is_not_known_counts(void **state)
{
    static const char *const ways[] = { "the link goes on", "the link was told by a refused write", "… and has ended", "… long ago" };

    (void)state;
    for (unsigned at = 0; at < 4 * NODES; at++) {
        const unsigned  way     = at / NODES;
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *back = &cluster->nodes[at % NODES];
        struct session_open *first = opens(a, "phone", 10);
        if (way == 0)
            says_last(a, first, 5);
        opens_in_vain(b, 20, COMMIT_WRITTEN);
        assert_int_equal(a->fenced_count, 0);
        if (way > 0) {
            acks(a, first, 5);
            assert_fenced(a, 1, 10, FENCE_REPLACED);
        }
        if (way > 1)
            closes(a, first);
        if (way > 2)
            passes(cluster, 50000);
        struct session_open *next = opens(back, "phone", 40);
        if (next->generation != 3 || strcmp(places_of(next), "device:alice/phone@0 user:alice@5") != 0)
            fail_msg("%s, it comes back on %s: %s, generation %llu", ways[way], back->name, places_of(next), (unsigned long long)next->generation);
        assert_int_equal(linked(cluster), 1);
        assert_int_equal(b->devices.unsure_count, 0);
        closes(back, next);
        node_restarts(a == back ? b : a);
        assert_goes_on(opens(&cluster->nodes[2], "phone", 41), 4, 5);
        cluster_end(cluster);
    }
}

/* While the database is away nothing is refused, and nobody learns of the raise. */
static void what_was_acknowledged_while_the_database_is_away_counts(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 2 * NODES; at++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *back = &cluster->nodes[at % NODES];
        struct session_open *first = opens(a, "phone", 10);
        opens_in_vain(b, 20, COMMIT_WRITTEN);
        cluster->is_away = true;
        says(a, first, "user:alice", 7, ACK_PLACE);
        passes(cluster, 5000);
        says(a, first, "topic:kept", 2, ACK_KEEP);
        if (at >= NODES)
            closes_late(a, first);
        passes(cluster, 300000);
        assert_int_equal(asks(back, OPEN_NEWER, "phone", 39, NULL)->outcome, OPEN_DONE);
        settle(cluster);
        assert_int_equal(back->answers[back->answer_count - 1]->outcome, OPEN_AWAY);
        cluster->is_away = false;
        passes(cluster, 20000);  /* the client's back-off */
        assert_int_equal(a->fenced_count, at < NODES);
        struct session_open *next = opens(back, "phone", 40);
        assert_string_equal(places_of(next), "device:alice/phone@0 topic:kept@2* user:alice@7");
        cluster_end(cluster);
    }
}

/* The second node does not know of its raise, and neither does the third one, which has replaced that. */
static void what_was_acknowledged_before_two_raises_that_are_not_known_counts(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 4 * NODES; at++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *c = &cluster->nodes[2], *back = &cluster->nodes[at % NODES];
        struct session_open *first = opens(a, "phone", 10);
        const bool           is_second = (at / NODES & 1) != 0, is_third = (at / NODES & 2) != 0;
        says_last(a, first, 5);
        opens_in_vain(b, 20, COMMIT_WRITTEN);
        opens_in_vain(b, 21, is_second ? COMMIT_WRITTEN : COMMIT_LOST);
        opens_in_vain(c, 30, is_third ? COMMIT_WRITTEN : COMMIT_LOST);
        assert_goes_on(opens(back, "phone", 40), 3 + is_second + is_third, 5);
        assert_int_equal(linked(cluster), 1);
        cluster_end(cluster);
    }
}

/* Raises of two nodes that name each other: nobody waits in a circle. */
static void raises_that_are_not_known_and_replace_each_other_are_followed(void **state)
{
    (void)state;
    for (unsigned at = 0; at < NODES; at++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *back = &cluster->nodes[at];
        struct session_open *first = opens(b, "phone", 10);
        says_last(b, first, 5);
        opens_in_vain(a, 20, COMMIT_WRITTEN);
        opens_in_vain(b, 21, COMMIT_WRITTEN);
        opens_in_vain(a, 22, COMMIT_WRITTEN);
        opens_in_vain(b, 23, COMMIT_WRITTEN);
        assert_goes_on(opens(back, "phone", 40), 6, 5);
        assert_int_equal(linked(cluster), 1);
        cluster_end(cluster);
    }
}

/* The raise is one of the link's own node. */
static void what_was_acknowledged_before_an_own_raise_that_is_not_known_counts(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 4 * NODES; at++) {
        const unsigned  way     = at / NODES;
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *back = &cluster->nodes[at % NODES];
        struct session_open *first = opens(a, "phone", 10);
        if (way == 0)
            says_last(a, first, 5);
        opens_in_vain(a, 11, COMMIT_WRITTEN);
        if (way > 0) {
            says(a, first, "topic:kept", 2, ACK_KEEP);
            acks(a, first, 5);
            passes(cluster, 1000);  /* it pauses after a write that failed */
            assert_fenced(a, 1, 10, FENCE_ASTRAY);
        }
        if (way > 1)
            closes(a, first);
        if (way > 2)
            passes(cluster, 50000);
        struct session_open *next = opens(back, "phone", 40);
        assert_string_equal(places_of(next), way == 0 ? "device:alice/phone@0 user:alice@5" : "device:alice/phone@0 topic:kept@2* user:alice@5");
        assert_int_equal(next->generation, 3);
        assert_int_equal(linked(cluster), 1);
        cluster_end(cluster);
    }
}

/* … and this node is in no cluster, but its database may have other writers. */
static void a_node_alone_knows_its_own_raise(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0];
        node_is_alone(a);
        struct session_open *first = opens(a, "phone", 10);
        if (way == 0)
            says_last(a, first, 5);
        opens_in_vain(a, 11, COMMIT_WRITTEN);
        if (way > 0) {
            acks(a, first, 5);
            passes(cluster, 1000);
            assert_fenced(a, 1, 10, FENCE_REPLACED);
        }
        if (way > 1)
            closes(a, first);
        if (way > 2)
            passes(cluster, 50000);
        assert_goes_on(opens(a, "phone", 12), 3, 5);
        assert_int_equal(a->devices.unsure_count, 0);
        cluster_end(cluster);
    }
}

/* The raise was not written: the link goes on, and who opens the session asks its node. */
static void a_raise_that_is_not_written_takes_the_session_from_nobody(void **state)
{
    (void)state;
    for (unsigned at = 0; at < NODES; at++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *back = &cluster->nodes[at];
        struct session_open *first = opens(a, "phone", 10);
        opens_in_vain(b, 20, COMMIT_LOST);
        acks(a, first, 5);
        passes(cluster, 2000);
        assert_int_equal(a->fenced_count, 0);
        assert_int_equal(cluster->asked_count, 0);
        says_last(a, first, 6);
        struct session_open *next = opens(back, "phone", 40);
        assert_goes_on(next, 2, 6);
        assert_int_equal(linked(cluster), 1);
        says_last(back, next, 8);
        assert_goes_on(opens(&cluster->nodes[(at + 1) % NODES], "phone", 41), 3, 8);
        assert_int_equal(linked(cluster), 1);
        cluster_end(cluster);
    }
}

/* … and is remembered no longer than another node's question may be under way, once the session is known to have gone on. */
static void a_raise_that_is_not_written_is_forgotten(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *c = &cluster->nodes[2];

    (void)state;
    opens(a, "phone", 10);
    opens_in_vain(b, 20, COMMIT_LOST);
    opens(a, "phone", 11);
    opens(b, "phone", 21);
    passes(cluster, 9000);
    assert_int_equal(b->devices.unsure_count, 1);
    passes(cluster, 1000);
    assert_int_equal(b->devices.unsure_count, 0);
    opens_in_vain(a, 12, COMMIT_LOST);
    opens(a, "phone", 13);  /* takes the same number */
    assert_int_equal(a->devices.unsure_count, 0);
    assert_int_equal(opens(c, "phone", 30)->generation, 5);
    assert_int_equal(linked(cluster), 1);
    cluster_end(cluster);
}

/* The older link's node is dead: whoever comes back is not kept waiting for longer than for any dead node. */
static void nobody_waits_for_a_dead_node_behind_a_raise_that_is_not_known(void **state)
{
    (void)state;
    for (unsigned at = 1; at < NODES; at++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *back = &cluster->nodes[at];
        opens(a, "phone", 10);
        opens_in_vain(b, 20, COMMIT_WRITTEN);
        node_restarts(a);
        struct session_open *next = opens(back, "phone", 40);
        assert_goes_on(next, 3, 0);
        assert_int_equal(cluster->asked_count, at);
        assert_int_equal(b->devices.unsure_count, 0);
        assert_int_equal(b->devices.deaf[0].incarnation, a->devices.incarnation - 50);
        assert_int_equal(counter_get(&b->devices.counters.untold), 1);
        cluster_end(cluster);
    }
}

/* … and one that does not know yet is asked again, also on behalf of another node. */
static void who_does_not_know_yet_is_asked_again_for_another_node(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *c = &cluster->nodes[2];

    (void)state;
    struct session_open *first = opens(a, "phone", 10);
    opens_in_vain(b, 20, COMMIT_WRITTEN);
    says_last(a, first, 5);
    struct session_open *next = asks(c, OPEN_NEWER, "phone", 30, NULL);
    turns_until_asked(c, 1);
    struct command *told = command_of(bundle_take(&a->sent));  /* the loop takes its time */
    for (int i = 0; i < 3; i++) {
        a->writer.wall = b->writer.wall = WALL + (i + 1) * PEER_FENCE_TELL_MS;
        devices_tick(&a->devices);
        devices_tick(&b->devices);
        settle(cluster);
        assert_int_equal(next->generation, 0);
    }
    bundle_add(&a->sent, &told->mail);
    settle(cluster);
    assert_goes_on(next, 3, 5);
    assert_int_equal(linked(cluster), 1);
    cluster_end(cluster);
}

/* Where several nodes are asked at once, one that has answered answers again because of another one that has not. What is told on has
 * a maximum, so it is told on once. */
static void a_place_that_is_told_twice_is_told_on_once(void **state)
{
    size_t bytes[2];

    (void)state;
    for (unsigned way = 0; way < 2; way++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *c = &cluster->nodes[2];
        struct session_open *first = opens(a, "phone", 10);
        opens_in_vain(b, 20, COMMIT_WRITTEN);
        says_last(a, first, 5);
        cluster->tells_twice = way == 1;
        struct session_open *next = asks(c, OPEN_NEWER, "phone", 30, NULL);
        settle(cluster);
        assert_goes_on(next, 3, 5);
        bytes[way] = cluster->answer_bytes;
        cluster_end(cluster);
    }
    assert_true(bytes[0] > 0);
    assert_int_equal(bytes[0], bytes[1]);
}

/* What a forgotten link acknowledges long after it was replaced is kept here, because nobody asks for it. It is told to nobody who replaces a
 * later link: the device has said since then what it has. */
static void what_a_replaced_link_acknowledged_is_told_to_no_later_one(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *c = &cluster->nodes[2];

    (void)state;
    struct session_open *ghost = opens(a, "phone", 10);
    cluster->loses_questions   = true;
    closes(b, opens(b, "phone", 20));
    cluster->loses_questions = false;
    acks(a, ghost, 9);
    closes(a, ghost);
    passes(cluster, 8000);
    assert_int_equal(a->devices.stranded.count, 1);
    struct session_open *second = opens(a, "phone", 11);
    struct session_open *third  = asks(c, OPEN_NEWER, "phone", 30, NULL);
    node_take(c);  /* reads, and takes its time */
    closes_late(a, second);
    ticks_of(a, 60);
    settle(cluster);
    assert_int_equal(cluster->asked_count, 2);
    assert_goes_on(third, 4, 0);
    passes(cluster, 60000);
    assert_int_equal(a->devices.stranded.count, 0);
    cluster_end(cluster);
}

/* Another user's phone. */
static enum open_outcome opens_of(struct node *node, const char *user, enum commit_end end)
{
    struct session_open *open = session_open_new(&node->devices, span_str(user), SPAN("phone"), SPAN(""));

    open->home                = &node->home;
    open->way                 = OPEN_NEWER;
    open->answered            = on_opened;
    node->cluster->commit_end = end;
    bundle_add(&node->posted, &open->command.mail);
    settle(node->cluster);
    const enum open_outcome outcome = open->outcome;
    answers_free(node);
    return outcome;
}

/* The oldest are forgotten, and so are those that nobody came back for. */
static void raises_that_are_not_known_are_bounded(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    a->devices.limits.compare_ms = INT64_MAX / 2;
    for (unsigned i = 0; i <= DEVICE_UNSURE_MAX; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%u", i);
        assert_int_equal(opens_of(a, user, COMMIT_KNOWN), OPEN_DONE);
        assert_int_equal(opens_of(b, user, COMMIT_WRITTEN), OPEN_AWAY);
    }
    assert_int_equal(b->devices.unsure_count, DEVICE_UNSURE_MAX);
    assert_int_equal(opens_of(b, "u0", COMMIT_KNOWN), OPEN_DONE);
    assert_int_equal(cluster->asked_count, 0);
    assert_int_equal(opens_of(b, "u1", COMMIT_KNOWN), OPEN_DONE);
    assert_int_equal(cluster->asked_count, 1);
    assert_int_equal(b->devices.unsure_count, DEVICE_UNSURE_MAX - 1);
    for (unsigned i = 0; i < NODES; i++)
        cluster->nodes[i].writer.wall += 2 * 3600000;
    ticks(cluster, 1);
    assert_int_equal(b->devices.unsure_count, 0);
    cluster_end(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_before_a_raise_that_is_not_known_counts),
        cmocka_unit_test(what_was_acknowledged_while_the_database_is_away_counts),
        cmocka_unit_test(what_was_acknowledged_before_two_raises_that_are_not_known_counts),
        cmocka_unit_test(raises_that_are_not_known_and_replace_each_other_are_followed),
        cmocka_unit_test(what_was_acknowledged_before_an_own_raise_that_is_not_known_counts),
        cmocka_unit_test(a_node_alone_knows_its_own_raise),
        cmocka_unit_test(a_raise_that_is_not_written_takes_the_session_from_nobody),
        cmocka_unit_test(a_raise_that_is_not_written_is_forgotten),
        cmocka_unit_test(nobody_waits_for_a_dead_node_behind_a_raise_that_is_not_known),
        cmocka_unit_test(who_does_not_know_yet_is_asked_again_for_another_node),
        cmocka_unit_test(a_place_that_is_told_twice_is_told_on_once),
        cmocka_unit_test(what_a_replaced_link_acknowledged_is_told_to_no_later_one),
        cmocka_unit_test(raises_that_are_not_known_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
