/* device_asker.h - one HTTP client that sends a request until it is answered: over a new connection where the last one broke.
 * So what it sends has to be harmless when it comes twice. */
#ifndef SIM_DEVICE_ASKER_H
#define SIM_DEVICE_ASKER_H

#include "device_world.h"
#include "wire_client.h"

struct asker {
    struct client_link link;
    enum purpose       purpose;
    struct buf         request;  /* empty: it asks nothing */
    struct buf         body;     /* of the last answer */
    bool               is_sent;
    unsigned           tries;    /* of this request: an earlier one may still be under way in the node */
    msec               at;       /* sent, or to be sent */
};

void asker_init(struct asker *asker, struct wire_world *wire, enum purpose purpose);
void asker_fini(struct asker *asker);

/* `body` may be NULL. `fields`: whole lines. */
void asker_ask(struct asker *asker, const char *token, const char *method, const char *path,
               const char *fields, const char *body);
bool asker_is_idle(const struct asker *asker);

/* The status of an answer that has come, with its body in asker->body; 0: none has. 429, 503, 507, and 408 of a node that was paused, are asked again. */
unsigned asker_turn(struct asker *asker);
/* The node is gone. */
void asker_cut(struct asker *asker);

#endif
