/* Two nodes over one ledger: a session is opened on one while its link is on the other (33). What the nodes say to each other
 * may be lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "node/shard.h"
#include "store/ledger_page.h"
#include "store/mem.h"

#include <cmocka.h>

enum { WALL = 1000000, TTL = 500000, NODES = 3, ANSWERS_MAX = 64, EPOCH = 7 };

static const struct hash_key hash_key = { 1, 2 };

struct fenced {
    uint64_t          key;
    enum fence_reason reason;
};

struct node {
    struct cluster      *cluster;
    char                 name[8];
    struct store        *memory;
    struct writer        writer;
    struct devices       devices;
    struct bundle        posted, sent;
    struct device_home   home;
    struct shard         shard;
    struct fenced        fenced[16];
    size_t               fenced_count;
    struct session_acks *last_words;  /* the loop says them when it is told to let a link go */
    struct session_open *answers[ANSWERS_MAX];
    size_t               answer_count;
};

/* What a loop answers goes to the node whose turn it is. */
static struct node *acting;

/* A write is known to be done; or nobody knows, and it is, or is not. */
enum commit_end { COMMIT_KNOWN, COMMIT_WRITTEN, COMMIT_LOST };

struct cluster {
    struct namespaces spaces;
    struct store     *durable;
    struct node       nodes[NODES];
    bool              loses_questions, loses_answers;
    bool              sends_nothing;  /* the engine is away */
    struct peer_fence_call *late;  /* is_slow: an answer that has not come yet */
    bool              is_slow;
    unsigned          asked_count;
    struct ledger     refusing, *real;  /* the ledger of `durable` is the first one, and goes on to the second one */
    enum ledger_outcome refuses_with;   /* LEDGER_WAITING: nothing is refused */
    bool                is_holding;     /* … and the next batch waits in `held` */
    struct ledger_batch *held;
    enum commit_end      commit_end;    /* of the next batch that is not lazy; then COMMIT_KNOWN again */
    void               (*batch_done)(struct ledger_batch *batch);
    bool                 is_away;       /* nothing can be read or written */
};

/* --- one node --------------------------------------------------------------------------------------------------- */

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    (void)loop;
    bundle_add(&((struct node *)ctx)->sent, &command->mail);
}

static void on_post(void *ctx, struct command *command)
{
    bundle_add(&((struct node *)ctx)->posted, &command->mail);
}

static const struct writer_port port = { .send = on_send, .post = on_post };

static void shard_on_send(void *ctx, struct command *command)
{
    bundle_add(&((struct node *)ctx)->posted, &command->mail);
}

static void shard_on_ready(void *ctx, struct subscription *sub)
{
    (void)ctx;
    (void)sub;
}

static const struct shard_port shard_port_here = { .send = shard_on_send, .ready = shard_on_ready };

static void on_fence(struct device_home *home, uint64_t key, enum fence_reason reason)
{
    struct node *node = container_of(home, struct node, home);

    assert_true(node->fenced_count < 16);
    node->fenced[node->fenced_count++] = (struct fenced){ key, reason };
    if (node->last_words != NULL)
        bundle_add(&node->posted, &node->last_words->command.mail);
    node->last_words = NULL;
}

static void on_opened(struct session_open *open)
{
    assert_true(acting->answer_count < ANSWERS_MAX);
    acting->answers[acting->answer_count++] = open;
}

static const struct writer_limits writer_plenty = {
    .waiting_count_max = 1000, .waiting_bytes_max = 1 << 20, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
    .deadline_ticks = 100, .delivery_count_max = 1000, .delivery_bytes_max = 1 << 20, .tail_bytes_max = 1 << 20,
    .tail_messages_max = 100,
};

static const struct devices_limits plenty = {
    .session_ttl_ms = TTL, .poll_lease_ms = 60000, .devices_max = 10, .opens_max = 4, .waiting_max = 8, .idle_max = 100,
    .compare_ms = 1000,
};

static void node_take_mail(struct node *node)
{
    acting = node;
    for (struct mail *mail = bundle_take(&node->posted), *next; mail != NULL; mail = next) {
        next = mail->next;
        writer_take(&node->writer, command_of(mail), node->writer.wall);
    }
}

static void node_give_mail(struct node *node)
{
    acting = node;
    for (struct mail *mail = bundle_take(&node->sent), *next; mail != NULL; mail = next) {
        next = mail->next;
        shard_take(&node->shard, command_of(mail));
    }
}

