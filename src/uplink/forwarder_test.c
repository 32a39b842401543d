/* Forwarders over one ledger and a back end that answers as the test says: order, batches, repeats with the same bounds,
 * refused messages, leases of two nodes, a node that stops at any step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/json/json.h"
#include "message/event_kind.h"
#include "store/mem.h"
#include "uplink/forwarder_priv.h"

#include <cmocka.h>

enum { WALL = 1000000, NODES = 2, CALLS_MAX = 256, GOT_MAX = 4096 };

static const struct hash_key hash_key = { 1, 2 };

struct node {
    struct stage      *stage;
    struct store      *memory;
    struct writer      writer;
    struct forwarders  forwarders;
    struct bundle      posted;
    struct registry    registry;
    bool               has_registry;
    unsigned           published;        /* answers that came */
};

/* What the back end got: one place of a log. */
struct got { char channel[64]; uint64_t seq; };

struct stage {
    struct namespaces    spaces;
    struct namespace    *up;
    struct store        *durable;
    struct node          nodes[NODES];
    unsigned             node_count;
    msec                 now, wall;
    struct backend_call *calls[CALLS_MAX];   /* with the back end */
    size_t               call_count;
    unsigned             status;             /* that it answers; 0: it can't be reached */
    const char          *poison;             /* what holds this text is 422 */
    const char          *after;              /* Retry-After */
    size_t               batches, most_under_way;
    struct got           got[GOT_MAX];
    size_t               got_count;
    char                 last_body[65536];
};

/* --- one node ------------------------------------------------------------------------------------------------------------ */

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    (void)ctx;
    (void)loop;
    command_free(command);
}

static void on_post(void *ctx, struct command *command)
{
    bundle_add(&((struct node *)ctx)->posted, &command->mail);
}

static const struct writer_port port = { .send = on_send, .post = on_post };

static void on_call(void *ctx, struct span backend, struct backend_call *call)
{
    struct stage *stage = ((struct node *)ctx)->stage;

    assert_true(span_eq(backend, SPAN("app")) && stage->call_count < CALLS_MAX);
    assert_string_equal(call->target, "/in");
    stage->calls[stage->call_count++] = call;
    if (stage->most_under_way < stage->call_count)
        stage->most_under_way = stage->call_count;
}

static void on_cancel(void *ctx, struct backend_call *call)
{
    struct stage *stage = ((struct node *)ctx)->stage;

    for (size_t i = 0; i < stage->call_count; i++) {
        if (stage->calls[i] != call)
            continue;
        stage->calls[i] = stage->calls[--stage->call_count];
        call->outcome   = BACKEND_CANCELLED;
        call->done(call);
        return;
    }
}

static const struct registry *on_registry(void *ctx)
{
    struct node *node = ctx;

    return node->has_registry ? &node->registry : NULL;
}

static const struct forwarder_port forwarder_port = { .send = on_call, .cancel = on_cancel, .registry = on_registry };

static const struct writer_limits plenty = {
    .waiting_count_max = 10000, .waiting_bytes_max = 1 << 24, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
    .deadline_ticks = 100, .delivery_count_max = 1000, .delivery_bytes_max = 1 << 20, .tail_bytes_max = 1 << 20,
    .tail_messages_max = 100,
};

static struct forwarder_options options_of(const struct stage *stage)
{
    return (struct forwarder_options){ .name = "forward:up", .space = stage->up, .prefix = "up:", .backend = "app",
                                       .target = "/in", .batch_max = 10, .tries = 3, .retry_ms_max = 30000 };
}

