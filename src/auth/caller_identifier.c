#include "auth/caller_identifier.h"

#include <stdlib.h>

#include "base/must.h"
#include "base/utf8.h"

/* An identification that waits for keys holds its token, and the question that the hook may still have to answer. */
struct caller_wait {
    struct list               in_awaiting;
    struct identification    *identification;
    struct caller_identifier *callers;
    void                     *handle;      /* of the call to the hook; NULL: not asked */
    uint64_t                  connection;
    uint64_t                  address;     /* of whoever shows a token; 0: not known, or nothing is shown */
    bool                      may_ask;     /* the hook */
    struct buf                question, token;
};

static struct caller_identifier *callers_of(struct identifier *identifier)
{
    return container_of(identifier, struct caller_identifier, identifier);
}

bool caller_is_revoked(const struct revocations *revocations, const struct identity *identity)
{
    if (identity_user(identity).len == 0 || identity->is_open)
        return false;
    return revocations_refuse(revocations, &(struct revocable){
        .user = identity_user(identity), .device = identity_device(identity), .jti = identity_jti(identity),
        .issued_at = (uint64_t)(identity->issued_at / 1000),
    });
}

static void refuse_if_revoked(const struct caller_identifier *callers, struct identified *answer)
{
    if (answer->identity == NULL || !caller_is_revoked(callers->revocations, answer->identity))
        return;
    identity_unref(answer->identity);
    *answer = (struct identified){ .refusal = { .status = 401, .reason = "this token was revoked" } };
}

/* --- at once ------------------------------------------------------------------------------------------------- */

/* Who is known shows a key or a token of an issuer. A link that shows nothing is asked about; a call that shows nothing
 * is nobody's, and need not be. */
static bool is_for_hook(const struct caller_identifier *callers, const struct credential *credential,
                        const struct identified *known)
{
    if (!callers->has_hook || credential->kind == CREDENTIAL_UNUSABLE || !utf8_is_valid(credential->token))
        return false;
    if (known->identity != NULL)
        return credential->is_link && credential->kind == CREDENTIAL_NONE && identity_is_stranger(known->identity);
    return known->refusal.status == 401 && !known->is_final;
}

static bool caller_look(struct identifier *identifier, const struct credential *credential, struct identified *ret)
{
    struct caller_identifier *callers = callers_of(identifier);

    must(callers->known->ops->look(callers->known, credential, ret));
    callers->awaits_keys = ret->awaits_keys && callers->port->await_keys(callers->ctx);
    if (callers->awaits_keys || is_for_hook(callers, credential, ret)) {
        identity_unref(ret->identity);
        *ret = (struct identified){ 0 };
        return false;
    }
    refuse_if_revoked(callers, ret);
    return true;
}

/* --- later --------------------------------------------------------------------------------------------------- */

static void caller_wait_free(struct caller_wait *wait)
{
    list_take(&wait->in_awaiting);
    if (wait->token.at != NULL)
        explicit_bzero(wait->token.at, wait->token.len);
    if (wait->question.at != NULL)
        explicit_bzero(wait->question.at, wait->question.len);
    buf_fini(&wait->token);
    buf_fini(&wait->question);
    free(wait);
}

static void caller_wait_end(struct caller_wait *wait, struct identified *answer)
{
    struct identification *identification = wait->identification;

    answer->connection = wait->may_ask ? wait->connection : 0;
    refuse_if_revoked(wait->callers, answer);
    caller_wait_free(wait);
    identify_end(identification, answer);
}

static void caller_ask_hook(struct caller_wait *wait)
{
    struct caller_identifier *callers = wait->callers;

    counter_add(&callers->counters.asked, 1);
    callers->port->ask(callers->ctx, wait, buf_span(&wait->question), &wait->handle);
}

static struct caller_wait *caller_wait_new(struct caller_identifier *callers, struct identification *identification,
                                           const struct credential *credential)
{
    struct caller_wait *wait = calloc(1, sizeof *wait);

    must(wait != NULL);
    wait->identification = identification;
    wait->callers        = callers;
    wait->connection     = credential->connection;
    wait->address        = credential->kind == CREDENTIAL_TOKEN ? credential_customer(credential) : 0;
    wait->may_ask        = callers->has_hook && (credential->kind == CREDENTIAL_TOKEN || credential->is_link);
    buf_init(&wait->token, SIZE_MAX / 2);     /* CREDENTIAL_BYTES_MAX bounds it */
    buf_init(&wait->question, SIZE_MAX / 2);  /* that, and the head of a request */
    if (wait->may_ask)
        must(hook_put_question(&wait->question, credential));
    identification_set_work(identification, wait);
    return wait;
}

