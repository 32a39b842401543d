/* Sessions over a ledger in memory: generations, places, fences (33), and a ledger that refuses, is slow, or does not
 * say what it did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/rng.h"
#include "device/group_spans.h"
#include "device/devices_priv.h"
#include "device/session_move.h"
#include "node/shard.h"
#include "store/mem.h"

#include <cmocka.h>

enum { LOOPS = 2, WALL = 1000000, TTL = 5000, MAIL_MAX = 4096, DEVICES_MAX = 3 };

static const struct hash_key hash_key = { 1, 2 };

/* A ledger that does as the test says before it asks the real one. */
struct odd_ledger {
    struct ledger        ledger;
    struct ledger       *real;
    enum ledger_outcome  refuse_with;    /* LEDGER_WAITING: nothing is refused. LEDGER_BROKEN: for all of a batch */
    bool                 is_broken_done; /* … after it was written */
    enum rc              read_rc;
    bool                 is_slow;        /* holds batches until the test lets them go */
    struct ledger_batch *held;
    unsigned             batch_count, lazy_count, read_count, sure_count;
};

struct stage {
    struct namespaces  spaces;
    struct store      *durable, *memory;
    struct odd_ledger  odd;
    struct writer      writer;
    struct devices     devices;
    struct bundle      posted, sent[LOOPS];
    struct device_home homes[LOOPS];
    uint64_t           fenced[16];       /* keys, in their order */
    size_t             fenced_count;
    struct shard       shards[LOOPS];
    struct session_open *answers[16];
    size_t             answer_count;
};

static struct stage *the_stage;

/* --- the ledger --- */

static void odd_refuse(struct odd_ledger *odd, struct ledger_batch *batch)
{
    for (struct list *at = batch->writes.next; at != &batch->writes; at = at->next)
        container_of(at, struct ledger_write, link)->outcome = odd->refuse_with;
}

static void swallow(struct ledger_batch *batch)
{
    (void)batch;
}

static void swallow_read(struct ledger_read *read)
{
    (void)read;
}

static void odd_count_sure(struct odd_ledger *odd, const struct ledger_batch *batch)
{
    for (struct list *at = batch->writes.next; at != &batch->writes; at = at->next) {
        const struct ledger_write *write = container_of(at, struct ledger_write, link);
        for (size_t i = 0; i < write->count; i++)
            odd->sure_count += write->changes[i].is_sure;
    }
}

static void odd_write(struct ledger *ledger, struct ledger_batch *batch)
{
    struct odd_ledger *odd = container_of(ledger, struct odd_ledger, ledger);

    odd->batch_count++;
    odd->lazy_count += batch->is_lazy;
    odd_count_sure(odd, batch);
    if (odd->is_slow) {
        assert_null(odd->held);
        odd->held = batch;
        return;
    }
    if (odd->refuse_with == LEDGER_WAITING) {
        odd->real->ops->write(odd->real, batch);
        return;
    }
    if (odd->is_broken_done) {
        void (*done)(struct ledger_batch *) = batch->done;
        batch->done = swallow;
        odd->real->ops->write(odd->real, batch);
        batch->done = done;
    }
    odd_refuse(odd, batch);
    batch->done(batch);
}

static void odd_lets_go(struct odd_ledger *odd)
{
    struct ledger_batch *batch = odd->held;

    odd->held    = NULL;
    odd->is_slow = false;
    odd->real->ops->write(odd->real, batch);
}

static void odd_read(struct ledger *ledger, struct ledger_read *read)
{
    struct odd_ledger *odd = container_of(ledger, struct odd_ledger, ledger);

    odd->read_count++;
    if (odd->read_rc == RC_OK) {
        odd->real->ops->read(odd->real, read);
        return;
    }
    read->rc = odd->read_rc;
    read->done(read);
}

static const struct ledger_ops odd_ops = { .name = "odd", .write = odd_write, .read = odd_read };

/* --- the stage --- */

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    bundle_add(&((struct stage *)ctx)->sent[loop], &command->mail);
}

static void on_post(void *ctx, struct command *command)
{
    bundle_add(&((struct stage *)ctx)->posted, &command->mail);
}

static const struct writer_port port = { .send = on_send, .post = on_post };

static void shard_on_send(void *ctx, struct command *command)
{
    (void)ctx;
    bundle_add(&the_stage->posted, &command->mail);
}

static void shard_on_ready(void *ctx, struct subscription *sub)
{
    (void)ctx;
    (void)sub;
}

static const struct shard_port shard_port_here = { .send = shard_on_send, .ready = shard_on_ready };

static void on_fence(struct device_home *home, uint64_t key, enum fence_reason reason)
{
    (void)home;
    (void)reason;
    assert_true(the_stage->fenced_count < 16);
    the_stage->fenced[the_stage->fenced_count++] = key;
}

static const struct writer_limits writer_plenty = {
    .waiting_count_max = 1000, .waiting_bytes_max = 1 << 20, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
    .deadline_ticks = 100, .delivery_count_max = 1000, .delivery_bytes_max = 1 << 20, .tail_bytes_max = 1 << 20,
    .tail_messages_max = 100,
};

static const struct devices_limits plenty = {
    .session_ttl_ms = TTL, .poll_lease_ms = 60, .devices_max = DEVICES_MAX, .opens_max = 2, .waiting_max = 8,
    .idle_max = 100,
};

static struct store *mem_new(uint64_t epoch)
{
    const struct mem_store_options options = { .epoch_first = epoch, .id_first = 1, .hash_key = hash_key };
    return mem_store_new(&options);
}

static struct stage *stage_with(enum device_policy policy)
{
    struct stage         *stage  = calloc(1, sizeof *stage);
    struct devices_limits limits = plenty;

    the_stage = stage;
    namespaces_init(&stage->spaces);
    stage->durable        = mem_new(7);
    stage->memory         = mem_new(900);
    stage->odd.real       = stage->durable->ledger;
    stage->odd.ledger.ops = &odd_ops;
    stage->durable->ledger = &stage->odd.ledger;
    writer_init(&stage->writer, &port, stage, stage->durable, stage->memory, &writer_plenty, LOOPS);
    stage->writer.wall = WALL;
    limits.policy      = policy;
    devices_init(&stage->devices, &stage->writer, &stage->spaces, &hash_key, &limits);
    for (unsigned i = 0; i < LOOPS; i++) {
        const struct shard_limits none = { .page_count_max = 1 };
        stage->homes[i] = (struct device_home){ .fence = on_fence, .loop = i };
        shard_init(&stage->shards[i], i, &shard_port_here, stage, &none);
    }
    return stage;
}

static struct stage *stage_new(void)
{
    return stage_with(DEVICES_ALL);
}

static void take_all(struct bundle *bundle, struct shard *shard)
{
    for (struct mail *mail = bundle_take(bundle), *next; mail != NULL; mail = next) {
        next = mail->next;
        if (shard == NULL)
            writer_take(&the_stage->writer, command_of(mail), the_stage->writer.wall);
        else
            shard_take(shard, command_of(mail));
    }
}

static bool is_moving(const struct stage *stage)
{
    for (unsigned i = 0; i < LOOPS; i++)
        if (stage->sent[i].newest != NULL)
            return true;
    return stage->posted.newest != NULL;
}

/* Until nothing moves any more. */
static void settle(struct stage *stage)
{
    do {
        take_all(&stage->posted, NULL);
        devices_turn_end(&stage->devices);
        writer_turn_end(&stage->writer, stage->writer.wall);
        for (unsigned i = 0; i < LOOPS; i++)
            take_all(&stage->sent[i], &stage->shards[i]);
    } while (is_moving(stage));
}

static void ticks(struct stage *stage, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        devices_tick(&stage->devices);
        settle(stage);
    }
}

static void answers_free(struct stage *stage)
{
    for (size_t i = 0; i < stage->answer_count; i++)
        command_free(&stage->answers[i]->command);
    stage->answer_count = 0;
}

