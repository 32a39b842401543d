/* invocation.c - takes options and words from the command line by the table. */
#include <getopt.h>
#include <stdio.h>

#include "base/version.h"
#include "longwire/cli.h"
#include "longwire/command.h"
#include "longwire/help.h"
#include "longwire/nearest.h"
#include "longwire/print.h"

enum { OPTIONS_MAX = 32, LETTERS_MAX = 2 * OPTIONS_MAX + 4 };

/* What getopt_long() wants to know. */
struct getopt_table {
    struct option options[OPTIONS_MAX + 1];
    char          letters[LETTERS_MAX * 2];
    size_t        option_count, letter_count;
};

static void table_add(struct getopt_table *table, const struct tool_option *list)
{
    for (const struct tool_option *at = list; at->name != NULL; at++) {
        must(table->option_count < OPTIONS_MAX && table->letter_count + 8 < sizeof table->letters);
        table->options[table->option_count++] =
            (struct option){ at->name, at->value != NULL ? required_argument : no_argument, NULL, at->id };
        for (const char *letter = at->letters; *letter != '\0'; letter++) {
            table->letters[table->letter_count++] = *letter;
            if (at->value != NULL)
                table->letters[table->letter_count++] = ':';
        }
    }
}

/* `mode`: "+:" stops at the first word, ":" goes on behind it. The colon leaves all messages to us. */
static void table_make(struct getopt_table *table, const struct tool_command *command, const char *mode)
{
    *table              = (struct getopt_table){ .letter_count = strlen(mode) };
    memcpy(table->letters, mode, strlen(mode));
    if (command != NULL)
        table_add(table, command->options);
    table_add(table, common_options);
}

/* --- complaints ------------------------------------------------------------------------------------------------- */

static const struct tool_option *option_of(const struct tool_option *list, int id)
{
    for (; list->name != NULL; list++)
        if (list->id == id || (id > 0 && id < 256 && strchr(list->letters, id) != NULL))
            return list;
    return NULL;
}

static const struct tool_option *option_find(const struct tool_command *command, int id)
{
    const struct tool_option *found = command != NULL ? option_of(command->options, id) : NULL;
    return found != NULL ? found : option_of(common_options, id);
}

static void nearest_offer_all(struct nearest *nearest, const struct tool_option *list)
{
    for (; list->name != NULL; list++)
        nearest_offer(nearest, list->name);
}

/* "--nonsense=value": the value may be a secret and is not repeated. */
static void unknown_name_say(const struct tool_command *command, const char *word)
{
    struct span    rest = span_str(word + strlen("--")), name;
    struct nearest nearest;

    if (!span_cut(&rest, '=', &name))
        name = span_str("");
    nearest_init(&nearest, name);
    if (command != NULL)
        nearest_offer_all(&nearest, command->options);
    nearest_offer_all(&nearest, common_options);
    if (nearest.found != NULL)
        say("there is no option --%.*s; did you mean --%s?", SPAN_ARG(name), nearest.found);
    else
        say("there is no option --%.*s; see longwire %s%s--help", SPAN_ARG(name), command != NULL ? command->name : "",
            command != NULL ? " " : "");
}

/* A letter in the other case, and who else has this letter. */
static void unknown_letter_say(const struct tool_command *command, int letter)
{
    const struct tool_option *other = option_find(command, letter ^ ' ');

    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++) {
        const struct tool_option *theirs = option_of((*at)->options, letter);
        if (theirs == NULL)
            continue;
        if (other != NULL)
            say("there is no option -%c here: it is --%s of longwire %s; did you mean -%c (--%s)?", letter,
                theirs->name, (*at)->name, letter ^ ' ', other->name);
        else
            say("there is no option -%c here: it is --%s of longwire %s", letter, theirs->name, (*at)->name);
        return;
    }
    if (other != NULL)
        say("there is no option -%c; did you mean -%c (--%s)?", letter, letter ^ ' ', other->name);
    else
        say("there is no option -%c; see longwire %s%s--help", letter, command != NULL ? command->name : "",
            command != NULL ? " " : "");
}

