/* cli.h - what all commands of `longwire` share: exit codes, the common options, one voice for complaints.
 *
 * Standard output carries results alone; everything said to a person goes to standard error and begins with
 * "longwire: ". */
#ifndef LONGWIRE_CLI_H
#define LONGWIRE_CLI_H

#include <getopt.h>

#include "base/msec.h"
#include "base/span.h"

/* Scripts rely on these; `longwire --help` lists them. */
enum exit_code {
    EXIT_FINE      = 0,
    EXIT_REFUSED   = 1,   /* the server said no, or its answer can't be used, or output can't be written */
    EXIT_UNREACHED = 2,   /* the server is not there, or the link was lost and may not be tried again */
    EXIT_TIMEOUT   = 3,   /* --timeout ran out first */
    EXIT_USAGE     = 64,  /* the command line makes no sense (EX_USAGE of sysexits.h) */
};

/* Where the server is and who asks. Both borrowed from the command line or the environment. */
struct target {
    const char *server;  /* "http://host:port" */
    const char *key;     /* API key; NULL: none */
};

/* A command's options come with these three; numbers below 256 are left to the command. */
enum { OPTION_SERVER = 256, OPTION_KEY, OPTION_HELP };
#define CLI_COMMON_OPTIONS                                                          \
    { "server", required_argument, NULL, OPTION_SERVER },                           \
    { "key", required_argument, NULL, OPTION_KEY },                                 \
    { "help", no_argument, NULL, OPTION_HELP },                                     \
    { NULL, 0, NULL, 0 }

#define CLI_COMMON_HELP                                                             \
    "  --server URL     the server's address (LONGWIRE_SERVER; http://127.0.0.1:8080)\n" \
    "  --key SECRET     API key, sent as bearer token (LONGWIRE_KEY; better there, since\n" \
    "                   others on the machine can see command lines)\n"              \
    "  --help           this text\n"

#define CLI_EXIT_HELP                                                               \
    "Exit status\n"                                                                 \
    "  0   done\n"                                                                  \
    "  1   the server refused, its answer can't be used, or output can't be written\n" \
    "  2   the server can't be reached, or the link to it was lost\n"               \
    "  3   --timeout ran out first\n"                                               \
    "  64  the command line can't be understood\n"

/* What to do after an option has been looked at. */
enum option_next {
    OPTION_TAKEN,  /* go on with the next */
    OPTION_END,    /* leave with *ret_exit */
};

/* From the environment, then the defaults. */
void target_init(struct target *target);

/* For an option the command does not know itself: a common one is taken, --help prints `help`, anything else
 * is complained about (getopt_long has said what). */
enum option_next target_option(struct target *target, int option, const char *help, int *ret_exit);

/* False, and it has been said, unless the address and the key can be used. */
bool target_is_sound(const struct target *target);

/* No space, no control character, no byte beyond ASCII: fit for a URL or a header as it is. */
bool cli_is_visible(struct span text);

/* Numbers from the command line; false, and it has been said, if `text` isn't one. `name` is for the complaint:
 * "--after". A time is in seconds, fractions allowed, above 0 and at most a year. */
bool cli_u64(const char *name, const char *text, uint64_t *ret);
bool cli_seconds(const char *name, const char *text, msec *ret_ms);

/* One line to standard error. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A monotonic clock. */
msec msec_now(void);

int command_sub(int argc, char **argv);
int command_pub(int argc, char **argv);
int command_history(int argc, char **argv);
int command_info(int argc, char **argv);
int command_recall(int argc, char **argv);

#endif
