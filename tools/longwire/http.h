/* http.h - requests to one server, one at a time, over one kept connection: a thin layer over libcurl.
 *
 * Long streams are handed on while they arrive. A wait ends at its deadline, after a silence, or when stop_fd becomes
 * readable (Ctrl-C); nothing here waits longer. */
#ifndef LONGWIRE_HTTP_H
#define LONGWIRE_HTTP_H

#include <curl/curl.h>

#include "base/buf.h"
#include "longwire/cli.h"
#include "longwire/target.h"

enum {
    HTTP_BODY_BYTES_MAX = 4 * 1024 * 1024,   /* of an answer that is kept whole, unless the request says otherwise */
    HTTP_QUIET_MS       = 60 * 1000,         /* no byte for this long: the link is dead */
    HTTP_CONNECT_MS     = 10 * 1000,
    HTTP_PATH_BYTES_MAX = 64 * 1024,
    HTTP_CHANNEL_BYTES_MAX = 1024,           /* of a name; servers take less, and say so */
};

struct http {
    CURLM      *multi;
    CURL       *easy;
    const char *server;   /* a URL without slashes at its end; borrowed. It may hold a password: only say() prints it */
    const char *servers;  /* all of them, one behind the other; the next is asked where one can't be reached, or answers 503 */
    size_t      server_count, server_at;
    const char *key;      /* borrowed; NULL: none */
    bool        is_verbose;
    int         stop_fd;  /* readable: stop; -1: none */
};

/* False ends the request. `piece` is borrowed. Only a 2xx answer's body comes here. */
typedef bool http_sink_fn(void *arg, struct span piece);

struct http_request {
    const char   *method;
    const char   *path;             /* "/v1/…", percent-encoded, with its query */
    const char   *accept;           /* NULL: anything */
    const char   *media;            /* of the body; NULL: not said */
    const char   *idempotency_key;  /* NULL: none */
    const char   *last_event_id;    /* NULL: none */
    const char   *prefer;           /* Prefer; NULL: nothing */
    const char   *event;            /* Longwire-Event of a publish, percent-encoded; NULL: none */
    const char   *collapse_key;     /* Collapse-Key of a publish, likewise */
    bool          has_body;
    struct span   body;
    http_sink_fn *sink;             /* NULL: the body is kept in the answer */
    void         *sink_arg;
    size_t        body_bytes_max;   /* of an answer that is kept; a longer one is broken. 0: HTTP_BODY_BYTES_MAX */
    msec          quiet_ms;         /* 0: HTTP_QUIET_MS */
    msec          until;            /* monotonic; 0: no deadline */
};

enum http_end {
    HTTP_DONE,         /* the whole answer came */
    HTTP_UNREACHED,    /* no connection: nothing was sent */
    HTTP_BROKEN,       /* the link ended too early: whether the request was carried out is unknown */
    HTTP_SILENT,       /* … or fell silent */
    HTTP_TIMEOUT,      /* `until` came */
    HTTP_STOPPED,      /* the sink returned false */
    HTTP_INTERRUPTED,  /* stop_fd became readable */
};

struct http_answer {
    enum http_end end;
    int           status;          /* 0: none came */
    msec          retry_after_ms;  /* -1: not said */
    struct buf    body;            /* of an error, or without a sink */
    char          why[256];        /* of UNREACHED, BROKEN, SILENT: "connection refused" */
};

/* `target` is sound, and borrowed for as long as `http` lives. */
void http_init(struct http *http, const struct target *target, int stop_fd);
void http_fini(struct http *http);

/* Always fills *ret; the caller gives it back with http_answer_fini(). */
void http_ask(struct http *http, const struct http_request *request, struct http_answer *ret);
void http_answer_fini(struct http_answer *answer);

static inline bool http_is_2xx(const struct http_answer *answer)
{
    return answer->status / 100 == 2;
}

/* May the same request succeed later? 408, 425, 429, 502, 503, 504, 507. */
bool http_is_later(int status);

/* Prints in one sentence why the request failed, and returns the exit code. `answer` is no success. */
int http_complain(const struct http *http, const struct http_answer *answer);

/* The same for a problem (RFC 9457) in `body`, for instance one entry of a batch. `where` stands before it:
 * "line 7: ", or "". */
void http_say_problem(const char *where, int status, struct span body);

/* Waits, at most until `until` (0: no limit). False: stop_fd became readable. */
bool http_sleep(const struct http *http, msec ms, msec until);

/* "/v1/channels/NAME", without a NUL. */
void http_put_channel_path(struct buf *buf, const char *channel);

/* False: this can't be a channel's name, because it is too long or not UTF-8; that has been printed. */
bool http_channel_fits(const char *channel);

/* Percent-encodes all but RFC 3986's unreserved characters, for a path segment or a query value. */
void http_put_encoded(struct buf *buf, struct span text);

#endif
