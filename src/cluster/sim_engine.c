#include "cluster/sim_engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

enum { KIND_COUNT = ENGINE_SEND + 1 };

enum sim_step {
    STEP_CARRY,   /* the call reaches the server */
    STEP_ANSWER,  /* its answer reaches the node */
    STEP_FRAME,   /* a frame reaches the node */
};

struct sim_engine {
    struct engine        engine;
    struct sim_server   *server;
    struct list          link;     /* in server.engines */
    struct node_id       self;
    struct engine_events events;
    void                *ctx;
    struct list          stalled;  /* steps whose way is closed */
    msec                 stalled_at;
    msec                 up_at;    /* not up: not before then */
    bool                 is_up, is_open_to, is_open_from, is_held, is_silent;
    uint64_t             life;     /* of the server, as the node knows it */
    uint64_t             round, sure_round;  /* leases that were put; the last one that was taken in that life */
    msec                 last_carry[KIND_COUNT], last_answer[KIND_COUNT];
    msec                 last_frame;
    struct engine_stats  stats;
};

/* Something that is on its way. */
struct sim_event {
    struct list         link;
    enum sim_step       step;
    msec                due;
    struct sim_engine  *engine;     /* whose call it is, or to whom the frame goes */
    struct engine_call *call;       /* NULL: a frame */
    bool                is_lost;    /* the call fails here */
    uint64_t            life;       /* ANSWER of a lease or a list: the server's, when it was carried out */
    uint64_t            round;      /* … the engine's, when it was put */
    size_t              len;
    char                bytes[];    /* of a frame */
};

struct sim_lease {
    struct node_id id;
    msec           started, until;  /* until: on the server's clock */
    struct buf     record;
};

struct sim_route {
    struct node_id id;
    size_t         len;
    char           name[];
};

struct sim_server {
    struct sim_server_options options;
    struct sim_engine_faults  faults;
    msec                      now, leapt;
    uint64_t                  life;
    bool                      is_stopped;
    struct list               engines, events;
    struct sim_lease         *leases;
    size_t                    lease_count;
    struct sim_route        **routes;
    size_t                    route_count, route_cap;
};

static struct sim_engine *sim_of(struct engine *engine)
{
    return container_of(engine, struct sim_engine, engine);
}

static bool one_of(struct sim_server *server, unsigned count)
{
    return count != 0 && rng_below(&server->options.chance, count) == 0;
}

static msec draw_ms(struct sim_server *server, msec most)
{
    return most <= 0 ? 0 : (msec)rng_below(&server->options.chance, (uint64_t)most + 1);
}

static msec server_clock(const struct sim_server *server)
{
    return server->now * server->options.clock_permille / 1000 + server->leapt;
}

static bool id_eq(const struct node_id *one, const struct node_id *two)
{
    return one->incarnation == two->incarnation && strcmp(one->name, two->name) == 0;
}

/* --- what is on its way --- */

static void event_put(struct sim_server *server, struct sim_event *event)
{
    struct list *before = server->events.prev;

    while (before != &server->events && container_of(before, struct sim_event, link)->due > event->due)
        before = before->prev;
    list_push(before->next, &event->link);
}

static struct sim_event *event_new(struct sim_engine *engine, enum sim_step step, msec due, struct span bytes)
{
    struct sim_event *event = calloc(1, sizeof *event + bytes.len);

    must(event != NULL);
    event->step   = step;
    event->due    = due;
    event->engine = engine;
    event->len    = bytes.len;
    if (bytes.len > 0)
        memcpy(event->bytes, bytes.at, bytes.len);
    return event;
}

static bool call_is_lost(struct sim_server *server, const struct engine_call *call, unsigned count)
{
    unsigned kinds = server->faults.lost_kinds;

    return (kinds == 0 || (kinds >> call->kind & 1) != 0) && one_of(server, count);
}

/* Calls of one kind keep their order. */
static msec in_order(msec due, msec *last)
{
    if (due < *last)
        due = *last;
    *last = due;
    return due;
}

