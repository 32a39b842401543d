/* cli.h - what all commands of `longwire` share: exit codes, numbers from the command line, one way to report errors.
 *
 * Standard output carries only results. Messages to the user go to standard error and begin with "longwire: ". */
#ifndef LONGWIRE_CLI_H
#define LONGWIRE_CLI_H

#include "base/msec.h"
#include "base/span.h"

/* Scripts rely on these; `longwire --help` lists them. */
enum exit_code {
    EXIT_FINE      = 0,
    EXIT_REFUSED   = 1,   /* the server said no, or its answer can't be used, or output can't be written */
    EXIT_UNREACHED = 2,   /* the server can't be reached, or the link was lost and --retry does not allow another try */
    EXIT_TIMEOUT   = 3,   /* --timeout ran out first */
    EXIT_USAGE     = 64,  /* the command line makes no sense (EX_USAGE of sysexits.h) */
};

/* Only visible ASCII, so that it can stand in a URL or a header unchanged? */
bool cli_is_visible(struct span text);

/* Numbers from the command line. False if `text` is no number; the reason has been printed. `name` stands in that
 * message: "--after". A time is as in duration.h. */
bool cli_u64(const char *name, const char *text, uint64_t *ret);
bool cli_duration(const char *name, const char *text, msec *ret_ms);

/* The same for a moment (duration.h). */
bool cli_moment(const char *name, const char *text, msec *ret_ms);

/* From now on no message shows this text: it is a secret. Borrowed until the process ends. */
void cli_hide(struct span secret);

/* The secret that cli_hide() was told; empty: none. */
struct span cli_hidden(void);

/* One line to standard error, with every secret taken out (redact.h). */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A monotonic clock, and the wall clock. */
msec msec_now(void);
msec msec_since_1970(void);

#endif
