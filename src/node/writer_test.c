/* The writer between loops and stores: groups, answers, heads, hints. The durable store is a hand that the test
 * moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "node/head_ear.h"
#include "node/writer_priv.h"
#include "store/mem.h"

#include <cmocka.h>

enum { LOOPS = 2, COMMANDS_MAX = 3000, WALL = 1000, PAYLOAD = 100, EPOCH = 9, HAND_BATCHES_MAX = 4,
       QUESTIONS_AWAY_MAX = 8 };

/* Holds what it is asked until the test answers. */
struct hand {
    struct store         store;
    struct append_batch *batches[HAND_BATCHES_MAX];
    size_t               batch_count;
    struct list          reads, questions;
    struct store_listing *listing;     /* under way, or NULL */
    uint64_t             head;
    unsigned             tick_count;
    struct store_ear     ear;
};

struct commands {
    struct command *at[COMMANDS_MAX];
    size_t         count;
};

struct stage {
    struct namespaces    spaces;
    struct channel_name *name, *live;
    struct hand          hand;
    struct hand          second;        /* the memory store of some stages */
    struct store        *memory;        /* NULL: it is the second hand */
    struct writer        writer;
    struct purged_command *purged;     /* on its way through the loops */
    struct commands       posted;
    struct commands       sent[LOOPS];
    char                  told[256];    /* what the cluster was told, as words */
    bool                  is_routed_at_once;
};

static const struct hash_key key = { 1, 2 };

/* --- the hand --- */

static struct hand *hand_of(struct store *store)
{
    return container_of(store, struct hand, store);
}

static void hand_append(struct store *store, struct append_batch *batch)
{
    struct hand *hand = hand_of(store);

    assert_true(hand->batch_count < store->batches_max);
    hand->batches[hand->batch_count++] = batch;
}

static void hand_heads(struct store *store, struct store_heads *question)
{
    list_push(&hand_of(store)->questions, &question->link);
}

static void hand_read(struct store *store, struct store_read *read)
{
    list_push(&hand_of(store)->reads, &read->link);
}

static void hand_list(struct store *store, struct store_listing *listing)
{
    assert_null(hand_of(store)->listing);
    hand_of(store)->listing = listing;
}

static void hand_tick(struct store *store, msec wall)
{
    assert_int_equal(wall, WALL);
    hand_of(store)->tick_count++;
}

static void hand_hear(struct store *store, const struct store_ear *ear)
{
    hand_of(store)->ear = *ear;
}

static const struct store_ops hand_ops = {
    .name = "hand", .append = hand_append, .read = hand_read, .heads = hand_heads, .list = hand_list,
    .tick = hand_tick, .hear = hand_hear,
};

/* The oldest batch under way, or NULL. */
static struct append_batch *hand_batch(const struct hand *hand)
{
    return hand->batch_count == 0 ? NULL : hand->batches[0];
}

/* Ends one of the batches under way, each append so that has no outcome yet. */
static void hand_ends_the(struct hand *hand, size_t at, enum append_outcome outcome)
{
    assert_true(at < hand->batch_count);
    struct append_batch *batch = hand->batches[at];

    memmove(&hand->batches[at], &hand->batches[at + 1], (--hand->batch_count - at) * sizeof hand->batches[0]);
    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
        struct append *append = container_of(link, struct append, link);
        if (append->outcome != APPEND_WAITING)
            continue;
        append->outcome = outcome;
        append->first   = (struct append_answer){ EPOCH, 77, 78, 79 };
        if (outcome != APPEND_DONE)
            continue;
        append->message->epoch = EPOCH;
        append->message->seq   = ++hand->head;
        append->message->id    = 100 + hand->head;
    }
    batch->done(batch);
}

static void hand_ends(struct hand *hand, enum append_outcome outcome)
{
    hand_ends_the(hand, 0, outcome);
}

/* Answers the oldest question after heads, each head so. */
static void hand_tells(struct hand *hand, enum rc rc, uint64_t head)
{
    struct list *link = list_pop(&hand->questions);

    assert_non_null(link);
    struct store_heads *question = container_of(link, struct store_heads, link);
    for (size_t i = 0; i < question->count; i++)
        question->heads[i] = (struct store_head){ rc, EPOCH, 1, head };
    question->done(question);
}

/* Answers the oldest read. */
static struct store_read *hand_answers(struct hand *hand, enum rc rc, uint64_t head)
{
    struct list *link = list_pop(&hand->reads);

    assert_non_null(link);
    struct store_read *read = container_of(link, struct store_read, link);
    read->rc                = rc;
    read->epoch             = rc == RC_OK ? EPOCH : 0;
    read->first             = rc == RC_OK ? 1 : 0;
    read->head              = rc == RC_OK ? head : 0;
    read->done(read);
    return read;
}

/* --- the server --- */

static void commands_push(struct commands *commands, struct command *command)
{
    assert_true(commands->count < COMMANDS_MAX);
    commands->at[commands->count++] = command;
}

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    assert_true(loop < LOOPS);
    commands_push(&((struct stage *)ctx)->sent[loop], command);
}

static void on_post(void *ctx, struct command *command)
{
    commands_push(&((struct stage *)ctx)->posted, command);
}

static const struct writer_port port = { .send = on_send, .post = on_post };

static const struct writer_limits plenty = {
    .waiting_count_max = 1000, .waiting_bytes_max = 1 << 20, .batch_count_max = 1000, .batch_bytes_max = 1 << 20,
    .tail_bytes_max = 1 << 20, .tail_messages_max = 100, .deadline_ticks = 5, .delivery_count_max = 1000,
    .delivery_bytes_max = 1 << 20,
};

static void hand_init(struct hand *hand, bool has_one_writer, uint32_t batches_max)
{
    hand->store = (struct store){ .ops = &hand_ops, .batches_max = batches_max, .has_one_writer = has_one_writer };
    list_init(&hand->reads);
    list_init(&hand->questions);
}

/* Over a store that has other writers, too, or so many batches at a time. */
static struct stage *stage_over(const struct writer_limits *limits, bool has_one_writer, uint32_t batches_max)
{
    struct stage *stage = calloc(1, sizeof *stage);

    must(stage != NULL);
    namespaces_init(&stage->spaces);
    assert_int_equal(channel_name_new(&stage->spaces, &key, SPAN("topic:a"), &stage->name), CHANNEL_NAME_OK);
    assert_int_equal(channel_name_new(&stage->spaces, &key, SPAN("live:a"), &stage->live), CHANNEL_NAME_OK);
    hand_init(&stage->hand, has_one_writer, batches_max);
    hand_init(&stage->second, has_one_writer, batches_max);
    stage->memory = mem_store_new(&(struct mem_store_options){ .epoch_first = 1, .id_first = 1, .hash_key = key });
    writer_init(&stage->writer, &port, stage, &stage->hand.store, stage->memory, limits, LOOPS);
    return stage;
}

/* Both stores are hands: the memory store does not complete inline either. */
static struct stage *stage_of_hands(const struct writer_limits *limits)
{
    struct stage *stage = stage_over(limits, true, 1);

    writer_fini(&stage->writer);
    stage->memory->ops->close(stage->memory);
    stage->memory = NULL;
    writer_init(&stage->writer, &port, stage, &stage->hand.store, &stage->second.store, limits, LOOPS);
    stage->hand.head = stage->second.head = 5;
    return stage;
}

static struct stage *stage_new(const struct writer_limits *limits)
{
    return stage_over(limits, true, 1);
}

static void commands_free(struct commands *commands)
{
    while (commands->count > 0)
        command_free(commands->at[--commands->count]);
}

/* What the stores have posted comes in. */
static void mail_comes(struct stage *stage)
{
    for (size_t i = 0; i < stage->posted.count; i++)
        writer_take(&stage->writer, stage->posted.at[i], WALL);
    stage->posted.count = 0;
}

static void stage_free(struct stage *stage)
{
    /* A store answers everything before it is closed. */
    while (!list_is_empty(&stage->hand.questions) || !list_is_empty(&stage->second.questions) || stage->posted.count > 0) {
        if (!list_is_empty(&stage->hand.questions))
            hand_tells(&stage->hand, RC_IO, 0);
        if (!list_is_empty(&stage->second.questions))
            hand_tells(&stage->second, RC_IO, 0);
        mail_comes(stage);
        writer_put_questions(&stage->writer);
    }
    for (int i = 0; i < LOOPS; i++)
        commands_free(&stage->sent[i]);
    writer_fini(&stage->writer);
    if (stage->memory != NULL)
        stage->memory->ops->close(stage->memory);
    channel_name_unref(stage->name);
    channel_name_unref(stage->live);
    free(stage);
}

/* The turn of the writer: its mail, then its end. */
static void turn(struct stage *stage)
{
    mail_comes(stage);
    writer_turn_end(&stage->writer, WALL);
}

/* So many tenths of a second pass. */
static void ticks(struct stage *stage, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        writer_tick(&stage->writer, WALL);
        turn(stage);
    }
}

static size_t questions_count(const struct stage *stage)
{
    size_t count = 0;

    for (struct list *link = stage->hand.questions.next; link != &stage->hand.questions; link = link->next)
        count++;
    return count;
}

/* --- the cluster --- */

static void tell(struct stage *stage, const char *what, uint64_t number)
{
    size_t len = strlen(stage->told);

    if (number == 0)
        snprintf(stage->told + len, sizeof stage->told - len, "%s%s", len == 0 ? "" : " ", what);
    else
        snprintf(stage->told + len, sizeof stage->told - len, "%s%s %d", len == 0 ? "" : " ", what, (int)number);
}

static void on_follow(void *ctx, struct channel_name *name)
{
    struct stage *stage = ctx;

    tell(stage, "follow", 0);
    if (stage->is_routed_at_once)
        writer_routed(&stage->writer, name);
}

static void on_unfollow(void *ctx, struct channel_name *name)
{
    (void)name;
    tell(ctx, "unfollow", 0);
}

static void on_committed(void *ctx, struct message *message)
{
    tell(ctx, "committed", message->seq);
}

static void on_purged(void *ctx, struct channel_name *name, uint64_t epoch, uint64_t head)
{
    (void)name;
    assert_int_equal(epoch, EPOCH);
    tell(ctx, "purged", head);
}

static void on_doubted(void *ctx)
{
    tell(ctx, "doubted", 0);
}

static void on_turn_end(void *ctx)
{
    (void)ctx;
}

static const struct cluster_port cluster_here = {
    .follow = on_follow, .unfollow = on_unfollow, .committed = on_committed, .purged = on_purged, .doubted = on_doubted,
    .turn_end = on_turn_end, .tick = on_turn_end,
};

/* A node of a cluster. */
static struct stage *stage_in_cluster(void)
{
    struct stage *stage = stage_over(&plenty, false, 1);

    stage->writer.cluster     = &cluster_here;
    stage->writer.cluster_ctx = stage;
    return stage;
}

#define told_is(stage, want)                       \
    do {                                           \
        assert_string_equal((stage)->told, want);  \
        (stage)->told[0] = '\0';                   \
    } while (0)

static void publishes(struct stage *stage, unsigned loop, struct channel_name *channel)
{
    char                   payload[PAYLOAD] = { 0 };
    struct message        *message = message_new(channel, MESSAGE_PLAIN, payload, PAYLOAD, SPAN(""), SPAN(""));
    struct publish_command *command  = publish_command_new(&message, SPAN(""), SPAN(""));

    command->command.loop = loop;
    writer_take(&stage->writer, &command->command, WALL);
}

static struct publish_command *purges(struct stage *stage, unsigned loop, struct channel_name *channel)
{
    struct publish_command *command = purge_command_new(channel);

    command->command.loop = loop;
    writer_take(&stage->writer, &command->command, WALL);
    return command;
}

static void follows(struct stage *stage, unsigned loop, struct channel_name *channel, const struct command_kind *kind)
{
    struct follow_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command  = (struct command){ .kind = kind, .loop = loop };
    command->channel = channel_name_ref(channel);
    writer_take(&stage->writer, &command->command, WALL);
    writer_put_questions(&stage->writer);  /* as at the turn's end */
}

static void reads_from(struct stage *stage, uint64_t after, enum read_source source)
{
    struct read_command *command = read_command_new(stage->name);

    command->source         = source;
    command->read.bound     = after;
    command->read.limit     = 10;
    command->read.bytes_max = 1 << 20;
    writer_take(&stage->writer, &command->command, WALL);
}

static void reads(struct stage *stage, uint64_t after)
{
    reads_from(stage, after, READ_TAIL_OR_STORE);
}

/* What came to this loop since, as words; the commands are freed: "published 3", "busy", "head 5", "deliver 1 2",
 * "page 2", "not in memory", "moved 7", "heartbeat 2". */
static const char *got(struct stage *stage, unsigned loop, char words[256])
{
    static const char *const outcomes[] = {
        [PUBLISH_DONE] = "published", [PUBLISH_REPLAYED] = "replayed", [PUBLISH_KEY_CONFLICT] = "conflict",
        [PUBLISH_NO_TARGET] = "no-target", [PUBLISH_NO_SPACE] = "no-space", [PUBLISH_BROKEN] = "broken",
        [PUBLISH_BUSY] = "busy", [PUBLISH_AWAY] = "away", [PUBLISH_PURGED] = "purged",
    };
    struct commands *commands = &stage->sent[loop];
    size_t          len     = 0;

    words[0] = '\0';
    for (size_t i = 0; i < commands->count; i++) {
        struct command *command = commands->at[i];
        const char    *space  = i == 0 ? "" : " ";
        if (command->kind == &publish_kind) {
            struct publish_command *publish = container_of(command, struct publish_command, command);
            len += (size_t)snprintf(words + len, 256 - len, "%s%s", space, outcomes[publish->outcome]);
            if (publish->outcome <= PUBLISH_REPLAYED)
                len += (size_t)snprintf(words + len, 256 - len, " %d", (int)publish->answer.seq);
        } else if (command->kind == &follow_kind) {
            struct follow_command *follow = container_of(command, struct follow_command, command);
            len += (size_t)snprintf(words + len, 256 - len, "%shead %d", space, (int)follow->head);
        } else if (command->kind == &deliver_kind) {
            struct deliver_command *deliver = container_of(command, struct deliver_command, hint.command);
            len += (size_t)snprintf(words + len, 256 - len, "%sdeliver", space);
            for (uint32_t j = 0; j < deliver->hint.count && deliver->hint.count < 10; j++)
                len += (size_t)snprintf(words + len, 256 - len, " %d", (int)deliver->messages[j]->seq);
        } else if (command->kind == &moved_kind) {
            struct moved_command *moved = container_of(command, struct moved_command, hint.command);
            len += (size_t)snprintf(words + len, 256 - len, "%smoved", space);
            for (uint32_t j = 0; j < moved->hint.count && moved->hint.count < 10; j++)
                len += (size_t)snprintf(words + len, 256 - len, " %d", (int)moved->heads[j].head);
        } else if (command->kind == &purged_kind) {
            struct purged_command *purged = container_of(command, struct purged_command, command);
            len += (size_t)snprintf(words + len, 256 - len, "%spurge %d", space, (int)purged->head);
            commands->at[i] = NULL;  /* it goes on */
            stage->purged   = purged;
        } else if (command->kind == &heartbeat_kind) {
            struct heartbeat_command *heartbeat = container_of(command, struct heartbeat_command, command);
            len += (size_t)snprintf(words + len, 256 - len, "%sheartbeat %d", space, (int)heartbeat->number);
        } else {
            struct read_command *read = container_of(command, struct read_command, command);
            assert_ptr_equal(command->kind, &read_kind);
            if (read->read.rc == RC_BUSY)
                len += (size_t)snprintf(words + len, 256 - len, "%snot in memory", space);
            else
                len += (size_t)snprintf(words + len, 256 - len, "%spage %zu", space, read->read.entry_count);
        }
    }
    commands_free(commands);
    return words;
}