static void engine_done(struct sim_engine *engine, struct engine_call *call)
{
    engine->stats.waiting_count--;
    engine->stats.failure_count += call->rc == RC_IO;
    engine->events.done(engine->ctx, call);
}

/* --- leases --- */

static bool lease_runs(const struct sim_server *server, const struct sim_lease *lease)
{
    return lease->until > server_clock(server);
}

static struct sim_lease *lease_find(const struct sim_server *server, const char *name)
{
    for (size_t i = 0; i < server->lease_count; i++)
        if (strcmp(server->leases[i].id.name, name) == 0)
            return &server->leases[i];
    return NULL;
}

static bool lease_counts(const struct sim_server *server, const struct node_id *id)
{
    const struct sim_lease *lease = lease_find(server, id->name);

    return lease != NULL && lease->id.incarnation == id->incarnation && lease_runs(server, lease);
}

static void routes_drop_of(struct sim_server *server, const struct node_id *id)
{
    size_t kept = 0;

    for (size_t i = 0; i < server->route_count; i++) {
        if (id == NULL || id_eq(&server->routes[i]->id, id))
            free(server->routes[i]);
        else
            server->routes[kept++] = server->routes[i];
    }
    server->route_count = kept;
}

static void lease_drop(struct sim_server *server, struct sim_lease *lease)
{
    buf_fini(&lease->record);
    *lease = server->leases[--server->lease_count];
}

/* Somebody cleans up, sooner or later. */
static void server_sweep(struct sim_server *server)
{
    for (size_t i = server->lease_count; server->options.sweeps && i-- > 0;) {
        struct sim_lease *lease = &server->leases[i];
        if (lease_runs(server, lease))
            continue;
        routes_drop_of(server, &lease->id);
        lease_drop(server, lease);
    }
}

static bool is_newer(msec started, uint64_t incarnation, const struct sim_lease *than)
{
    return started != than->started ? started > than->started : incarnation > than->id.incarnation;
}

static struct sim_lease *lease_add(struct sim_server *server)
{
    server->leases = reallocarray(server->leases, server->lease_count + 1, sizeof *server->leases);
    must(server->leases != NULL);
    return &server->leases[server->lease_count++];
}

static void carry_lease(struct sim_engine *engine, struct engine_call *call)
{
    struct sim_server *server = engine->server;
    struct sim_lease  *lease  = lease_find(server, engine->self.name);
    bool               runs   = lease != NULL && lease_runs(server, lease);
    bool               is_own = lease != NULL && id_eq(&lease->id, &engine->self);

    if (runs && !is_own && !is_newer(call->started, engine->self.incarnation, lease)) {
        call->rc = RC_BUSY;
        return;
    }
    if (lease == NULL && server->lease_count == NODES_MAX) {
        call->rc = RC_FULL;
        return;
    }
    call->is_new = !runs || !is_own;
    if (lease == NULL)
        lease = lease_add(server);
    else
        buf_fini(&lease->record);
    lease->id      = engine->self;
    lease->started = call->started;
    lease->until   = server_clock(server) + call->lease_ms;
    buf_init(&lease->record, SIZE_MAX);
    buf_put(&lease->record, call->record);
    call->rc = RC_OK;
}

static void carry_leave(struct sim_engine *engine, struct engine_call *call)
{
    struct sim_lease *lease = lease_find(engine->server, engine->self.name);

    routes_drop_of(engine->server, &engine->self);
    if (lease != NULL && id_eq(&lease->id, &engine->self))
        lease_drop(engine->server, lease);
    call->rc = RC_OK;
}

static void carry_nodes(struct sim_engine *engine, struct engine_call *call)
{
    struct sim_server *server = engine->server;

    call->rc     = RC_OK;
    call->leases = calloc(server->lease_count + 1, sizeof *call->leases);
    must(call->leases != NULL);
    for (size_t i = 0; i < server->lease_count; i++) {
        const struct sim_lease *lease = &server->leases[i];
        if (!lease_runs(server, lease))
            continue;
        struct engine_lease *told = &call->leases[call->lease_count++];
        told->id      = lease->id;
        told->left_ms = lease->until - server_clock(server);
        buf_init(&told->record, SIZE_MAX);
        buf_put(&told->record, buf_span(&lease->record));
    }
}

