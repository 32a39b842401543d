/* A session is opened on one node while its link is on another one (33). What the nodes say to each other may be lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/cluster_battery.h"

#include <cmocka.h>

/* The node that asks is stopping. What it is told can be stored by nobody else, so it waits for that. */
static void a_node_that_stops_stores_what_it_asked_for(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    says(a, older, "user:alice", 4, ACK_PLACE);
    asks(b, OPEN_NEWER, "phone", 20, NULL);
    cluster->is_slow = true;
    while (cluster->asked_count == 0)
        node_take(b);  /* the generation is raised: the older node can't store the place any more */
    settle(cluster);
    assert_non_null(cluster->late);
    assert_false(devices_is_idle(&b->devices));
    cluster->is_slow = false;
    on_called(cluster->late);
    settle(cluster);
    assert_true(devices_is_idle(&b->devices));
    node_restarts(a);
    node_restarts(b);
    assert_string_equal(places_of(opens(a, "phone", 11)), "device:alice/phone@0 user:alice@4");
    cluster_end(cluster);
}

/* Threat 33, on two nodes. */
static void a_link_elsewhere_is_fenced(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    acks(a, older, 4);
    struct session_open *newer = opens(b, "phone", 20);
    assert_int_equal(newer->generation, 2);
    assert_true(newer->is_resumed);
    assert_string_equal(places_of(newer), "device:alice/phone@0 user:alice@4");
    assert_fenced(a, 1, 10, FENCE_REPLACED);
    assert_int_equal(cluster->asked_count, 1);

    acks(a, older, 9);  /* the older link can't acknowledge … */
    assert_int_equal(counter_get(&a->devices.counters.linked), 0);
    acks(b, newer, 6);
    closes(a, older);   /* … and its end ends nothing */
    closes(b, newer);
    newer = opens(a, "phone", 11);
    assert_int_equal(newer->generation, 3);
    assert_string_equal(places_of(newer), "device:alice/phone@0 user:alice@6");
    assert_int_equal(cluster->asked_count, 1);  /* a session without a link asks nobody */
    assert_int_equal(b->fenced_count, 0);
    cluster_end(cluster);
}

/* The raise makes it too late to store them on the older node. */
static void what_was_acknowledged_there_a_moment_ago_counts(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    struct session_open *newer = asks(b, OPEN_NEWER, "phone", 20, NULL);
    node_take(b);  /* it has read the rows, and not raised the generation yet */
    says(a, older, "user:alice", 5, ACK_PLACE);
    settle(cluster);
    assert_string_equal(places_of(newer), "device:alice/phone@0 user:alice@5");
    closes(a, older);
    closes(b, newer);
    assert_string_equal(places_of(opens(a, "phone", 11)), "device:alice/phone@0 user:alice@5");
    cluster_end(cluster);
}

/* Three nodes: the second one has raised the generation, and waits for the first one's answer, when the third one asks it. What was
 * acknowledged at the first one can be stored there no more, and is told on. */
static void what_was_acknowledged_two_nodes_away_counts(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *c = &cluster->nodes[2];

    (void)state;
    struct session_open *first  = opens(a, "phone", 10);
    says(a, first, "user:alice", 5, ACK_PLACE);
    struct session_open *second = asks(b, OPEN_NEWER, "phone", 20, NULL);
    cluster->is_slow = true;
    turns_until_asked(b, 1);
    settle(cluster);
    assert_non_null(cluster->late);
    cluster->is_slow = false;
    struct session_open *third = asks(c, OPEN_NEWER, "phone", 30, NULL);
    settle(cluster);
    on_called(cluster->late);
    settle(cluster);
    assert_string_equal(places_of(second), "device:alice/phone@0 user:alice@5");
    assert_string_equal(places_of(third), "device:alice/phone@0 user:alice@5");
    assert_int_equal(second->generation, 2);
    assert_int_equal(third->generation, 3);
    assert_fenced(b, 1, 20, FENCE_REPLACED);  /* it was asked before it had its link */
    cluster_end(cluster);
}

/* … and when the second one has not heard yet that its raise is written. */
static void what_is_asked_before_a_raise_is_known_waits(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *c = &cluster->nodes[2];

    (void)state;
    struct session_open *first  = opens(a, "phone", 10);
    says(a, first, "user:alice", 5, ACK_PLACE);
    struct session_open *second = asks(b, OPEN_NEWER, "phone", 20, NULL);
    while (cluster->nodes[1].devices.batch == NULL)
        node_take(b);
    struct session_open *third = asks(c, OPEN_NEWER, "phone", 30, NULL);
    turns_until_asked(c, 1);
    settle(cluster);
    assert_string_equal(places_of(second), "device:alice/phone@0 user:alice@5");
    assert_string_equal(places_of(third), "device:alice/phone@0 user:alice@5");
    assert_fenced(b, 1, 20, FENCE_REPLACED);
    cluster_end(cluster);
}

/* Two newer links at once, on the node of the older link and on another one, which is first. Its question comes before the older link's
 * node reads the row, while it writes its own raise, and behind that: it is always told what was acknowledged on the older link. */
static void what_was_acknowledged_here_before_another_node_was_first_counts(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 24; way++) {
        const unsigned  turns   = way / 2;
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];
        struct session_open *first = opens(a, "phone", 10);
        if ((way & 1) == 0)
            says(a, first, "user:alice", 5, ACK_PLACE);
        else
            a->last_words = words(a, first, "user:alice", 5, ACK_PLACE);
        struct session_open *second = asks(b, OPEN_NEWER, "phone", 20, NULL);
        while (b->devices.batch == NULL)
            node_take(b);  /* it is written, and this node has not heard so */
        struct session_open *third = asks(a, OPEN_NEWER, "phone", 11, NULL);
        for (unsigned i = 0; i < turns; i++)
            node_take(a);
        settle(cluster);
        assert_string_equal(places_of(second), "device:alice/phone@0 user:alice@5");
        assert_string_equal(places_of(third), "device:alice/phone@0 user:alice@5");
        assert_int_equal(third->generation, 3);
        assert_fenced(b, 1, 20, FENCE_REPLACED);
        closes(a, third);
        node_restarts(b);
        assert_string_equal(places_of(opens(b, "phone", 21)), "device:alice/phone@0 user:alice@5");
        cluster_end(cluster);
    }
}