static void node_open(struct stage *stage, struct node *node, const char *name, uint64_t incarnation)
{
    struct forwarder_options options = options_of(stage);
    struct forwarders_setup  setup   = { .writer = &node->writer, .spaces = &stage->spaces, .hash_key = &hash_key,
                                         .port = &forwarder_port, .ctx = node, .has_role = true, .seed = 7,
                                         .self = { .incarnation = incarnation } };

    snprintf(setup.self.name, sizeof setup.self.name, "%s", name);
    *node = (struct node){ .stage = stage };
    node->memory = mem_store_new(&(struct mem_store_options){ .epoch_first = 90, .id_first = 1, .hash_key = hash_key });
    writer_init(&node->writer, &port, node, stage->durable, node->memory, &plenty, 1);
    registry_init(&node->registry);
    node->writer.wall = stage->wall;
    forwarders_init(&node->forwarders, &setup);
    forwarders_turn_begin(&node->forwarders, stage->now);
    assert_true(forwarders_configure(&node->forwarders, &options, 1));
}

static void node_turn(struct node *node)
{
    forwarders_turn_begin(&node->forwarders, node->stage->now);
    for (struct mail *mail = bundle_take(&node->posted), *next; mail != NULL; mail = next) {
        next = mail->next;
        writer_take(&node->writer, command_of(mail), node->stage->wall);
    }
    forwarders_turn_end(&node->forwarders);
    writer_turn_end(&node->writer, node->stage->wall);
}

static void node_tick(struct node *node)
{
    forwarders_turn_begin(&node->forwarders, node->stage->now);
    node->writer.wall = node->stage->wall;
    writer_tick(&node->writer, node->stage->wall);
    forwarders_tick(&node->forwarders);
    node_turn(node);
}

/* --- the back end -------------------------------------------------------------------------------------------------------- */

static uint64_t number_of(const struct json_doc *doc, struct span name)
{
    uint64_t number = 0;

    json_u64(json_member(doc, json_root(doc), name), &number);
    return number;
}

static void note_line(struct stage *stage, struct span line)
{
    struct json_doc doc;
    struct got     *got = &stage->got[stage->got_count];
    struct span     channel;

    json_doc_init(&doc);
    assert_true(json_parse(line, &(struct json_limits){ .depth_kept = 1 }, &doc));
    assert_true(json_string(json_member(&doc, json_root(&doc), SPAN("channel")), NULL, &channel));
    snprintf(got->channel, sizeof got->channel, "%.*s", SPAN_ARG(channel));
    got->seq = number_of(&doc, SPAN("seq"));
    if (got->seq != 0)
        stage->got_count++;
    assert_true(stage->got_count < GOT_MAX);
    json_doc_fini(&doc);
}

static unsigned status_of(struct stage *stage, struct span body)
{
    return stage->poison != NULL && memmem(body.at, body.len, stage->poison, strlen(stage->poison)) != NULL ? 422 : stage->status;
}

static void take_lines(struct stage *stage, struct span body)
{
    struct span line;

    stage->batches++;
    while (span_cut(&body, '\n', &line))
        note_line(stage, line);
}

/* The first one's turn. */
static void answer_one(struct stage *stage)
{
    struct backend_call *call = stage->calls[0];
    struct span          body = buf_span(&call->fetch->body);
    unsigned             status = status_of(stage, body);

    memmove(stage->calls, stage->calls + 1, --stage->call_count * sizeof stage->calls[0]);
    snprintf(stage->last_body, sizeof stage->last_body, "%.*s", SPAN_ARG(body));
    if (status >= 200 && status < 300 && body.at[0] == '[')
        stage->batches++;
    else if (status >= 200 && status < 300)
        take_lines(stage, body);
    call->outcome       = status == 0 ? BACKEND_UNREACHABLE : BACKEND_ANSWERED;
    call->fetch->status = status;
    if (stage->after != NULL)
        buf_put(&call->fetch->wanted[0].value, span_str(stage->after));
    call->done(call);
}

/* --- all of it ------------------------------------------------------------------------------------------------------------ */

static void open_stage(struct stage *stage)
{
    *stage = (struct stage){ .now = 1000, .wall = WALL, .status = 200 };
    namespaces_init(&stage->spaces);
    must(namespaces_add(&stage->spaces, SPAN("up"), &stage->up) == RC_OK);
    stage->durable = mem_store_new(&(struct mem_store_options){ .epoch_first = 7, .id_first = 1, .hash_key = hash_key });
}

