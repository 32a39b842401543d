/* device_world.h - one seed's world of users and their devices: a node with its real HTTP server, sessions, devices and API
 * on simulated loops (wire_node.h, wire_device.h), and simulated phones that open sessions over simulated links.
 *
 * A program of its own (device_sim): followers of wire_sim know nothing of sessions, and phones know nothing of places by
 * number. Both share the node, the disk and the far ends of links.
 *
 * What must hold:
 *  - a phone gets every seq of its user's log, of its own, of the channels that it keeps, and of its user's groups while the
 *    user is a member; in order, and none is missed, over any number of links, crashes and tickets. One link never gets a
 *    seq twice. The next link may begin with what the phone had already, but never at or below a place that it has
 *    acknowledged and was told so; after a crash, at or below the place that is on the disk (threat 33, decision 48);
 *  - nothing of a group that was published while the user was no member (decision 51);
 *  - generations rise; once a phone is told `connected`, its older link gets nothing that is published from then on, and
 *    neither what it acknowledges nor its ticket counts any more (threat 33);
 *  - what was revoked before is refused, with a token and with a ticket, also after a crash; and cut (threats 102, 105);
 *  - a membership that was answered is so, once, and with a place between the heads at the request and at the commit;
 *  - no acknowledged publish is lost or doubled;
 *  - once the faults have ended every phone soon has everything; when all come again, and more is published, too. */
#ifndef SIM_DEVICE_WORLD_H
#define SIM_DEVICE_WORLD_H

#include "wire_world.h"

enum { USERS_MAX = 6, PHONES_A_USER_MAX = 10, GROUPS_MAX = 3, POSTED_MAX = 2500 };

/* Bugs put in on purpose (threat 114). */
enum device_plant {
    DEVICE_PLANT_NONE,
    DEVICE_PLANT_NO_FENCE,        /* the older link goes on */
    DEVICE_PLANT_FAR_PLACE,       /* a place is stored one too far */
    DEVICE_PLANT_LOST_MEMBER,     /* a membership message is written without its rows */
    DEVICE_PLANT_GROUP_PLACE,     /* a member begins one too far in the group's log */
    DEVICE_PLANT_STALE_ACK,       /* POST /v1/ack counts, whatever generation it names */
    DEVICE_PLANT_OLD_TICKET,      /* a ticket of an older generation opens the session */
    DEVICE_PLANT_FORGET_REVOKED,  /* what was revoked is forgotten when the process begins */
    DEVICE_PLANT_LOST_KEEP,       /* a kept subscription is stored as a place alone */
    DEVICE_PLANT_SAME_GENERATION, /* the generation of a link is not stored */
    DEVICE_PLANT_LOST_ROWS,       /* rows are answered, and now and then are not written */
    DEVICE_PLANT_OLD_GROUPS,      /* who opens a session is not told that a membership has changed */
    DEVICE_PLANT_OLD_ANSWERS,     /* a look-up counts though its user has left the group since */
    DEVICE_PLANT_COUNT,
    /* Of nodes in a cluster: roam_sim. */
    ROAM_PLANT_LOST_FENCE = DEVICE_PLANT_COUNT,  /* older links on other nodes are neither asked for nor compared */
    ROAM_PLANT_STALE_WRITE,       /* the ledger does not look at the generation of who stores */
    ROAM_PLANT_BACK,              /* a node that is behind stores a place as it knows it */
    ROAM_PLANT_LOST_ACKS,         /* what the older node tells of acknowledged places is not heard */
    ROAM_PLANT_LOST_LEFT,         /* no other node hears that a user has left a group, and none asks */
    ROAM_PLANT_LOST_UNSURE,       /* a node does not remember that a raise of its may be written */
    ROAM_PLANT_END,
};

const char *device_plant_text(unsigned plant);
unsigned    device_plant_seeds_max(unsigned plant);
unsigned    device_plant_seed_first(unsigned plant);

enum channel_role { ROLE_CONTROL, ROLE_USER, ROLE_GROUP, ROLE_TOPIC, ROLE_PHONE };

/* A message that somebody wants to have in a log once; its payload is its number. */
struct posted {
    unsigned channel;
    msec     begun_at;  /* when it was sent for the first time */
    uint64_t seq;       /* in the log; 0: not there yet */
    bool     is_acked;
};

struct roam;

struct device_world {
    struct wire_world  wire;
    enum device_plant  plant;
    struct roam       *roam;  /* several nodes: device_roam.h; NULL: one */
    unsigned           user_count, phones_a_user, group_count;
    struct {
        enum channel_role role;
        unsigned          user, no;  /* of a group or a topic: no */
    }                  roles[CHANNELS_MAX];
    struct truth      *truth;
    struct phones     *phones;
    struct application *application;
    struct managers   *managers;
    struct listeners  *listeners;
    unsigned           posted_count;
    struct posted      posted[POSTED_MAX];
};

static inline struct device_world *device_world_of(struct wire_world *wire)
{
    return container_of(wire, struct device_world, wire);
}

static inline unsigned channel_of_user(unsigned user)
{
    return 1 + user;
}

static inline unsigned channel_of_group(const struct device_world *all, unsigned group)
{
    return 1 + all->user_count + group;
}

static inline unsigned channel_of_topic(const struct device_world *all)
{
    return 1 + all->user_count + all->group_count;
}

static inline unsigned channel_of_phone(const struct device_world *all, unsigned user, unsigned no)
{
    return channel_of_topic(all) + 1 + user * all->phones_a_user + no;
}

bool roam_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256]);
bool device_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256]);

#endif
