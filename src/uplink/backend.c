#include "uplink/backend.h"

#include <stdlib.h>

#include "base/must.h"

const uint32_t backend_buckets_ms[BACKEND_BUCKETS] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000 };

/* One address. One that the settings name no longer lives on until its calls are back. */
struct backend_address {
    char    *url;
    uint32_t bit;             /* in backend_call.tried */
    uint32_t in_flight;
    uint32_t failures;        /* in a row */
    msec     open_ms;         /* how long its circuit was open last; 0: it is closed */
    msec     open_until;      /* then one call tries */
    bool     is_probed;       /* that call is under way */
    bool     is_multiplexed;  /* it speaks HTTP/2: one connection is enough */
    bool     is_gone;
};

enum { LOOK_MS = 50 };

struct backend {
    char                      *name;
    const struct backend_port *port;
    void                      *ctx;
    struct rng                *random;
    struct backend_limits      limits;
    struct backend_counters    counters;
    struct backend_address    *addresses[BACKEND_URLS_MAX];
    size_t                     address_count, next;
    struct list                waiting;      /* in the order in which they came */
    struct list                under_way;
    struct list                ended;        /* done() is to be called */
    uint32_t                   waiting_count, in_flight;
    msec                       looked_at;    /* when those that wait were last gone through for such as have no time left */
    bool                       has_cancelled;
    bool                       is_stopped;
};

const char *backend_outcome_text(enum backend_outcome outcome)
{
    static const char *const texts[BACKEND_OUTCOME_COUNT] = {
        "answered", "timeout", "unreachable", "garbage", "too_large", "circuit_open", "queue_full", "cancelled", "stopped",
    };
    must(outcome < BACKEND_OUTCOME_COUNT);
    return texts[outcome];
}

static struct backend_call *call_at(struct list *link)
{
    return container_of(link, struct backend_call, link);
}

/* --- the back end ------------------------------------------------------------------------------------------------ */

struct backend *backend_new(struct span name, const struct backend_port *port, void *ctx, struct rng *random)
{
    struct backend *backend = calloc(1, sizeof *backend);

    must(backend != NULL);
    backend->name   = strndup(name.at, name.len);
    backend->port   = port;
    backend->ctx    = ctx;
    backend->random = random;
    must(backend->name != NULL);
    list_init(&backend->waiting);
    list_init(&backend->under_way);
    list_init(&backend->ended);
    return backend;
}

static void address_let_go(struct backend_address *address)
{
    if (!address->is_gone || address->in_flight > 0)
        return;
    free(address->url);
    free(address);
}

static struct backend_address *address_of(struct backend *backend, struct span url)
{
    for (size_t i = 0; i < backend->address_count; i++)
        if (backend->addresses[i] != NULL && span_eq(span_str(backend->addresses[i]->url), url)) {
            struct backend_address *address = backend->addresses[i];
            backend->addresses[i] = NULL;
            return address;
        }
    struct backend_address *address = calloc(1, sizeof *address);
    must(address != NULL);
    address->url = strndup(url.at, url.len);
    must(address->url != NULL);
    return address;
}

static void addresses_set(struct backend *backend, const struct span *urls, size_t url_count)
{
    struct backend_address *fresh[BACKEND_URLS_MAX];

    for (size_t i = 0; i < url_count; i++) {
        fresh[i]      = address_of(backend, urls[i]);
        fresh[i]->bit = UINT32_C(1) << i;
    }
    for (size_t i = 0; i < backend->address_count; i++)
        if (backend->addresses[i] != NULL) {
            backend->addresses[i]->is_gone = true;
            address_let_go(backend->addresses[i]);
        }
    memcpy(backend->addresses, fresh, url_count * sizeof fresh[0]);
    backend->address_count = url_count;
    backend->next          = (size_t)rng_below(backend->random, url_count);
}

