/* devices_priv.h - what the parts of the devices ask of each other. Private to this module.
 *
 *     devices.c        life, turns, the table      device_io.c       questions to ledger and stores, batches of writes
 *     device_open.c    links that come             device_places.c   links that go, and what they acknowledged
 *     device_list.c    who a user's devices are    device_command.c  the commands
 *     member_sweep.c   lists of members over databases
 *     device_sweep.c   sessions that have run out        device_look.c   how far they are in a channel
 *     device_peer.c    links on other nodes            device_compare.c  links that a newer one elsewhere has replaced
 *     device_unsure.c  raises of which nobody knows whether they were written
 *     receipts.c       … for all devices that a message is for
 *     why.c            … and all else about one device   session_listing.c  sessions page by page */
#ifndef DEVICE_DEVICES_PRIV_H
#define DEVICE_DEVICES_PRIV_H

#include "device/devices.h"
#include "device/peer_fence.h"
#include "device/row_kind.h"
#include "store/ledger_round.h"

/* A place of a session, as it stands in memory. Its epoch: standing_place_epoch(). */
struct standing_place {
    struct channel_name *name;           /* owns a reference */
    uint64_t             seq      : 54;
    uint64_t             epoch_number : 4;  /* in devices.epochs, from 1; 0: in standing.rare, or there is none */
    uint64_t             is_unread : 1;  /* where other nodes write too: nobody knows here what the row holds, or whether there is one */
    uint64_t             is_moved : 1;   /* acknowledged since it was stored: the event is due with the next write */
    uint64_t             is_dirty : 1;   /* not stored yet */
    uint64_t             is_new   : 1;   /* the row must be set whatever it holds: its epoch or its marks changed */
    uint64_t             is_kept  : 1;
    uint64_t             is_gone  : 1;   /* no longer kept: the row is to be deleted, then the place */
};

_Static_assert(sizeof(struct standing_place) == 16, "every idle session pays for several");

/* What few sessions have. */
struct standing_rare {
    uint64_t *epochs;          /* of the places, in their order, where they have no number; NULL: all have one */
    char      device_class[];  /* empty: none */
};

/* One session in memory. */
struct standing {
    struct near_map_node   node;          /* in devices.standings */
    struct near_list       link;          /* in one of devices.lists */
    struct session_open   *op;            /* the opening under way, and behind it by `next` those that wait; NULL: none */
    struct channel_name   *channel;       /* device:USER/DEVICE, which is who it is; owns a reference */
    struct standing_place *places;        /* in the order of their names */
    struct standing_rare  *rare;          /* NULL mostly */
    struct device_home    *home;          /* of the link; NULL: none */
    uint64_t               key;           /* … its connection; also while is_fencing */
    uint64_t               generation;    /* 0: there is no session yet */
    msec                   asked_at : 40; /* … and when its opening was asked for, by a clock that starts with the machine; 0: not known */
    uint8_t                user_len;      /* read by loops: in no word with bits that the writer writes */
    uint8_t                link_back;     /* generation - that of its link, or of the link that is being told to go; LINK_LOST at most */
    uint8_t                from_back;     /* generation - session_row.from; 0: its opener named none */
    msec                   since : 48;
    uint64_t               handle_count : 16;  /* links that have not sent session_close */
    msec                   seen : 48;
    uint64_t               parted_until : 16;  /* is_parted: the tick, its lowest bits */
    uint64_t               compared      : 20; /* the round in which it was compared with the ledger (device_compare.c) */
    uint64_t               life          : 4;  /* of the database in which the generation was raised: in devices.epochs, from 1; 0: in
                                                * any. After it the same number may be given a second time */
    uint64_t               place_count   : 25;
    uint64_t               transport     : 4;  /* of the last link: in devices.transports, from 1; 0: not known */
    uint64_t               is_unsettled  : 1;  /* the generation was read while devices.is_unsettled */
    uint64_t               is_groupless  : 1;  /* standing_is_groupless() */
    uint64_t               is_loaded     : 1;  /* generation and places are those of the ledger */
    uint64_t               is_writing    : 1;  /* places of it are being written */
    uint64_t               is_seen_dirty : 1;  /* `seen` is not stored yet */
    uint64_t               is_idle       : 1;  /* in devices.lists->idle */
    uint64_t               is_fencing    : 1;  /* the loop of its older link is being told; what was acknowledged before that counts */
    uint64_t               is_between    : 1;  /* its last link was a poll: present until poll_lease_ms after `seen` */
    uint64_t               is_roaming    : 1;  /* it is polled, on any node */
    uint64_t               is_parted     : 1;  /* its link ended a moment ago: another node may ask what it acknowledged */
    uint64_t               is_yielded    : 1;  /* some of that was not stored, can't be any more, and nobody was told of it yet */
};

