/* requests_priv.h - between the files of requests.h.
 *
 *     requests.c         life; claims           request_call.c     what the back end is sent, and what came of it
 *     request_answer.c   the response           request_look.c     ids that were used before
 *     request_device.c   bytes of answers       request_recover.c  calls whose node is gone
 *     request_io.c       rows                  request_follow.c   responses that another node writes
 *     request_cancel.c   cancels of calls that another node makes
 *     request_group.c    CALLS rows            request_calls.c   those of a start before
 *     request_link.c     answers of links without a device */
#ifndef UPLINK_REQUESTS_PRIV_H
#define UPLINK_REQUESTS_PRIV_H

#include "uplink/request_row.h"
#include "uplink/requests.h"
#include "uplink/response_object.h"

struct request_work;

enum {
    REQUEST_BACKEND_BYTES_MAX = 64,
    CALLS_MOVE_MS             = 10000,  /* what is still under way then moves to a new CALLS row */
    CALLS_KEPT_MS             = 60000,  /* a REQUEST row is kept at least so long: longer than a CALLS row that relies on it */
};

/* --- rows: request_io.c --- */

struct request_write {
    struct requests    *requests;
    struct ledger_write write;
    struct list         in_line;
    void              (*done)(struct request_write *write);
};

struct request_read {
    struct requests   *requests;
    struct command     command;
    struct ledger_read read;
    void             (*came)(struct request_read *read);
};

void request_write_send(struct requests *requests, struct request_write *write);
void request_read_send(struct requests *requests, struct request_read *read);
/* The rows that were there at this time, as far as they still are. */
void request_read_send_at(struct requests *requests, struct request_read *read, msec wall);
/* The same in a line of the caller's own. */
void request_write_put(struct requests *requests, struct list *line, struct request_write *write);
void request_io_submit(struct requests *requests);

/* --- devices: request_device.c --- */

struct request_device {
    struct map_node     by_name;
    struct requests    *requests;
    struct list         link;       /* in requests.idle, or of a link in idle_links … */
    msec                rests_since;
    struct list         answers;    /* … which it has had; none of a device: request_link.c */
    uint32_t            answer_count;
    uint32_t            under_way;
    bool                is_known;   /* `total` is */
    bool                is_reading;
    uint32_t            again_tick; /* the row can't be read now: not before */
    uint64_t            total;      /* bytes of its answers so far … */
    uint64_t            saved;      /* … and what the row says of them, or will say when what is under way is written */
    struct request_read read;
    struct ledger_key   key;
    size_t              len;
    char                name[];     /* user 0 device, or the key of a link */
};

/* NULL: nothing is remembered of it. */
struct request_device *request_device_find(const struct requests *requests, struct span name);
void                   request_device_forget(struct request_device *device);
/* One more request of it is under way; NULL: it has as many as it may. `has_rows`: the total is read if it isn't known. */
struct request_device *request_device_begin(struct requests *requests, struct span name, bool has_rows);
/* Its total isn't known: it is read, unless that was tried a moment ago. */
void                   request_device_ask_total(struct request_device *device);
void                   request_device_end(struct request_device *device);
/* Is the row to be written with this answer? It is then counted as saved; forget that with _doubt() if it wasn't written. */
bool                   request_device_saves(struct request_device *device);
void                   request_device_doubt(struct request_device *device);
/* The row, as it says so many bytes. `name` is borrowed. */
struct ledger_change   request_device_change(struct span name, uint64_t total);
/* The rows of devices without a request under way that are not up to date are written. */
void                   request_devices_save(struct requests *requests);
/* This write is not sent any more. If it is one of those, which nobody else holds, it is freed. */
void                   request_total_drop(struct request_write *write);
void                   request_devices_fini(struct requests *requests);

/* --- links without a device: request_link.c --- */

struct request_work;

/* The response to it was published. */
void request_link_note(const struct request_work *work, struct message *message);
/* True: the id was answered, and the command is told so. Takes it then. */
bool request_link_replay(struct requests *requests, struct request_command *command, struct span name);
/* No request of it is under way, and there are answers. */
void request_link_rest(struct request_device *device);
void request_link_forget_all(struct request_device *device);
void request_links_tick(struct requests *requests);