#define got_is(stage, loop, want) do { char words[256]; assert_string_equal(got(stage, loop, words), want); } while (0)

/* Loop 0 follows the channel, whose head is 5. */
static struct stage *stage_followed(void)
{
    struct stage *stage = stage_new(&plenty);

    stage->hand.head = 5;
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    return stage;
}

/* --- publishing --- */

static void what_waits_while_the_disk_is_busy_goes_as_one_group(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    publishes(stage, 0, stage->name);
    assert_null(hand_batch(&stage->hand));
    turn(stage);
    assert_int_equal(hand_batch(&stage->hand)->count, 1);
    publishes(stage, 0, stage->name);
    publishes(stage, 1, stage->name);
    turn(stage);
    assert_int_equal(hand_batch(&stage->hand)->count, 1);
    got_is(stage, 0, "");  /* nobody is answered before the sync */
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "published 1");
    assert_int_equal(hand_batch(&stage->hand)->count, 2);
    assert_int_equal(hand_batch(&stage->hand)->wall, WALL);
    assert_false(writer_is_idle(&stage->writer));
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "published 2");
    got_is(stage, 1, "published 3");
    assert_true(writer_is_idle(&stage->writer));
    stage_free(stage);
}

static void groups_are_bounded(void **state)
{
    (void)state;
    struct writer_limits limits[] = { plenty, plenty };

    limits[0].batch_count_max = 2;
    limits[1].batch_bytes_max = sizeof(struct message) + PAYLOAD + 1;
    for (int i = 0; i < 2; i++) {
        struct stage *stage = stage_new(&limits[i]);
        for (int j = 0; j < 3; j++)
            publishes(stage, 0, stage->name);
        turn(stage);
        assert_int_equal(hand_batch(&stage->hand)->count, 2);
        assert_int_equal(stage->writer.durable.waiting_count, 1);
        assert_int_equal(stage->writer.durable.waiting_bytes, sizeof(struct message) + PAYLOAD);
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
        got_is(stage, 0, "published 1 published 2 published 3");
        assert_int_equal(stage->writer.durable.waiting_bytes, 0);
        stage_free(stage);
    }
}

/* Threat 36: what doesn't fit is refused at once, and the rest is not touched. */
static void too_much_is_refused(void **state)
{
    (void)state;
    struct writer_limits limits[] = { plenty, plenty };

    limits[0].waiting_count_max = 2;
    limits[1].waiting_bytes_max = 2 * (sizeof(struct message) + PAYLOAD);
    for (int i = 0; i < 2; i++) {
        struct stage *stage = stage_new(&limits[i]);
        for (int j = 0; j < 4; j++)
            publishes(stage, 0, stage->name);
        got_is(stage, 0, "busy busy");
        assert_int_equal(counter_get(&stage->writer.refused), 2);
        turn(stage);
        publishes(stage, 0, stage->name);  /* the group has left: there is room */
        got_is(stage, 0, "");
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
        got_is(stage, 0, "published 1 published 2 published 3");
        stage_free(stage);
    }
}

/* A limit may come down while more than that waits: nothing of it is lost, and nothing more is let in. */
static void a_limit_may_fall_below_what_waits(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    publishes(stage, 0, stage->name);
    publishes(stage, 0, stage->name);
    stage->writer.limits.waiting_bytes_max = sizeof(struct message);
    publishes(stage, 0, stage->name);
    got_is(stage, 0, "busy");
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "published 1 published 2");
    stage_free(stage);
}

static void each_outcome_is_answered(void **state)
{
    (void)state;
    static const struct { enum append_outcome outcome; const char *want; } rows[] = {
        { APPEND_DONE, "published 6" },         { APPEND_REPLAYED, "replayed 77" }, { APPEND_KEY_CONFLICT, "conflict" },
        { APPEND_NO_TARGET, "no-target" },      { APPEND_NO_SPACE, "no-space" },    { APPEND_BROKEN, "broken" },
        { APPEND_AWAY, "away" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_followed();
        publishes(stage, 1, stage->name);
        turn(stage);
        hand_ends(&stage->hand, rows[i].outcome);
        turn(stage);
        got_is(stage, 1, rows[i].want);
        got_is(stage, 0, rows[i].outcome == APPEND_DONE ? "deliver 6" : "");
        stage_free(stage);
    }
}

static void memory_answers_within_the_turn(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    follows(stage, 0, stage->live, &follow_kind);
    turn(stage);
    got_is(stage, 0, "head 0");
    publishes(stage, 1, stage->live);
    assert_false(writer_is_idle(&stage->writer));
    turn(stage);
    got_is(stage, 1, "published 1");
    got_is(stage, 0, "deliver 1");
    assert_int_equal(stage->writer.tails.bytes, 0);  /* kept once, by its store */
    assert_true(writer_is_idle(&stage->writer));
    stage_free(stage);
}

static struct publish_command *publish_to(struct channel_name *channel, unsigned loop)
{
    struct message         *message = message_new(channel, MESSAGE_PLAIN, "x", 1, SPAN(""), SPAN(""));
    struct publish_command *command = publish_command_new(&message, SPAN(""), SPAN(""));

    command->command.loop = loop;
    return command;
}

static void memory_is_published_to_between_two_turns(void **state)
{
    (void)state;
    struct stage  *stage  = stage_new(&plenty);
    struct bundle  bundle = { NULL, NULL };

    follows(stage, 0, stage->live, &follow_kind);
    turn(stage);
    got_is(stage, 0, "head 0");
    for (unsigned i = 0; i < 2; i++)
        bundle_add(&bundle, &publish_to(stage->live, 1)->command.mail);
    writer_publish_at_once(&stage->writer, bundle_take(&bundle), WALL);
    got_is(stage, 1, "published 1 published 2");
    got_is(stage, 0, "deliver 1 2");
    assert_true(writer_is_idle(&stage->writer));
    stage_free(stage);
}

/* What the writer says to a connection visits the loop of that connection, so that it follows; one that follows gets it at once. */
static void a_connection_that_follows_is_told_without_a_visit(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    writer_publish_to_link(&stage->writer, publish_to(stage->live, 1), 1);
    assert_int_equal(stage->sent[1].count, 1);
    assert_string_equal(stage->sent[1].at[0]->kind->name, "publish to a connection");
    commands_free(&stage->sent[1]);
    follows(stage, 0, stage->live, &follow_kind);
    turn(stage);
    got_is(stage, 0, "head 0");
    writer_publish_to_link(&stage->writer, publish_to(stage->live, 1), 1);
    assert_int_equal(stage->sent[1].count, 1);
    commands_free(&stage->sent[1]);
    writer_publish_to_link(&stage->writer, publish_to(stage->live, 0), 0);
    turn(stage);
    got_is(stage, 0, "published 1 deliver 1");
    stage_free(stage);
}

static const struct publish_watch nobodys_watch = { 0 };
static const struct cluster_port  nobodys_cluster = { 0 };

static void never_settled(struct publish_command *command, struct writer *writer)
{
    (void)command, (void)writer;
    fail();
}

/* What needs a store with a thread, or somebody beside the writer, waits for the writer's turn. */
static void only_what_needs_nobody_is_published_at_once(void **state)
{
    (void)state;
    struct stage           *stage   = stage_new(&plenty), *hands = stage_of_hands(&plenty);
    struct namespace        forwards = *stage->live->space, servers = *stage->live->space, none = *stage->live->space;
    const struct namespace *space   = stage->live->space;
    struct publish_command *live    = publish_to(stage->live, 0), *durable = publish_to(stage->name, 0);
    struct ledger_write     write   = { 0 };
    struct follow_command   follow  = { .command.kind = &follow_kind };

    snprintf(forwards.forward, sizeof forwards.forward, "app/x");
    servers.is_servers = true;
    none.durability    = NONE;
    assert_true(writer_publishes_at_once(&stage->writer, &live->command));
    assert_false(writer_publishes_at_once(&hands->writer, &live->command));
    assert_false(writer_publishes_at_once(&stage->writer, &durable->command));
    assert_false(writer_publishes_at_once(&stage->writer, &follow.command));

    const struct namespace *others[] = { &none, &forwards, &servers };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        stage->live->space = others[i];
        assert_int_equal(writer_publishes_at_once(&stage->writer, &live->command), others[i] == &none);
    }
    stage->live->space = space;

    live->append.is_purge = true;
    assert_false(writer_publishes_at_once(&stage->writer, &live->command));
    live->append.is_purge = false;
    live->append.write    = &write;
    assert_false(writer_publishes_at_once(&stage->writer, &live->command));
    live->append.write = NULL;
    live->settled      = never_settled;
    assert_false(writer_publishes_at_once(&stage->writer, &live->command));
    live->settled = NULL;

    stage->writer.watch = &nobodys_watch;
    assert_false(writer_publishes_at_once(&stage->writer, &live->command));
    stage->writer.watch   = NULL;
    stage->writer.cluster = &nobodys_cluster;
    assert_false(writer_publishes_at_once(&stage->writer, &live->command));
    stage->writer.cluster = NULL;
    assert_true(writer_publishes_at_once(&stage->writer, &live->command));

    command_free(&live->command);
    command_free(&durable->command);
    stage_free(hands);
    stage_free(stage);
}

static void what_still_waits_at_the_end_is_freed(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    publishes(stage, 0, stage->name);
    publishes(stage, 0, stage->live);
    follows(stage, 1, stage->live, &follow_kind);
    turn(stage);
    publishes(stage, 0, stage->name);
    hand_ends(&stage->hand, APPEND_DONE);
    mail_comes(stage);
    stage_free(stage);  /* with hints that were not sent and a publish that was not given to the store */
}

/* --- following --- */

static void one_question_answers_all_who_ask(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    follows(stage, 0, stage->name, &follow_kind);
    follows(stage, 1, stage->name, &follow_kind);
    got_is(stage, 0, "");
    hand_tells(&stage->hand, RC_OK, 5);
    assert_true(list_is_empty(&stage->hand.questions));
    turn(stage);
    got_is(stage, 0, "head 5");
    got_is(stage, 1, "head 5");
    follows(stage, 1, stage->name, &follow_kind);
    got_is(stage, 1, "head 5");
    assert_int_equal(stage->writer.durable.followed_count, 1);
    stage_free(stage);
}

static void the_head_never_goes_back_to_an_answer_that_was_overtaken(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    stage->hand.head = 7;
    follows(stage, 0, stage->name, &follow_kind);
    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver 8");
    hand_tells(&stage->hand, RC_OK, 7);
    turn(stage);
    got_is(stage, 0, "head 8");
    reads(stage, 7);
    got_is(stage, 0, "page 1");  /* and the tail still has it */
    stage_free(stage);
}

static void a_head_that_cannot_be_read_is_asked_for_again(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_IO, 0);
    turn(stage);
    got_is(stage, 0, "");
    assert_true(list_is_empty(&stage->hand.questions));  /* not in a loop: at the next tick, or when another asks */
    ticks(stage, 1);
    assert_int_equal(stage->hand.tick_count, 1);
    follows(stage, 1, stage->name, &follow_kind);
    assert_int_equal(questions_count(stage), 1);  /* one at a time */
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    got_is(stage, 1, "head 5");
    stage_free(stage);
}

static void unanswered_questions_are_freed_at_the_end(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_IO, 0);
    turn(stage);
    stage_free(stage);
}

static void who_unfollows_hears_nothing_more(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    follows(stage, 1, stage->name, &follow_kind);
    follows(stage, 0, stage->name, &unfollow_kind);
    follows(stage, 0, stage->live, &unfollow_kind);  /* never followed: fine */
    publishes(stage, 0, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "published 6");
    got_is(stage, 1, "head 5 deliver 6");
    follows(stage, 1, stage->name, &unfollow_kind);
    assert_int_equal(stage->writer.durable.followed_count, 0);
    stage_free(stage);
}

/* Many may have come and gone by the time the store can be read again. */
static void who_unfollows_waits_for_no_head_any_more(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    follows(stage, 0, stage->name, &follow_kind);
    follows(stage, 1, stage->name, &follow_kind);
    follows(stage, 0, stage->name, &unfollow_kind);
    hand_tells(&stage->hand, RC_IO, 0);
    turn(stage);
    follows(stage, 1, stage->name, &unfollow_kind);
    assert_int_equal(stage->writer.tails.map.count, 0);
    ticks(stage, 1);
    assert_true(list_is_empty(&stage->hand.questions));
    assert_true(writer_is_idle(&stage->writer));

    follows(stage, 0, stage->name, &follow_kind);
    follows(stage, 1, stage->name, &follow_kind);
    follows(stage, 0, stage->name, &unfollow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "");
    got_is(stage, 1, "head 5");
    stage_free(stage);
}

static void hints_of_a_turn_travel_together_but_not_too_many(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    publishes(stage, 1, stage->name);
    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver 6 7");

    for (int i = 0; i < DELIVER_MESSAGES_MAX + 1; i++)
        publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver deliver 264");
    stage_free(stage);
}

/* A loop drops messages that its head counts already, and then all its readers fetch them from the log. */
static void no_head_and_no_page_overtakes_the_messages_it_knows_of(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    mail_comes(stage);
    follows(stage, 0, stage->name, &follow_kind);
    writer_turn_end(&stage->writer, WALL);
    got_is(stage, 0, "deliver 6 head 6");

    publishes(stage, 1, stage->name);
    writer_turn_end(&stage->writer, WALL);
    hand_ends(&stage->hand, APPEND_DONE);
    mail_comes(stage);
    reads(stage, 6);
    writer_turn_end(&stage->writer, WALL);
    got_is(stage, 0, "deliver 7 page 1");
    stage_free(stage);
}

/* The store shows what is written a moment before it says that it is. */
static void a_head_of_the_group_under_way_waits_for_its_end(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    publishes(stage, 1, stage->name);
    turn(stage);
    reads(stage, 2);
    hand_answers(&stage->hand, RC_OK, 6);  /* shown already: so the next who asks is told by the store */
    turn(stage);
    got_is(stage, 0, "page 0");
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 0, "");
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver 6 head 6");
    stage_free(stage);
}

