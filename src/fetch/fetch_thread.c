/* fetch_thread.c - the thread, which is a loop, and the way of a call through the module: by mail into the line or straight
 * under way, then among the ended ones, and back. */
#include "base/must.h"
#include "fetch/fetch_priv.h"

enum { LOOK_OF_FETCH_MS = 100 };

static struct fetch_call *call_of(struct list *link)
{
    return container_of(link, struct fetch_call, link);
}

/* --- the end of a call --------------------------------------------------------------------------------------- */

static void fetch_judged(struct fetch *fetch, struct fetch_call *call, enum fetch_outcome outcome)
{
    struct fetch_counters *counters = &fetch->counters;

    list_take(&call->link);
    list_push(&fetch->ended, &call->link);
    call->outcome = outcome;
    call->took_ms = call->begun_at == 0 ? 0 : fetch->loop->now - call->begun_at;
    counter_add(&counters->outcomes[outcome], 1);
    counter_add(&counters->took_ms_sum, (uint64_t)call->took_ms);
}

void fetch_ended(struct fetch *fetch, struct fetch_call *call, enum fetch_outcome outcome)
{
    must(call->conn == NULL && call->handle == NULL);
    fetch->under_way_count--;
    fetch->line_count -= !call->is_counted;
    fetch_judged(fetch, call, outcome);
}

static void fetch_give_back(struct fetch *fetch, struct fetch_call *call)
{
    if (!call->is_counted)
        atomic_fetch_sub(&fetch->out_count, 1);
    call->done(call);
}

/* What takes time comes first, so that the owners of calls that ended together are woken once. */
static void fetch_give_back_all(struct fetch *fetch)
{
    struct list *link;

    for (struct list *at = fetch->ended.next; at != &fetch->ended; at = at->next)
        if (call_of(at)->prepare != NULL && call_of(at)->outcome == FETCH_ANSWERED)
            call_of(at)->prepare(call_of(at));
    while ((link = list_pop(&fetch->ended)) != NULL)
        fetch_give_back(fetch, call_of(link));
}

static void fetch_break_off(struct fetch *fetch, struct fetch_call *call, enum fetch_outcome outcome)
{
    if (call->conn != NULL)
        plain_cancel(call, outcome);
    else
        fetch_multi_cancel(fetch, call, outcome);
}

/* --- the beginning ------------------------------------------------------------------------------------------- */

static uint32_t ms_left(const struct fetch *fetch, const struct fetch_call *call)
{
    return call->deadline > fetch->loop->now ? (uint32_t)(call->deadline - fetch->loop->now) : 1;
}

void fetch_by_other(struct fetch *fetch, struct fetch_call *call)
{
    if (fetch->whole == NULL) {
        fetch_multi_begin(fetch, call);
        return;
    }
    list_take(&call->link);
    fetch->under_way_count--;
    call->timeout_ms   = ms_left(fetch, call);
    call->is_passed_on = true;
    must(call->is_counted && fetch_send(fetch->whole, call));
}

static void fetch_begin(struct fetch *fetch, struct fetch_call *call)
{
    list_take(&call->link);
    list_push(&fetch->under_way, &call->link);
    fetch->under_way_count++;
    fetch->line_count += !call->is_counted;
    call->begun_at     = fetch->loop->now;
    if (!plain_begin(fetch, call))
        fetch_by_other(fetch, call);
}

/* Calls wait in the order in which they came. */
static void fetch_begin_waiting(struct fetch *fetch)
{
    while (fetch->line_count < fetch->limits.under_way_max && !list_is_empty(&fetch->waiting))
        fetch_begin(fetch, call_of(fetch->waiting.next));
}

static void fetch_wait(struct fetch *fetch, struct fetch_call *call)
{
    list_push(&fetch->waiting, &call->link);
    if (!timer_is_armed(&fetch->look))
        wheel_arm(&fetch->loop->wheel, &fetch->look, fetch->loop->now + LOOK_OF_FETCH_MS);
}

/* One whose time is up is given back from wherever it stands in the line. */
static void fetch_look_at_waiting(struct timer *timer, msec now)
{
    struct fetch *fetch = container_of(timer, struct fetch, look);

    for (struct list *at = fetch->waiting.next, *next; at != &fetch->waiting; at = next) {
        next = at->next;
        if (call_of(at)->deadline <= now)
            fetch_judged(fetch, call_of(at), FETCH_TIMEOUT);
    }
    if (!list_is_empty(&fetch->waiting))
        wheel_arm(&fetch->loop->wheel, timer, now + LOOK_OF_FETCH_MS);
}

