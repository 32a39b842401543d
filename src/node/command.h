/* command.h - what loops and the writer send each other. Between threads go only commands.
 *
 * A loop sends a command, the writer carries it out and sends the same command back as its answer: an answer needs no
 * memory that its question did not bring. DELIVER alone begins at the writer. Whoever holds a command owns it.
 *
 * A command brings the table of its kind along: what happens to it at a loop, at the writer, and when nobody wants it
 * any more. A module above this one adds a command of its own by a struct that holds a `struct command` and a table;
 * nothing here knows of it. It finds its own structures from the shard or the writer that it is handed
 * (container_of), or carries what it needs. */
#ifndef NODE_COMMAND_H
#define NODE_COMMAND_H

#include "base/counter.h"
#include "base/mail.h"
#include "base/ref.h"
#include "store/store.h"

struct command;
struct shard;
struct writer;

struct command_kind {
    const char *name;  /* for traces and failed must() */
    /* Frees the command with all that it owns. */
    void (*free)(struct command *command);
    /* Carries it out there. Takes it. NULL: this kind is never sent there. */
    void (*at_loop)(struct command *command, struct shard *shard);
    void (*at_writer)(struct command *command, struct writer *writer);
    /* The command tells a loop about a log: messages, a head or a page. A loop may let such commands wait, but they
     * must not overtake one another: if a head or a page came before the messages that it counts, the loop would drop
     * those messages as old and all its readers would read the log. */
    bool is_of_log;
    /* At the writer it takes no longer than a publish, and waits for nobody: a loop may have it carried out while the writer's thread
     * rests (main/writer_lock.h). */
    bool is_brief;
    /* It is posted by a thread of the store, which has made a commit: so many publishes or writes end with it. NULL: it is of another
     * kind. Where they are few, that thread carries the command out itself (main/writer_thread.c). */
    size_t (*ended_count)(const struct command *command);
};

struct command {
    struct mail                mail;  /* in a mailbox, a bundle or a list */
    const struct command_kind *kind;
    unsigned                   loop;  /* who sent it, and gets the answer */
};

extern const struct command_kind publish_kind;   /* loop, writer, loop */
extern const struct command_kind read_kind;      /* loop, writer, loop: history, and the hub's pages */
extern const struct command_kind follow_kind;    /* loop, writer, loop: answered once the head is known */
extern const struct command_kind unfollow_kind;  /* loop, writer */
extern const struct command_kind deliver_kind;   /* writer, loop */
extern const struct command_kind moved_kind;     /* writer, loop */
extern const struct command_kind purged_kind;    /* writer, then each loop that follows, writer */
extern const struct command_kind heartbeat_kind; /* loop, writer, loop: has every hint come? */
extern const struct command_kind stats_kind;     /* loop, writer, loop: numbers for pages and probes */
extern const struct command_kind count_kind;     /* loop, writer, then each loop that follows, loop: how many
                                                  * subscriptions? */
extern const struct command_kind listing_kind;   /* loop, writer, then each loop that follows one of them, loop: which
                                                  * channels are there? */

/* How a publish ended: the store's outcomes, and one of the node's own. */
enum publish_outcome {
    PUBLISH_DONE,
    PUBLISH_REPLAYED,
    PUBLISH_KEY_CONFLICT,
    PUBLISH_NO_TARGET,
    PUBLISH_NO_SPACE,
    PUBLISH_BROKEN,
    PUBLISH_AWAY,  /* the engine can't be reached, or did not begin it in time; certainly not stored: 503 */
    PUBLISH_PURGED, /* of a purge: append.purged says what is gone, and no loop of this node delivers any of it */
    PUBLISH_BUSY,  /* too much is waiting in the writer already: 429 */
    PUBLISH_NO_MEMBER, /* only members may publish there, and the publisher is none */
    PUBLISH_TOO_OFTEN, /* to everyone, more often than all_per_s allows: 429 */
    PUBLISH_TOO_FAR, /* to a connection of another node, and too large to travel there: 413 */
    PUBLISH_STALE, /* of one with rows: a condition did not hold; nothing was stored */
};

