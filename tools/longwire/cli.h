/* cli.h - what all commands of `longwire` share: exit codes, the common options, one way to report errors.
 *
 * Standard output carries only results. Messages to the user go to standard error and begin with "longwire: ". */
#ifndef LONGWIRE_CLI_H
#define LONGWIRE_CLI_H

#include <getopt.h>

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

/* The server's address, and the key to show there. Both are borrowed from the command line or the environment. */
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

/* What to do after an option was handled. */
enum option_next {
    OPTION_TAKEN,  /* go on with the next */
    OPTION_END,    /* leave with *ret_exit */
};

/* From the environment, then the defaults. */
void target_init(struct target *target);

/* For an option that is not one of the command's own. A common option is taken; --help prints `help`; anything else
 * is an error, which getopt_long() has printed. */
enum option_next target_option(struct target *target, int option, const char *help, int *ret_exit);

/* False if the address or the key can't be used; the reason has been printed. */
bool target_is_sound(const struct target *target);

/* Only visible ASCII, so that it can stand in a URL or a header unchanged? */
bool cli_is_visible(struct span text);

/* Numbers from the command line. False if `text` is no number; the reason has been printed. `name` stands in that
 * message: "--after". A time is in seconds, may have a fraction, and is above 0 and at most a year. */
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
