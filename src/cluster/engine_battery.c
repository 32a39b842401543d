#include "cluster/engine_battery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/must.h"

#include <cmocka.h>

enum { DEADLINE_S = 120, TEXT_BYTES = 4096, SLICE_NS = 20 * 1000 * 1000, FRAME_S = 2, SHORT_LEASE_MS = 300, MANY_FRAMES = 2000, FLOOD = 6000 };

/* --- the bench: waiting ------------------------------------------------------------------------------------------- */

static time_t seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* The lock is held. Something may have changed afterwards. */
static void bench_pause(struct engine_bench *bench, time_t deadline)
{
    struct timespec until;

    must(seconds() < deadline);
    if (bench->maker->step != NULL) {
        pthread_mutex_unlock(&bench->lock);
        bench->maker->step();
        pthread_mutex_lock(&bench->lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += SLICE_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&bench->changed, &bench->lock, &until);
}

/* Waits with the lock held until `condition` holds. */
#define BENCH_WAIT(bench, condition)                          \
    do {                                                      \
        const time_t deadline_ = seconds() + DEADLINE_S;      \
        pthread_mutex_lock(&(bench)->lock);                   \
        while (!(condition))                                  \
            bench_pause(bench, deadline_);                    \
        pthread_mutex_unlock(&(bench)->lock);                 \
    } while (0)

/* --- the bench: events -------------------------------------------------------------------------------------------- */

static void on_done(void *ctx, struct engine_call *call)
{
    struct bench_node   *node  = ctx;
    struct engine_bench *bench = node->bench;
    struct bench_call   *mine  = container_of(call, struct bench_call, call);
    struct bench_call   *then  = mine->then;

    pthread_mutex_lock(&bench->lock);
    must(mine->node == node);
    mine->done_count++;
    mine->rank = bench->order[call->kind]++;
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
    if (then != NULL)
        bench_submit(node, then);
}

static void on_frame(void *ctx, struct span frame)
{
    struct bench_node  *node = ctx;
    struct bench_frame *mine = malloc(sizeof *mine + frame.len);

    must(mine != NULL);
    mine->next = NULL;
    mine->len  = frame.len;
    memcpy(mine->bytes, frame.at, frame.len);
    pthread_mutex_lock(&node->bench->lock);
    if (node->newest != NULL)
        node->newest->next = mine;
    else
        node->oldest = mine;
    node->newest = mine;
    node->frame_count++;
    pthread_cond_broadcast(&node->bench->changed);
    pthread_mutex_unlock(&node->bench->lock);
}

static void on_up(void *ctx, uint64_t life, uint64_t since)
{
    struct bench_node *node = ctx;

    pthread_mutex_lock(&node->bench->lock);
    node->life  = life;
    node->since = since;
    node->is_up = true;
    node->up_count++;
    pthread_cond_broadcast(&node->bench->changed);
    pthread_mutex_unlock(&node->bench->lock);
}

static void on_down(void *ctx, const char *why)
{
    struct bench_node *node = ctx;

    must(why != NULL && why[0] != '\0');
    pthread_mutex_lock(&node->bench->lock);
    node->is_up = false;
    node->down_count++;
    pthread_cond_broadcast(&node->bench->changed);
    pthread_mutex_unlock(&node->bench->lock);
}

static void on_silent(void *ctx, bool is_silent)
{
    struct bench_node *node = ctx;

    pthread_mutex_lock(&node->bench->lock);
    node->silent_count += is_silent;
    node->spoken_count += !is_silent;
    pthread_cond_broadcast(&node->bench->changed);
    pthread_mutex_unlock(&node->bench->lock);
}

const struct engine_events bench_events = { .done = on_done, .frame = on_frame, .up = on_up, .down = on_down,
                                            .silent = on_silent };

/* --- the bench: nodes --------------------------------------------------------------------------------------------- */

void engine_bench_open(struct engine_bench *bench, const struct engine_maker *maker)
{
    *bench = (struct engine_bench){ .maker = maker };
    pthread_mutex_init(&bench->lock, NULL);
    pthread_cond_init(&bench->changed, NULL);
    maker->empty();
}

uint64_t bench_life(struct bench_node *node)
{
    pthread_mutex_lock(&node->bench->lock);
    uint64_t life = node->life;
    pthread_mutex_unlock(&node->bench->lock);
    return life;
}

size_t bench_up_count(struct bench_node *node)
{
    pthread_mutex_lock(&node->bench->lock);
    size_t count = node->up_count;
    pthread_mutex_unlock(&node->bench->lock);
    return count;
}

uint64_t bench_await_up(struct bench_node *node, size_t count)
{
    BENCH_WAIT(node->bench, node->up_count > count);
    return bench_life(node);
}

void bench_await_silence(struct bench_node *node, size_t silent_count, size_t spoken_count)
{
    BENCH_WAIT(node->bench, node->silent_count >= silent_count && node->spoken_count >= spoken_count);
}

void bench_await_down(struct bench_node *node, size_t count)
{
    BENCH_WAIT(node->bench, node->down_count > count);
}

struct bench_node *bench_node_open(struct engine_bench *bench, const char *name, uint64_t incarnation, msec started)
{
    must(bench->node_count < BENCH_NODES_MAX);
    struct bench_node *node = &bench->nodes[bench->node_count++];

    *node = (struct bench_node){ .bench = bench, .id = { .incarnation = incarnation }, .started = started };
    snprintf(node->id.name, sizeof node->id.name, "%s", name);
    node->engine = bench->maker->open(&node->id, &bench_events, node);
    must(node->engine != NULL);
    bench_await_up(node, 0);
    return node;
}

void bench_node_close(struct bench_node *node)
{
    if (node->engine != NULL)
        node->engine->ops->close(node->engine);
    node->engine = NULL;
    while (node->oldest != NULL) {
        struct bench_frame *frame = node->oldest;
        node->oldest              = frame->next;
        free(frame);
    }
}

void engine_bench_close(struct engine_bench *bench)
{
    for (size_t i = 0; i < bench->node_count; i++)
        bench_node_close(&bench->nodes[i]);
    pthread_mutex_destroy(&bench->lock);
    pthread_cond_destroy(&bench->changed);
}

/* --- the bench: calls --------------------------------------------------------------------------------------------- */

void bench_submit(struct bench_node *node, struct bench_call *call)
{
    call->node = node;
    node->engine->ops->submit(node->engine, &call->call);
}

void bench_await(struct bench_call *call)
{
    BENCH_WAIT(call->node->bench, call->done_count > 0);
    must(call->done_count == 1);
}

static enum rc bench_carry(struct bench_node *node, struct bench_call *call)
{
    bench_submit(node, call);
    bench_await(call);
    return call->call.rc;
}

static struct bench_call lease_call(const struct bench_node *node, const char *record, msec lease_ms)
{
    return (struct bench_call){
        .call = { .kind = ENGINE_LEASE, .record = span_str(record), .started = node->started, .lease_ms = lease_ms },
    };
}

enum rc bench_lease(struct bench_node *node, const char *record, msec lease_ms)
{
    struct bench_call mine = lease_call(node, record, lease_ms);
    enum rc           rc   = bench_carry(node, &mine);

    node->is_lease_new = rc == RC_OK && mine.call.is_new;
    return rc;
}

enum rc bench_leave(struct bench_node *node)
{
    struct bench_call mine = { .call = { .kind = ENGINE_LEAVE, .started = node->started } };

    return bench_carry(node, &mine);
}

enum rc bench_route(struct bench_node *node, const char *route, bool is_removed)
{
    struct engine_name name = { .name = span_str(route), .is_removed = is_removed };
    struct bench_call  mine = { .call = { .kind = ENGINE_ROUTE, .names = &name, .name_count = 1 } };

    return bench_carry(node, &mine);
}

enum rc bench_send(struct bench_node *node, const struct node_id *to, struct span frame)
{
    struct bench_call mine = { .call = { .kind = ENGINE_SEND, .to = *to, .frame = frame } };

    return bench_carry(node, &mine);
}

static int order_leases(const void *a, const void *b)
{
    return strcmp(((const struct engine_lease *)a)->id.name, ((const struct engine_lease *)b)->id.name);
}

void bench_nodes(struct bench_node *node, char *ret_text, size_t size)
{
    struct bench_call mine = { .call = { .kind = ENGINE_NODES } };
    size_t            len  = 0;

    ret_text[0] = '\0';
    if (bench_carry(node, &mine) != RC_OK) {
        snprintf(ret_text, size, "%s", rc_text(mine.call.rc));
        return;
    }
    if (mine.call.lease_count > 0)
        qsort(mine.call.leases, mine.call.lease_count, sizeof mine.call.leases[0], order_leases);
    for (size_t i = 0; i < mine.call.lease_count && len < size; i++) {
        const struct engine_lease *lease = &mine.call.leases[i];
        assert_true(lease->left_ms > 0 && lease->left_ms <= BENCH_LEASE_MS);
        len += (size_t)snprintf(ret_text + len, size - len, "%s%s:%llu=%.*s", i == 0 ? "" : " ", lease->id.name,
                                (unsigned long long)lease->id.incarnation, SPAN_ARG(buf_span(&lease->record)));
    }
    engine_call_fini(&mine.call);
}

static int order_ids(const void *a, const void *b)
{
    const struct node_id *x = a, *y = b;
    int                   order = strcmp(x->name, y->name);

    return order != 0 ? order : (x->incarnation > y->incarnation) - (x->incarnation < y->incarnation);
}

/* The nodes of one name of a look-up, each once. */
static void followers_text(struct engine_call *call, const struct engine_name *name, char *ret_text, size_t size)
{
    struct node_id *ids = call->ids + name->first;
    size_t          len = 0;

    ret_text[0] = '\0';
    must(name->first + (size_t)name->count <= call->id_count);
    if (name->count > 0)
        qsort(ids, name->count, sizeof ids[0], order_ids);
    for (size_t i = 0; i < name->count && len < size; i++) {
        if (i > 0 && order_ids(&ids[i - 1], &ids[i]) == 0)
            continue;
        len += (size_t)snprintf(ret_text + len, size - len, "%s%s:%llu", len == 0 ? "" : " ", ids[i].name,
                                (unsigned long long)ids[i].incarnation);
    }
}

void bench_lookup(struct bench_node *node, const char *route, char *ret_text, size_t size)
{
    struct engine_name name = { .name = span_str(route) };
    struct bench_call  mine = { .call = { .kind = ENGINE_LOOKUP, .names = &name, .name_count = 1 } };

    if (bench_carry(node, &mine) != RC_OK)
        snprintf(ret_text, size, "%s", rc_text(mine.call.rc));
    else
        followers_text(&mine.call, &name, ret_text, size);
    engine_call_fini(&mine.call);
}

/* Lets a moment pass. */
static void bench_moment(struct engine_bench *bench)
{
    pthread_mutex_lock(&bench->lock);
    bench_pause(bench, seconds() + DEADLINE_S);
    pthread_mutex_unlock(&bench->lock);
}

static void expect_text(struct bench_node *node, const char *route, const char *text)
{
    const time_t deadline = seconds() + DEADLINE_S;
    char         told[TEXT_BYTES];

    while (true) {
        if (route == NULL)
            bench_nodes(node, told, sizeof told);
        else
            bench_lookup(node, route, told, sizeof told);
        if (strcmp(told, text) == 0)
            return;
        if (seconds() >= deadline)
            fail_msg("%s: got \"%s\", expected \"%s\"", route == NULL ? "nodes" : route, told, text);
        bench_moment(node->bench);
    }
}

void bench_expect_nodes(struct bench_node *node, const char *text)
{
    expect_text(node, NULL, text);
}

void bench_expect_lookup(struct bench_node *node, const char *route, const char *text)
{
    expect_text(node, route, text);
}

struct bench_frame *bench_take_frame(struct bench_node *node)
{
    BENCH_WAIT(node->bench, node->oldest != NULL);
    pthread_mutex_lock(&node->bench->lock);
    struct bench_frame *frame = node->oldest;
    node->oldest              = frame->next;
    if (node->oldest == NULL)
        node->newest = NULL;
    pthread_mutex_unlock(&node->bench->lock);
    return frame;
}

/* --- leases ------------------------------------------------------------------------------------------------------- */

static void a_lease_is_listed_with_its_record(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 2000);

    bench_expect_nodes(a, "");
    assert_int_equal(bench_lease(a, "first", BENCH_LEASE_MS), RC_OK);
    assert_true(a->is_lease_new);
    bench_expect_nodes(b, "a:1=first");
    assert_int_equal(bench_lease(b, "{\"text\": \"with spaces\"}", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_lease(a, "second", BENCH_LEASE_MS), RC_OK);
    assert_false(a->is_lease_new);
    bench_expect_nodes(a, "a:1=second b:2={\"text\": \"with spaces\"}");
    bench_expect_nodes(b, "a:1=second b:2={\"text\": \"with spaces\"}");
}

static void the_newer_incarnation_of_a_name_wins_threat_43(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *old = bench_node_open(bench, "a", 900, 1000), *new = bench_node_open(bench, "a", 5, 2000);
    struct bench_node   *same_time = bench_node_open(bench, "a", UINT64_MAX, 2000);

    assert_int_equal(bench_lease(old, "old", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_lease(new, "new", BENCH_LEASE_MS), RC_OK);
    bench_expect_nodes(old, "a:5=new");
    assert_int_equal(bench_lease(old, "old", BENCH_LEASE_MS), RC_BUSY);
    bench_expect_nodes(old, "a:5=new");
    assert_int_equal(bench_lease(same_time, "largest", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_lease(new, "new", BENCH_LEASE_MS), RC_BUSY);
    assert_int_equal(bench_lease(same_time, "largest", BENCH_LEASE_MS), RC_OK);
    bench_expect_nodes(new, "a:18446744073709551615=largest");
}

static void a_lease_runs_out_by_itself(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    struct bench_node   *older = bench_node_open(bench, "a", 3, 500);

    assert_int_equal(bench_lease(a, "a", SHORT_LEASE_MS), RC_OK);
    assert_int_equal(bench_lease(b, "b", BENCH_LEASE_MS), RC_OK);
    bench_expect_nodes(b, "b:2=b");
    assert_int_equal(bench_lease(older, "older", SHORT_LEASE_MS), RC_OK);
    assert_int_equal(bench_lease(a, "again", BENCH_LEASE_MS), RC_OK);
    assert_true(a->is_lease_new);
    bench_expect_nodes(b, "a:1=again b:2=b");
}

static void who_leaves_is_listed_no_more(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *old = bench_node_open(bench, "a", 1, 1000), *new = bench_node_open(bench, "a", 2, 2000);

    assert_int_equal(bench_lease(old, "old", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_leave(old), RC_OK);
    bench_expect_nodes(new, "");
    assert_int_equal(bench_leave(old), RC_OK);
    assert_int_equal(bench_lease(new, "new", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_leave(old), RC_OK);
    bench_expect_nodes(old, "a:2=new");
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

static void routes_are_added_removed_and_looked_up(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);

    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_lease(b, "b", BENCH_LEASE_MS), RC_OK);
    bench_expect_lookup(a, "topic:x", "");
    assert_int_equal(bench_route(a, "topic:x", false), RC_OK);
    bench_expect_lookup(b, "topic:x", "a:1");
    assert_int_equal(bench_route(b, "topic:x", false), RC_OK);
    assert_int_equal(bench_route(b, "topic:x", false), RC_OK);
    bench_expect_lookup(a, "topic:x", "a:1 b:2");
    bench_expect_lookup(a, "topic:y", "");
    assert_int_equal(bench_route(a, "topic:x", true), RC_OK);
    assert_int_equal(bench_route(a, "topic:x", true), RC_OK);
    bench_expect_lookup(a, "topic:x", "b:2");
    assert_int_equal(bench_route(a, "topic:x", false), RC_OK);
    bench_expect_lookup(a, "topic:x", "a:1 b:2");
}

/* Who looks up can tell the routes of an incarnation that is gone from those of the live one. */
static void a_route_names_its_incarnation(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *old = bench_node_open(bench, "a", 1, 1000), *new = bench_node_open(bench, "a", 2, 2000);
    char                 told[TEXT_BYTES];

    assert_int_equal(bench_lease(old, "old", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_route(old, "topic:x", false), RC_OK);
    assert_int_equal(bench_lease(new, "new", BENCH_LEASE_MS), RC_OK);
    bench_lookup(new, "topic:x", told, sizeof told);
    assert_true(strcmp(told, "a:1") == 0 || strcmp(told, "") == 0);
    assert_int_equal(bench_route(new, "topic:x", false), RC_OK);
    bench_lookup(old, "topic:x", told, sizeof told);
    assert_true(strcmp(told, "a:1 a:2") == 0 || strcmp(told, "a:2") == 0);
    /* The old one removes its own alone. */
    bench_route(old, "topic:x", true);
    bench_expect_lookup(new, "topic:x", "a:2");
}

/* Names with every sort of byte; every third is followed by a, every fifth by b, and some removed again in the same call. */
static void routes_come_in_batches(void **state)
{
    struct engine_bench      *bench = *state;
    struct bench_node        *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    static char               texts[ENGINE_NAMES_MAX][64];
    static struct engine_name names[ENGINE_NAMES_MAX], some[ENGINE_NAMES_MAX];
    char                      told[TEXT_BYTES];

    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_lease(b, "b", BENCH_LEASE_MS), RC_OK);
    for (size_t i = 0; i < ENGINE_NAMES_MAX; i++) {
        int len = snprintf(texts[i], sizeof texts[i], "topic:%zu/'\"\\ {}*%%$\xc3\xa4", i);
        names[i].name = span_of(texts[i], (size_t)len);
    }
    for (size_t each = 3; each <= 5; each += 2) {
        size_t count = 0;
        for (size_t i = 0; i < ENGINE_NAMES_MAX; i += each)
            some[count++] = (struct engine_name){ .name = names[i].name };
        struct bench_call add = { .call = { .kind = ENGINE_ROUTE, .names = some, .name_count = count } };
        assert_int_equal(bench_carry(each == 3 ? a : b, &add), RC_OK);
    }
    struct bench_call look = { .call = { .kind = ENGINE_LOOKUP, .names = names, .name_count = ENGINE_NAMES_MAX } };
    assert_int_equal(bench_carry(b, &look), RC_OK);
    for (size_t i = 0; i < ENGINE_NAMES_MAX; i++) {
        followers_text(&look.call, &names[i], told, sizeof told);
        assert_string_equal(told, i % 15 == 0 ? "a:1 b:2" : i % 3 == 0 ? "a:1" : i % 5 == 0 ? "b:2" : "");
    }
    engine_call_fini(&look.call);
    struct engine_name both[] = { { .name = SPAN("topic:in") }, { .name = names[0].name, .is_removed = true } };
    struct bench_call  change = { .call = { .kind = ENGINE_ROUTE, .names = both, .name_count = 2 } };
    assert_int_equal(bench_carry(a, &change), RC_OK);
    bench_expect_lookup(a, texts[0], "b:2");
    bench_expect_lookup(a, "topic:in", "a:1");
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

struct frame_flow {
    struct bench_call calls[MANY_FRAMES];
    char              texts[MANY_FRAMES][32];
};

static struct frame_flow *flow_start(struct bench_node *from, const struct bench_node *to)
{
    struct frame_flow *flow = calloc(1, sizeof *flow);

    assert_non_null(flow);
    for (size_t i = 0; i < MANY_FRAMES; i++) {
        int len = snprintf(flow->texts[i], sizeof flow->texts[i], "%s frame %zu", from->id.name, i);
        flow->calls[i].call = (struct engine_call){ .kind = ENGINE_SEND, .to = to->id,
                                                    .frame = span_of(flow->texts[i], (size_t)len + (i % 2)) };
        bench_submit(from, &flow->calls[i]);
    }
    return flow;
}

static void flow_check(struct frame_flow *flow, struct bench_node *to)
{
    for (size_t i = 0; i < MANY_FRAMES; i++) {
        struct bench_frame *frame = bench_take_frame(to);
        struct span         sent  = flow->calls[i].call.frame;
        assert_int_equal(frame->len, sent.len);
        assert_memory_equal(frame->bytes, sent.at, sent.len);
        free(frame);
    }
    for (size_t i = 0; i < MANY_FRAMES; i++) {
        bench_await(&flow->calls[i]);
        assert_int_equal(flow->calls[i].call.rc, RC_OK);
    }
    free(flow);
}

static void frames_between_two_nodes_come_in_order(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    struct frame_flow   *there = flow_start(a, b), *back = flow_start(b, a);

    flow_check(there, b);
    flow_check(back, a);
}

static void the_longest_frame_comes_whole(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    size_t               len = a->engine->frame_bytes_max;
    char                *bytes = malloc(len);

    assert_true(len >= 4096);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    assert_int_equal(bench_send(a, &b->id, span_of(bytes, len)), RC_OK);
    struct bench_frame *frame = bench_take_frame(b);
    assert_int_equal(frame->len, len);
    assert_memory_equal(frame->bytes, bytes, len);
    free(frame);
    free(bytes);
}

static void a_frame_to_nobody_is_no_error(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    struct node_id       nobody = { .name = "nobody", .incarnation = 77 };
    struct node_id       earlier = { .name = "b", .incarnation = 1000 };

    assert_int_equal(bench_send(a, &nobody, SPAN("lost")), RC_OK);
    assert_int_equal(bench_send(a, &earlier, SPAN("for an earlier start of b")), RC_OK);
    assert_int_equal(bench_send(a, &b->id, SPAN("for b")), RC_OK);
    struct bench_frame *frame = bench_take_frame(b);
    assert_true(span_eq(span_of(frame->bytes, frame->len), SPAN("for b")));
    free(frame);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

/* An engine that was emptied says so, at the next renewal of the lease at the latest. */
static void an_emptied_engine_has_another_life_threat_39(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    uint64_t             life_a = bench_life(a), life_b = bench_life(b);

    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_route(a, "topic:x", false), RC_OK);
    bench->maker->empty();
    while (bench_life(a) == life_a || bench_life(b) == life_b) {
        bench_lease(a, "a", BENCH_LEASE_MS);
        bench_lease(b, "b", BENCH_LEASE_MS);
        bench_moment(bench);
    }
    bench_expect_lookup(b, "topic:x", "");
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_lease(b, "b", BENCH_LEASE_MS), RC_OK);  /* those before may have failed with what was lost */
    assert_int_equal(bench_route(a, "topic:x", false), RC_OK);
    bench_expect_lookup(b, "topic:x", "a:1");
    bench_expect_nodes(b, "a:1=a b:2=b");
}

static uint64_t lookup_round(struct bench_node *node, const char *route)
{
    struct engine_name name = { .name = span_str(route) };
    struct bench_call  mine = { .call = { .kind = ENGINE_LOOKUP, .names = &name, .name_count = 1 } };

    assert_int_equal(bench_carry(node, &mine), RC_OK);
    engine_call_fini(&mine.call);
    return mine.call.round;
}

/* What was looked up in an emptied engine can be told from what was looked up long before. */
static void look_ups_of_an_emptied_engine_are_told_apart_threat_39(void **state)
{
    enum { LEASES = 3 };
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    uint64_t             life  = bench_life(a);

    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    uint64_t before = lookup_round(a, "topic:x");
    for (int i = 0; i < LEASES; i++)
        assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    bench->maker->empty();
    uint64_t behind = lookup_round(a, "topic:x");
    while (bench_life(a) == life) {
        bench_lease(a, "a", BENCH_LEASE_MS);
        bench_moment(bench);
    }
    pthread_mutex_lock(&bench->lock);
    uint64_t since = a->since;
    pthread_mutex_unlock(&bench->lock);
    assert_true(behind >= since);
    assert_true(since == 0 || before < since);
}

/* True: it is to be tried again. */
static bool is_for_another_try(struct engine_bench *bench, enum rc rc)
{
    if (rc == RC_OK)
        return false;
    assert_int_equal(rc, RC_IO);
    assert_true(bench->maker->is_impatient);
    bench_moment(bench);
    return true;
}

/* Drops what came before it. False: it did not come in a while. */
static bool frame_comes(struct bench_node *node, struct span text)
{
    const time_t deadline = seconds() + (node->bench->maker->is_impatient ? FRAME_S : DEADLINE_S);
    bool         is_there = false;

    while (!is_there && seconds() < deadline) {
        pthread_mutex_lock(&node->bench->lock);
        bool has_frame = node->oldest != NULL;
        pthread_mutex_unlock(&node->bench->lock);
        if (!has_frame) {
            bench_moment(node->bench);
            continue;
        }
        struct bench_frame *frame = bench_take_frame(node);
        is_there = span_eq(span_of(frame->bytes, frame->len), text);
        assert_true(is_there || node->bench->maker->is_impatient);
        free(frame);
    }
    assert_true(is_there || node->bench->maker->is_impatient);
    return is_there;
}

static void an_engine_that_is_away_says_so_and_comes_back_threat_39(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    char                 text[32];

    for (size_t round = 1; round <= 2; round++) {
        struct span hello = span_of(text, (size_t)snprintf(text, sizeof text, "hello again %zu", round));
        bench->maker->cut();
        while (bench_lease(a, "a", BENCH_LEASE_MS) == RC_OK)
            bench_moment(bench);
        assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_IO);
        assert_int_equal(bench_route(a, "topic:x", false), RC_IO);
        BENCH_WAIT(bench, !a->is_up && !b->is_up);
        bench->maker->heal();
        BENCH_WAIT(bench, a->is_up && b->is_up);
        while (bench_lease(a, "a", BENCH_LEASE_MS) != RC_OK)
            bench_moment(bench);
        while (is_for_another_try(bench, bench_route(a, "topic:x", false)))
            continue;
        bench_expect_lookup(b, "topic:x", "a:1");
        do
            while (is_for_another_try(bench, bench_send(b, &a->id, hello)))
                continue;
        while (!frame_comes(a, hello));
    }
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

struct call_flood {
    struct bench_call  calls[FLOOD];
    struct engine_name names[FLOOD];
    char               texts[FLOOD][24];
};

static struct call_flood *flood_new(const struct bench_node *node)
{
    struct call_flood *flood = calloc(1, sizeof *flood);

    assert_non_null(flood);
    for (size_t i = 0; i < FLOOD; i++) {
        struct engine_call *call = &flood->calls[i].call;
        snprintf(flood->texts[i], sizeof flood->texts[i], "topic:%zu", i % 50);
        flood->names[i].name = span_str(flood->texts[i]);
        *call = (struct engine_call){ .kind = (enum engine_call_kind[]){ ENGINE_LEASE, ENGINE_ROUTE, ENGINE_LOOKUP,
                                                                         ENGINE_SEND }[i % 4] };
        call->record     = SPAN("record");
        call->started    = node->started;
        call->lease_ms   = BENCH_LEASE_MS;
        call->names      = &flood->names[i];
        call->name_count = 1;
        call->to         = node->id;
        call->frame      = SPAN("frame");
    }
    return flood;
}

static void flood_free(struct call_flood *flood)
{
    for (size_t i = 0; i < FLOOD; i++)
        engine_call_fini(&flood->calls[i].call);
    free(flood);
}

/* Those of one kind come back in their order; what is too much is refused, and nothing else is. */
static void each_call_is_done_once_and_in_its_order(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    struct call_flood   *flood = flood_new(a);
    size_t               next[ENGINE_SEND + 1] = { 0 };

    for (size_t i = 0; i < FLOOD; i++)
        bench_submit(a, &flood->calls[i]);
    for (size_t i = 0; i < FLOOD; i++)
        bench_await(&flood->calls[i]);
    size_t done_count = 0;
    for (size_t i = 0; i < FLOOD; i++) {
        const struct bench_call *mine = &flood->calls[i];
        assert_int_equal(mine->done_count, 1);
        if (mine->call.rc != RC_OK && mine->call.rc != RC_FULL) {
            struct engine_stats stats;
            a->engine->ops->stats(a->engine, &stats);
            fail_msg("call %zu: %s: %s", i, rc_text(mine->call.rc), stats.failure);
        }
        if (mine->call.rc != RC_OK)
            continue;
        done_count++;
        assert_true(mine->rank >= next[mine->call.kind]);
        next[mine->call.kind] = mine->rank + 1;
    }
    assert_true(done_count >= ENGINE_CALLS_MAX);
    flood_free(flood);
}

static void a_close_completes_what_is_under_way(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    struct call_flood   *flood = flood_new(a);

    for (size_t i = 0; i < FLOOD; i++)
        bench_submit(a, &flood->calls[i]);
    bench_node_close(a);
    for (size_t i = 0; i < FLOOD; i++)
        assert_int_equal(flood->calls[i].done_count, 1);
    flood_free(flood);
}

static void an_engine_counts_what_it_does(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    struct engine_stats  stats = { 0 };

    assert_int_equal(bench_send(a, &a->id, SPAN("to itself")), RC_OK);
    free(bench_take_frame(a));
    assert_int_equal(bench_route(a, "topic:x", false), RC_OK);
    a->engine->ops->stats(a->engine, &stats);
    assert_true(stats.is_up);
    assert_int_equal(stats.call_count, 2);
    assert_int_equal(stats.frames_sent, 1);
    assert_int_equal(stats.frames_received, 1);
    assert_int_equal(stats.failure_count, 0);
    assert_int_equal(stats.waiting_count, 0);
    assert_true(stats.answer_count > 0);
}

/* Each of them from within done() of the one before, look-ups and frames in turn. */
static void calls_may_be_put_from_within_done(void **state)
{
    enum { CHAIN = 40 };
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    struct engine_name   names[CHAIN];
    struct bench_call    calls[CHAIN];

    assert_int_equal(bench_lease(b, "b", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_route(b, "r", false), RC_OK);
    for (size_t i = 0; i < CHAIN; i++) {
        names[i] = (struct engine_name){ .name = SPAN("r") };
        calls[i] = (struct bench_call){ .then = i + 1 < CHAIN ? &calls[i + 1] : NULL };
        if (i % 2 == 0)
            calls[i].call = (struct engine_call){ .kind = ENGINE_LOOKUP, .names = &names[i], .name_count = 1 };
        else
            calls[i].call = (struct engine_call){ .kind = ENGINE_SEND, .to = b->id, .frame = SPAN("frame") };
    }
    bench_submit(a, &calls[0]);
    bench_await(&calls[0]);  /* its node is known now */
    for (size_t i = 1; i < CHAIN; i++)
        BENCH_WAIT(bench, calls[i].done_count > 0);
    for (size_t i = 0; i < CHAIN; i++) {
        assert_int_equal(calls[i].call.rc, RC_OK);
        assert_int_equal(calls[i].rank, i / 2);
        if (i % 2 == 0)
            assert_int_equal(names[i].count, 1);
        else
            free(bench_take_frame(b));
        engine_call_fini(&calls[i].call);
    }
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct engine_bench *bench = malloc(sizeof *bench);

    assert_non_null(bench);
    engine_bench_open(bench, *state);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    engine_bench_close(*state);
    free(*state);
    return 0;
}

int engine_battery_run(const struct engine_maker *maker)
{
#define BATTERY_TEST(test) { #test, test, setup, teardown, (void *)(uintptr_t)maker }
    const struct CMUnitTest tests[] = {
        BATTERY_TEST(a_lease_is_listed_with_its_record),
        BATTERY_TEST(the_newer_incarnation_of_a_name_wins_threat_43),
        BATTERY_TEST(a_lease_runs_out_by_itself),
        BATTERY_TEST(who_leaves_is_listed_no_more),
        BATTERY_TEST(routes_are_added_removed_and_looked_up),
        BATTERY_TEST(a_route_names_its_incarnation),
        BATTERY_TEST(routes_come_in_batches),
        BATTERY_TEST(frames_between_two_nodes_come_in_order),
        BATTERY_TEST(the_longest_frame_comes_whole),
        BATTERY_TEST(a_frame_to_nobody_is_no_error),
        BATTERY_TEST(an_emptied_engine_has_another_life_threat_39),
        BATTERY_TEST(look_ups_of_an_emptied_engine_are_told_apart_threat_39),
        BATTERY_TEST(an_engine_that_is_away_says_so_and_comes_back_threat_39),
        BATTERY_TEST(each_call_is_done_once_and_in_its_order),
        BATTERY_TEST(calls_may_be_put_from_within_done),
        BATTERY_TEST(a_close_completes_what_is_under_way),
        BATTERY_TEST(an_engine_counts_what_it_does),
    };
    const struct CMUnitTest cuts[] = { BATTERY_TEST(an_engine_that_is_away_says_so_and_comes_back_threat_39) };
#undef BATTERY_TEST
    if (maker->is_impatient)
        return cmocka_run_group_tests_name(maker->name, cuts, NULL, NULL);
    return cmocka_run_group_tests_name(maker->name, tests, NULL, NULL);
}
