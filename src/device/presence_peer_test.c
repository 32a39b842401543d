/* The set of a channel on two nodes: clients of one are told of devices of the other, whatever is lost between them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/rng.h"
#include "device/presence_command.h"
#include "node/peer_question.h"
#include "node/shard.h"
#include "store/mem.h"

#include <cmocka.h>

enum { NODES = 2, TICK_MS = 100, RETURN_MS = 3000 };

static const struct hash_key hash_key = { 1, 2 };

struct node {
    struct cluster      *cluster;
    struct store        *durable, *memory;
    struct writer        writer;
    struct presence      presence;
    struct presence_home home;
    struct shard         shard;
    struct command      *to_writer;
    uint64_t             incarnation;
    bool                 is_watching, is_told;
    uint64_t             count;      /* as clients were told last */
    char                 told[512];  /* "+ann/phone" "-ann/phone" "=2" … */
};

struct cluster {
    struct namespaces    spaces;
    struct channel_name *name;
    struct node          nodes[NODES];
    struct peer_question *asking;
    bool                 loses_news, loses_questions, is_split;
    msec                 now;
};

static void on_told(struct presence_home *home, const struct presence_news *news)
{
    struct node *node = container_of(home, struct node, home);

    for (uint32_t i = 0; i < news->note_count; i++) {
        const struct presence_note *note = &news->notes[i];
        size_t                      at   = strlen(node->told);
        node->is_told = true;
        node->count   = note->count;
        if (at > sizeof node->told - 64)
            node->told[at = 0] = '\0';
        if (note->user.len == 0)
            snprintf(node->told + at, sizeof node->told - at, "=%u ", (unsigned)note->count);
        else
            snprintf(node->told + at, sizeof node->told - at, "%c%.*s/%.*s ", note->is_join ? '+' : '-', SPAN_ARG(note->user),
                     SPAN_ARG(note->device));
    }
}

/* --- one node ---------------------------------------------------------------------------------------------------- */

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    (void)loop;
    command->kind->at_loop(command, &((struct node *)ctx)->shard);
}

static void on_post(void *ctx, struct command *command)
{
    (void)ctx;
    (void)command;
    fail();
}

static const struct writer_port port = { on_send, on_post };

static void to_writer(void *ctx, struct command *command)
{
    struct node *node = ctx;

    command->kind->at_writer(command, &node->writer);
}

static const struct shard_port shard_port_here = { .send = to_writer };

static struct node *other_of(struct node *node)
{
    return &node->cluster->nodes[node == &node->cluster->nodes[0]];
}

static void on_ask(void *ctx, struct peer_question *question)
{
    struct node    *node    = ctx;
    struct cluster *cluster = node->cluster;
    struct node    *to      = other_of(node);

    assert_int_equal(question->topic, PEER_PRESENCE);
    bool is_lost = question->is_notice ? cluster->loses_news : cluster->loses_questions;
    if (!is_lost && !cluster->is_split) {
        struct peer_call *call = peer_call_new(PEER_PRESENCE, question->channel, buf_span(&question->body));
        call->from_incarnation = node->incarnation;
        call->is_notice        = question->is_notice;
        cluster->asking        = question;
        question->asked        = 1;
        shard_serve_presence(&to->shard, &to->presence, call);
    } else {
        question->asked = question->missing = !cluster->is_split;  /* a node that is lost is not asked */
    }
    question->settled(question, &node->writer);
}

static void on_answer(void *ctx, struct peer_call *call)
{
    struct node *node = ctx;

    if (!call->is_notice)
        peer_question_add(node->cluster->asking, "other", buf_span(&call->answer));
    assert_false(call->is_unknown);
    command_free(&call->command);
}

static void on_turn(void *ctx)
{
    (void)ctx;
}

static const struct cluster_port cluster_port_here = { .ask = on_ask, .answer = on_answer, .turn_end = on_turn, .tick = on_turn };

static void node_start(struct node *node, uint64_t incarnation)
{
    static const struct presence_limits limits = { .members_max = 1000, .frames_per_s = 10000, .return_ms = RETURN_MS,
                                                   .poll_lease_ms = 60000 };

    node->incarnation = incarnation;
    presence_init(&node->presence, &port, node, 1, &hash_key, &limits);
    presence_join(&node->presence, &node->writer, incarnation);
    presence_tick(&node->presence, node->cluster->now, 1000 + node->cluster->now);
}

static struct cluster *cluster_new(void)
{
    static const struct mem_store_options options = { .epoch_first = 5, .id_first = 1, .hash_key = { 1, 2 } };
    static const struct writer_limits     limits  = { .waiting_count_max = 1, .batch_count_max = 1, .tail_messages_max = 1,
                                                      .deadline_ticks = 1, .delivery_count_max = 2, .delivery_bytes_max = 2 };
    static const struct shard_limits      none    = { .page_count_max = 1 };
    struct cluster                       *cluster = calloc(1, sizeof *cluster);