/* What a broken store may have written turns up when it reopens; a retry is told "replayed", and loops that follow must
 * hear of it within a heartbeat. */
static void no_head_is_trusted_that_was_learnt_before_the_store_failed(void **state)
{
    (void)state;
    static const struct { const char *name; enum append_outcome outcomes[2]; unsigned asks; } rows[] = {
        { "all is well", { APPEND_DONE, APPEND_DONE }, 0 },
        { "full: nothing was written", { APPEND_NO_SPACE, APPEND_DONE }, 0 },
        { "broken", { APPEND_BROKEN, APPEND_BROKEN }, 1 },
        { "broken and back", { APPEND_BROKEN, APPEND_REPLAYED }, 1 },
        { "broken, then full: still not known", { APPEND_BROKEN, APPEND_NO_SPACE }, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_followed();
        for (int j = 0; j < 2; j++) {
            publishes(stage, 1, stage->name);
            turn(stage);
            hand_ends(&stage->hand, rows[i].outcomes[j]);
            turn(stage);
        }
        follows(stage, 0, stage->name, &follow_kind);
        if (list_is_empty(&stage->hand.questions) == (rows[i].asks > 0))
            fail_msg("%s", rows[i].name);
        if (rows[i].asks > 0) {
            commands_free(&stage->sent[0]);
            hand_tells(&stage->hand, RC_OK, 6);
            turn(stage);
            got_is(stage, 0, "head 6");
        }
        stage_free(stage);
    }
}

static void nor_one_that_was_learnt_before_its_first_good_word(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_BROKEN);
    turn(stage);
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);  /* it has not reopened yet */
    turn(stage);
    got_is(stage, 0, "head 5");
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);  /* nor now, but it might have, without a publish to tell */
    turn(stage);
    got_is(stage, 0, "head 5");
    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_REPLAYED);
    turn(stage);
    commands_free(&stage->sent[1]);
    follows(stage, 0, stage->name, &follow_kind);
    follows(stage, 1, stage->name, &follow_kind);  /* not even while the question is under way */
    got_is(stage, 1, "");
    hand_tells(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 0, "head 6");
    got_is(stage, 1, "head 6");
    stage_free(stage);
}

/* --- several writers: others append to the same logs --- */

static struct message *message_of(struct stage *stage, uint64_t epoch, uint64_t seq)
{
    struct message *message = message_new(stage->name, MESSAGE_PLAIN, "others", 6, SPAN(""), SPAN(""));

    message->epoch = epoch;
    message->seq   = seq;
    return message;
}

static void hears(struct stage *stage, uint64_t epoch, uint64_t seq)
{
    struct message *message = message_of(stage, epoch, seq);

    writer_hear(&stage->writer, message);
    message_unref(message);
    turn(stage);
}

/* Loop 0 follows the channel of a store with other writers, whose head is 5. */
static struct stage *stage_shared(void)
{
    struct stage *stage = stage_over(&plenty, false, 1);

    stage->hand.head = 5;
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    return stage;
}

/* It was sent before the purge, and came late. */
static void what_was_purged_is_not_heard(void **state)
{
    (void)state;
    struct stage *stage = stage_shared();

    tail_purge(&stage->writer.tails, tails_find(&stage->writer.tails, stage->name), EPOCH, 6);
    hears(stage, EPOCH, 6);
    got_is(stage, 0, "");
    hears(stage, EPOCH, 7);
    got_is(stage, 0, "deliver 7");
    stage_free(stage);
}

/* Head and epoch as the next who follows is told them, if the store confirms them. */
static void a_head_never_steps_back_for_what_is_heard(void **state)
{
    (void)state;
    static const struct { const char *name; uint64_t seqs[4], head; const char *got; } rows[] = {
        { "in order", { 6, 7 }, 7, "deliver 6 deliver 7" },
        { "twice", { 6, 6 }, 6, "deliver 6 deliver 6" },  /* the hub drops it */
        { "late", { 7, 6 }, 7, "deliver 7 deliver 6" },
        { "a hole", { 8 }, 8, "deliver 8" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_shared();
        for (size_t j = 0; j < 4 && rows[i].seqs[j] != 0; j++)
            hears(stage, EPOCH, rows[i].seqs[j]);
        got_is(stage, 0, rows[i].got);
        if (tails_find(&stage->writer.tails, stage->name)->head != rows[i].head)
            fail_msg("%s", rows[i].name);
        stage_free(stage);
    }
}

static void another_life_that_is_heard_of_is_asked_about(void **state)
{
    (void)state;
    struct stage *stage = stage_shared();

    hears(stage, EPOCH - 1, 77);
    assert_int_equal(tails_find(&stage->writer.tails, stage->name)->epoch, EPOCH);
    assert_int_equal(tails_find(&stage->writer.tails, stage->name)->head, 5);
    got_is(stage, 0, "deliver 77");  /* the hub asks, too */
    ticks(stage, HEARTBEAT_TICKS);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "");
    stage_free(stage);
}

/* Heads without their messages, as an engine that carries no payloads tells them. */
static void a_head_that_is_heard_of_is_told_in_the_same_turn(void **state)
{
    (void)state;
    static const struct { const char *name; uint64_t epoch, heads[3], head; const char *got; } rows[] = {
        { "news", EPOCH, { 6 }, 6, "moved 6" },
        { "several in one turn", EPOCH, { 6, 8, 7 }, 8, "moved 6 8" },
        { "old", EPOCH, { 5, 4 }, 5, "" },
        { "another life: the store is asked", EPOCH - 1, { 77 }, 5, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_shared();
        for (size_t j = 0; j < 3 && rows[i].heads[j] != 0; j++)
            writer_hear_head(&stage->writer, stage->name, rows[i].epoch, rows[i].heads[j]);
        turn(stage);
        char heard[256];
        if (strcmp(got(stage, 0, heard), rows[i].got) != 0)
            fail_msg("%s: %s", rows[i].name, heard);
        got_is(stage, 1, "");  /* it does not follow */
        assert_int_equal(tails_find(&stage->writer.tails, stage->name)->head, rows[i].head);
        assert_int_equal(tails_find(&stage->writer.tails, stage->name)->epoch, EPOCH);
        stage_free(stage);
    }
}

/* A message whose completion came late, and a message behind the head that was heard of. */
static void messages_and_heads_that_are_heard_of_mix(void **state)
{
    (void)state;
    struct stage *stage = stage_shared();

    hears(stage, EPOCH, 6);
    writer_hear_head(&stage->writer, stage->name, EPOCH, 8);
    turn(stage);
    hears(stage, EPOCH, 8);
    hears(stage, EPOCH, 9);
    got_is(stage, 0, "deliver 6 moved 8 deliver 8 deliver 9");
    assert_int_equal(tails_find(&stage->writer.tails, stage->name)->head, 9);
    stage_free(stage);
}

/* Ends the oldest read under way: it finds all from its bound to `head`. */
static void hand_finds(struct stage *stage, uint64_t head)
{
    struct store_read *read  = container_of(list_pop(&stage->hand.reads), struct store_read, link);
    size_t             count = (size_t)(head - read->bound);

    read->rc      = RC_OK;
    read->epoch   = EPOCH;
    read->first   = 1;
    read->head    = head;
    read->entries = calloc(count, sizeof read->entries[0]);
    must(read->entries != NULL && count <= read->limit);
    for (size_t i = 0; i < count; i++) {
        struct message *message = message_new(stage->name, MESSAGE_PLAIN, NULL, 1, SPAN(""), SPAN(""));
        message->bytes[0]       = 'x';
        message->epoch          = EPOCH;
        message->seq            = read->bound + 1 + i;
        read->entries[read->entry_count++] = (struct entry){ .message = message };
    }
    read->done(read);
    turn(stage);
}

static size_t reads_count(const struct stage *stage)
{
    size_t count = 0;

    for (const struct list *at = stage->hand.reads.next; at != &stage->hand.reads; at = at->next)
        count++;
    return count;
}

/* Where a head was told instead of a message, each reader asks for the page: the store is asked once. */
static void many_readers_of_a_page_cost_one_read(void **state)
{
    (void)state;
    struct stage *stage = stage_shared();

    writer_hear_head(&stage->writer, stage->name, EPOCH, 8);
    turn(stage);
    got_is(stage, 0, "moved 8");
    for (int i = 0; i < 3; i++)
        reads(stage, 5);
    reads(stage, 7);
    assert_int_equal(reads_count(stage), 1);
    got_is(stage, 0, "");
    hand_finds(stage, 8);
    assert_int_equal(reads_count(stage), 0);
    got_is(stage, 0, "page 1 page 3 page 3 page 3");
    reads(stage, 6);
    got_is(stage, 0, "page 2");
    reads(stage, 4);  /* the tail does not reach back so far */
    assert_int_equal(reads_count(stage), 1);
    hand_finds(stage, 8);
    got_is(stage, 0, "page 4");
    assert_true(writer_is_idle(&stage->writer));
    stage_free(stage);
}

/* The log has moved on while the store was asked: who waited asks anew, and in the end each for itself. */
static void a_page_that_is_old_serves_nobody_else(void **state)
{
    (void)state;
    struct stage *stage = stage_shared();

    writer_hear_head(&stage->writer, stage->name, EPOCH, 6);
    turn(stage);
    got_is(stage, 0, "moved 6");
    for (int i = 0; i < 3; i++)
        reads(stage, 5);
    for (uint64_t head = 6; head < 8; head++) {
        assert_int_equal(reads_count(stage), 1);
        writer_hear_head(&stage->writer, stage->name, EPOCH, head + 1);
        hand_finds(stage, head);
    }
    assert_int_equal(reads_count(stage), 1);
    hand_finds(stage, 8);
    got_is(stage, 0, "page 1 moved 7 page 2 moved 8 page 3");
    assert_true(writer_is_idle(&stage->writer));
    stage_free(stage);
}

static void what_the_store_hears_comes_to_the_writer(void **state)
{
    (void)state;
    struct stage          *stage = stage_shared();
    struct head_ear        ear;
    const struct store_ear *told = &stage->hand.ear;

    head_ear_begin(&ear, &stage->writer);
    told->missed(told->ctx);
    told->missed(told->ctx);
    assert_int_equal(stage->posted.count, 1);
    told->heard(told->ctx, stage->name, EPOCH, 7);
    turn(stage);
    got_is(stage, 0, "moved 7");
    assert_int_equal(ear.waiting_count, 0);
    ticks(stage, HEARTBEAT_TICKS);
    hand_tells(&stage->hand, RC_OK, 8);
    turn(stage);
    ticks(stage, 2);
    got_is(stage, 0, "moved 8");
    stage_free(stage);
}

/* More than may wait: the heads are compared instead. */
static void an_ear_is_bounded(void **state)
{
    (void)state;
    struct stage          *stage = stage_shared();
    struct head_ear        ear;
    const struct store_ear *told = &stage->hand.ear;

    head_ear_begin(&ear, &stage->writer);
    ear.waiting_count = HEAD_EAR_MAX - 1;
    for (int i = 0; i < 3; i++)
        told->heard(told->ctx, stage->name, EPOCH, 6);
    assert_int_equal(stage->posted.count, 2);
    assert_true(ear.has_missed);
    turn(stage);
    got_is(stage, 0, "moved 6");
    assert_false(ear.has_missed);
    stage_free(stage);
}

static void what_nobody_follows_is_not_kept(void **state)
{
    (void)state;
    struct stage *stage = stage_shared();

    hears(stage, EPOCH, 6);
    assert_true(stage->writer.tails.bytes > 0);
    follows(stage, 0, stage->name, &unfollow_kind);
    assert_int_equal(stage->writer.tails.map.count, 0);
    hears(stage, EPOCH, 7);
    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    assert_int_equal(stage->writer.tails.map.count, 0);
    stage_free(stage);
}

/* In memory the head is 5, and whoever follows may be the first to hear that others have appended. */
static void each_who_follows_asks_a_store_with_other_writers(void **state)
{
    (void)state;
    struct stage *stage = stage_shared();

    follows(stage, 1, stage->name, &follow_kind);
    got_is(stage, 1, "");
    hand_tells(&stage->hand, RC_OK, 7);
    turn(stage);
    got_is(stage, 1, "head 7");
    got_is(stage, 0, "");  /* the messages may be on their way: it is told if they are lost */
    ticks(stage, 2);
    got_is(stage, 0, "moved 7");
    got_is(stage, 1, "");
    stage_free(stage);
}

/* Register, then ask: an answer to a question from before the log was followed is not good enough. */
static void a_question_from_before_the_log_was_followed_is_asked_again(void **state)
{
    (void)state;
    struct stage *stage = stage_over(&plenty, false, 1);

    follows(stage, 0, stage->name, &follow_kind);
    follows(stage, 0, stage->name, &unfollow_kind);
    follows(stage, 1, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 1, "");
    hand_tells(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 1, "head 6");
    got_is(stage, 0, "");
    stage_free(stage);
}

/* A reader that has 7 comes from another node while the heartbeat's question is under way. */
static void an_answer_must_be_asked_for_after_the_follower_came(void **state)
{
    (void)state;
    struct stage *stage = stage_shared();

    ticks(stage, HEARTBEAT_TICKS);
    assert_int_equal(questions_count(stage), 1);
    follows(stage, 1, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 1, "");
    hand_tells(&stage->hand, RC_OK, 7);
    turn(stage);
    got_is(stage, 1, "head 7");
    stage_free(stage);
}

/* The heartbeat: within a second each followed head is compared with the store, where others append; never where this
 * process is the only one. */
static void a_lost_message_of_others_is_found_by_the_heartbeat(void **state)
{
    (void)state;
    struct stage *stage = stage_shared();

    ticks(stage, HEARTBEAT_TICKS);
    assert_int_equal(questions_count(stage), 1);
    hand_tells(&stage->hand, RC_OK, 6);
    turn(stage);
    ticks(stage, 2);
    got_is(stage, 0, "moved 6");
    stage_free(stage);

    stage = stage_followed();
    ticks(stage, 3 * HEARTBEAT_TICKS);
    assert_int_equal(questions_count(stage), 0);
    stage_free(stage);
}

/* 2,500 channels, in questions of 1,000: each is asked about once in a heartbeat, none is left out. */
/* Loop 0 follows topic:0, topic:1, … */
static void follows_many(struct stage *stage, unsigned count)
{
    char text[32];

    for (unsigned i = 0; i < count; i++) {
        struct follow_command *command = calloc(1, sizeof *command);
        must(command != NULL);
        snprintf(text, sizeof text, "topic:%u", i);
        assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(text), &command->channel), CHANNEL_NAME_OK);
        command->command = (struct command){ .kind = &follow_kind };
        writer_take(&stage->writer, &command->command, WALL);
    }
    turn(stage);
    size_t questions = (count + STORE_HEADS_MAX - 1) / STORE_HEADS_MAX;
    assert_int_equal(questions_count(stage), questions < QUESTIONS_AWAY_MAX ? questions : QUESTIONS_AWAY_MAX);
}

