/* wire_identifier.h - a maker of auth/identify.h that takes its time: everybody is the same identity, and sometimes
 * that is known only later. */
#ifndef SIM_WIRE_IDENTIFIER_H
#define SIM_WIRE_IDENTIFIER_H

#include "auth/identify.h"
#include "wire_world.h"

struct slow_identifier {
    struct identifier  identifier;
    struct wire_world *wire;
    struct identity   *everyone;
    struct list        waiting;
};

void slow_identifier_init(struct slow_identifier *slow, struct wire_world *wire, struct wheel *wheel);
void slow_identifier_fini(struct slow_identifier *slow);

/* Gives the answers that are due. */
void slow_identifier_turn(struct slow_identifier *slow);

#endif
