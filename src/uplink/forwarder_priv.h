/* forwarder_priv.h - what the parts of the forwarders ask of each other. Private to them.
 *
 *     forwarder.c           life, options, which channels are behind, how many batches are under way
 *     forwarder_channel.c   one channel: its cursor, a page, the batch, its end
 *     forwarder_io.c        rows: cursors that are read, writes in batches
 *     forwarder_part.c      leases: taking parts over, giving them up, losing them
 *     forwarder_sweep.c     all channels are looked at for those that are behind
 *     forwarder_dead.c      what nobody takes goes to sys:dead
 *     forwarder_hint.c      heads that other nodes are told, and are told by */
#ifndef UPLINK_FORWARDER_PRIV_H
#define UPLINK_FORWARDER_PRIV_H

#include "uplink/forwarder.h"

enum channel_state {
    CHANNEL_NEW,      /* its cursor is being read, or waits for that */
    CHANNEL_IDLE,     /* the back end has taken all; in forwarder.idle */
    CHANNEL_READY,    /* it is behind, and waits for its turn; in forwarder.ready */
    CHANNEL_BUSY,     /* a batch of it is under way: see enum batch_stage; in forwarder.busy */
    CHANNEL_REFUSED,  /* it is sent again later; in forwarder.refused */
};

/* What a busy channel waits for. */
enum batch_stage { BATCH_READ, BATCH_FIXED, BATCH_SENT, BATCH_MOVED, BATCH_BURIED };

struct forwarder_channel {
    struct map_node        node;
    struct list            link;      /* see channel_state; NEW: in forwarder.unread, or in none while it is being read */
    struct list            in_part;
    struct forwarder_part *part;
    struct channel_name   *name;      /* owns a reference */
    enum channel_state     state;
    enum batch_stage       stage;
    struct cursor_row      cursor;
    uint64_t               version;   /* the generation of its row; 0: there is none */
    uint64_t               epoch;     /* of the log, as it was last heard of; 0: not yet */
    uint64_t               head;
    msec                   since;     /* wall clock of the first message that it is behind by, about */
    msec                   until;     /* REFUSED */
    uint32_t               failures;  /* of the batch, in a row */
    uint32_t               refusals;  /* of the one message that the batch is */
    uint32_t               limit;     /* places in a batch, after the back end refused one; 0: as configured */
    uint64_t               split_end; /* … until the cursor is there */
    bool                   is_dirty;  /* the cursor has moved, and the row does not say so yet */
    bool                   is_gone;   /* freed when what is under way comes back */
    struct forwarder_batch *batch;    /* BUSY */
};

/* What a busy channel has under way. */
struct forwarder_batch {
    struct forwarder_channel *channel;
    struct forwarders        *set;
    struct entry             *entries;  /* owned; of the page */
    size_t                    count;
    uint64_t                  messages; /* that are in the body */
    size_t                    buried;   /* BURIED: entries that are done with */
    unsigned                  status;   /* of the last answer; 0: none came */
    struct backend_call       call;
};

enum part_state {
    PART_FOREIGN,   /* this node does not carry it */
    PART_READING,   /* its row is read, in order to take it over */
    PART_TAKING,
    PART_HELD,
    PART_GIVING,    /* it is given up */
};

struct forwarder_part {
    struct forwarder *forwarder;
    unsigned          index;
    enum part_state   state;
    uint64_t          number;     /* of the own lease, or of the row as it was read */
    bool              is_wanted;  /* this node is to carry it … */
    msec              wanted_at;  /* … since then, though another node still has it; 0: not yet known */
    msec              look_at;    /* FOREIGN: when its row is read next */
    struct list       channels;   /* forwarder_channel.in_part */
    uint32_t          busy_count; /* of them, those with something under way */
    /* Who is to carry it, as far as is known; for hints. NULL name: nobody. */
    char              carrier[NODE_RECORD_NAME_MAX + 1];
    uint64_t          carrier_incarnation;
    struct part_io   *io;         /* READING, TAKING, GIVING */
};

struct forwarder_sweep;

struct forwarder {
    struct forwarders       *set;
    char                     name[FORWARDER_NAME_BYTES_MAX + 1];  /* stays, so that any thread may read it */
    struct forwarder_options options;
    struct forwarder_part    parts[FORWARDER_PARTS];
    bool                     is_active;   /* the settings name it */
    struct map               channels;
    struct list              unread, ready, idle, busy, refused;
    uint32_t                 channel_count, idle_count, refused_count, under_way;
    uint32_t                 window;      /* batches under way at once */
    uint32_t                 failures;    /* of batches, without a success between them */
    msec                     paused_until;
    msec                     unread_after; /* cursors are not read before */
    struct forwarder_sweep  *sweep;       /* under way, or NULL */
    bool                     needs_sweep;
    msec                     sweep_at;     /* the next one is due then … */
    msec                     sweep_after;  /* … or at once if needs_sweep, but not before this: one has just failed */
    struct forwarder_counters counters;
};

