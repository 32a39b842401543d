/* command.h - the table of commands and options. The parser, --help, the man page, the page in docs/ and the shells'
 * completions are all made from it.
 *
 * A letter means the same in every command. Letters and names are those of mosquitto_sub, mosquitto_pub and nats where
 * these have the option. */
#ifndef LONGWIRE_COMMAND_H
#define LONGWIRE_COMMAND_H

#include "longwire/target.h"

/* Numbers for getopt_long(): above any letter. */
enum {
    OPTION_SERVER = 256, OPTION_KEY, OPTION_VERBOSE, OPTION_HELP, OPTION_VERSION, OPTION_AFTER, OPTION_BEFORE,
    OPTION_LAST, OPTION_SINCE, OPTION_UNTIL, OPTION_CURSOR, OPTION_FORMAT, OPTION_JSON, OPTION_COUNT, OPTION_ALL,
    OPTION_TIMEOUT, OPTION_ONCE, OPTION_RETRY, OPTION_SILENCE, OPTION_FILE, OPTION_MEDIA, OPTION_TTL, OPTION_KEY_ID,
    OPTION_ALIVE, OPTION_RATE, OPTION_COUNT_ONLY, OPTION_QUIET, OPTION_EVENT, OPTION_COLLAPSE_KEY, OPTION_PRIORITY, OPTION_YES, OPTION_MARKDOWN,
    OPTION_USER, OPTION_DEVICE, OPTION_SESSION, OPTION_TICKET_FILE, OPTION_MODE, OPTION_TOKEN,
    OPTION_SECRET_FILE, OPTION_EXPIRES, OPTION_GRANT, OPTION_ISSUER, OPTION_AUDIENCE, OPTION_JTI,
    OPTION_ONLINE, OPTION_INTERVAL, OPTION_HEADER, OPTION_DATA, OPTION_ID, OPTION_INCLUDE, OPTION_LISTEN,
};

#define CHOICES_FILE "/"  /* instead of a list of words: the value is the name of a file */

struct tool_option {
    int         id;
    const char *name;     /* without its dashes; NULL ends a list */
    const char *letters;  /* short forms, the usual one first; "" if there is none */
    const char *value;    /* "SECONDS", as help shows it; NULL: the option takes none */
    const char *choices;  /* what a shell offers for the value: words with spaces between; or NULL */
    const char *help;
};

/* Text in `about` and `body` is paragraphs with an empty line between; a line that begins with two spaces stays as it
 * is. */
struct tool_section {
    const char *title;    /* NULL ends a list */
    const char *body;
};

struct invocation;

struct tool_command {
    const char                *name;
    const char                *usage;     /* its words, as help shows them: "CHANNEL..." */
    const char                *summary;   /* "publish a message, or each line of standard input" */
    const char                *about;
    const struct tool_option  *options;   /* its own; those that all commands take are common_options */
    const struct tool_section *sections;
    const char *const         *examples;  /* command lines; NULL ends them */
    const char                *choices;   /* what a shell offers for its words; NULL: nothing */
    size_t                     words_min, words_max;
    const char                *words_ask;  /* what is said if there are fewer or more */
    bool                       is_local;   /* asks no server: it needs no address */
    bool                       is_native;  /* speaks the native protocol too */
    int (*run)(struct invocation *invocation);
};

/* NULL ends it. */
extern const struct tool_command *const tool_commands[];

/* Those of all commands; the list ends with a NULL name. */
extern const struct tool_option common_options[];

/* Pieces of help that belong to no single command. */
extern const char *const         tool_examples[];
extern const struct tool_section tool_sections[];

/* NULL: there is no such command. */
const struct tool_command *command_find(struct span name);

/* One call of the tool. */
struct invocation {
    const struct tool_command *command;
    struct target              target;
    int                        argc;
    char                     **argv;
    char                     **words;   /* what is left when the options are taken */
    size_t                     word_count;
    int                        exit;
};

/* Takes one of the command's own options. False: the value is no good; the reason has been printed. */
typedef bool option_fn(void *arg, int option, const char *value);

/* Takes the options that stand before the command's name, and finds the name. False: leave with invocation->exit. */
bool invocation_begin(struct invocation *invocation, int argc, char **argv);

/* Takes the options behind it, in any order with the words, and checks the number of words and the target. False: leave
 * with invocation->exit; what was wrong, or the help that was asked for, has been printed. */
bool invocation_read(struct invocation *invocation, option_fn *fn, void *arg);

int command_sub(struct invocation *invocation);
int command_pub(struct invocation *invocation);
int command_request(struct invocation *invocation);
int command_proxy(struct invocation *invocation);
int command_history(struct invocation *invocation);
int command_info(struct invocation *invocation);
int command_channels(struct invocation *invocation);
int command_who(struct invocation *invocation);
int command_purge(struct invocation *invocation);
int command_recall(struct invocation *invocation);
int command_why(struct invocation *invocation);
int command_sessions(struct invocation *invocation);
int command_nodes(struct invocation *invocation);
int command_top(struct invocation *invocation);
int command_backlog(struct invocation *invocation);
int command_dead(struct invocation *invocation);
int command_token(struct invocation *invocation);
int command_store(struct invocation *invocation);
int command_completion(struct invocation *invocation);
int command_man(struct invocation *invocation);
int command_help(struct invocation *invocation);

#endif