/* The write of what was acknowledged is refused, because another node has raised the generation; its question comes before the loop has
 * let the link go, and has said the rest. */
static void what_is_said_after_a_write_was_refused_counts(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *first  = opens(a, "phone", 10);
    struct session_open *second = asks(b, OPEN_NEWER, "phone", 20, NULL);
    while (b->devices.batch == NULL)
        node_take(b);
    says(a, first, "user:alice", 5, ACK_PLACE);
    a->last_words = words(a, first, "device:alice/phone", 3, ACK_PLACE);
    settle(cluster);
    assert_string_equal(places_of(second), "device:alice/phone@3 user:alice@5");
    cluster_end(cluster);
}

/* A first poll on another node lets the link go and raises nothing; then a newer link comes here, before the loop has said the rest. */
static void what_is_said_while_the_next_link_is_opened_counts(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *first = opens(a, "phone", 10);
    asks(b, OPEN_CURSOR, "phone", 20, first);
    struct session_open *second = asks(a, OPEN_NEWER, "phone", 11, NULL);
    node_take(a);
    a->last_words = words(a, first, "user:alice", 5, ACK_PLACE);
    turns_until_asked(b, 1);
    settle(cluster);
    assert_string_equal(places_of(second), "device:alice/phone@0 user:alice@5");
    cluster_end(cluster);
}

/* The node that is asked does not know in time, and is asked again; it is there, so that it is not taken for dead. If it never knows, the
 * opener goes on without it, and the link that was being opened there is let go. */
static void who_does_not_know_yet_is_asked_again(void **state)
{
    (void)state;
    for (unsigned is_known = 0; is_known < 2; is_known++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *c = &cluster->nodes[2];
        struct session_open *first  = opens(a, "phone", 10);
        if (is_known)
            says(a, first, "user:alice", 5, ACK_PLACE);
        struct session_open *second = asks(b, OPEN_NEWER, "phone", 20, NULL);
        cluster->is_slow = true;
        turns_until_asked(b, 1);
        settle(cluster);
        cluster->is_slow = false;
        struct session_open *third = asks(c, OPEN_NEWER, "phone", 30, NULL);
        settle(cluster);
        assert_int_equal(cluster->asked_count, 2);
        for (int i = 0; i < (is_known ? 2 : PEER_FENCE_TRIES_MAX); i++) {
            b->writer.wall = WALL + (i + 1) * PEER_FENCE_TELL_MS;
            devices_tick(&b->devices);
            settle(cluster);
        }
        assert_int_equal(cluster->asked_count, is_known ? 4 : 1 + PEER_FENCE_TRIES_MAX);
        assert_int_equal(counter_get(&c->devices.counters.untold), !is_known);
        assert_int_equal(third->generation, is_known ? 0 : 3);
        on_called(cluster->late);
        settle(cluster);
        assert_string_equal(places_of(third), is_known ? "device:alice/phone@0 user:alice@5" : "device:alice/phone@0 user:alice@0");
        assert_int_equal(second->outcome, OPEN_DONE);
        assert_fenced(b, 1, 20, FENCE_REPLACED);
        closes(b, second);
        opens(a, "phone", 11);
        assert_int_equal(cluster->asked_count, is_known ? 5 : 2 + PEER_FENCE_TRIES_MAX);
        opens(c, "phone", 31);  /* nobody takes the first node for dead */
        assert_fenced(a, 2, 11, FENCE_REPLACED);
        cluster_end(cluster);
    }
}

/* A client that is told to come again is on another node at once. That one has read that the link is here when its end is stored, and asks
 * about it a moment later: all is stored then, and it is told so. */
static void a_node_that_stops_tells_that_all_is_stored(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *first = opens(a, "phone", 10);
    says(a, first, "user:alice", 5, ACK_PLACE);
    struct session_open *second = asks(b, OPEN_NEWER, "phone", 20, NULL);
    while (b->devices.read_count == 0)
        node_take(b);  /* it reads the row */
    struct session_close *close = session_close_new(&a->devices, first->standing, first->key, first->generation);
    bundle_add(&a->posted, &close->command.mail);
    devices_loops_ended(&a->devices);
    while (!near_list_is_empty(&a->devices.lists->dirty) || a->posted.newest != NULL || a->devices.batch != NULL)
        node_take(a);
    assert_false(devices_is_idle(&a->devices));
    settle(cluster);
    assert_string_equal(places_of(second), "device:alice/phone@0 user:alice@5");
    assert_int_equal(cluster->asked_count, 1);
    assert_int_equal(counter_get(&b->devices.counters.untold), 0);
    a->writer.wall += PEER_FENCE_WAIT_MS;
    assert_true(devices_is_idle(&a->devices));
    cluster_end(cluster);
}

/* The loops have ended: nobody waits for them, and what they have said is told to the end. */
static void a_node_that_stops_tells_without_its_loops(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *first  = opens(a, "phone", 10);
    struct session_open *second = asks(b, OPEN_NEWER, "phone", 20, NULL);
    while (b->devices.batch == NULL)
        node_take(b);
    says(a, first, "user:alice", 5, ACK_PLACE);
    while (a->fenced_count == 0)
        node_take(a);  /* a write was refused: somebody will ask */
    devices_loops_ended(&a->devices);
    assert_false(devices_is_idle(&a->devices));
    settle(cluster);
    assert_string_equal(places_of(second), "device:alice/phone@0 user:alice@5");
    a->writer.wall += PEER_FENCE_WAIT_MS;
    assert_true(devices_is_idle(&a->devices));
    cluster_end(cluster);
}

/* Two devices at once, of which the newest alone has a session. The first one's opening still waits for another node when the second one's
 * row ends its session: the first one is let go as soon as it has its link. */
