/* client.h - a client that sends commands (client_command.h) on its link, over any transport and in any dialect.
 * Private to this module; ws_session.c is the only transport of this kind now.
 *
 * The transport hands each whole frame to client_take(), and frames and closes as client_kind says. This file has the
 * commands, their answers and the publishes under way. */
#ifndef SESSION_CLIENT_H
#define SESSION_CLIENT_H

#include "session/device_link.h"
#include "session/dialect.h"
#include "session/heartbeat.h"
#include "session/link.h"
#include "session/put_off.h"

enum {
    CLIENT_REST_BYTES_MAX  = 125,        /* of an incomplete frame's beginning that the transport keeps; ws_session.c
                                          * needs most */
    CLIENT_WORDS_BYTES_REST = 64 * 1024, /* words that wait for a client; above this, the client is not read from */
    CLIENT_MARKS_MAX = 256,              /* channels that one client marks as read in a second */
    CLIENT_BEHIND_BYTES_REST = 4 * 1024, /* that wait behind a `connect`; from here on, the client is not read from */
};

/* Pings, pongs and empty messages cost work and bring nothing, so a client may send only so many a second (threat 74).
 * Other frames are bounded by what they do. */
enum { IDLE_FRAMES_A_SECOND_MAX = 100 };

/* What a client needs while one of its frames or commands is under way. An idle client has none. */
struct client_work {
    struct buf  in;             /* a frame that comes in pieces */
    msec        in_since;       /* when its first piece came */
    struct buf  untaken;        /* frames that came while too much waits for the client: client_rest() */
    struct list publishes;      /* under way; an answer whose client is gone is dropped */
    struct list questions;      /* under way: who is a member; they count as publishes */
    struct list marks;          /* channels marked as read in the last second: client_mark.c */
    struct list requests;       /* to back ends, without an answer; they count as publishes */
    struct list refs;           /* of subscriptions whose channels have not answered */
    struct client_connecting *connecting;  /* a `connect` waits for its token to be identified, or for its session */
    struct client_unfenced   *unfenced;    /* let in by a ticket while the database is away: client_unfenced.c */
    struct buf  fields;         /* of the handshake, for the connect hook: name NUL value NUL …; until it was asked */
    uint32_t    publish_count;
    uint16_t    mark_count;
    uint8_t     rest_len;
    char        rest[CLIENT_REST_BYTES_MAX];  /* the transport's: the beginning of a frame whose end has not come */
};

/* Why the server ends a link. */
enum client_close {
    CLIENT_CLOSE_POLICY,      /* it may not be here */
    CLIENT_CLOSE_GOING_AWAY,  /* the server stops */
    CLIENT_CLOSE_TRY_LATER,   /* the server can't now */
};
/* The close code, as RFC 6455 numbers it. */
uint16_t client_close_code(enum client_close why);

struct client {
    struct link         link;
    struct reader       reader;
    struct timer        timer;     /* the transport's: the next look at its silence; behind our last words: the end of the
                                    * wait for the client's */
    struct heartbeat    heartbeat;
    uint32_t            network;   /* network_key() of its address; 0: not known, or nobody has asked */
    struct client_work *work;   /* NULL mostly */
};

struct client_kind {
    struct link_kind      link;   /* its encode, placed and left are client_encode(), client_placed() and client_left() */
    const struct dialect *dialect;
    enum transport        transport;
    bool                  says_closing;  /* closing says why in a frame of its own: EVENT_CLOSING is not sent before it */
    /* Puts one frame into link_words(). */
    void (*put_frame)(struct buf *words, struct span frame);
    /* Sends the reason, then ends the link; nothing is sent after it. */
    void (*close)(struct client *client, enum client_close why, const char *reason);
    /* The same with a code of ours. */
    void (*close_by_code)(struct client *client, uint16_t code, const char *reason);
    /* Puts the question whether the client is still there into link_words(). */
    void (*ask)(struct client *client);
    /* Some of what was under way has been answered: the transport checks whether to read from the client again. */
    void (*answered)(struct client *client);
    /* The `connect` is carried out: takes the bytes that came behind it, and reads on. */
    void (*go_on)(struct client *client, char *bytes, size_t len);
};

/* `identity`: NULL, if the client has to say first who it is. `key`: see link_init(). */
void client_init(struct client *client, struct session_worker *worker, const struct client_kind *kind,
                 struct identity *identity, uint64_t key);
void client_fini(struct client *client);

static inline const struct client_kind *client_kind(const struct client *client)
{
    return container_of(client->link.kind, const struct client_kind, link);
}

/* link_kind's. */
struct frame *client_encode(struct link *link, struct reader_sub *sub, const struct entry *entry);
bool          client_put(struct link *link, struct reader_sub *sub, const struct entry *entry, struct buf *buf);
void          client_placed(struct link *link, struct reader_sub *sub);
void          client_left(struct link *link, struct reader_sub *sub);  /* member_subscribe.c */

/* --- what comes in --- */

/* One whole frame: a command, which is carried out, or a fault, which is answered. */
void client_take(struct client *client, struct span frame);