static void node_take(struct node *node)
{
    node_take_mail(node);
    devices_turn_end(&node->devices);
    writer_turn_end(&node->writer, node->writer.wall);
    node_give_mail(node);
}

static bool is_moving(const struct cluster *cluster)
{
    for (unsigned i = 0; i < NODES; i++)
        if (cluster->nodes[i].posted.newest != NULL || cluster->nodes[i].sent.newest != NULL)
            return true;
    return false;
}

static void settle(struct cluster *cluster)
{
    do {
        for (unsigned i = 0; i < NODES; i++)
            node_take(&cluster->nodes[i]);
    } while (is_moving(cluster));
}

static void ticks(struct cluster *cluster, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        for (unsigned at = 0; at < NODES; at++)
            devices_tick(&cluster->nodes[at].devices);
        settle(cluster);
    }
}

/* --- what nodes say to each other ------------------------------------------------------------------------------- */

struct carried {
    struct peer_fence_call call;
    struct peer_fence_ask *ask;
    struct cluster        *cluster;
};

static void on_called(struct peer_fence_call *call)
{
    struct carried *carried = container_of(call, struct carried, call);
    bool            is_lost = carried->cluster->loses_answers;

    if (carried->cluster->is_slow) {
        carried->cluster->late = call;
        return;
    }
    if (!is_lost)
        device_peer_answered(carried->ask, buf_span(&call->answer));
    device_peer_settled(carried->ask, is_lost);
    buf_fini(&call->answer);
    free(carried);
}

static void on_dropped(struct peer_fence_call *call)
{
    struct carried *carried = container_of(call, struct carried, call);

    device_peer_settled(carried->ask, true);
    free(carried);
}

static struct node *addressed(struct cluster *cluster, const struct node *from, const struct peer_fence_ask *ask)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &cluster->nodes[i];
        if (node != from && (ask->user_log != NULL || (strcmp(node->name, ask->node) == 0 &&
                                                       node->devices.incarnation == ask->incarnation)))
            return node;
    }
    return NULL;
}

static void on_ask(void *ctx, struct peer_fence_ask *ask)
{
    struct node    *from    = ctx;
    struct cluster *cluster = from->cluster;
    struct node    *to      = addressed(cluster, from, ask);

    cluster->asked_count++;
    ask->is_unasked = cluster->sends_nothing;
    if (to == NULL || cluster->loses_questions || cluster->sends_nothing) {
        device_peer_settled(ask, true);
        return;
    }
    struct carried *carried = calloc(1, sizeof *carried);
    must(carried != NULL);
    carried->call.answered = on_called;
    carried->call.dropped  = on_dropped;
    carried->ask           = ask;
    carried->cluster       = cluster;
    assert_true(device_peer_called(&to->devices, &carried->call, buf_span(&ask->body)));
}

static const struct device_peers peers = { .ask = on_ask };

/* --- the cluster ------------------------------------------------------------------------------------------------ */

static struct cluster *of_refusing(struct ledger *ledger)
{
    return container_of(ledger, struct cluster, refusing);
}

static void batch_refuse(struct ledger_batch *batch, enum ledger_outcome outcome)
{
    for (struct list *at = batch->writes.next; at != &batch->writes; at = at->next)
        container_of(at, struct ledger_write, link)->outcome = outcome;
    batch->done(batch);
}

static struct cluster *writing;

static void batch_is_written(struct ledger_batch *batch)
{
    batch->done = writing->batch_done;
    batch_refuse(batch, LEDGER_BROKEN);
}

/* It is written, and who wrote it is told that nobody knows. */
static void batch_lose(struct cluster *cluster, struct ledger_batch *batch)
{
    writing             = cluster;
    cluster->batch_done = batch->done;
    batch->done         = batch_is_written;
}

static void refusing_write(struct ledger *ledger, struct ledger_batch *batch)
{
    struct cluster      *cluster = of_refusing(ledger);
    const enum commit_end end    = batch->is_lazy ? COMMIT_KNOWN : cluster->commit_end;

    if (cluster->is_holding && cluster->held == NULL) {
        cluster->held = batch;
        return;
    }
    if (cluster->is_away || cluster->refuses_with != LEDGER_WAITING) {
        batch_refuse(batch, cluster->is_away ? LEDGER_AWAY : cluster->refuses_with);
        return;
    }
    if (!batch->is_lazy)
        cluster->commit_end = COMMIT_KNOWN;
    if (end == COMMIT_LOST) {
        batch_refuse(batch, LEDGER_BROKEN);
        return;
    }
    if (end == COMMIT_WRITTEN)
        batch_lose(cluster, batch);
    cluster->real->ops->write(cluster->real, batch);
}

