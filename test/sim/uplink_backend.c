#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "device/row_kind.h"
#include "store_sim.h"
#include "uplink/requests_priv.h"
#include "uplink_world.h"

enum { ANSWER_MS_MAX = 120, SLOW_MS_MAX = 1500, SLOW_ONE_IN = 6, FAILS_ONE_IN = 8, WAKING_MS = 1500 };

static const struct request_work *work_of(const struct backend_call *call)
{
    return call->owner;
}

static struct ask *ask_of(struct uplink_world *all, const struct request_work *work)
{
    for (unsigned i = 0; i < all->ask_count; i++) {
        char id[16], device[16];
        snprintf(id, sizeof id, "r%u", all->asks[i].no);
        snprintf(device, sizeof device, "d%u", all->asks[i].device);
        if (span_eq(work->id, span_str(id)) && span_eq(work->name, span_str(device)))
            return &all->asks[i];
    }
    promise_broken(&all->world, "the back end is called with %.*s, which nobody has asked for", SPAN_ARG(work->id));
}

/* Before the back end is called, the request is on the disk, as one that is under way. A node that stood hears what it has written
 * when others have answered for it. */
/* Where calls share rows: one of them names it. */
static bool is_in_calls_row(struct world *world, const struct uplink_node *node, const struct request_work *work)
{
    bool       is_there = false;
    struct buf key, value;

    buf_init(&key, 64);
    buf_init(&value, 64 * 1024);
    for (uint32_t number = 1; !is_there && number <= node->requests.group_count; number++) {
        buf_clear(&key);
        buf_clear(&value);
        calls_key_put(&key, (struct calls_place){ node->id.incarnation, number });
        is_there = store_sim_row(world->disk, ROW_CALLS, buf_span(&key), &value) != 0 &&
                   memmem(value.at, value.len, work_key(work).at, work_key(work).len) != NULL;
    }
    buf_fini(&key);
    buf_fini(&value);
    return is_there;
}

static void check_call(struct uplink_node *node, const struct ask *ask, const struct request_work *work)
{
    struct world *world = &node->all->world;
    struct buf    value;

    buf_init(&value, 4096);
    uint64_t generation = store_sim_row(world->disk, ROW_CALL, work_key(work), &value);
    buf_fini(&value);
    bool is_late = node->went_on_at >= 0 && world->now < node->went_on_at + WAKING_MS;
    bool is_there = work->is_grouped ? is_in_calls_row(world, node, work) : generation != 0;
    promise(world, is_late || is_there, "request %u is called, and is not on the disk", ask->no);
    promise(world, ask->is_at_least_once || ask->calls == 0, "request %u is called twice, and was to be at most once", ask->no);
    promise(world, is_late || ask->seq == 0, "request %u is called after it was answered", ask->no);
}

static void draw_answer(struct uplink_node *node, struct back_call *call)
{
    static const enum backend_outcome failures[] = { BACKEND_TIMEOUT, BACKEND_UNREACHABLE, BACKEND_GARBAGE, BACKEND_CIRCUIT, BACKEND_FULL };
    struct uplink_world *all  = node->all;
    bool                 slow = !all->world.is_healing && uplink_one_in(all, SLOW_ONE_IN);

    call->due         = all->world.now + (msec)uplink_draw(all, slow ? SLOW_MS_MAX : ANSWER_MS_MAX);
    call->is_answered = all->world.is_healing || !uplink_one_in(all, FAILS_ONE_IN);
    call->outcome     = call->is_answered ? BACKEND_ANSWERED : failures[uplink_draw(all, sizeof failures / sizeof failures[0])];
}

static void on_send(void *ctx, struct span backend, struct backend_call *call)
{
    struct uplink_node  *node = ctx;
    struct uplink_world *all  = node->all;
    struct ask          *ask  = ask_of(all, work_of(call));

    (void)backend;
    must(all->call_count < UPLINK_CALLS_MAX);
    struct back_call *got = &all->calls[all->call_count++];
    *got = (struct back_call){ .ask = ask, .caller = node, .call = call };
    if (node->sim_node->is_dying)
        return;  /* the process is gone */
    check_call(node, ask, work_of(call));
    ask->calls++;
    tell(&all->world, "node %u calls the back end with %u, call %u", node->sim_node->no, ask->no, all->call_count - 1);
    draw_answer(node, got);
}

static struct back_call *call_find(struct uplink_world *all, const struct backend_call *call)
{
    for (unsigned i = all->call_count; i-- > 0;)
        if (all->calls[i].call == call)
            return &all->calls[i];
    return NULL;
}

/* The back end may have carried it out all the same. */
static void on_cancel(void *ctx, struct backend_call *call)
{
    struct uplink_node *node = ctx;
    struct back_call   *got  = call_find(node->all, call);

    if (got == NULL || got->due <= node->all->world.now)
        return;
    got->due         = node->all->world.now;
    got->outcome     = BACKEND_CANCELLED;
    got->is_answered = false;
}

static const struct registry *on_registry(void *ctx)
{
    struct uplink_node *node = ctx;

    return node->all->world.node_count > 1 ? &node->registry : NULL;
}

const struct request_port uplink_request_port = { .send = on_send, .cancel = on_cancel, .registry = on_registry };

static void give_back(struct uplink_node *node, struct back_call *got)
{
    struct backend_call *call = got->call;
    unsigned             no   = (unsigned)(got - node->all->calls);
    char                 text[32];

    got->call     = NULL;
    call->outcome = got->outcome;
    call->is_sent = got->outcome != BACKEND_UNREACHABLE && got->outcome != BACKEND_CIRCUIT && got->outcome != BACKEND_FULL;
    if (got->is_answered) {
        call->fetch->status = 200;
        snprintf(text, sizeof text, "answer %u.", no);
        buf_put_lit(&call->fetch->head, "Content-Type: text/plain\n");
        buf_put(&call->fetch->answer, span_str(text));
    }
    got->ask->has_failed |= !got->is_answered;
    tell(&node->all->world, "call %u comes back: %s", no, backend_outcome_text(got->outcome));
    call->done(call);
}

void back_end_turn(struct uplink_node *node)
{
    for (unsigned i = 0; i < node->all->call_count; i++) {
        struct back_call *got = &node->all->calls[i];
        if (got->call != NULL && got->caller == node && got->due <= node->all->world.now)
            give_back(node, got);
    }
}

void back_end_lose(struct uplink_node *node)
{
    for (unsigned i = 0; i < node->all->call_count; i++) {
        struct back_call *got = &node->all->calls[i];
        if (got->call == NULL || got->caller != node)
            continue;
        struct backend_call *call = got->call;
        got->call     = NULL;
        call->outcome = BACKEND_STOPPED;
        ((struct request_work *)call->owner)->is_cancelled = false;
        call->done(call);  /* its memory is freed; its rows stay */
    }
}