static void stage_free(struct stage *stage)
{
    settle(stage);
    answers_free(stage);
    devices_fini(&stage->devices);
    writer_fini(&stage->writer);
    for (unsigned i = 0; i < LOOPS; i++)
        shard_fini(&stage->shards[i]);
    stage->durable->ledger = stage->odd.real;
    stage->durable->ops->close(stage->durable);
    stage->memory->ops->close(stage->memory);
    free(stage);
}

/* As after a restart: what is not in the ledger is gone. */
static void forgets_all(struct stage *stage)
{
    struct devices_limits limits = stage->devices.limits;

    answers_free(stage);
    devices_fini(&stage->devices);
    devices_init(&stage->devices, &stage->writer, &stage->spaces, &hash_key, &limits);
}

/* --- what loops do --- */

static void on_opened(struct session_open *open)
{
    assert_true(the_stage->answer_count < 16);
    the_stage->answers[the_stage->answer_count++] = open;
}

static struct session_open *asks(struct stage *stage, enum open_way way, const char *device, uint64_t key,
                                 uint64_t generation, msec since)
{
    struct session_open *open = session_open_new(&stage->devices, SPAN("alice"), span_str(device), SPAN("mobile"));

    open->home         = &stage->homes[key % LOOPS];
    open->command.loop = open->home->loop;
    open->key          = key;
    open->way          = way;
    open->generation   = generation;
    open->since        = since;
    open->answered     = on_opened;
    bundle_add(&stage->posted, &open->command.mail);
    return open;
}

static struct session_open *opens(struct stage *stage, const char *device, uint64_t key)
{
    struct session_open *open = asks(stage, OPEN_NEWER, device, key, 0, 0);

    settle(stage);
    return open;
}

static void closes(struct stage *stage, const struct session_open *open)
{
    struct session_close *close = session_close_new(&stage->devices, open->standing, open->key, open->generation);

    bundle_add(&stage->posted, &close->command.mail);
    settle(stage);
}

static struct channel_name *name_of(struct stage *stage, const char *text)
{
    struct channel_name *name;

    assert_int_equal(channel_name_new(&stage->spaces, &hash_key, span_str(text), &name), CHANNEL_NAME_OK);
    return name;
}

static void says(struct stage *stage, const struct session_open *open, const char *channel, uint64_t epoch,
                 uint64_t seq, enum session_ack_kind kind)
{
    struct session_acks *acks = session_acks_new(&stage->devices);

    acks->acks[acks->count++] = (struct session_ack){ open->standing, open->generation, name_of(stage, channel), epoch,
                                                      seq, kind };
    bundle_add(&stage->posted, &acks->command.mail);
    settle(stage);
}

static void acks(struct stage *stage, const struct session_open *open, const char *channel, uint64_t seq)
{
    says(stage, open, channel, 7, seq, ACK_PLACE);
}

static void appended(struct append_batch *batch)
{
    (void)batch;
}

static void publishes(struct stage *stage, const char *channel, unsigned count)
{
    struct channel_name *name = name_of(stage, channel);

    for (unsigned i = 0; i < count; i++) {
        struct message     *message = message_new(name, MESSAGE_PLAIN, NULL, 0, SPAN("text/plain"), SPAN("x"));
        struct append       append  = { .message = message };
        struct append_batch batch   = { .count = 1, .wall = WALL, .done = appended };
        list_init(&batch.appends);
        list_push(&batch.appends, &append.link);
        stage->durable->ops->append(stage->durable, &batch);
        assert_int_equal(append.outcome, APPEND_DONE);
        message_unref(message);
    }
    channel_name_unref(name);
}

/* "channel@seq …" of an answer; kept ones with a star. */
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

static void writes_row(struct stage *stage, enum row_kind kind, struct span key, struct span value,
                       uint64_t generation)
{
    struct ledger_change change = { .op = LEDGER_PUT, .key = { (uint8_t)kind, key }, .value = value,
                                    .generation = generation };
    struct ledger_write  write  = { .changes = &change, .count = 1 };
    struct ledger_batch  batch  = { .change_count = 1, .wall = WALL, .done = swallow };

    list_init(&batch.writes);
    list_push(&batch.writes, &write.link);
    if (kind == ROW_GROUP)
        devices_group_moves(&stage->devices);
    stage->odd.real->ops->write(stage->odd.real, &batch);
    assert_int_equal(write.outcome, LEDGER_DONE);
    if (kind == ROW_GROUP)
        devices_group_moved(&stage->devices, SPAN("alice"), true);
}

static void joins(struct stage *stage, const char *group, uint64_t head, bool is_joined, uint64_t seq)
{
    struct buf key, value;

    buf_init(&key, 512);
    buf_init(&value, 512);
    row_key_put(&key, SPAN("alice"), span_str(group));
    group_spans_put(&(struct group_spans){ 1, { { 7, head, is_joined ? GROUP_SPAN_OPEN : head, 0 } } }, &value);
    writes_row(stage, ROW_GROUP, buf_span(&key), buf_span(&value), seq);
    buf_fini(&key);
    buf_fini(&value);
}

/* A row whose key is two names. 0: there is none. */
static uint64_t generation_of(struct stage *stage, enum row_kind kind, const char *first, const char *second)
{
    struct buf         bytes;
    struct ledger_key  key;
    struct ledger_read read = { .way = LEDGER_GET, .keys = &key, .key_count = 1, .bytes_max = 1 << 16, .wall = WALL,
                                .done = swallow_read };

    buf_init(&bytes, 512);
    row_key_put(&bytes, span_str(first), span_str(second));
    key = (struct ledger_key){ (uint8_t)kind, buf_span(&bytes) };
    stage->odd.real->ops->read(stage->odd.real, &read);
    assert_int_equal(read.rc, RC_OK);
    uint64_t generation = read.row_count == 0 ? 0 : read.rows[0].generation;
    ledger_read_fini(&read);
    buf_fini(&bytes);
    return generation;
}

static void lists_member(struct stage *stage, const char *group, const char *user, uint64_t generation)
{
    struct buf key;

    buf_init(&key, 512);
    row_key_put(&key, span_str(group), span_str(user));
    writes_row(stage, ROW_MEMBER, buf_span(&key), SPAN(""), generation);
    buf_fini(&key);
}

/* --- the tests --- */

/* Of several databases: the index of a group's members is held against the rows of its users. */
static void a_list_of_members_follows_the_rows_of_users(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    joins(stage, "lacking", 1, true, 5);
    joins(stage, "left", 1, false, 6);
    lists_member(stage, "left", "alice", 4);
    lists_member(stage, "lacking", "ghost", 3);
    joins(stage, "kept", 1, true, 7);
    lists_member(stage, "kept", "alice", 7);
    joins(stage, "old", 1, true, 9);
    lists_member(stage, "old", "alice", 8);
    ticks(stage, 100);
    assert_int_equal(generation_of(stage, ROW_MEMBER, "left", "alice"), 4);  /* in one database both are written together */
    stage->devices.limits.sweeps_members = true;
    ticks(stage, 100);
    assert_int_equal(generation_of(stage, ROW_MEMBER, "lacking", "alice"), 5);
    assert_int_equal(generation_of(stage, ROW_MEMBER, "lacking", "ghost"), 0);
    assert_int_equal(generation_of(stage, ROW_MEMBER, "left", "alice"), 0);
    assert_int_equal(generation_of(stage, ROW_MEMBER, "kept", "alice"), 7);
    assert_int_equal(generation_of(stage, ROW_MEMBER, "old", "alice"), 9);
    stage_free(stage);
}

static void a_new_session_begins_at_the_heads(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, "user:alice", 3);
    struct session_open *open = opens(stage, "phone", 10);
    assert_int_equal(open->outcome, OPEN_DONE);
    assert_false(open->is_resumed);
    assert_int_equal(open->generation, 1);
    assert_int_equal(open->since, WALL);
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@3");
    stage_free(stage);
}