static struct node *add_node(struct stage *stage, const char *name, uint64_t incarnation)
{
    struct node *node = &stage->nodes[stage->node_count++];

    node_open(stage, node, name, incarnation);
    return node;
}

static bool is_moving(const struct stage *stage)
{
    for (unsigned i = 0; i < stage->node_count; i++)
        if (stage->nodes[i].posted.newest != NULL || !list_is_empty(&stage->nodes[i].forwarders.writes))
            return true;
    return false;
}

static void settle(struct stage *stage)
{
    do {
        for (unsigned i = 0; i < stage->node_count; i++)
            node_turn(&stage->nodes[i]);
    } while (is_moving(stage));
}

/* The back end answers at once. */
static void flow(struct stage *stage)
{
    settle(stage);
    while (stage->call_count > 0) {
        answer_one(stage);
        settle(stage);
    }
}

static void pass(struct stage *stage, msec ms)
{
    for (msec end = stage->now + ms; stage->now < end;) {
        stage->now += 100;
        stage->wall += 100;
        for (unsigned i = 0; i < stage->node_count; i++)
            node_tick(&stage->nodes[i]);
        flow(stage);
    }
}

static void close_stage(struct stage *stage)
{
    for (unsigned i = 0; i < stage->node_count; i++)
        forwarders_stop(&stage->nodes[i].forwarders);
    stage->status = 503;
    pass(stage, 500);
    for (unsigned i = 0; i < stage->node_count; i++) {
        struct node *node = &stage->nodes[i];
        assert_true(forwarders_is_idle(&node->forwarders));
        forwarders_fini(&node->forwarders);
        writer_fini(&node->writer);
        registry_fini(&node->registry);
        node->memory->ops->close(node->memory);
    }
    stage->durable->ops->close(stage->durable);
}

static struct channel_name *name_of(struct stage *stage, const char *channel)
{
    struct channel_name *name;

    must(channel_name_new(&stage->spaces, &hash_key, span_str(channel), &name) == CHANNEL_NAME_OK);
    return name;
}

static void on_published(struct publish_command *publish, struct writer *writer)
{
    struct node *node = container_of(writer, struct node, writer);

    assert_int_equal(publish->outcome, PUBLISH_DONE);
    forwarders_committed(&node->forwarders, publish->append.message);
    node->published++;
    command_free(&publish->command);
}

static void say_on(struct node *node, const char *channel, const char *text)
{
    struct channel_name *name    = name_of(node->stage, channel);
    struct message      *message = message_new(name, MESSAGE_PLAIN, text, (uint32_t)strlen(text), SPAN("text/plain"), SPAN("user:ann"));

    message->time                   = node->stage->wall;
    struct publish_command *publish = publish_command_new(&message, SPAN(""), SPAN(""));
    publish->settled                = on_published;
    channel_name_unref(name);
    publish_kind.at_writer(&publish->command, &node->writer);
}

static void say(struct stage *stage, const char *channel, unsigned count)
{
    char text[32];

    for (unsigned i = 0; i < count; i++) {
        snprintf(text, sizeof text, "text %u", i);
        say_on(&stage->nodes[0], channel, text);
    }
    node_turn(&stage->nodes[0]);
}

static const struct forwarder *forwarder_at(const struct stage *stage, unsigned node, const char *name)
{
    const struct forwarders *set = &stage->nodes[node].forwarders;

    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->at[i]->name, name) == 0)
            return set->at[i];
    fail_msg("no forwarder %s", name);
    return NULL;
}

static const struct forwarder *uploads_of(const struct stage *stage, unsigned node)
{
    return forwarder_at(stage, node, "forward:up");
}

/* Every message of the channel came, in order; what came again came behind what had come before, as a whole batch. */
static void assert_got(const struct stage *stage, const char *channel, uint64_t last)
{
    uint64_t next = 1;

    for (size_t i = 0; i < stage->got_count; i++) {
        const struct got *got = &stage->got[i];
        if (strcmp(got->channel, channel) != 0)
            continue;
        if (got->seq > next)
            fail_msg("%s: %d came before %d", channel, (int)got->seq, (int)next);
        next = got->seq == next ? next + 1 : next;
    }
    assert_int_equal(next, last + 1);
}

