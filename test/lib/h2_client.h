/* h2_client.h - the far end of an HTTP/2 connection for unit tests, on nghttp2: bytes in, bytes out, and what has come of each
 * stream. It has no socket.
 *
 *     h2_client_init(&client, 65535);
 *     struct h2_answer *answer = h2_client_request(&client, "GET", "/", SPAN(""), true);
 *     h2_client_put(&client, &bytes);          what it has to send
 *     h2_client_take(&client, bytes_of_ours);  what it gets
 *     answer->status, answer->body */
#ifndef LIB_H2_CLIENT_H
#define LIB_H2_CLIENT_H

#include <nghttp2/nghttp2.h>

#include "base/buf.h"

enum { H2_CLIENT_STREAMS_MAX = 256 };

struct h2_answer {
    int32_t    id;
    unsigned   status;      /* 0: none has come */
    unsigned   interim;     /* the last 1xx */
    struct buf body;        /* what has come and was not taken out */
    struct buf upload;      /* what is still to be sent */
    size_t     held;        /* of its window, that does not open: body bytes while is_unread */
    uint32_t   error;       /* of RST_STREAM, or of ours */
    bool       is_ended;    /* END_STREAM has come */
    bool       is_closed;
    bool       is_unread;   /* its window does not open */
    bool       is_upload_ended;
    char       fields[2048];  /* "name: value\n" for each */
};

struct h2_client {
    nghttp2_session *session;
    struct h2_answer answers[H2_CLIENT_STREAMS_MAX];
    size_t           count;
    uint32_t         goaway;      /* its error code … */
    bool             has_goaway;  /* … once it has come */
    bool             is_faulty;   /* the server has broken the protocol */
};

/* `window`: of each stream (SETTINGS_INITIAL_WINDOW_SIZE). */
void h2_client_init(struct h2_client *client, uint32_t window);
void h2_client_fini(struct h2_client *client);

/* is_end: nothing follows the body. `more`: a field beside the pseudo-headers, or NULL. */
struct h2_answer *h2_client_request(struct h2_client *client, const char *method, const char *path, struct span body,
                                    bool is_end);
struct h2_answer *h2_client_request_with(struct h2_client *client, const nghttp2_nv *head, size_t count, struct span body,
                                         bool is_end);
/* More of its body. */
void h2_client_send(struct h2_client *client, struct h2_answer *answer, struct span body, bool is_end);
/* Its window opens by so much; 0: by what is held. */
void h2_client_open_window(struct h2_client *client, struct h2_answer *answer, uint32_t bytes);

/* Appends what it has to send. */
void h2_client_put(struct h2_client *client, struct buf *into);
void h2_client_take(struct h2_client *client, struct span bytes);

#endif