static void its_places_survive_a_restart(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, "user:alice", 3);
    opens(stage, "phone", 10);
    publishes(stage, "user:alice", 2);
    forgets_all(stage);
    struct session_open *open = opens(stage, "phone", 11);
    assert_true(open->is_resumed);
    assert_int_equal(open->generation, 2);
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@3");
    acks(stage, open, "user:alice", 5);
    forgets_all(stage);
    assert_string_equal(places_of(opens(stage, "phone", 12)), "device:alice/phone@0 user:alice@5");
    stage_free(stage);
}

static void memory_answers_without_the_rows(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    acks(stage, open, "user:alice", 5);
    closes(stage, open);
    unsigned reads = stage->odd.read_count;
    open           = opens(stage, "phone", 12);
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@5");
    assert_int_equal(stage->odd.read_count, reads);

    stage->durable->has_one_writer = false;
    reads = stage->odd.read_count;
    open  = opens(stage, "phone", 13);
    assert_int_equal(open->generation, 3);
    assert_int_equal(stage->odd.read_count, reads + 3);
    stage_free(stage);
}

/* How many reads of the ledger the next opening of the phone makes, which has a session in memory. */
static unsigned reads_of_opening(struct stage *stage, uint64_t key)
{
    unsigned reads = stage->odd.read_count;

    assert_true(opens(stage, "phone", key)->is_resumed);
    return stage->odd.read_count - reads;
}

static void groups_are_read_again_once_one_may_have_changed(void **state)
{
    struct stage   *stage   = stage_new();
    struct devices *devices = &stage->devices;

    (void)state;
    opens(stage, "phone", 10);
    assert_int_equal(reads_of_opening(stage, 11), 0);
    devices_group_moves(devices);  /* anybody's */
    assert_int_equal(reads_of_opening(stage, 12), 1);
    devices_group_moved(devices, SPAN("bob"), true);
    assert_int_equal(reads_of_opening(stage, 13), 1);
    assert_int_equal(reads_of_opening(stage, 14), 0);
    devices_group_moves(devices);
    devices_group_moved(devices, SPAN("alice"), true);
    assert_int_equal(reads_of_opening(stage, 15), 1);
    assert_int_equal(reads_of_opening(stage, 16), 0);
    devices_group_moves(devices);
    devices_group_moved(devices, SPAN("bob"), false);  /* nobody knows when it will be written */
    for (uint64_t key = 17; key < 20; key++)
        assert_true(reads_of_opening(stage, key) >= 1);
    stage_free(stage);
}

/* A change that ends while the rows are being read: they may be older than it. */
static void rows_that_were_read_beside_a_change_are_not_believed(void **state)
{
    struct stage   *stage   = stage_new();
    struct devices *devices = &stage->devices;

    (void)state;
    opens(stage, "phone", 1);
    for (int way = 0; way < 2; way++) {
        devices_group_moves(devices);
        devices_group_moved(devices, SPAN("alice"), true);
        if (way == 0)
            devices_group_moves(devices);
        asks(stage, OPEN_NEWER, "phone", 10 + (uint64_t)way, 0, 0);
        take_all(&stage->posted, NULL);  /* the question is under way */
        if (way == 1)
            devices_group_moves(devices);
        devices_group_moved(devices, SPAN("alice"), true);
        settle(stage);
        assert_int_equal(reads_of_opening(stage, 20 + (uint64_t)way), 1);
        assert_int_equal(reads_of_opening(stage, 30 + (uint64_t)way), 0);
    }
    stage_free(stage);
}

/* Threat 33. */
static void a_newer_link_fences_the_older(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *older = opens(stage, "phone", 10);
    acks(stage, older, "user:alice", 4);
    struct session_open *newer = opens(stage, "phone", 11);
    assert_int_equal(newer->generation, 2);
    assert_int_equal(stage->fenced_count, 1);
    assert_int_equal(stage->fenced[0], 10);
    acks(stage, older, "user:alice", 9);
    assert_int_equal(counter_get(&stage->devices.counters.stale_acks), 1);
    closes(stage, older);
    forgets_all(stage);
    assert_string_equal(places_of(opens(stage, "phone", 12)), "device:alice/phone@0 user:alice@4");
    stage_free(stage);
}

static void the_answer_waits_for_the_fence(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    opens(stage, "phone", 10);
    asks(stage, OPEN_NEWER, "phone", 11, 0, 0);
    while (stage->sent[0].newest == NULL) {
        take_all(&stage->posted, NULL);
        devices_turn_end(&stage->devices);
        assert_null(stage->sent[1].newest);
    }
    for (int i = 0; i < 10; i++) {
        take_all(&stage->posted, NULL);
        devices_turn_end(&stage->devices);
    }
    assert_null(stage->sent[1].newest);  /* where the answer would go */
    settle(stage);
    assert_int_equal(stage->answer_count, 2);
    stage_free(stage);
}

static void rapid_reconnects_leave_one_link(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    for (uint64_t key = 10; key < 18; key++)
        asks(stage, OPEN_NEWER, "phone", key, 0, 0);
    settle(stage);
    assert_int_equal(stage->answer_count, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(stage->answers[i]->outcome, OPEN_DONE);
        assert_int_equal(stage->answers[i]->generation, i + 1);
    }
    assert_int_equal(stage->fenced_count, 7);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(stage->fenced[i], 10 + i);
    assert_int_equal(counter_get(&stage->devices.counters.linked), 1);
    stage_free(stage);
}

static void a_ticket_holds_for_its_generation(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *first = opens(stage, "phone", 10);
    struct session_open *open  = asks(stage, OPEN_TICKET, "phone", 11, first->generation, first->since);
    settle(stage);
    assert_int_equal(open->outcome, OPEN_DONE);
    assert_int_equal(open->generation, 2);

    struct session_open *again = asks(stage, OPEN_TICKET, "phone", 12, first->generation, first->since);
    settle(stage);
    assert_int_equal(again->outcome, OPEN_STALE);
    struct session_open *other = asks(stage, OPEN_TICKET, "phone", 13, open->generation, open->since + 1);
    settle(stage);
    assert_int_equal(other->outcome, OPEN_STALE);
    struct session_open *nobody = asks(stage, OPEN_TICKET, "tablet", 14, 1, open->since);
    settle(stage);
    assert_int_equal(nobody->outcome, OPEN_STALE);
    /* None of them has kicked the link. */
    assert_int_equal(stage->fenced_count, 1);
    assert_int_equal(counter_get(&stage->devices.counters.linked), 1);
    stage_free(stage);
}

static void a_poll_goes_on_in_its_generation(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *first = opens(stage, "phone", 10);
    closes(stage, first);
    unsigned batches = stage->odd.batch_count;
    struct session_open *next = asks(stage, OPEN_CURSOR, "phone", 11, first->generation, first->since);
    settle(stage);
    assert_int_equal(next->outcome, OPEN_DONE);
    assert_int_equal(next->generation, first->generation);
    assert_int_equal(stage->odd.batch_count, batches);
    opens(stage, "phone", 12);
    struct session_open *late = asks(stage, OPEN_CURSOR, "phone", 13, first->generation, first->since);
    settle(stage);
    assert_int_equal(late->outcome, OPEN_STALE);
    stage_free(stage);
}

/* A stream is cut before its client has seen an id of the new generation: the old id still fits, but not once somebody
 * else has taken over. */
static void a_stream_may_come_again_with_its_old_place(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *first = opens(stage, "phone", 10);
    const uint64_t generation = first->generation;
    for (uint64_t key = 11; key < 14; key++) {
        struct session_open *open = asks(stage, OPEN_STREAM, "phone", key, generation, WALL);
        settle(stage);
        assert_int_equal(open->outcome, OPEN_DONE);
        if (key == 12)
            forgets_all(stage);
    }
    opens(stage, "phone", 14);
    struct session_open *late = asks(stage, OPEN_STREAM, "phone", 15, generation, WALL);
    settle(stage);
    assert_int_equal(late->outcome, OPEN_STALE);
    stage_free(stage);
}