/* Each is answered, and the head is 5. */
static struct stage *stage_with_many(unsigned count)
{
    struct stage *stage = stage_over(&plenty, false, 1);

    follows_many(stage, count);
    while (!list_is_empty(&stage->hand.questions)) {
        hand_tells(&stage->hand, RC_OK, 5);
        turn(stage);
        commands_free(&stage->sent[0]);
    }
    return stage;
}

static void many_heads_are_compared_in_bulk(void **state)
{
    (void)state;
    enum { CHANNELS = 2500 };
    struct stage *stage = stage_with_many(CHANNELS);
    size_t        asked = 0, questions = 0;

    for (int tick = 0; tick < HEARTBEAT_TICKS; tick++) {
        ticks(stage, 1);
        while (!list_is_empty(&stage->hand.questions)) {
            asked += container_of(stage->hand.questions.next, struct store_heads, link)->count;
            questions++;
            hand_tells(&stage->hand, RC_OK, 5);
            mail_comes(stage);
        }
    }
    assert_in_range(asked, CHANNELS, CHANNELS + CHANNELS / 5);  /* a slice of the map may be begun twice */
    assert_in_range(questions, 3, HEARTBEAT_TICKS + 2);
    stage_free(stage);
}

/* Whoever unfollows hears nothing more, whatever the question after the head was doing; and nothing is left behind. */
static void to_unfollow_is_safe_in_each_state(void **state)
{
    (void)state;
    static const struct { const char *name; enum head_state state; bool is_batch_under_way; } rows[] = {
        { "not told", HEAD_UNKNOWN, false },         { "gathered", HEAD_GATHERED, false },
        { "asked", HEAD_ASKED, false },              { "asked again", HEAD_ASKED_AGAIN, false },
        { "told", HEAD_KNOWN, false },               { "the answer waits for a batch", HEAD_ASKED, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage          *stage   = stage_shared();
        struct follow_command *command = calloc(1, sizeof *command);

        must(command != NULL);
        command->command = (struct command){ .kind = &follow_kind };
        command->channel = channel_name_ref(stage->name);
        if (rows[i].is_batch_under_way) {
            publishes(stage, 1, stage->name);
            turn(stage);
        }
        writer_take(&stage->writer, &command->command, WALL);
        if (rows[i].state != HEAD_GATHERED)
            turn(stage);
        if (rows[i].state == HEAD_ASKED_AGAIN)
            follows(stage, 1, stage->name, &follow_kind);
        if (rows[i].state == HEAD_KNOWN || rows[i].state == HEAD_UNKNOWN || rows[i].is_batch_under_way) {
            hand_tells(&stage->hand, rows[i].state == HEAD_UNKNOWN ? RC_IO : RC_OK, 6);
            mail_comes(stage);
        }
        if (tails_find(&stage->writer.tails, stage->name)->head_state != rows[i].state)
            fail_msg("%s: is in another state", rows[i].name);
        for (unsigned loop = 0; loop < LOOPS; loop++) {
            commands_free(&stage->sent[loop]);
            follows(stage, loop, stage->name, &unfollow_kind);
        }
        if (rows[i].is_batch_under_way)
            hand_ends(&stage->hand, APPEND_BROKEN);
        turn(stage);
        while (!list_is_empty(&stage->hand.questions)) {
            hand_tells(&stage->hand, RC_OK, 6);
            turn(stage);
        }
        ticks(stage, 3);
        got_is(stage, 0, "");
        got_is(stage, 1, rows[i].is_batch_under_way ? "broken" : "");
        assert_int_equal(stage->writer.tails.map.count, 0);
        assert_true(writer_is_idle(&stage->writer));
        stage_free(stage);
    }
}

/* A store that answers once a heartbeat: each question has room for many heads, but only so many questions are under
 * way. What found no room is asked for next, and nobody's turn is passed over for ever. */
static void no_head_is_passed_over_for_ever(void **state)
{
    (void)state;
    enum { CHANNELS = 2500 };
    struct stage *stage           = stage_with_many(CHANNELS);
    bool          asked[CHANNELS] = { false };
    size_t        asked_count     = 0;

    for (int heartbeat = 0; heartbeat < 4; heartbeat++) {
        ticks(stage, HEARTBEAT_TICKS);
        while (!list_is_empty(&stage->hand.questions)) {
            const struct store_heads *question = container_of(stage->hand.questions.next, struct store_heads, link);
            for (size_t i = 0; i < question->count; i++) {
                bool *is_asked = &asked[atoi(channel_name_span(question->names[i]).at + strlen("topic:"))];
                asked_count += !*is_asked;
                *is_asked = true;
            }
            hand_tells(&stage->hand, RC_OK, 5);
        }
    }
    assert_int_equal(asked_count, CHANNELS);
    stage_free(stage);
}

/* More heads than all questions of a tick have room for: the next ones go when an answer comes, not a tick later. */
static void a_heartbeat_compares_all_heads_however_many(void **state)
{
    (void)state;
    enum { CHANNELS = 120 * STORE_HEADS_MAX };
    struct stage *stage = stage_with_many(CHANNELS);
    size_t        asked = 0;

    for (int tick = 0; tick < HEARTBEAT_TICKS; tick++) {
        ticks(stage, 1);
        while (!list_is_empty(&stage->hand.questions)) {
            asked += container_of(stage->hand.questions.next, struct store_heads, link)->count;
            hand_tells(&stage->hand, RC_OK, 5);
            turn(stage);
        }
    }
    assert_in_range(asked, CHANNELS, CHANNELS + CHANNELS / 5);
    stage_free(stage);
}

/* Answers every question that is there; how many heads they had. */
static size_t heads_told(struct stage *stage)
{
    size_t asked = 0;

    while (!list_is_empty(&stage->hand.questions)) {
        asked += container_of(stage->hand.questions.next, struct store_heads, link)->count;
        hand_tells(&stage->hand, RC_OK, 5);
        turn(stage);
    }
    return asked;
}

/* Many nodes may have the same reason to compare: each asks for its share, and comes to all in the end. */
static void a_paced_comparison_asks_for_its_share_a_tick(void **state)
{
    (void)state;
    enum { CHANNELS = 5000, PACE = 300, SLACK = 20 /* a slot is asked for as a whole */ };
    struct stage *stage = stage_with_many(CHANNELS);
    size_t        asked = 0;

    writer_compare_each(&stage->writer, 100000);
    ticks(stage, 3 * HEARTBEAT_TICKS);
    heads_told(stage);
    writer_compare_pace(&stage->writer, PACE);
    writer_compare_all(&stage->writer);
    for (int tick = 0; tick < CHANNELS / PACE + 1; tick++) {
        ticks(stage, 1);
        size_t now = heads_told(stage);
        assert_in_range(now, 0, PACE + SLACK);
        asked += now;
    }
    assert_in_range(asked, CHANNELS - SLACK, CHANNELS + PACE);
    stage_free(stage);
}

/* What is published comes first: a store that answers slowly is asked for less, and for as much as before when it answers soon. */
static void a_slow_store_is_asked_for_less(void **state)
{
    (void)state;
    enum { CHANNELS = 5000, PACE = 320, SLACK = 20, SLOW = 4, SLOW_ANSWERS = 5 };
    struct stage *stage = stage_with_many(CHANNELS);
    size_t        most  = 0;

    writer_compare_each(&stage->writer, 100000);
    ticks(stage, 3 * HEARTBEAT_TICKS);
    heads_told(stage);
    writer_compare_pace(&stage->writer, PACE);
    writer_compare_all(&stage->writer);
    size_t asked = 0;
    for (int i = 0; i < SLOW_ANSWERS; i++) {
        ticks(stage, SLOW);
        asked += heads_told(stage);
    }
    ticks(stage, 1);
    size_t slow = heads_told(stage);
    assert_in_range(slow, 1, PACE / 16 + SLACK);
    for (asked += slow; asked < CHANNELS - SLACK;) {
        ticks(stage, 1);
        size_t now = heads_told(stage);
        assert_in_range(now, 1, PACE + SLACK);
        most = now > most ? now : most;
        asked += now;
    }
    assert_in_range(most, PACE - SLACK, PACE + SLACK);
    stage_free(stage);
}

/* What everyone may follow does not wait for its turn, nor does who has just come. */
static void what_many_wait_for_is_compared_first(void **state)
{
    (void)state;
    enum { CHANNELS = 5000, PACE = 10 };
    struct stage        *stage = stage_with_many(CHANNELS);
    struct channel_name *all   = NULL;

    assert_int_equal(channel_name_new(&stage->spaces, &key, SPAN("all:news"), &all), CHANNEL_NAME_OK);
    follows(stage, 0, all, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    writer_compare_each(&stage->writer, 100000);
    writer_compare_pace(&stage->writer, PACE);
    writer_compare_all(&stage->writer);
    turn(stage);
    assert_int_equal(questions_count(stage), 1);
    assert_int_equal(heads_told(stage), 1);
    writer_compare_wide(&stage->writer);
    turn(stage);
    assert_int_equal(heads_told(stage), 1);
    channel_name_unref(all);
    stage_free(stage);
}

/* What can't be read now is asked for again at the next tick, though others wait for room. */
static void a_store_that_fails_is_asked_once_a_tick(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    follows_many(stage, (QUESTIONS_AWAY_MAX + 2) * STORE_HEADS_MAX);
    for (int tick = 0; tick < 3; tick++) {
        for (int i = 0; i < QUESTIONS_AWAY_MAX; i++) {
            hand_tells(&stage->hand, RC_IO, 0);
            turn(stage);
        }
        assert_int_equal(questions_count(stage), 0);
        ticks(stage, 1);
        assert_int_equal(questions_count(stage), QUESTIONS_AWAY_MAX);
    }
    stage_free(stage);
}

/* A channel whose own records are damaged fails alone: the heads of all others are believed as before. */
static void a_damaged_channel_makes_no_other_head_doubtful(void **state)
{
    (void)state;
    struct stage        *stage = stage_followed();
    struct channel_name *bad   = NULL;

    assert_int_equal(channel_name_new(&stage->spaces, &key, SPAN("topic:bad"), &bad), CHANNEL_NAME_OK);
    follows(stage, 0, bad, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    for (int i = 0; i < 2; i++) {
        publishes(stage, 1, bad);
        publishes(stage, 1, stage->name);
    }
    turn(stage);
    for (struct list *link = hand_batch(&stage->hand)->appends.next; link != &hand_batch(&stage->hand)->appends;
         link = link->next)
        if (container_of(link, struct append, link)->message->channel == bad)
            container_of(link, struct append, link)->outcome = APPEND_BROKEN;
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 1, "broken published 6 broken published 7");
    got_is(stage, 0, "deliver 6 7");
    follows(stage, 1, stage->name, &follow_kind);
    got_is(stage, 1, "head 7");
    assert_int_equal(questions_count(stage), 0);
    follows(stage, 1, bad, &follow_kind);
    assert_int_equal(questions_count(stage), 1);
    channel_name_unref(bad);
    stage_free(stage);
}

/* --- several batches at a time --- */

static struct channel_name *name_in_another_bucket(struct stage *stage)
{
    struct channel_name *name = NULL;
    char                 text[32];

    for (int i = 0; name == NULL; i++) {
        snprintf(text, sizeof text, "topic:x%d", i);
        assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(text), &name), CHANNEL_NAME_OK);
        if (writer_bucket_of(name) != writer_bucket_of(stage->name))
            return name;
        channel_name_unref(name);
        name = NULL;
    }
    return name;
}

static void order_is_promised_a_channel_and_not_a_store(void **state)
{
    (void)state;
    struct stage        *stage = stage_over(&plenty, true, 2);
    struct channel_name *other = name_in_another_bucket(stage);

    publishes(stage, 0, stage->name);
    turn(stage);
    publishes(stage, 0, stage->name);
    publishes(stage, 1, other);
    turn(stage);
    assert_int_equal(stage->hand.batch_count, 2);
    assert_int_equal(stage->hand.batches[1]->count, 1);
    hand_ends_the(&stage->hand, 1, APPEND_DONE);  /* the younger one first */
    turn(stage);
    got_is(stage, 1, "published 1");
    got_is(stage, 0, "");
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "published 2");
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "published 3");
    channel_name_unref(other);
    stage_free(stage);
}

/* Names of channels whose buckets are apart, and apart from that of stage->name. */
static void names_apart(struct stage *stage, struct channel_name *names[], size_t count)
{
    bool taken[WRITER_BUCKETS] = { false };
    char text[32];

    taken[writer_bucket_of(stage->name)] = true;
    for (size_t i = 0, at = 0; at < count; i++) {
        snprintf(text, sizeof text, "topic:x%zu", i);
        assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(text), &names[at]), CHANNEL_NAME_OK);
        if (taken[writer_bucket_of(names[at])])
            channel_name_unref(names[at]);
        else
            taken[writer_bucket_of(names[at++])] = true;
    }
}

