/* held_identifier.h - a maker of auth/identify.h for tests: it answers at once, or when the test says so.
 *
 * Without a credential the identity is `everyone`; the token "reader's" is `reader`; every other token is refused. */
#ifndef LIB_HELD_IDENTIFIER_H
#define LIB_HELD_IDENTIFIER_H

#include "auth/identify.h"
#include "base/must.h"

enum { HELD_MAX = 64 };

struct held_identifier {
    struct identifier      identifier;
    bool                   is_slow;            /* it answers only when the test says so */
    struct identity       *everyone, *reader;
    struct identification *held[HELD_MAX];     /* oldest first */
    struct identified      answers[HELD_MAX];  /* identities still held */
    size_t                 held_count;
    size_t                 cancelled_count;
};

static inline struct identified held_answer_to(struct held_identifier *held, const struct credential *credential)
{
    if (credential->kind == CREDENTIAL_NONE)
        return (struct identified){ .identity = identity_ref(held->everyone) };
    if (credential->kind == CREDENTIAL_TOKEN && span_eq(credential->token, SPAN("reader's")))
        return (struct identified){ .identity = identity_ref(held->reader) };
    return (struct identified){ .refusal = { .status = 401, .reason = "this token is not known here" } };
}

static inline bool held_look(struct identifier *identifier, const struct credential *credential, struct identified *ret)
{
    struct held_identifier *held = container_of(identifier, struct held_identifier, identifier);

    if (!held->is_slow)
        *ret = held_answer_to(held, credential);
    return !held->is_slow;
}

static inline void held_begin(struct identifier *identifier, struct identification *identification,
                              const struct credential *credential)
{
    struct held_identifier *held = container_of(identifier, struct held_identifier, identifier);

    must(held->held_count < HELD_MAX);
    held->answers[held->held_count] = held_answer_to(held, credential);
    held->held[held->held_count++]  = identification;
}

/* Takes the request at `at` out of the queue. */
static inline struct identified held_take(struct held_identifier *held, size_t at)
{
    struct identified answer = held->answers[at];

    held->held_count--;
    for (size_t i = at; i < held->held_count; i++) {
        held->held[i]    = held->held[i + 1];
        held->answers[i] = held->answers[i + 1];
    }
    return answer;
}

static inline void held_cancel(struct identifier *identifier, struct identification *identification)
{
    struct held_identifier *held = container_of(identifier, struct held_identifier, identifier);
    size_t                  at   = 0;

    while (held->held[at] != identification)
        must(++at < held->held_count);
    identity_unref(held_take(held, at).identity);
    held->cancelled_count++;
}

static inline void held_identifier_init(struct held_identifier *held, struct wheel *wheel, uint32_t count_max,
                                        msec timeout_ms)
{
    static const struct identifier_ops ops = { .look = held_look, .begin = held_begin, .cancel = held_cancel };

    *held = (struct held_identifier){ .everyone = identity_new(&(struct identity_facts){ .rights = KEY_RIGHTS_ALL, .is_open = true }),
                                      .reader   = identity_new(&(struct identity_facts){ .key = SPAN("reader"), .rights = RIGHT_SUBSCRIBE }) };
    identifier_init(&held->identifier, &ops, wheel, &(struct identifier_limits){ count_max, timeout_ms });
}

/* Asserts that nobody holds one of its identities any more. */
static inline void held_identifier_fini(struct held_identifier *held)
{
    identifier_fini(&held->identifier);
    must(held->held_count == 0 && held->everyone->refs == 1 && held->reader->refs == 1);
    identity_unref(held->everyone);
    identity_unref(held->reader);
}

/* Answers the oldest request. */
static inline void held_answer(struct held_identifier *held)
{
    must(held->held_count > 0);
    struct identification *identification = held->held[0];
    struct identified      answer         = held_take(held, 0);
    identify_end(identification, &answer);
}

#endif