static size_t count_of(const struct stage *stage, const char *channel)
{
    size_t count = 0;

    for (size_t i = 0; i < stage->got_count; i++)
        count += strcmp(stage->got[i].channel, channel) == 0;
    return count;
}

/* --- the tests ------------------------------------------------------------------------------------------------------------ */

static void what_is_published_arrives_in_batches_in_order(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    add_node(&stage, "a", 1);
    pass(&stage, 200);
    assert_int_equal(counter_get(&uploads_of(&stage, 0)->counters.parts), FORWARDER_PARTS);
    say(&stage, "up:positions", 25);
    flow(&stage);
    assert_got(&stage, "up:positions", 25);
    assert_int_equal(stage.got_count, 25);
    assert_int_equal(stage.batches, 3);
    assert_int_equal(counter_get(&uploads_of(&stage, 0)->counters.backlog), 0);
    say(&stage, "up:positions", 1);
    say(&stage, "topic:else", 1);
    flow(&stage);
    assert_int_equal(stage.got_count, 26);
    close_stage(&stage);
}

static void what_was_there_before_is_found(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    add_node(&stage, "a", 1);
    say(&stage, "up:a", 3);
    say(&stage, "up:b", 12);
    pass(&stage, 300);
    assert_got(&stage, "up:a", 3);
    assert_got(&stage, "up:b", 12);
    assert_int_equal(stage.got_count, 15);
    close_stage(&stage);
}

static void a_back_end_that_is_away_loses_nothing_and_is_not_flooded(void **state)
{
    (void)state;
    struct stage stage;
    char         channel[32];

    open_stage(&stage);
    add_node(&stage, "a", 1);
    pass(&stage, 200);
    stage.status = 0;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(channel, sizeof channel, "up:c%u", i);
        say(&stage, channel, 3);
    }
    pass(&stage, 3600 * 1000);
    uint64_t tries = counter_get(&uploads_of(&stage, 0)->counters.retries);
    assert_true(tries >= 100 && tries < 200);  /* one in 30 s */
    assert_int_equal(counter_get(&uploads_of(&stage, 0)->counters.backlog), 600);
    stage.status         = 200;
    stage.most_under_way = 0;
    pass(&stage, 31000);
    assert_int_equal(stage.got_count, 600);
    assert_true(stage.most_under_way <= FORWARDER_WINDOW_MAX);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(channel, sizeof channel, "up:c%u", i);
        assert_got(&stage, channel, 3);
    }
    close_stage(&stage);
}

static void retry_after_is_kept_to(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    add_node(&stage, "a", 1);
    pass(&stage, 200);
    stage.status = 429;
    stage.after  = "120";
    say(&stage, "up:a", 1);
    flow(&stage);
    stage.status = 200;
    stage.after  = NULL;
    pass(&stage, 119000);
    assert_int_equal(stage.got_count, 0);
    pass(&stage, 2000);
    assert_int_equal(stage.got_count, 1);
    close_stage(&stage);
}

static void on_dead_read(struct read_command *read, struct writer *writer)
{
    (void)writer;
    *(struct read_command **)read->owner = read;
}

static struct read_command *read_dead(struct stage *stage)
{
    struct channel_name *name = name_of(stage, "sys:dead");
    struct read_command *read = read_command_new(name), *came = NULL;

    read->read.way = READ_AFTER;
    read->read.limit = 100;
    read->read.bytes_max = 1 << 20;
    read->read.wall = stage->wall;
    read->source    = READ_STORE;
    read->settled   = on_dead_read;
    read->owner     = &came;
    channel_name_unref(name);
    read_kind.at_writer(&read->command, &stage->nodes[0].writer);
    settle(stage);
    assert_non_null(came);
    return came;
}