static void lets_go(struct cluster *cluster)
{
    struct ledger_batch *batch = cluster->held;

    cluster->held = NULL;
    if (batch == NULL)
        return;
    const bool is_holding = cluster->is_holding;
    cluster->is_holding   = false;
    refusing_write(&cluster->refusing, batch);
    cluster->is_holding   = is_holding;
}

static void refusing_read(struct ledger *ledger, struct ledger_read *read)
{
    struct cluster *cluster = of_refusing(ledger);

    if (!cluster->is_away) {
        cluster->real->ops->read(cluster->real, read);
        return;
    }
    ledger_read_refuse(read, RC_IO);
    read->done(read);
}

static const struct ledger_ops refusing_ops = { .name = "refusing", .write = refusing_write, .read = refusing_read };

static struct store *mem_new(uint64_t epoch)
{
    return mem_store_new(&(struct mem_store_options){ .epoch_first = epoch, .id_first = 1, .hash_key = hash_key });
}

static void node_start(struct node *node, uint64_t incarnation, enum device_policy policy)
{
    struct devices_limits limits = plenty;

    limits.policy = policy;
    devices_init(&node->devices, &node->writer, &node->cluster->spaces, &hash_key, &limits);
    devices_join(&node->devices, span_str(node->name), incarnation, &peers, node);
}

static struct cluster *cluster_with(enum device_policy policy)
{
    static const struct shard_limits none = { .page_count_max = 1 };
    struct cluster *cluster = calloc(1, sizeof *cluster);

    must(cluster != NULL);
    namespaces_init(&cluster->spaces);
    cluster->durable                 = mem_new(EPOCH);
    cluster->durable->has_one_writer = false;
    cluster->real                    = cluster->durable->ledger;
    cluster->refusing                = (struct ledger){ .ops = &refusing_ops };
    cluster->refuses_with            = LEDGER_WAITING;
    cluster->durable->ledger         = &cluster->refusing;
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &cluster->nodes[i];
        node->cluster     = cluster;
        node->memory      = mem_new(900 + i);
        snprintf(node->name, sizeof node->name, "n%u", i + 1);
        writer_init(&node->writer, &port, node, cluster->durable, node->memory, &writer_plenty, 1);
        node->writer.wall = WALL;
        node->home        = (struct device_home){ .fence = on_fence };
        shard_init(&node->shard, 0, &shard_port_here, node, &none);
        node_start(node, 100 + i, policy);
    }
    return cluster;
}

static struct cluster *cluster_start(void)
{
    return cluster_with(DEVICES_ALL);
}

static void answers_free(struct node *node)
{
    for (size_t i = 0; i < node->answer_count; i++)
        command_free(&node->answers[i]->command);
    node->answer_count = 0;
}

static void cluster_end(struct cluster *cluster)
{
    settle(cluster);
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &cluster->nodes[i];
        answers_free(node);
        devices_fini(&node->devices);
        writer_fini(&node->writer);
        shard_fini(&node->shard);
        node->memory->ops->close(node->memory);
    }
    cluster->durable->ops->close(cluster->durable);
    free(cluster);
}

/* Its links and its memory are gone, and nobody was told. */
static void node_restarts(struct node *node)
{
    answers_free(node);
    devices_fini(&node->devices);
    node_start(node, node->devices.incarnation + 50, DEVICES_ALL);
}

/* --- what loops do ---------------------------------------------------------------------------------------------- */

static struct session_open *asks(struct node *node, enum open_way way, const char *device, uint64_t key,
                                 const struct session_open *before)
{
    struct session_open *open = session_open_new(&node->devices, SPAN("alice"), span_str(device), SPAN("mobile"));

    open->home       = &node->home;
    open->key        = key;
    open->way        = way;
    open->is_poll    = way == OPEN_CURSOR;
    open->generation = before == NULL ? 0 : before->generation;
    open->since      = before == NULL ? 0 : before->since;
    open->answered   = on_opened;
    bundle_add(&node->posted, &open->command.mail);
    return open;
}

static struct session_open *opens(struct node *node, const char *device, uint64_t key)
{
    struct session_open *open = asks(node, OPEN_NEWER, device, key, NULL);

    settle(node->cluster);
    assert_int_equal(open->outcome, OPEN_DONE);
    return open;
}

static struct session_open *polls(struct node *node, uint64_t key, const struct session_open *before)
{
    struct session_open *open = asks(node, OPEN_CURSOR, "phone", key, before);