/* Keeps one more piece of a frame that comes in pieces. All incomplete frames have a maximum together
 * (gathered_bytes_max). False: this piece is beyond the maximum, and is not kept. */
bool        client_gather(struct client *client, struct span piece);
struct span client_gathered(const struct client *client);
void        client_drop_gathered(struct client *client);
/* Has a frame been incomplete for longer than gather_timeout_ms? */
bool        client_is_dawdling(const struct client *client, msec now);

/* Keeps the beginning of a frame, at most CLIENT_REST_BYTES_MAX. The transport fetches it before it reads the next
 * bytes. */
void   client_keep_rest(struct client *client, struct span rest);
size_t client_fetch_rest(struct client *client, char *into);

/* A ping, a pong or an empty message came. False: the client floods, and the link has been ended. */
bool client_count_idle_frame(struct client *client);

/* Does too much wait for this client: publishes under way, words, or bytes behind a `connect`? Then it is not read
 * from. */
bool client_has_too_much_pending(const struct client *client);

/* One read brings many frames, and each may be answered by more words than it has bytes. So the transport asks before each frame: do too
 * many words wait by now? Then it keeps what it has not taken, and takes that before it reads again. While a client rests it is not read
 * from. False: too much is gathered from all clients. */
bool       client_has_to_rest(const struct client *client);
bool       client_rest(struct client *client, struct span untaken);
bool       client_has_untaken(const struct client *client);
struct buf client_take_untaken(struct client *client);  /* for the caller to free */

struct client_work *client_get_work(struct client *client);
void                client_drop_work_if_done(struct client *client);

/* --- what goes out --- */

void client_say(struct client *client, const struct client_event *event);
void client_say_error(struct client *client, unsigned code, const char *reason, struct span ref);
/* The sender does something too often: `error` with the verdict. A client that goes on regardless is put off (4008). */
void client_refuse_usage(struct client *client, struct verdict verdict, struct span ref);
/* The user has too many links: `error` with the verdict, and the client is put off (4008). */
void client_refuse_link(struct client *client, struct verdict verdict, struct span ref);
/* `id`: of the request that is refused. */
void client_say_request_error(struct client *client, unsigned code, const char *reason, struct span id, struct span ref);
/* `connect`: what is answered; NULL: `connected` comes unasked. */
void client_say_connected(struct client *client, const struct client_connect *connect, bool is_resumed, struct span ref);
/* `session`: NULL, if there is none. */
void client_say_connected_as(struct client *client, const struct connected_session *session, bool is_resumed, struct span ref);
/* Tells the client to reconnect, and ends the link. */
void client_send_away(struct client *client, enum client_close why, const char *reason);
/* The same, at that time and with that close code. */
void client_put_off(struct client *client, const struct put_off *put_off);
/* link_kind's. */
bool client_is_busy(const struct link *link);
void client_end(struct link *link, enum link_end why);
bool client_expiring(struct link *link, msec in);
void client_presence(struct link *link, const struct presence_note *note);
void client_unwelcome(struct link *link);

/* --- heartbeats: client_beat.c --- */

/* Bytes came from the client. */
void client_heard(struct client *client);
/* The client offered to beat by itself (heartbeat_agree()). */
void client_agree_heartbeat(struct client *client, msec offer_ms);
/* A ping came. `next_ms`: when it promised the next one; 0: it did not. */
void client_beat(struct client *client, msec next_ms);
/* Arms the timer for the next look at the client's silence. */
void client_await_beat(struct client *client);
/* A client that beats by itself may not be looked at for half an hour: looks at this time at the latest. All others are looked at
 * once a heartbeat. */
void client_look_by(struct client *client, msec at);
/* The timer has fired. False: the client was given up, and the transport ends the link at once. True: *ret_next is when
 * to look again. */
bool client_watch(struct client *client, msec now, msec *ret_next);

/* --- who it is --- */

/* With its present rights. NULL: the credential that let the client in is no longer valid, or it has shown none yet. */
const struct identity *client_identity(const struct client *client);
/* False: the credential that let the client in is no longer valid (docs/decisions/0015). The link has been ended. */
bool client_is_welcome(struct client *client);

/* --- parts of it, each in a file of its own --- */

/* commands.c */
void client_carry_out(struct client *client, const struct client_command *command);
/* Sends `connected`, and follows the channels that the client had before. */
void client_resume(struct client *client, const struct client_connect *connect, bool is_resumed, struct span ref);
/* The same for a session that the link does not have yet. */
void client_resume_as(struct client *client, const struct client_connect *connect, const struct connected_session *session,
                      bool is_resumed, struct span ref);

