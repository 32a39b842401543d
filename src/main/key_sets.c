#include "main/key_sets.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "main/command_mail.h"
#include "main/fetch_command.h"
#include "main/server.h"
#include "reactor/log.h"

/* At loop 0: one address, and what came from it last. */
struct key_source {
    struct worker        *worker;     /* loop 0 */
    struct fetch_command *under_way;  /* NULL: none */
    msec                  asked_at;
    bool                  has_come;   /* `document` is it; else `why` says why not */
    struct buf            document;
    char                  why[FETCH_WHY_BYTES];
    char                  url[JWT_PLACE_BYTES_MAX + 1];
};

/* --- came: what loop 0 gives to a loop ------------------------------------------------------------------------- */

struct came_command {
    struct command command;
    msec           asked_at;
    bool           has_come;
    bool           is_again;  /* it came before, and others were given it */
    struct buf     document;
    char           why[FETCH_WHY_BYTES];
    char           url[JWT_PLACE_BYTES_MAX + 1];
};

static void came_free(struct command *command)
{
    struct came_command *came = container_of(command, struct came_command, command);

    buf_fini(&came->document);
    free(came);
}

/* Every loop is given the same: one of them counts and writes the log. A failure is one line until it works again. */
static void note_came(struct worker *worker, struct key_set *set, const struct came_command *came, const char *issuer,
                      const char *why)
{
    struct key_set_counters *counters = &worker->callers.sets.counters;

    if (worker->shard.loop == 0 && !came->is_again) {
        counter_add(why == NULL ? &counters->fetched : &counters->failed, 1);
        if (why != NULL && !set->has_failed)
            LOG(LOG_WARN, "key_set_failed", log_str("issuer", issuer), log_str("why", why));
    }
    set->has_failed = why != NULL;
}

static void take_came(struct worker *worker, size_t at, const struct came_command *came)
{
    struct key_set *set    = &worker->callers.sets.at[at];
    struct issuer  *issuer = &worker->callers.keys.issuers.at[at];
    struct buf      why;

    buf_init(&why, 1024);
    if (!came->has_come)
        buf_put(&why, span_str(came->why));
    bool is_taken = came->has_come && issuer_adopt_jwks(issuer, buf_span(&came->document), &why);
    buf_putc(&why, '\0');
    note_came(worker, set, came, issuer->section->name, is_taken ? NULL : why.at);
    buf_fini(&why);
    set->is_awaited = false;
    set->asked_at   = came->asked_at;
}

static void came_at_loop(struct command *command, struct shard *shard)
{
    struct came_command   *came     = container_of(command, struct came_command, command);
    struct worker         *worker   = container_of(shard, struct worker, shard);
    const struct settings *settings = &worker->snapshot->settings;

    for (size_t i = 0; i < settings->issuer_count; i++)
        if (settings->issuers[i].source == JWT_JWKS_URL && strcmp(settings->issuers[i].place, came->url) == 0)
            take_came(worker, i, came);
    came_free(command);
    caller_keys_came(&worker->callers.all);
}

static const struct command_kind came_kind = { .name = "keys came", .free = came_free, .at_loop = came_at_loop };

static void source_give(const struct key_source *source, unsigned loop, bool is_again)
{
    struct came_command *came = calloc(1, sizeof *came);

    must(came != NULL);
    came->command.kind = &came_kind;
    came->asked_at     = source->asked_at;
    came->has_come     = source->has_come;
    came->is_again     = is_again;
    buf_init(&came->document, KEY_SET_BYTES_MAX);
    buf_put(&came->document, buf_span(&source->document));
    memcpy(came->why, source->why, sizeof came->why);
    memcpy(came->url, source->url, sizeof came->url);
    command_mail_put(&source->worker->server->workers[loop].loop.mailbox, &came->command);
}

/* --- sources, at loop 0 ------------------------------------------------------------------------------------------ */

static const char *why_unusable(const struct fetch_call *call)
{
    if (call == NULL)
        return "too many calls are under way";
    if (call->outcome != FETCH_ANSWERED)
        return call->why;
    return call->status == 200 ? NULL : "its status was not 200";
}

static void source_came(void *owner, struct fetch_command *command)
{
    struct key_source *source = owner;
    const char        *why    = why_unusable(command->call);

    source->under_way = NULL;
    source->has_come  = why == NULL;
    buf_clear(&source->document);
    if (why == NULL)
        buf_put(&source->document, buf_span(&command->call->answer));
    else
        snprintf(source->why, sizeof source->why, "%s", why);
    for (unsigned i = 0; i < source->worker->server->worker_count; i++)
        source_give(source, i, false);
}

