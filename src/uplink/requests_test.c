/* Requests over one ledger, and a back end that answers as the test says: one answer an id, whatever is repeated, and whichever
 * node ends at whichever step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "device/row_kind.h"
#include "message/control_message.h"
#include "node/cluster_port.h"
#include "node/peer_question.h"
#include "store/mem.h"
#include "uplink/requests_priv.h"

#include <cmocka.h>

enum { WALL = 1000000, NODES_MAX_HERE = 3, CALLS_HERE = 600, TOLD_HERE = 600 };

static const struct hash_key hash_key = { 1, 2 };

/* Nodes that begin now are alone with their ledger: calls share rows. */
static bool are_alone;

/* What a loop was told. */
struct told { enum request_outcome outcome; uint64_t seq; };

struct request_node {
    struct request_stage_of *stage;
    struct store            *memory;
    struct writer            writer;
    struct requests          requests;
    struct bundle            posted;
    struct registry          registry;
    bool                     has_registry, is_dead;
};

struct request_stage_of {
    struct namespaces    spaces;
    struct channel_name *log;
    struct store        *durable;
    struct request_node  nodes[NODES_MAX_HERE];
    unsigned             node_count;
    msec                 now, wall;
    struct backend_call *calls[CALLS_HERE];  /* with the back end … */
    struct request_node *callers[CALLS_HERE];
    size_t               call_count, called;   /* … and all that it got */
    struct told          told[TOLD_HERE];
    size_t               told_count;
};

/* Nodes that have died keep what they held: the stages stay. */
static struct request_stage_of *stages[512];
static size_t                   stage_count;

/* --- nodes ------------------------------------------------------------------------------------------------------ */

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    struct request_stage_of *stage   = ((struct request_node *)ctx)->stage;
    struct request_command  *request = container_of(command, struct request_command, command);

    (void)loop;
    if (command->kind == &request_kind) {
        assert_true(stage->told_count < TOLD_HERE);
        stage->told[stage->told_count++] = (struct told){ request->outcome,
                                                          request->answer == NULL ? 0 : request->answer->seq };
    }
    command_free(command);
}

static void on_post(void *ctx, struct command *command)
{
    bundle_add(&((struct request_node *)ctx)->posted, &command->mail);
}

static const struct writer_port port = { .send = on_send, .post = on_post };

static void on_call(void *ctx, struct span backend, struct backend_call *call)
{
    struct request_node     *node  = ctx;
    struct request_stage_of *stage = node->stage;

    assert_true(span_eq(backend, SPAN("app")) && stage->call_count < CALLS_HERE);
    stage->callers[stage->call_count] = node;
    stage->calls[stage->call_count++] = call;
    stage->called++;
}

static struct backend_call *take_call(struct request_stage_of *stage, size_t at)
{
    struct backend_call *call = stage->calls[at];

    stage->call_count--;
    memmove(stage->calls + at, stage->calls + at + 1, (stage->call_count - at) * sizeof stage->calls[0]);
    memmove(stage->callers + at, stage->callers + at + 1, (stage->call_count - at) * sizeof stage->callers[0]);
    return call;
}

static void on_cancel(void *ctx, struct backend_call *call)
{
    struct request_stage_of *stage = ((struct request_node *)ctx)->stage;

    for (size_t i = 0; i < stage->call_count; i++) {
        if (stage->calls[i] != call)
            continue;
        take_call(stage, i);
        call->outcome = BACKEND_CANCELLED;
        call->done(call);
        return;
    }
}

static const struct registry *on_registry(void *ctx)
{
    struct request_node *node = ctx;

    return node->has_registry ? &node->registry : NULL;
}

static const struct request_port request_port = { .send = on_call, .cancel = on_cancel, .registry = on_registry };

static const struct writer_limits plenty = {
    .waiting_count_max = 10000, .waiting_bytes_max = 1 << 24, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
    .deadline_ticks = 100, .delivery_count_max = 1000, .delivery_bytes_max = 1 << 20, .tail_bytes_max = 1 << 20,
    .tail_messages_max = 100,
};

static struct request_node *add_node(struct request_stage_of *stage, const char *name, uint64_t incarnation)
{
    struct request_node         *node   = &stage->nodes[stage->node_count++];
    const struct requests_limits limits = { .keep_ms = 86400000, .responses_bytes_max = 1000 };
    struct requests_setup        setup  = { .writer = &node->writer, .spaces = &stage->spaces, .hash_key = &hash_key,
                                            .port = &request_port, .ctx = node, .seed = incarnation,
                                            .self = { .incarnation = incarnation }, .is_alone = are_alone };

    snprintf(setup.self.name, sizeof setup.self.name, "%s", name);
    *node        = (struct request_node){ .stage = stage };
    node->memory = mem_store_new(&(struct mem_store_options){ .epoch_first = 90, .id_first = 1, .hash_key = hash_key });
    writer_init(&node->writer, &port, node, stage->durable, node->memory, &plenty, 1);
    registry_init(&node->registry);
    node->writer.wall = stage->wall;
    requests_init(&node->requests, &setup, &limits);
    requests_turn_begin(&node->requests, stage->now);
    return node;
}

/* One command at most. False: there was nothing to do. */
static bool node_step(struct request_node *node)
{
    struct mail *mail = bundle_take(&node->posted), *first = mail;

    requests_turn_begin(&node->requests, node->stage->now);
    if (first != NULL) {
        for (mail = first->next; mail != NULL;) {
            struct mail *next = mail->next;
            bundle_add(&node->posted, mail);
            mail = next;
        }
        writer_take(&node->writer, command_of(first), node->stage->wall);
    }
    requests_turn_end(&node->requests);
    writer_turn_end(&node->writer, node->stage->wall);
    return first != NULL || node->posted.newest != NULL;
}

