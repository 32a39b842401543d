/* hook_question.h - what the application is asked about a connection, and what its answer means. Pure: JSON in and out.
 *
 *     POST {"connection","transport","address","headers":{…},"token"?}
 *     200  {"user","device"?,"expires_in"?,"channels"?:[{"match","can":[…]}…],"subscribe"?:["topic:a"…]}
 *     401, 403 {"reason"?}    refuse
 *
 * `subscribe` names channels that the link follows by itself; who may follow a channel by itself may also name it. */
#ifndef AUTH_HOOK_QUESTION_H
#define AUTH_HOOK_QUESTION_H

#include "auth/identify.h"
#include "codec/json/json.h"

enum { HOOK_ANSWER_BYTES_MAX = 64 * 1024, HOOK_REASON_BYTES_MAX = 200 };

/* Appends the question. False: what was shown is no UTF-8 and can't be said in JSON. */
bool hook_put_question(struct buf *buf, const struct credential *credential);

/* How the call ended. */
enum hook_end {
    HOOK_ANSWERED,  /* with a status */
    HOOK_SILENT,    /* nothing came in time, or nobody was there */
    HOOK_GARBAGE,   /* something came, and it was no answer */
};

/* Where answers are read. */
struct hook_reader {
    struct json_doc doc, inner;
    struct buf      strings;
    struct buf      reason;    /* of a refusal by the application, NUL-terminated; until the next answer */
    const char     *fault;     /* what is wrong with an answer of 200 that is of no use; NULL: nothing. Static. For the operator */
};

void hook_reader_init(struct hook_reader *reader);
void hook_reader_fini(struct hook_reader *reader);

/* The identity, with a reference for the caller, or why there is none: 401 and 403 with the application's reason, which
 * is in reader->reason; 502 and 503 with one of ours. `wall`: now. */
struct identified hook_read_answer(struct hook_reader *reader, enum hook_end end, unsigned status, struct span body,
                                   struct authority *authority, msec wall);

#endif