static void who_is_ended_while_it_is_opened_is_let_go(void **state)
{
    (void)state;
    for (unsigned where = 0; where < 2; where++) {
        struct cluster *cluster = cluster_with(DEVICES_NEWEST);
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1], *c = &cluster->nodes[where == 0 ? 1 : 2];
        opens(a, "phone", 10);
        struct session_open *phone = asks(b, OPEN_NEWER, "phone", 20, NULL);
        cluster->is_slow = true;
        turns_until_asked(b, 1);
        settle(cluster);
        assert_non_null(cluster->late);
        cluster->is_slow = false;
        struct session_open *pad = asks(c, OPEN_NEWER, "pad", 30, NULL);
        settle(cluster);
        on_called(cluster->late);
        settle(cluster);
        assert_int_equal(pad->outcome, OPEN_DONE);
        assert_int_equal(phone->outcome, OPEN_DONE);
        assert_fenced(b, 1, 20, FENCE_REPLACED);
        assert_int_equal(counter_get(&b->devices.counters.linked) + counter_get(&cluster->nodes[2].devices.counters.linked), 1);
        cluster_end(cluster);
    }
}

/* The loop of the older link had ended before it was told to let it go. An opening that comes to its decision behind that does not wait for
 * the loop. */
static void an_opening_does_not_wait_for_a_loop_that_has_ended(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *first = opens(a, "phone", 10);
    says(a, first, "user:alice", 5, ACK_PLACE);
    struct session_open *second = asks(b, OPEN_NEWER, "phone", 20, NULL);
    turns_until_asked(b, 1);
    command_free(command_of(bundle_take(&a->sent)));  /* nobody takes it any more */
    struct session_open *third = asks(a, OPEN_NEWER, "phone", 11, NULL);
    while (a->devices.open_count == 0)
        node_take(a);
    devices_loops_ended(&a->devices);
    settle(cluster);
    assert_int_equal(a->answer_count, 2);
    assert_string_equal(places_of(second), "device:alice/phone@0 user:alice@5");
    assert_string_equal(places_of(third), "device:alice/phone@0 user:alice@5");
    cluster_end(cluster);
}

/* … nor for those of links of sessions that it ends. */
static void a_session_that_ends_others_does_not_wait_for_loops_that_have_ended(void **state)
{
    struct cluster *cluster = cluster_with(DEVICES_NEWEST);
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    opens(a, "phone", 10);
    struct session_open *pad = asks(a, OPEN_NEWER, "pad", 11, NULL);
    while (a->sent.newest == NULL) {
        node_take_mail(a);
        devices_turn_end(&a->devices);
        writer_turn_end(&a->writer, a->writer.wall);
    }
    command_free(command_of(bundle_take(&a->sent)));  /* nobody takes it any more */
    struct session_open *again = asks(b, OPEN_NEWER, "pad", 20, NULL);
    turns_until_asked(b, 1);
    assert_int_equal(a->answer_count, 1);
    devices_loops_ended(&a->devices);
    settle(cluster);
    assert_int_equal(a->answer_count, 2);
    assert_int_equal(pad->generation, 1);
    assert_int_equal(again->generation, 2);
    assert_true(devices_is_idle(&a->devices));
    cluster_end(cluster);
}

/* Two nodes that have just started: the one does not know yet whom it could ask. */
static void openings_wait_until_the_nodes_are_known(void **state)
{
    (void)state;
    for (unsigned is_told = 0; is_told < 2; is_told++) {
        struct cluster *cluster = cluster_start();
        struct node    *a       = &cluster->nodes[0];

        devices_hold(&a->devices, 3);
        asks(a, OPEN_NEWER, "phone", 10, NULL);
        asks(a, OPEN_NEWER, "phone", 11, NULL);
        settle(cluster);
        ticks(cluster, 2);
        assert_int_equal(a->answer_count, 0);
        if (is_told)
            devices_go_on(&a->devices);
        else
            ticks(cluster, 1);
        settle(cluster);
        assert_int_equal(a->answer_count, 2);
        opens(a, "pad", 12);
        cluster_end(cluster);
    }
}

/* What another session acknowledges is refused: for a second nothing of that kind is tried. */
static void is_refused(struct node *node)
{
    struct session_open *other = opens(node, "tablet", 40);

    node->cluster->refuses_with = LEDGER_AWAY;
    acks(node, other, 1);
    node->cluster->refuses_with = LEDGER_WAITING;
    assert_int_not_equal(node->devices.pause_ticks, 0);
}

/* A link acknowledges, and the device goes on by polls, each at another node. A poll reads the rows and asks nobody. */
static void what_a_link_acknowledged_does_not_come_again_by_polls(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 32; way++) {
        const bool      is_raise = (way & 1) != 0, is_here = (way & 2) != 0, is_paused = (way & 4) != 0;
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[is_here ? 0 : 1], *c = &cluster->nodes[2];
        struct session_open *link = opens(a, "phone", 10);
        if (is_paused)
            is_refused(b);
        struct session_open *poll = asks(b, is_raise ? OPEN_NEWER : OPEN_CURSOR, "phone", 20, link);
        poll->is_poll = true;
        a->last_words = words(a, link, "user:alice", 5, ACK_PLACE);
        for (unsigned i = 0; i < way / 8; i++)
            node_take(b);
        for (const size_t before = b->answer_count;;) {
            node_take_mail(b);
            node_give_mail(b);
            if (b->answer_count > before)
                break;  /* what its turn leaves to be stored takes its time */
            devices_turn_end(&b->devices);
            writer_turn_end(&b->writer, b->writer.wall);
            node_take(a);
        }
        assert_int_equal(poll->outcome, OPEN_DONE);
        struct session_open *next = asks(c, OPEN_CURSOR, "phone", 30, poll);
        while (c->answer_count == 0)
            node_take(c);
        assert_int_equal(next->outcome, OPEN_DONE);
        assert_string_equal(places_of(next), "device:alice/phone@0 user:alice@5");
        cluster_end(cluster);
    }
}

/* The user joins a group while a newer link is being opened elsewhere, and the older link acknowledges messages of it. Whether
 * the older node has stored that or tells it, and whether the user's log was acknowledged with it: nothing comes again. */
