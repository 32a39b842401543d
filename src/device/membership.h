/* membership.h - who is a member of which group: changes, and questions, from any loop by way of the writer.
 *
 * A change is one commit: the membership message in `user:U` carries the rows (group_spans.h). Before it, the group's head
 * is asked for, so that nothing that is published after the answer to a join is missed, and nothing that was published
 * before the request to leave:
 *
 *     loop ──JOIN──▶ row, counts, head ──▶ append to user:U, with the rows ──▶ answer
 *                        ▲                          │
 *                        └── another change came first (STALE) ──┘
 *
 * Where somebody asks for the events `joined` and `left`, their row (event_row.h) is in the same commit.
 *
 * A change that is true already is answered with the seq of the message that made it so, and nothing is written.
 * Conditions of the write decide between changes that race, also those of other processes. */
#ifndef DEVICE_MEMBERSHIP_H
#define DEVICE_MEMBERSHIP_H

#include "base/counter.h"
#include "device/member_count.h"
#include "node/shard.h"

enum {
    GROUP_MEMBERS_MAX    = 1000000,
    USER_GROUPS_MAX      = 10000,
    MEMBERSHIPS_AWAY_MAX = 20000,               /* changes and questions under way */
    MEMBERSHIP_TRIES_MAX = 10,
};

/* Owned beside the writer; its thread. `writer` is borrowed. */
struct event_outbox;  /* event_outbox.h */

struct memberships {
    struct member_counts counts;
    struct list          publishes;   /* that only members may make, and whose members are asked for */
    uint32_t             away_count;
    uint64_t             members_max, groups_max;  /* the maxima above; lower in tests */
    struct devices      *devices;     /* borrowed: they are told of changes; NULL: nobody is */
    struct event_outbox *events;      /* borrowed; NULL: nobody asks for `joined` and `left` */
    struct counter       unknown_leaves;  /* that ended MEMBERSHIP_BROKEN: nobody was told. Read on any thread */
};

void memberships_init(struct memberships *memberships);
void memberships_fini(struct memberships *memberships);  /* nothing is under way */

enum membership_request { MEMBERSHIP_ASK, MEMBERSHIP_JOIN, MEMBERSHIP_LEAVE };

enum membership_outcome {
    MEMBERSHIP_DONE,         /* is_member and seq are so now, durably */
    MEMBERSHIP_GROUP_FULL,   /* GROUP_MEMBERS_MAX */
    MEMBERSHIP_USER_FULL,    /* USER_GROUPS_MAX */
    MEMBERSHIP_BUSY,         /* too much is under way, or too many changes race */
    MEMBERSHIP_NO_SPACE,     /* the disk is full; nothing changed */
    MEMBERSHIP_AWAY,         /* the store can't be asked now; nothing changed */
    MEMBERSHIP_BROKEN,       /* perhaps changed, perhaps not */
    MEMBERSHIP_NOT_DURABLE,  /* the namespace `user` is configured not to be durable: members can't be kept */
};

enum membership_stage { MEMBERSHIP_CAME, MEMBERSHIP_ROW, MEMBERSHIP_COUNTS, MEMBERSHIP_HEAD, MEMBERSHIP_APPEND, MEMBERSHIP_MADE };

struct membership_command {
    struct command          command;
    struct memberships     *memberships;     /* borrowed */
    enum membership_request    request;
    struct channel_name    *user, *group;    /* user:U, group:G; own a reference each */
    char                    from[FROM_BYTES_MAX];
    size_t                  from_len;

    enum membership_outcome outcome;
    bool                    is_member;
    uint64_t                seq;             /* of the message that made it so; 0: there never was one, or it is
                                              * forgotten */
    void                  (*answered)(struct membership_command *command);  /* on the loop; takes the command */
    void                  (*settled)(struct membership_command *command);   /* at the writer instead, for those who ask
                                                                             * there; takes it */
    void                   *owner;

    /* The writer's. */
    enum membership_stage   stage;
    struct writer          *writer;
    unsigned                tries;
    struct ledger_read      read;
    struct ledger_key       key;
    char                    key_bytes[LEDGER_KEY_BYTES_MAX];
    struct group_spans      spans;
    uint64_t                generation;      /* of the row */
    struct store_heads      heads;
    struct store_head       head;
};

/* Shares the names; copies `from`. */
struct membership_command *membership_command_new(struct memberships *memberships, enum membership_request request,
                                                  struct channel_name *user, struct channel_name *group,
                                                  struct span from);

/* Is this user a member of the group that has the channel's name, whatever the channel's namespace? */
struct membership_command *membership_question_new(struct memberships *memberships, struct namespaces *spaces,
                                                   const struct hash_key *key, struct span user,
                                                   const struct channel_name *channel);

/* answered() is called with it, never at once. Takes it. */
void shard_ask_membership(struct shard *shard, struct membership_command *command);

/* --- lists ------------------------------------------------------------------------------------------------------ */

enum { MEMBERSHIP_LIST_MAX = 1000 };

/* A page of a group's members, or of a user's groups, in the order of their bytes. */
struct membership_list {
    struct command     command;
    struct channel_name *of;         /* group:G or user:U; owns a reference */
    bool               is_of_group;
    enum rc            rc;           /* RC_OK; RC_IO, RC_FULL, RC_CORRUPT: it can't be read now */
    void             (*answered)(struct membership_list *list);  /* on the loop; takes the command */
    void              *owner;

    struct ledger_read read;         /* its rows are those of the page */
    struct writer     *writer;       /* the writer's */
    bool               is_read;
    char               prefix[LEDGER_KEY_BYTES_MAX], after[LEDGER_KEY_BYTES_MAX];
};

/* `after`: the last name seen, or empty; at most LEDGER_KEY_BYTES_MAX / 2 bytes. `limit`: 1 … MEMBERSHIP_LIST_MAX. */
struct membership_list *membership_list_new(struct channel_name *of, bool is_of_group, struct span after,
                                            uint32_t limit);
void shard_list_membership(struct shard *shard, struct membership_list *list);

/* The next name of the page, borrowed; *at counts from 0. Groups that the user has left are passed over. */
bool membership_list_next(const struct membership_list *list, size_t *at, struct span *ret_name);
/* Where the next page begins; empty: this was the last one. */
struct span membership_list_more(const struct membership_list *list);

#endif