static void settle(struct request_stage_of *stage)
{
    bool is_moving;

    do {
        is_moving = false;
        for (unsigned i = 0; i < stage->node_count; i++)
            is_moving = (!stage->nodes[i].is_dead && node_step(&stage->nodes[i])) || is_moving;
    } while (is_moving);
}

static void pass(struct request_stage_of *stage, msec ms)
{
    for (msec end = stage->now + ms; stage->now < end;) {
        stage->now += 100;
        stage->wall += 100;
        for (unsigned i = 0; i < stage->node_count; i++) {
            struct request_node *node = &stage->nodes[i];
            if (node->is_dead)
                continue;
            requests_turn_begin(&node->requests, stage->now);
            writer_tick(&node->writer, stage->wall);
            requests_tick(&node->requests);
        }
        settle(stage);
    }
}

static struct request_stage_of *stage_open(void)
{
    struct request_stage_of *stage = calloc(1, sizeof *stage);

    must(stage != NULL && stage_count < sizeof stages / sizeof stages[0]);
    stages[stage_count++] = stage;
    stage->now            = 1000;
    stage->wall           = WALL;
    namespaces_init(&stage->spaces);
    stage->durable = mem_store_new(&(struct mem_store_options){ .epoch_first = 7, .id_first = 1, .hash_key = hash_key });
    must(channel_name_new(&stage->spaces, &hash_key, SPAN("device:ann/phone"), &stage->log) == CHANNEL_NAME_OK);
    return stage;
}

/* --- clients and back end --------------------------------------------------------------------------------------- */

static struct request_command *request_new(struct request_stage_of *stage, const char *id, const char *body, bool is_at_least_once)
{
    struct request_command *request = request_command_new(REQUEST_SEND, 0, 0);

    request->channel          = channel_name_ref(stage->log);
    request->user             = SPAN("ann");
    request->device           = SPAN("phone");
    request->id               = span_str(id);
    request->backend          = SPAN("app");
    request->method           = SPAN("POST");
    request->target           = SPAN("/a");
    request->body             = span_str(body);
    request->is_at_least_once = is_at_least_once;
    memcpy(request->hash, body, strlen(body) < 16 ? strlen(body) : 16);
    return request;
}

static void send_request(struct request_node *node, struct request_command *request)
{
    requests_turn_begin(&node->requests, node->stage->now);
    node->writer.wall = node->stage->wall;
    requests_take(&node->requests, request);
}

static void back_end_answers(struct request_stage_of *stage, unsigned status, const char *body)
{
    struct request_node *node = stage->callers[0];
    struct backend_call *call = take_call(stage, 0);

    if (node->is_dead)
        return;
    call->outcome       = BACKEND_ANSWERED;
    call->fetch->status = status;
    buf_put(&call->fetch->answer, span_str(body));
    call->done(call);
}

/* Whatever is called is answered, now and later. */
static void flow(struct request_stage_of *stage)
{
    for (int i = 0; i < 40; i++) {
        pass(stage, 100);
        while (stage->call_count > 0) {
            back_end_answers(stage, 200, "done");
            settle(stage);
        }
    }
}

static void row_read_done(struct ledger_read *read)
{
    (void)read;
}

static void row_batch_done(struct ledger_batch *batch)
{
    (void)batch;
}

static void log_read_done(struct store_read *read)
{
    (void)read;
}

