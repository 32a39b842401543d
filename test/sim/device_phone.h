/* device_phone.h - a simulated device: it opens sessions over one link or two that fight, handles what comes, acknowledges,
 * keeps a channel, and comes again by token or by ticket. What it understands of the bytes is in device_json.c and
 * device_native.c. */
#ifndef SIM_DEVICE_PHONE_H
#define SIM_DEVICE_PHONE_H

#include "codec/bin/bin_alias.h"
#include "device_world.h"
#include "wire_client.h"

enum { PHONE_TOKEN_BYTES = 80, PHONE_TICKET_BYTES = 1024, PHONE_LINKS = 2 };

/* What a token says, or what the token behind a ticket said. */
struct phone_token {
    uint64_t jti;
    int64_t  issued_s, ends_s;  /* ends_s 0: never */
    bool     names_device;
};

struct phone_ticket {
    bool               is_there;
    char               text[PHONE_TICKET_BYTES];
    uint64_t           generation, connection;
    int64_t            issued_s;  /* or a moment before */
    unsigned           came_no;   /* of the link that was given it */
    struct phone_token token;
};

/* What it has of a channel. Before anything came: its session began between two heads. */
struct phone_place {
    bool     is_known;
    uint64_t seq;               /* behind the last that it has handled */
    bool     has_floor, has_ceiling;
    uint64_t floor, ceiling;
    uint64_t sure;              /* acknowledged: nothing at or below it comes again */
};

enum keep_state { KEEP_NOT, KEEP_ASKED, KEEP_HEARD };

enum phone_link_state { LINK_AWAY, LINK_UPGRADING, LINK_OPENING, LINK_OPEN };

struct phone_link {
    struct phone         *phone;
    struct client_link    link;
    enum phone_link_state state;
    bool                  is_native;
    bool                  is_told;          /* by the server that it ends */
    bool                  by_ticket;
    bool                  was_refused;      /* its ticket was, and it asks once more with a token */
    bool                  is_turned_away;   /* it was open, and the token that it showed to go on was refused: it will be closed */
    uint64_t              generation, connection;
    struct phone_token    token;            /* that it lives by */
    struct phone_token    next_token;       /* … and that it has shown to go on, */
    bool                  is_refreshing;    /* … which was not answered yet */
    struct phone_ticket   ticket;           /* that it showed, by_ticket */
    unsigned              came_no;          /* of the phone's links */
    msec                  fenced_at;        /* the phone knew of a newer one; -1: it does not */
    msec                  asked_at, opened_at, at;
    bool                  asks_nobody;      /* when it asked for its session its node knew no other node yet */
    bool                  may_be_forgotten; /* the newer one is on a node that knew no other node yet, and asked nobody */
    bool                  has_lied;         /* has acknowledged what it can't have, after it was fenced */
    uint64_t              ref;
    struct {
        uint64_t seq;                       /* of the last one that came on this link, … */
        bool     is_known, is_placed;
        uint64_t named;                     /* … that it named when it came, */
        uint64_t sure;                      /* … or that was acknowledged by then, … */
        uint64_t stored;                    /* … or was on the disk */
        uint64_t ref, acked;                /* an ack under way that it will be told of */
    }                     at_place[CHANNELS_MAX];
    struct bin_aliases    aliases;
};

struct phone {
    struct phones      *all;
    unsigned            user, no;
    char                name[12];           /* "d1" */
    bool                has_session;        /* it was told so once */
    uint64_t            generation;         /* the newest that it was told */
    struct phone_token  token;
    struct phone_ticket ticket, older;
    enum keep_state     keep;
    bool                wants_keep;
    bool                is_keep_doubtful;   /* a node may have opened the session and asked nobody */
    bool                is_refused;         /* its token was: it needs another one */
    struct phone_place  has[CHANNELS_MAX];
    uint64_t            stored[CHANNELS_MAX];  /* its places in its own channels and in groups, on the disk */
    struct phone_link   links[PHONE_LINKS];
    unsigned            now;                /* the link that it came by last */
    msec                at;                 /* away until then */
    unsigned            came_count;
    msec                doubtful_until;     /* what is acknowledged may come again */
};

struct phones {
    struct device_world *all;
    struct object_reader objects;
    struct buf           strings;
    unsigned             count;
    uint64_t             jti;
    uint64_t             came_count;
    bool                 are_leaving;
    struct phone        *at;
};

struct phones *phones_new(struct device_world *all);
void           phones_free(struct phones *phones);
void           phones_turn(struct phones *phones);
/* No place goes back, whichever node stores it. */
void           phones_check_places(struct phones *phones);
void           phones_cut(struct phones *phones, struct loop_range range);  /* their node is gone */
void           phones_crashed(struct phones *phones); /* … and what was not on the disk, too */
void           phones_leave(struct phones *phones);
void           phones_come_again(struct phones *phones);
bool           phones_have_all(struct phones *phones);
void           phones_check_end(struct phones *phones);

struct phone *phones_draw(struct phones *phones, enum purpose purpose);
struct phone *phones_at(struct phones *phones, unsigned user, unsigned no);
void          phone_token_text(const struct phone *phone, const struct phone_token *token, char ret[PHONE_TOKEN_BYTES]);

/* --- what links tell of --- */

struct phone_connected {
    uint64_t    generation, connection;
    bool        is_resumed;
    struct span ticket;
};

void phone_take_connected(struct phone_link *link, const struct phone_connected *connected);
void phone_take_subscribed(struct phone_link *link, unsigned channel, uint64_t epoch, uint64_t head);
void phone_take_message(struct phone_link *link, unsigned channel, uint64_t epoch, uint64_t seq, struct span payload,
                        bool is_control);
void phone_take_error(struct phone_link *link, uint64_t code, struct span reason);
void phone_take_replaced(struct phone_link *link);
void phone_take_closing(struct phone_link *link, uint64_t code);
void phone_take_expiring(struct phone_link *link);
void phone_take_ack(struct phone_link *link, unsigned channel, uint64_t seq, uint64_t ref);
/* A call was answered 200. */
void phone_take_called(struct phone *phone, unsigned channel, uint64_t seq);
void phone_link_go(struct phone_link *link, const char *why);

/* --- what links say --- */

struct phone_says {
    void (*connect)(struct phone_link *link, bool by_ticket, bool names_places);
    void (*keep)(struct phone_link *link, unsigned channel);
    void (*ack)(struct phone_link *link, unsigned channel, uint64_t seq, uint64_t ref);
    void (*hear)(struct phone_link *link);
};
extern const struct phone_says phone_json, phone_native;

/* Whether it names this place when it comes. */
bool phone_names_place(const struct phone_link *link, unsigned channel);

#endif
