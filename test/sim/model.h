/* model.h - what must be true, kept as small as can be: who asked for what, what was acknowledged, and what
 * stands at each seq of each life of a log as far as anybody has seen.
 *
 *  - a message that was acknowledged is in the log, durably, at the seq that was said, and at no other (threat 17);
 *  - a seq carries one message, for everybody and for ever (as in threat 42);
 *  - what was recalled stays recalled, by one recall; what expired stays expired (threat 18);
 *  - a gap is what it says. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "node/command.h"
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
    unsigned          key_no;           /* whose key it shows: its own, or that of another request */
    uint64_t          target;           /* of a recall */
    uint64_t          asked_epoch;      /* life and head of the log when it was first asked for */
    uint64_t          asked_head;
    msec              expires_at;       /* as first asked for; 0: never */
    enum intent_state state;
    uint64_t          epoch, seq;       /* once seen or acknowledged */
    msec              acked_at;
};

/* Empty: none. It follows from the number, so nothing has to be drawn for it. */
struct span intent_collapse_key(const struct intent *intent);

enum { INTENTS_MAX = 1024 };

struct model *model_new(struct world *world);
void          model_free(struct model *model);

/* NULL: INTENTS_MAX are. */
struct intent *model_intent_new(struct model *model, unsigned channel);
/* An acknowledged message of this channel, or NULL. */
struct intent *model_draw_acked(struct model *model, unsigned channel);

/* The last seq of this life of a log that was acknowledged; 0: none was. */
uint64_t       model_acked_head(struct model *model, unsigned channel, uint64_t epoch);

/* Somebody takes back what stands there. */
void model_recall_asked(struct model *model, unsigned channel, uint64_t epoch, uint64_t seq);
/* The store said that there is nothing to take back. */
void model_check_no_target(struct model *model, const struct intent *intent);

void model_acked(struct model *model, struct intent *intent, const struct append_answer *answer);

/* A reader that came at `since` was given this. */
void model_saw(struct model *model, unsigned channel, const struct message *message, msec since);

/* The first seq from here on that its namespace still keeps, as far as is known. */
uint64_t model_first_kept(struct model *model, unsigned channel, const struct log_now *log, uint64_t from);

/* Is the gap true for all that is known? */
void model_check_gap(struct model *model, unsigned channel, const struct gap *gap, const struct log_now *log);

/* Nothing acknowledged is lost, nothing asked for is left open; the logs are dense. */
void model_check_end(struct model *model);

#endif