static void a_group_that_was_joined_a_moment_ago_goes_on(void **state)
{
    (void)state;
    for (int way = 0; way < 8; way++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];
        bool            is_stored = (way & 1) != 0, is_log_seen = (way & 2) != 0, has_begun = (way & 4) != 0;
        struct session_open *older = opens(a, "phone", 10);
        struct session_open *newer = asks(b, OPEN_NEWER, "phone", 20, NULL);
        node_take(b);  /* it has read the rows, and not raised the generation yet */
        joins(cluster, "one", 2);
        if (has_begun)
            says(a, older, "group:one", 2, ACK_BEGIN);
        says(a, older, "group:one", 5, ACK_PLACE);
        if (is_log_seen)
            says(a, older, "user:alice", 1, ACK_PLACE);
        if (is_stored)
            node_take(a);
        while (cluster->asked_count == 0)
            node_take(b);
        settle(cluster);
        assert_int_equal(newer->outcome, OPEN_DONE);
        assert_string_equal(places_of(newer), is_log_seen ? "device:alice/phone@0 group:one@5 user:alice@1"
                                                          : "device:alice/phone@0 group:one@5 user:alice@0");
        says(b, newer, "group:one", 2, ACK_BEGIN);
        settle(cluster);
        closes(a, older);
        closes(b, newer);
        node_restarts(a);
        assert_non_null(strstr(places_of(opens(a, "phone", 11)), "group:one@5"));
        cluster_end(cluster);
    }
}

/* The head of the group would be asked for later, and the user may have joined again by then. */
static void a_new_session_remembers_where_its_user_left_a_group(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    writes_group(cluster, "one", &(struct group_spans){ 1, { { EPOCH, 2, 3, 1 } } }, 2);
    struct session_open *first = opens(a, "phone", 10);
    assert_string_equal(places_of(first), "device:alice/phone@0 user:alice@0");
    assert_int_equal(standing_place_find(first->standing, SPAN("group:one"))->seq, 3);
    writes_group(cluster, "one", &(struct group_spans){ 2, { { EPOCH, 2, 3, 1 }, { EPOCH, 7, GROUP_SPAN_OPEN, 0 } } }, 3);
    assert_string_equal(places_of(opens(b, "phone", 20)), "device:alice/phone@0 group:one@7 user:alice@0");
    cluster_end(cluster);
}

static void what_was_kept_a_moment_ago_is_followed(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    struct session_open *newer = asks(b, OPEN_NEWER, "phone", 20, NULL);
    node_take(b);  /* it has read the rows, and not raised the generation yet */
    says(a, older, "topic:two", 8, ACK_KEEP);
    settle(cluster);
    assert_string_equal(places_of(newer), "device:alice/phone@0 topic:two@8* user:alice@0");
    cluster_end(cluster);
}

/* The older link's node has not stored it yet, and can't any more. What is told of a session that is polled, by any node that had a link of
 * it once, may be old: there the rows alone count. */
static void what_was_kept_and_not_stored_is_followed(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    a->last_words              = words(a, older, "topic:two", 8, ACK_KEEP);
    struct session_open *newer = opens(b, "phone", 20);
    assert_string_equal(places_of(newer), "device:alice/phone@0 topic:two@8* user:alice@0");
    settle(cluster);
    closes(b, newer);
    node_restarts(b);
    struct session_open *next = opens(b, "phone", 21);
    assert_string_equal(places_of(next), "device:alice/phone@0 topic:two@8* user:alice@0");
    cluster_end(cluster);
}

static void what_was_dropped_a_moment_ago_is_not_followed(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    says(a, older, "topic:one", 3, ACK_KEEP);
    says(a, older, "topic:two", 8, ACK_KEEP);
    settle(cluster);
    struct session_open *newer = asks(b, OPEN_NEWER, "phone", 20, NULL);
    node_take(b);  /* it has read the rows, and not raised the generation yet */
    says(a, older, "topic:two", 0, ACK_DROP);
    settle(cluster);
    assert_string_equal(places_of(newer), "device:alice/phone@0 topic:one@3* user:alice@0");
    node_restarts(b);
    assert_string_equal(places_of(opens(a, "phone", 11)), "device:alice/phone@0 topic:one@3* user:alice@0");
    cluster_end(cluster);
}

/* A call on another node has stored a place of the session, in its generation. What the link says of the channel for the first time
 * does not set it back. */
