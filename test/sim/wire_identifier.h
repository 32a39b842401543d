/* wire_identifier.h - a maker of auth/identify.h that takes its time: sometimes the answer comes only later.
 *
 * Where users have no devices everybody is the same identity. Else a token says who shows it, in words: "app" is the
 * application, and "USER.DEVICE.JTI.ISSUED.ENDS" a user's, in seconds, with "-" for what it does not say. What was revoked is
 * refused. */
#ifndef SIM_WIRE_IDENTIFIER_H
#define SIM_WIRE_IDENTIFIER_H

#include "auth/caller_identifier.h"
#include "wire_world.h"

struct slow_identifier {
    struct identifier  identifier;
    struct wire_world *wire;
    struct identity   *everyone, *app, *nobody;
    const struct revocations *revoked;  /* NULL: everybody is everyone */
    struct list        waiting;
};

void slow_identifier_init(struct slow_identifier *slow, struct wire_world *wire, struct wheel *wheel);
void slow_identifier_fini(struct slow_identifier *slow);

/* Gives the answers that are due. */
void slow_identifier_turn(struct slow_identifier *slow);

#endif