#ifndef POOL_IS_MALLOC
_Static_assert(sizeof(struct standing) == 104, "every idle session pays for one");
#endif
enum { STANDING_PLACES_MAX = (1 << 25) - 1 };

/* The session has been raised so often since its link was opened that what is said there counts for nothing any more. */
enum { LINK_LOST = UINT8_MAX };

/* The loop of its older link has not let it go yet, and may still say what was acknowledged on it. */
static inline bool standing_waits_for_loop(const struct devices *devices, const struct standing *standing)
{
    return standing->is_fencing && !devices->have_loops_ended;
}

static inline uint64_t standing_from(const struct standing *standing)
{
    return standing->from_back == 0 ? 0 : standing->generation - standing->from_back;
}

static inline struct span standing_class(const struct standing *standing)
{
    return standing->rare == NULL ? SPAN("") : span_str(standing->rare->device_class);
}

/* --- devices.c --- */

/* Of the last link; static. NULL: not known. */
const char      *standing_transport(const struct devices *devices, const struct standing *standing);
void             standing_set_transport(struct devices *devices, struct standing *standing, const char *transport);

uint32_t         user_hash(const struct devices *devices, struct span user);
struct standing *standing_find(const struct devices *devices, struct span user, struct span device);
struct standing *standing_get(struct devices *devices, struct span user, struct span device);
/* Frees it, or lets it linger, or puts it to those that have news: whatever fits its state. */
void             standing_settle(struct devices *devices, struct standing *standing);
/* Has it something to be stored? */
bool             standing_has_news(const struct standing *standing);
/* What is in memory is not believed any more. */
void             standing_forget(struct standing *standing);
void             standing_set_life(struct devices *devices, struct standing *standing, uint64_t epoch);
uint64_t         standing_life(const struct devices *devices, const struct standing *standing);
struct standing_place *standing_place_find(const struct standing *standing, struct span channel);
void             standing_places_free(struct standing *standing);
void             standing_set_class(struct standing *standing, struct span device_class);
/* The ledger surely has no row of the user in any group: it had none, and no membership has changed since. So it need not be
 * asked. Where other nodes write too, that is never sure. */
bool             standing_is_groupless(const struct devices *devices, const struct standing *standing);
/* 0: it is in no life of the log yet. */
uint64_t         standing_place_epoch(const struct devices *devices, const struct standing *standing,
                                      const struct standing_place *place);
void             standing_place_set_epoch(struct devices *devices, struct standing *standing, struct standing_place *place,
                                          uint64_t epoch);
/* Places that are gone end, unless that is still to be stored. */
void             standing_take_gone(struct standing *standing);
/* Adds the place in order; shares the name. */
struct standing_place *standing_place_add(struct standing *standing, struct channel_name *name);
bool             standing_is_online(const struct devices *devices, const struct standing *standing, msec wall);
/* Who waits until a loop has let a link go. */
struct fence_wait {
    void (*over)(struct fence_wait *wait);
};
/* Tells the loop of its link, if it has one, that the link is no longer the session's. The standing is_fencing until that is done:
 * then device_link_told() is called. `wait`: NULL, or told beside; not if there is no link. */
void             standing_fence(struct devices *devices, struct standing *standing, enum fence_reason reason,
                                struct fence_wait *wait);