/* client_connect.c: the token of a `connect` is identified, at once or later. */
void   client_connect(struct client *client, const struct client_command *command);
bool   client_is_identifying(const struct client *client);
/* When the `connect` came that is being carried out, by the loop's clock. */
msec   client_connect_came_at(const struct client *client);
/* The `connect` waits until the session is open, then client_opened() is called. */
void   client_await_session(struct client *client, const struct session_question *question);
/* The same for a ticket: the link is its holder's, unless it opens nothing. Shares the identity. `token_mark` is for the next ticket. */
void   client_try_ticket(struct client *client, const struct session_question *question, struct identity *holder, uint64_t token_mark);
/* What the ticket that answers this `connect` has to remember of the token. */
uint64_t client_token_mark(const struct client *client, const struct client_connect *connect);
/* A link of nobody, which the application has to be asked about: keeps what it is told of the handshake. */
void   client_keep_fields(struct client *client, const struct request_head *head);
/* Must the application be asked before this command is carried out? */
bool   client_must_be_asked(const struct client *client, const struct client_command *command);
/* Follows the channels that the application says. */
void   client_follow_given(struct client *client);
/* While a `connect` is being identified: keeps the frame of the `connect`; keeps bytes that came behind it. False:
 * those bytes are beyond gathered_bytes_max. */
void   client_keep_connect(struct client *client, struct span frame);
bool   client_keep_behind(struct client *client, struct span bytes);
size_t client_behind_bytes(const struct client *client);
void   client_cancel_connect(struct client *client);

/* client_digest.c: answers a ping, which may carry the digest of the client's places, and ask for those of the server. */
void client_answer_ping(struct client *client, const struct client_command *command);

/* Leaves a channel that the client may follow no longer, and says so. */
void client_leave_forbidden(struct client *client, struct reader_sub *sub);
/* A user's link stays that user's, whatever is shown on it later: what it follows, and what was stored for it, are. */
bool client_is_somebody_else(const struct identity *holder, const struct identity *comer);

/* client_session.c: what a `connect` does once it is known who sent it; the session that it asks for. */
void client_identified(struct client *client, const struct client_connect *connect, struct span ref);
/* False: a token stands beside the ticket, which is no good or is not of whom the token names. The token decides, as if it were alone. */
bool client_connect_by_ticket(struct client *client, const struct client_connect *connect, struct span ref);
/* Takes the answer. */
void client_opened(struct client *client, struct session_open *open, const struct client_connect *connect,
                   struct span ref);
void client_acknowledge(struct client *client, const struct client_command *command);

/* client_unfenced.c: tickets that come while the database is away. */
bool client_may_be_unfenced(const struct client *client, const struct session_open *open);
/* `frame`: the one of the `connect`. */
void client_admit_unfenced(struct client *client, const struct session_open *open, uint64_t generation, struct span frame,
                           const struct client_connect *connect, struct span ref);
/* The link ends, or another `connect` comes. */
/* This opening is under way still; its answer fences the link. */
void client_await_fence(struct client *client, struct session_open *open);
/* Are sessions stored in something that may be away? */
bool client_has_engine(const struct client *client);
/* About once a second: tickets that have been tried for long admit unfenced. */
void client_connect_tick(struct session_worker *worker);
void client_cancel_unfenced(struct client *client);
/* About once a second: tries again. */
void client_unfenced_tick(struct session_worker *worker);

/* subscribe_ref.c: the ref that `subscribed` repeats when the channel has answered. The caller frees what
 * client_take_ref() returns; NULL: the command had no ref. */
struct subscribe_ref {
    struct list              in_work;
    const struct reader_sub *sub;
    char                     text[];
};
void                  client_keep_ref(struct client *client, const struct reader_sub *sub, struct span text);
struct subscribe_ref *client_take_ref(struct client *client, const struct reader_sub *sub);

/* client_mode.c: the mode that a `connect` names holds for what the link follows from then on. */
void client_take_mode(struct client *client, const struct client_connect *connect);
/* Has the client been told where it begins in this channel? Of one that is known here already it is told when the link draws next, and nothing that
 * was asked behind may be answered before. That of a link that another process had was told there, and no callback says when the
 * channel has answered here. Until then its head is not known: the place is the least that it may be. */
bool     client_knows_place(const struct reader_sub *sub);
uint64_t client_known_head(const struct reader_sub *sub);
/* A `subscribe` of a channel that is followed. False: it does not name another mode, so that it is none. */
bool client_change_mode(struct client *client, struct reader_sub *sub, const struct client_subscribe *subscribe,
                        struct span ref);

/* client_mark.c */
void client_read(struct client *client, const struct client_command *command);
void client_forget_marks(struct client *client);
/* About once a second: sends what has waited, and forgets channels that rest. */
void client_marks_tick(struct session_worker *worker);
/* The server stops: sends what waits. */
void client_marks_send_all(struct session_worker *worker);

/* client_request.c: requests to back ends. */
void client_request(struct client *client, const struct client_command *command);
void client_cancel(struct client *client, const struct client_command *command);
/* A channel of the client has answered, or is left: requests that waited for it go on. */
void client_send_requests(struct client *client);
/* The answers of requests under way will be dropped. */
void client_forget_requests(struct client *client);

/* client_publish.c: takes the message. `needs_member`: see publish_check(). */
void client_send_publish(struct client *client, struct message *message, struct span key, struct span ref,
                         bool needs_member);
/* The answers of publishes under way will be dropped. */
void client_forget_publishes(struct client *client);

#endif