/* How many responses the log has, and the last one's payload. */
static size_t responses_in_log(struct request_stage_of *stage, char *ret_last, size_t size)
{
    struct store_read read = { .channel = stage->log, .way = READ_AFTER, .limit = 1000, .bytes_max = 1 << 20, .wall = stage->wall,
                               .done = log_read_done };

    stage->durable->ops->read(stage->durable, &read);
    assert_int_equal(read.rc, RC_OK);
    for (size_t i = 0; i < read.entry_count; i++) {
        assert_true(span_eq(control_message_type(read.entries[i].message), SPAN("response")));
        snprintf(ret_last, size, "%.*s", SPAN_ARG(message_payload(read.entries[i].message)));
    }
    size_t count = read.entry_count;
    store_read_fini(&read);
    return count;
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void an_answer_comes_in_the_log(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    char                     last[1024];

    send_request(node, request_new(stage, "1", "x", false));
    assert_int_equal(stage->told_count, 0);
    assert_int_equal(stage->call_count, 0);  /* not before it is durable */
    assert_false(requests_is_still(&node->requests));
    settle(stage);
    assert_true(requests_is_still(&node->requests) && !requests_is_idle(&node->requests));
    assert_int_equal(stage->told_count, 1);
    assert_int_equal(stage->told[0].outcome, REQUEST_ACCEPTED);
    assert_int_equal(stage->call_count, 1);
    back_end_answers(stage, 201, "\"hi\"");
    settle(stage);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_string_equal(last, "{\"request\":\"1\",\"status\":201,\"headers\":{},\"body\":\"\\\"hi\\\"\"}");
    assert_true(requests_is_idle(&node->requests));
    assert_int_equal(node->requests.works.count, 0);
}

/* A reload took its back end away. */
static void what_a_reload_broke_off_is_not_known_if_it_was_sent(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    char                     last[1024];

    for (unsigned is_sent = 0; is_sent < 2; is_sent++) {
        send_request(node, request_new(stage, is_sent ? "1" : "0", "x", false));
        settle(stage);
        struct backend_call *call = take_call(stage, 0);
        call->outcome = BACKEND_STOPPED;
        call->is_sent = is_sent == 1;
        call->done(call);
        settle(stage);
        assert_int_equal(responses_in_log(stage, last, sizeof last), is_sent + 1);
        assert_non_null(strstr(last, is_sent ? "\"status\":504," : "\"status\":503,"));
        assert_true((strstr(last, "\"Longwire-Outcome\":\"unknown\"") != NULL) == (is_sent == 1));
        assert_int_equal(counter_get(&node->requests.counters.unknown), is_sent);
    }
}

/* Threat 60. */
static void an_id_is_one_request(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *one = add_node(stage, "a", 5), *two = add_node(stage, "b", 6);
    char                     last[1024];
    static const enum request_outcome wanted[] = { REQUEST_ACCEPTED, REQUEST_CONFLICT, REQUEST_ACCEPTED, REQUEST_ACCEPTED,
                                                   REQUEST_CONFLICT, REQUEST_REPLAYED, REQUEST_REPLAYED, REQUEST_CONFLICT };

    two->has_registry = one->has_registry = true;
    send_request(one, request_new(stage, "1", "x", false));
    send_request(one, request_new(stage, "1", "y", false));
    settle(stage);
    send_request(one, request_new(stage, "1", "x", false));
    send_request(two, request_new(stage, "1", "x", false));
    settle(stage);
    send_request(two, request_new(stage, "1", "y", false));
    settle(stage);
    back_end_answers(stage, 200, "done");
    settle(stage);
    send_request(one, request_new(stage, "1", "x", false));
    pass(stage, 300);
    send_request(two, request_new(stage, "1", "x", false));
    pass(stage, 300);
    send_request(two, request_new(stage, "1", "y", false));
    pass(stage, 300);
    assert_int_equal(stage->told_count, sizeof wanted / sizeof wanted[0]);
    for (size_t i = 0; i < stage->told_count; i++)
        assert_int_equal(stage->told[i].outcome, wanted[i]);
    assert_int_equal(stage->told[5].seq, 1);
    assert_int_equal(stage->told[6].seq, 1);
    assert_int_equal(stage->called, 1);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
}

/* How many steps a request takes: commands of the writer, the back end's answer among them. True: it ended before. */
static bool run_steps(struct request_stage_of *stage, struct request_node *node, int steps)
{
    for (int step = 0; step < steps; step++) {
        if (node_step(node))
            continue;
        if (stage->call_count == 0)
            return true;
        back_end_answers(stage, 200, "done");
    }
    return false;
}

/* The node ends at a step; the client hears nothing, and sends the same request to the next one. */
static bool crash_at(int steps, bool is_at_least_once)
{
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    char                     last[1024];

    send_request(node, request_new(stage, "1", "x", is_at_least_once));
    bool   is_over      = run_steps(stage, node, steps);
    size_t called       = stage->called;
    bool   was_accepted = stage->told_count > 0;
    node->is_dead       = true;
    while (stage->call_count > 0)
        take_call(stage, 0);
    struct request_node *next = add_node(stage, "a", 6);
    if (!was_accepted)
        send_request(next, request_new(stage, "1", "x", is_at_least_once));
    flow(stage);
    send_request(next, request_new(stage, "1", "x", is_at_least_once));
    flow(stage);
    assert_int_equal(stage->told[stage->told_count - 1].outcome, REQUEST_REPLAYED);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    if (strstr(last, "unknown") == NULL)
        assert_true(stage->called >= 1);
    if (is_at_least_once)
        assert_null(strstr(last, "unknown"));
    else
        assert_true(stage->called <= 1 && (called == 0 || stage->called == called));
    return is_over;
}

static void a_node_may_end_at_any_step(void **state)
{
    (void)state;
    for (int steps = 0; !crash_at(steps, false); steps++)
        assert_true(steps < 60);
    for (int steps = 0; !crash_at(steps, true); steps++)
        assert_true(steps < 60);
}

static void a_large_request_is_kept_in_pieces(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5), *next;
    const size_t             len   = 3 * REQUEST_PIECE_BYTES;
    char                    *body  = malloc(len + 1), last[1024];

    must(body != NULL);
    memset(body, 'b', len);
    body[len] = '\0';
    send_request(node, request_new(stage, "1", body, true));
    settle(stage);
    assert_int_equal(stage->call_count, 1);
    node->is_dead = true;
    take_call(stage, 0);
    next = add_node(stage, "a", 6);
    pass(stage, 500);
    assert_int_equal(stage->call_count, 1);
    assert_true(span_eq(buf_span(&stage->calls[0]->fetch->body), span_of(body, len)));
    assert_string_equal(stage->calls[0]->target, "/a");
    assert_int_equal(counter_get(&next->requests.counters.resumed), 1);
    flow(stage);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    free(body);
}

/* The back end's answer comes to a node that was believed gone. */
static void a_late_answer_is_none(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *slow  = add_node(stage, "a", 5);
    char                     last[1024];

    send_request(slow, request_new(stage, "1", "x", false));
    settle(stage);
    add_node(stage, "a", 6);
    pass(stage, 500);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_non_null(strstr(last, "\"Longwire-Outcome\":\"unknown\""));
    back_end_answers(stage, 200, "done");
    pass(stage, 1000);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_int_equal(counter_get(&slow->requests.counters.taken_over), 1);
    assert_int_equal(slow->requests.works.count, 0);
}

static void a_living_node_keeps_its_calls(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *one = add_node(stage, "a", 5), *two = add_node(stage, "b", 6);
    struct node_record       records[2] = { { .id = { "a", 5 }, .started = 1 }, { .id = { "b", 6 }, .started = 2 } };
    struct registry_lease    leases[2]  = { { &records[0], 60000 }, { &records[1], 60000 } };
    char                     last[1024];

    registry_take(&two->registry, leases, 2, stage->wall, NULL, NULL);
    one->has_registry = two->has_registry = true;
    send_request(one, request_new(stage, "1", "x", false));
    settle(stage);
    pass(stage, 40000);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 0);
    one->is_dead = true;
    registry_take(&two->registry, leases + 1, 1, stage->wall + 30000, NULL, NULL);
    pass(stage, 3000);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
}

