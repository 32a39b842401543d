/* asker.h - one request of `longwire request`, and what becomes of it.
 *
 * request.c reads the command line and prints the response, request_http.c asks by POST /v1/request, request_native.c over the
 * native protocol with the client library. Both repeat the request with its id until the response is there. */
#ifndef LONGWIRE_ASKER_H
#define LONGWIRE_ASKER_H

#include <longwire.h>

#include "base/buf.h"
#include "longwire/cli.h"
#include "longwire/target.h"

enum { ASKER_HEADERS_MAX = 32, ASKER_ID_BYTES_MAX = 128, ASKER_USER_BYTES_MAX = 128 };

struct asker {
    const char      *method, *path;
    const char      *id;             /* --id, or made */
    char             made_id[33];
    const char      *user, *device;  /* NULL: not said */
    struct lw_header headers[ASKER_HEADERS_MAX];
    size_t           header_count;
    char            *texts[ASKER_HEADERS_MAX];  /* owned: what the headers point at */
    struct buf       body;
    const char      *file;           /* NULL: none */
    const char      *data;           /* NULL: none */
    bool             shows_head;     /* -i */
    bool             has_patience;   /* --retry */
    msec             timeout_ms;     /* 0: none */
    msec             until;          /* 0: no end */
};

/* Prints it; the exit status of the command. `response` has a status. */
int asker_print(const struct asker *asker, const struct lw_response *response);
/* --timeout ran out. */
int asker_give_up(const struct asker *asker);

int asker_run_http(struct asker *asker, const struct target *target);
int asker_run_native(struct asker *asker, const struct target *target);

#endif