static void a_place_that_a_call_stored_elsewhere_does_not_go_back(void **state)
{
    static const struct { const char *channel; uint64_t stored, said; enum session_ack_kind kind; const char *want; } rows[] = {
        { "group:one", 6, 1, ACK_BEGIN, "group:one@6" },
        { "group:one", 6, 3, ACK_PLACE, "group:one@6" },
        { "group:one", 6, 8, ACK_PLACE, "group:one@8" },
        { "topic:two", 6, 2, ACK_KEEP, "topic:two@6*" },
        { "topic:two", 6, 9, ACK_KEEP, "topic:two@9*" },
        { "group:one", 0, 3, ACK_PLACE, "group:one@3" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cluster      *cluster = cluster_start();
        struct node         *a = &cluster->nodes[0], *b = &cluster->nodes[1];
        struct session_open *open = opens(a, "phone", 10);
        joins(cluster, "one", 1);
        if (rows[i].stored > 0)
            writes_place(cluster, rows[i].channel, EPOCH, rows[i].stored);
        says(a, open, "user:alice", 4, ACK_PLACE);
        says(a, open, rows[i].channel, rows[i].said, rows[i].kind);
        settle(cluster);
        assert_true(devices_is_idle(&a->devices));
        node_restarts(a);
        const char *places = places_of(opens(b, "phone", 20));
        if (strstr(places, rows[i].want) == NULL || strstr(places, "user:alice@4") == NULL)
            fail_msg("%zu: %s", i, places);
        cluster_end(cluster);
    }
}

/* The row is of another life of the log. */
static void a_place_in_another_life_of_the_log_is_set(void **state)
{
    struct cluster      *cluster = cluster_start();
    struct node         *a = &cluster->nodes[0], *b = &cluster->nodes[1];
    struct session_open *open = opens(a, "phone", 10);

    (void)state;
    joins(cluster, "one", 1);
    writes_place(cluster, "group:one", EPOCH - 1, 60);
    says(a, open, "group:one", 3, ACK_PLACE);
    settle(cluster);
    node_restarts(a);
    assert_non_null(strstr(places_of(opens(b, "phone", 20)), "group:one@3"));
    cluster_end(cluster);
}

/* One question for rows and heads, one write, one answer. */
static void a_new_session_takes_two_trips_to_the_ledger(void **state)
{
    struct cluster      *cluster = cluster_start();
    struct node         *a       = &cluster->nodes[0];
    struct session_open *first   = asks(a, OPEN_NEWER, "phone", 10, NULL);

    (void)state;
    for (int turn = 0; turn < 3; turn++) {
        assert_int_equal(a->answer_count, 0);
        node_take(a);
    }
    assert_int_equal(a->answer_count, 1);
    assert_string_equal(places_of(first), "device:alice/phone@0 user:alice@0");
    cluster_end(cluster);
}

static void a_lost_question_is_found_by_comparing(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    cluster->loses_questions   = true;
    struct session_open *newer = opens(b, "phone", 20);
    acks(b, newer, 6);
    assert_int_equal(a->fenced_count, 0);
    ticks(cluster, 30);
    assert_fenced(a, 1, 10, FENCE_REPLACED);
    assert_int_equal(counter_get(&a->devices.counters.overtaken), 1);
    assert_int_equal(b->fenced_count, 0);
    closes(a, older);
    closes(b, newer);
    assert_string_equal(places_of(opens(a, "phone", 11)), "device:alice/phone@0 user:alice@6");
    cluster_end(cluster);
}

static void after_a_hole_all_are_compared_at_once(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    a->devices.limits.compare_ms = b->devices.limits.compare_ms = 3600000;
    for (unsigned i = 0; i < 5; i++) {
        char device[8];
        snprintf(device, sizeof device, "d%u", i);
        opens(a, device, 10 + i);
    }
    ticks(cluster, 20);
    cluster->loses_questions = true;
    opens(b, "d1", 20);
    opens(b, "d4", 21);
    ticks(cluster, 20);
    assert_int_equal(a->fenced_count, 0);
    devices_compare_now(&a->devices);
    ticks(cluster, 1);
    assert_int_equal(a->fenced_count, 2);
    assert_int_equal(counter_get(&a->devices.counters.linked), 3);
    cluster_end(cluster);
}

/* Many nodes have the same reason at the same time. */
static void a_paced_comparison_takes_its_share_a_tick(void **state)
{
    enum { SESSIONS = 6, PACE = 2, TICK_MS = 100 };
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    a->devices.limits.compare_ms = b->devices.limits.compare_ms = 3600000;
    for (unsigned i = 0; i < SESSIONS; i++) {
        char device[8];
        snprintf(device, sizeof device, "d%u", i);
        opens(a, device, 10 + i);
    }
    ticks(cluster, 20);
    cluster->loses_questions = true;
    opens(b, "d1", 20);
    uint64_t before = counter_get(&a->devices.counters.compared);
    devices_compare_pace(&a->devices, PACE);
    devices_compare_now(&a->devices);
    ticks(cluster, 1);
    assert_int_equal(counter_get(&a->devices.counters.compared), before + PACE);
    ticks(cluster, SESSIONS);
    assert_int_equal(a->fenced_count, 1);
    a->devices.limits.compare_ms = TICK_MS;  /* as fast in peace: half of the five that are left in each tick */
    before = counter_get(&a->devices.counters.compared);
    devices_compare_pace(&a->devices, 1);
    devices_compare_now(&a->devices);
    ticks(cluster, 1);
    assert_in_range(counter_get(&a->devices.counters.compared), before + 2, before + 3);
    cluster_end(cluster);
}

/* Also if nobody was told, and nothing was compared yet. */
static void a_stale_link_stores_nothing(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    cluster->loses_questions   = true;
    struct session_open *newer = opens(b, "phone", 20);
    acks(a, older, 9);
    assert_fenced(a, 1, 10, FENCE_REPLACED);  /* the refusal tells it */
    says(a, older, "topic:kept", 3, ACK_KEEP);
    closes(a, older);
    closes(b, newer);
    assert_string_equal(places_of(opens(a, "phone", 11)), "device:alice/phone@0 user:alice@0");
    cluster_end(cluster);
}

/* Threat 33: two that open at the same moment. */
static void of_two_that_race_the_later_one_has_the_session(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    opens(a, "phone", 10);
    for (unsigned i = 0; i < 5; i++) {
        struct session_open *one = asks(a, OPEN_NEWER, "phone", 30 + i, NULL);
        struct session_open *two = asks(b, OPEN_NEWER, "phone", 40 + i, NULL);
        settle(cluster);
        assert_int_equal(one->outcome, OPEN_DONE);
        assert_int_equal(two->outcome, OPEN_DONE);
        assert_true(one->generation != two->generation);
        ticks(cluster, 30);
        assert_int_equal(counter_get(&a->devices.counters.linked) + counter_get(&b->devices.counters.linked), 1);
        const struct node *winner = one->generation > two->generation ? a : b;
        assert_int_equal(counter_get(&winner->devices.counters.linked), 1);
    }
    cluster_end(cluster);
}

static void abandons(struct node *node, const struct session_open *open)
{
    bundle_add(&node->posted, &session_abandon_new(open)->command.mail);
}

/* The client has given a link up, and has come by a newer one on another node: it is told `replaced` for no link that is there. */
static void who_has_gone_takes_the_session_from_nobody(void **state)
{
    (void)state;
    for (unsigned before = 0; before < 2; before++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

        closes(a, opens(a, "phone", 10));
        struct session_open *gone = asks(a, OPEN_NEWER, "phone", 20, NULL), *newer = asks(b, OPEN_NEWER, "phone", 30, NULL);
        for (unsigned i = 0; i < before; i++)
            node_take(a);  /* it is about to raise the generation that it has read */
        for (unsigned i = 0; i < 20; i++)
            node_take(b);
        assert_int_equal(b->answer_count, 1);
        assert_int_equal(newer->outcome, OPEN_DONE);
        abandons(a, gone);
        settle(cluster);
        assert_int_equal(gone->outcome, OPEN_STALE);
        assert_int_equal(b->fenced_count, 0);
        assert_int_equal(counter_get(&b->devices.counters.linked), 1);
        assert_int_equal(opens(a, "phone", 40)->generation, newer->generation + 1);
        cluster_end(cluster);
    }
}

/* One that waits in a line behind another opening of its session, too. */
static void who_has_gone_while_in_line_opens_nothing(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0];

    (void)state;
    struct session_open *first = asks(a, OPEN_NEWER, "phone", 10, NULL), *gone = asks(a, OPEN_NEWER, "phone", 11, NULL);
    node_take(a);
    abandons(a, gone);
    settle(cluster);
    assert_int_equal(first->outcome, OPEN_DONE);
    assert_int_equal(gone->outcome, OPEN_STALE);
    assert_int_equal(a->fenced_count, 0);
    cluster_end(cluster);
}

