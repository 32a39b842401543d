/* notify.h - mode `notify`: a link is told that a channel has messages up to its head, and not the messages. The client pulls
 * them when it likes, from its own place. Private to this module (docs/decisions/0066-notify-then-pull.md).
 *
 * A notify is drawn, framed and sent like a gap (reader_entry_is_notify()), so a full socket, a cut and a rewind need nothing
 * of their own. Behind it the subscription stands at the head: that is up to where the client was told, and says nothing
 * about what it has. So it acknowledges nothing.
 *
 * After a notify the subscription is quiet for a time. News that come meanwhile are told together, at the first tick behind
 * it: the links with such news are in worker.held.
 *
 * A link of a session reads the log of its user all the same, in silence: it has to hear of groups. */
#ifndef SESSION_NOTIFY_H
#define SESSION_NOTIFY_H

#include "base/span.h"
#include "base/msec.h"

struct link;
struct reader;
struct reader_sub;
struct session_worker;

enum { NOTIFY_QUIET_MS = 1000 };

enum delivery_mode { MODE_NOT_SAID, MODE_PUSH, MODE_NOTIFY };

/* False: it is neither. An empty text is MODE_NOT_SAID. */
bool delivery_mode_read(struct span text, enum delivery_mode *ret);
extern const char delivery_modes_are[];

/* This subscription is in that mode from now on. Where nothing is kept (`none`) nothing could be pulled: there messages come
 * in any mode. */
void notify_set(struct link *link, struct reader_sub *sub, enum delivery_mode mode);

/* It has been told: it is quiet for so long. */
void notify_told(struct link *link, struct reader_sub *sub, msec quiet_ms);
/* Everything in mode notify is quiet at first. For polls that come again: each is a link of its own, and would be told at once.
 * The cursors of a session acknowledge nothing of what was told, so a client that polls before it has acknowledged what it
 * pulled would be told the same again and again. */
void notify_hold_back(struct link *link);
/* The client has shown that it pulls: the next notify may come at once. */
void notify_pulled(struct link *link, struct reader_sub *sub);

/* reader_shared.hold */
void notify_hold(struct reader *reader);
/* At the end of a link. */
void notify_forget(struct link *link);
/* About once a second: links that held something back look again. */
void notify_tick(struct session_worker *worker);

#endif