/* --- a request under way --- */

enum request_stage {
    REQUEST_CLAIMING,    /* its rows are being written */
    REQUEST_DOUBTED,     /* nobody knows whether they were: they are written once more */
    REQUEST_LOOKING,     /* the id was used before: what became of it? */
    REQUEST_FOLLOWING,   /* … another node calls, and somebody waits here for the response */
    REQUEST_CALLING,
    REQUEST_PUBLISHING,  /* the answer is published elsewhere */
    REQUEST_ANSWERING,   /* the response waits to be appended, or is being appended */
    REQUEST_TAKING,      /* another node's call is being taken over */
};

struct request_work {
    struct map_node        by_id;
    struct list            link;        /* in requests.all */
    struct list            again;       /* in requests.again … */
    uint32_t               again_tick;  /* … until then */
    struct requests       *requests;
    struct request_device *device;
    struct channel_name   *channel;     /* owns a reference */
    enum request_stage     stage;
    struct span            user, name, id;  /* in `words`; `name` is the device's, empty without one */
    char                   backend[REQUEST_BACKEND_BYTES_MAX + 1];
    uint64_t               key;
    unsigned               loop;        /* of the link, where the answer goes to conn:KEY */
    uint8_t                hash[16];
    uint64_t               claim, generation;  /* of the CALL row */
    uint32_t               pieces;
    bool                   is_at_least_once, is_cancelled, is_called, is_appending, is_broken_off;
    bool                   is_to_link;  /* is_appending: by way of its loop, which may have left; nobody waits for that */
    msec                   since;       /* wall clock */
    struct list            askers;      /* commands that wait to be accepted */
    uint32_t               waiter_count;  /* of requests.waiters, those that wait for this response */
    size_t                 body_bytes, held_bytes;
    bool                   is_counted;  /* the device's total has the response in it … */
    uint64_t               before;      /* … which was so before */
    struct backend_call    call;
    struct request_write   write;
    struct ledger_change   changes[2], *more;  /* `more`: with pieces; owned */
    struct buf             rows;        /* what the changes point at */
    bool                   is_grouped;  /* its claim stands in a CALLS row, with others … */
    struct call_group     *group;       /* … this one; NULL: none yet, or one of a start before */
    struct list            in_group;    /* in its list, or in requests.claims */
    struct request_read    read;        /* LOOKING, FOLLOWING, TAKING */
    struct ledger_key     *keys;        /* … owned */
    struct request_row     found;       /* LOOKING, FOLLOWING */
    uint64_t               found_seq;   /* … of the response; TAKING: pieces that are here */
    uint32_t               tries;
    struct store_read      page;        /* … */
    struct command         page_came;
    struct buf             object;      /* the response */
    unsigned               status;
    size_t                 key_len;
    char                   words[];     /* user 0 device 0 id */
};

static inline bool work_has_rows(const struct request_work *work)
{
    return work->name.len > 0;
}

static inline struct span work_key(const struct request_work *work)
{
    return span_of(work->words, work->key_len);
}

static inline struct span work_device_key(const struct request_work *work)
{
    return span_of(work->words, work->user.len + 1 + work->name.len);
}

/* requests.c */
struct request_work *request_work_new(struct requests *requests, const struct request_command *command,
                                      struct request_device *device, struct channel_name *channel);
struct request_work *request_work_find(struct requests *requests, struct span name, struct span id);
void request_work_free(struct request_work *work);
void request_work_later(struct request_work *work, uint32_t ticks);
void request_tell(struct requests *requests, struct request_command *command, enum request_outcome outcome);
/* Those that wait for the claim hear of it; those with wait_ms go on waiting for the response. */
void request_askers_accept(struct request_work *work);
/* The response is there; NULL: it will not come here. Everybody who waits for it hears so. */
void request_waiters_tell(struct request_work *work, struct message *response);
/* With a body of so many bytes more. */
bool requests_are_full(const struct requests *requests, size_t bytes);
/* What became of the claim. */
void request_claim_settled(struct request_work *work, enum ledger_outcome outcome);
/* A command that was held, or need not be. */
void request_admit(struct requests *requests, struct request_command *command);
/* The claim as a write, to be sent. False: the request is too large to be kept. */
bool request_claim_put(struct request_work *work, const struct request_command *command);

