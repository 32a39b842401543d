/* mail.h - what one thread sends another: a link, and a bundle of links. The mailbox itself is in reactor/wake.h.
 *
 * Whatever is sent holds a struct mail, and is found again with container_of(). */
#ifndef BASE_MAIL_H
#define BASE_MAIL_H

#include <stddef.h>

struct mail {
    struct mail *next;
};

/* Mail that one thread gathers for one mailbox: newest first. Zeroed: empty. */
struct bundle {
    struct mail *newest, *oldest;
};

void bundle_add(struct bundle *bundle, struct mail *mail);
/* All that was added, oldest first, or NULL. The bundle is empty afterwards. */
struct mail *bundle_take(struct bundle *bundle);

/* Turns a chain round: newest first becomes oldest first. NULL is fine. */
struct mail *mail_oldest_first(struct mail *newest);

#endif