/* --- routes --- */

static bool route_is(const struct sim_route *route, struct span name)
{
    return span_eq((struct span){ route->name, route->len }, name);
}

static size_t route_find(const struct sim_server *server, const struct node_id *id, struct span name)
{
    for (size_t i = 0; i < server->route_count; i++)
        if (route_is(server->routes[i], name) && id_eq(&server->routes[i]->id, id))
            return i;
    return server->route_count;
}

static void route_add(struct sim_server *server, const struct node_id *id, struct span name)
{
    struct sim_route *route = calloc(1, sizeof *route + name.len);

    must(route != NULL);
    route->id  = *id;
    route->len = name.len;
    memcpy(route->name, name.at, name.len);
    if (server->route_count == server->route_cap) {
        server->route_cap = server->route_cap == 0 ? 64 : server->route_cap * 2;
        server->routes    = reallocarray(server->routes, server->route_cap, sizeof(struct sim_route *));
        must(server->routes != NULL);
    }
    server->routes[server->route_count++] = route;
}

static void carry_routes(struct sim_engine *engine, struct engine_call *call)
{
    struct sim_server *server = engine->server;

    for (size_t i = 0; i < call->name_count; i++) {
        const struct engine_name *name = &call->names[i];
        size_t                    at   = route_find(server, &engine->self, name->name);
        bool                      is_in = at < server->route_count;
        if (!is_in && !name->is_removed)
            route_add(server, &engine->self, name->name);
        if (!is_in || !name->is_removed)
            continue;
        free(server->routes[at]);
        server->routes[at] = server->routes[--server->route_count];
    }
    call->rc = RC_OK;
}

static void lookup_one(struct sim_server *server, struct engine_call *call, struct engine_name *name)
{
    name->first = (uint32_t)call->id_count;
    name->count = 0;
    for (size_t i = 0; i < server->route_count; i++) {
        const struct sim_route *route = server->routes[i];
        if (!route_is(route, name->name) || !lease_counts(server, &route->id))
            continue;
        call->ids = reallocarray(call->ids, call->id_count + 1, sizeof *call->ids);
        must(call->ids != NULL);
        call->ids[call->id_count++] = route->id;
        name->count++;
    }
}

static void carry_lookup(struct sim_engine *engine, struct engine_call *call)
{
    for (size_t i = 0; i < call->name_count; i++)
        lookup_one(engine->server, call, &call->names[i]);
    call->rc = RC_OK;
}

/* --- frames --- */

static struct sim_engine *engine_find(const struct sim_server *server, const struct node_id *id)
{
    for (struct list *link = server->engines.next; link != &server->engines; link = link->next) {
        struct sim_engine *engine = container_of(link, struct sim_engine, link);
        if (id_eq(&engine->self, id))
            return engine;
    }
    return NULL;
}

/* A late frame is overtaken by others. */
static void frame_put(struct sim_engine *to, struct span bytes, bool is_late)
{
    struct sim_server *server = to->server;
    msec               due    = server->now + draw_ms(server, server->options.answer_ms_max / 2);

    if (is_late)
        due += draw_ms(server, server->options.late_ms_max);
    else
        due = in_order(due, &to->last_frame);
    event_put(server, event_new(to, STEP_FRAME, due, bytes));
}

static void carry_send(struct sim_engine *engine, struct engine_call *call)
{
    struct sim_server *server = engine->server;
    struct sim_engine *to     = engine_find(server, &call->to);

    call->rc = RC_OK;
    engine->stats.frames_sent++;
    engine->stats.bytes_sent += call->frame.len;
    if (to == NULL || !to->is_up || one_of(server, server->faults.lost_frames))
        return;
    frame_put(to, call->frame, one_of(server, server->faults.late_frames));
    if (one_of(server, server->faults.doubled_frames))
        frame_put(to, call->frame, true);
}

/* --- calls --- */

