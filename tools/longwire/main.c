/* main.c - `longwire`: the command line tool. Finds the command and runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "longwire/cli.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "sub", command_sub },   { "pub", command_pub },       { "history", command_history },
    { "info", command_info }, { "recall", command_recall },
};

static const char help[] =
    "longwire - talk to a Longwire server from the command line\n"
    "\n"
    "  longwire sub CHANNEL...          follow channels, print each message as it comes\n"
    "  longwire pub CHANNEL [DATA|-]    publish a message, or each line of standard input\n"
    "  longwire history CHANNEL         print what a channel keeps\n"
    "  longwire info [CHANNEL]          how the server is, or a channel\n"
    "  longwire recall CHANNEL SEQ      take a message back\n"
    "\n"
    "  longwire COMMAND --help          all about one of them, with examples\n"
    "\n"
    "A channel is named namespace:name, for instance topic:prices, user:alice or live:scores.\n"
    "\n"
    "All commands take, before their name or behind it\n"
    CLI_COMMON_HELP
    "\n"
    "  longwire --version               which version this is\n"
    "\n"
    CLI_EXIT_HELP
    "\n"
    "Try it\n"
    "  longwire sub topic:hello                    in one terminal, and in another\n"
    "  longwire pub topic:hello 'Hello, world'\n";

/* Where the command's name stands: the common options may come before it. argc if there is none. */
static int name_find(int argc, char **argv)
{
    int at = 1;

    while (at < argc) {
        struct span word = span_str(argv[at]);
        if (span_eq(word, SPAN("--server")) || span_eq(word, SPAN("--key")))
            at += 2;
        else if (span_starts(word, SPAN("--server=")) || span_starts(word, SPAN("--key=")))
            at++;
        else
            return at;
    }
    return argc;
}

/* argv[0] becomes "longwire", because getopt begins its messages with it. */
static int command_run(const struct command *command, int name_at, int argc, char **argv)
{
    memmove(argv + 2, argv + 1, (size_t)(name_at - 1) * sizeof *argv);
    argv[1] = (char[]){ "longwire" };
    return command->run(argc - 1, argv + 1);
}

static const struct command *command_find(struct span name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (span_eq(name, span_str(commands[i].name)))
            return &commands[i];
    return NULL;
}

static int help_give(const char *name)
{
    const struct command *command = command_find(span_str(name));

    if (command != NULL)
        return command->run(2, (char *[]){ (char[]){ "longwire" }, (char[]){ "--help" }, NULL });
    fputs(help, stdout);
    return EXIT_FINE;
}

int main(int argc, char **argv)
{
    int                   name_at = name_find(argc, argv);
    struct span           name    = span_str(name_at < argc ? argv[name_at] : NULL);
    const struct command *command = command_find(name);

    /* If the reader of our output leaves, the write that fails reports it, where it can be handled. */
    signal(SIGPIPE, SIG_IGN);

    if (command != NULL)
        return command_run(command, name_at, argc, argv);
    if (span_eq(name, SPAN("--help")) || span_eq(name, SPAN("-h")) || span_eq(name, SPAN("help")))
        return help_give(name_at + 1 < argc ? argv[name_at + 1] : NULL);
    if (span_eq(name, SPAN("--version")) || span_eq(name, SPAN("version"))) {
        puts("longwire " LONGWIRE_VERSION);
        return EXIT_FINE;
    }
    if (name.len == 0)
        fputs(help, stderr);
    else
        say("there is no command \"%s\"; see longwire --help", name.at);
    return EXIT_USAGE;
}
