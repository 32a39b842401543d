/* fetch_priv.h - between the files of this module: fetch.c (calls), fetch_thread.c (the thread, and the way of a call through
 * the module), plain.h (our own client), fetch_multi.c (libcurl in the loop), fetch_easy.c (one call as libcurl has it) and
 * fetch_stream.c (requests that HTTP/2 has refused). */
#ifndef FETCH_FETCH_PRIV_H
#define FETCH_FETCH_PRIV_H

#include <curl/curl.h>
#include <pthread.h>

#include "base/map.h"
#include "fetch/fetch.h"
#include "fetch/plain.h"
#include "reactor/loop.h"

enum { FETCH_SPARE_MAX = 1024 };

struct fetch {
    struct fetch_limits   limits;
    char                 *ca_file;     /* NULL: the system's authorities */
    struct fetch_counters counters;
    _Atomic uint32_t      out_count;   /* calls in the module */
    struct loop          *loop;        /* its mail is calls to send; its bell also rings for cancelled ones */
    struct loop           own_loop;    /* … */
    struct fetch         *whole;       /* NULL: this is no part of another one, which has them in `parts` */
    struct fetch         *parts[FETCH_PARTS_MAX];
    uint32_t              part_count;
    struct plain_book     book;        /* of the whole */
    atomic_bool           is_stopping;
    atomic_bool           has_cancelled;
    bool                  is_started;
    bool                  is_curl_alone;  /* for tests: libcurl serves all calls */
    pthread_t             thread;
    /* The thread's. */
    struct list           waiting;     /* in line for a place */
    struct list           under_way;
    struct list           ended;       /* in this turn; given back at its end, all at once */
    struct timer          look;        /* at the waiting ones whose time is up */
    uint32_t              line_count;      /* under way, of those that took a place … */
    uint32_t              under_way_count; /* … and all */
    struct plain          plain;
    /* Of fetch_multi.c: */
    CURLM                *multi;
    struct source         sockets;     /* libcurl's, in an epoll of their own that the loop watches */
    int                   epoll;
    msec                  curl_at;     /* when libcurl wants to be called; -1: not by time */
    CURL                 *spare[FETCH_SPARE_MAX];  /* handles that have served a call */
    uint32_t              spare_count;
};

/* fetch.c */
void fetch_call_forget_head(struct fetch_call *call);  /* another head begins */
void fetch_call_keep_field(struct fetch_call *call, struct span name, struct span value);

/* fetch_thread.c */
extern const struct loop_hooks fetch_hooks;
void *fetch_main(void *ctx);
/* libcurl serves a call that was begun; on the module's own thread. */
void  fetch_by_other(struct fetch *fetch, struct fetch_call *call);
/* A call that was under way has ended. */
void  fetch_ended(struct fetch *fetch, struct fetch_call *call, enum fetch_outcome outcome);

/* fetch_multi.c */
void fetch_multi_open(struct fetch *fetch);
void fetch_multi_close(struct fetch *fetch);  /* no call is with it */
void fetch_multi_begin(struct fetch *fetch, struct fetch_call *call);
void fetch_multi_cancel(struct fetch *fetch, struct fetch_call *call, enum fetch_outcome outcome);
void fetch_multi_turn_end(struct fetch *fetch);

/* fetch_easy.c */
CURL              *fetch_easy_new(struct fetch *fetch);
void               fetch_easy_set(CURL *easy, struct fetch_call *call, msec left_ms);
void               fetch_easy_clear(CURL *easy, struct fetch_call *call);  /* before it is used for another call */
void               fetch_easy_note_sent(CURL *easy, struct fetch_call *call);
enum fetch_outcome fetch_easy_judge(CURL *easy, CURLcode code, struct fetch_call *call);
struct span        fetch_easy_address(CURL *easy);  /* of the server, as digits; empty: it had no connection */

/* fetch_stream.c */
int  fetch_on_says(CURL *easy, curl_infotype type, char *at, size_t len, void *ctx);
/* A try begins, on this connection. */
void fetch_stream_begin(struct fetch_call *call, const char *far, int far_port, int near_port);
/* The try before was refused. */
bool fetch_stream_is_refused(const struct fetch_call *call);
/* libcurl has given up a call that was refused: it is sent again. False: it was not, or that was tried often enough. */
bool fetch_stream_again(struct fetch *fetch, CURL *easy, struct fetch_call *call, CURLcode code);

#endif