    must(cluster != NULL);
    namespaces_init(&cluster->spaces);
    assert_int_equal(channel_name_new(&cluster->spaces, &hash_key, SPAN("topic:room"), &cluster->name), CHANNEL_NAME_OK);
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &cluster->nodes[i];
        node->cluster     = cluster;
        node->durable     = mem_store_new(&options);
        node->memory      = mem_store_new(&options);
        node->home        = (struct presence_home){ on_told, 0 };
        writer_init(&node->writer, &port, node, node->durable, node->memory, &limits, 1);
        node->writer.cluster     = &cluster_port_here;
        node->writer.cluster_ctx = node;
        shard_init(&node->shard, 0, &shard_port_here, node, &none);
        node_start(node, 100 + i);
    }
    return cluster;
}

static void cluster_free_all(struct cluster *cluster)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &cluster->nodes[i];
        presence_fini(&node->presence);
        writer_fini(&node->writer);
        shard_fini(&node->shard);
        node->durable->ops->close(node->durable);
        node->memory->ops->close(node->memory);
    }
    channel_name_unref(cluster->name);
    free(cluster);
}

static void passes(struct cluster *cluster, msec ms)
{
    for (msec until = cluster->now + ms; cluster->now < until;) {
        cluster->now += TICK_MS;
        for (unsigned i = 0; i < NODES; i++) {
            presence_tick(&cluster->nodes[i].presence, cluster->now, 1000 + cluster->now);
            presence_turn_end(&cluster->nodes[i].presence);
        }
    }
}

/* --- what clients do --------------------------------------------------------------------------------------------- */

static struct presence_who who_of(const char *user, uint64_t key)
{
    return (struct presence_who){ span_str(user), SPAN("phone"), key, "websocket" };
}

static void comes(struct node *node, const char *user, uint64_t key)
{
    const struct presence_who who = who_of(user, key);
    presence_come(&node->presence, node->cluster->name, &who);
}

static void goes(struct node *node, const char *user, uint64_t key, enum presence_end end)
{
    const struct presence_who who = who_of(user, key);
    presence_go(&node->presence, node->cluster->name, &who, end);
}

static void watches(struct node *node)
{
    presence_watch(&node->presence, node->cluster->name, &node->home);
    node->is_watching = true;
}

static void expect_told(struct node *node, const char *what)
{
    assert_string_equal(node->told, what);
    node->told[0] = '\0';
}

static uint64_t listed_of(struct node *node)
{
    struct presence_listing *listing = presence_listing_new(&node->presence, node->cluster->name, 0, 100);

    presence_list(&node->presence, listing);
    uint64_t count = listing->count;
    assert_int_equal(listing->at_count, count);
    command_free(&listing->command);
    return count;
}

/* --- the tests --------------------------------------------------------------------------------------------------- */

static void clients_are_told_of_devices_on_other_nodes(void **state)
{
    struct cluster *cluster = cluster_new();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    comes(a, "ann", 1);
    comes(b, "bob", 2);
    passes(cluster, 200);
    watches(b);
    passes(cluster, 200);
    expect_told(b, "=2 ");  /* those who are there are in the first number, and come in no change */
    comes(a, "carl", 3);
    passes(cluster, 200);
    expect_told(b, "+carl/phone ");
    goes(a, "ann", 1, PRESENCE_END_NOW);
    passes(cluster, 200);
    expect_told(b, "-ann/phone ");
    assert_int_equal(b->count, 2);
    assert_int_equal(listed_of(b), 1);  /* what is listed is a node's own: whoever asks asks all nodes */
    assert_int_equal(listed_of(a), 1);
    assert_int_equal(presence_user(&b->presence, SPAN("carl"), NULL, NULL), 0);
    cluster_free_all(cluster);
}

/* It is cut on one node, and back on the other one within return_ms. */
static void a_device_that_changes_nodes_never_leaves(void **state)
{
    struct cluster *cluster = cluster_new();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    comes(a, "ann", 1);
    watches(a);
    watches(b);
    passes(cluster, 200);
    expect_told(a, "=1 ");
    expect_told(b, "=1 ");
    goes(a, "ann", 1, PRESENCE_END_CUT);
    passes(cluster, 500);
    comes(b, "ann", 2);
    passes(cluster, RETURN_MS + 500);
    expect_told(a, "");
    expect_told(b, "");
    goes(b, "ann", 2, PRESENCE_END_NOW);
    passes(cluster, 200);
    expect_told(a, "-ann/phone ");
    expect_told(b, "-ann/phone ");
    cluster_free_all(cluster);
}