/* --- forwarder.c --- */
struct forwarder_channel *forwarder_channel_find(const struct forwarder *forwarder, const struct channel_name *name);
/* Made if it is not there; NULL: there are too many, and a sweep is due later. Shares the name. */
struct forwarder_channel *forwarder_channel_get(struct forwarder_part *part, struct channel_name *name);
void                      forwarder_channel_drop(struct forwarder_channel *channel);
/* What one that was dropped had under way has come back: it is freed. */
void                      forwarder_channel_back(struct forwarder_channel *channel);
/* Up to there its log was written. `since`: wall clock of what is new; 0: not known. */
void forwarder_channel_heard(struct forwarder_channel *channel, uint64_t epoch, uint64_t head, msec since);
/* From its row, or without one (version 0). */
void forwarder_channel_loaded(struct forwarder_channel *channel, const struct cursor_row *row, uint64_t version);
/* It is not busy any more, and goes where it belongs: ready, idle. */
void forwarder_channel_settle(struct forwarder_channel *channel);
/* … or it waits until then. */
void forwarder_channel_wait(struct forwarder_channel *channel, msec until);
void forwarder_took(struct forwarder *forwarder);
/* Nothing is sent for a while. `at_least_ms`: as the back end says. */
void forwarder_failed(struct forwarder *forwarder, bool is_down, msec at_least_ms);
msec forwarder_retry_ms(const struct forwarder *forwarder, uint32_t failures);
/* Does another channel wait for its turn? */
bool forwarder_has_ready(const struct forwarder *forwarder);
/* Another node says that it was written up to there. */
void forwarder_hear_told(struct forwarder *forwarder, struct channel_name *name, uint64_t epoch, uint64_t head);
void forwarder_count_behind(struct forwarder_channel *channel, uint64_t before);
/* Does the back end get this message? */
bool forwarder_wants(const struct forwarder_options *options, const struct message *message);
uint64_t forwarder_channel_behind(const struct forwarder_channel *channel);

/* --- forwarder_channel.c --- */
/* A ready channel's turn. */
void forwarder_batch_begin(struct forwarder_channel *channel);
/* Every entry of the batch is done with: the cursor moves behind it. */
void forwarder_batch_done(struct forwarder_batch *batch);
/* It is sent again after a while. */
void forwarder_batch_again(struct forwarder_batch *batch, bool is_down, msec at_least_ms);
void forwarder_batch_cancel(struct forwarder_batch *batch);

/* --- forwarder_io.c --- */
struct forwarder_write {
    struct forwarders   *set;
    struct list          in_line;
    struct ledger_write  write;
    struct ledger_change changes[2];
    void               (*done)(struct forwarder_write *write);  /* on the writer's thread; takes it */
    void                *owner;
    struct buf           bytes;      /* of keys and values */
};
/* Puts a row. With `number`: on the condition that the part's lease still has this number. Takes nothing. */
struct forwarder_write *forwarder_write_cursor(struct forwarder_channel *channel, uint64_t number);
struct forwarder_write *forwarder_write_lease(struct forwarder_part *part, struct span node, uint64_t incarnation);
void                    forwarder_write_send(struct forwarder_write *write, void *owner,
                                             void (*done)(struct forwarder_write *write));
void                    forwarder_write_free(struct forwarder_write *write);
void                    forwarders_submit(struct forwarders *set);
/* The cursors of channels that are new are read. */
void                    forwarder_load(struct forwarder *forwarder);

/* A question to the ledger; came() gets it on the writer's thread. */
struct forwarder_read {
    struct command     command;
    struct forwarders *set;
    struct ledger_read read;
    void             (*came)(struct forwarder_read *read);
};
void forwarder_read_send(struct forwarders *set, struct forwarder_read *read, void (*came)(struct forwarder_read *read));
void forwarders_never_free(struct command *command);

/* --- forwarder_part.c --- */
void forwarder_parts_init(struct forwarder *forwarder);
void forwarder_parts_judge(struct forwarder *forwarder);
void forwarder_parts_tick(struct forwarder *forwarder);
/* Another node has taken it. */
void forwarder_part_lost(struct forwarder_part *part);
bool forwarder_parts_are_quiet(const struct forwarder *forwarder);
struct forwarder_part *forwarder_part_of(struct forwarder *forwarder, const struct channel_name *name);

/* --- forwarder_sweep.c --- */
void forwarder_sweep_tick(struct forwarder *forwarder);

/* --- forwarder_dead.c --- */
/* What is left of the batch goes to sys:dead, then the cursor moves. */
void forwarder_bury(struct forwarder_batch *batch);

/* --- forwarder_hint.c --- */
/* The carrier of the part is told at the end of the turn. */
void forwarder_announce(struct forwarder_part *part, struct channel_name *name, uint64_t epoch, uint64_t head);
void forwarders_tell(struct forwarders *set);
void forwarders_untell(struct forwarders *set);

#endif