/* getopt_long() has returned '?' or ':'; optopt and argv[optind - 1] say why. */
static void wrong_option_say(const struct tool_command *command, int option, char **argv)
{
    const struct tool_option *known = optopt != 0 ? option_find(command, optopt) : NULL;

    if (option == ':' && known != NULL)
        say("--%s needs a value: --%s %s", known->name, known->name, known->value);
    else if (known != NULL)
        say("--%s takes no value", known->name);
    else if (optopt > 0 && optopt < 256)
        unknown_letter_say(command, optopt);
    else
        unknown_name_say(command, argv[optind - 1]);
}

/* --- options ---------------------------------------------------------------------------------------------------- */

static bool leave(struct invocation *invocation, int exit_code)
{
    invocation->exit = exit_code;
    return false;
}

static bool common_take(struct invocation *invocation, int option)
{
    switch (option) {
    case OPTION_SERVER:
        invocation->target.server = optarg;
        return true;
    case OPTION_KEY:
    case OPTION_TOKEN:
        target_take_key(&invocation->target, optarg);
        return true;
    case OPTION_VERBOSE:
        invocation->target.is_verbose = true;
        return true;
    case OPTION_VERSION:
        return leave(invocation, print_once(SPAN("longwire " LONGWIRE_VERSION "\n")));
    default:
        must(option == OPTION_HELP);
        return leave(invocation, help_print(invocation->command));
    }
}

static bool options_take(struct invocation *invocation, const char *mode, option_fn *fn, void *arg)
{
    struct getopt_table table;
    int                 option;

    table_make(&table, invocation->command, mode);
    opterr = 0;
    optind = 0;  /* glibc: begin anew */
    while ((option = getopt_long(invocation->argc, invocation->argv, table.letters, table.options, NULL)) != -1) {
        if (option == '?' || option == ':') {
            wrong_option_say(invocation->command, option, invocation->argv);
            return leave(invocation, EXIT_USAGE);
        }
        const struct tool_option *known = option_find(invocation->command, option);
        must(known != NULL);
        if (option_of(common_options, known->id) != NULL) {
            if (!common_take(invocation, known->id))
                return false;
        } else if (!fn(arg, known->id, optarg)) {
            return leave(invocation, EXIT_USAGE);
        }
    }
    invocation->words      = invocation->argv + optind;
    invocation->word_count = (size_t)(invocation->argc - optind);
    return true;
}

static void unknown_command_say(const char *name)
{
    struct nearest nearest;
    nearest_init(&nearest, span_str(name));
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++)
        nearest_offer(&nearest, (*at)->name);
    if (nearest.found != NULL)
        say("there is no command \"%s\"; did you mean %s?", name, nearest.found);
    else
        say("there is no command \"%s\"; see longwire --help", name);
}

/* No command at all: the help goes where errors go. */
static bool usage_say(struct invocation *invocation)
{
    struct buf text;
    buf_init(&text, HELP_BYTES_MAX);
    help_put(NULL, &text);
    fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&text)));
    buf_fini(&text);
    return leave(invocation, EXIT_USAGE);
}

bool invocation_begin(struct invocation *invocation, int argc, char **argv)
{
    *invocation = (struct invocation){ .argc = argc, .argv = argv };
    target_init(&invocation->target);
    if (!options_take(invocation, "+:", NULL, NULL))
        return false;
    if (invocation->word_count == 0) {
        return usage_say(invocation);
    }
    /* "version" as a word is what many tools take. */
    if (span_eq(span_str(invocation->words[0]), SPAN("version")))
        return common_take(invocation, OPTION_VERSION);
    invocation->command = command_find(span_str(invocation->words[0]));
    if (invocation->command == NULL) {
        unknown_command_say(invocation->words[0]);
        return leave(invocation, EXIT_USAGE);
    }
    invocation->argv = invocation->words;
    invocation->argc = (int)invocation->word_count;
    return true;
}

bool invocation_read(struct invocation *invocation, option_fn *fn, void *arg)
{
    const struct tool_command *command = invocation->command;

    if (!options_take(invocation, ":", fn, arg))
        return false;
    if (invocation->word_count < command->words_min || invocation->word_count > command->words_max) {
        say("%s", command->words_ask);
        return leave(invocation, EXIT_USAGE);
    }
    if (!command->is_local && !target_is_sound(&invocation->target))
        return leave(invocation, EXIT_USAGE);
    if (!command->is_local && invocation->target.is_native && !command->is_native) {
        say("longwire %s asks over HTTP: --server http://HOST:8080", command->name);
        return leave(invocation, EXIT_USAGE);
    }
    return true;
}