/* Only a token can await a key. */
static void caller_begin(struct identifier *identifier, struct identification *identification,
                         const struct credential *credential)
{
    struct caller_identifier *callers = callers_of(identifier);
    struct caller_wait       *wait    = caller_wait_new(callers, identification, credential);

    if (callers->awaits_keys) {
        buf_put(&wait->token, credential->token);
        list_push(&callers->awaiting, &wait->in_awaiting);
    } else {
        caller_ask_hook(wait);
    }
}

static void caller_cancel(struct identifier *identifier, struct identification *identification)
{
    struct caller_identifier *callers = callers_of(identifier);
    struct caller_wait       *wait    = identification_work(identification);

    if (wait->handle != NULL)
        callers->port->cancel(callers->ctx, wait->handle);
    caller_wait_free(wait);
}

/* --- keys ---------------------------------------------------------------------------------------------------- */

static void caller_look_again(struct caller_wait *wait)
{
    struct caller_identifier *callers    = wait->callers;
    struct credential         credential = credential_of_token(buf_span(&wait->token));
    struct identified         known      = { 0 };

    list_take(&wait->in_awaiting);
    must(callers->known->ops->look(callers->known, &credential, &known));
    /* The keys of another issuer came, and this one's are still on their way. */
    if (known.awaits_keys && callers->port->await_keys(callers->ctx))
        list_push(&callers->awaiting, &wait->in_awaiting);
    else if (wait->may_ask && callers->has_hook && is_for_hook(callers, &credential, &known))
        caller_ask_hook(wait);
    else
        caller_wait_end(wait, &known);
}

void caller_keys_came(struct caller_identifier *callers)
{
    struct list came;

    list_init(&came);
    list_move(&came, &callers->awaiting);
    while (!list_is_empty(&came))
        caller_look_again(container_of(came.next, struct caller_wait, in_awaiting));
}

/* --- the hook ------------------------------------------------------------------------------------------------ */

/* The reason lives as long as this identifier. An application that makes up ever new ones is not quoted any more. */
static const char *keep_reason(struct caller_identifier *callers, const char *reason)
{
    for (size_t i = 0; i < callers->reason_count; i++)
        if (strcmp(callers->reasons[i], reason) == 0)
            return callers->reasons[i];
    if (callers->reason_count == HOOK_REASONS_MAX)
        return "the application refused this connection";
    char *kept = strdup(reason);
    must(kept != NULL);
    callers->reasons[callers->reason_count++] = kept;
    return kept;
}

static void count_hook_answer(struct hook_counters *counters, const struct identified *answer, msec took_ms)
{
    counter_add(&counters->took_ms_sum, (uint64_t)took_ms);
    if (answer->identity != NULL)
        counter_add(&counters->let_in, 1);
    else if (answer->refusal.status == 502)
        counter_add(&counters->garbage, 1);
    else if (answer->refusal.status == 503)
        counter_add(&counters->silent, 1);
    else
        counter_add(&counters->refused, 1);
}

const char *caller_hook_ended(struct caller_wait *wait, enum hook_end end, unsigned status, struct span body, msec took_ms)
{
    struct caller_identifier *callers = wait->callers;
    struct identified         answer  = hook_read_answer(&callers->reader, end, status, body, callers->authority,
                                                         *callers->wall);

    if (answer.identity == NULL)
        answer.refusal.reason = keep_reason(callers, answer.refusal.reason);
    count_hook_answer(&callers->counters, &answer, took_ms);
    if (answer.refusal.status == 401 && wait->address != 0)
        callers->port->note_wrong(callers->ctx, wait->address);
    const char *fault = callers->reader.fault;
    caller_wait_end(wait, &answer);
    return fault;
}

/* --- its life ------------------------------------------------------------------------------------------------ */

static const struct identifier_ops caller_ops = { .look = caller_look, .begin = caller_begin, .cancel = caller_cancel };

void caller_identifier_init(struct caller_identifier *callers, struct identifier *known,
                            const struct revocations *revocations, const msec *wall, struct wheel *wheel,
                            const struct identifier_limits *limits, const struct caller_port *port, void *ctx)
{
    *callers = (struct caller_identifier){
        .known = known, .revocations = revocations, .wall = wall, .port = port, .ctx = ctx,
        .authority = authority_new(NULL),
    };
    identifier_init(&callers->identifier, &caller_ops, wheel, limits);
    list_init(&callers->awaiting);
    hook_reader_init(&callers->reader);
}

void caller_identifier_fini(struct caller_identifier *callers)
{
    identifier_fini(&callers->identifier);
    hook_reader_fini(&callers->reader);
    for (size_t i = 0; i < callers->reason_count; i++)
        free(callers->reasons[i]);
    authority_unref(callers->authority);
}

void caller_identifier_set_hook(struct caller_identifier *callers, bool has_hook, bool is_other)
{
    callers->has_hook = has_hook;
    if (!is_other)
        return;
    authority_revoke(callers->authority);
    callers->authority = authority_new(NULL);
}