void backend_set(struct backend *backend, const struct span *urls, size_t url_count, const struct backend_limits *limits)
{
    must(url_count > 0 && url_count <= BACKEND_URLS_MAX && limits->requests_max > 0 && limits->connections_max > 0);
    addresses_set(backend, urls, url_count);
    backend->limits = *limits;
    counter_set(&backend->counters.addresses, url_count);
    for (struct list *at = backend->waiting.next; at != &backend->waiting; at = at->next)
        call_at(at)->tried = 0;  /* the bits mean other addresses now */
    for (struct list *at = backend->under_way.next; at != &backend->under_way; at = at->next)
        call_at(at)->tried = 0;
}

void backend_free(struct backend *backend)
{
    must(backend_is_idle(backend));
    for (size_t i = 0; i < backend->address_count; i++) {
        backend->addresses[i]->is_gone = true;
        address_let_go(backend->addresses[i]);
    }
    free(backend->name);
    free(backend);
}

struct span backend_name(const struct backend *backend)
{
    return span_str(backend->name);
}

const struct backend_counters *backend_counters(const struct backend *backend)
{
    return &backend->counters;
}

const char *backend_url(const struct backend *backend, size_t at, bool *ret_is_open)
{
    if (at >= backend->address_count)
        return NULL;
    *ret_is_open = backend->addresses[at]->open_ms > 0;
    return backend->addresses[at]->url;
}

bool backend_is_idle(const struct backend *backend)
{
    return list_is_empty(&backend->waiting) && list_is_empty(&backend->under_way) && list_is_empty(&backend->ended);
}

/* --- the end of a call ---------------------------------------------------------------------------------------------- */

static void backend_end(struct backend *backend, struct backend_call *call, enum backend_outcome outcome, msec now)
{
    struct backend_counters *counters = &backend->counters;
    msec                     took     = now - call->came_at;

    must(!list_is_linked(&call->link) && call->address == NULL);
    call->outcome = outcome;
    counter_add(&counters->outcomes[outcome], 1);
    if (outcome == BACKEND_ANSWERED && call->fetch->status / 100 < 6)
        counter_add(&counters->statuses[call->fetch->status / 100], 1);
    for (size_t i = 0; i < BACKEND_BUCKETS; i++)
        if (took <= backend_buckets_ms[i])
            counter_add(&counters->took[i], 1);
    counter_add(&counters->took_ms_sum, (uint64_t)took);
    counter_add(&counters->took_count, 1);
    list_push(&backend->ended, &call->link);
}

static void waiting_take(struct backend *backend, struct backend_call *call)
{
    must(backend->waiting_count > 0);
    list_take(&call->link);
    backend->waiting_count--;
}

static void waiting_end(struct backend *backend, struct backend_call *call, enum backend_outcome outcome, msec now)
{
    waiting_take(backend, call);
    backend_end(backend, call, outcome, now);
}

/* --- health --------------------------------------------------------------------------------------------------------- */

/* A quarter more or less of the time. */
static msec spread(msec ms, struct rng *random)
{
    return ms - ms / 4 + (msec)rng_below(random, (uint64_t)ms / 2 + 1);
}

static void tell_circuit(const struct backend *backend, const struct backend_address *address, bool is_open, const char *why)
{
    if (backend->port->circuit != NULL)
        backend->port->circuit(backend->ctx, span_str(backend->name), address->url, is_open, why);
}

static void circuit_open(struct backend *backend, struct backend_address *address, const char *why, msec now)
{
    msec twice = address->open_ms * 2;

    if (address->open_ms == 0) {
        counter_add(&backend->counters.circuit_openings, 1);
        tell_circuit(backend, address, true, why);
    }
    address->open_ms    = address->open_ms == 0 ? BACKEND_OPEN_MS_MIN : twice < BACKEND_OPEN_MS_MAX ? twice : BACKEND_OPEN_MS_MAX;
    address->open_until = now + spread(address->open_ms, backend->random);
}

static void address_failed(struct backend *backend, struct backend_address *address, const struct backend_call *call, msec now)
{
    address->failures++;
    if ((call->is_probe && address->open_ms > 0) || (address->open_ms == 0 && address->failures >= BACKEND_FAILURES_TO_OPEN))
        circuit_open(backend, address, call->fetch->outcome == FETCH_ANSWERED ? "status 5xx" : call->fetch->why, now);
}

