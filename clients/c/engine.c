/* engine.c - the states of a client, and what time brings. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "engine_priv.h"
#include "request.h"
#include "text.h"

enum {
    PUBLISH_COUNT = 1000, PUBLISH_BYTES = 16 << 20, CHANNEL_COUNT = 1000, MESSAGE_BYTES = 16 << 20,
    TOKEN_BYTES_MAX = 16384, TICKET_BYTES_MAX = 64 * 1024, NAME_BYTES_MAX = 128, CLASS_BYTES_MAX = 32,
};

uint64_t engine_ref(struct engine *engine, enum ref_kind kind)
{
    return ++engine->ref * REF_KIND_COUNT + kind;
}

/* --- options ----------------------------------------------------------------------------------------------------- */

static char *copy_of(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);

    must(text == NULL || copy != NULL);
    return copy;
}

static void take_usual(size_t *number, size_t usual)
{
    if (*number == 0)
        *number = usual;
}

static void fill_in(struct lw_options *options)
{
    take_usual(&options->publish_count_max, PUBLISH_COUNT);
    take_usual(&options->publish_bytes_max, PUBLISH_BYTES);
    take_usual(&options->channel_count_max, CHANNEL_COUNT);
    take_usual(&options->message_bytes_max, MESSAGE_BYTES);
    if (options->message_bytes_max > UINT32_MAX)
        options->message_bytes_max = UINT32_MAX;
    options->backoff = retry_policy(options->backoff);
}

static const char *check(const struct lw_options *options)
{
    if (!text_is_word(options->token, TOKEN_BYTES_MAX))
        return "token: 1 to 16,384 bytes of text are taken";
    if (!text_is_word(options->ticket, TICKET_BYTES_MAX))
        return "ticket: give back what the callback `ticket` was given";
    if (!text_is_word(options->user, NAME_BYTES_MAX) || !text_is_word(options->device, NAME_BYTES_MAX))
        return "user, device: 1 to 128 bytes of text are taken (a device: 64)";
    if (!text_is_word(options->device_class, CLASS_BYTES_MAX))
        return "device_class: 1 to 32 bytes of text are taken";
    if (!text_is_word(options->region, NAME_BYTES_MAX))
        return "region: 1 to 128 bytes of text are taken";
    return NULL;
}

/* With `allocate` no server need be named. A client that the application gave TLS is never sent to a server without it: its token
 * would be read on the way. */
static const char *read_servers(struct engine *engine, const struct lw_options *options)
{
    engine->has_router = options->allocate != NULL;
    engine->is_secure  = true;
    if (engine->has_router && !server_entry_read_http(span_str(options->allocate), &engine->router))
        return "allocate: that is no address; write http://HOST:PORT or https://HOST:PORT";
    if (!engine->has_router || options->servers != NULL) {
        const char *fault = server_list_read(span_str(options->servers), &engine->servers);
        if (fault != NULL)
            return fault;
    }
    for (size_t i = 0; i < engine->servers.count; i++)
        engine->is_secure &= engine->servers.at[i].is_tls;
    engine->is_secure &= !engine->has_router || engine->router.is_tls;
    engine->has_tls = engine->servers.has_tls || engine->has_router;
    return NULL;
}

const char *engine_init(struct engine *engine, const struct lw_options *options, struct inbox *inbox, uint64_t seed)
{
    *engine = (struct engine){ .options = *options, .on = options->on, .inbox = inbox, .rng = { seed }, .after_ms = -1 };
    engine->options.user         = copy_of(options->user);
    engine->options.device       = copy_of(options->device);
    engine->options.device_class = copy_of(options->device_class);
    engine->options.region       = copy_of(options->region);
    engine->token                = copy_of(options->token);
    engine->ticket               = copy_of(options->ticket);
    engine->is_ticket_kept       = true;
    fill_in(&engine->options);
    engine->retry.policy = engine->options.backoff;
    list_init(&engine->publishes);
    list_init(&engine->requests);
    buf_init(&engine->in, SIZE_MAX / 2);   /* bin_split() bounds it by message_bytes_max */
    buf_init(&engine->out, SIZE_MAX / 2);  /* ENGINE_OUT_BYTES, and one publish or a row of subscribes more */
    buf_init(&engine->names, SIZE_MAX / 2);
    bin_aliases_init(&engine->aliases);
    json_doc_init(&engine->json);
    followed_table_init(&engine->table, (struct hash_key){ rng_next(&engine->rng), rng_next(&engine->rng) });
    const char *fault = read_servers(engine, options);
    return fault != NULL ? fault : check(options);
}