/* What another node stored meanwhile counts, and what it took back stays away. */
static void memory_is_not_believed(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *open = opens(a, "phone", 10);
    says(a, open, "topic:one", 3, ACK_KEEP);
    settle(cluster);
    struct session_open *there = opens(b, "phone", 20);
    assert_string_equal(places_of(there), "device:alice/phone@0 topic:one@3* user:alice@0");
    says(b, there, "topic:one", 0, ACK_DROP);
    says(b, there, "topic:two", 8, ACK_KEEP);
    acks(b, there, 6);
    closes(b, there);
    closes(a, open);
    assert_string_equal(places_of(opens(a, "phone", 11)), "device:alice/phone@0 topic:two@8* user:alice@6");
    cluster_end(cluster);
}

/* Nobody waits for a node that did not answer a moment ago. */
/* One question may be lost: a node is dead once another one, asked since then, was not answered either. */
static void a_dead_node_is_not_waited_for_again(void **state)
{
    static const char *const devices[] = { "phone", "pad", "watch" };
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        opens(a, devices[i], 10 + i);
    cluster->loses_answers = true;
    for (unsigned i = 0; i < 3; i++) {
        opens(b, devices[i], 20 + i);
        assert_int_equal(b->devices.deaf[0].incarnation, a->devices.incarnation);
        assert_int_equal(b->devices.deaf[0].is_deaf, i >= 1);
        ticks(cluster, 1);
    }
    assert_int_equal(a->fenced_count, 3);  /* it is told all the same */
    assert_int_equal(counter_get(&b->devices.counters.untold), 3);  /* what was acknowledged there nobody told */
    cluster_end(cluster);
}

/* Two questions at once are lost together, which says no more than one; and an answer says that all is well. */
static void a_node_that_was_late_once_is_waited_for(void **state)
{
    static const char *const devices[] = { "phone", "pad", "watch", "tv" };
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        opens(a, devices[i], 10 + i);
    cluster->is_slow = true;
    asks(b, OPEN_NEWER, "phone", 20, NULL);
    turns_until_asked(b, 1);
    settle(cluster);
    struct peer_fence_call *late = cluster->late;
    assert_non_null(late);
    cluster->is_slow       = false;
    cluster->loses_answers = true;
    ticks(cluster, 1);
    opens(b, "pad", 21);
    on_called(late);  /* it was asked before the other one was missed */
    settle(cluster);
    assert_false(b->devices.deaf[0].is_deaf);
    cluster->loses_answers = false;
    opens(b, "watch", 22);
    cluster->loses_answers = true;
    ticks(cluster, 1);
    opens(b, "tv", 23);
    assert_false(b->devices.deaf[0].is_deaf);
    cluster_end(cluster);
}

/* Nobody is dead because nobody can be asked: once the engine is back, who lives is asked. */
static void who_could_not_be_asked_is_not_taken_for_dead(void **state)
{
    static const char *const devices[] = { "pad", "watch", "tv" };
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        opens(a, devices[i], 10 + i);
    struct session_open *older = opens(a, "phone", 14);
    cluster->sends_nothing     = true;
    for (unsigned i = 0; i < 3; i++) {
        opens(b, devices[i], 20 + i);
        ticks(cluster, 1);
    }
    assert_int_equal(counter_get(&b->devices.counters.untold), 3);
    cluster->sends_nothing = false;
    says(a, older, "user:alice", 5, ACK_PLACE);
    node_take_mail(a);
    assert_string_equal(places_of(opens(b, "phone", 24)), "device:alice/phone@0 user:alice@5");
    assert_int_equal(counter_get(&b->devices.counters.untold), 3);
    cluster_end(cluster);
}

/* … and who comes first behind an outage of the engine may come before the other nodes are back. Where the engine is the ledger's database,
 * also before this one is. */
static void who_can_be_asked_in_a_moment_is_waited_for(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        const bool      is_in_ledger = (way & 1) != 0, comes_back = (way & 2) != 0;
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];
        struct session_open *older = opens(a, "phone", 10);
        devices_cut_off(&b->devices, is_in_ledger);
        cluster->sends_nothing = is_in_ledger;
        if (!is_in_ledger)
            devices_reach(&b->devices);
        cluster->loses_questions = !is_in_ledger;
        struct session_open *newer = asks(b, OPEN_NEWER, "phone", 20, NULL);
        turns_until_asked(b, 1);
        node_take(b);
        ticks_of(b, 3);
        assert_int_equal(b->answer_count, 0);
        cluster->sends_nothing = cluster->loses_questions = !comes_back;
        a->last_words          = words(a, older, "user:alice", 5, ACK_PLACE);
        passes(cluster, PEER_FENCE_GATHER_MS);
        ticks(cluster, 2);
        assert_int_equal(newer->outcome, OPEN_DONE);
        assert_int_equal(counter_get(&b->devices.counters.untold), !comes_back);
        if (comes_back)
            assert_string_equal(places_of(newer), "device:alice/phone@0 user:alice@5");
        if (a->last_words != NULL)
            command_free(&a->last_words->command);
        cluster_end(cluster);
    }
}

static void a_node_that_starts_anew_is_not_asked(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *open = opens(a, "phone", 10);
    acks(a, open, 4);
    node_restarts(a);
    open = opens(a, "phone", 11);
    assert_int_equal(cluster->asked_count, 0);  /* its own earlier link is gone with it */
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@4");
    node_restarts(a);
    open = opens(b, "phone", 20);
    assert_int_equal(open->generation, 3);
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@4");
    cluster_end(cluster);
}