static void a_message_that_is_refused_goes_to_the_dead_letters_and_the_rest_goes_on(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    struct node *node = add_node(&stage, "a", 1);
    pass(&stage, 200);
    stage.poison = "poison";
    for (unsigned i = 1; i <= 10; i++)
        say_on(node, "up:a", i == 7 ? "poison" : "fine");
    say_on(node, "up:b", "fine");
    node_turn(node);
    flow(&stage);
    assert_got(&stage, "up:b", 1);  /* is not held up */
    assert_got(&stage, "up:a", 6);
    pass(&stage, 10000);
    assert_int_equal(count_of(&stage, "up:a"), 9);
    assert_int_equal(counter_get(&uploads_of(&stage, 0)->counters.dead), 1);
    struct read_command *read = read_dead(&stage);
    assert_int_equal(read->read.entry_count, 1);
    struct span letter = message_payload(read->read.entries[0].message);
    assert_non_null(memmem(letter.at, letter.len, "\"status\":422,\"backend\":\"app\",\"forwarder\":\"forward:up\"", 52));
    assert_non_null(memmem(letter.at, letter.len, "\"channel\":\"up:a\"", 16));
    assert_non_null(memmem(letter.at, letter.len, "\"seq\":7", 7));
    assert_non_null(memmem(letter.at, letter.len, "\"data\":\"poison\"", 15));
    command_free(&read->command);
    /* Batches have their size again. */
    size_t batches = stage.batches;
    say(&stage, "up:a", 10);
    flow(&stage);
    assert_int_equal(stage.batches, batches + 1);
    close_stage(&stage);
}

static void a_log_that_begins_anew_begins_with_a_gap(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    struct node *node = add_node(&stage, "a", 1);
    pass(&stage, 200);
    say(&stage, "up:a", 2);
    flow(&stage);
    /* The cursor is of a life that the log no longer has. */
    struct channel_name      *name    = name_of(&stage, "up:a");
    struct forwarder_channel *channel = forwarder_channel_find(node->forwarders.at[0], name);
    channel_name_unref(name);
    channel->cursor.epoch = 4711;
    say(&stage, "up:a", 1);
    flow(&stage);
    assert_non_null(strstr(stage.last_body, "\"why\":\"epoch\""));
    assert_int_equal(stage.got_count, 2 + 3);
    close_stage(&stage);
}

/* --- webhooks ------------------------------------------------------------------------------------------------------------- */

static void event_on(struct node *node, const char *channel, const char *type)
{
    struct channel_name *name = name_of(node->stage, channel);
    char                 text[64];

    snprintf(text, sizeof text, "{\"type\":\"%s\"}", type);
    struct message *message = message_new_event(name, MESSAGE_PLAIN, text, (uint32_t)strlen(text), SPAN("application/json"),
                                                SPAN(""), span_str(type));
    message->time                   = node->stage->wall;
    struct publish_command *publish = publish_command_new(&message, SPAN(""), SPAN(""));
    publish->settled                = on_published;
    channel_name_unref(name);
    publish_kind.at_writer(&publish->command, &node->writer);
}

static void hook_up(struct node *node)
{
    struct forwarder_options hook = { .name = "webhook:crm", .space = &node->stage->spaces.events, .prefix = "sys:events/",
                                      .backend = "app", .target = "/in", .body = FORWARDER_EVENTS, .batch_max = 10, .tries = 1,
                                      .retry_ms_max = 300000, .give_up_ms = 24 * 3600 * 1000,
                                      .kinds = EVENT_KIND_CONNECTED | EVENT_KIND_OFFLINE };

    assert_true(forwarders_configure(&node->forwarders, &hook, 1));
}

/* The newest body that came. */
static bool last_has(const struct stage *stage, const char *text)
{
    return strstr(stage->last_body, text) != NULL;
}

