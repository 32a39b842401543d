/* sub.h - one run of `longwire sub`: what was asked for, and where it stands. */
#ifndef LONGWIRE_SUB_H
#define LONGWIRE_SUB_H

#include "longwire/backoff.h"
#include "longwire/command.h"
#include "longwire/http.h"
#include "longwire/print.h"

/* Options of the native protocol alone. Texts are borrowed from the command line. */
struct sub_native {
    const char *user, *device;
    const char *ticket_file;   /* NULL: none */
    bool        has_session;
    bool        is_notify;     /* --mode notify */
};

struct sub {
    char         **channels;      /* borrowed from argv */
    size_t         channel_count;
    const char    *start;         /* "after" or "last"; NULL: neither */
    uint64_t       start_seq;
    const char    *since;         /* --since; NULL: not said */
    uint64_t      *since_seqs;    /* for each channel: begin behind this one */
    size_t         since_count;   /* of how many channels that is known */
    uint64_t       count_max;     /* 0: no end */
    msec           until;         /* 0: no end */
    msec           silence_ms;
    bool           has_silence;   /* --silence was given */
    bool           is_once;
    bool           has_patience;  /* --retry */
    struct sub_native native;

    struct http    http;
    struct printer printer;
    struct backoff backoff;
    struct buf     cursor;        /* NUL-terminated; empty: none yet */
    struct buf     line;          /* the beginning of a line whose end has not come */
    struct buf     decoded;
    uint64_t       count;         /* messages printed */
    bool           is_unread;     /* the server was asked where "from now on" is, and can't read its log now */
    bool           was_reached;   /* the server has answered once */
    bool           is_away;       /* the link was lost, and that has been said */
    bool           is_over;
    int            exit;          /* when is_over */
};

/* --- sub.c --- */
bool sub_leave(struct sub *sub, int exit_code);  /* false, always */
bool sub_flush(struct sub *sub);                 /* false: leave */

/* --- sub_native.c: over the native protocol, with the client library --- */
bool sub_native_option(struct sub_native *native, int option, const char *value);
bool sub_native_is_asked(const struct sub_native *native);
/* False: these options don't go together; the reason has been printed. */
bool sub_native_is_sound(const struct sub *sub);
void sub_native_run(struct sub *sub, const struct target *target, int stop_fd);

#endif
