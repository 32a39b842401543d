/* model.h - what must be true, kept as small as can be: who asked for what, what was acknowledged, and what
 * stands at each seq of each life of a log as far as anybody has seen.
 *
 *  - a message that was acknowledged is in the log, durably, at the seq that was said, and at no other (threat 17);
 *  - a seq carries one message, for everybody and for ever (as in threat 42);
 *  - what was recalled stays recalled, what expired stays expired (threat 18). */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "node/letter.h"
#include "world.h"

enum intent_state {
    INTENT_OPEN,     /* not answered, or to be tried again */
    INTENT_ACKED,
    INTENT_REFUSED,  /* it's certain that it was not written */
    INTENT_UNKNOWN,  /* given up without knowing */
};

/* Something that a publisher wants to have in a log, once, however often it asks. */
struct intent {
    unsigned          no;
    unsigned          channel;
    bool              is_keyed;
    bool              is_recall;
    bool              is_recall_asked;  /* somebody takes it back */
    uint64_t          target;           /* of a recall */
    uint64_t          target_epoch;
    msec              expires_at;       /* as first asked for; 0: never */
    enum intent_state state;
    uint64_t          epoch, seq;       /* once seen or acknowledged */
    msec              acked_at;
};

enum { INTENTS_MAX = 1024 };

struct model *model_new(struct world *world);
void          model_free(struct model *model);

/* NULL: INTENTS_MAX are. */
struct intent *model_intent_new(struct model *model, unsigned channel);
/* An acknowledged message of this channel, or NULL. */
struct intent *model_draw_acked(struct model *model, unsigned channel);

void model_acked(struct model *model, struct intent *intent, const struct append_answer *answer);

/* A reader that came at `since` was given this. */
void model_saw(struct model *model, unsigned channel, const struct message *message, msec since);

/* Is every message of this range, as far as is known, past its time? */
bool model_is_expired(struct model *model, unsigned channel, uint64_t epoch, const struct gap *gap, msec wall);

/* Nothing acknowledged is lost, nothing asked for is left open; the logs are dense. */
void model_check_end(struct model *model);

#endif