static void places_never_go_back(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    acks(stage, open, "user:alice", 9);
    acks(stage, open, "user:alice", 4);
    acks(stage, open, "topic:foreign", 4);
    open = opens(stage, "phone", 11);
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@9");
    /* A new life of the log has lower seqs. */
    says(stage, open, "user:alice", 8, 2, ACK_PLACE);
    forgets_all(stage);
    open = opens(stage, "phone", 12);
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@2");
    assert_int_equal(open->places[1].epoch, 8);
    stage_free(stage);
}

/* A link waits for the write of its opening, nobody for places. */
static void only_places_are_lazy(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    assert_int_equal(stage->odd.lazy_count, 0);
    unsigned batches = stage->odd.batch_count;
    acks(stage, open, "user:alice", 9);
    assert_int_equal(stage->odd.batch_count, batches + 1);
    assert_int_equal(stage->odd.lazy_count, 1);
    opens(stage, "tablet", 11);
    assert_true(stage->odd.batch_count > batches + 1);
    assert_int_equal(stage->odd.lazy_count, 1);
    stage_free(stage);
}

static void kept_channels_are_followed_again(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    says(stage, open, "topic:news", 7, 5, ACK_KEEP);
    acks(stage, open, "topic:news", 6);
    forgets_all(stage);
    open = opens(stage, "phone", 11);
    assert_string_equal(places_of(open), "device:alice/phone@0 topic:news@6* user:alice@0");
    says(stage, open, "topic:news", 7, 0, ACK_DROP);
    assert_string_equal(places_of(opens(stage, "phone", 12)), "device:alice/phone@0 user:alice@0");
    forgets_all(stage);
    assert_string_equal(places_of(opens(stage, "phone", 13)), "device:alice/phone@0 user:alice@0");
    stage_free(stage);
}

static void groups_are_followed_from_the_joining(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    closes(stage, open);
    joins(stage, "lobby", 41, true, 1);
    joins(stage, "left", 41, false, 2);
    open = opens(stage, "phone", 11);
    assert_string_equal(places_of(open), "device:alice/phone@0 group:lobby@41 user:alice@0");
    acks(stage, open, "group:lobby", 50);
    joins(stage, "lobby", 77, true, 3);  /* has left and joined again */
    open = opens(stage, "phone", 12);
    assert_string_equal(places_of(open), "device:alice/phone@0 group:lobby@77 user:alice@0");
    publishes(stage, "group:lobby", 80);
    open = opens(stage, "tablet", 13);
    assert_string_equal(places_of(open), "device:alice/tablet@0 group:lobby@80 user:alice@0");
    stage_free(stage);
}

/* Thousands of members have the name of their group in memory once. */
static void members_share_the_name_of_their_group(void **state)
{
    struct stage *stage = stage_new();

    struct channel_name *lobby = name_of(stage, "group:lobby");
    struct pool          pool;

    (void)state;
    pool_init(&pool, sizeof(struct subscription));
    struct subscription *sub = pool_take(&pool);
    subscription_open(sub, &stage->shards[0].hub, lobby, (struct start){ .kind = START_NOW }, NULL);
    settle(stage);
    joins(stage, "lobby", 0, true, 1);
    struct session_open *phone = opens(stage, "phone", 10), *tablet = opens(stage, "tablet", 11);
    const struct standing_place *first  = standing_place_find(phone->standing, SPAN("group:lobby")),
                                *second = standing_place_find(tablet->standing, SPAN("group:lobby"));
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_equal(first->name, lobby);
    assert_ptr_equal(second->name, lobby);
    subscription_close(sub, &stage->shards[0].hub, 0);
    pool_give(&pool, sub);
    pool_fini(&pool);
    channel_name_unref(lobby);
    stage_free(stage);
}

static void gives_spans(struct stage *stage, const char *group, const struct group_spans *spans, uint64_t generation)
{
    struct buf key, value;

    buf_init(&key, 512);
    buf_init(&value, GROUP_SPANS_BYTES_MAX);
    row_key_put(&key, SPAN("alice"), span_str(group));
    group_spans_put(spans, &value);
    writes_row(stage, ROW_GROUP, buf_span(&key), buf_span(&value), generation);
    buf_fini(&key);
    buf_fini(&value);
}

/* A device that was away gets what was published while its user was a member, and nothing else of the group. */
static void a_device_that_was_away_gets_the_spans(void **state)
{
    struct stage      *stage = stage_new();
    struct group_spans spans = { 2, { { 7, 10, 20, 1 }, { 7, 30, 35, 3 } } };

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    closes(stage, open);
    gives_spans(stage, "lobby", &spans, 4);
    open = opens(stage, "phone", 11);
    assert_string_equal(places_of(open), "device:alice/phone@0 group:lobby@10 user:alice@0");
    assert_non_null(open->places[1].spans);
    assert_int_equal(open->places[1].spans->count, 2);
    acks(stage, open, "group:lobby", 20);
    forgets_all(stage);
    open = opens(stage, "phone", 12);
    assert_string_equal(places_of(open), "device:alice/phone@0 group:lobby@30 user:alice@0");
    acks(stage, open, "group:lobby", 35);
    forgets_all(stage);
    open = opens(stage, "phone", 13);
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@0");
    spans.spans[2] = (struct group_span){ 7, 40, GROUP_SPAN_OPEN, 0 };
    spans.count    = 3;
    gives_spans(stage, "lobby", &spans, 5);
    open = opens(stage, "phone", 14);
    assert_string_equal(places_of(open), "device:alice/phone@0 group:lobby@40 user:alice@0");
    assert_null(open->places[1].spans);
    publishes(stage, "group:lobby", 45);
    open = opens(stage, "tablet", 15);
    assert_string_equal(places_of(open), "device:alice/tablet@0 group:lobby@45 user:alice@0");
    stage_free(stage);
}

static void a_user_has_so_many_devices(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    opens(stage, "a", 10);
    opens(stage, "b", 11);
    opens(stage, "c", 12);
    assert_int_equal(opens(stage, "d", 13)->outcome, OPEN_FULL);
    forgets_all(stage);
    assert_int_equal(opens(stage, "d", 13)->outcome, OPEN_FULL);
    assert_int_equal(opens(stage, "a", 14)->outcome, OPEN_DONE);
    stage_free(stage);
}

static void a_session_runs_out(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, "user:alice", 3);
    struct session_open *open = opens(stage, "phone", 10);
    says(stage, open, "topic:news", 7, 5, ACK_KEEP);
    closes(stage, open);
    stage->writer.wall += TTL;
    publishes(stage, "user:alice", 3);
    open = opens(stage, "phone", 11);
    assert_false(open->is_resumed);
    assert_int_equal(open->generation, 2);
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@6");
    forgets_all(stage);
    assert_string_equal(places_of(opens(stage, "phone", 12)), "device:alice/phone@0 user:alice@6");
    stage_free(stage);
}

static size_t rows_of(struct stage *stage, enum row_kind kind)
{
    struct ledger_read read = { .way = LEDGER_SCAN, .kind = (uint8_t)kind, .limit = 1000, .bytes_max = 1 << 20,
                                .wall = stage->writer.wall, .done = swallow_read };

    stage->odd.real->ops->read(stage->odd.real, &read);
    size_t count = read.row_count;
    ledger_read_fini(&read);
    return count;
}