static void a_webhook_gets_the_kinds_that_it_asks_for(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    struct node *node = add_node(&stage, "a", 1);
    hook_up(node);
    pass(&stage, 300);
    event_on(node, "sys:events/3", "connected");
    event_on(node, "sys:events/3", "joined");
    event_on(node, "sys:events/3", "offline");
    node_turn(node);
    flow(&stage);
    assert_true(stage.batches > 0 && last_has(&stage, "\"type\":\"offline\""));
    assert_false(last_has(&stage, "joined"));
    size_t batches = stage.batches;
    event_on(node, "sys:events/3", "joined");  /* nobody asks for it: the cursor moves without a call */
    node_turn(node);
    flow(&stage);
    assert_int_equal(stage.batches, batches);
    assert_int_equal(counter_get(&forwarder_at(&stage, 0, "webhook:crm")->counters.backlog), 0);
    assert_true(counter_get(&forwarder_at(&stage, 0, "webhook:crm")->counters.skipped) >= 2);
    close_stage(&stage);
}

/* In order: what comes behind waits as long, 4xx or not; then it goes to sys:dead, and on. */
static void a_webhook_that_fails_is_tried_for_a_day(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    struct node *node = add_node(&stage, "a", 1);
    hook_up(node);
    pass(&stage, 300);
    stage.status = 400;
    event_on(node, "sys:events/3", "connected");
    node_turn(node);
    flow(&stage);
    pass(&stage, 3600 * 1000);
    uint64_t retries = counter_get(&forwarder_at(&stage, 0, "webhook:crm")->counters.retries);
    assert_true(retries > 12 && retries < 30);  /* at last one in five minutes */
    assert_int_equal(counter_get(&forwarder_at(&stage, 0, "webhook:crm")->counters.dead), 0);
    stage.wall += 23 * 3600 * 1000;
    pass(&stage, 400000);
    assert_int_equal(counter_get(&forwarder_at(&stage, 0, "webhook:crm")->counters.dead), 1);
    stage.status = 200;
    event_on(node, "sys:events/3", "offline");
    node_turn(node);
    pass(&stage, 301000);
    assert_true(last_has(&stage, "offline") && !last_has(&stage, "connected"));
    struct read_command *read = read_dead(&stage);
    assert_int_equal(read->read.entry_count, 1);
    command_free(&read->command);
    close_stage(&stage);
}

static void a_webhook_that_is_configured_away_gives_its_parts_up(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    struct node *node = add_node(&stage, "a", 1);
    hook_up(node);
    pass(&stage, 300);
    stage.status = 500;
    event_on(node, "sys:events/3", "connected");
    node_turn(node);
    flow(&stage);
    assert_true(forwarders_configure(&node->forwarders, NULL, 0));
    pass(&stage, 500);
    assert_int_equal(counter_get(&forwarder_at(&stage, 0, "webhook:crm")->counters.parts), 0);
    assert_int_equal(counter_get(&forwarder_at(&stage, 0, "webhook:crm")->counters.backlog), 0);
    stage.status = 200;
    hook_up(node);
    pass(&stage, 2000);
    assert_true(last_has(&stage, "connected"));
    close_stage(&stage);
}

/* --- nodes ---------------------------------------------------------------------------------------------------------------- */

static void knows(struct node *node, const char *const *names, const uint64_t *incarnations, const bool *draining, size_t count)
{
    struct node_record    records[NODES];
    struct registry_lease leases[NODES];

    for (size_t i = 0; i < count; i++) {
        records[i] = (struct node_record){ .id = { .incarnation = incarnations[i] }, .started = (msec)incarnations[i],
                                           .roles = ROLE_FORWARD, .is_draining = draining[i] };
        snprintf(records[i].id.name, sizeof records[i].id.name, "%s", names[i]);
        leases[i] = (struct registry_lease){ &records[i], 1000000 };
    }
    registry_take(&node->registry, leases, count, node->stage->wall, NULL, NULL);
    node->has_registry = true;
}

static const char *const both[] = { "a", "b" };

static void both_know(struct stage *stage, bool a_drains)
{
    for (unsigned i = 0; i < NODES; i++)
        knows(&stage->nodes[i], both, (uint64_t[]){ 1, 2 }, (bool[]){ a_drains, false }, 2);
}

