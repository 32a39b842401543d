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

#include "base/mail.h"
#include "store/store.h"

struct command;
struct shard;
struct writer;

struct command_kind {
    const char *name;  /* for traces and broken promises */
    /* Frees the command with all that it owns. */
    void (*free)(struct command *command);
    /* Carries it out there. Takes it. NULL: this kind is never sent there. */
    void (*at_loop)(struct command *command, struct shard *shard);
    void (*at_writer)(struct command *command, struct writer *writer);
    /* It tells a loop of a log: messages, a head or a page. A loop may let such commands wait, but they must not
     * overtake one another: a head or a page that comes before the messages it counts makes the loop drop those
     * messages as old, and all its readers read the log. */
    bool is_of_log;
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
extern const struct command_kind stats_kind;     /* loop, writer, loop: numbers for pages and probes */
extern const struct command_kind count_kind;     /* loop, writer, each loop that follows in turn, loop: who is there? */

/* How a publish ended: the store's outcomes, and one of the node's own. */
enum publish_outcome {
    PUBLISH_DONE,
    PUBLISH_REPLAYED,
    PUBLISH_KEY_CONFLICT,
    PUBLISH_NO_TARGET,
    PUBLISH_NO_SPACE,
    PUBLISH_BROKEN,
    PUBLISH_AWAY,  /* the engine can't be reached, or has not come to it in time: certainly not stored: 503 */
    PUBLISH_BUSY,  /* too much is waiting in the writer already: 429 */
};

struct publish_command {
    struct command        command;
    struct append        append;    /* append.message: the command owns a reference */
    enum publish_outcome outcome;
    struct append_answer answer;    /* PUBLISH_DONE and PUBLISH_REPLAYED */
    void               (*answered)(struct publish_command *command);  /* on the loop; takes the command */
    void                *owner;     /* the asker's; NULL once the asker is gone */
    char                 words[];   /* what append.key and append.publisher point at */
};

/* Who may answer a READ. */
enum read_source {
    READ_STORE,          /* the store: `first` and `bytes` matter too, as they are now */
    READ_TAIL_OR_STORE,  /* the entries alone matter: memory answers if it can */
    READ_MEMORY,         /* … and nobody else: RC_BUSY if they are in the durable store only */
};

struct read_command {
    struct command     command;
    struct store_read read;         /* read.channel: the command owns a reference */
    enum read_source  source;
    bool              is_done;      /* the writer's: the store has answered */
    struct writer    *writer;       /* the writer's: where the store's answer goes */
    void            (*answered)(struct read_command *command);
    void             *owner;
};

struct follow_command {
    struct command        command;
    struct channel_name *channel;   /* owns a reference */
    uint64_t             epoch, first, head;
};

enum { DELIVER_MESSAGES_MAX = 256 };

struct deliver_command {
    struct command  command;
    uint32_t        count;
    struct message *messages[DELIVER_MESSAGES_MAX];  /* owns a reference each */
};

struct writer_stats {
    size_t   waiting_count;      /* publishes that wait for the durable store, its present group included */
    size_t   waiting_bytes;
    msec     busy_ms;            /* how long the durable store has had its present group; 0: it has none */
    size_t   tail_count;         /* channels the writer has in mind */
    size_t   tail_bytes;
    size_t   followed_count;     /* of them, followed by some loop */
};

struct stats_command {
    struct command       command;
    struct writer_stats stats;
    void              (*answered)(struct stats_command *command);
    void               *owner;
};

/* Goes round the loops that follow a channel, by way of the writer, and home to its asker. */
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

/* A command with room for the words of its append (copied and pointed at). Takes *take_message. */
struct publish_command *publish_command_new(struct message **take_message, struct span key, struct span publisher);
/* Shares the name. */
struct read_command    *read_command_new(struct channel_name *channel);
struct count_command   *count_command_new(struct channel_name *channel);

static inline struct command *command_of(struct mail *mail)
{
    return container_of(mail, struct command, mail);
}

/* Frees it with all that it owns; NULL is fine. */
void command_free(struct command *command);

#endif