static void what_has_run_out_is_deleted(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *phone = opens(stage, "phone", 10);
    closes(stage, opens(stage, "tablet", 11));
    assert_int_equal(rows_of(stage, ROW_SESSION), 2);
    assert_int_equal(rows_of(stage, ROW_PLACE), 4);
    /* Who has a link is seen. */
    for (int i = 0; i < 4; i++) {
        stage->writer.wall += TTL / 3;
        ticks(stage, 200);
    }
    assert_int_equal(rows_of(stage, ROW_SESSION), 1);
    assert_int_equal(rows_of(stage, ROW_PLACE), 2);
    closes(stage, phone);
    assert_true(opens(stage, "phone", 12)->is_resumed);
    struct session_open *tablet = opens(stage, "tablet", 13);
    assert_false(tablet->is_resumed);
    assert_int_equal(tablet->generation, 1);
    stage_free(stage);
}

static void policies_end_other_devices(void **state)
{
    static const struct { enum device_policy policy; const char *name; size_t fenced; } rows[] = {
        { DEVICES_ALL, "all", 0 }, { DEVICES_ONE_PER_CLASS, "one_per_class", 2 }, { DEVICES_NEWEST, "newest", 2 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage        *stage = stage_with(rows[i].policy);
        struct session_open *a     = opens(stage, "a", 10);
        struct session_open *b     = opens(stage, "b", 11);
        opens(stage, "c", 12);
        if (stage->fenced_count != rows[i].fenced)
            fail_msg("%s: %zu are fenced", rows[i].name, stage->fenced_count);
        if (rows[i].fenced > 0) {
            struct session_open *late = asks(stage, OPEN_TICKET, "a", 13, a->generation, a->since);
            settle(stage);
            assert_int_equal(late->outcome, OPEN_STALE);
            acks(stage, b, "user:alice", 9);
            assert_int_equal(counter_get(&stage->devices.counters.stale_acks), 1);
            assert_false(opens(stage, "b", 14)->is_resumed);
        }
        stage_free(stage);
    }
}

static struct session_open *asks_at(struct stage *stage, enum open_way way, uint64_t key, msec asked_at, uint64_t generation)
{
    struct session_open *open = asks(stage, way, "phone", key, generation, WALL);

    open->asked_at = asked_at;
    settle(stage);
    return open;
}

/* Its client has come by another link since. The older one was only longer under way: its token was identified late, or its loop
 * was behind. */
static void who_asked_earlier_does_not_replace_who_asked_later(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    assert_int_equal(asks_at(stage, OPEN_NEWER, 10, 500, 0)->outcome, OPEN_DONE);
    struct session_open *newer = asks_at(stage, OPEN_STREAM, 11, 700, 1);
    assert_int_equal(newer->outcome, OPEN_DONE);
    size_t fenced = stage->fenced_count;
    assert_int_equal(asks_at(stage, OPEN_NEWER, 12, 699, 0)->outcome, OPEN_STALE);
    assert_int_equal(asks_at(stage, OPEN_STREAM, 13, 699, 1)->outcome, OPEN_STALE);
    assert_int_equal(stage->fenced_count, fenced);
    assert_int_equal(asks_at(stage, OPEN_NEWER, 14, 700, 0)->outcome, OPEN_DONE);
    assert_int_equal(asks_at(stage, OPEN_NEWER, 15, 0, 0)->outcome, OPEN_DONE);
    assert_int_equal(asks_at(stage, OPEN_NEWER, 16, 1, 0)->outcome, OPEN_DONE);  /* nobody knows when the one before was asked for */
    closes(stage, stage->answers[stage->answer_count - 1]);
    assert_int_equal(asks_at(stage, OPEN_NEWER, 17, 1, 0)->outcome, OPEN_DONE);  /* the one before has ended */
    stage_free(stage);
}

/* The user joins a group, or leaves it and joins it again, while a newer link is being opened. What the older link acknowledges of it
 * does not come again, though it has not acknowledged the message that says so. */
static void a_group_that_was_joined_meanwhile_goes_on(void **state)
{
    (void)state;
    for (int was_member = 0; was_member < 2; was_member++) {
        struct stage *stage = stage_new();
        if (was_member)
            joins(stage, "one", 1, true, 1);
        struct session_open *older = opens(stage, "phone", 10);
        if (was_member)
            joins(stage, "one", 1, false, 2);
        stage->odd.is_slow = true;
        struct session_open *newer = asks(stage, OPEN_NEWER, "phone", 11, 0, 0);
        settle(stage);
        assert_non_null(stage->odd.held);  /* the rows are read, and the generation is not raised yet */
        joins(stage, "one", 2, true, 3);
        says(stage, older, "group:one", 7, 2, ACK_BEGIN);
        says(stage, older, "group:one", 7, 5, ACK_PLACE);
        odd_lets_go(&stage->odd);
        settle(stage);
        assert_int_equal(newer->outcome, OPEN_DONE);
        assert_string_equal(places_of(newer), "device:alice/phone@0 group:one@5 user:alice@0");
        stage_free(stage);
    }
}

/* Of the rows of groups there is a second page. What the first one does not know the user's log will say to the link, old news among
 * it: so the link is told how far the session came in a group that was left since. */
static void the_place_in_a_group_that_was_left_is_told_if_its_news_come_again(void **state)
{
    enum { GROUPS = 520 };
    struct stage *stage = stage_new();
    size_t        found = 0;
    char          name[16];

    (void)state;
    for (unsigned i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "g%03u", i);
        joins(stage, name, 0, true, 1 + i);
    }
    joins(stage, "z", 2, true, GROUPS + 1);
    struct session_open *older = opens(stage, "phone", 10);
    says(stage, older, "group:z", 7, 9, ACK_PLACE);
    joins(stage, "z", 9, false, GROUPS + 2);
    struct session_open *newer = opens(stage, "phone", 11);
    assert_true(newer->groups_seq < GROUPS);
    for (size_t i = 0; i < newer->place_count; i++) {
        bool is_left = strcmp(newer->places[i].name->text, "group:z") == 0;
        assert_int_equal(newer->places[i].is_over, is_left);
        found += is_left && newer->places[i].seq == 9;
    }
    assert_int_equal(found, 1);
    stage_free(stage);
}

static struct session_open *acks_by_api(struct stage *stage, const char *channel, uint64_t seq, uint64_t generation)
{
    struct session_open *open = asks(stage, OPEN_ACK, "phone", 0, generation, 0);

    open->named          = calloc(1, sizeof open->named[0]);
    open->named_count    = 1;
    open->named[0].name  = name_of(stage, channel);
    open->named[0].seq   = seq;
    settle(stage);
    return open;
}

/* --- a ledger that fails --- */

static void a_refused_raise_is_no_session(void **state)
{
    static const struct { enum ledger_outcome refusal; enum open_outcome want; } rows[] = {
        { LEDGER_BUSY, OPEN_BUSY }, { LEDGER_AWAY, OPEN_AWAY }, { LEDGER_NO_SPACE, OPEN_NO_SPACE },
        { LEDGER_BROKEN, OPEN_AWAY },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        opens(stage, "phone", 10);
        stage->odd.refuse_with = rows[i].refusal;
        assert_int_equal(opens(stage, "phone", 11)->outcome, rows[i].want);
        assert_int_equal(stage->fenced_count, 0);  /* the older link stays */
        stage->odd.refuse_with = LEDGER_WAITING;
        struct session_open *open = opens(stage, "phone", 12);
        assert_int_equal(open->outcome, OPEN_DONE);
        assert_int_equal(open->generation, 2);
        assert_int_equal(stage->fenced_count, 1);
        stage_free(stage);
    }
}

/* The raise was written, and nobody was told: its number belongs to nobody. */
static void an_unknown_raise_is_never_given_twice(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    opens(stage, "phone", 10);
    stage->odd.refuse_with    = LEDGER_BROKEN;
    stage->odd.is_broken_done = true;
    assert_int_equal(opens(stage, "phone", 11)->outcome, OPEN_AWAY);
    stage->odd.refuse_with = LEDGER_WAITING;
    struct session_open *open = opens(stage, "phone", 12);
    assert_int_equal(open->outcome, OPEN_DONE);
    assert_int_equal(open->generation, 3);
    stage_free(stage);
}