static void lost_news_are_found(void **state)
{
    struct cluster *cluster = cluster_new();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    watches(b);
    passes(cluster, 200);
    expect_told(b, "=0 ");
    cluster->loses_news = true;
    comes(a, "ann", 1);
    comes(a, "bob", 2);
    goes(a, "bob", 2, PRESENCE_END_NOW);
    passes(cluster, 200);
    expect_told(b, "");
    cluster->loses_news = false;
    comes(a, "carl", 3);
    passes(cluster, 2000);  /* the next news say another set than is known here */
    expect_told(b, "+carl/phone +ann/phone ");
    cluster->loses_news = true;
    goes(a, "ann", 1, PRESENCE_END_NOW);
    passes(cluster, 31000);  /* and without any, it is asked for now and then */
    expect_told(b, "-ann/phone ");
    comes(a, "dora", 4);
    passes(cluster, 200);
    presence_compare_now(&b->presence);
    passes(cluster, 200);
    expect_told(b, "+dora/phone ");
    cluster_free_all(cluster);
}

static void the_devices_of_a_node_leave_with_it(void **state)
{
    struct cluster *cluster = cluster_new();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    comes(a, "ann", 1);
    comes(a, "bob", 2);
    comes(b, "bob", 3);
    watches(b);
    passes(cluster, 200);
    expect_told(b, "=2 ");
    cluster->is_split = true;  /* nobody says that it is gone, but it is asked no more */
    passes(cluster, 31000);
    expect_told(b, "-ann/phone ");  /* bob is here, too */
    cluster->is_split = false;
    presence_fini(&a->presence);  /* and begins anew */
    node_start(a, 200);
    comes(a, "eve", 9);
    passes(cluster, 31000);
    expect_told(b, "+eve/phone ");
    cluster_free_all(cluster);
}

/* A node that does not answer in time may still have its devices. */
static void a_slow_node_keeps_its_devices(void **state)
{
    struct cluster *cluster = cluster_new();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    comes(a, "ann", 1);
    watches(b);
    passes(cluster, 200);
    expect_told(b, "=1 ");
    cluster->loses_questions = true;
    passes(cluster, 65000);
    expect_told(b, "");
    cluster->loses_questions = false;
    goes(a, "ann", 1, PRESENCE_END_NOW);
    passes(cluster, 2000);
    expect_told(b, "-ann/phone ");
    cluster_free_all(cluster);
}

/* Without watchers nothing is kept of other nodes. */
static void who_is_not_told_keeps_nothing(void **state)
{
    struct cluster *cluster = cluster_new();
    struct node    *a = &cluster->nodes[0], *b = &cluster->nodes[1];

    (void)state;
    comes(a, "ann", 1);
    watches(b);
    passes(cluster, 200);
    assert_int_equal(counter_get(&b->presence.counters.members), 1);
    presence_unwatch(&b->presence, cluster->name, 0);
    assert_int_equal(counter_get(&b->presence.counters.members), 0);
    assert_int_equal(counter_get(&b->presence.counters.channels), 0);
    comes(a, "bob", 2);
    passes(cluster, 200);
    assert_int_equal(counter_get(&b->presence.counters.members), 0);
    cluster_free_all(cluster);
}

/* Devices come and go at random on both nodes, and what they say is lost at random: at the end both are right. */
static void at_random(void **state)
{
    static const char *const users[] = { "u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7" };

    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct cluster *cluster = cluster_new();
        struct rng      random;
        bool            is_here[NODES][8] = { 0 };
        random = (struct rng){ seed };
        watches(&cluster->nodes[0]);
        watches(&cluster->nodes[1]);
        for (unsigned step = 0; step < 100; step++) {
            unsigned node = (unsigned)(rng_next(&random) % NODES), user = (unsigned)(rng_next(&random) % 8);
            cluster->loses_news      = rng_next(&random) % 3 == 0;
            cluster->loses_questions = rng_next(&random) % 3 == 0;
            if (is_here[node][user])
                goes(&cluster->nodes[node], users[user], 1 + user, rng_next(&random) % 2 ? PRESENCE_END_NOW : PRESENCE_END_CUT);
            else
                comes(&cluster->nodes[node], users[user], 1 + user);
            is_here[node][user] = !is_here[node][user];
            if (rng_next(&random) % 2)
                passes(cluster, TICK_MS * (1 + (msec)(rng_next(&random) % 5)));
        }
        cluster->loses_news = cluster->loses_questions = false;
        passes(cluster, 40000);
        unsigned count = 0;
        for (unsigned user = 0; user < 8; user++)
            count += is_here[0][user] || is_here[1][user];
        assert_int_equal(cluster->nodes[0].count, count);
        assert_int_equal(cluster->nodes[1].count, count);
        cluster_free_all(cluster);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_are_told_of_devices_on_other_nodes),
        cmocka_unit_test(a_device_that_changes_nodes_never_leaves),
        cmocka_unit_test(lost_news_are_found),
        cmocka_unit_test(the_devices_of_a_node_leave_with_it),
        cmocka_unit_test(a_slow_node_keeps_its_devices),
        cmocka_unit_test(who_is_not_told_keeps_nothing),
        cmocka_unit_test(at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