static void the_policy_ends_sessions_on_other_nodes(void **state)
{
    struct cluster *cluster = cluster_with(DEVICES_NEWEST);
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    opens(b, "pad", 20);
    assert_fenced(a, 1, 10, FENCE_REPLACED);
    acks(a, older, 9);
    assert_int_equal(asks(b, OPEN_TICKET, "phone", 21, older)->outcome, OPEN_DONE);  /* not answered yet */
    settle(cluster);
    assert_int_equal(b->answers[b->answer_count - 1]->outcome, OPEN_STALE);
    cluster_end(cluster);
}

static void a_ticket_counts_on_any_node(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *first = opens(a, "phone", 10);
    struct session_open *open  = asks(b, OPEN_TICKET, "phone", 20, first);
    settle(cluster);
    assert_int_equal(open->outcome, OPEN_DONE);
    assert_int_equal(open->generation, 2);
    open = asks(b, OPEN_TICKET, "phone", 21, first);  /* older than the session by now */
    settle(cluster);
    assert_int_equal(open->outcome, OPEN_STALE);
    open = asks(a, OPEN_TICKET, "phone", 22, first);
    settle(cluster);
    assert_int_equal(open->outcome, OPEN_STALE);
    cluster_end(cluster);
}

/* A balancer sends each poll to another node. */
static void polls_go_on_elsewhere_in_their_generation(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *first = asks(a, OPEN_NEWER, "phone", 10, NULL);
    first->is_poll             = true;
    settle(cluster);
    acks(a, first, 2);
    closes(a, first);
    struct session_open *poll = polls(b, 20, first);
    assert_int_equal(poll->outcome, OPEN_DONE);
    assert_int_equal(poll->generation, 1);
    assert_string_equal(places_of(poll), "device:alice/phone@0 user:alice@2");
    acks(b, poll, 4);
    closes(b, poll);
    poll = polls(a, 11, poll);
    assert_string_equal(places_of(poll), "device:alice/phone@0 user:alice@4");
    assert_int_equal(a->fenced_count + b->fenced_count, 0);
    assert_int_equal(cluster->asked_count, 0);

    struct session_open *newer = opens(b, "phone", 21);  /* wherever the poll is, it is found */
    assert_int_equal(newer->generation, 2);
    assert_fenced(a, 1, 11, FENCE_REPLACED);
    closes(a, poll);
    assert_int_equal(polls(a, 12, poll)->outcome, OPEN_STALE);
    cluster_end(cluster);
}

/* A poll goes on where a stream was: the stream's link is let go, on whatever node. */
static void a_poll_takes_over_from_a_link(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *stream = opens(a, "phone", 10);
    struct session_open *poll   = polls(b, 20, stream);
    assert_int_equal(poll->outcome, OPEN_DONE);
    assert_int_equal(poll->generation, 1);
    assert_fenced(a, 1, 10, FENCE_REPLACED);
    ticks(cluster, 30);
    assert_int_equal(b->fenced_count, 0);
    closes(a, stream);
    closes(b, poll);
    assert_int_equal(polls(a, 11, poll)->outcome, OPEN_DONE);
    assert_int_equal(polls(b, 22, poll)->outcome, OPEN_DONE);
    cluster_end(cluster);
}

/* A database that lost its last commits: the link is not replaced, its client comes again. */
static void a_row_that_was_lost_sends_the_client_back(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0];

    (void)state;
    struct session_open *open = opens(a, "phone", 10);
    writes_row(cluster, &(struct session_row){ .since = WALL }, 0);
    ticks(cluster, 30);
    assert_fenced(a, 1, 10, FENCE_ASTRAY);
    closes(a, open);
    open = opens(a, "phone", 11);
    assert_int_equal(open->generation, 1);
    writes_row(cluster, &(struct session_row){ .since = WALL }, 0);
    acks(a, open, 5);
    assert_fenced(a, 2, 11, FENCE_ASTRAY);
    cluster_end(cluster);
}

/* Memory is for links and awaited polls. */
/* The node that opens has read the places before they were stored here, and asks a moment later. */
static void what_a_link_acknowledged_before_it_ended_is_told(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    struct session_open *newer = asks(b, OPEN_NEWER, "phone", 20, NULL);
    node_take(b);  /* reads */
    acks(a, older, 5);
    closes(a, older);
    settle(cluster);
    assert_string_equal(places_of(newer), "device:alice/phone@0 user:alice@5");
    closes(b, newer);
    cluster_end(cluster);
}

/* The node that opens has read the places before they were stored here, and this node can't be asked: what is in the ledger
 * counts, also of a channel that was kept meanwhile. */
static void what_was_stored_meanwhile_counts_though_nobody_tells(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

        cluster->loses_questions   = lost == 0;
        cluster->loses_answers     = lost == 1;
        struct session_open *older = opens(a, "phone", 10);
        struct session_open *newer = asks(b, OPEN_NEWER, "phone", 20, NULL);
        node_take(b);  /* reads */
        says(a, older, "topic:one", 3, ACK_KEEP);
        acks(a, older, 5);
        assert_string_equal(places_of(newer), "device:alice/phone@0 topic:one@3* user:alice@5");
        assert_int_equal(newer->generation, 2);
        closes(a, older);
        closes(b, newer);
        cluster_end(cluster);
    }
}

/* Nobody waits for a node that was deaf a moment ago. */
static void what_a_deaf_node_stored_meanwhile_counts(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    opens(a, "pad", 8);
    opens(a, "watch", 9);
    struct session_open *older = opens(a, "phone", 10);
    cluster->loses_questions   = true;
    opens(b, "pad", 18);
    opens(b, "watch", 19);
    assert_true(b->devices.deaf[0].is_deaf && b->devices.deaf[0].incarnation == a->devices.incarnation);
    struct session_open *newer = asks(b, OPEN_NEWER, "phone", 20, NULL);
    node_take(b);  /* reads */
    acks(a, older, 5);
    assert_string_equal(places_of(newer), "device:alice/phone@0 user:alice@5");
    cluster_end(cluster);
}