/* It was lost and is back, and the other node has not heard so yet. */
static void a_call_that_is_younger_than_the_loss_of_its_node_is_left_alone(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *one = add_node(stage, "a", 5), *two = add_node(stage, "b", 6);
    struct node_record       records[2] = { { .id = { "a", 5 }, .started = 1 }, { .id = { "b", 6 }, .started = 2 } };
    struct registry_lease    leases[2]  = { { &records[0], 60000 }, { &records[1], 60000 } };
    char                     last[1024];

    registry_take(&two->registry, leases, 2, stage->wall, NULL, NULL);
    registry_take(&two->registry, leases + 1, 1, stage->wall, NULL, NULL);
    one->has_registry = two->has_registry = true;
    pass(stage, 1000);
    send_request(one, request_new(stage, "1", "x", false));
    settle(stage);
    one->is_dead = true;
    pass(stage, 40000);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 0);
    pass(stage, 60000);  /* it was lost once more, and nobody has seen that it was back */
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
}

static void cancel(struct request_node *node, const char *id)
{
    send_request(node, request_cancel_new(node->stage->log, SPAN("ann"), SPAN("phone"), 0, span_str(id)));
}

static void a_cancelled_request_is_answered_499(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    char                     last[1024];

    send_request(node, request_new(stage, "1", "x", false));
    cancel(node, "1");
    pass(stage, 300);
    assert_int_equal(stage->called, 0);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_non_null(strstr(last, "\"status\":499"));
    send_request(node, request_new(stage, "2", "x", false));
    settle(stage);
    cancel(node, "2");
    pass(stage, 300);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 2);
    assert_non_null(strstr(last, "\"status\":499"));
    cancel(node, "2");
    cancel(node, "3");
    assert_int_equal(stage->told[stage->told_count - 1].outcome, REQUEST_DROPPED);
    assert_int_equal(stage->told[stage->told_count - 2].outcome, REQUEST_DROPPED);
}

/* responses_bytes_max is 1,000 here, and an answer has about 460 bytes. */
static void old_answers_are_gone(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    char                     body[401], id[2] = "1";

    memset(body, 'b', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    for (; id[0] <= '3'; id[0]++) {
        send_request(node, request_new(stage, id, "x", false));
        settle(stage);
        back_end_answers(stage, 200, body);
        pass(stage, 300);
    }
    for (id[0] = '1'; id[0] <= '3'; id[0]++) {
        send_request(node, request_new(stage, id, "x", false));
        pass(stage, 300);
        assert_int_equal(stage->told[stage->told_count - 1].outcome, id[0] == '1' ? REQUEST_GONE : REQUEST_REPLAYED);
    }
    assert_int_equal(stage->called, 3);
}

/* What the row RESPONSES says of ann's phone; 0: there is none. */
static uint64_t responses_row(struct request_stage_of *stage)
{
    const struct ledger_key key  = { ROW_RESPONSES, SPAN("ann\0phone") };
    struct ledger_read      read = { .way = LEDGER_GET, .keys = &key, .key_count = 1, .bytes_max = 1000, .wall = stage->wall,
                                     .done = row_read_done };

    stage->durable->ledger->ops->read(stage->durable->ledger, &read);
    assert_int_equal(read.row_count, 1);
    uint64_t generation = read.rows[0].generation;
    ledger_read_fini(&read);
    return generation;
}

static void request_once(struct request_stage_of *stage, struct request_node *node, const char *id)
{
    send_request(node, request_new(stage, id, "x", false));
    settle(stage);
    back_end_answers(stage, 200, "done");
    pass(stage, 300);
}

/* Each answer has 55 bytes: two of them pass a step of 100. */
static void bytes_of_answers_are_written_in_steps(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);

    node->requests.limits.responses_bytes_max = 64 * 100;
    request_once(stage, node, "1");
    assert_int_equal(responses_row(stage), 0);
    request_once(stage, node, "2");
    assert_int_equal(responses_row(stage), 111);
    request_once(stage, node, "3");
    assert_int_equal(responses_row(stage), 111);
    requests_stop(&node->requests);
    settle(stage);
    assert_int_equal(responses_row(stage), 166);
    assert_true(requests_is_idle(&node->requests));
}

/* A node of the release before puts a REQUEST row, too, when it claims an id. */
static void a_claim_of_an_older_server_is_under_way(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    struct request_row       row   = { .hash = "x", .claim = 77 };
    struct buf               value;

    buf_init(&value, 256);
    request_row_put(&value, &row);
    struct ledger_change change = { .op = LEDGER_PUT, .key = { ROW_REQUEST, SPAN("ann\0phone\0" "1") }, .value = buf_span(&value),
                                    .generation = 1 };
    struct ledger_write  write  = { .changes = &change, .count = 1 };
    struct ledger_batch  batch  = { .change_count = 1, .wall = stage->wall, .done = row_batch_done };
    list_init(&batch.writes);
    list_push(&batch.writes, &write.link);
    stage->durable->ledger->ops->write(stage->durable->ledger, &batch);
    send_request(node, request_new(stage, "1", "x", false));
    send_request(node, request_new(stage, "1", "y", false));
    settle(stage);
    assert_int_equal(stage->told_count, 2);
    assert_int_equal(stage->told[0].outcome, REQUEST_ACCEPTED);
    assert_int_equal(stage->told[1].outcome, REQUEST_CONFLICT);
    assert_int_equal(stage->called, 0);
    buf_fini(&value);
}

/* Threat 36. */
static void a_user_sends_so_many_a_second(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    struct request_command  *bobs  = request_new(stage, "1", "x", false);

    node->requests.limits.per_user_per_s = 2;
    send_request(node, request_new(stage, "1", "x", false));
    send_request(node, request_new(stage, "2", "x", false));
    send_request(node, request_new(stage, "3", "x", false));
    assert_int_equal(stage->told_count, 1);
    assert_int_equal(stage->told[0].outcome, REQUEST_TOO_OFTEN);
    cancel(node, "2");
    assert_int_equal(stage->told[1].outcome, REQUEST_ACCEPTED);
    bobs->user = SPAN("bob");
    send_request(node, bobs);
    settle(stage);
    assert_int_equal(stage->told_count, 5);
    assert_int_equal(stage->called, 2);
    pass(stage, 500);
    send_request(node, request_new(stage, "3", "x", false));  /* its id was not used up */
    settle(stage);
    assert_int_equal(stage->called, 3);
    node->requests.limits.per_user_per_s = 0;
    for (int i = 0; i < 10; i++)
        send_request(node, request_new(stage, "3", "x", false));
    assert_int_equal(stage->told[stage->told_count - 1].outcome, REQUEST_ACCEPTED);
}

