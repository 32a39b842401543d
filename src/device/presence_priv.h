/* presence_priv.h - what the parts of the presence ask of each other. Private to this module.
 *
 *     presence.c        who is in which set        presence_tell.c   who is told of changes
 *     presence_list.c   who asks for sets          presence_command.c  the commands
 *     presence_peer.c   the same on other nodes */
#ifndef DEVICE_PRESENCE_PRIV_H
#define DEVICE_PRESENCE_PRIV_H

#include "device/presence.h"
#include "device/presence_command.h"

/* A link by which a device follows a channel. */
struct presence_link {
    struct presence_link *next;
    uint64_t              key;        /* of the connection; of a device on another node: of that start of the node */
    const char           *transport;  /* static */
    bool                  is_remote;
    uint32_t              set;        /* … the number of the whole set that it was in last */
};

/* A device in the set of a channel. One that has left stays until that was told, without links and without a number. */
struct presence_member {
    struct list              of_device;   /* in presence_device.members */
    struct list              in_changed;  /* in presence_channel.changed; unlinked: nothing is to be told */
    struct list              in_lease;    /* in presence.cut or .polled; unlinked: it has links, or has left */
    struct presence_channel *channel;
    struct presence_device  *device;
    struct presence_link    *links;       /* the newest first */
    const char              *transport;   /* of the last link */
    uint64_t                 number;      /* its place in the set; 0: it is not in it */
    msec                     since;       /* wall clock */
    msec                     until;       /* of in_lease */
    bool                     is_known;    /* those who are told of changes have it in their sets */
    bool                     is_cut;      /* in_lease: its link was cut, and no poll is awaited */
};

/* Is it here by a link of this node, or expected back on one? */
static inline bool presence_member_is_local(const struct presence_member *member)
{
    if (list_is_linked(&member->in_lease))
        return true;
    for (const struct presence_link *link = member->links; link != NULL; link = link->next)
        if (!link->is_remote)
            return true;
    return false;
}

struct presence_device {
    struct map_node node;        /* in presence.devices, by the hash of the user */
    struct list     members;
    uint8_t         user_len, device_len;
    char            names[];
};

static inline struct span presence_device_user(const struct presence_device *device)
{
    return span_of(device->names, device->user_len);
}

static inline struct span presence_device_name(const struct presence_device *device)
{
    return span_of(device->names + device->user_len, device->device_len);
}

/* What a set is like: two nodes that have the same one agree in both. */
struct presence_set {
    uint64_t count;
    uint64_t digest;  /* the exclusive or over the devices' hashes */
};

/* What another node has in a channel, as far as this node knows. */
struct presence_peer {
    struct presence_peer *next;
    uint64_t              incarnation;
    struct presence_set   set;
    uint32_t              set_number;  /* of the last whole set */
    bool                  is_heard;    /* in the round of questions under way */
};

/* The set of a channel, and who is told of its changes:
 *
 *     slots   [3 ann/phone][5 -][6 bob/web][9 ann/pad]     by number; the hole of 5 has left
 *     changed  6 has come, 5 has left                      to be told */
struct presence_channel {
    struct map_node        node;       /* in presence.channels */
    struct list            in_all, in_news;
    struct channel_name   *name;       /* owns a reference */
    struct presence_slot {
        uint64_t                number;
        struct presence_member *member;  /* NULL: it has left */
    }                     *slots;
    size_t                 slot_count, slot_cap;
    uint64_t               count;      /* without the holes */
    struct list            changed;
    uint32_t               changed_count, changed_words;
    bool                   is_over;    /* changes were dropped: the number alone is to be told */
    int64_t                credit;     /* thousandths of frames that may be caused now */
    msec                   credit_at;
    uint64_t               watch_count;
    struct presence_watches {
        uint32_t count;
        bool     is_beginning;         /* somebody there has yet to be told the number */
    }                     *watches;    /* of each loop; NULL: nobody is told */
    bool                   has_beginners;
    bool                   is_syncing;    /* other nodes are asked for their sets: nobody is told anything meanwhile */
    struct presence_set    local;         /* of this node */
    struct list            in_saying, in_watched;
    struct buf             said;          /* changes that other nodes are to be told */
    bool                   is_said_over;  /* there were too many: they are told what the set is like now */
    msec                   asked_at;      /* when other nodes are asked for their sets next */
    struct presence_peer  *peers;
};

/* --- presence.c --- */
struct presence_channel *presence_channel_find(const struct presence *presence, const struct channel_name *name);
/* Makes it if it is not there. */
struct presence_channel *presence_channel_get(struct presence *presence, struct channel_name *name);
/* Frees it if nobody is in it and nobody is told. */
void presence_channel_settle(struct presence *presence, struct presence_channel *channel);
void presence_member_free(struct presence *presence, struct presence_member *member);
/* The first slot behind this number. */
size_t presence_slot_behind(const struct presence_channel *channel, uint64_t number);
/* Calls visit() for each device of a user. */
void presence_walk(const struct presence *presence, struct span user,
                   void (*visit)(const struct presence_device *device, void *ctx), void *ctx);

/* A device of another node is there, or no longer. `set`: the number of a whole set that says so; 0: a change. */
void presence_remote_come(struct presence *presence, struct presence_channel *channel, struct presence_peer *peer,
                          const struct presence_who *who, msec since, uint32_t set);
void presence_remote_go(struct presence *presence, struct presence_channel *channel, struct presence_peer *peer,
                        const struct presence_who *who);
/* All of that node; `but`: except those of the whole set with this number, 0: without exception. */
void presence_remote_drop(struct presence *presence, struct presence_channel *channel, struct presence_peer *peer, uint32_t but);
void presence_set_toggle(struct presence_set *set, const struct presence_device *device, bool is_there);

/* --- presence_peer.c --- */
/* The member has come to this node, or has left it; it may be there by another one. Not yet freed. */
void presence_say(struct presence *presence, const struct presence_member *member, bool is_there);
/* The first client is told of changes from now on; or the last one no longer. */
void presence_peers_begin(struct presence *presence, struct presence_channel *channel);
void presence_peers_end(struct presence *presence, struct presence_channel *channel);
void presence_peers_tick(struct presence *presence);
void presence_peers_fini(struct presence *presence);
/* At the end of the channel. */
void presence_peers_forget(struct presence_channel *channel);

enum { PRESENCE_SAID_BYTES_MAX = 32 * 1024 };

/* --- presence_tell.c --- */
void presence_list_news(struct presence *presence, struct presence_channel *channel);
void presence_drop_changes(struct presence *presence, struct presence_channel *channel);

/* The member has come into its set, or has left it. A member that has left may be freed here. */
void presence_note_change(struct presence *presence, struct presence_member *member);
/* Tells what is due. */
void presence_tell(struct presence *presence);

/* --- presence_list.c --- */
void presence_listing_take(struct command *command, struct writer *writer);
void presence_question_take(struct command *command, struct writer *writer);

#endif