/* Nothing of it is to be stored any more, because another node has taken it over. That may ask for its places (device_peer.c). */
void             standing_yield(struct standing *standing);
/* Nothing that is known of its places counts any more, stored or not. */
void             standing_drop_places(struct standing *standing);
/* Its link has ended. */
void             standing_part(struct devices *devices, struct standing *standing);
/* Is the link that the row names one of this start of this node? Also if it names none. */
bool             devices_have_link_of(const struct devices *devices, const struct session_row *row);
/* Each standing of a user. */
void             standings_walk(const struct devices *devices, struct span user,
                                void (*visit)(struct standing *standing, void *ctx), void *ctx);

/* --- device_io.c --- */

/* A read of the ledger; came() is called on the writer's thread, in a later turn. */
struct device_read {
    struct ledger_read read;
    struct command     command;
    struct devices    *devices;
    void             (*came)(struct device_read *read);
};

void device_read_send(struct devices *devices, struct device_read *read);

/* Several questions to the durable store at once. */
struct device_round {
    struct ledger_round round;
    struct command      command;
    struct devices     *devices;
    void              (*came)(struct device_round *round);
};

void device_round_send(struct devices *devices, struct device_round *round);

/* A write that goes with the next batch; done() likewise. */
struct device_write {
    struct ledger_write write;
    struct list         in_line;
    struct devices     *devices;
    void              (*done)(struct device_write *write);
    void              (*drop)(struct device_write *write);  /* it will never be written: frees it */
};

enum device_urgency { WRITE_URGENT, WRITE_LAZY };

void device_write_send(struct devices *devices, struct device_write *write, enum device_urgency urgency);
void device_io_submit(struct devices *devices);
/* Frees writes that were never given to the ledger. */
void device_writes_drop(struct list *line);

/* Asks where channels end. */
struct device_heads {
    struct store_heads heads;
    struct command     command;
    struct devices    *devices;
    void             (*came)(struct device_heads *heads);
};

void device_heads_send(struct devices *devices, struct store *store, struct device_heads *heads);

/* --- device_open.c --- */
void device_open_take(struct command *command, struct writer *writer);
void device_abandon_take(struct command *command, struct writer *writer);
/* Those that wait for others to end, as many as there is room for. */
void device_open_begin_waiting(struct devices *devices);
/* Nothing of the session is being written any more: goes on with the opening that waits for that. The standing has one, and may be freed. */
void device_open_go_on(struct standing *standing, enum ledger_outcome outcome);
/* Does its opening wait until what is known of its places is stored? */
bool device_open_is_storing(const struct standing *standing);
/* The ledger has refused, and nothing is tried for a moment: openings that wait for a write that has not begun go on, as if it had been
 * refused, too. */
void device_opens_refused(struct devices *devices);
/* One whose opening waits for a write that has not begun; or NULL. */
struct standing *device_open_first_unwritten(const struct devices *devices);


/* --- device_peer.c --- */
/* If another node has, or had, the link that `row` names: asks it to let go of links below `generation`, and lets `open` wait
 * for open_peer_back(). */
void device_peer_ask(struct session_open *open, struct span device, const struct session_row *row, uint64_t generation,
                     bool is_own);
/* Does the row name a link that may be on another node? */
bool device_peer_needs_asking(const struct devices *devices, const struct session_row *row);
/* A question to the node of such a row, for whoever waits for it; is_notice: nobody is to wait. To be sent by device_peer_send(), which may
 * settle it at once. */