static void who_waits_gets_the_response(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    struct request_command  *patient = request_new(stage, "1", "x", false), *hasty = request_new(stage, "1", "x", false);

    patient->wait_ms = 5000;
    hasty->wait_ms   = 500;
    send_request(node, patient);
    send_request(node, hasty);
    pass(stage, 1000);
    assert_int_equal(stage->told_count, 1);
    assert_int_equal(stage->told[0].outcome, REQUEST_ACCEPTED);
    back_end_answers(stage, 200, "done");
    settle(stage);
    assert_int_equal(stage->told_count, 2);
    assert_int_equal(stage->told[1].outcome, REQUEST_ANSWERED);
    assert_int_equal(stage->told[1].seq, 1);
}

/* Another process takes the place of this one: who waits by HTTP is told that the request was taken. */
static void nobody_waits_for_a_response_while_links_move(void **state)
{
    (void)state;
    struct request_stage_of *stage   = stage_open();
    struct request_node     *node    = add_node(stage, "a", 5);
    struct request_command  *patient = request_new(stage, "1", "x", false);

    patient->wait_ms = 5000;
    send_request(node, patient);
    settle(stage);
    assert_int_equal(stage->told_count, 0);
    requests_break_off_links(&node->requests);
    assert_int_equal(stage->told_count, 1);
    assert_int_equal(stage->told[0].outcome, REQUEST_ACCEPTED);
    back_end_answers(stage, 200, "done");
    settle(stage);
    assert_int_equal(stage->told_count, 1);
}

/* Two nodes of a cluster, whose registry knows both. */
static void add_two(struct request_stage_of *stage, struct request_node **ret_one, struct request_node **ret_two)
{
    static struct node_record    records[2] = { { .id = { "a", 5 }, .started = 1 }, { .id = { "b", 6 }, .started = 2 } };
    static struct registry_lease leases[2]  = { { &records[0], 60000 }, { &records[1], 60000 } };

    *ret_one = add_node(stage, "a", 5);
    *ret_two = add_node(stage, "b", 6);
    for (unsigned i = 0; i < 2; i++) {
        registry_take(&stage->nodes[i].registry, leases, 2, stage->wall, NULL, NULL);
        stage->nodes[i].has_registry = true;
    }
}

static void send_waiting(struct request_node *node, const char *body, msec wait_ms)
{
    struct request_command *request = request_new(node->stage, "1", body, false);

    request->wait_ms = wait_ms;
    send_request(node, request);
}

static void who_waits_elsewhere_gets_the_response(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *one, *two;
    static const enum request_outcome wanted[] = { REQUEST_ACCEPTED, REQUEST_CONFLICT, REQUEST_ACCEPTED, REQUEST_ACCEPTED,
                                                   REQUEST_ANSWERED, REQUEST_REPLAYED };

    add_two(stage, &one, &two);
    send_waiting(one, "x", 0);
    settle(stage);
    send_waiting(two, "x", 20000);
    send_waiting(two, "y", 20000);
    send_waiting(two, "x", 500);
    settle(stage);
    send_waiting(two, "x", 0);
    pass(stage, 5000);
    assert_int_equal(stage->told_count, 4);
    back_end_answers(stage, 200, "done");
    pass(stage, 1500);
    send_waiting(two, "x", 20000);
    pass(stage, 300);
    assert_int_equal(stage->told_count, sizeof wanted / sizeof wanted[0]);
    for (size_t i = 0; i < stage->told_count; i++)
        assert_int_equal(stage->told[i].outcome, wanted[i]);
    assert_int_equal(stage->told[4].seq, 1);
    assert_int_equal(stage->called, 1);
    assert_int_equal(two->requests.works.count, 0);
}

/* … also if the node that calls dies meanwhile, and the one where somebody waits answers for it; or if the one that called was
 * believed gone, and is where somebody waits. */
static void who_waits_gets_the_answer_for_a_node_that_is_gone(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *one, *two;
    struct node_record       record = { .id = { "b", 6 }, .started = 2 };
    struct registry_lease    lease  = { &record, 60000 };
    char                     last[1024];

    add_two(stage, &one, &two);
    send_waiting(one, "x", 60000);
    settle(stage);
    send_waiting(two, "x", 60000);
    pass(stage, 1000);
    registry_take(&two->registry, &lease, 1, stage->wall + 100000, NULL, NULL);
    pass(stage, 3000);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_int_equal(stage->told_count, 1);
    assert_int_equal(stage->told[0].outcome, REQUEST_ANSWERED);
    back_end_answers(stage, 200, "done");
    pass(stage, 1500);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_int_equal(stage->told_count, 2);
    assert_int_equal(stage->told[1].outcome, REQUEST_ANSWERED);
    assert_int_equal(one->requests.works.count + two->requests.works.count, 0);
    assert_int_equal(one->requests.held_bytes + two->requests.held_bytes + one->requests.body_bytes, 0);
}

static void send_waiting_for(struct request_node *node, const char *id)
{
    struct request_command *request = request_new(node->stage, id, "x", false);

    request->wait_ms = 60000;
    send_request(node, request);
}

/* The walk meets the rows of both while one of them is being looked at for somebody who asks: it comes again soon for that one,
 * though it has dealt with the other one behind it. */
