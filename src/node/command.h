/* command.h - what loops and the writer tell each other. Between threads go only commands.
 *
 * A loop writes a command, the writer carries it out and sends the same command back as its answer: no answer
 * needs memory that its question did not bring. DELIVER alone is written by the writer. Whoever holds a
 * command owns it. */
#ifndef NODE_LETTER_H
#define NODE_LETTER_H

#include "store/store.h"

enum command_kind {
    COMMAND_PUBLISH,    /* loop → writer → loop, answered */
    COMMAND_READ,       /* loop → writer → loop, answered; both histories and the hub's pages */
    COMMAND_FOLLOW,     /* loop → writer → loop, answered once the head is known */
    COMMAND_UNFOLLOW,   /* loop → writer, ends there */
    COMMAND_DELIVER,    /* writer → loop, ends there */
    COMMAND_COMMITTED,  /* store → writer: a batch is done */
    COMMAND_HEAD,       /* store → writer: the head of a channel that somebody wants to follow */
    COMMAND_STATS,      /* loop → writer → loop: numbers for pages and probes */
    COMMAND_COUNT,      /* loop → writer → each loop that follows, one after the other → loop: who is there? */
    COMMAND_SNAPSHOT,   /* main → loop or writer, ends there: a new configuration; main's own, no room below opens it */
};

struct command {
    struct command   *next;  /* in a mailbox or a bundle */
    enum command_kind kind;
    unsigned         loop;  /* who wrote it, and gets the answer */
};

/* How a publish ended: the store's outcomes, and one of our own. */
enum publish_outcome {
    PUBLISH_DONE,
    PUBLISH_REPLAYED,
    PUBLISH_KEY_CONFLICT,
    PUBLISH_NO_TARGET,
    PUBLISH_NO_SPACE,
    PUBLISH_BROKEN,
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

struct writer;

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
    struct command   command;
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

/* Does it speak of a log? Such commands must reach their loop in the order in which they were sent, whatever else may
 * overtake them: a head or a page that comes before the messages it knows of makes old news of them. */
bool command_tells_of_log(const struct command *command);

/* Frees it with all that it owns; NULL is fine. */
void command_free(struct command *command);

#endif