struct peer_fence_ask *device_peer_ask_for(struct devices *devices, const struct session_row *row, const struct peer_fence *fence);
void                   device_peer_send(struct peer_fence_ask *ask);
/* The loop of the link has let it go, and has said all that was acknowledged on it: whoever waits for that goes on. */
void device_link_told(struct devices *devices, const struct channel_name *channel, uint64_t key);
/* As if its loop had been told: the session has ended, and what is said of it counts no more. May free the standing. */
void device_link_forget(struct devices *devices, struct standing *standing);
/* An opening of a session of the user with this hash has ended, or was too late: other nodes whose questions waited for it are answered. */
void device_calls_go_on(struct devices *devices, uint32_t hash);
/* The places of an older generation leave memory, because another node has the session: that node may not have asked for them yet. */
void device_peer_remember(struct devices *devices, const struct standing *standing);
/* What was remembered here of generations below this one counts for the opening, as if this node had been asked. */
void device_peer_take_older(struct session_open *open, uint64_t generation);
void device_peers_tick(struct devices *devices);
void device_peers_init(struct devices *devices);
void device_peers_fini(struct devices *devices);

/* --- device_unsure.c --- */
struct unsure_raise;
/* The opening is refused, and its raise may be written all the same: whom it replaces was not asked. */
void device_unsure_note(struct session_open *open);
/* Is the row that was read such a raise? Then it names this node, and work->replaced says what stood there before. */
void device_unsure_find(struct open_work *work);
/* The raise is written, and whoever it replaces is asked: by the opening itself, if the row before was a raise of this kind. */
void device_unsure_settle(struct session_open *open);
void device_unsure_ask(struct session_open *open);
/* Another node asks. NULL: there is no such raise that it replaces. */
struct unsure_raise *device_unsure_of(const struct devices *devices, uint32_t hash, const struct peer_fence *fence);
/* True: whom the raise replaces has told, or there is nobody to be told of. Else it is asked: then device_calls_go_on() follows,
 * perhaps at once. */
bool device_unsure_is_told(const struct devices *devices, const struct unsure_raise *raise);
void device_unsure_tell(struct devices *devices, struct unsure_raise *raise);
/* Links that it replaces have a lower generation. */
uint64_t device_unsure_below(const struct unsure_raise *raise);
/* Puts what was told into an answer; the raise ends. Returns how many places. */
size_t device_unsure_put_places(struct devices *devices, struct unsure_raise *raise, struct buf *answer);
/* Of a question that a raise waits for. */
void device_unsure_answered(struct peer_fence_ask *ask, struct span answer);
void device_unsure_settled(struct peer_fence_ask *ask, bool is_missing);
void device_unsure_tick(struct devices *devices);
void device_unsure_fini(struct devices *devices);

/* --- device_compare.c --- */
void device_compare_free(struct device_compare *compare);
void device_compare_tick(struct devices *devices);

/* --- device_look.c --- */
void device_looks_init(struct device_looks *looks);
void device_looks_tick(struct devices *devices);
void device_looks_fini(struct devices *devices);

/* --- device_places.c --- */
void device_acks_take(struct command *command, struct writer *writer);
void device_close_take(struct command *command, struct writer *writer);
void device_places_store(struct devices *devices);
/* … of sessions whose openings wait for that, and of no others. */
void device_places_store_awaited(struct devices *devices);
/* The named place counts, if it is ahead. True: something changed. */
bool standing_acknowledge(struct devices *devices, struct standing *standing, struct standing_place *place,
                          uint64_t epoch, uint64_t seq);

/* --- member_sweep.c --- */
void member_sweep_tick(struct devices *devices);
void member_sweep_free(struct member_sweep *sweep);  /* NULL is fine */

/* --- device_sweep.c --- */
struct device_sweep *device_sweep_new(struct devices *devices);
void                 device_sweep_free(struct device_sweep *sweep);
void                 device_sweep_tick(struct devices *devices);

/* --- device_list.c --- */
void device_listing_take(struct command *command, struct writer *writer);
void listing_work_free(struct device_listing *listing);

/* --- device_command.c --- */
struct session_fence {
    struct command       command;
    struct devices      *devices;
    struct device_home  *home;
    struct channel_name *channel;  /* the session's; owns a reference */
    uint64_t             key;
    enum fence_reason    reason;
    struct fence_wait   *wait;    /* NULL: nobody waits */
};

/* To the loop of the link that the standing has. */
void session_fence_send(struct devices *devices, const struct standing *standing, enum fence_reason reason, struct fence_wait *wait);

#endif
