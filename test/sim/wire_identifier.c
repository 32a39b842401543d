#include "wire_identifier.h"

#include <stdlib.h>

#include "base/must.h"

enum { TAKES_MS_MAX = 40, TIMEOUT_MS = 1000 };

struct slow_question {
    struct list            link;
    struct identification *identification;
    msec                   due;
};

static struct slow_identifier *slow_of(struct identifier *identifier)
{
    return container_of(identifier, struct slow_identifier, identifier);
}

static bool slow_look(struct identifier *identifier, const struct credential *credential, struct identified *ret)
{
    struct slow_identifier *slow  = slow_of(identifier);
    struct world           *world = &slow->wire->world;

    (void)credential;
    if (slow->wire->faults.slow_identity && !world->is_healing && one_in(world, OF_ASKERS, 2))
        return false;
    ret->identity = identity_ref(slow->everyone);
    return true;
}

static void slow_begin(struct identifier *identifier, struct identification *identification,
                       const struct credential *credential)
{
    struct slow_identifier *slow     = slow_of(identifier);
    struct slow_question   *question = calloc(1, sizeof *question);

    (void)credential;
    must(question != NULL);
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

    *slow = (struct slow_identifier){ .wire = wire, .everyone = identity_new(&(struct identity_facts){ .rights = KEY_RIGHTS_ALL, .is_open = true }) };
    list_init(&slow->waiting);
    identifier_init(&slow->identifier, &slow_ops, wheel, &limits);
}

void slow_identifier_fini(struct slow_identifier *slow)
{
    must(list_is_empty(&slow->waiting));
    identifier_fini(&slow->identifier);
    identity_unref(slow->everyone);
}

void slow_identifier_turn(struct slow_identifier *slow)
{
    for (struct list *at = slow->waiting.next, *next; at != &slow->waiting; at = next) {
        struct slow_question *question = container_of(at, struct slow_question, link);
        struct identified     answer   = { 0 };
        next                           = at->next;
        if (question->due > slow->wire->world.now)
            continue;
        answer.identity                       = identity_ref(slow->everyone);
        struct identification *identification = question->identification;
        list_take(&question->link);
        free(question);
        identify_end(identification, &answer);
        next = slow->waiting.next;  /* whoever got the answer may have ended other questions */
    }
}
