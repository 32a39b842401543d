/* instruction.h - what a back end tells a link with its answer to a request: `subscribe` and `unsubscribe` of a response. Private
 * to this module.
 *
 * A poll, which ends when it has drawn, carries it out before it is answered: its session follows the channels with the next poll.
 *
 * The link that draws the response from the log of its own device, or from conn:KEY, carries it out, as if its client had asked:
 * the client's rights hold, and a session keeps the channel. A response that is drawn again, because a stream took only a part of
 * it, is carried out again, which changes nothing. */
#ifndef SESSION_INSTRUCTION_H
#define SESSION_INSTRUCTION_H

#include "session/link.h"

/* Is it the log of the device whose link this is? Then what is drawn there is to be shown to instruction_note(). */
bool link_is_home(const struct link *link, const struct channel_name *name);

/* The link has drawn this message of such a channel. */
void instruction_note(struct link *link, struct message *message);

/* Carries out what was noted, once nothing is being drawn. False: nothing was. */
bool instructions_carry_out(struct session_worker *worker);

/* Was something noted for this link that is not carried out yet? */
bool instructions_wait(const struct link *link);

/* The link ends. */
void instructions_forget(struct link *link);

#endif