/* Nor does it cost what is acknowledged on the older link until that is told to go. */
static void an_unknown_raise_costs_no_acks(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, "user:alice", 9);
    struct session_open *older = opens(stage, "phone", 10);
    stage->odd.refuse_with    = LEDGER_BROKEN;
    stage->odd.is_broken_done = true;
    assert_int_equal(opens(stage, "phone", 11)->outcome, OPEN_AWAY);
    stage->odd.refuse_with = LEDGER_WAITING;
    stage->odd.is_slow     = true;
    asks(stage, OPEN_NEWER, "phone", 13, 0, 0);
    settle(stage);
    odd_lets_go(&stage->odd);
    while (stage->sent[0].newest == NULL) {
        take_all(&stage->posted, NULL);
        devices_turn_end(&stage->devices);
    }
    acks(stage, older, "user:alice", 11);  /* the loop has it before it is told to let the link go */
    assert_string_equal(places_of(stage->answers[2]), "device:alice/phone@0 user:alice@11");
    assert_int_equal(stage->answers[2]->generation, 3);
    acks(stage, older, "user:alice", 12);
    assert_int_equal(counter_get(&stage->devices.counters.stale_acks), 1);
    stage_free(stage);
}

/* A call reads the row behind such a raise, and the link goes on. */
static void a_call_behind_an_unknown_raise_costs_no_acks(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, "user:alice", 9);
    struct session_open *open = opens(stage, "phone", 10);
    publishes(stage, "user:alice", 9);
    stage->odd.refuse_with    = LEDGER_BROKEN;
    stage->odd.is_broken_done = true;
    assert_int_equal(opens(stage, "phone", 11)->outcome, OPEN_AWAY);
    stage->odd.refuse_with = LEDGER_WAITING;
    assert_int_equal(acks_by_api(stage, "user:alice", 10, 0)->outcome, OPEN_DONE);
    acks(stage, open, "user:alice", 12);
    ticks(stage, 10);
    forgets_all(stage);
    assert_string_equal(places_of(opens(stage, "phone", 12)), "device:alice/phone@0 user:alice@12");
    stage_free(stage);
}

/* The words are in memory alone, and the rows are read. */
static void what_is_kept_and_not_stored_is_followed_by_the_next_link(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    says(stage, open, "topic:left", 7, 2, ACK_KEEP);
    assert_string_equal(places_of(opens(stage, "phone", 11)), "device:alice/phone@0 topic:left@2* user:alice@0");
    open                   = stage->answers[stage->answer_count - 1];
    stage->odd.refuse_with = LEDGER_BUSY;
    says(stage, open, "topic:kept", 7, 5, ACK_KEEP);
    says(stage, open, "topic:left", 0, 0, ACK_DROP);
    assert_int_equal(opens(stage, "phone", 12)->outcome, OPEN_BUSY);
    stage->odd.refuse_with = LEDGER_WAITING;
    open                   = opens(stage, "phone", 13);
    assert_string_equal(places_of(open), "device:alice/phone@0 topic:kept@5* user:alice@0");
    ticks(stage, 10);
    forgets_all(stage);
    assert_string_equal(places_of(opens(stage, "phone", 14)), "device:alice/phone@0 topic:kept@5* user:alice@0");
    stage_free(stage);
}

/* The raise shows itself after a call has read the row without it. What was read then is no condition that surely holds. */
static void what_is_read_behind_an_unknown_raise_is_not_sure(void **state)
{
    struct stage *stage = stage_new();
    struct buf    key, value;

    (void)state;
    opens(stage, "phone", 10);
    opens(stage, "phone", 11);
    assert_int_equal(stage->odd.sure_count, 1);
    stage->odd.refuse_with = LEDGER_BROKEN;
    assert_int_equal(opens(stage, "phone", 12)->outcome, OPEN_AWAY);
    stage->odd.refuse_with = LEDGER_WAITING;
    stage->odd.sure_count  = 0;
    struct session_open *call = asks(stage, OPEN_ACK, "phone", 0, 0, 0);
    settle(stage);
    assert_int_equal(call->outcome, OPEN_DONE);
    buf_init(&key, 512);
    buf_init(&value, 512);
    row_key_put(&key, SPAN("alice"), SPAN("phone"));
    session_row_put(&value, &(struct session_row){ .since = WALL, .seen = WALL });
    writes_row(stage, ROW_SESSION, buf_span(&key), buf_span(&value), 3);
    assert_int_equal(opens(stage, "phone", 13)->generation, 4);
    assert_int_equal(stage->odd.sure_count, 0);
    assert_int_equal(opens(stage, "phone", 14)->generation, 5);
    assert_int_equal(stage->odd.sure_count, 1);
    buf_fini(&key);
    buf_fini(&value);
    stage_free(stage);
}

static void another_node_has_raised(void **state)
{
    struct stage *stage = stage_new();
    struct buf    key, value;

    (void)state;
    stage->durable->has_one_writer = false;
    struct session_open *open = opens(stage, "phone", 10);
    buf_init(&key, 512);
    buf_init(&value, 512);
    row_key_put(&key, SPAN("alice"), SPAN("phone"));
    session_row_put(&value, &(struct session_row){ .since = WALL, .seen = WALL });
    writes_row(stage, ROW_SESSION, buf_span(&key), buf_span(&value), 5);
    acks(stage, open, "user:alice", 9);
    assert_int_equal(stage->fenced_count, 1);
    assert_int_equal(stage->fenced[0], 10);
    closes(stage, open);
    open = opens(stage, "phone", 11);
    assert_int_equal(open->generation, 6);
    assert_string_equal(places_of(open), "device:alice/phone@0 user:alice@0");
    buf_fini(&key);
    buf_fini(&value);
    stage_free(stage);
}

static void refused_acks_are_stored_later(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    stage->odd.refuse_with    = LEDGER_BUSY;
    acks(stage, open, "user:alice", 9);
    unsigned batches = stage->odd.batch_count;
    ticks(stage, 5);
    assert_int_equal(stage->odd.batch_count, batches);  /* it does not ask without pause */
    stage->odd.refuse_with = LEDGER_WAITING;
    ticks(stage, 10);
    forgets_all(stage);
    assert_string_equal(places_of(opens(stage, "phone", 11)), "device:alice/phone@0 user:alice@9");
    stage_free(stage);
}

/* … also at the end: the ledger may take them a moment later. But nobody waits for it for ever. */
static void refused_acks_are_waited_for_at_the_end(void **state)
{
    (void)state;
    for (int is_taken = 0; is_taken < 2; is_taken++) {
        struct stage        *stage = stage_new();
        struct session_open *open  = opens(stage, "phone", 10);

        stage->odd.refuse_with = LEDGER_BUSY;
        acks(stage, open, "user:alice", 9);
        assert_true(devices_is_idle(&stage->devices));
        devices_loops_ended(&stage->devices);
        assert_false(devices_is_idle(&stage->devices));
        if (is_taken)
            stage->odd.refuse_with = LEDGER_WAITING;
        else
            stage->writer.wall += 2000;
        ticks(stage, 11);
        assert_true(devices_is_idle(&stage->devices));
        stage->odd.refuse_with = LEDGER_WAITING;
        stage_free(stage);
    }
}

static void acks_of_a_slow_ledger_are_merged(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    stage->odd.is_slow = true;
    acks(stage, open, "user:alice", 3);
    unsigned batches = stage->odd.batch_count;
    for (uint64_t seq = 4; seq < 10; seq++)
        acks(stage, open, "user:alice", seq);
    assert_false(devices_is_idle(&stage->devices));
    odd_lets_go(&stage->odd);
    settle(stage);
    assert_int_equal(stage->odd.batch_count, batches + 1);
    assert_true(devices_is_idle(&stage->devices));
    forgets_all(stage);
    assert_string_equal(places_of(opens(stage, "phone", 11)), "device:alice/phone@0 user:alice@9");
    stage_free(stage);
}

