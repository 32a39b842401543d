/* take_over.h - this process takes the place of another one that serves (`longwired --take-over`; hand_over.h has the other side;
 * docs/decisions/0124). All of it happens on main's thread, before the server has any other.
 *
 *     take_over_begin()     the other process is asked, and offers its listening sockets
 *     take_over_receive()   it stands still, and gives what it has; from now on its clients wait
 *     (the stores are opened, what was given is gone on with)
 *     take_over_commit()    it serves no more: this process does
 *
 * At whatever step this process gives up, the other one goes on. */
#ifndef MAIN_TAKE_OVER_H
#define MAIN_TAKE_OVER_H

#include "base/rc.h"
#include "codec/handover/handover.h"
#include "settings/settings.h"

struct server;
struct take_over;

/* Not RC_OK: `why` is a sentence for the operator, and *ret is NULL. It is NULL, too, if the other process has ended: this one
 * starts then, as after a crash. */
enum rc take_over_begin(const struct settings *settings, unsigned loops, struct take_over **ret, char *why, size_t why_size) RC_MUST_USE;

/* The numbers of the other process that this one goes on with. Its texts are not kept. */
const struct handover_offer *take_over_offer(const struct take_over *take);

/* The listening sockets of an address, one a loop, which are the caller's from now on. NULL: the other process does not listen
 * there. */
const int *take_over_sockets(struct take_over *take, const char *scheme, const char *address);

/* Asks for all of it, and looks whether it is whole. */
enum rc take_over_receive(struct take_over *take, char *why, size_t why_size) RC_MUST_USE;

/* The server's stores are open: fills those in memory. */
void take_over_memory(struct take_over *take, struct server *server);
/* The server's workers are open, and not started: goes on with the links. */
void take_over_links(struct take_over *take, struct server *server);

/* Not RC_OK: the other process serves on. If it has ended instead, this one serves. */
enum rc take_over_commit(struct take_over *take, char *why, size_t why_size) RC_MUST_USE;

/* What was not gone on with is closed. If it gives up, the other process is told why. NULL is fine. */
void take_over_free(struct take_over *take, const char *why);

#endif