static void names_free(struct channel_name *names[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        channel_name_unref(names[i]);
}

static void what_is_of_a_channel_under_way_waits_behind_it_and_nothing_else_does(void **state)
{
    (void)state;
    struct stage        *stage = stage_over(&plenty, true, 3);
    struct channel_name *names[2];

    names_apart(stage, names, 2);
    publishes(stage, 0, stage->name);
    turn(stage);
    publishes(stage, 1, stage->name);
    publishes(stage, 0, names[0]);
    publishes(stage, 1, stage->name);
    turn(stage);
    assert_int_equal(stage->hand.batch_count, 2);
    assert_int_equal(stage->hand.batches[1]->count, 1);
    publishes(stage, 0, names[1]);
    turn(stage);
    assert_int_equal(stage->hand.batch_count, 3);
    hand_ends(&stage->hand, APPEND_DONE);
    publishes(stage, 0, stage->name);  /* not before those that waited */
    turn(stage);
    got_is(stage, 0, "published 1");
    assert_int_equal(stage->hand.batch_count, 3);
    assert_int_equal(stage->hand.batches[2]->count, 3);
    hand_ends_the(&stage->hand, 2, APPEND_DONE);
    turn(stage);
    got_is(stage, 1, "published 2 published 3");
    got_is(stage, 0, "published 4");
    hand_ends(&stage->hand, APPEND_DONE);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    assert_true(writer_is_idle(&stage->writer));
    names_free(names, 2);
    stage_free(stage);
}

/* Three quarters of what is under way on average are enough; and one that has been under way for two ticks holds nobody up. */
static void a_batch_leaves_when_it_is_worth_a_commit(void **state)
{
    (void)state;
    enum { LARGE = 8, SMALL = 5 };
    struct channel_name *names[LARGE + SMALL + 1];

    for (int is_long = 0; is_long <= 1; is_long++) {
        struct stage *stage = stage_over(&plenty, true, 2);
        names_apart(stage, names, LARGE + SMALL + 1);
        for (size_t i = 0; i < LARGE; i++)
            publishes(stage, 0, names[i]);
        turn(stage);
        for (size_t i = 0; i < SMALL; i++)
            publishes(stage, 0, names[LARGE + i]);
        turn(stage);
        assert_int_equal(stage->hand.batch_count, 1);
        if (is_long)
            ticks(stage, 2);
        else
            publishes(stage, 0, names[LARGE + SMALL]);
        turn(stage);
        assert_int_equal(stage->hand.batch_count, 2);
        assert_int_equal(stage->hand.batches[1]->count, is_long ? SMALL : SMALL + 1);
        hand_ends(&stage->hand, APPEND_DONE);
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
        names_free(names, LARGE + SMALL + 1);
        stage_free(stage);
    }
}

/* As long as so many more would not make a batch that leaves, nobody need wake the writer for one. */
static void publishes_that_only_wait_may_be_left(void **state)
{
    (void)state;
    enum { LARGE = 8, RIPE = 6 };
    struct stage        *stage = stage_over(&plenty, true, 2);
    struct channel_name *names[LARGE + RIPE];

    stage->hand.store.batch_least = LARGE;
    names_apart(stage, names, LARGE + RIPE);
    assert_int_equal(writer_leave_count(&stage->writer), 0);
    for (size_t i = 0; i < LARGE; i++)
        publishes(stage, 0, names[i]);
    turn(stage);
    for (size_t i = 0; i < RIPE; i++) {
        assert_int_equal(writer_leave_count(&stage->writer), RIPE - 1 - i);
        assert_int_equal(stage->hand.batch_count, 1);
        publishes(stage, 0, names[LARGE + i]);
        turn(stage);
    }
    assert_int_equal(stage->hand.batch_count, 2);
    assert_int_equal(writer_leave_count(&stage->writer), WRITER_LEAVE_MAX);  /* no lane is free */
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    assert_int_equal(writer_leave_count(&stage->writer), (3 * RIPE + 3) / 4 - 1);
    ticks(stage, 2);  /* what takes so long says nothing about the others */
    assert_int_equal(writer_leave_count(&stage->writer), 0);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    assert_int_equal(writer_leave_count(&stage->writer), 0);
    names_free(names, LARGE + RIPE);
    stage_free(stage);
}

/* Each batch takes half of all appends that wait or are under way: no fewer than the store's least number, no more than twice that,
 * unless the lanes have more to share. Few appends go together. */
static void lanes_share_what_waits(void **state)
{
    (void)state;
    enum { LANES = 4, LEAST = 48, SOME = 3 * LEAST, MANY = 8 * LEAST + 4 };
    static const struct { size_t count, batches, sizes[LANES]; } rows[] = {
        { LEAST, 1, { LEAST } },
        { LEAST + 1, 1, { LEAST } },  /* the other one would be too small */
        { 2 * LEAST, 2, { LEAST, LEAST } },
        { SOME, 2, { SOME / 2, SOME / 2 } },
        { 4 * LEAST, 2, { 2 * LEAST, 2 * LEAST } },
        { 6 * LEAST, 3, { 2 * LEAST, 2 * LEAST, 2 * LEAST } },
        { MANY, LANES, { MANY / LANES, MANY / LANES, MANY / LANES, MANY / LANES } },
    };
    struct channel_name *names[MANY];

    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        struct stage *stage = stage_over(&plenty, true, LANES);
        stage->hand.store.batch_least = LEAST;
        names_apart(stage, names, MANY);
        for (size_t i = 0; i < rows[row].count; i++)
            publishes(stage, 0, names[i]);
        turn(stage);
        assert_int_equal(stage->hand.batch_count, rows[row].batches);
        for (size_t i = 0; i < rows[row].batches; i++)
            assert_int_equal(stage->hand.batches[i]->count, rows[row].sizes[i]);
        while (stage->hand.batch_count > 0) {
            hand_ends(&stage->hand, APPEND_DONE);
            turn(stage);
        }
        assert_true(writer_is_idle(&stage->writer));
        names_free(names, MANY);
        stage_free(stage);
    }
}

/* A lane that becomes free takes no more than its share, although more waits. */
static void a_lane_leaves_something_for_the_others(void **state)
{
    (void)state;
    enum { LANES = 2, LEAST = 48, MANY = 4 * LEAST };
    struct stage        *stage = stage_over(&plenty, true, LANES);
    struct channel_name *names[2 * MANY];

    stage->hand.store.batch_least = LEAST;
    names_apart(stage, names, 2 * MANY);
    for (size_t i = 0; i < MANY; i++)
        publishes(stage, 0, names[i]);
    turn(stage);
    for (size_t i = MANY; i < 2 * MANY; i++)
        publishes(stage, 0, names[i]);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    assert_int_equal(stage->hand.batch_count, LANES);
    assert_int_equal(stage->hand.batches[1]->count, 3 * MANY / 4);
    while (stage->hand.batch_count > 0) {
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
    }
    assert_true(writer_is_idle(&stage->writer));
    names_free(names, 2 * MANY);
    stage_free(stage);
}

/* Of as many messages for other channels hardly one has its bucket among theirs. */
static void hardly_a_message_waits_for_a_batch_of_other_channels(void **state)
{
    (void)state;
    enum { MANY = 200, WAITING_MAX = 3 };
    struct stage *stage = stage_over(&plenty, true, 2);

    for (int i = 0; i < 2 * MANY; i++) {
        struct channel_name *name = NULL;
        char                 text[32];
        snprintf(text, sizeof text, "topic:x%d", i);
        assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(text), &name), CHANNEL_NAME_OK);
        publishes(stage, 0, name);
        channel_name_unref(name);
        if (i == MANY - 1 || i == 2 * MANY - 1)
            turn(stage);
    }
    assert_int_equal(stage->hand.batch_count, 2);
    assert_int_equal(stage->hand.batches[0]->count, MANY);
    assert_in_range(stage->hand.batches[1]->count, MANY - WAITING_MAX, MANY);
    while (stage->hand.batch_count > 0) {
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
    }
    stage_free(stage);
}

/* Whether it waits for any lane, or behind a batch that does not end. */
static void what_was_never_given_to_the_store_is_answered_so(void **state)
{
    (void)state;
    struct stage *stage = stage_over(&plenty, true, 2);

    publishes(stage, 0, stage->name);
    turn(stage);
    publishes(stage, 1, stage->name);
    ticks(stage, 4);
    got_is(stage, 1, "");
    ticks(stage, 1);
    got_is(stage, 0, "broken");
    got_is(stage, 1, "away");
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    assert_int_equal(stage->hand.batch_count, 0);
    assert_true(writer_is_idle(&stage->writer));
    stage_free(stage);
}

/* --- deadlines: a batch that the store does not complete --- */

static void a_batch_that_takes_too_long_is_answered_and_is_delivered_when_it_ends(void **state)
{
    (void)state;
    static const struct { enum append_outcome outcome; const char *got; } rows[] = {
        { APPEND_DONE, "deliver 6" }, { APPEND_BROKEN, "" }, { APPEND_REPLAYED, "" }, { APPEND_AWAY, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_followed();
        publishes(stage, 1, stage->name);
        turn(stage);
        ticks(stage, 2);
        publishes(stage, 1, stage->name);
        ticks(stage, 2);
        got_is(stage, 1, "");
        ticks(stage, 1);
        got_is(stage, 1, "broken");  /* perhaps stored */
        ticks(stage, 2);
        got_is(stage, 1, "away");    /* certainly not: the store never had it */
        assert_int_equal(counter_get(&stage->writer.late), 2);
        assert_false(writer_is_idle(&stage->writer));
        hand_ends(&stage->hand, rows[i].outcome);
        turn(stage);
        got_is(stage, 1, "");
        got_is(stage, 0, rows[i].got);
        assert_true(writer_is_idle(&stage->writer));
        stage_free(stage);
    }
}

/* The loop may let go of its answer before or after the store does. */
static void who_lets_go_last_frees_a_late_publish(void **state)
{
    (void)state;
    for (int is_loop_first = 0; is_loop_first < 2; is_loop_first++) {
        struct stage *stage = stage_new(&plenty);
        publishes(stage, 0, stage->name);
        turn(stage);
        ticks(stage, 5);
        if (is_loop_first)
            got_is(stage, 0, "broken");
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
        if (!is_loop_first)
            got_is(stage, 0, "broken");
        stage_free(stage);
    }
}

/* Who follows waits for the batch under way, but not beyond its deadline. */
static void nobody_waits_for_a_batch_beyond_its_deadline(void **state)
{
    (void)state;
    struct stage *stage = stage_over(&plenty, false, 1);

    stage->hand.head = 5;
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    publishes(stage, 1, stage->name);
    turn(stage);
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 0, "");
    ticks(stage, 5);
    got_is(stage, 0, "head 6");
    got_is(stage, 1, "broken");
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver 6");
    stage_free(stage);
}

/* --- a memory store that does not complete inline --- */

/* Loop 0 follows live:a, whose head is 5. */
static struct stage *stage_live_followed(const struct writer_limits *limits)
{
    struct stage *stage = stage_of_hands(limits);