/* A raise that is slow: the older link goes on until it is done, and acknowledges. */
static void a_slow_raise_loses_no_acks(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct session_open *older = opens(stage, "phone", 10);
    stage->odd.is_slow = true;
    opens(stage, "phone", 11);
    acks(stage, older, "user:alice", 6);
    assert_int_equal(stage->fenced_count, 0);
    odd_lets_go(&stage->odd);
    settle(stage);
    assert_int_equal(stage->fenced_count, 1);
    assert_int_equal(stage->answer_count, 2);
    assert_string_equal(places_of(stage->answers[1]), "device:alice/phone@0 user:alice@6");
    stage_free(stage);
}

static void a_ledger_that_can_not_be_read_refuses(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    stage->odd.read_rc = RC_IO;
    assert_int_equal(opens(stage, "phone", 10)->outcome, OPEN_AWAY);
    stage->odd.read_rc = RC_FULL;
    assert_int_equal(opens(stage, "phone", 10)->outcome, OPEN_BUSY);
    stage->odd.read_rc = RC_OK;
    assert_int_equal(opens(stage, "phone", 10)->outcome, OPEN_DONE);
    stage_free(stage);
}

static void too_many_openings_wait(void **state)
{
    struct stage *stage = stage_new();
    char          device[8];

    (void)state;
    stage->devices.limits.devices_max = 100;
    for (uint64_t key = 0; key < 12; key++) {
        snprintf(device, sizeof device, "d%u", (unsigned)key);
        asks(stage, OPEN_NEWER, device, key + 10, 0, 0);
    }
    settle(stage);
    unsigned done = 0, busy = 0;
    for (size_t i = 0; i < stage->answer_count; i++) {
        done += stage->answers[i]->outcome == OPEN_DONE;
        busy += stage->answers[i]->outcome == OPEN_BUSY;
    }
    assert_int_equal(done, 10);  /* two at once, and eight that wait */
    assert_int_equal(busy, 2);
    stage_free(stage);
}

/* --- without a link --- */

static void an_ack_without_a_link(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    assert_int_equal(acks_by_api(stage, "user:alice", 1, 0)->outcome, OPEN_NONE);
    struct session_open *open = opens(stage, "phone", 10);
    publishes(stage, "user:alice", 5);
    closes(stage, open);
    forgets_all(stage);
    open = acks_by_api(stage, "user:alice", 3, 0);
    assert_int_equal(open->outcome, OPEN_DONE);
    assert_int_equal(open->named[0].seq, 3);
    open = acks_by_api(stage, "user:alice", 99, 1);  /* beyond the head */
    assert_int_equal(open->named[0].seq, 5);
    open = acks_by_api(stage, "user:alice", 2, 1);
    assert_int_equal(open->named[0].seq, 5);
    assert_int_equal(acks_by_api(stage, "topic:foreign", 2, 1)->outcome, OPEN_ASTRAY);
    assert_int_equal(acks_by_api(stage, "user:alice", 2, 9)->outcome, OPEN_STALE);
    assert_string_equal(places_of(opens(stage, "phone", 11)), "device:alice/phone@0 user:alice@5");
    assert_int_equal(acks_by_api(stage, "user:alice", 2, 1)->outcome, OPEN_STALE);
    stage_free(stage);
}

/* Clients name places in any order, and perhaps one of them twice. */
static void an_ack_of_many_places(void **state)
{
    static const char *const names[] = { "user:alice", "topic:kept", "device:alice/phone", "user:alice" };
    struct stage            *stage   = stage_new();

    (void)state;
    struct session_open *open = opens(stage, "phone", 10);
    says(stage, open, "topic:kept", 7, 0, ACK_KEEP);
    for (size_t i = 0; i < 3; i++)
        publishes(stage, names[i], 5);
    struct session_open *ack = asks(stage, OPEN_ACK, "phone", 0, 0, 0);
    ack->named       = calloc(4, sizeof ack->named[0]);
    ack->named_count = 4;
    for (size_t i = 0; i < 4; i++)
        ack->named[i] = (struct session_place){ .name = name_of(stage, names[i]), .seq = i + 1 };
    settle(stage);
    assert_int_equal(ack->outcome, OPEN_DONE);
    assert_string_equal(places_of(opens(stage, "phone", 11)), "device:alice/phone@3 topic:kept@2* user:alice@4");
    stage_free(stage);
}

static struct device_listing *the_listing;

static void on_listed(struct device_listing *listing)
{
    the_listing = listing;
}

static struct device_listing *lists(struct stage *stage)
{
    struct device_listing *listing = device_listing_new(&stage->devices, SPAN("alice"));

    listing->answered = on_listed;
    the_listing       = NULL;
    bundle_add(&stage->posted, &listing->command.mail);
    settle(stage);
    assert_ptr_equal(the_listing, listing);
    return listing;
}

static void devices_are_listed(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    struct device_listing *listing = lists(stage);
    assert_int_equal(listing->count, 0);
    command_free(&listing->command);
    closes(stage, opens(stage, "phone", 10));
    opens(stage, "tablet", 11);
    stage->writer.wall += 100;
    listing = lists(stage);
    assert_int_equal(listing->count, 2);
    assert_string_equal(listing->at[0].device, "phone");
    assert_false(listing->at[0].is_online);
    assert_int_equal(listing->at[0].seen, WALL);
    assert_true(listing->at[1].is_online);
    assert_int_equal(listing->at[1].key, 11);
    assert_int_equal(listing->at[1].seen, WALL + 100);
    command_free(&listing->command);
    stage_free(stage);
}

static void idle_sessions_are_bounded(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    stage->devices.limits.idle_max = 1;
    closes(stage, opens(stage, "a", 10));
    closes(stage, opens(stage, "b", 11));
    closes(stage, opens(stage, "c", 12));
    assert_int_equal(counter_get(&stage->devices.counters.standing), 1);
    assert_true(opens(stage, "a", 13)->is_resumed);
    stage_free(stage);
}

/* --- another process ---------------------------------------------------------------------------------------------- */

enum { TOLD_MOST = 16 };

struct told_sessions {
    struct stage         *stage;
    struct moving_session session;
    char                  names[64];
    struct moving_place   places[TOLD_MOST];
    size_t                count;
};

static void tell_session(void *ctx, const struct moving_session *session)
{
    struct told_sessions *told = ctx;

    snprintf(told->names, sizeof told->names, "%.*s%.*s", SPAN_ARG(session->user), SPAN_ARG(session->device));
    told->session        = *session;
    told->session.user   = span_of(told->names, session->user.len);
    told->session.device = span_of(told->names + session->user.len, session->device.len);
    told->session.device_class = SPAN("mobile");
}

static void tell_place(void *ctx, const struct moving_place *place)
{
    struct told_sessions *told = ctx;

    assert_true(told->count < TOLD_MOST);
    told->places[told->count]        = *place;
    told->places[told->count++].name = channel_name_ref(place->name);
}

static const struct session_visitor tell_all = { tell_session, tell_place };

static void told_free(struct told_sessions *told)
{
    while (told->count > 0)
        channel_name_unref(told->places[--told->count].name);
}

/* The new process has the session, its places in their order, and what was not stored. */
static struct standing *moves(struct stage *stage, struct told_sessions *told)
{
    forgets_all(stage);
    struct standing *standing = devices_take_session(&stage->devices, &told->session);
    assert_non_null(standing);
    assert_null(devices_take_session(&stage->devices, &told->session));  /* one of this name is enough */
    for (size_t i = 0; i < told->count; i++) {
        assert_true(standing_take_moving_place(&stage->devices, standing, &told->places[i]));
        assert_false(standing_take_moving_place(&stage->devices, standing, &told->places[i]));
    }
    return standing;
}

