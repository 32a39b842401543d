#include "device/cluster_battery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_page.h"
#include "store/mem.h"

#include <cmocka.h>

static const struct hash_key hash_key = { 1, 2 };

/* What a loop answers goes to the node whose turn it is. */
static struct node *acting;

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

void on_opened(struct session_open *open)
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

void node_take_mail(struct node *node)
{
    acting = node;
    for (struct mail *mail = bundle_take(&node->posted), *next; mail != NULL; mail = next) {
        next = mail->next;
        writer_take(&node->writer, command_of(mail), node->writer.wall);
    }
}

void node_give_mail(struct node *node)
{
    acting = node;
    for (struct mail *mail = bundle_take(&node->sent), *next; mail != NULL; mail = next) {
        next = mail->next;
        shard_take(&node->shard, command_of(mail));
    }
}

void node_take(struct node *node)
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

void settle(struct cluster *cluster)
{
    do {
        for (unsigned i = 0; i < NODES; i++)
            node_take(&cluster->nodes[i]);
    } while (is_moving(cluster));
}

void ticks(struct cluster *cluster, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        for (unsigned at = 0; at < NODES; at++)
            devices_tick(&cluster->nodes[at].devices);
        settle(cluster);
    }
}

void ticks_of(struct node *node, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        devices_tick(&node->devices);
        node_take(node);
    }
}

void passes(struct cluster *cluster, msec span)
{
    for (msec at = 0; at < span; at += 100) {
        for (unsigned i = 0; i < NODES; i++)
            cluster->nodes[i].writer.wall += 100;
        ticks(cluster, 1);
    }
}

void turns_until_asked(struct node *node, unsigned count)
{
    while (node->cluster->asked_count < count)
        node_take(node);
}

/* --- what nodes say to each other ------------------------------------------------------------------------------- */

struct carried {
    struct peer_fence_call call;
    struct peer_fence_ask *ask;
    struct cluster        *cluster;
};

void on_called(struct peer_fence_call *call)
{
    struct carried *carried = container_of(call, struct carried, call);
    bool            is_lost = carried->cluster->loses_answers;

    if (carried->cluster->is_slow) {
        carried->cluster->late = call;
        return;
    }
    carried->cluster->answer_bytes = call->answer.len;
    for (int i = carried->cluster->tells_twice ? 0 : 1; i < 2 && !is_lost; i++)
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

void lets_go(struct cluster *cluster)
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

struct cluster *cluster_with(enum device_policy policy)
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

struct cluster *cluster_start(void)
{
    return cluster_with(DEVICES_ALL);
}

void answers_free(struct node *node)
{
    for (size_t i = 0; i < node->answer_count; i++)
        command_free(&node->answers[i]->command);
    node->answer_count = 0;
}

void cluster_end(struct cluster *cluster)
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

void node_restarts(struct node *node)
{
    answers_free(node);
    devices_fini(&node->devices);
    node_start(node, node->devices.incarnation + 50, DEVICES_ALL);
}

void node_is_alone(struct node *node)
{
    devices_fini(&node->devices);
    devices_init(&node->devices, &node->writer, &node->cluster->spaces, &hash_key, &plenty);
}

/* --- what loops do ---------------------------------------------------------------------------------------------- */

struct session_open *asks(struct node *node, enum open_way way, const char *device, uint64_t key, const struct session_open *before)
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

struct session_open *opens(struct node *node, const char *device, uint64_t key)
{
    struct session_open *open = asks(node, OPEN_NEWER, device, key, NULL);

    settle(node->cluster);
    assert_int_equal(open->outcome, OPEN_DONE);
    return open;
}

struct session_open *polls(struct node *node, uint64_t key, const struct session_open *before)
{
    struct session_open *open = asks(node, OPEN_CURSOR, "phone", key, before);

    settle(node->cluster);
    return open;
}

void closes(struct node *node, const struct session_open *open)
{
    struct session_close *close = session_close_new(&node->devices, open->standing, open->key, open->generation);

    close->is_between = open->is_poll;
    bundle_add(&node->posted, &close->command.mail);
    settle(node->cluster);
}

struct channel_name *name_of(struct cluster *cluster, const char *text)
{
    struct channel_name *name;

    assert_int_equal(channel_name_new(&cluster->spaces, &hash_key, span_str(text), &name), CHANNEL_NAME_OK);
    return name;
}

struct session_acks *words(struct node *node, const struct session_open *open, const char *channel, uint64_t seq,
                           enum session_ack_kind kind)
{
    struct session_acks *acks = session_acks_new(&node->devices);

    acks->acks[acks->count++] = (struct session_ack){ open->standing, open->generation, name_of(node->cluster, channel),
                                                      EPOCH, seq, kind };
    return acks;
}

void says(struct node *node, const struct session_open *open, const char *channel, uint64_t seq, enum session_ack_kind kind)
{
    bundle_add(&node->posted, &words(node, open, channel, seq, kind)->command.mail);
}

void acks(struct node *node, const struct session_open *open, uint64_t seq)
{
    says(node, open, "user:alice", seq, ACK_PLACE);
    settle(node->cluster);
}

const char *places_of(const struct session_open *open)
{
    static char text[512];
    size_t      at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < open->place_count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s@%llu%s", i == 0 ? "" : " ", open->places[i].name->text,
                               (unsigned long long)open->places[i].seq, open->places[i].is_kept ? "*" : "");
    return text;
}