/* The node can be asked, and remembers nothing any more. */
static void what_a_node_stored_and_has_forgotten_counts(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    struct session_open *older = opens(a, "phone", 10);
    struct session_open *newer = asks(b, OPEN_NEWER, "phone", 20, NULL);
    node_take(b);  /* reads, and takes its time */
    says(a, older, "user:alice", 5, ACK_PLACE);
    ticks_of(a, 2);
    bundle_add(&a->posted, &session_close_new(&a->devices, older->standing, older->key, older->generation)->command.mail);
    ticks_of(a, 60);
    assert_int_equal(counter_get(&a->devices.counters.standing), 0);
    settle(cluster);
    assert_int_equal(cluster->asked_count, 1);
    assert_string_equal(places_of(newer), "device:alice/phone@0 user:alice@5");
    cluster_end(cluster);
}

/* A node that has read no place in a group makes one where the user has joined. The older link's node may have stored one
 * meanwhile. */
static void a_place_in_a_group_does_not_go_back(void **state)
{
    static const enum open_way ways[] = { OPEN_NEWER, OPEN_ACK };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct cluster *cluster = cluster_start();
        struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

        struct session_open *older = opens(a, "phone", 10);
        joins(cluster, "friends", 3);
        cluster->loses_questions  = true;
        struct session_open *open = asks(b, ways[i], "phone", 20, NULL);
        node_take(b);  /* reads */
        says(a, older, "group:friends", 5, ACK_PLACE);
        settle(cluster);
        assert_int_equal(open->outcome, OPEN_DONE);
        node_restarts(a);  /* what counts is in the ledger */
        assert_string_equal(places_of(opens(a, "phone", 11)), "device:alice/phone@0 group:friends@5 user:alice@0");
        cluster_end(cluster);
    }
}

static void no_session_lingers(void **state)
{
    struct cluster *cluster = cluster_start();
    struct node    *a = &cluster->nodes[0];

    (void)state;
    struct session_open *open = opens(a, "phone", 10);
    closes(a, open);
    assert_int_equal(counter_get(&a->devices.counters.standing), 1);  /* another node may ask for what it acknowledged last */
    ticks(cluster, 51);
    assert_int_equal(counter_get(&a->devices.counters.standing), 0);
    cluster_end(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_elsewhere_is_fenced),
        cmocka_unit_test(a_node_that_stops_stores_what_it_asked_for),
        cmocka_unit_test(what_was_acknowledged_there_a_moment_ago_counts),
        cmocka_unit_test(what_was_acknowledged_two_nodes_away_counts),
        cmocka_unit_test(what_is_asked_before_a_raise_is_known_waits),
        cmocka_unit_test(what_was_acknowledged_here_before_another_node_was_first_counts),
        cmocka_unit_test(what_is_said_after_a_write_was_refused_counts),
        cmocka_unit_test(what_is_said_while_the_next_link_is_opened_counts),
        cmocka_unit_test(who_does_not_know_yet_is_asked_again),
        cmocka_unit_test(a_node_that_stops_tells_that_all_is_stored),
        cmocka_unit_test(a_node_that_stops_tells_without_its_loops),
        cmocka_unit_test(who_is_ended_while_it_is_opened_is_let_go),
        cmocka_unit_test(an_opening_does_not_wait_for_a_loop_that_has_ended),
        cmocka_unit_test(a_session_that_ends_others_does_not_wait_for_loops_that_have_ended),
        cmocka_unit_test(openings_wait_until_the_nodes_are_known),
        cmocka_unit_test(what_a_link_acknowledged_does_not_come_again_by_polls),
        cmocka_unit_test(a_group_that_was_joined_a_moment_ago_goes_on),
        cmocka_unit_test(a_new_session_remembers_where_its_user_left_a_group),
        cmocka_unit_test(what_was_kept_a_moment_ago_is_followed),
        cmocka_unit_test(what_was_kept_and_not_stored_is_followed),
        cmocka_unit_test(what_was_dropped_a_moment_ago_is_not_followed),
        cmocka_unit_test(a_place_that_a_call_stored_elsewhere_does_not_go_back),
        cmocka_unit_test(a_place_in_another_life_of_the_log_is_set),
        cmocka_unit_test(a_new_session_takes_two_trips_to_the_ledger),
        cmocka_unit_test(a_lost_question_is_found_by_comparing),
        cmocka_unit_test(after_a_hole_all_are_compared_at_once),
        cmocka_unit_test(a_paced_comparison_takes_its_share_a_tick),
        cmocka_unit_test(a_stale_link_stores_nothing),
        cmocka_unit_test(of_two_that_race_the_later_one_has_the_session),
        cmocka_unit_test(who_has_gone_takes_the_session_from_nobody),
        cmocka_unit_test(who_has_gone_while_in_line_opens_nothing),
        cmocka_unit_test(memory_is_not_believed),
        cmocka_unit_test(a_dead_node_is_not_waited_for_again),
        cmocka_unit_test(a_node_that_was_late_once_is_waited_for),
        cmocka_unit_test(who_could_not_be_asked_is_not_taken_for_dead),
        cmocka_unit_test(who_can_be_asked_in_a_moment_is_waited_for),
        cmocka_unit_test(a_node_that_starts_anew_is_not_asked),
        cmocka_unit_test(the_policy_ends_sessions_on_other_nodes),
        cmocka_unit_test(a_ticket_counts_on_any_node),
        cmocka_unit_test(polls_go_on_elsewhere_in_their_generation),
        cmocka_unit_test(a_poll_takes_over_from_a_link),
        cmocka_unit_test(a_row_that_was_lost_sends_the_client_back),
        cmocka_unit_test(no_session_lingers),
        cmocka_unit_test(what_a_link_acknowledged_before_it_ended_is_told),
        cmocka_unit_test(what_was_stored_meanwhile_counts_though_nobody_tells),
        cmocka_unit_test(what_a_deaf_node_stored_meanwhile_counts),
        cmocka_unit_test(what_a_node_stored_and_has_forgotten_counts),
        cmocka_unit_test(a_place_in_a_group_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