    settle(node->cluster);
    return open;
}

static void closes(struct node *node, const struct session_open *open)
{
    struct session_close *close = session_close_new(&node->devices, open->standing, open->key, open->generation);

    close->is_between = open->is_poll;
    bundle_add(&node->posted, &close->command.mail);
    settle(node->cluster);
}

static struct channel_name *name_of(struct cluster *cluster, const char *text)
{
    struct channel_name *name;

    assert_int_equal(channel_name_new(&cluster->spaces, &hash_key, span_str(text), &name), CHANNEL_NAME_OK);
    return name;
}

static struct session_acks *words(struct node *node, const struct session_open *open, const char *channel, uint64_t seq,
                                  enum session_ack_kind kind)
{
    struct session_acks *acks = session_acks_new(&node->devices);

    acks->acks[acks->count++] = (struct session_ack){ open->standing, open->generation, name_of(node->cluster, channel),
                                                      EPOCH, seq, kind };
    return acks;
}

static void says(struct node *node, const struct session_open *open, const char *channel, uint64_t seq,
                 enum session_ack_kind kind)
{
    bundle_add(&node->posted, &words(node, open, channel, seq, kind)->command.mail);
}

static void acks(struct node *node, const struct session_open *open, uint64_t seq)
{
    says(node, open, "user:alice", seq, ACK_PLACE);
    settle(node->cluster);
}

static const char *places_of(const struct session_open *open)
{
    static char text[512];
    size_t      at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < open->place_count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s@%llu%s", i == 0 ? "" : " ", open->places[i].name->text,
                               (unsigned long long)open->places[i].seq, open->places[i].is_kept ? "*" : "");
    return text;
}

static void swallow(struct ledger_batch *batch)
{
    (void)batch;
}

/* A generation of 0 deletes the row. */
static void writes_row(struct cluster *cluster, const struct session_row *row, uint64_t generation)
{
    struct buf           key, value;
    struct ledger_change change;
    struct ledger_write  write = { .changes = &change, .count = 1 };
    struct ledger_batch  batch = { .change_count = 1, .wall = WALL, .done = swallow };

    buf_init(&key, 512);
    buf_init(&value, 512);
    row_key_put(&key, SPAN("alice"), SPAN("phone"));
    session_row_put(&value, row);
    change = (struct ledger_change){ .op = generation == 0 ? LEDGER_DELETE : LEDGER_PUT,
                                     .key = { ROW_SESSION, buf_span(&key) }, .value = buf_span(&value),
                                     .generation = generation };
    list_init(&batch.writes);
    list_push(&batch.writes, &write.link);
    cluster->durable->ledger->ops->write(cluster->durable->ledger, &batch);
    assert_int_equal(write.outcome, LEDGER_DONE);
    buf_fini(&key);
    buf_fini(&value);
}

static void writes_place(struct cluster *cluster, const char *channel, uint64_t epoch, uint64_t seq)
{
    struct buf           key, value;
    struct ledger_change change;
    struct ledger_write  write = { .changes = &change, .count = 1 };
    struct ledger_batch  batch = { .change_count = 1, .wall = WALL, .done = swallow };

    buf_init(&key, 512);
    buf_init(&value, 512);
    row_key_put(&key, SPAN("alice"), SPAN("phone"));
    row_key_put_third(&key, span_str(channel));
    place_row_put(&value, &(struct place_row){ epoch, WALL, false });
    change = (struct ledger_change){ .op = LEDGER_PUT, .key = { ROW_PLACE, buf_span(&key) }, .value = buf_span(&value),
                                     .generation = seq + 1 };
    list_init(&batch.writes);
    list_push(&batch.writes, &write.link);
    cluster->durable->ledger->ops->write(cluster->durable->ledger, &batch);
    assert_int_equal(write.outcome, LEDGER_DONE);
    buf_fini(&key);
    buf_fini(&value);
}

static void writes_group(struct cluster *cluster, const char *group, const struct group_spans *spans, uint64_t generation)
{
    char                 key[LEDGER_KEY_BYTES_MAX];
    struct buf           value;
    struct ledger_change change;
    struct ledger_write  write = { .changes = &change, .count = 1 };
    struct ledger_batch  batch = { .change_count = 1, .wall = WALL, .done = swallow };

    buf_init(&value, 512);
    group_spans_put(spans, &value);
    change = (struct ledger_change){ .op = LEDGER_PUT, .key = { ROW_GROUP, group_key(SPAN("alice"), span_str(group), key) },
                                     .value = buf_span(&value), .generation = generation };
    list_init(&batch.writes);
    list_push(&batch.writes, &write.link);
    for (unsigned i = 0; i < NODES; i++)
        devices_group_moves(&cluster->nodes[i].devices);
    cluster->durable->ledger->ops->write(cluster->durable->ledger, &batch);
    assert_int_equal(write.outcome, LEDGER_DONE);
    for (unsigned i = 0; i < NODES; i++)
        devices_group_moved(&cluster->nodes[i].devices, SPAN("alice"), true);
    buf_fini(&value);
}