    follows(stage, 0, stage->live, &follow_kind);
    hand_tells(&stage->second, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    return stage;
}

static void memory_that_is_elsewhere_is_answered_when_it_is_done(void **state)
{
    (void)state;
    static const struct { enum append_outcome outcome; const char *want; } rows[] = {
        { APPEND_DONE, "published 6" },    { APPEND_REPLAYED, "replayed 77" }, { APPEND_KEY_CONFLICT, "conflict" },
        { APPEND_NO_SPACE, "no-space" },   { APPEND_BROKEN, "broken" },        { APPEND_AWAY, "away" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_live_followed(&plenty);
        publishes(stage, 1, stage->live);
        assert_false(writer_is_idle(&stage->writer));
        turn(stage);
        got_is(stage, 1, "");
        assert_false(writer_is_idle(&stage->writer));
        hand_ends(&stage->second, rows[i].outcome);
        turn(stage);
        got_is(stage, 1, rows[i].want);
        got_is(stage, 0, rows[i].outcome == APPEND_DONE ? "deliver 6" : "");
        assert_true(writer_is_idle(&stage->writer));
        stage_free(stage);
    }
}

/* What waits for one store takes no place of the other's, and stops no publish of the other. */
static void a_store_that_stands_does_not_hold_the_other(void **state)
{
    (void)state;
    struct writer_limits limits = plenty;

    limits.waiting_count_max = 2;
    for (int is_durable_away = 0; is_durable_away < 2; is_durable_away++) {
        struct stage        *stage   = stage_of_hands(&limits);
        struct channel_name *away    = is_durable_away ? stage->name : stage->live;
        struct channel_name *present = is_durable_away ? stage->live : stage->name;
        struct hand         *hand    = is_durable_away ? &stage->second : &stage->hand;
        struct hand         *other   = is_durable_away ? &stage->hand : &stage->second;
        for (int i = 0; i < 4; i++) {
            publishes(stage, 0, away);
            turn(stage);
        }
        got_is(stage, 0, "busy");
        publishes(stage, 1, present);
        turn(stage);
        hand_ends(hand, APPEND_DONE);
        turn(stage);
        got_is(stage, 1, "published 6");
        hand_ends(other, APPEND_AWAY);
        turn(stage);
        hand_ends(other, APPEND_AWAY);
        turn(stage);
        got_is(stage, 0, "away away away");
        stage_free(stage);
    }
}

static void memory_that_takes_too_long_is_answered_and_delivered_later(void **state)
{
    (void)state;
    struct stage *stage = stage_live_followed(&plenty);

    publishes(stage, 1, stage->live);
    turn(stage);
    ticks(stage, 1);
    publishes(stage, 1, stage->live);
    ticks(stage, 4);
    got_is(stage, 1, "broken");  /* perhaps stored */
    ticks(stage, 1);
    got_is(stage, 1, "away");    /* certainly not */
    hand_ends(&stage->second, APPEND_DONE);
    turn(stage);
    got_is(stage, 1, "");
    got_is(stage, 0, "deliver 6");
    stage_free(stage);
}

/* … but not the durable store's. */
static void no_head_of_memory_is_trusted_after_it_failed(void **state)
{
    (void)state;
    struct stage *stage = stage_live_followed(&plenty);

    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    publishes(stage, 1, stage->live);
    turn(stage);
    hand_ends(&stage->second, APPEND_BROKEN);
    turn(stage);
    got_is(stage, 1, "broken");
    follows(stage, 1, stage->name, &follow_kind);
    got_is(stage, 1, "head 5");
    follows(stage, 1, stage->live, &follow_kind);
    got_is(stage, 1, "");
    hand_tells(&stage->second, RC_OK, 6);
    turn(stage);
    got_is(stage, 1, "head 6");
    stage_free(stage);
}

static void a_head_of_memory_waits_for_the_group_under_way(void **state)
{
    (void)state;
    struct stage *stage = stage_live_followed(&plenty);

    stage->second.store.has_one_writer = false;
    publishes(stage, 1, stage->live);
    turn(stage);
    follows(stage, 0, stage->live, &follow_kind);
    hand_tells(&stage->second, RC_OK, 6);
    turn(stage);
    got_is(stage, 0, "");
    hand_ends(&stage->second, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver 6 head 6");
    stage_free(stage);
}

/* Nothing is kept there, so every answer says that the log is empty; that is no purge, and lets go of no message. */
static void a_channel_that_keeps_nothing_is_not_taken_for_purged(void **state)
{
    (void)state;
    struct stage        *stage = stage_of_hands(&plenty);
    struct channel_name *conn  = NULL;
    struct store_heads  *asked;

    stage->second.store.has_one_writer = false;
    stage->writer.memory.is_shared     = true;
    assert_int_equal(channel_name_new(&stage->spaces, &key, SPAN("conn:x"), &conn), CHANNEL_NAME_OK);
    follows(stage, 0, conn, &follow_kind);
    hand_tells(&stage->second, RC_OK, 5);
    turn(stage);
    publishes(stage, 1, conn);
    turn(stage);
    hand_ends(&stage->second, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "head 5 deliver 6");
    follows(stage, 0, conn, &follow_kind);
    asked           = container_of(list_pop(&stage->second.questions), struct store_heads, link);
    asked->heads[0] = (struct store_head){ RC_OK, EPOCH, 7, 6 };
    asked->done(asked);
    turn(stage);
    got_is(stage, 0, "head 6");
    channel_name_unref(conn);
    stage_free(stage);
}

/* --- slow loops --- */

static void a_loop_that_takes_nothing_is_told_heads_alone(void **state)
{
    (void)state;
    struct writer_limits limits = plenty;
    char                 taken[256];

    limits.delivery_count_max = 4;
    struct stage *stage = stage_over(&limits, true, 1);
    stage->hand.head    = 5;
    for (unsigned loop = 0; loop < 2; loop++)
        follows(stage, loop, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    got_is(stage, 1, "head 5");
    for (int i = 0; i < 6; i++) {
        publishes(stage, 1, stage->live);  /* answered to loop 1 at once, which takes all */
        publishes(stage, 1, stage->name);
        turn(stage);
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
        got(stage, 1, taken);
    }
    ticks(stage, 5);
    assert_int_equal(stage->sent[0].count, 4);  /* 6 7 8 9, and nothing more while they wait */
    got_is(stage, 1, "");
    got_is(stage, 0, "deliver 6 deliver 7 deliver 8 deliver 9");
    ticks(stage, 1);
    got_is(stage, 0, "moved 11");
    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver 12");
    stage_free(stage);
}

static void what_is_owed_to_a_loop_is_forgotten_when_it_unfollows(void **state)
{
    (void)state;
    struct writer_limits limits = plenty;

    limits.delivery_bytes_max = 2;
    struct stage *stage = stage_over(&limits, true, 1);
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 0);
    turn(stage);
    for (int i = 0; i < 2; i++) {
        publishes(stage, 1, stage->name);
        turn(stage);
        hand_ends(&stage->hand, APPEND_DONE);
        turn(stage);
    }
    assert_false(list_is_empty(&stage->writer.tails.owed));
    follows(stage, 0, stage->name, &unfollow_kind);
    assert_true(list_is_empty(&stage->writer.tails.owed));
    got_is(stage, 0, "head 0 deliver 1");
    ticks(stage, 3);
    got_is(stage, 0, "");
    stage_free(stage);
}

static void heartbeat_comes(struct stage *stage, unsigned loop, bool is_hint_lost)
{
    struct heartbeat_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command      = (struct command){ .kind = &heartbeat_kind, .loop = loop };
    command->is_hint_lost = is_hint_lost;
    writer_take(&stage->writer, &command->command, WALL);
}

static void a_loop_that_has_lost_a_hint_is_told_all_heads(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    mail_comes(stage);
    heartbeat_comes(stage, 0, false);
    got_is(stage, 0, "deliver 6 heartbeat 1");  /* behind the hints that it counts */
    heartbeat_comes(stage, 0, true);
    ticks(stage, 2);
    got_is(stage, 0, "heartbeat 1 moved 6");
    stage_free(stage);
}

/* Each loop is told what it is owed, so many heads in a command, so many commands in a tick. */
static void heads_are_owed_to_each_loop_for_itself(void **state)
{
    (void)state;
    enum { CHANNELS = 41 * MOVED_HEADS_MAX };
    struct stage *stage          = stage_with_many(CHANNELS);
    size_t        heads[LOOPS]    = { 0 };
    size_t        commands[LOOPS] = { 0 };

    stage->writer.limits.delivery_count_max = 2 * CHANNELS;
    follows(stage, 1, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 1, "head 5");
    for (unsigned loop = 0; loop < LOOPS; loop++)
        heartbeat_comes(stage, loop, true);
    for (unsigned loop = 0; loop < LOOPS; loop++)
        commands_free(&stage->sent[loop]);
    for (int tick = 1; tick <= 3; tick++) {
        writer_tick(&stage->writer, WALL);
        for (unsigned loop = 0; loop < LOOPS; loop++) {
            commands[loop] += stage->sent[loop].count;
            for (size_t i = 0; i < stage->sent[loop].count; i++)
                heads[loop] += container_of(stage->sent[loop].at[i], struct moved_command, hint.command)->hint.count;
            commands_free(&stage->sent[loop]);
        }
        assert_int_equal(commands[0], tick == 1 ? 0 : tick == 2 ? 40 : 41);
        assert_int_equal(commands[1], tick == 1 ? 0 : 1);
    }
    assert_int_equal(heads[0], CHANNELS);
    assert_int_equal(heads[1], 1);
    stage_free(stage);
}

/* --- reading --- */

static void the_tail_answers_what_it_has_and_the_store_the_rest(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver 6");
    reads(stage, 5);
    got_is(stage, 0, "page 1");
    reads(stage, 4);
    got_is(stage, 0, "");
    assert_false(writer_is_idle(&stage->writer));
    hand_answers(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 0, "page 0");
    assert_true(writer_is_idle(&stage->writer));
    stage_free(stage);
}

/* A loop with enough pages to wait for asks memory alone. */
static void memory_alone_answers_what_it_has_or_busy(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver 6");
    reads_from(stage, 5, READ_MEMORY);
    got_is(stage, 0, "page 1");
    reads_from(stage, 4, READ_MEMORY);
    got_is(stage, 0, "not in memory");
    assert_true(writer_is_idle(&stage->writer));
    stage_free(stage);
}

static void a_page_that_knows_more_than_the_tail_is_a_reason_to_ask(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    reads(stage, 2);
    hand_answers(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 0, "page 0");
    follows(stage, 1, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 1, "head 6");
    stage_free(stage);
}

/* Who was shown 7 and comes to another loop must not be told that the log ends at 6. */
static void a_question_that_a_page_overtakes_is_asked_again(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    reads(stage, 2);
    hand_answers(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 0, "page 0");
    follows(stage, 1, stage->name, &follow_kind);
    struct list *question = list_pop(&stage->hand.questions);
    reads(stage, 2);
    hand_answers(&stage->hand, RC_OK, 7);
    turn(stage);
    got_is(stage, 0, "page 0");
    follows(stage, 1, stage->name, &follow_kind);
    list_push(&stage->hand.questions, question);
    hand_tells(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 1, "");
    hand_tells(&stage->hand, RC_OK, 7);
    turn(stage);
    got_is(stage, 1, "head 7 head 7");
    stage_free(stage);
}

/* mem says so once it has forgotten a channel: from then on any log there may begin anew, and nobody tells. */
static void memory_is_believed_until_it_forgets(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    follows(stage, 0, stage->live, &follow_kind);
    turn(stage);
    got_is(stage, 0, "head 0");
    follows(stage, 0, stage->live, &follow_kind);
    got_is(stage, 0, "head 0");
    ticks(stage, HEARTBEAT_TICKS);
    assert_int_equal(stage->posted.count, 0);
    stage->memory->has_one_writer = false;
    for (int i = 0; i < 2; i++) {
        follows(stage, 0, stage->live, &follow_kind);
        assert_int_equal(stage->posted.count, 1);
        turn(stage);
        got_is(stage, 0, "head 0");
    }
    publishes(stage, 1, stage->live);
    turn(stage);
    got_is(stage, 0, "deliver 1");
    stage_free(stage);
}

static void it_tells_its_numbers(void **state)
{
    (void)state;
    struct stage        *stage  = stage_followed();
    struct stats_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command = (struct command){ .kind = &stats_kind, .loop = 1 };
    publishes(stage, 0, stage->name);
    writer_take(&stage->writer, &command->command, WALL);
    assert_int_equal(stage->sent[1].count, 1);
    assert_int_equal(command->stats.waiting_count, 1);
    assert_int_equal(command->stats.waiting_bytes, sizeof(struct message) + PAYLOAD);
    assert_int_equal(command->stats.tail_count, 1);
    assert_int_equal(command->stats.followed_count, 1);
    stage_free(stage);
}

static msec asked_how_long_busy(struct stage *stage, msec wall)
{
    struct stats_command command = { .command = { .kind = &stats_kind, .loop = 1 } };

    writer_take(&stage->writer, &command.command, wall);
    stage->sent[1].count = 0;
    return command.stats.busy_ms;
}

/* Threat 46: readiness asks how long the disk has had its present group. */
static void it_tells_how_long_the_disk_has_been_busy(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);

    assert_int_equal(asked_how_long_busy(stage, WALL + 9000), 0);
    publishes(stage, 0, stage->name);
    turn(stage);
    assert_int_equal(asked_how_long_busy(stage, WALL + 6000), 6000);
    assert_int_equal(asked_how_long_busy(stage, WALL - 500), 0);  /* the clock was set back */
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    assert_int_equal(asked_how_long_busy(stage, WALL + 9000), 0);
    stage_free(stage);
}

/* A count goes to each loop that follows, and home. */
static void a_count_goes_round(void **state)
{
    (void)state;
    static const struct { const char *name; bool follows[LOOPS]; unsigned way[LOOPS + 1], stops; } rows[] = {
        { "nobody", { false, false }, { 1 }, 1 },
        { "the asker alone", { false, true }, { 1, 1 }, 2 },
        { "another alone", { true, false }, { 0, 1 }, 2 },
        { "everybody", { true, true }, { 0, 1, 1 }, 3 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage        *stage  = stage_new(&plenty);
        struct count_command *command = count_command_new(stage->live);
        for (unsigned loop = 0; loop < LOOPS; loop++)
            if (rows[i].follows[loop])
                follows(stage, loop, stage->live, &follow_kind);
        turn(stage);
        for (unsigned loop = 0; loop < LOOPS; loop++)
            commands_free(&stage->sent[loop]);
        command->asker = 1;
        for (unsigned stop = 0; stop < rows[i].stops; stop++) {
            writer_take(&stage->writer, &command->command, WALL);
            if (stage->sent[rows[i].way[stop]].count != 1 || command->is_home != (stop + 1 == rows[i].stops))
                fail_msg("%s, stop %u", rows[i].name, stop);
            stage->sent[rows[i].way[stop]].count = 0;
        }
        command_free(&command->command);
        stage_free(stage);
    }
}

static void hand_purges(struct stage *stage)
{
    struct append *append = container_of(hand_batch(&stage->hand)->appends.next, struct append, link);

    for (; !append->is_purge; append = container_of(append->link.next, struct append, link))
        ;
    append->outcome = APPEND_PURGED;
    append->purged  = (struct purge_answer){ EPOCH, 1, stage->hand.head + hand_batch(&stage->hand)->count - 1 };
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
}

/* --- in a cluster ----------------------------------------------------------------------------------------------- */

/* Register the route, then ask: what is published in between comes by the route, or is below the head. */
static void no_head_is_asked_for_before_its_route_stands(void **state)
{
    (void)state;
    struct stage *stage = stage_in_cluster();

    follows(stage, 0, stage->name, &follow_kind);
    ticks(stage, 2 * HEARTBEAT_TICKS);
    told_is(stage, "follow");
    assert_int_equal(questions_count(stage), 0);
    writer_routed(&stage->writer, stage->name);
    turn(stage);
    assert_int_equal(questions_count(stage), 1);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    writer_routed(&stage->writer, stage->name);
    follows(stage, 1, stage->name, &follow_kind);
    told_is(stage, "");  /* the node has its route */
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 1, "head 5");
    stage_free(stage);
}

static void a_question_of_before_the_route_does_not_count(void **state)
{
    (void)state;
    struct stage *stage = stage_in_cluster();

    stage->is_routed_at_once = true;
    follows(stage, 0, stage->name, &follow_kind);
    stage->is_routed_at_once = false;
    follows(stage, 0, stage->name, &unfollow_kind);
    follows(stage, 1, stage->name, &follow_kind);
    told_is(stage, "follow unfollow follow");
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    assert_int_equal(questions_count(stage), 0);
    got_is(stage, 1, "");
    writer_routed(&stage->writer, stage->name);
    turn(stage);
    hand_tells(&stage->hand, RC_OK, 6);
    turn(stage);
    got_is(stage, 1, "head 6");
    stage_free(stage);
}

static void who_unfollows_before_the_route_stands_asks_nothing(void **state)
{
    (void)state;
    struct stage *stage = stage_in_cluster();

    follows(stage, 0, stage->name, &follow_kind);
    follows(stage, 0, stage->name, &unfollow_kind);
    told_is(stage, "follow unfollow");
    writer_routed(&stage->writer, stage->name);
    turn(stage);
    assert_int_equal(questions_count(stage), 0);
    assert_null(tails_find(&stage->writer.tails, stage->name));
    writer_routed(&stage->writer, stage->name);
    stage_free(stage);
}

/* The memory store of this node is its own: it has no routes. */
static void the_cluster_hears_what_this_node_commits_to_shared_logs(void **state)
{
    (void)state;
    struct stage   *stage   = stage_in_cluster();
    struct message *message = message_new(stage->name, MESSAGE_PLAIN, "", 0, SPAN(""), SPAN(""));

    follows(stage, 0, stage->live, &follow_kind);
    publishes(stage, 0, stage->live);
    publishes(stage, 0, stage->name);
    turn(stage);
    told_is(stage, "");
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    told_is(stage, "committed 1");
    message->epoch = EPOCH;
    message->seq   = 2;
    writer_hear(&stage->writer, message);
    turn(stage);
    told_is(stage, "");
    message_unref(message);
    publishes(stage, 0, stage->name);
    turn(stage);
    ticks(stage, plenty.deadline_ticks + 1);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    told_is(stage, "committed 2");  /* late, and delivered like any other */
    stage_free(stage);
}

/* Loop 0 of a node in a cluster follows the channel, whose head is 5. */
static struct stage *stage_routed(void)
{
    struct stage *stage = stage_in_cluster();

    stage->is_routed_at_once = true;
    stage->hand.head         = 5;
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 0, "head 5");
    stage->told[0] = '\0';
    return stage;
}

/* How many ticks pass until the store is asked. */
static unsigned ticks_until_asked(struct stage *stage, unsigned most)
{
    for (unsigned count = 1; count <= most; count++) {
        ticks(stage, 1);
        if (questions_count(stage) == 0)
            continue;
        hand_tells(&stage->hand, RC_OK, 5);
        turn(stage);
        return count;
    }
    return 0;
}

static void the_cluster_hears_of_purges_and_of_unknown_ends(void **state)
{
    (void)state;
    struct stage *stage = stage_in_cluster();

    publishes(stage, 0, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    purges(stage, 1, stage->name);
    turn(stage);
    hand_purges(stage);
    told_is(stage, "committed 1 purged 1");
    publishes(stage, 0, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_BROKEN);
    turn(stage);
    told_is(stage, "doubted");
    publishes(stage, 0, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    told_is(stage, "doubted committed 2");  /* now the others can read, too */
    stage_free(stage);
}

/* Loop 0 of a node in a cluster follows the channel, and holds its messages 6 and 7. */
static struct stage *stage_holding(void)
{
    struct stage *stage = stage_routed();

    for (uint64_t seq = 6; seq <= 7; seq++) {
        struct message *message = message_new(stage->name, MESSAGE_PLAIN, "", 0, SPAN(""), SPAN(""));
        message->epoch          = EPOCH;
        message->seq            = seq;
        writer_hear(&stage->writer, message);
        message_unref(message);
    }
    turn(stage);
    got_is(stage, 0, "deliver 6 7");
    assert_non_null(tails_find(&stage->writer.tails, stage->name)->ring);
    return stage;
}

static void a_purge_that_is_heard_reaches_the_loops(void **state)
{
    (void)state;
    struct stage *stage = stage_holding();

    writer_hear_purge(&stage->writer, stage->live, EPOCH, 7);
    writer_hear_purge(&stage->writer, stage->name, EPOCH, 7);
    got_is(stage, 0, "purge 7");
    assert_null(tails_find(&stage->writer.tails, stage->name)->ring);
    writer_take(&stage->writer, &stage->purged->command, WALL);
    writer_hear_purge(&stage->writer, stage->name, EPOCH + 1, 7);
    got_is(stage, 0, "");
    stage_free(stage);
}

/* Nobody told it: the comparison shows it. */
static void a_purge_that_was_lost_is_found(void **state)
{
    (void)state;
    struct stage *stage = stage_holding();

    writer_compare_all(&stage->writer);
    ticks(stage, 1);
    struct store_heads *question = container_of(list_pop(&stage->hand.questions), struct store_heads, link);
    question->heads[0]           = (struct store_head){ RC_OK, EPOCH, 8, 7 };
    question->done(question);
    turn(stage);
    got_is(stage, 0, "purge 7");
    assert_null(tails_find(&stage->writer.tails, stage->name)->ring);
    writer_take(&stage->writer, &stage->purged->command, WALL);
    stage_free(stage);
}

static void heads_are_compared_as_often_as_it_is_told(void **state)
{
    (void)state;
    struct stage *stage = stage_routed();

    ticks(stage, 3 * HEARTBEAT_TICKS);
    while (questions_count(stage) > 0)
        hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    assert_in_range(ticks_until_asked(stage, 2 * HEARTBEAT_TICKS), 1, HEARTBEAT_TICKS);
    writer_compare_each(&stage->writer, 3000);
    ticks(stage, 2 * HEARTBEAT_TICKS);
    while (questions_count(stage) > 0)
        hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    ticks_until_asked(stage, 3001);
    assert_in_range(ticks_until_asked(stage, 6000), 2990, 3010);
    writer_compare_all(&stage->writer);
    assert_int_equal(ticks_until_asked(stage, 5), 1);
    assert_int_equal(ticks_until_asked(stage, 3 * HEARTBEAT_TICKS), 0);  /* nothing is in doubt any more */
    stage_free(stage);
}

/* A batch whose outcome nobody knows may show itself whenever the store reopens: until a later one succeeds, all heads are
 * compared. */
static void after_a_batch_of_unknown_outcome_all_heads_are_compared(void **state)
{
    (void)state;
    struct stage *stage = stage_routed();

    writer_compare_each(&stage->writer, 3000);
    publishes(stage, 0, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_BROKEN);
    turn(stage);
    for (unsigned i = 0; i < 5; i++)
        assert_in_range(ticks_until_asked(stage, 2 * HEARTBEAT_TICKS), 1, HEARTBEAT_TICKS + 1);
    stage_free(stage);
}

/* Something is in doubt all the time, but not this head. */
static void doubts_do_not_stop_the_slow_walk(void **state)
{
    (void)state;
    struct stage *stage = stage_routed();
    unsigned      count = 0;

    writer_compare_each(&stage->writer, 300);
    ticks(stage, 2 * HEARTBEAT_TICKS);
    while (questions_count(stage) > 0)
        hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    for (unsigned i = 0; i < 1200; i++) {
        stage->writer.doubt_ticks = 2 * HEARTBEAT_TICKS;
        count += ticks_until_asked(stage, 1);
    }
    assert_in_range(count, 3, 5);
    stage_free(stage);
}

/* --- purges ----------------------------------------------------------------------------------------------------- */

/* Each loop that follows is told behind the messages of before, and the answer comes when all have been. */
static void a_purge_is_answered_when_every_loop_knows(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);
    char          words[256];

    for (unsigned loop = 0; loop < LOOPS; loop++)
        follows(stage, loop, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 0);
    turn(stage);
    got(stage, 0, words);
    got(stage, 1, words);
    publishes(stage, 0, stage->name);
    purges(stage, 1, stage->name);
    turn(stage);
    hand_purges(stage);
    assert_string_equal(got(stage, 0, words), "published 1 deliver 1 purge 1");
    assert_string_equal(got(stage, 1, words), "deliver 1");
    assert_null(tails_find(&stage->writer.tails, stage->name)->ring);
    assert_int_equal(tails_find(&stage->writer.tails, stage->name)->first, 2);
    writer_take(&stage->writer, &stage->purged->command, WALL);
    assert_string_equal(got(stage, 1, words), "purge 1");
    writer_take(&stage->writer, &stage->purged->command, WALL);
    assert_string_equal(got(stage, 1, words), "purged");
    stage_free(stage);
}

static void a_purge_that_nobody_follows_is_answered_at_once(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);
    char          words[256];

    publishes(stage, 0, stage->name);
    purges(stage, 0, stage->name);
    turn(stage);
    hand_purges(stage);
    assert_string_equal(got(stage, 0, words), "published 1 purged");
    publishes(stage, 0, stage->live);
    purges(stage, 1, stage->live);
    turn(stage);
    assert_string_equal(got(stage, 0, words), "published 1");
    assert_string_equal(got(stage, 1, words), "purged");
    stage_free(stage);
}

/* The store completes it after its deadline: the loops are told all the same. */
static void a_late_purge_is_carried_out_unanswered(void **state)
{
    (void)state;
    struct stage           *stage = stage_new(&plenty);
    char                    words[256];

    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 0);
    turn(stage);
    got(stage, 0, words);
    purges(stage, 1, stage->name);
    turn(stage);
    ticks(stage, plenty.deadline_ticks + 1);
    assert_string_equal(got(stage, 1, words), "broken");
    hand_purges(stage);
    assert_string_equal(got(stage, 0, words), "purge 0");
    writer_take(&stage->writer, &stage->purged->command, WALL);
    assert_string_equal(got(stage, 1, words), "");
    stage_free(stage);
}

