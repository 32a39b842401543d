/* fetch_command.h - a call of fetch/fetch.h as mail of a loop: it goes out from a loop and comes back to it. */
#ifndef MAIN_FETCH_COMMAND_H
#define MAIN_FETCH_COMMAND_H

#include "fetch/fetch.h"
#include "node/command.h"

struct worker;

struct fetch_command {
    struct command     command;
    struct worker     *worker;   /* borrowed */
    struct fetch_call *call;     /* owned; NULL: there was no room for it, and it was never sent */
    /* On the loop; borrows the command. Not called once `owner` is NULL. */
    void             (*answered)(void *owner, struct fetch_command *command);
    void              *owner;
};

/* Takes the call and sends it. The answer comes later in any case, and not within this call. */
struct fetch_command *fetch_command_send(struct worker *worker, struct fetch_call *call,
                                         void (*answered)(void *owner, struct fetch_command *command), void *owner);
/* Nobody wants the answer any more. */
void fetch_command_cancel(struct fetch_command *command);

/* Of the process. */
enum { FETCH_CALLS_MAX = 4096, FETCH_UNDER_WAY_MAX = 256, FETCH_IDLE_MAX = 1024 };

#endif