static void engine_carry(struct sim_engine *engine, struct engine_call *call)
{
    static void (*const carry[KIND_COUNT])(struct sim_engine *engine, struct engine_call *call) = {
        [ENGINE_LEASE] = carry_lease, [ENGINE_LEAVE] = carry_leave,   [ENGINE_NODES] = carry_nodes,
        [ENGINE_ROUTE] = carry_routes, [ENGINE_LOOKUP] = carry_lookup, [ENGINE_SEND] = carry_send,
    };

    server_sweep(engine->server);
    carry[call->kind](engine, call);
}

static void sim_submit(struct engine *base, struct engine_call *call)
{
    struct sim_engine *engine = sim_of(base);
    struct sim_server *server = engine->server;

    must(call->kind != ENGINE_SEND || call->frame.len <= base->frame_bytes_max);
    must((call->kind != ENGINE_ROUTE && call->kind != ENGINE_LOOKUP) ||
         (call->name_count >= 1 && call->name_count <= ENGINE_NAMES_MAX));
    engine->stats.call_count++;
    engine->stats.waiting_count++;
    if (!engine->is_up || engine->stats.waiting_count > ENGINE_CALLS_MAX) {
        call->rc = engine->is_up ? RC_FULL : RC_IO;
        engine_done(engine, call);
        return;
    }
    msec due = in_order(server->now + draw_ms(server, server->options.answer_ms_max / 2),
                        &engine->last_carry[call->kind]);
    struct sim_event *event = event_new(engine, STEP_CARRY, due, SPAN(""));
    engine->round += call->kind == ENGINE_LEASE;
    event->call    = call;
    event->round   = engine->round;
    event->is_lost = call_is_lost(server, call, server->faults.lost_calls);
    event_put(server, event);
}

/* What was carried out, and what not, is told apart by nobody any more. */
static void call_fail(struct engine_call *call)
{
    engine_call_fini(call);
    call->rc = RC_IO;
}

static void event_carry(struct sim_event *event)
{
    struct sim_engine *engine = event->engine;
    struct sim_server *server = engine->server;
    msec               due    = server->now + 1 + draw_ms(server, server->options.answer_ms_max / 2);

    if (!event->is_lost) {
        engine_carry(engine, event->call);
        event->is_lost = call_is_lost(server, event->call, server->faults.lost_answers);
    }
    if (event->is_lost || one_of(server, server->faults.slow_answers))
        due += draw_ms(server, server->options.late_ms_max);
    event->step = STEP_ANSWER;
    event->life = server->life;
    event->due  = in_order(due, &engine->last_answer[event->call->kind]);
    event_put(server, event);
}

static void event_answer(struct sim_event *event)
{
    struct sim_engine  *engine = event->engine;
    struct engine_call *call   = event->call;
    bool                is_told = (call->kind == ENGINE_LEASE || call->kind == ENGINE_NODES) && !event->is_lost;
    bool                is_new  = is_told && event->life != engine->life;

    if (event->is_lost)
        call_fail(call);
    if (is_new) {
        engine->life = event->life;
        engine->events.up(engine->ctx, event->life, engine->sure_round);
    } else if (call->kind == ENGINE_LEASE && !event->is_lost) {
        engine->sure_round = event->round;
    }
    call->round = engine->round;
    free(event);
    engine->stats.answer_count++;
    engine_done(engine, call);
}

static void event_frame(struct sim_event *event)
{
    struct sim_engine *engine = event->engine;

    engine->stats.frames_received++;
    engine->stats.bytes_received += event->len;
    engine->events.frame(engine->ctx, (struct span){ event->bytes, event->len });
    free(event);
}

/* --- connections --- */

static void take_events_of(struct list *from, const struct sim_engine *engine, struct list *to)
{
    struct list *next;

    for (struct list *link = from->next; link != from; link = next) {
        next = link->next;
        if (container_of(link, struct sim_event, link)->engine != engine)
            continue;
        list_take(link);
        list_push(to, link);
    }
}