static void a_call_that_is_looked_at_just_now_is_met_again_soon(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *one, *two;
    struct node_record       record = { .id = { "b", 6 }, .started = 2 };
    struct registry_lease    lease  = { &record, 60000 };
    char                     last[1024];

    add_two(stage, &one, &two);
    send_request(one, request_new(stage, "1", "x", false));
    send_request(one, request_new(stage, "2", "x", false));
    settle(stage);
    send_waiting_for(two, "1");
    send_waiting_for(two, "2");
    pass(stage, 1000);
    one->is_dead = true;
    registry_take(&two->registry, &lease, 1, stage->wall + 100000, NULL, NULL);
    for (int i = 0; i < 40 && responses_in_log(stage, last, sizeof last) == 0; i++) {
        stage->now += 100;
        stage->wall += 100;
        requests_turn_begin(&two->requests, stage->now);
        writer_tick(&two->writer, stage->wall);
        requests_tick(&two->requests);
        send_waiting_for(two, "1");
        settle(stage);
    }
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    pass(stage, 3000);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 2);
    assert_int_equal(two->requests.works.count, 0);
}

/* --- cancels by way of another node --- */

static bool notices_are_lost;

static void on_ask(void *ctx, struct peer_question *question)
{
    struct request_node *node = ctx;

    assert_true(question->is_notice && question->topic == PEER_CANCEL && question->incarnation == 5);
    assert_string_equal(question->node, "a");
    if (!notices_are_lost)
        assert_true(requests_told_cancel(&node->stage->nodes[0].requests, buf_span(&question->body)));
    for (size_t len = 0; len < question->body.len; len++)
        assert_false(requests_told_cancel(&node->stage->nodes[1].requests, span_of(question->body.at, len)));
    peer_question_end(question, &node->writer);
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static const struct cluster_port cluster_port_here = { .ask = on_ask, .turn_end = on_nothing, .tick = on_nothing };

static void a_cancel_finds_the_node_that_calls(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *one, *two;
    char                     last[1024];

    add_two(stage, &one, &two);
    two->writer.cluster     = &cluster_port_here;
    two->writer.cluster_ctx = two;
    send_waiting(one, "x", 0);
    settle(stage);
    notices_are_lost = true;
    cancel(two, "1");
    settle(stage);
    assert_int_equal(stage->call_count, 1);
    notices_are_lost = false;
    send_waiting(two, "x", 20000);
    cancel(two, "1");  /* while it is looked for */
    pass(stage, 1500);
    assert_int_equal(stage->call_count, 0);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_non_null(strstr(last, "\"status\":499"));
    assert_int_equal(stage->told[stage->told_count - 1].outcome, REQUEST_ANSWERED);
    cancel(two, "1");  /* after the answer, and of a request that nobody knows */
    cancel(two, "2");
    pass(stage, 300);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_int_equal(two->requests.seek_count, 0);
    assert_true(requests_is_idle(&two->requests));
    for (int i = 0; i < 2 * REQUESTS_OF_DEVICE_MAX; i++)
        cancel(two, "3");
    assert_int_equal(two->requests.seek_count, REQUESTS_OF_DEVICE_MAX);
    settle(stage);
}

/* The answer comes before the notice does: it stands. */
static void a_cancel_may_be_late(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *one, *two;
    char                     last[1024];

    add_two(stage, &one, &two);
    two->writer.cluster     = &cluster_port_here;
    two->writer.cluster_ctx = two;
    send_waiting(one, "x", 0);
    settle(stage);
    cancel(two, "1");
    back_end_answers(stage, 200, "done");
    pass(stage, 1000);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_non_null(strstr(last, "\"status\":200"));
    assert_int_equal(counter_get(&one->requests.counters.cancelled), 0);
}

static void bounds_are_kept(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    char                     id[16];

    for (int i = 0; i <= REQUESTS_OF_DEVICE_MAX; i++) {
        snprintf(id, sizeof id, "%d", i);
        struct request_command *request = request_new(stage, "1", "x", false);
        request->id                     = span_str(id);
        send_request(node, request);
        settle(stage);
    }
    assert_int_equal(stage->called, REQUESTS_OF_DEVICE_MAX);
    assert_int_equal(stage->told[stage->told_count - 1].outcome, REQUEST_BUSY);
    requests_stop(&node->requests);
    pass(stage, REQUESTS_STOP_MS + 500);
    assert_int_equal(node->requests.works.count, 0);
    assert_true(requests_is_idle(&node->requests));
    send_request(node, request_new(stage, "late", "x", false));
    assert_int_equal(stage->told[stage->told_count - 1].outcome, REQUEST_AWAY);
}

/* Loops leave before: an answer that is sent to one may never come back. Here none does. */
static void a_stop_forgets_the_requests_of_links(void **state)
{
    (void)state;
    struct request_stage_of *stage   = stage_open();
    struct request_node     *node    = add_node(stage, "a", 5);
    struct request_command  *request = request_new(stage, "1", "x", false);

    request->device = SPAN("");
    request->key    = 7;
    send_request(node, request);
    settle(stage);
    assert_int_equal(stage->call_count, 1);
    assert_int_equal(stage->told_count, 1);
    requests_stop(&node->requests);
    pass(stage, REQUESTS_STOP_MS + 500);
    assert_int_equal(stage->call_count, 0);
    assert_int_equal(node->requests.works.count, 0);
    assert_int_equal(counter_get(&node->requests.counters.responses[4]) + counter_get(&node->requests.counters.responses[5]), 0);
    assert_true(requests_is_idle(&node->requests));

    node            = add_node(stage, "b", 6);
    request         = request_new(stage, "1", "x", false);
    request->device = SPAN("");
    request->key    = 8;
    send_request(node, request);
    settle(stage);
    back_end_answers(stage, 200, "done");
    settle(stage);
    requests_stop(&node->requests);
    assert_true(requests_is_idle(&node->requests));
    assert_int_equal(node->requests.works.count, 1);
    requests_fini(&node->requests);
    node->is_dead = true;
}

static struct request_command *link_request(struct request_stage_of *stage, const char *id, const char *body, uint64_t key)
{
    struct request_command *request = request_new(stage, id, body, false);

    request->device = SPAN("");
    request->key    = key;
    return request;
}

/* As a link's loop does before a request is sent on. */
static void loop_follows(struct request_stage_of *stage, struct request_node *node)
{
    struct follow_command *follow = calloc(1, sizeof *follow);

    must(follow != NULL);
    follow->command = (struct command){ .kind = &follow_kind };
    follow->channel = channel_name_ref(stage->log);
    writer_take(&node->writer, &follow->command, stage->wall);
    settle(stage);
}

static enum request_outcome last_told(const struct request_stage_of *stage)
{
    return stage->told[stage->told_count - 1].outcome;
}

/* There are no rows of it; what it had last is in memory. */
static void a_link_without_a_device_is_answered_again(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);

    loop_follows(stage, node);
    for (int i = 0; i < 17; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        send_request(node, link_request(stage, id, "x", 7));
        settle(stage);
        back_end_answers(stage, 200, "done");
        settle(stage);
        assert_int_equal(last_told(stage), REQUEST_ACCEPTED);
    }
    for (int i = 1; i < 17; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        send_request(node, link_request(stage, id, "x", 7));
        assert_int_equal(last_told(stage), REQUEST_REPLAYED);
    }
    send_request(node, link_request(stage, "16", "y", 7));
    assert_int_equal(last_told(stage), REQUEST_CONFLICT);
    assert_int_equal(stage->call_count, 0);

    send_request(node, link_request(stage, "16", "x", 8));  /* another link */
    settle(stage);
    assert_int_equal(stage->call_count, 1);
    back_end_answers(stage, 200, "done");
    settle(stage);
    send_request(node, link_request(stage, "0", "x", 7));  /* its oldest was forgotten */
    settle(stage);
    assert_int_equal(stage->call_count, 1);
    back_end_answers(stage, 200, "done");
    settle(stage);

    assert_int_equal(node->requests.idle_link_count, 2);
    pass(stage, 301000);
    assert_int_equal(node->requests.idle_link_count, 0);
    assert_int_equal(node->requests.link_bytes, 0);
    send_request(node, link_request(stage, "16", "x", 7));
    settle(stage);
    assert_int_equal(stage->call_count, 1);
}