/* What travels to the writer in place of a publish, and decides there whether the publish is made. */
struct publish_gate {
    struct command          command;
    struct publish_command *publish;  /* owned; NULL: it was taken back */
};

struct publish_command {
    struct command        command;
    struct append        append;    /* append.message: the command owns a reference */
    enum publish_outcome outcome;
    struct append_answer answer;    /* PUBLISH_DONE and PUBLISH_REPLAYED */
    void               (*answered)(struct publish_command *command);  /* on the loop; takes the command */
    /* At the writer, instead of answered() on the loop; takes the command. For those who publish there, whose message may
     * carry rows (append.write). NULL: the answer goes to the loop */
    void               (*settled)(struct publish_command *command, struct writer *writer);
    struct publish_gate *gate;      /* goes to the writer in place of it, and owns it from shard_publish() on; NULL: none */
    void                *rows;      /* owned: the memory of append.write and of what it points at; NULL: none */
    void                *owner;     /* who gets the answer; NULL once it is gone */
    uint32_t             tick;      /* the writer's: when it came */
    uint8_t              via_loop;  /* of a publish to a connection: the loop that it visits first */
    bool                 is_late;   /* its deadline passed while the store had it: it was answered, and the store still
                                     * holds `append`. Then `ref` counts the owners, and the last one frees it */
    struct ref           ref;
    /* Behind it: room for its owner, and what append.key and append.publisher point at. */
};

/* Who may answer a READ. */
enum read_source {
    READ_STORE,          /* the store: `first` and `bytes` matter too, as they are now */
    READ_TAIL_OR_STORE,  /* the entries alone matter: memory answers if it can */
    READ_MEMORY,         /* memory alone: RC_BUSY if they are in the durable store only */
};

struct read_command {
    struct command     command;
    struct store_read read;         /* read.channel: the command owns a reference */
    enum read_source  source;
    bool              is_done;      /* the writer's: the store has answered */
    bool              is_shared;    /* the writer's: others wait for its page */
    uint8_t           waits;        /* the writer's: for the page of another one */
    struct writer    *writer;       /* the writer's: where the store's answer goes */
    void            (*answered)(struct read_command *command);
    /* At the writer, instead of answered() on the loop; takes the command. For those who read there. NULL: the answer goes
     * to the loop */
    void            (*settled)(struct read_command *command, struct writer *writer);
    void             *owner;
};

struct follow_command {
    struct command        command;
    struct channel_name *channel;   /* owns a reference */
    uint64_t             question;  /* the hub's number */
    uint64_t             epoch, first, head;
};

/* What the writer has sent one loop, and what of it the loop has taken. The loop counts what it frees, so that an
 * acknowledgement costs no command and no system call. */
struct loop_account {
    uint64_t       number;       /* of the last hint; the writer's */
    uint64_t       sent_count, sent_bytes;
    char           apart[64];    /* the two threads write to cache lines of their own */
    struct counter taken_count, taken_bytes;  /* the loop's */
};

/* What DELIVER and MOVED have in common. They are hints: a loop that misses one sees that a number is missing. */
struct hint {
    struct command       command;
    struct loop_account *account;  /* counts what is taken; NULL: nobody does */
    uint64_t             number;   /* hints to one loop are numbered from 1 */
    uint64_t             bytes;
    uint32_t             count;
};

enum { DELIVER_MESSAGES_MAX = 256, MOVED_HEADS_MAX = 256 };

struct deliver_command {
    struct hint     hint;
    struct message *messages[DELIVER_MESSAGES_MAX];  /* owns a reference each */
};

/* The heads of these logs have moved; the messages don't come. */
struct moved_command {
    struct hint hint;
    struct moved_head {
        struct channel_name *channel;  /* owns a reference */
        uint64_t             epoch, first, head;
    } heads[MOVED_HEADS_MAX];
};