/* What had not reached the server may still do. */
static void event_drop(struct sim_event *event)
{
    struct sim_engine  *engine = event->engine;
    struct engine_call *call   = event->call;
    bool                is_on_its_way = event->step == STEP_CARRY && !event->is_lost && engine->is_open_to &&
                         !engine->server->is_stopped;

    if (call != NULL && is_on_its_way && one_of(engine->server, 2))
        engine_carry(engine, call);
    free(event);
    if (call == NULL)
        return;
    call_fail(call);
    engine_done(engine, call);
}

static void engine_lose(struct sim_engine *engine, const char *why)
{
    struct list  lost, *link;

    list_init(&lost);
    if (!engine->is_up)
        return;
    engine->is_up      = false;
    engine->is_silent  = false;
    engine->up_at      = engine->server->now + engine->server->options.reconnect_ms;
    engine->last_frame = 0;
    take_events_of(&engine->server->events, engine, &lost);
    list_move(&lost, &engine->stalled);
    engine->events.down(engine->ctx, why);
    while ((link = list_pop(&lost)) != NULL)
        event_drop(container_of(link, struct sim_event, link));
}

static bool engine_can_connect(const struct sim_engine *engine)
{
    return engine->is_open_to && engine->is_open_from && !engine->is_held && !engine->server->is_stopped;
}

static void engine_connect(struct sim_engine *engine)
{
    engine->is_up = true;
    engine->life  = engine->server->life;
    engine->stats.reconnect_count++;
    engine->events.up(engine->ctx, engine->life, engine->sure_round);
}

static void engine_tell_silence(struct sim_engine *engine)
{
    const struct sim_server *server    = engine->server;
    const bool               is_silent = !list_is_empty(&engine->stalled) && server->now - engine->stalled_at >= server->options.silent_ms;

    if (server->options.silent_ms == 0 || !engine->is_up || engine->is_held || is_silent == engine->is_silent ||
        engine->events.silent == NULL)
        return;
    engine->is_silent = is_silent;
    engine->events.silent(engine->ctx, is_silent);
}

static void engine_turn(struct sim_engine *engine)
{
    const struct sim_server *server = engine->server;

    if (!engine_can_connect(engine))
        engine->up_at = engine->is_up ? 0 : server->now + server->options.reconnect_ms;
    else if (!engine->is_up && engine->up_at <= server->now)
        engine_connect(engine);
    if (engine->is_up && !engine->is_held && !list_is_empty(&engine->stalled) &&
        server->now - engine->stalled_at >= server->options.timeout_ms)
        engine_lose(engine, "no answer");
    engine_tell_silence(engine);
}

static bool event_is_stalled(const struct sim_event *event)
{
    const struct sim_engine *engine = event->engine;

    return event->step == STEP_CARRY ? !engine->is_open_to : !engine->is_open_from || engine->is_held;
}

static void event_stall(struct sim_event *event)
{
    if (list_is_empty(&event->engine->stalled))
        event->engine->stalled_at = event->engine->server->now;
    list_push(&event->engine->stalled, &event->link);
}

static void event_happen(struct sim_event *event)
{
    if (event_is_stalled(event)) {
        event_stall(event);
        return;
    }
    switch (event->step) {
    case STEP_CARRY: event_carry(event); break;
    case STEP_ANSWER: event_answer(event); break;
    case STEP_FRAME: event_frame(event); break;
    }
}

/* What can go on now does so, in its order. */
static void engine_unstall(struct sim_engine *engine)
{
    struct list waiting, *link;

    list_init(&waiting);
    list_move(&waiting, &engine->stalled);
    while ((link = list_pop(&waiting)) != NULL) {
        struct sim_event *event = container_of(link, struct sim_event, link);
        if (event_is_stalled(event)) {
            list_push(&engine->stalled, link);
            continue;
        }
        event->due = engine->server->now;
        event_put(engine->server, event);
    }
}

void sim_engine_set_ways(struct engine *base, bool is_open_to, bool is_open_from)
{
    struct sim_engine *engine = sim_of(base);

    engine->is_open_to   = is_open_to;
    engine->is_open_from = is_open_from;
    engine_unstall(engine);
}