static void address_worked(struct backend *backend, struct backend_address *address)
{
    if (address->open_ms > 0)
        tell_circuit(backend, address, false, "");
    address->failures = 0;
    address->open_ms  = 0;
}

enum proof { PROVES_NOTHING, PROVES_WELL, PROVES_FAILURE };

static enum proof proof_of(const struct backend *backend, const struct backend_call *call, msec now)
{
    switch (call->fetch->outcome) {
    case FETCH_ANSWERED:
        return call->fetch->status >= 500 && call->fetch->status != 501 ? PROVES_FAILURE : PROVES_WELL;
    case FETCH_TOO_LARGE:
        return PROVES_WELL;
    case FETCH_TIMEOUT:
        return now - call->sent_at >= (call->fetch->is_sent ? backend->limits.timeout_ms / 2 : backend->limits.connect_timeout_ms)
                   ? PROVES_FAILURE
                   : PROVES_NOTHING;
    case FETCH_UNREACHABLE:
    case FETCH_GARBAGE:
        return PROVES_FAILURE;
    case FETCH_CANCELLED:
    case FETCH_STOPPED:
    case FETCH_OUTCOME_COUNT:
        break;
    }
    return PROVES_NOTHING;
}

/* --- an address for a call -------------------------------------------------------------------------------------------- */

static bool is_closed(const struct backend_address *address)
{
    return address->open_ms == 0;
}

/* May a call try whether it is well again? */
static bool is_half_open(const struct backend_address *address, msec now)
{
    return address->open_ms > 0 && !address->is_probed && address->open_until <= now;
}

static bool address_has_room(const struct backend *backend, const struct backend_address *address)
{
    return address->in_flight < (address->is_multiplexed ? backend->limits.requests_max : backend->limits.connections_max);
}

enum place { PLACE_FOUND, PLACE_LATER, PLACE_NONE };  /* NONE: no address is well that it has not tried */

static enum place place_find(struct backend *backend, const struct backend_call *call, msec now, struct backend_address **ret)
{
    enum place place = PLACE_NONE;

    for (size_t i = 0; i < backend->address_count; i++) {
        size_t                  at      = (backend->next + i) % backend->address_count;
        struct backend_address *address = backend->addresses[at];
        bool                    may_try = is_half_open(address, now);
        if ((call->tried & address->bit) != 0 || (!is_closed(address) && !may_try))
            continue;
        place = PLACE_LATER;
        if (!may_try && !address_has_room(backend, address))
            continue;
        backend->next = (at + 1) % backend->address_count;
        *ret          = address;
        return PLACE_FOUND;
    }
    return place;
}

/* --- sending --------------------------------------------------------------------------------------------------------- */

static void call_set(struct backend *backend, struct backend_call *call, struct backend_address *address, msec now)
{
    const struct backend_limits *limits = &backend->limits;
    struct fetch_call           *fetch  = call->fetch;

    fetch_call_renew(fetch, span_str(address->url), span_str(call->target));
    fetch->timeout_ms         = call->deadline > now ? call->deadline - now : 1;
    fetch->connect_timeout_ms = limits->connect_timeout_ms;
    fetch->protocol           = limits->protocol;
    fetch->is_repeatable      = call->is_repeatable;
    fetch->is_counted         = true;
    fetch->connections_max    = limits->connections_max < limits->requests_max ? limits->connections_max : limits->requests_max;
}

/* False: the port has no room; the call waits on. */
static bool call_leave(struct backend *backend, struct backend_call *call, struct backend_address *address, msec now)
{
    call_set(backend, call, address, now);
    if (!backend->port->send(backend->ctx, call->fetch, call))
        return false;
    waiting_take(backend, call);
    list_push(&backend->under_way, &call->link);
    call->address      = address;
    call->sent_at      = now;
    call->tried       |= address->bit;
    address->in_flight++;
    call->is_probe     = !is_closed(address);
    address->is_probed |= call->is_probe;
    backend->in_flight++;
    call->tries++;
    if (call->tries > 1)
        counter_add(&backend->counters.retries, 1);
    return true;
}