/* Another process takes the links: what could not be known there is answered here. */
static void calls_of_links_that_move_are_broken_off(void **state)
{
    (void)state;
    struct request_stage_of *stage   = stage_open();
    struct request_node     *node    = add_node(stage, "a", 5);
    struct request_command  *request = request_new(stage, "1", "x", false);

    send_request(node, request_new(stage, "2", "x", false));
    request->device = SPAN("");
    request->key    = 7;
    send_request(node, request);
    settle(stage);
    assert_int_equal(stage->call_count, 2);
    assert_int_equal(counter_get(&node->requests.counters.to_links), 1);
    requests_break_off_links(&node->requests);
    requests_break_off_links(&node->requests);
    settle(stage);
    assert_int_equal(stage->call_count, 1);
    assert_int_equal(counter_get(&node->requests.counters.unknown), 1);
    back_end_answers(stage, 200, "done");
    settle(stage);
}

/* --- calls that share a row --- */

/* How many rows CALLS there are, and how many calls stand in them. */
static size_t calls_rows(struct request_stage_of *stage, size_t *ret_calls)
{
    struct ledger_read read = { .way = LEDGER_SCAN, .kind = ROW_CALLS, .prefix = SPAN(""), .after = SPAN(""), .limit = 100,
                                .bytes_max = 1 << 20, .wall = stage->wall, .done = row_read_done };
    uint8_t            hash[16];
    struct span        key;
    msec               wall;

    stage->durable->ledger->ops->read(stage->durable->ledger, &read);
    *ret_calls = 0;
    for (size_t i = 0; i < read.row_count; i++) {
        struct span rest = read.rows[i].value;
        assert_true(calls_row_open(&rest, &wall));
        while (calls_row_next(&rest, hash, &key))
            ++*ret_calls;
    }
    size_t count = read.row_count;
    ledger_read_fini(&read);
    return count;
}

/* Threat 60. */
static void calls_that_begin_together_share_a_row(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    size_t                   calls;
    char                     last[1024];

    pass(stage, 200);
    send_request(node, request_new(stage, "1", "x", false));
    send_request(node, request_new(stage, "2", "x", false));
    send_request(node, request_new(stage, "3", "x", false));
    settle(stage);
    assert_int_equal(stage->call_count, 3);
    assert_int_equal(calls_rows(stage, &calls), 1);
    assert_int_equal(calls, 3);
    back_end_answers(stage, 200, "done");
    back_end_answers(stage, 200, "done");
    settle(stage);
    assert_int_equal(calls_rows(stage, &calls), 1);
    node->is_dead = true;
    take_call(stage, 0);

    /* Its next start answers the third one, even if all ids are forgotten meanwhile. */
    stage->wall += INT64_C(2) * 86400000;
    node = add_node(stage, "a", 6);
    send_request(node, request_new(stage, "3", "x", false));
    settle(stage);  /* before the ledger reclaims what has expired */
    pass(stage, 5000);
    assert_int_equal(stage->called, 3);
    assert_int_equal(stage->told[stage->told_count - 1].outcome, REQUEST_ACCEPTED);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 3);
    assert_non_null(strstr(last, "{\"request\":\"3\",\"status\":504"));
    assert_int_equal(counter_get(&node->requests.counters.unknown), 1);
    assert_int_equal(calls_rows(stage, &calls), 0);
}

static void a_row_of_calls_is_used_again_and_deleted_when_it_rests(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    size_t                   calls;

    for (char id[2] = "1"; id[0] <= '9'; id[0]++) {
        send_request(node, request_new(stage, id, "x", false));
        settle(stage);
        assert_int_equal(calls_rows(stage, &calls), 1);
        back_end_answers(stage, 200, "done");
        settle(stage);
    }
    assert_int_equal(node->requests.group_count, 1);
    pass(stage, 2000);
    assert_int_equal(calls_rows(stage, &calls), 0);
}