static unsigned parts_of(const struct stage *stage, unsigned node)
{
    return (unsigned)counter_get(&uploads_of(stage, node)->counters.parts);
}

static void two_nodes_share_the_parts_and_hand_them_over(void **state)
{
    (void)state;
    struct stage stage;
    char         channel[32];

    open_stage(&stage);
    add_node(&stage, "a", 1);
    knows(&stage.nodes[0], both, (uint64_t[]){ 1 }, (bool[]){ false }, 1);
    pass(&stage, 300);
    assert_int_equal(parts_of(&stage, 0), FORWARDER_PARTS);
    add_node(&stage, "b", 2);
    both_know(&stage, false);
    pass(&stage, 3000);
    assert_true(parts_of(&stage, 0) > 0 && parts_of(&stage, 1) > 0);
    assert_int_equal(parts_of(&stage, 0) + parts_of(&stage, 1), FORWARDER_PARTS);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(channel, sizeof channel, "up:c%u", i);
        say(&stage, channel, 2);
    }
    pass(&stage, 31000);  /* what node a had no part of is found by the sweep of b */
    assert_int_equal(stage.got_count, 80);
    both_know(&stage, true);
    pass(&stage, 3000);
    assert_int_equal(parts_of(&stage, 0), 0);
    assert_int_equal(parts_of(&stage, 1), FORWARDER_PARTS);
    say_on(&stage.nodes[1], "up:c1", "more");
    node_turn(&stage.nodes[1]);
    flow(&stage);
    assert_int_equal(stage.got_count, 81);
    assert_int_equal(counter_get(&uploads_of(&stage, 0)->counters.losses), 0);
    close_stage(&stage);
}

/* Node a is stopped after each number of turns, and node b, which sees that it is lost, goes on. Then a wakes up. */
static void a_node_that_was_stopped_moves_nothing(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 40; turns++) {
        struct stage stage;
        open_stage(&stage);
        struct node *a = add_node(&stage, "a", 1);
        knows(a, both, (uint64_t[]){ 1 }, (bool[]){ false }, 1);
        pass(&stage, 300);
        say(&stage, "up:a", 35);
        for (unsigned i = 0; i < turns; i++) {
            node_turn(a);
            if (stage.call_count > 0 && i % 3 == 2)
                answer_one(&stage);
        }
        struct node *b = add_node(&stage, "b", 2);
        knows(b, both + 1, (uint64_t[]){ 2 }, (bool[]){ false }, 1);
        size_t stuck = stage.call_count;  /* a's, which the back end still has */
        struct backend_call *held = stuck > 0 ? stage.calls[0] : NULL;
        stage.call_count = 0;
        for (unsigned i = 0; i < 50; i++) {
            stage.now += 100;
            stage.wall += 100;
            node_tick(b);
            node_turn(b);
            while (stage.call_count > 0) {
                answer_one(&stage);
                node_turn(b);
            }
        }
        assert_got(&stage, "up:a", 35);
        assert_int_equal(parts_of(&stage, 1), FORWARDER_PARTS);
        /* a wakes up, and its batch is answered. */
        if (held != NULL)
            stage.calls[stage.call_count++] = held;
        size_t count = stage.got_count;
        say_on(b, "up:a", "more");
        node_turn(b);
        pass(&stage, 500);
        assert_got(&stage, "up:a", 36);
        assert_true(stage.got_count - count <= 1 + 10);  /* at most the batch that a had sent */
        assert_int_equal(counter_get(&uploads_of(&stage, 1)->counters.losses), 0);
        close_stage(&stage);
    }
}

