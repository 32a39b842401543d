/* link_priv.h - what link.c and link_draw.c know of each other. */
#ifndef SESSION_LINK_PRIV_H
#define SESSION_LINK_PRIV_H

#include "session/link.h"

void                 link_set_lagging(struct link *link, bool is_lagging);
struct link_waiting *link_get_waiting(struct link *link);   /* made if there is none */
void                 link_drop_waiting(struct link *link);  /* none: fine */

#endif
