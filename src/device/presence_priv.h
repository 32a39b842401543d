/* presence_priv.h - what the parts of the presence ask of each other. Private to this module.
 *
 *     presence.c        who is in which set        presence_tell.c   who is told of changes
 *     presence_list.c   who asks for sets          presence_command.c  the commands */
#ifndef DEVICE_PRESENCE_PRIV_H
#define DEVICE_PRESENCE_PRIV_H

#include "device/presence.h"
#include "device/presence_command.h"

/* A link by which a device follows a channel. */
struct presence_link {
    struct presence_link *next;
    uint64_t              key;        /* of the connection */
    const char           *transport;  /* static */
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

/* --- presence_tell.c --- */
/* The member has come into its set, or has left it. A member that has left may be freed here. */
void presence_note_change(struct presence *presence, struct presence_member *member);
/* Tells what is due. */
void presence_tell(struct presence *presence);

/* --- presence_list.c --- */
void presence_listing_take(struct command *command, struct writer *writer);
void presence_question_take(struct command *command, struct writer *writer);

#endif