void backend_send(struct backend *backend, struct backend_call *call, msec now)
{
    msec latest = now + backend->limits.timeout_ms;

    must(call->backend == NULL && call->done != NULL && call->fetch != NULL);
    call->backend      = backend;
    call->came_at      = now;
    call->is_cancelled = call->is_sent = false;
    call->tries        = call->tried = 0;
    if (call->deadline == 0 || call->deadline > latest)
        call->deadline = latest;
    counter_add(&backend->counters.calls, 1);
    if (backend->is_stopped)
        backend_end(backend, call, BACKEND_STOPPED, now);
    else if (backend->in_flight + backend->waiting_count >= 2 * backend->limits.requests_max)
        backend_end(backend, call, BACKEND_FULL, now);
    else {
        list_push(&backend->waiting, &call->link);
        backend->waiting_count++;
    }
}

/* No address is left for it. */
static enum backend_outcome outcome_of_rest(const struct backend_call *call)
{
    return call->tries > 0 ? call->last : BACKEND_CIRCUIT;
}

/* False: those behind it need not be looked at. One that has tried an address may wait for others than they do. */
static bool waiting_go_on(struct backend *backend, struct backend_call *call, msec now)
{
    struct backend_address *address = NULL;

    switch (place_find(backend, call, now, &address)) {
    case PLACE_NONE:
        waiting_end(backend, call, outcome_of_rest(call), now);
        return true;
    case PLACE_LATER:
        return call->tried != 0;
    case PLACE_FOUND:
        return call_leave(backend, call, address, now);
    }
    return false;
}

static enum backend_outcome outcome_of_late(const struct backend *backend, const struct backend_call *call)
{
    if (backend->is_stopped)
        return BACKEND_STOPPED;
    if (call->is_cancelled)
        return BACKEND_CANCELLED;
    return call->tries > 0 ? call->last : BACKEND_FULL;
}

static void waiting_end_late(struct backend *backend, msec now)
{
    if (now - backend->looked_at < LOOK_MS && !backend->has_cancelled && !backend->is_stopped)
        return;
    backend->looked_at     = now;
    backend->has_cancelled = false;
    for (struct list *at = backend->waiting.next, *next; at != &backend->waiting; at = next) {
        struct backend_call *call = call_at(at);
        next                      = at->next;
        if (call->deadline <= now || call->is_cancelled || backend->is_stopped)
            waiting_end(backend, call, outcome_of_late(backend, call), now);
    }
}

static void waiting_send(struct backend *backend, msec now)
{
    bool goes_on = true;

    for (struct list *at = backend->waiting.next, *next; goes_on && at != &backend->waiting; at = next) {
        next    = at->next;
        goes_on = backend->in_flight < backend->limits.requests_max && waiting_go_on(backend, call_at(at), now);
    }
}

static bool tell_ended(struct backend *backend)
{
    struct list ended, *link;
    bool        has_told = false;

    list_init(&ended);
    list_move(&ended, &backend->ended);  /* what ends within done() waits for the next turn */
    while ((link = list_pop(&ended)) != NULL) {
        struct backend_call *call = call_at(link);
        call->backend             = NULL;
        has_told                  = true;
        call->done(call);
    }
    return has_told;
}

static void backend_count_now(struct backend *backend)
{
    uint64_t open = 0;

    for (size_t i = 0; i < backend->address_count; i++)
        open += !is_closed(backend->addresses[i]);
    counter_set(&backend->counters.open_circuits, open);
    counter_set(&backend->counters.waiting, backend->waiting_count);
    counter_set(&backend->counters.in_flight, backend->in_flight);
}

bool backend_turn(struct backend *backend, msec now)
{
    if (backend_is_idle(backend) && counter_get(&backend->counters.in_flight) == 0)
        return false;
    waiting_end_late(backend, now);
    waiting_send(backend, now);
    backend_count_now(backend);
    return tell_ended(backend);
}