static void source_fetch(struct key_source *source)
{
    struct fetch_call *call = fetch_call_new("GET", span_str(source->url));

    must(fetch_call_add_field(call, SPAN("Accept"), SPAN("application/jwk-set+json, application/json")));
    call->timeout_ms = call->connect_timeout_ms = KEY_SET_TIMEOUT_MS;
    call->answer_bytes_max = KEY_SET_BYTES_MAX;
    source->asked_at  = source->worker->loop.now;
    source->under_way = fetch_command_send(source->worker, call, source_came, source);
}

static void source_free(struct key_source *source)
{
    if (source == NULL)
        return;
    if (source->under_way != NULL)
        fetch_command_cancel(source->under_way);
    buf_fini(&source->document);
    free(source);
}

static struct key_source *source_new(struct worker *worker, const char *url)
{
    struct key_source *source = calloc(1, sizeof *source);

    must(source != NULL);
    source->worker = worker;
    buf_init(&source->document, KEY_SET_BYTES_MAX);
    snprintf(source->url, sizeof source->url, "%s", url);
    return source;
}

/* The one of this address; else a new one, in place of the one that was asked for longest ago. A reload leaves at most as
 * many as two settings name, so that one is of earlier settings. */
static struct key_source *source_get(struct worker *worker, const char *url)
{
    struct key_source **sources = worker->callers.sets.sources, **oldest = &sources[0];

    for (size_t i = 0; i < KEY_SOURCES_MAX; i++) {
        if (sources[i] != NULL && strcmp(sources[i]->url, url) == 0)
            return sources[i];
        if (*oldest != NULL && (sources[i] == NULL || sources[i]->asked_at < (*oldest)->asked_at))
            oldest = &sources[i];
    }
    source_free(*oldest);
    return *oldest = source_new(worker, url);
}

/* --- wanted: what a loop asks of loop 0 ------------------------------------------------------------------------- */

struct wanted_command {
    struct command command;
    char           url[JWT_PLACE_BYTES_MAX + 1];
};

static void wanted_free(struct command *command)
{
    free(container_of(command, struct wanted_command, command));
}

static void wanted_at_loop(struct command *command, struct shard *shard)
{
    struct worker     *worker = container_of(shard, struct worker, shard);
    struct key_source *source = source_get(worker, container_of(command, struct wanted_command, command)->url);

    if (source->under_way == NULL) {
        if (source->asked_at == 0 || worker->loop.now - source->asked_at >= KEY_SET_AGAIN_MS)
            source_fetch(source);
        else
            source_give(source, command->loop, true);
    }
    wanted_free(command);
}

static const struct command_kind wanted_kind = { .name = "keys wanted", .free = wanted_free, .at_loop = wanted_at_loop };

static void want(struct worker *worker, struct key_set *set, const char *url)
{
    struct wanted_command *wanted = calloc(1, sizeof *wanted);

    must(wanted != NULL);
    wanted->command.kind = &wanted_kind;
    wanted->command.loop = worker->shard.loop;
    snprintf(wanted->url, sizeof wanted->url, "%s", url);
    set->is_awaited = true;
    command_mail_put(&worker->server->workers[0].loop.mailbox, &wanted->command);
}

/* --- what a loop wants ------------------------------------------------------------------------------------------- */

bool key_sets_await(struct worker *worker)
{
    const struct settings *settings    = &worker->snapshot->settings;
    bool                   are_awaited = false;

    for (size_t i = 0; i < settings->issuer_count; i++) {
        struct key_set *set = &worker->callers.sets.at[i];
        if (settings->issuers[i].source != JWT_JWKS_URL)
            continue;
        if (!set->is_awaited && (set->asked_at == 0 || worker->loop.now - set->asked_at >= KEY_SET_AGAIN_MS))
            want(worker, set, settings->issuers[i].place);
        are_awaited |= set->is_awaited;
    }
    return are_awaited;
}

void key_sets_tick(struct worker *worker)
{
    const struct settings *settings = &worker->snapshot->settings;

    for (size_t i = 0; i < settings->issuer_count; i++) {
        struct key_set *set   = &worker->callers.sets.at[i];
        msec            pause = set->has_failed ? KEY_SET_AGAIN_MS : settings->jwks_refresh_s * 1000;
        if (settings->issuers[i].source == JWT_JWKS_URL && !set->is_awaited &&
            (set->asked_at == 0 || worker->loop.now - set->asked_at >= pause))
            want(worker, set, settings->issuers[i].place);
    }
}

void key_sets_forget(struct worker *worker)
{
    memset(worker->callers.sets.at, 0, sizeof worker->callers.sets.at);
}

void key_sets_close(struct worker *worker)
{
    for (size_t i = 0; i < KEY_SOURCES_MAX; i++) {
        source_free(worker->callers.sets.sources[i]);
        worker->callers.sets.sources[i] = NULL;
    }
}