uint64_t linked(const struct cluster *cluster)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < NODES; i++)
        count += counter_get(&cluster->nodes[i].devices.counters.linked);
    return count;
}

static void swallow(struct ledger_batch *batch)
{
    (void)batch;
}

static void writes(struct cluster *cluster, struct ledger_change *change)
{
    struct ledger_write write = { .changes = change, .count = 1 };
    struct ledger_batch batch = { .change_count = 1, .wall = WALL, .done = swallow };

    list_init(&batch.writes);
    list_push(&batch.writes, &write.link);
    cluster->durable->ledger->ops->write(cluster->durable->ledger, &batch);
    assert_int_equal(write.outcome, LEDGER_DONE);
}

void writes_row(struct cluster *cluster, const struct session_row *row, uint64_t generation)
{
    struct buf           key, value;
    struct ledger_change change;

    buf_init(&key, 512);
    buf_init(&value, 512);
    row_key_put(&key, SPAN("alice"), SPAN("phone"));
    session_row_put(&value, row);
    change = (struct ledger_change){ .op = generation == 0 ? LEDGER_DELETE : LEDGER_PUT,
                                     .key = { ROW_SESSION, buf_span(&key) }, .value = buf_span(&value),
                                     .generation = generation };
    writes(cluster, &change);
    buf_fini(&key);
    buf_fini(&value);
}

void writes_place(struct cluster *cluster, const char *channel, uint64_t epoch, uint64_t seq)
{
    struct buf           key, value;
    struct ledger_change change;

    buf_init(&key, 512);
    buf_init(&value, 512);
    row_key_put(&key, SPAN("alice"), SPAN("phone"));
    row_key_put_third(&key, span_str(channel));
    place_row_put(&value, &(struct place_row){ epoch, WALL, false });
    change = (struct ledger_change){ .op = LEDGER_PUT, .key = { ROW_PLACE, buf_span(&key) }, .value = buf_span(&value),
                                     .generation = seq + 1 };
    writes(cluster, &change);
    buf_fini(&key);
    buf_fini(&value);
}

void writes_group(struct cluster *cluster, const char *group, const struct group_spans *spans, uint64_t generation)
{
    char                 key[LEDGER_KEY_BYTES_MAX];
    struct buf           value;
    struct ledger_change change;

    buf_init(&value, 512);
    group_spans_put(spans, &value);
    change = (struct ledger_change){ .op = LEDGER_PUT, .key = { ROW_GROUP, group_key(SPAN("alice"), span_str(group), key) },
                                     .value = buf_span(&value), .generation = generation };
    for (unsigned i = 0; i < NODES; i++)
        devices_group_moves(&cluster->nodes[i].devices);
    writes(cluster, &change);
    for (unsigned i = 0; i < NODES; i++)
        devices_group_moved(&cluster->nodes[i].devices, SPAN("alice"), true);
    buf_fini(&value);
}

void joins(struct cluster *cluster, const char *group, uint64_t after)
{
    writes_group(cluster, group, &(struct group_spans){ 1, { { EPOCH, after, GROUP_SPAN_OPEN, 0 } } }, 1);
}

void assert_fenced(const struct node *node, size_t count, uint64_t key, enum fence_reason reason)
{
    assert_int_equal(node->fenced_count, count);
    assert_int_equal(node->fenced[count - 1].key, key);
    assert_int_equal(node->fenced[count - 1].reason, reason);
}
