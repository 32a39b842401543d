/* peer_fence.h - a session is opened on one node while its link is on another: that node is asked to let go of it.
 *
 *     node B                                        node A, which has the link
 *      raises the generation in the ledger
 *      ── ask: user, device, generation ──────────▶  the loop of the link fences it
 *      ◀────────── the places that it acknowledged ──
 *      answers the opener
 *
 * The ledger has decided before anybody is asked: the older link can store nothing any more. So a question that is lost
 * costs no more than that the older link still receives, until node A compares its sessions with the ledger
 * (device_compare.c), and that node B reads the places once more: node A may have stored some after node B had read them, and
 * before the raise. The answer waits for node A, so that who has seen `connected` can rely on it that the older link
 * delivers nothing more, and so that what was acknowledged there does not come again; but not for long: a node that doesn't answer
 * may be dead. Why a question may have to wait, and what is kept for one that has not come: docs/decisions/0181. A node that does not know
 * whether it has raised a generation asks on behalf of whoever asks it: docs/decisions/0183.
 *
 * Who carries questions is handed in (struct device_peers). All of it happens on the writer's thread. */
#ifndef DEVICE_PEER_FENCE_H
#define DEVICE_PEER_FENCE_H

#include "base/buf.h"
#include "base/list.h"
#include "device/row.h"

struct devices;
struct unsure_raise;  /* device_unsure.c */

enum {
    PEER_FENCE_WAIT_MS    = 500,  /* whoever asks waits so long, … */
    PEER_FENCE_TELL_MS    = 350,  /* … whoever is asked says after so long, and a tick, that it does not know yet, … */
    PEER_FENCE_TRIES_MAX  = 10,   /* … and is asked again */
    PEER_FENCE_GATHER_MS  = 2000, /* nodes whose connections were cut at one moment have all made new ones after so long */
    PEER_FENCE_PLACES_MAX = 128,
    FENCE_ANSWER_BYTES_MAX = 1 + PEER_FENCE_PLACES_MAX * (2 * 8 + 1 + UINT8_MAX),
};

/* What is asked. */
struct peer_fence {
    struct span user, device;
    uint64_t    generation;  /* links of the session with a lower one are to go … */
    msec        since;       /* … and those of a session of this name that began earlier */
};

void peer_fence_put(struct buf *buf, const struct peer_fence *fence);
/* The names are borrowed from `body`. False: it can't be read. */
bool peer_fence_get(struct span body, struct peer_fence *ret);

/* One place of an answer. */
struct peer_fence_place {
    struct span channel;
    uint64_t    epoch, seq;
};

void peer_fence_answer_begin(struct buf *buf);
void peer_fence_place_put(struct buf *buf, const struct peer_fence_place *place);
/* The next place of an answer: takes it off *answer, which is the whole body at first. False: there is none, or what follows can't be
 * read. */
bool peer_fence_place_next(struct span *answer, bool *is_begun, struct peer_fence_place *ret);

/* A question under way. The carrier keeps it until it has called device_peer_settled(). */
struct peer_fence_ask {
    struct list          in_devices;
    struct devices      *devices;
    struct session_open *open;        /* waits for it; NULL: no opening does */
    struct unsure_raise *unsure;      /* … or this does, on behalf of another node */
    bool                 is_own;      /* of the session that is being opened: the places of the answer count */
    bool                 is_notice;   /* nobody waits for an answer: it is settled once it was sent */
    bool                 is_put_off;  /* a node is there, and does not know yet */
    bool                 is_unasked;  /* the carrier's: nobody was asked, or it does not know whether all were; says nothing of a node */
    unsigned             tries;
    bool                 is_held;     /* it is asked again in the next tick */
    msec                 since;       /* by the wall clock */
    uint32_t             asked_tick;  /* devices.tick when it was sent last */
    char                 node[DEVICE_NODE_BYTES_MAX + 1];  /* to this node … */
    uint64_t             incarnation;                      /* … in this life of it; or, if `node` is empty … */
    bool                 may_be_new;                       /* which others may not have heard of yet */
    struct channel_name *user_log;    /* … to the nodes that follow this log; owns a reference */
    struct buf           body;
};

struct device_peers {
    void (*ask)(void *ctx, struct peer_fence_ask *ask);
};

/* One node's answer; then, once all have come or the time is up, settled. `is_missing`: a node that was asked, or was to be asked, did not
 * answer. */
void device_peer_answered(struct peer_fence_ask *ask, struct span answer);
void device_peer_settled(struct peer_fence_ask *ask, bool is_missing);

/* Another node asks; its owner is told the answer once all that was acknowledged on the older link has been said here, and at once if
 * there is no such link. That may take until an older opening here has ended, which asks a third node. If it takes longer than
 * PEER_FENCE_TELL_MS the answer has no byte, and the link that the opening here makes is let go at once: whoever asked may not ask again. */
struct peer_fence_call {
    void (*answered)(struct peer_fence_call *call);  /* takes it */
    void (*dropped)(struct peer_fence_call *call);   /* takes it, because the devices end */
    struct buf  answer;
    struct list in_devices;  /* the devices' … */
    bool        had_link;    /* … too … */
    uint32_t    hash;        /* of the user */
    msec        until;
    struct span body;        /* … and borrowed until then */
};

/* False: the body can't be read; the call was not taken. */
bool device_peer_called(struct devices *devices, struct peer_fence_call *call, struct span body);

/* By questions to the nodes of the cluster (node/peer_question.h); ctx is the writer. */
extern const struct device_peers peers_by_question;

struct peer_call;
/* A question of another node, PEER_FENCE: answered in a later turn. It goes to no loop, because a node that stops answers these to its
 * end. Takes it. */
void devices_serve_fence(struct devices *devices, struct peer_call *call);

#endif