/* alice joins the group behind `after`, says the message 1 of her log. */
static void joins(struct cluster *cluster, const char *group, uint64_t after)
{
    writes_group(cluster, group, &(struct group_spans){ 1, { { EPOCH, after, GROUP_SPAN_OPEN, 0 } } }, 1);
}

static void assert_fenced(const struct node *node, size_t count, uint64_t key, enum fence_reason reason)
{
    assert_int_equal(node->fenced_count, count);
    assert_int_equal(node->fenced[count - 1].key, key);
    assert_int_equal(node->fenced[count - 1].reason, reason);
}

/* --- the tests -------------------------------------------------------------------------------------------------- */

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

/* A node's commands one turn at a time, until it has asked another one so often. */
static void ticks_of(struct node *node, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        devices_tick(&node->devices);
        node_take(node);
    }
}

static void passes(struct cluster *cluster, msec span)
{
    for (msec at = 0; at < span; at += 100) {
        for (unsigned i = 0; i < NODES; i++)
            cluster->nodes[i].writer.wall += 100;
        ticks(cluster, 1);
    }
}

static void turns_until_asked(struct node *node, unsigned count)
{
    while (node->cluster->asked_count < count)
        node_take(node);
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

/* --- calls that acknowledge --- */

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

/* --- raises of which nobody knows whether they were written ------------------------------------------------------ */

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

/* Everybody's clock. */
static uint64_t linked(const struct cluster *cluster)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < NODES; i++)
        count += counter_get(&cluster->nodes[i].devices.counters.linked);
    return count;
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
        devices_fini(&a->devices);
        devices_init(&a->devices, &a->writer, &cluster->spaces, &hash_key, &plenty);
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

static void bodies_are_read_as_written(void **state)
{
    struct buf              buf;
    struct peer_fence       fence;
    struct peer_fence_place place;
    bool                    is_begun = false;

    (void)state;
    buf_init(&buf, 512);
    peer_fence_put(&buf, &(struct peer_fence){ SPAN("alice"), SPAN("phone"), 7, WALL });
    assert_true(peer_fence_get(buf_span(&buf), &fence));
    assert_true(span_eq(fence.user, SPAN("alice")) && span_eq(fence.device, SPAN("phone")));
    assert_true(fence.generation == 7 && fence.since == WALL);
    for (size_t len = 0; len < buf.len; len++)
        assert_false(peer_fence_get(span_head(buf_span(&buf), len), &fence));
    buf.at[0]++;
    assert_false(peer_fence_get(buf_span(&buf), &fence));

    buf_clear(&buf);
    peer_fence_answer_begin(&buf);
    peer_fence_place_put(&buf, &(struct peer_fence_place){ SPAN("user:alice"), 7, 12 });
    struct span rest = buf_span(&buf);
    assert_true(peer_fence_place_next(&rest, &is_begun, &place));
    assert_true(span_eq(place.channel, SPAN("user:alice")) && place.epoch == 7 && place.seq == 12);
    assert_false(peer_fence_place_next(&rest, &is_begun, &place));
    for (size_t len = 0; len < buf.len; len++) {
        rest     = span_head(buf_span(&buf), len);
        is_begun = false;
        assert_false(peer_fence_place_next(&rest, &is_begun, &place));
    }
    buf_fini(&buf);
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
        cmocka_unit_test(what_a_call_acknowledged_is_stored_before_it_is_told),
        cmocka_unit_test(a_call_that_meets_a_newer_link_is_stored_or_refused),
        cmocka_unit_test(a_call_waits_for_what_is_being_stored),
        cmocka_unit_test(a_call_that_can_not_be_stored_says_so),
        cmocka_unit_test(a_call_does_not_wait_while_nothing_is_stored),
        cmocka_unit_test(a_call_does_not_wait_for_ever),
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
        cmocka_unit_test(what_a_replaced_link_acknowledged_is_told_to_no_later_one),
        cmocka_unit_test(raises_that_are_not_known_are_bounded),
        cmocka_unit_test(bodies_are_read_as_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