/* A channel was purged: each loop that follows lets go of what is gone, and then the one who asked is answered. So
 * nothing of it is delivered after the answer. */
struct purged_command {
    struct command          command;
    struct channel_name    *channel;   /* owns a reference */
    uint64_t                epoch, head;
    uint64_t                to_visit;  /* a bit a loop */
    struct publish_command *publish;   /* owned, to be answered at the end; NULL: it was answered before, because its
                                        * deadline had passed */
};

/* The loop asks what the last hint was, and learns whether one is missing. */
struct heartbeat_command {
    struct command command;
    bool           is_hint_lost;  /* a hint is lost: the writer sends all heads that the loop follows */
    uint64_t       number;        /* the answer */
};

struct writer_stats {
    size_t   waiting_count;      /* publishes that wait for a store, or are with it */
    size_t   waiting_bytes;
    msec     busy_ms;            /* how long the durable store has had its oldest batch; 0: it has none */
    size_t   tail_count;         /* channels that the writer has a tail of */
    size_t   tail_bytes;
    size_t   followed_count;     /* of them, followed by some loop */
};

struct stats_command {
    struct command       command;
    struct writer_stats stats;
    void              (*answered)(struct stats_command *command);
    void               *owner;
};

/* Visits the loops that follow a channel, each by way of the writer, and returns to the loop that asked. */
struct count_command {
    struct command        command;
    struct channel_name *channel;   /* owns a reference */
    unsigned             asker;
    bool                 is_going;  /* has been to the writer */
    bool                 is_home;   /* has been everywhere */
    uint64_t             to_visit;  /* a bit a loop */
    uint64_t             count;
    void               (*answered)(struct count_command *command);
    void                *owner;
};

enum listing_stage {
    LISTING_NAMED,     /* the asker knows the channels: they are only counted */
    LISTING_ASKED,     /* the durable store has yet to answer */
    LISTING_STORED,    /* it has; the memory store has yet to be asked */
    LISTING_REMEMBERED, /* the memory store has answered, too */
    LISTING_COUNTING,  /* visits the loops that follow some of the channels */
    LISTING_HOME,
};

/* A page of the channels of both stores in one order; only the store that a channel's namespace says counts. */
struct listing_command {
    struct command       command;
    struct store_listing listing;      /* the question, and the merged answer */
    struct store_listing durable;      /* the writer's: the answers of the stores */
    struct store_listing memory;
    uint64_t            *subscribers;  /* of each channel of the answer */
    enum listing_stage   stage;
    unsigned             asker;
    uint64_t             to_visit;     /* a bit a loop */
    struct writer       *writer;       /* the writer's: where the stores' answers go */
    void               (*answered)(struct listing_command *command);
    void                *owner;
    char                 words[];      /* what listing.prefix and listing.after point at */
};

/* A command with memory for the texts of its append, which are copied there. Takes *take_message. */
struct publish_command *publish_command_new(struct message **take_message, struct span key, struct span publisher);
/* The same with room for its owner, which lives as long as the command: *ret_room has `room_bytes`, aligned as malloc's. */
struct publish_command *publish_command_new_with(struct message **take_message, struct span key, struct span publisher,
                                                 size_t room_bytes, void **ret_room);
/* Empties the channel. Shares the name. */
struct publish_command *purge_command_new(struct channel_name *channel);
/* Shares the name. */
struct read_command    *read_command_new(struct channel_name *channel);
struct count_command   *count_command_new(struct channel_name *channel);
struct listing_command *listing_command_new(struct span prefix, struct span after, uint32_t limit);
/* Counts those who follow channels that listing_command_name() adds, at most LISTING_CHANNELS_MAX. */
struct listing_command *listing_command_counting(void);
/* Takes the reference. */
void listing_command_name(struct listing_command *command, struct channel_name **take_name);

static inline struct command *command_of(struct mail *mail)
{
    return container_of(mail, struct command, mail);
}

/* Frees it with all that it owns; NULL is fine. */
void command_free(struct command *command);

#endif