/* An answer from before the purge says an old first seq. */
static void an_old_first_seq_is_not_believed(void **state)
{
    (void)state;
    struct stage *stage = stage_new(&plenty);
    char          words[256];

    publishes(stage, 0, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    follows(stage, 0, stage->name, &follow_kind);
    purges(stage, 1, stage->name);
    turn(stage);
    hand_purges(stage);
    hand_tells(&stage->hand, RC_OK, 1);
    turn(stage);
    assert_int_equal(tails_find(&stage->writer.tails, stage->name)->first, 2);
    got(stage, 0, words);
    command_free(&stage->purged->command);
    stage_free(stage);
}

/* --- which channels there are ----------------------------------------------------------------------------------- */

/* The durable store's answer, from words that are set apart by spaces; behind a `|` what it reached. */
static void hand_lists(struct stage *stage, const char *names)
{
    struct store_listing *listing = stage->hand.listing;
    struct span           rest = span_str(names), word;

    stage->hand.listing = NULL;
    store_listing_begin(listing);
    while (span_cut(&rest, ' ', &word)) {
        struct channel_name *name = NULL;
        if (span_starts(word, SPAN("|"))) {
            store_listing_end_at(listing, span_skip(word, 1));
            continue;
        }
        assert_int_equal(channel_name_new(&stage->spaces, &key, word, &name), CHANNEL_NAME_OK);
        struct listed_channel *listed = store_listing_add(listing, &name);
        listed->epoch                 = EPOCH;
        listed->head                  = 7;
    }
    listing->rc = RC_OK;
    listing->done(listing);
}

static void fill_memory(struct stage *stage, const char *text)
{
    struct channel_name *name = NULL;

    assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(text), &name), CHANNEL_NAME_OK);
    publishes(stage, 0, name);
    turn(stage);
    channel_name_unref(name);
    commands_free(&stage->sent[0]);
}

/* live: channels come from the memory store, whatever the durable one says of them; topic: and user: from the other. */
static void both_stores_are_listed_in_one_order(void **state)
{
    (void)state;
    static const struct { const char *name, *durable, *memory[4]; uint32_t limit; const char *want; } rows[] = {
        { "nothing", "", { NULL }, 5, "" },
        { "durable alone", "topic:a topic:b", { NULL }, 5, "topic:a topic:b" },
        { "memory alone", "", { "live:a", "live:b" }, 5, "live:a live:b" },
        { "mixed", "all:x topic:a user:z", { "live:b", "sys:s" }, 5, "all:x live:b sys:s topic:a user:z" },
        { "durable once, memory now", "live:a live:c topic:a", { "live:a", "live:b" }, 5, "live:a live:b topic:a" },
        { "more than the limit", "all:x topic:a user:z", { "live:b", "sys:s" }, 3, "all:x live:b sys:s |sys:s" },
        { "the durable page ends early", "all:x |all:y", { "live:b", "sys:s" }, 5, "all:x |all:y" },
        { "the memory page ends early", "all:x topic:a", { "live:a", "live:b", "live:c" }, 2, "all:x live:a |live:a" },
        { "an early end without a channel", "|all:y", { "live:b" }, 5, "|all:y" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage           *stage   = stage_new(&plenty);
        struct listing_command *command = listing_command_new(SPAN(""), SPAN(""), rows[i].limit);
        struct buf              told;

        for (size_t at = 0; at < 4 && rows[i].memory[at] != NULL; at++)
            fill_memory(stage, rows[i].memory[at]);
        command->asker = 1;
        writer_take(&stage->writer, &command->command, WALL);
        assert_false(writer_is_idle(&stage->writer));
        hand_lists(stage, rows[i].durable);
        turn(stage);
        assert_int_equal(stage->sent[1].count, 1);
        assert_int_equal(command->stage, LISTING_HOME);
        buf_init(&told, 4096);
        for (size_t at = 0; at < command->listing.count; at++)
            buf_putf(&told, "%s%s", at == 0 ? "" : " ", command->listing.channels[at].name->text);
        if (command->listing.reached.len > 0)
            buf_putf(&told, "%s|%.*s", told.len == 0 ? "" : " ", SPAN_ARG(buf_span(&command->listing.reached)));
        if (!span_eq(buf_span(&told), span_str(rows[i].want)))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&told)));
        buf_fini(&told);
        stage_free(stage);
    }
}

static void a_memory_store_lists_when_it_can(void **state)
{
    (void)state;
    for (int has_failed = 0; has_failed < 2; has_failed++) {
        struct stage           *stage   = stage_of_hands(&plenty);
        struct listing_command *command = listing_command_new(SPAN(""), SPAN(""), 5);
        writer_take(&stage->writer, &command->command, WALL);
        hand_lists(stage, "topic:a live:b");
        turn(stage);
        assert_int_equal(stage->sent[0].count, 0);
        assert_false(writer_is_idle(&stage->writer));
        struct store_listing *listing = stage->second.listing;
        store_listing_begin(listing);
        listing->rc = has_failed ? RC_IO : RC_OK;
        listing->done(listing);
        turn(stage);
        assert_int_equal(stage->sent[0].count, 1);
        assert_int_equal(command->listing.rc, has_failed ? RC_IO : RC_OK);
        assert_int_equal(command->listing.count, has_failed ? 0 : 1);
        assert_true(writer_is_idle(&stage->writer));
        stage_free(stage);
    }
}

static void a_store_that_cannot_list_is_told_of(void **state)
{
    (void)state;
    struct stage           *stage   = stage_new(&plenty);
    struct listing_command *command = listing_command_new(SPAN("topic:"), SPAN("topic:a"), 5);

    writer_take(&stage->writer, &command->command, WALL);
    assert_true(span_eq(stage->hand.listing->prefix, SPAN("topic:")));
    assert_true(span_eq(stage->hand.listing->after, SPAN("topic:a")));
    assert_int_equal(stage->hand.listing->limit, 5);
    stage->hand.listing->rc = RC_FULL;
    stage->hand.listing->done(stage->hand.listing);
    turn(stage);
    assert_int_equal(stage->sent[0].count, 1);
    assert_int_equal(command->listing.rc, RC_FULL);
    stage_free(stage);
}

/* The followers of all listed channels are counted in one round. */
static void a_listing_counts_on_its_way(void **state)
{
    (void)state;
    struct stage           *stage   = stage_new(&plenty);
    struct listing_command *command = listing_command_new(SPAN(""), SPAN(""), 5);

    follows(stage, 0, stage->name, &follow_kind);
    follows(stage, 1, stage->live, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 7);
    turn(stage);
    fill_memory(stage, "live:a");
    commands_free(&stage->sent[1]);
    writer_take(&stage->writer, &command->command, WALL);
    hand_lists(stage, "topic:a topic:b");
    turn(stage);
    for (unsigned loop = 0; loop < LOOPS; loop++) {
        assert_int_equal(command->stage, LISTING_COUNTING);
        assert_ptr_equal(stage->sent[loop].at[--stage->sent[loop].count], &command->command);
        writer_take(&stage->writer, &command->command, WALL);
    }
    assert_int_equal(command->stage, LISTING_HOME);
    assert_int_equal(command->listing.count, 3);
    stage_free(stage);
}

/* --- tails of quiet channels are folded --- */

static bool is_folded(const struct stage *stage)
{
    return tails_entry(&stage->writer.tails, stage->name) != NULL && tails_look(&stage->writer.tails, stage->name) == NULL;
}

/* Loop 0 follows the channel, whose head is 5, and nothing else is remembered of it. */
static struct stage *stage_folded(void)
{
    struct stage *stage = stage_followed();

    stage->writer.limits.fold_ticks = 1;
    ticks(stage, 1);
    assert_true(is_folded(stage));
    assert_int_equal(stage->writer.tails.pool.count, 0);
    got_is(stage, 0, "");
    return stage;
}

static void a_message_reaches_who_follows_a_folded_tail(void **state)
{
    (void)state;
    struct stage *stage = stage_folded();

    publishes(stage, 1, stage->name);
    turn(stage);
    assert_true(is_folded(stage));
    hand_ends(&stage->hand, APPEND_DONE);
    turn(stage);
    got_is(stage, 0, "deliver 6");
    got_is(stage, 1, "published 6");
    ticks(stage, 2);
    assert_false(is_folded(stage));  /* it holds the message */
    reads(stage, 5);
    got_is(stage, 0, "page 1");
    stage_free(stage);
}

static void who_follows_a_folded_tail_is_told_its_head(void **state)
{
    (void)state;
    struct stage *stage = stage_folded();

    follows(stage, 1, stage->name, &follow_kind);
    got_is(stage, 1, "head 5");
    assert_int_equal(questions_count(stage), 0);
    assert_false(is_folded(stage));
    ticks(stage, 1);
    assert_true(is_folded(stage));
    assert_int_equal(tails_followers(&stage->writer.tails, stage->name), 3);
    follows(stage, 0, stage->name, &unfollow_kind);
    follows(stage, 1, stage->name, &unfollow_kind);
    assert_null(tails_entry(&stage->writer.tails, stage->name));
    stage_free(stage);
}

static void a_lost_hint_of_a_folded_tail_is_found(void **state)
{
    (void)state;
    struct stage *stage = stage_folded();

    heartbeat_comes(stage, 1, true);
    assert_true(is_folded(stage));  /* this loop does not follow it */
    heartbeat_comes(stage, 0, true);
    ticks(stage, 2);
    got_is(stage, 0, "heartbeat 0 moved 5");
    stage_free(stage);
}