/* The row of a call that takes long does not rely on answers to others for longer than they are kept. */
static void a_call_that_takes_long_moves(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5);
    size_t                   calls;
    char                     last[1024];

    node->requests.limits.keep_ms = 1000;
    send_request(node, request_new(stage, "1", "x", false));
    send_request(node, request_new(stage, "2", "x", false));
    settle(stage);
    back_end_answers(stage, 200, "done");
    pass(stage, 1000);
    assert_int_equal(calls_rows(stage, &calls), 1);
    assert_int_equal(calls, 2);
    pass(stage, CALLS_MOVE_MS + 2000);
    assert_int_equal(calls_rows(stage, &calls), 1);
    assert_int_equal(calls, 1);
    back_end_answers(stage, 200, "done");
    pass(stage, 2000);
    assert_int_equal(calls_rows(stage, &calls), 0);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 2);
}

/* A row CALL of a server of the release before: its id is no new one, and it is answered. */
static void a_call_with_a_row_of_its_own_is_found_too(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node;
    char                     last[1024];

    are_alone = false;
    node      = add_node(stage, "a", 5);
    are_alone = true;
    send_request(node, request_new(stage, "1", "x", false));
    settle(stage);
    node->is_dead = true;
    take_call(stage, 0);
    node = add_node(stage, "a", 6);
    send_request(node, request_new(stage, "1", "x", false));
    send_request(node, request_new(stage, "2", "x", false));
    settle(stage);
    assert_int_equal(stage->called, 2);
    pass(stage, 40000);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_non_null(strstr(last, "{\"request\":\"1\",\"status\":504"));
    assert_true(node->requests.are_calls_known);
}

/* A directory was copied into the database of a cluster: several nodes find its row, and one answer comes of it. */
static void a_row_of_calls_that_was_copied_is_answered_once(void **state)
{
    (void)state;
    struct request_stage_of *stage = stage_open();
    struct request_node     *node  = add_node(stage, "a", 5), *one, *two;
    size_t                   calls;
    char                     last[1024];

    pass(stage, 200);
    send_request(node, request_new(stage, "1", "x", false));
    settle(stage);
    node->is_dead = true;
    take_call(stage, 0);
    are_alone = false;
    one       = add_node(stage, "b", 6);
    two       = add_node(stage, "c", 7);
    are_alone = true;
    send_request(one, request_new(stage, "1", "x", false));
    send_request(two, request_new(stage, "1", "x", false));
    pass(stage, 5000);
    assert_int_equal(stage->called, 1);
    assert_int_equal(responses_in_log(stage, last, sizeof last), 1);
    assert_non_null(strstr(last, "\"status\":504"));
    assert_int_equal(calls_rows(stage, &calls), 0);
    assert_int_equal(one->requests.works.count + two->requests.works.count, 0);
    assert_int_equal(one->requests.group_count + two->requests.group_count, 0);  /* they write none */
}

static int begin_alone(void **state)
{
    (void)state;
    are_alone = true;
    return 0;
}

static int end_alone(void **state)
{
    (void)state;
    are_alone = false;
    return 0;
}

#define alone(test) cmocka_unit_test_setup_teardown(test, begin_alone, end_alone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_in_the_log), cmocka_unit_test(what_a_reload_broke_off_is_not_known_if_it_was_sent),
        cmocka_unit_test(an_id_is_one_request),
        cmocka_unit_test(a_node_may_end_at_any_step),
        cmocka_unit_test(a_large_request_is_kept_in_pieces),
        cmocka_unit_test(a_late_answer_is_none),
        cmocka_unit_test(a_living_node_keeps_its_calls),
        cmocka_unit_test(a_call_that_is_younger_than_the_loss_of_its_node_is_left_alone),
        cmocka_unit_test(a_cancelled_request_is_answered_499),
        cmocka_unit_test(old_answers_are_gone),
        cmocka_unit_test(bytes_of_answers_are_written_in_steps),
        cmocka_unit_test(a_claim_of_an_older_server_is_under_way),
        cmocka_unit_test(a_user_sends_so_many_a_second),
        cmocka_unit_test(who_waits_gets_the_response),
        cmocka_unit_test(nobody_waits_for_a_response_while_links_move),
        cmocka_unit_test(who_waits_elsewhere_gets_the_response),
        cmocka_unit_test(who_waits_gets_the_answer_for_a_node_that_is_gone),
        cmocka_unit_test(a_call_that_is_looked_at_just_now_is_met_again_soon),
        cmocka_unit_test(a_cancel_finds_the_node_that_calls),
        cmocka_unit_test(a_cancel_may_be_late),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(a_stop_forgets_the_requests_of_links),
        cmocka_unit_test(calls_of_links_that_move_are_broken_off),
        cmocka_unit_test(a_link_without_a_device_is_answered_again),
        alone(an_answer_comes_in_the_log), alone(what_a_reload_broke_off_is_not_known_if_it_was_sent),
        alone(a_node_may_end_at_any_step),
        alone(a_large_request_is_kept_in_pieces),
        alone(a_late_answer_is_none),
        alone(a_cancelled_request_is_answered_499),
        alone(old_answers_are_gone),
        alone(bytes_of_answers_are_written_in_steps),
        alone(a_claim_of_an_older_server_is_under_way),
        alone(a_user_sends_so_many_a_second),
        alone(who_waits_gets_the_response),
        alone(bounds_are_kept),
        alone(a_stop_forgets_the_requests_of_links),
        alone(calls_that_begin_together_share_a_row),
        alone(a_row_of_calls_is_used_again_and_deleted_when_it_rests),
        alone(a_call_that_takes_long_moves),
        alone(a_call_with_a_row_of_its_own_is_found_too),
        alone(a_row_of_calls_that_was_copied_is_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
