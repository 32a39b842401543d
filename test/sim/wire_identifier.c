#include "wire_identifier.h"

#include <stdlib.h>

#include "base/must.h"

enum { TAKES_MS_MAX = 40, TIMEOUT_MS = 1000, TOKEN_TEXT_BYTES = 80 };

struct slow_question {
    struct list            link;
    struct identification *identification;
    msec                   due;
    char                   token[TOKEN_TEXT_BYTES];
};

static struct slow_identifier *slow_of(struct identifier *identifier)
{
    return container_of(identifier, struct slow_identifier, identifier);
}

/* --- who it is --- */

static struct span word_of(struct span *rest)
{
    struct span word = SPAN("");

    if (!span_cut(rest, '.', &word)) {
        word  = *rest;
        *rest = SPAN("");
    }
    return span_eq(word, SPAN("-")) ? SPAN("") : word;
}

static struct identity *identity_of_token(struct span token)
{
    struct identity_facts facts = { 0 };
    uint64_t              issued = 0, ends = 0;

    facts.user   = word_of(&token);
    facts.device = word_of(&token);
    facts.jti    = word_of(&token);
    must(span_u64(word_of(&token), &issued) && span_u64(word_of(&token), &ends));
    facts.issued_at  = (msec)issued * 1000;
    facts.expires_at = (msec)ends * 1000;
    return identity_new(&facts);
}

static void answer_revoked(struct identified *answer)
{
    identity_unref(answer->identity);
    *answer = (struct identified){ .refusal = { .status = 401, .reason = "this token was revoked" } };
}

static struct identified slow_answer(const struct slow_identifier *slow, struct span token)
{
    struct identified answer = { 0 };

    if (slow->revoked == NULL)
        answer.identity = identity_ref(slow->everyone);
    else if (token.len == 0)
        answer.identity = identity_ref(slow->nobody);
    else if (span_eq(token, SPAN("app")))
        answer.identity = identity_ref(slow->app);
    else
        answer.identity = identity_of_token(token);
    msec wall = world_wall(&slow->wire->world);
    if (slow->revoked != NULL && caller_is_revoked(slow->revoked, answer.identity))
        answer_revoked(&answer);
    else if (answer.identity->expires_at != 0 && answer.identity->expires_at <= wall)
        answer_revoked(&answer);
    return answer;
}

/* --- the port --- */

static bool slow_look(struct identifier *identifier, const struct credential *credential, struct identified *ret)
{
    struct slow_identifier *slow  = slow_of(identifier);
    struct world           *world = &slow->wire->world;

    if (slow->wire->faults.slow_identity && !world->is_healing && one_in(world, OF_ASKERS, 2))
        return false;
    *ret = slow_answer(slow, credential->token);
    return true;
}

static void slow_begin(struct identifier *identifier, struct identification *identification,
                       const struct credential *credential)
{
    struct slow_identifier *slow     = slow_of(identifier);
    struct slow_question   *question = calloc(1, sizeof *question);

    must(question != NULL && credential->token.len < sizeof question->token);
    if (credential->token.len > 0)
        memcpy(question->token, credential->token.at, credential->token.len);
    question->identification = identification;
    question->due            = slow->wire->world.now + (msec)draw(&slow->wire->world, OF_ASKERS, TAKES_MS_MAX);
    list_push(&slow->waiting, &question->link);
}

static void slow_cancel(struct identifier *identifier, struct identification *identification)
{
    struct slow_identifier *slow = slow_of(identifier);

    for (struct list *at = slow->waiting.next; at != &slow->waiting; at = at->next) {
        struct slow_question *question = container_of(at, struct slow_question, link);
        if (question->identification != identification)
            continue;
        list_take(&question->link);
        free(question);
        return;
    }
    must(!"it is under way");
}

static const struct identifier_ops slow_ops = { .look = slow_look, .begin = slow_begin, .cancel = slow_cancel };

void slow_identifier_init(struct slow_identifier *slow, struct wire_world *wire, struct wheel *wheel)
{
    static const struct identifier_limits limits = { .count_max = 1000, .timeout_ms = TIMEOUT_MS };

    memset(slow, 0, sizeof *slow);
    slow->wire     = wire;
    slow->everyone = identity_new(&(struct identity_facts){ .rights = KEY_RIGHTS_ALL, .is_open = true });
    slow->app      = identity_new(&(struct identity_facts){ .rights = KEY_RIGHTS_ALL, .key = SPAN("app") });
    slow->nobody   = identity_new(&(struct identity_facts){ .user = SPAN("") });
    list_init(&slow->waiting);
    identifier_init(&slow->identifier, &slow_ops, wheel, &limits);
}

void slow_identifier_fini(struct slow_identifier *slow)
{
    must(list_is_empty(&slow->waiting));
    identifier_fini(&slow->identifier);
    identity_unref(slow->everyone);
    identity_unref(slow->app);
    identity_unref(slow->nobody);
}

void slow_identifier_turn(struct slow_identifier *slow)
{
    for (struct list *at = slow->waiting.next, *next; at != &slow->waiting; at = next) {
        struct slow_question *question = container_of(at, struct slow_question, link);
        next                           = at->next;
        if (question->due > slow->wire->world.now)
            continue;
        struct identified answer = slow_answer(slow, span_str(question->token));
        struct identification *identification = question->identification;
        list_take(&question->link);
        free(question);
        identify_end(identification, &answer);
        next = slow->waiting.next;  /* whoever got the answer may have ended other questions */
    }
}
