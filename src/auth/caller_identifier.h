/* caller_identifier.h - the maker of identify.h that the server uses: it asks the others in their order.
 *
 *     API key, JWT (`known`, at once) ──▶ revoked? 401
 *              │
 *              ├─ a key of an issuer may have changed: the key sets are fetched, and `known` is asked again
 *              │ nobody's, or nothing was shown
 *              ▼
 *     the application, by the connect hook: for links, and for whoever shows a token (docs/decisions/0057)
 *
 * Without a hook and without issuers whose keys come from an address it is as `known`, less what was revoked. */
#ifndef AUTH_CALLER_IDENTIFIER_H
#define AUTH_CALLER_IDENTIFIER_H

#include "auth/hook_question.h"
#include "auth/revocations.h"
#include "base/counter.h"

struct caller_wait;  /* one identification under way */

struct caller_port {
    /* Sends the question, of which it keeps nothing. *ret_handle is for cancel(). caller_hook_ended() comes once, later,
     * never within this call, unless it is cancelled before. */
    void (*ask)(void *ctx, struct caller_wait *wait, struct span json, void **ret_handle);
    void (*cancel)(void *ctx, void *handle);
    /* Are key sets on their way, or can they be fetched now? Then caller_keys_came() follows, later. False: they were
     * fetched a moment ago. */
    bool (*await_keys)(void *ctx);
    /* The application knows nothing of a token that came from this address (credential_customer()). */
    void (*note_wrong)(void *ctx, uint64_t address);
};

struct hook_counters {
    struct counter asked, let_in, refused, garbage, silent;
    struct counter took_ms_sum;
};

enum { HOOK_REASONS_MAX = 256 };

struct caller_identifier {
    struct identifier         identifier;
    struct identifier        *known;        /* borrowed; answers at once */
    const struct revocations *revocations;  /* borrowed */
    const msec               *wall;         /* borrowed: the loop's */
    const struct caller_port *port;
    void                     *ctx;
    bool                      has_hook;
    bool                      awaits_keys;  /* what begin() is called for after look(): a key, not the hook */
    struct authority         *authority;    /* of whom the hook lets in */
    struct list               awaiting;     /* identifications that wait for keys */
    struct hook_reader        reader;
    char                     *reasons[HOOK_REASONS_MAX];  /* that the application gave; kept, because those who are told
                                                           * one may borrow it for long */
    size_t                    reason_count;
    struct hook_counters      counters;
};

void caller_identifier_init(struct caller_identifier *callers, struct identifier *known,
                            const struct revocations *revocations, const msec *wall, struct wheel *wheel,
                            const struct identifier_limits *limits, const struct caller_port *port, void *ctx);
void caller_identifier_fini(struct caller_identifier *callers);

/* From now on there is a hook, or none. `is_other`: not the one that there was: whoever it let in is revoked. */
void caller_identifier_set_hook(struct caller_identifier *callers, bool has_hook, bool is_other);

/* For the port: the hook's answer, `body` borrowed; the key sets have been fetched, or could not be. The first returns what is wrong with
 * an answer of 200 that was of no use, for the operator; NULL: nothing. */
const char *caller_hook_ended(struct caller_wait *wait, enum hook_end end, unsigned status, struct span body, msec took_ms);
void caller_keys_came(struct caller_identifier *callers);

/* Was it revoked since it was issued? Whoever says about themselves who they are can't be. */
bool caller_is_revoked(const struct revocations *revocations, const struct identity *identity);

#endif