void sim_engine_hold(struct engine *base, bool is_held)
{
    struct sim_engine *engine = sim_of(base);

    engine->is_held    = is_held;
    engine->stalled_at = engine->server->now;
    engine_unstall(engine);
}

void sim_engine_break(struct engine *base)
{
    engine_lose(sim_of(base), "the connection was lost");
}

/* --- the server --- */

static uint64_t draw_life(struct sim_server *server)
{
    return rng_next(&server->options.chance) | 1;
}

struct sim_server *sim_server_new(const struct sim_server_options *options)
{
    struct sim_server *server = calloc(1, sizeof *server);

    must(server != NULL);
    server->options = *options;
    server->life    = draw_life(server);
    list_init(&server->engines);
    list_init(&server->events);
    return server;
}

static void server_forget(struct sim_server *server)
{
    routes_drop_of(server, NULL);
    while (server->lease_count > 0)
        lease_drop(server, &server->leases[0]);
    server->life = draw_life(server);
}

void sim_server_free(struct sim_server *server)
{
    if (server == NULL)
        return;
    must(list_is_empty(&server->engines) && list_is_empty(&server->events));
    server_forget(server);
    free(server->routes);
    free(server->leases);
    free(server);
}

void sim_server_set_faults(struct sim_server *server, const struct sim_engine_faults *faults)
{
    server->faults = faults == NULL ? (struct sim_engine_faults){ 0 } : *faults;
}

void sim_server_step(struct sim_server *server, msec now)
{
    server->now = now;
    for (struct list *link = server->engines.next; link != &server->engines; link = link->next)
        engine_turn(container_of(link, struct sim_engine, link));
    while (!list_is_empty(&server->events) && container_of(server->events.next, struct sim_event, link)->due <= now)
        event_happen(container_of(list_pop(&server->events), struct sim_event, link));
}

void sim_server_leap(struct sim_server *server, msec by)
{
    server->leapt += by;
}

void sim_server_empty(struct sim_server *server)
{
    server_forget(server);
}

void sim_server_stop(struct sim_server *server)
{
    server->is_stopped = true;
    for (struct list *link = server->engines.next; link != &server->engines; link = link->next)
        engine_lose(container_of(link, struct sim_engine, link), "the server has ended");
}

void sim_server_start(struct sim_server *server, bool is_emptied)
{
    server->is_stopped = false;
    if (is_emptied)
        server_forget(server);
}

bool sim_server_is_idle(const struct sim_server *server)
{
    return list_is_empty(&server->events);
}

bool sim_server_has_lease(const struct sim_server *server, const struct node_id *id)
{
    return lease_counts(server, id);
}

size_t sim_server_route_count(const struct sim_server *server, const struct node_id *id)
{
    size_t count = 0;

    for (size_t i = 0; i < server->route_count; i++)
        count += id_eq(&server->routes[i]->id, id);
    return count;
}

/* --- the port --- */

static void sim_engine_stats(struct engine *base, struct engine_stats *ret)
{
    struct sim_engine *engine = sim_of(base);

    *ret       = engine->stats;
    ret->is_up = engine->is_up;
}

static void sim_engine_close(struct engine *base)
{
    struct sim_engine *engine = sim_of(base);

    engine_lose(engine, "closed");
    list_take(&engine->link);
    free(engine);
}

static const struct engine_ops engine_sim_ops = {
    .name = "sim", .submit = sim_submit, .stats = sim_engine_stats, .close = sim_engine_close,
};

struct engine *sim_engine_open(struct sim_server *server, const struct node_id *self, const struct engine_events *events,
                               void *ctx)
{
    struct sim_engine *engine = calloc(1, sizeof *engine);

    must(engine != NULL);
    engine->engine = (struct engine){
        .ops = &engine_sim_ops, .frame_bytes_max = server->options.frame_bytes_max,
        .prefers_heads = server->options.prefers_heads,
    };
    engine->server = server;
    engine->self   = *self;
    engine->events = *events;
    engine->ctx    = ctx;
    engine->is_open_to = engine->is_open_from = true;
    list_init(&engine->stalled);
    list_push(&server->engines, &engine->link);
    return &engine->engine;
}
