/* peer_question.h - a loop asks the loops of other nodes.
 *
 *     loop ──question──▶ writer ──cluster──▶ other node's writer ──peer_call──▶ one of its loops
 *          ◀──answers───        ◀───────────                     ◀──answer────
 *
 * Whoever asks also looks at its own node by the commands that are there already: a question is never put to the own
 * node. On a node that is in no cluster a question comes back at once without answers, so callers need no other way.
 *
 * What a topic's bodies hold is known to those who ask and answer; bodies begin with a byte that is their version. A node that doesn't
 * know a topic answers nothing at all. */
#ifndef NODE_PEER_QUESTION_H
#define NODE_PEER_QUESTION_H

#include "node/command.h"

enum peer_topic {
    PEER_COUNT = 1,     /* how many subscribers has this channel there? */
    PEER_CONNECTION,    /* look at, or cut off, a connection */
    PEER_USERS,         /* the devices of these users that are online */
    PEER_SUBSCRIBERS,   /* who is present in this channel */
    PEER_DEVICES,       /* how far devices are: receipts, why, sessions */
    PEER_REVOCATION,    /* how many links did the revocation of this seq cut? */
    PEER_DRAIN,         /* drain yourself */
    PEER_FENCE,         /* a session was opened elsewhere: let go of the older link. Goes to no loop (device/peer_fence.h) */
    PEER_PRESENCE,      /* who joined and left this channel there */
    PEER_LISTING,       /* how many subscribers have these channels? */
    PEER_NODE,          /* what a node tells of itself, for longwire top */
    PEER_PUBLISH,       /* to a connection there: publish this */
    PEER_LEFT,          /* a user has left a group */
    PEER_FORWARD,       /* a log that you carry to a back end was written */
    PEER_FORWARDERS,    /* what have you yet to carry to back ends? */
    PEER_CANCEL,        /* a client cancels a request with which you call a back end */
};

enum { PEER_BODY_BYTES_MAX = 1 << 20, PEER_ANSWERS_BYTES_MAX = 64 << 20, PEER_WAIT_MS_USUAL = 1000, PEER_WAIT_MS_MAX = 10000 };

struct peer_answer {
    struct peer_answer *next;
    char                node[65];
    size_t              len;
    char                body[];
};

struct peer_question {
    struct command       command;
    enum peer_topic      topic;
    bool                 is_notice;  /* nobody answers: it comes back as soon as it was sent */
    struct channel_name *channel;    /* owns a reference: goes to the nodes that follow it; NULL: to `node`, or to all others */
    char                 node[65];   /* to this node alone; empty: see channel */
    uint64_t             incarnation;/* … to this incarnation of it alone; 0: any */
    bool                 may_be_new; /* … which may have begun so lately that the registry does not have it yet: it is asked then, unless
                                      * this node has seen its end */
    uint16_t             tag;        /* to the nodes whose connections have keys with this tag (connection_key.h); 0: see above */
    struct buf           body;
    msec                 wait_ms;    /* then it comes back with what has come: PEER_WAIT_MS_USUAL, or 1 … PEER_WAIT_MS_MAX */
    struct peer_answer  *answers;
    uint32_t             asked, missing;  /* nodes that were asked; of them, those that did not answer in time */
    bool                 is_unsure;  /* the engine could not say which nodes follow the channel: perhaps some were not asked */
    void               (*answered)(struct peer_question *question);  /* on the loop; takes it */
    /* At the writer instead, for those who ask there; takes it. NULL: on the loop */
    void               (*settled)(struct peer_question *question, struct writer *writer);
    void                *owner;
};

extern const struct command_kind peer_question_kind;  /* loop, writer, loop */
extern const struct command_kind peer_call_kind;      /* writer, loop, writer */

struct peer_question *peer_question_new(enum peer_topic topic);

/* To the nodes; question->answered() gets it in a later turn. Takes it. The question's body is at most PEER_BODY_BYTES_MAX. */
void shard_ask_peers(struct shard *shard, struct peer_question *question);
/* For those who ask at the writer: the same, with question->settled(), perhaps at once. */
void writer_ask_peers(struct writer *writer, struct peer_question *question);

/* Gives a question back to who asked, from the writer. */
void peer_question_end(struct peer_question *question, struct writer *writer);

/* Adds an answer behind those that are there. */
void peer_question_add(struct peer_question *question, const char *node, struct span body);

/* What another node asks. A loop gets it by shard_port.peer_call, and gives it back with its answer by
 * peer_call_answer(), at once or in a later turn. */
struct peer_call {
    struct command       command;
    enum peer_topic      topic;
    bool                 is_notice;  /* give it back with any answer; nobody gets it */
    struct channel_name *channel;    /* owns a reference; NULL: none */
    struct buf           body;
    struct buf           answer;
    void                *server;     /* the handler's own */
    bool                 is_unknown; /* this node doesn't know the topic, or can't read the body: no answer is sent */
    char                 from[65];   /* who asks */
    uint64_t             from_incarnation, question;
};

/* Without an answer. Shares the name, which may be NULL; copies the rest. */
struct peer_call *peer_call_new(enum peer_topic topic, struct channel_name *channel, struct span body);

/* Back to the node that asks. From the loop that has it. Takes it. */
void peer_call_answer(struct shard *shard, struct peer_call *call);
/* The same at the writer. */
void writer_answer_peer(struct writer *writer, struct peer_call *call);

/* To a loop of this node; questions go to the loops in turn, and notices all to the first, so that they stay in order. Takes it. */
void peer_call_serve(struct writer *writer, struct peer_call *call);

#endif