static void fetch_go_through_cancelled(struct fetch *fetch)
{
    if (!atomic_load_explicit(&fetch->has_cancelled, memory_order_acquire) || !atomic_exchange(&fetch->has_cancelled, false))
        return;
    for (struct list *at = fetch->waiting.next, *next; at != &fetch->waiting; at = next) {
        next = at->next;
        if (atomic_load(&call_of(at)->is_cancelled))
            fetch_judged(fetch, call_of(at), FETCH_CANCELLED);
    }
    for (struct list *at = fetch->under_way.next, *next; at != &fetch->under_way; at = next) {
        next = at->next;
        if (atomic_load(&call_of(at)->is_cancelled))
            fetch_break_off(fetch, call_of(at), FETCH_CANCELLED);
    }
}

/* --- the loop's turn ------------------------------------------------------------------------------------------ */

static void fetch_turn_begin(void *ctx)
{
    struct fetch *fetch = ctx;

    if (atomic_load(&fetch->is_stopping))
        loop_stop(fetch->loop);
}

/* A call that is cancelled already may have been missed when the cancelled ones were gone through; one that is not yet is in a
 * list by then. */
static void fetch_take(struct fetch *fetch, struct fetch_call *call)
{
    call->deadline = fetch->loop->now + call->timeout_ms;
    call->begun_at = 0;
    counter_add(&fetch->counters.calls, 1);
    if (atomic_load(&call->is_cancelled))
        fetch_judged(fetch, call, FETCH_CANCELLED);
    else if (call->is_counted)
        fetch_begin(fetch, call);
    else
        fetch_wait(fetch, call);
}

static void fetch_take_mail(void *ctx, struct mail *mail)
{
    fetch_take(ctx, container_of(mail, struct fetch_call, mail));
}

static void fetch_turn_end(void *ctx)
{
    struct fetch *fetch = ctx;

    fetch_multi_turn_end(fetch);
    fetch_go_through_cancelled(fetch);
    fetch_begin_waiting(fetch);
    fetch_give_back_all(fetch);
    plain_turn_end(fetch);
    counter_set(&fetch->counters.under_way, fetch->under_way_count);
    counter_set(&fetch->counters.waiting, atomic_load(&fetch->out_count) - fetch->line_count);
}

const struct loop_hooks fetch_hooks = {
    .turn_begin = fetch_turn_begin, .mail = fetch_take_mail, .turn_end = fetch_turn_end,
};

/* --- the thread ---------------------------------------------------------------------------------------------- */

static void fetch_close(struct fetch *fetch)
{
    for (struct mail *mail = mailbox_take(&fetch->loop->mailbox), *next; mail != NULL; mail = next) {
        next = mail->next;
        list_push(&fetch->waiting, &container_of(mail, struct fetch_call, mail)->link);
    }
    while (!list_is_empty(&fetch->waiting))
        fetch_judged(fetch, call_of(fetch->waiting.next), FETCH_STOPPED);
    while (!list_is_empty(&fetch->under_way))
        fetch_break_off(fetch, call_of(fetch->under_way.next), FETCH_STOPPED);
    fetch_give_back_all(fetch);
    wheel_disarm(&fetch->loop->wheel, &fetch->look);
    plain_close_idle(fetch);
    fetch_multi_close(fetch);
}

void *fetch_main(void *ctx)
{
    struct fetch *fetch = ctx;

    pthread_setname_np(pthread_self(), "lw-fetch");
    fetch->look.fire = fetch_look_at_waiting;
    fetch_multi_open(fetch);
    loop_run(fetch->loop);
    fetch_close(fetch);
    return NULL;
}

/* --- on another loop ------------------------------------------------------------------------------------------- */

void fetch_part_send(struct fetch *part, struct fetch_call *call)
{
    must(call->done != NULL && call->is_counted && call->timeout_ms > 0 && call->connect_timeout_ms > 0);
    must(loop_is_here(part->loop));
    atomic_store(&call->by, part);
    call->is_passed_on = false;
    if (atomic_load(&part->is_stopping)) {
        list_push(&part->under_way, &call->link);
        part->under_way_count++;
        fetch_ended(part, call, FETCH_STOPPED);
        return;
    }
    fetch_take(part, call);
}

void fetch_part_turn_end(struct fetch *part)
{
    fetch_go_through_cancelled(part);
    fetch_give_back_all(part);
    plain_turn_end(part);
    counter_set(&part->counters.under_way, part->under_way_count);
}

void fetch_part_stop(struct fetch *part)
{
    atomic_store(&part->is_stopping, true);
    while (!list_is_empty(&part->under_way))
        fetch_break_off(part, call_of(part->under_way.next), FETCH_STOPPED);
    plain_close_idle(part);
    fetch_part_turn_end(part);
}