/* --- coming back ------------------------------------------------------------------------------------------------------ */

static enum backend_outcome outcome_of_try(const struct backend *backend, const struct backend_call *call)
{
    static const enum backend_outcome rows[FETCH_OUTCOME_COUNT] = {
        [FETCH_ANSWERED]  = BACKEND_ANSWERED,  [FETCH_TIMEOUT] = BACKEND_TIMEOUT,     [FETCH_UNREACHABLE] = BACKEND_UNREACHABLE,
        [FETCH_GARBAGE]   = BACKEND_GARBAGE,   [FETCH_TOO_LARGE] = BACKEND_TOO_LARGE, [FETCH_CANCELLED] = BACKEND_CANCELLED,
        [FETCH_STOPPED]   = BACKEND_STOPPED,
    };
    if (call->fetch->outcome == FETCH_CANCELLED && backend->is_stopped)
        return BACKEND_STOPPED;
    return rows[call->fetch->outcome];
}

/* Another address may take it: nothing of it was sent, or it may come twice. */
static bool may_go_elsewhere(const struct backend *backend, const struct backend_call *call, msec now)
{
    enum fetch_outcome outcome = call->fetch->outcome;

    if (call->is_cancelled || backend->is_stopped || call->tries > backend->limits.retries || call->deadline <= now)
        return false;
    if (outcome != FETCH_UNREACHABLE && outcome != FETCH_TIMEOUT && outcome != FETCH_GARBAGE)
        return false;
    return !call->is_sent || call->is_repeatable;
}

static bool has_untried(const struct backend *backend, const struct backend_call *call, msec now)
{
    for (size_t i = 0; i < backend->address_count; i++) {
        const struct backend_address *address = backend->addresses[i];
        if ((call->tried & address->bit) == 0 && (is_closed(address) || is_half_open(address, now)))
            return true;
    }
    return false;
}

static void address_note(struct backend *backend, struct backend_address *address, const struct backend_call *call, msec now)
{
    enum proof proof = proof_of(backend, call, now);

    if (call->is_probe)
        address->is_probed = false;
    address->is_multiplexed = call->fetch->outcome == FETCH_ANSWERED ? call->fetch->is_multiplexed : address->is_multiplexed;
    if (proof == PROVES_WELL)
        address_worked(backend, address);
    else if (proof == PROVES_FAILURE)
        address_failed(backend, address, call, now);
}

void backend_take(void *owner, msec now)
{
    struct backend_call    *call    = owner;
    struct backend         *backend = call->backend;
    struct backend_address *address = call->address;

    must(backend != NULL && address != NULL && address->in_flight > 0 && backend->in_flight > 0);
    list_take(&call->link);
    call->address  = NULL;
    call->is_sent |= call->fetch->is_sent;
    address->in_flight--;
    backend->in_flight--;
    address_note(backend, address, call, now);
    address_let_go(address);
    call->last = outcome_of_try(backend, call);
    if (may_go_elsewhere(backend, call, now) && has_untried(backend, call, now)) {
        backend->waiting_count++;
        list_push(backend->waiting.next, &call->link);  /* before the first: it came before all of them */
    } else {
        backend_end(backend, call, call->last, now);
    }
}

void backend_cancel(struct backend_call *call)
{
    struct backend *backend = call->backend;

    if (backend == NULL || call->is_cancelled)
        return;
    call->is_cancelled = true;
    if (call->address != NULL)
        backend->port->cancel(backend->ctx, call->fetch);
    else
        backend->has_cancelled = true;  /* the next turn ends it */
}

void backend_stop(struct backend *backend)
{
    backend->is_stopped = true;
    for (struct list *at = backend->under_way.next; at != &backend->under_way; at = at->next)
        if (!call_at(at)->is_cancelled) {
            call_at(at)->is_cancelled = true;
            backend->port->cancel(backend->ctx, call_at(at)->fetch);
        }
}
