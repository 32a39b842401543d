/* fetch_priv.h - between the files of this module: fetch.c (calls), fetch_easy.c (one call as libcurl has it), and
 * fetch_thread.c (the thread). */
#ifndef FETCH_FETCH_PRIV_H
#define FETCH_FETCH_PRIV_H

#include <curl/curl.h>
#include <pthread.h>

#include "fetch/fetch.h"
#include "reactor/wake.h"

struct fetch_line {
    struct fetch_line *next;
    size_t             len;
    char               text[];  /* "Name: value" */
};

enum { FETCH_SPARE_MAX = 1024 };

struct fetch {
    struct fetch_limits   limits;
    char                 *ca_file;     /* NULL: the system's authorities */
    struct fetch_counters counters;
    _Atomic uint32_t      out_count;   /* calls in the module */
    struct mailbox        mailbox;     /* of calls to send; its bell also rings for cancelled ones */
    atomic_bool           is_stopping;
    atomic_bool           has_cancelled;
    bool                  is_started;
    pthread_t             thread;
    /* The thread's. */
    CURLM                *multi;
    int                   epoll;
    msec                  curl_at;     /* when libcurl wants to be called; -1: not by time */
    struct list           waiting;     /* in line for a place */
    struct list           under_way;
    CURL                 *spare[FETCH_SPARE_MAX];  /* handles that have served a call */
    uint32_t              spare_count;
    uint32_t              line_count;      /* under way, of those that took a place … */
    uint32_t              under_way_count; /* … and all */
};

/* fetch_easy.c */
CURL              *fetch_easy_new(const struct fetch *fetch);
void               fetch_easy_set(CURL *easy, struct fetch_call *call, msec left_ms);
void               fetch_easy_clear(CURL *easy, struct fetch_call *call);  /* before it is used for another call */
void               fetch_easy_note_sent(CURL *easy, struct fetch_call *call);
enum fetch_outcome fetch_easy_judge(CURL *easy, CURLcode code, struct fetch_call *call);

/* fetch_thread.c */
void *fetch_main(void *ctx);

#endif
