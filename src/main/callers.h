/* callers.h - who asks, on one loop: keys and issuers of the settings, revocations, the connect hook, and key sets that
 * come from an address (key_sets.h). What auth decides is carried out here (fetch_command.h). */
#ifndef MAIN_CALLERS_H
#define MAIN_CALLERS_H

#include "auth/caller_identifier.h"
#include "auth/key_identifier.h"
#include "http/http.h"
#include "main/key_sets.h"

struct worker;

struct callers {
    struct key_identifier    keys;
    struct caller_identifier all;
    struct key_sets          sets;
};

/* worker->snapshot, loop and revocations are in place. */
void callers_open(struct worker *worker);
void callers_close(struct worker *worker);

/* A reload: goes from `before` to worker->snapshot's settings. */
void callers_adopt(struct worker *worker, const struct settings *before);

/* Does anything in these settings ask other servers? */
bool callers_need_fetch(const struct settings *settings);

/* What the hook is told of a request. `fields` has room for HOOK_HEADERS_MAX. */
size_t callers_fields(const struct settings *settings, const struct request_head *head, struct credential_field *fields);

#endif