static void wipe(char **secret)
{
    if (*secret != NULL)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

void engine_fini(struct engine *engine)
{
    struct list *link;

    while ((link = list_pop(&engine->publishes)) != NULL)
        outgoing_free(container_of(link, struct outgoing, link));
    while ((link = list_pop(&engine->requests)) != NULL)
        request_free(container_of(link, struct request, link));
    followed_table_fini(&engine->table);
    json_doc_fini(&engine->json);
    bin_aliases_fini(&engine->aliases);
    buf_fini(&engine->names);
    buf_fini(&engine->out);
    buf_fini(&engine->in);
    wipe(&engine->token);
    wipe(&engine->ticket);
    free((char *)engine->options.user);
    free((char *)engine->options.device);
    free((char *)engine->options.device_class);
    free((char *)engine->options.region);
}

void engine_set_token(struct engine *engine, const char *token)
{
    wipe(&engine->token);
    engine->token          = copy_of(token);
    engine->is_ticket_kept = true;
}

void engine_set_ticket(struct engine *engine, struct span ticket)
{
    bool was_there = engine->ticket != NULL;

    wipe(&engine->ticket);
    engine->is_ticket_kept = false;
    if (ticket.len > 0) {
        engine->ticket = strndup(ticket.at, ticket.len);
        must(engine->ticket != NULL);
    }
    if (engine->on.ticket != NULL && (was_there || ticket.len > 0))
        engine->on.ticket(engine->options.arg, engine->ticket);
}

/* --- the end of a link --------------------------------------------------------------------------------------------- */

void engine_tell_state(struct engine *engine, struct lw_status status)
{
    status.server = engine->target.url;
    if (engine->on.state != NULL)
        engine->on.state(engine->options.arg, &status);
}

void engine_note_end(struct engine *engine, unsigned code, struct span reason)
{
    engine->end.code = code;
    snprintf(engine->end.reason, sizeof engine->end.reason, "%.*s", SPAN_ARG(span_head(reason, 255)));
}

static void forget_link(struct engine *engine)
{
    buf_clear(&engine->in);
    buf_clear(&engine->out);
    engine->in_used = 0;
    bin_aliases_fini(&engine->aliases);
    bin_aliases_init(&engine->aliases);
    engine->answer_until = engine->promise_ms = 0;
    engine->has_unasked = false;
    engine->has_session = engine->is_unfenced = engine->has_new_promise = engine->is_leave_asked = false;
    for (struct list *link = engine->publishes.next; link != &engine->publishes; link = link->next)
        container_of(link, struct outgoing, link)->is_sent = false;
}

static void tell_left(struct engine *engine, struct followed *followed)
{
    if (engine->on.subscription != NULL)
        engine->on.subscription(engine->options.arg, &(struct lw_subscription){ .channel = followed->name });
    followed_remove(&engine->table, followed);
}

/* What the application wanted to leave is left with the link, and so is what a link without a session followed by itself. */
static void forget_followed(struct engine *engine)
{
    followed_gone_lost(&engine->table);
    for (struct list *link = engine->table.all.next, *next; link != &engine->table.all; link = next) {
        struct followed *followed = container_of(link, struct followed, link);
        next                      = link->next;
        followed_link_lost(&engine->table, followed);
        if (followed_ends_with_link(followed_name(followed)) && !followed->is_wanted)
            followed_remove(&engine->table, followed);  /* that it was followed was never told */
        else if (followed->is_own && !engine->options.has_session && !followed->is_wanted)
            tell_left(engine, followed);
        else if (followed->is_own && !engine->options.has_session)
            followed->is_own = false;
        else if (followed->state == FOLLOWED_LEAVING && !followed->keep && !followed->is_own)
            tell_left(engine, followed);  /* what a session keeps is left on the next link */
    }
}

static void end_now(struct engine *engine)
{
    engine->state = ENGINE_ENDED;
    inbox_close(engine->inbox);
    engine_tell_state(engine, (struct lw_status){
        .state = LW_ENDED, .code = engine->end.code, .reason = engine->end.reason });
}

void engine_end_for_good(struct engine *engine, unsigned code, struct span reason)
{
    engine_note_end(engine, code, reason);
    engine->is_final = true;
}

/* The next server is tried where this one could not be reached, or has no room: at once, until none could be reached. */
static void choose_server(struct engine *engine, bool was_reached)
{
    bool has_no_room = engine->end.code == 503 || engine->end.code == 1013;

    if ((!was_reached || has_no_room) && engine->servers.count > 0)
        engine->server = (engine->server + 1) % engine->servers.count;
    engine->failed_count = was_reached ? 0 : engine->failed_count + 1;
    if (engine->failed_count >= engine->servers.count)
        engine->failed_count = 0;
    else if (!was_reached && engine->after_ms < 0)
        engine->after_ms = 0;
}

static void wait_for_next(struct engine *engine, msec now)
{
    msec wait_ms = engine->after_ms >= 0 ? engine->after_ms : retry_next(&engine->retry, rng_next(&engine->rng));

    engine->after_ms   = -1;
    engine->state      = ENGINE_WAITING;
    engine->wait_until = now + wait_ms;
    engine_tell_state(engine, (struct lw_status){
        .state = LW_WAITING, .code = engine->end.code, .reason = engine->end.reason, .wait_ms = wait_ms });
}

void engine_lost(struct engine *engine, const char *why, msec now)
{
    bool was_reached = engine->state != ENGINE_CONNECTING;

    if (!engine_wants_link(engine))
        return;
    if (engine->is_asking) {
        engine_end_asking(engine, now);
        return;
    }
    engine->is_allocated = false;
    if (engine->end.reason[0] == '\0')
        engine_note_end(engine, 0, span_str(why));
    choose_server(engine, was_reached);
    engine->state = ENGINE_WAITING;  /* before the callbacks below: no link is there any more */
    forget_link(engine);
    forget_followed(engine);
    engine_requests_lost(engine);
    if (engine->is_final || engine->wants_leave)
        end_now(engine);
    else
        wait_for_next(engine, now);
}

void engine_fail(struct engine *engine, unsigned code, struct span reason, msec now)
{
    engine_note_end(engine, code, reason);
    engine_lost(engine, "", now);
}

/* --- time -------------------------------------------------------------------------------------------------------- */

static void begin_connecting(struct engine *engine, msec now)
{
    engine->ask_until = now + ENGINE_ASKING_MS;
    if (engine->redirect.count == 0 && engine_begin_asking(engine)) {
        engine->target = engine->router;
    } else if (engine->redirect.count > 0) {
        engine->target         = engine->redirect.at[rng_below(&engine->rng, engine->redirect.count)];
        engine->redirect.count = 0;
    } else {
        engine->target = engine->servers.at[engine->server];
    }
    engine->end   = (struct engine_end){ 0 };
    engine->state = ENGINE_CONNECTING;
    engine->link_count++;
    engine_tell_state(engine, (struct lw_status){ .state = LW_CONNECTING });
}

void engine_opened(struct engine *engine, msec now)
{
    must(engine->state == ENGINE_CONNECTING);
    if (engine->is_asking) {
        engine_ask(engine, now);
        return;
    }
    engine->state       = ENGINE_GREETING;
    engine->greet_until = now + ENGINE_GREETING_MS;
    engine->heard_at = engine->sent_at = now;
    engine->has_fresh_token = false;
    engine_put_connect(engine);
}

void engine_sent(struct engine *engine, size_t count, msec now)
{
    buf_drop(&engine->out, count);
    engine->sent_at = now;
}

static msec interval_of(const struct engine *engine)
{
    return engine->promise_ms > 0 ? engine->promise_ms : engine->heartbeat_ms;
}

/* When a heartbeat is due: each side must have been heard once in an interval. */
static msec heartbeat_at(const struct engine *engine)
{
    msec since = engine->sent_at < engine->heard_at ? engine->sent_at : engine->heard_at;

    if (engine->answer_until > 0 || interval_of(engine) == 0)
        return INT64_MAX;
    return since + interval_of(engine) - interval_of(engine) / 16;  /* a little early: it has a way to go */
}

/* False: the link has ended. */
static bool turn_liveness(struct engine *engine, msec now)
{
    if (engine->answer_until > 0 && now >= engine->answer_until) {
        engine_fail(engine, 0, SPAN("the server did not answer a heartbeat"), now);
        return false;
    }
    if (now >= heartbeat_at(engine)) {
        engine_put_heartbeat(engine, now);
        engine->answer_until = now + ENGINE_ANSWER_MS;
    }
    return true;
}

/* Has the server all that was to be sent? It carries commands out in their order, so a ping behind them tells. */
static bool has_left(struct engine *engine, msec now)
{
    if (!list_is_empty(&engine->publishes) || !list_is_empty(&engine->requests) || (engine_may_acknowledge(engine) && !list_is_empty(&engine->table.to_ack)))
        return false;
    if (!engine->is_leave_asked) {
        engine->is_leave_asked = true;
        engine->is_leave_heard = false;
        engine_put_heartbeat(engine, now);
    }
    return engine->is_leave_heard;
}

static void turn_leave(struct engine *engine, msec now)
{
    if (!engine->wants_leave || engine->state == ENGINE_ENDED)
        return;
    if (engine->state == ENGINE_UP && now < engine->leave_until && !has_left(engine, now))
        return;
    forget_link(engine);
    engine_note_end(engine, 0, SPAN("lw_close() was called"));
    end_now(engine);
}

static void turn_up(struct engine *engine, msec now)
{
    if (!turn_liveness(engine, now))
        return;
    engine_put_follows(engine, now);
    engine_put_publishes(engine, now);
    engine_put_requests(engine, now);
    engine_put_acks(engine, now);
}

void engine_turn(struct engine *engine, msec now)
{
    if (engine->state == ENGINE_WAITING && now >= engine->wait_until && !engine->wants_leave)
        begin_connecting(engine, now);
    if (engine->is_asking && now >= engine->ask_until)
        engine_end_asking(engine, now);
    if (engine->state == ENGINE_GREETING && now >= engine->greet_until)
        engine_fail(engine, 0, SPAN("the server did not answer `connect` within 30 seconds"), now);
    engine_end_late_requests(engine, now);
    if (engine->state == ENGINE_UP)
        turn_up(engine, now);
    turn_leave(engine, now);
}

static void sooner(msec *at, msec candidate)
{
    if (candidate < *at)
        *at = candidate;
}

static msec deadline_up(const struct engine *engine)
{
    msec at = heartbeat_at(engine);

    if (engine->answer_until > 0)
        sooner(&at, engine->answer_until);
    if (!list_is_empty(&engine->table.to_ack) && engine_may_acknowledge(engine))
        sooner(&at, engine->ack_at);
    if (engine->put_off_until > 0)
        sooner(&at, engine->put_off_until);
    if (engine->has_unasked)
        sooner(&at, engine->follow_pace.next);
    if (engine->wants_leave)
        sooner(&at, engine->leave_until);
    return at;
}

msec engine_deadline(const struct engine *engine)
{
    msec at = INT64_MAX;

    switch (engine->state) {
    case ENGINE_WAITING: at = engine->wait_until; break;
    case ENGINE_GREETING: at = engine->greet_until; break;
    case ENGINE_UP: at = deadline_up(engine); break;
    case ENGINE_ASKING:
    case ENGINE_CONNECTING: at = engine->is_asking ? engine->ask_until : INT64_MAX; break;
    case ENGINE_ENDED: break;
    }
    if (engine->state != ENGINE_ENDED)
        sooner(&at, engine_request_deadline(engine));
    return at == INT64_MAX ? -1 : at;
}