/* The epoch of another log of the store is kept for all that are folded. */
static void what_a_folded_tail_forgot_the_store_is_asked(void **state)
{
    (void)state;
    struct stage *stage = stage_followed();

    stage->writer.limits.fold_ticks = 1;
    stage->writer.tails.folded_counts[1]++;
    ticks(stage, 1);
    assert_true(is_folded(stage));
    follows(stage, 1, stage->name, &follow_kind);
    got_is(stage, 1, "");
    ticks(stage, 1);
    assert_false(is_folded(stage));  /* somebody waits */
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    got_is(stage, 1, "head 5");
    ticks(stage, 3);
    got_is(stage, 0, "moved 5");  /* which it knows */
    ticks(stage, 1);
    assert_true(is_folded(stage));
    heartbeat_comes(stage, 0, true);
    ticks(stage, HEARTBEAT_TICKS);
    hand_tells(&stage->hand, RC_OK, 6);
    ticks(stage, 3);
    got_is(stage, 0, "heartbeat 1 moved 6");
    stage->writer.tails.folded_counts[1]--;
    stage_free(stage);
}

static void what_a_broken_store_wrote_to_a_folded_tail_is_found(void **state)
{
    (void)state;
    struct stage *stage = stage_folded();

    publishes(stage, 1, stage->name);
    turn(stage);
    hand_ends(&stage->hand, APPEND_BROKEN);
    turn(stage);
    ticks(stage, HEARTBEAT_TICKS);
    assert_false(is_folded(stage));
    hand_tells(&stage->hand, RC_OK, 6);
    ticks(stage, 3);
    got_is(stage, 0, "moved 6");
    stage_free(stage);
}

/* A memory store lets a log go, which may begin again with seq 1: then all heads are compared. */
static void what_was_folded_is_compared_where_logs_may_begin_again(void **state)
{
    (void)state;
    struct stage *stage = stage_folded();

    stage->hand.store.has_one_writer = false;
    ticks(stage, HEARTBEAT_TICKS);
    assert_false(is_folded(stage));
    hand_tells(&stage->hand, RC_OK, 5);
    ticks(stage, HEARTBEAT_TICKS);
    assert_false(is_folded(stage));
    hand_tells(&stage->hand, RC_OK, 6);
    ticks(stage, 3);
    got_is(stage, 0, "moved 6");
    stage_free(stage);
}

static void a_purge_reaches_who_follows_a_folded_tail(void **state)
{
    (void)state;
    struct stage *stage = stage_folded();

    purges(stage, 1, stage->name);
    turn(stage);
    hand_purges(stage);
    got_is(stage, 0, "purge 5");
    writer_take(&stage->writer, &stage->purged->command, WALL);
    got_is(stage, 1, "purged");
    stage_free(stage);
}

static void a_name_is_shared_and_counted_though_its_tail_is_folded(void **state)
{
    (void)state;
    struct stage        *stage = stage_folded();
    struct channel_name *copy  = NULL;

    assert_int_equal(channel_name_new(&stage->spaces, &key, SPAN("topic:a"), &copy), CHANNEL_NAME_OK);
    copy = writer_share_name(&stage->writer, copy);
    assert_ptr_equal(copy, stage->name);
    channel_name_unref(copy);
    struct count_command *command = count_command_new(stage->name);
    command->asker                = 1;
    writer_take(&stage->writer, &command->command, WALL);
    assert_int_equal(stage->sent[0].count, 1);
    assert_true(is_folded(stage));
    stage_free(stage);
}

/* What other processes append comes only to a tail that knows its head. */
static void where_others_append_nothing_is_folded(void **state)
{
    (void)state;
    struct stage *stage = stage_over(&plenty, false, 1);

    stage->writer.limits.fold_ticks = 1;
    follows(stage, 0, stage->name, &follow_kind);
    hand_tells(&stage->hand, RC_OK, 5);
    turn(stage);
    ticks(stage, 5);
    assert_false(is_folded(stage));
    stage_free(stage);
}

/* --- what others are shown ---------------------------------------------------------------------------------------- */

static void is_shown_a_head(struct stage *stage)
{
    writer_note_heads(&stage->writer, &(struct store_heads){
        .names = &stage->name, .heads = &(struct store_head){ RC_OK, EPOCH, 1, 7 }, .count = 1,
    });
}

static void is_shown_a_page(struct stage *stage)
{
    reads_from(stage, 2, READ_STORE);
    hand_answers(&stage->hand, RC_OK, 7);
    turn(stage);
    commands_free(&stage->sent[0]);
}

static void is_shown_a_listing(struct stage *stage)
{
    struct listing_command *command = listing_command_new(SPAN(""), SPAN(""), 5);

    writer_take(&stage->writer, &command->command, WALL);
    hand_lists(stage, "topic:a");
    turn(stage);
    commands_free(&stage->sent[0]);
}

static void (*const showings[])(struct stage *) = { is_shown_a_head, is_shown_a_page, is_shown_a_listing };

enum { SHOWINGS = sizeof showings / sizeof showings[0] };

/* The first question after the head was answered with 5, but the answer is under way. */
static void an_answer_that_is_older_than_what_others_are_shown_is_not_told(void **state)
{
    (void)state;
    for (int i = 0; i < SHOWINGS; i++) {
        struct stage *stage = stage_new(&plenty);
        follows(stage, 0, stage->name, &follow_kind);
        struct list *question = list_pop(&stage->hand.questions);
        showings[i](stage);
        list_push(&stage->hand.questions, question);
        hand_tells(&stage->hand, RC_OK, 5);
        turn(stage);
        got_is(stage, 0, "");
        hand_tells(&stage->hand, RC_OK, 7);
        turn(stage);
        got_is(stage, 0, "head 7");
        stage_free(stage);
    }
}

/* Who was shown 7 and follows from there must not be told that the log ends at 5. */
static void a_known_head_that_is_older_than_what_others_are_shown_is_asked_for(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * SHOWINGS; i++) {
        struct stage *stage = i < SHOWINGS ? stage_followed() : stage_folded();
        showings[i % SHOWINGS](stage);
        follows(stage, 1, stage->name, &follow_kind);
        got_is(stage, 1, "");
        hand_tells(&stage->hand, RC_OK, 7);
        turn(stage);
        got_is(stage, 1, "head 7");
        stage_free(stage);
    }
}

static void what_is_shown_and_known_is_not_asked_for(void **state)
{
    (void)state;
    for (int i = 0; i < SHOWINGS; i++) {
        struct stage *stage = stage_new(&plenty);
        follows(stage, 0, stage->name, &follow_kind);
        hand_tells(&stage->hand, RC_OK, 7);
        turn(stage);
        got_is(stage, 0, "head 7");
        stage->writer.limits.fold_ticks = 1;
        ticks(stage, 1);
        assert_true(is_folded(stage));
        showings[i](stage);
        assert_true(is_folded(stage));
        follows(stage, 1, stage->name, &follow_kind);
        got_is(stage, 1, "head 7");
        stage_free(stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_head_is_asked_for_before_its_route_stands),
        cmocka_unit_test(a_question_of_before_the_route_does_not_count),
        cmocka_unit_test(who_unfollows_before_the_route_stands_asks_nothing),
        cmocka_unit_test(the_cluster_hears_what_this_node_commits_to_shared_logs),
        cmocka_unit_test(the_cluster_hears_of_purges_and_of_unknown_ends),
        cmocka_unit_test(a_purge_that_is_heard_reaches_the_loops),
        cmocka_unit_test(a_purge_that_was_lost_is_found),
        cmocka_unit_test(heads_are_compared_as_often_as_it_is_told),
        cmocka_unit_test(after_a_batch_of_unknown_outcome_all_heads_are_compared),
        cmocka_unit_test(doubts_do_not_stop_the_slow_walk),
        cmocka_unit_test(a_purge_is_answered_when_every_loop_knows),
        cmocka_unit_test(a_purge_that_nobody_follows_is_answered_at_once),
        cmocka_unit_test(a_late_purge_is_carried_out_unanswered),
        cmocka_unit_test(an_old_first_seq_is_not_believed),
        cmocka_unit_test(both_stores_are_listed_in_one_order),
        cmocka_unit_test(a_store_that_cannot_list_is_told_of),
        cmocka_unit_test(a_listing_counts_on_its_way),
        cmocka_unit_test(what_waits_while_the_disk_is_busy_goes_as_one_group),
        cmocka_unit_test(groups_are_bounded),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(a_limit_may_fall_below_what_waits),
        cmocka_unit_test(each_outcome_is_answered),
        cmocka_unit_test(memory_answers_within_the_turn),
        cmocka_unit_test(what_still_waits_at_the_end_is_freed),
        cmocka_unit_test(one_question_answers_all_who_ask),
        cmocka_unit_test(the_head_never_goes_back_to_an_answer_that_was_overtaken),
        cmocka_unit_test(a_head_that_cannot_be_read_is_asked_for_again),
        cmocka_unit_test(unanswered_questions_are_freed_at_the_end),
        cmocka_unit_test(who_unfollows_hears_nothing_more),
        cmocka_unit_test(who_unfollows_waits_for_no_head_any_more),
        cmocka_unit_test(hints_of_a_turn_travel_together_but_not_too_many),
        cmocka_unit_test(no_head_and_no_page_overtakes_the_messages_it_knows_of),
        cmocka_unit_test(a_head_of_the_group_under_way_waits_for_its_end),
        cmocka_unit_test(no_head_is_trusted_that_was_learnt_before_the_store_failed),
        cmocka_unit_test(nor_one_that_was_learnt_before_its_first_good_word),
        cmocka_unit_test(a_head_never_steps_back_for_what_is_heard),
        cmocka_unit_test(what_was_purged_is_not_heard),
        cmocka_unit_test(a_head_that_is_heard_of_is_told_in_the_same_turn),
        cmocka_unit_test(messages_and_heads_that_are_heard_of_mix),
        cmocka_unit_test(many_readers_of_a_page_cost_one_read),
        cmocka_unit_test(a_page_that_is_old_serves_nobody_else),
        cmocka_unit_test(what_the_store_hears_comes_to_the_writer),
        cmocka_unit_test(an_ear_is_bounded),
        cmocka_unit_test(another_life_that_is_heard_of_is_asked_about),
        cmocka_unit_test(what_nobody_follows_is_not_kept),
        cmocka_unit_test(each_who_follows_asks_a_store_with_other_writers),
        cmocka_unit_test(a_question_from_before_the_log_was_followed_is_asked_again),
        cmocka_unit_test(an_answer_must_be_asked_for_after_the_follower_came),
        cmocka_unit_test(a_lost_message_of_others_is_found_by_the_heartbeat),
        cmocka_unit_test(many_heads_are_compared_in_bulk),
        cmocka_unit_test(no_head_is_passed_over_for_ever),
        cmocka_unit_test(a_heartbeat_compares_all_heads_however_many),
        cmocka_unit_test(a_paced_comparison_asks_for_its_share_a_tick),
        cmocka_unit_test(a_slow_store_is_asked_for_less),
        cmocka_unit_test(what_many_wait_for_is_compared_first),
        cmocka_unit_test(a_store_that_fails_is_asked_once_a_tick),
        cmocka_unit_test(a_damaged_channel_makes_no_other_head_doubtful),
        cmocka_unit_test(to_unfollow_is_safe_in_each_state),
        cmocka_unit_test(order_is_promised_a_channel_and_not_a_store),
        cmocka_unit_test(what_is_of_a_channel_under_way_waits_behind_it_and_nothing_else_does),
        cmocka_unit_test(a_batch_leaves_when_it_is_worth_a_commit),
        cmocka_unit_test(publishes_that_only_wait_may_be_left),
        cmocka_unit_test(lanes_share_what_waits),
        cmocka_unit_test(a_lane_leaves_something_for_the_others),
        cmocka_unit_test(hardly_a_message_waits_for_a_batch_of_other_channels),
        cmocka_unit_test(what_was_never_given_to_the_store_is_answered_so),
        cmocka_unit_test(a_batch_that_takes_too_long_is_answered_and_is_delivered_when_it_ends),
        cmocka_unit_test(who_lets_go_last_frees_a_late_publish),
        cmocka_unit_test(nobody_waits_for_a_batch_beyond_its_deadline),
        cmocka_unit_test(memory_is_published_to_between_two_turns),
        cmocka_unit_test(a_connection_that_follows_is_told_without_a_visit),
        cmocka_unit_test(only_what_needs_nobody_is_published_at_once),
        cmocka_unit_test(memory_that_is_elsewhere_is_answered_when_it_is_done),
        cmocka_unit_test(a_store_that_stands_does_not_hold_the_other),
        cmocka_unit_test(memory_that_takes_too_long_is_answered_and_delivered_later),
        cmocka_unit_test(no_head_of_memory_is_trusted_after_it_failed),
        cmocka_unit_test(a_head_of_memory_waits_for_the_group_under_way),
        cmocka_unit_test(a_memory_store_lists_when_it_can),
        cmocka_unit_test(a_channel_that_keeps_nothing_is_not_taken_for_purged),
        cmocka_unit_test(a_loop_that_takes_nothing_is_told_heads_alone),
        cmocka_unit_test(what_is_owed_to_a_loop_is_forgotten_when_it_unfollows),
        cmocka_unit_test(a_loop_that_has_lost_a_hint_is_told_all_heads),
        cmocka_unit_test(heads_are_owed_to_each_loop_for_itself),
        cmocka_unit_test(the_tail_answers_what_it_has_and_the_store_the_rest),
        cmocka_unit_test(memory_alone_answers_what_it_has_or_busy),
        cmocka_unit_test(a_page_that_knows_more_than_the_tail_is_a_reason_to_ask),
        cmocka_unit_test(a_question_that_a_page_overtakes_is_asked_again),
        cmocka_unit_test(memory_is_believed_until_it_forgets),
        cmocka_unit_test(it_tells_its_numbers),
        cmocka_unit_test(it_tells_how_long_the_disk_has_been_busy),
        cmocka_unit_test(a_count_goes_round),
        cmocka_unit_test(a_message_reaches_who_follows_a_folded_tail),
        cmocka_unit_test(who_follows_a_folded_tail_is_told_its_head),
        cmocka_unit_test(what_a_folded_tail_forgot_the_store_is_asked),
        cmocka_unit_test(a_lost_hint_of_a_folded_tail_is_found),
        cmocka_unit_test(what_a_broken_store_wrote_to_a_folded_tail_is_found),
        cmocka_unit_test(what_was_folded_is_compared_where_logs_may_begin_again),
        cmocka_unit_test(a_purge_reaches_who_follows_a_folded_tail),
        cmocka_unit_test(a_name_is_shared_and_counted_though_its_tail_is_folded),
        cmocka_unit_test(where_others_append_nothing_is_folded),
        cmocka_unit_test(an_answer_that_is_older_than_what_others_are_shown_is_not_told),
        cmocka_unit_test(a_known_head_that_is_older_than_what_others_are_shown_is_asked_for),
        cmocka_unit_test(what_is_shown_and_known_is_not_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