/* request_call.c */
void request_call_prepare(struct request_work *work, const struct request_command *command);
void request_call_begin(struct request_work *work);
void request_call_cancel(struct request_work *work);
/* What it did is not known. Nothing if the back end is not being asked. */
void request_call_break_off(struct request_work *work);
/* The back end has answered; or its answer was to be published, which is tried again. */
void request_call_took(struct request_work *work);
/* It was published: the response says the rest of it. */
void request_call_published(struct request_work *work);

/* request_answer.c */
/* The response is in work->object: appends it as soon as that can be done. */
void request_answer_begin(struct request_work *work);
void request_answer_problem(struct request_work *work, unsigned status, const char *detail, const char *outcome);
/* The answer of the back end is to be published in this channel, then answered. */
void request_answer_publish(struct request_work *work, struct channel_name *channel, struct span media, struct span body);

/* It is tried again. */
void request_answer_on(struct request_work *work);

/* request_look.c */
void request_look_begin(struct request_work *work, const struct ledger_row *row);
/* Another node is calling, with a request of this hash. */
void request_look_under_way(struct request_work *work, const uint8_t hash[static 16]);
void request_look_on(struct request_work *work);
void request_look_took(struct command *command, struct writer *writer);

/* request_follow.c */
/* Another node writes the response. Those who wait here get it once the row says that it is there. */
void request_follow_begin(struct request_work *work);
void request_follow_on(struct request_work *work);
/* Somebody else asks for it: the row is read now. */
void request_follow_ask(struct request_work *work);
/* The node that calls is gone, and this one answers for it. False: not now, or it does not follow. */
bool request_follow_end(struct request_work *work);

/* request_cancel.c */
/* Not found here: the node that calls, if there is one, is told that the client cancels. */
void request_cancel_elsewhere(struct requests *requests, struct span user, struct span device, struct span id);

/* request_group.c */
/* A claim that may share its row waits for the end of the turn; claim_settled() is called, once the rows are written. */
void request_group_add(struct request_work *work);
/* The response is on the disk, or the call was never claimed. */
void request_group_leave(struct request_work *work);
/* It is forgotten here, and its row stays as it is. */
void request_group_abandon(struct request_work *work);
/* Puts the writes of one CALLS row, and the checks of its claims, in this line. */
void request_groups_form(struct requests *requests, struct list *line);
/* A row of this start that takes over the calls of another one: its calls join it, then it is written as that one is deleted. `key`
 * is borrowed until adopted(); empty: the other one stays. If that failed, it is not known in which of the two rows they stand: the
 * new one is written over once they have left it, and request_group_holds() says no. */
struct call_group *request_group_adopt(struct requests *requests);
void request_group_join(struct call_group *group, struct request_work *work);
/* Does its call stand in a row of this start for sure? */
bool request_group_holds(const struct request_work *work);
/* Instead of request_group_replace(): they belong to no row. */
void request_group_disband(struct call_group *group);
void request_group_replace(struct call_group *group, struct span key, void (*adopted)(struct requests *requests, bool is_done));
void request_groups_tick(struct requests *requests);
void request_groups_fini(struct requests *requests);

/* request_calls.c */
/* False: what is left of the calls of a start before is not known yet, and the command is held. */
bool request_calls_admit(struct requests *requests, struct request_command *command);
void request_calls_tick(struct requests *requests);
void request_calls_free(struct requests *requests);

/* request_recover.c */
bool request_device_channel(const struct requests *requests, struct span user, struct span device, struct channel_name **ret);
void request_answer_unknown(struct request_work *work);
void request_scan_tick(struct requests *requests);
void request_scan_free(struct requests *requests);
void request_take_on(struct request_work *work);

#endif