static void a_session_moves_with_what_was_not_stored(void **state)
{
    struct stage        *stage = stage_new();
    struct told_sessions told  = { .stage = stage };
    struct standing     *standing;

    (void)state;
    publishes(stage, "user:alice", 5);
    struct session_open *open = opens(stage, "phone", 4);
    publishes(stage, "user:alice", 3);
    stage->odd.refuse_with = LEDGER_BUSY;
    acks(stage, open, "user:alice", 7);
    const uint64_t generation = open->generation;
    const msec     since      = open->since;
    devices_visit_linked(&stage->devices, &tell_all, &told);
    assert_int_equal(told.session.generation, generation);
    assert_int_equal(told.count, 2);
    closes(stage, open);
    stage->odd.refuse_with = LEDGER_WAITING;

    const unsigned reads = stage->odd.read_count;
    moves(stage, &told);
    struct moving_session other = told.session;
    other.generation++;
    assert_int_equal(devices_take_link(&stage->devices, &other, &stage->homes[0], 4, "websocket", &standing), OPEN_STALE);
    other.device = SPAN("pad");
    assert_int_equal(devices_take_link(&stage->devices, &other, &stage->homes[0], 4, "websocket", &standing), OPEN_NONE);
    assert_int_equal(devices_take_link(&stage->devices, &told.session, &stage->homes[0], 4, "websocket", &standing), OPEN_DONE);
    assert_int_equal(devices_take_link(&stage->devices, &told.session, &stage->homes[0], 6, "websocket", &standing), OPEN_NONE);
    devices_settle_taken(&stage->devices);
    ticks(stage, 30);
    assert_int_equal(stage->odd.read_count, reads);
    assert_int_equal(standing_place_find(standing, SPAN("user:alice"))->seq, 7);

    /* A newer link fences it, and goes on behind what was acknowledged last. */
    struct session_open *next = asks(stage, OPEN_TICKET, "phone", 9, generation, since);
    settle(stage);
    assert_int_equal(next->outcome, OPEN_DONE);
    assert_int_equal(next->generation, generation + 1);
    assert_int_equal(stage->fenced[stage->fenced_count - 1], 4);
    told_free(&told);
    stage_free(stage);
}

/* More lives of logs than have a number, of durable logs and of those in memory, in a session whose places come and go. */
static void each_place_has_its_own_epoch(void **state)
{
    (void)state;
    enum { PLACES = 60, STEPS = 20000 };
    struct stage    *stage    = stage_new();
    struct standing *standing = standing_get(&stage->devices, SPAN("alice"), SPAN("phone"));
    uint64_t         epochs[PLACES] = { 0 };
    bool             is_there[PLACES] = { false };
    struct rng       rng = { 3 };

    standing_set_class(standing, SPAN("small"));
    for (int step = 0; step < STEPS; step++) {
        size_t at = rng_below(&rng, PLACES);
        char   text[32];
        snprintf(text, sizeof text, "%s:%zu", at % 3 == 0 ? "live" : "topic", at);
        struct standing_place *place = standing_place_find(standing, span_str(text));
        assert_int_equal(place != NULL, is_there[at]);
        if (place == NULL) {
            struct channel_name *name = name_of(stage, text);
            place = standing_place_add(standing, name);
            channel_name_unref(name);
            is_there[at] = true;
            epochs[at]   = 0;
        }
        assert_int_equal(standing_place_epoch(&stage->devices, standing, place), epochs[at]);
        if (rng_below(&rng, 4) == 0) {
            place->is_gone = true;
            standing_take_gone(standing);
            is_there[at] = false;
            continue;
        }
        epochs[at] = rng_below(&rng, 2 * DEVICE_EPOCHS_MAX);
        standing_place_set_epoch(&stage->devices, standing, place, epochs[at]);
        if (step % 1000 == 0) {
            standing_places_free(standing);
            memset(is_there, 0, sizeof is_there);
        }
        assert_true(span_eq(standing_class(standing), SPAN("small")));
    }
    standing_set_class(standing, SPAN(""));
    standing_places_free(standing);
    assert_null(standing->rare);
    standing_settle(&stage->devices, standing);
    stage_free(stage);
}

static void a_session_of_which_something_is_under_way_does_not_move(void **state)
{
    struct stage        *stage = stage_new();
    struct told_sessions told  = { .stage = stage };

    (void)state;
    struct session_open *open = opens(stage, "phone", 4);
    stage->odd.is_slow = true;
    acks(stage, open, "user:alice", 0);
    asks(stage, OPEN_NEWER, "phone", 5, 0, 0);
    settle(stage);
    assert_non_null(stage->odd.held);
    devices_visit_linked(&stage->devices, &tell_all, &told);
    assert_int_equal(told.session.generation, 0);
    odd_lets_go(&stage->odd);
    settle(stage);
    closes(stage, stage->answers[1]);
    devices_visit_linked(&stage->devices, &tell_all, &told);  /* it has no link */
    assert_int_equal(told.session.generation, 0);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_members_follows_the_rows_of_users),
        cmocka_unit_test(a_session_moves_with_what_was_not_stored),
        cmocka_unit_test(a_session_of_which_something_is_under_way_does_not_move),
        cmocka_unit_test(a_new_session_begins_at_the_heads),
        cmocka_unit_test(its_places_survive_a_restart),
        cmocka_unit_test(memory_answers_without_the_rows),
        cmocka_unit_test(groups_are_read_again_once_one_may_have_changed),
        cmocka_unit_test(rows_that_were_read_beside_a_change_are_not_believed),
        cmocka_unit_test(a_newer_link_fences_the_older),
        cmocka_unit_test(the_answer_waits_for_the_fence),
        cmocka_unit_test(rapid_reconnects_leave_one_link),
        cmocka_unit_test(a_ticket_holds_for_its_generation),
        cmocka_unit_test(a_poll_goes_on_in_its_generation),
        cmocka_unit_test(a_stream_may_come_again_with_its_old_place),
        cmocka_unit_test(places_never_go_back),
        cmocka_unit_test(only_places_are_lazy),
        cmocka_unit_test(kept_channels_are_followed_again),
        cmocka_unit_test(groups_are_followed_from_the_joining),
        cmocka_unit_test(members_share_the_name_of_their_group),
        cmocka_unit_test(a_device_that_was_away_gets_the_spans),
        cmocka_unit_test(a_user_has_so_many_devices),
        cmocka_unit_test(a_session_runs_out),
        cmocka_unit_test(what_has_run_out_is_deleted),
        cmocka_unit_test(policies_end_other_devices),
        cmocka_unit_test(a_refused_raise_is_no_session),
        cmocka_unit_test(who_asked_earlier_does_not_replace_who_asked_later),
        cmocka_unit_test(a_group_that_was_joined_meanwhile_goes_on),
        cmocka_unit_test(the_place_in_a_group_that_was_left_is_told_if_its_news_come_again),
        cmocka_unit_test(an_unknown_raise_is_never_given_twice),
        cmocka_unit_test(an_unknown_raise_costs_no_acks),
        cmocka_unit_test(a_call_behind_an_unknown_raise_costs_no_acks),
        cmocka_unit_test(what_is_read_behind_an_unknown_raise_is_not_sure),
        cmocka_unit_test(what_is_kept_and_not_stored_is_followed_by_the_next_link),
        cmocka_unit_test(another_node_has_raised),
        cmocka_unit_test(refused_acks_are_stored_later),
        cmocka_unit_test(refused_acks_are_waited_for_at_the_end),
        cmocka_unit_test(acks_of_a_slow_ledger_are_merged),
        cmocka_unit_test(a_slow_raise_loses_no_acks),
        cmocka_unit_test(a_ledger_that_can_not_be_read_refuses),
        cmocka_unit_test(too_many_openings_wait),
        cmocka_unit_test(an_ack_without_a_link),
        cmocka_unit_test(an_ack_of_many_places),
        cmocka_unit_test(devices_are_listed),
        cmocka_unit_test(idle_sessions_are_bounded),
        cmocka_unit_test(each_place_has_its_own_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
