/* engine_allocate.c - a client asks where to connect, before its first link and after each lost one.
 *
 * Whatever comes of it, the client goes on: without an answer it tries the servers that it knows. */
#include "allocate.h"
#include "base/must.h"
#include "engine.h"
#include "engine_priv.h"

bool engine_begin_asking(struct engine *engine)
{
    engine->is_asking = engine->has_router && !engine->is_allocated;
    return engine->is_asking;
}

void engine_ask(struct engine *engine, msec now)
{
    (void)now;
    engine->state = ENGINE_ASKING;
    allocate_put_request(&engine->out, &engine->router, engine->options.user, engine->options.region);
}

/* The link to the router is of no use any more. Where it named nobody and no server is known, it is asked again later. */
static void asked(struct engine *engine, msec wait_ms, msec now)
{
    buf_clear(&engine->in);
    buf_clear(&engine->out);
    engine->is_asking    = false;
    engine->is_allocated = engine->servers.count > 0;
    engine->state        = ENGINE_WAITING;
    if (!engine->is_allocated)
        wait_ms = retry_next(&engine->retry, rng_next(&engine->rng));
    engine->wait_until = now + wait_ms;
    if (wait_ms > 0)
        engine_tell_state(engine, (struct lw_status){ .state = LW_WAITING, .wait_ms = wait_ms, .reason =
            engine->is_allocated ? "very many clients come, and the router has told when it is this one's turn" : "the router named no server" });
}

static void take(struct engine *engine, bool is_ended, msec now)
{
    struct allocation allocation = { .wait_ms = 0 };

    switch (allocate_read(buf_span(&engine->in), is_ended, &engine->json, &allocation)) {
    case ALLOCATE_MORE: return;
    case ALLOCATE_BAD: asked(engine, 0, now); return;
    case ALLOCATE_DONE: break;
    }
    server_list_keep(&allocation.servers, engine->has_tls, !engine->is_secure);
    if (allocation.servers.count > 0) {
        engine->servers = allocation.servers;
        engine->server  = 0;
    }
    asked(engine, allocation.wait_ms, now);
}

void engine_take_allocation(struct engine *engine, struct span bytes, msec now)
{
    buf_put(&engine->in, bytes);
    take(engine, false, now);
}

void engine_end_asking(struct engine *engine, msec now)
{
    must(engine->is_asking);
    take(engine, true, now);
}