/* The same name, a newer incarnation: it takes everything over at once, and sends what was under way with the same bounds. */
static void a_restart_sends_the_same_batch_again(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    struct node *a = add_node(&stage, "a", 1);
    pass(&stage, 300);
    say(&stage, "up:a", 4);
    settle(&stage);
    assert_int_equal(stage.call_count, 1);
    char sent[65536];
    snprintf(sent, sizeof sent, "%.*s", SPAN_ARG(buf_span(&stage.calls[0]->fetch->body)));
    say(&stage, "up:a", 4);  /* would make the batch longer */
    struct backend_call *held = stage.calls[0];
    stage.call_count          = 0;
    struct node *b            = add_node(&stage, "a", 9);
    for (unsigned i = 0; i < 5; i++) {
        stage.now += 100;
        node_tick(b);
        node_turn(b);
    }
    assert_int_equal(stage.call_count, 1);
    assert_true(span_eq(buf_span(&stage.calls[0]->fetch->body), span_str(sent)));
    answer_one(&stage);
    node_turn(b);
    node_turn(b);
    while (stage.call_count > 0) {
        answer_one(&stage);
        node_turn(b);
    }
    assert_got(&stage, "up:a", 8);
    assert_int_equal(stage.got_count, 8);
    stage.calls[stage.call_count++] = held;
    (void)a;
    close_stage(&stage);
}

static void channels_that_are_not_behind_are_forgotten(void **state)
{
    (void)state;
    struct stage stage;
    char         channel[32];

    open_stage(&stage);
    struct node *node = add_node(&stage, "a", 1);
    pass(&stage, 200);
    for (unsigned i = 0; i < FORWARDER_IDLE_MAX + 50; i++) {
        snprintf(channel, sizeof channel, "up:c%u", i);
        say_on(node, channel, "x");
        if (i % 200 == 199) {
            flow(&stage);
            stage.got_count = 0;
        }
    }
    flow(&stage);
    assert_int_equal(node->forwarders.at[0]->channel_count, FORWARDER_IDLE_MAX);
    stage.got_count = 0;
    say(&stage, "up:c1", 1);  /* forgotten: its cursor is read again */
    flow(&stage);
    assert_int_equal(stage.got_count, 1);
    assert_int_equal(stage.got[0].seq, 2);
    close_stage(&stage);
}

/* Before another process takes this one's place. */
static void nothing_begins_while_it_holds(void **state)
{
    (void)state;
    struct stage stage;

    open_stage(&stage);
    struct forwarders *set = &add_node(&stage, "a", 1)->forwarders;
    pass(&stage, 200);
    say(&stage, "up:under-way", 1);
    settle(&stage);
    assert_int_equal(stage.call_count, 1);
    set->is_holding = true;
    say(&stage, "up:later", 1);
    pass(&stage, 2000);
    assert_int_equal(stage.call_count, 0);      /* the one that was under way; none behind it */
    assert_int_equal(stage.got_count, 1);
    assert_true(forwarders_is_still(set));
    assert_false(forwarders_is_idle(set));      /* it has its leases */
    set->is_holding = false;                    /* that process did not come up */
    pass(&stage, 200);
    assert_got(&stage, "up:later", 1);
    say(&stage, "up:under-way", 1);
    settle(&stage);
    assert_int_equal(stage.call_count, 1);
    assert_true(forwarders_is_still(set));      /* a call is not waited for */
    flow(&stage);
    close_stage(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_published_arrives_in_batches_in_order),
        cmocka_unit_test(what_was_there_before_is_found),
        cmocka_unit_test(a_back_end_that_is_away_loses_nothing_and_is_not_flooded),
        cmocka_unit_test(retry_after_is_kept_to),
        cmocka_unit_test(a_message_that_is_refused_goes_to_the_dead_letters_and_the_rest_goes_on),
        cmocka_unit_test(a_log_that_begins_anew_begins_with_a_gap),
        cmocka_unit_test(a_webhook_gets_the_kinds_that_it_asks_for),
        cmocka_unit_test(a_webhook_that_fails_is_tried_for_a_day),
        cmocka_unit_test(a_webhook_that_is_configured_away_gives_its_parts_up),
        cmocka_unit_test(two_nodes_share_the_parts_and_hand_them_over),
        cmocka_unit_test(a_node_that_was_stopped_moves_nothing),
        cmocka_unit_test(a_restart_sends_the_same_batch_again),
        cmocka_unit_test(channels_that_are_not_behind_are_forgotten),
        cmocka_unit_test(nothing_begins_while_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
