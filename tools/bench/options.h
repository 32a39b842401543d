/* options.h - the options of the command line. Numbers have a minimum and a maximum; the list is in options.c. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct options {
    const char *peer;
    const char *transport;
    const char *server;     /* one, or several with commas */
    const char *publish_to; /* NULL: the first of them */
    const char *namespace;  /* the prefix of the run's channel names; NULL: the scenario chooses */
    const char *name;       /* what stands behind it; NULL: something that no other run has */
    const char *tokens;     /* a file with a token a line, for connections in turn; NULL: they come without */
    const char *fault;

    uint64_t pid;
    uint64_t subscribers, connections, channels;
    uint64_t in_flight, publishers, batch, at_once, missed, first;
    uint64_t rate;
    uint64_t seconds_ms, warmup_ms, settle_ms;
    uint64_t threads;
    bool     is_coalesced, is_greeted, may_lose;
};

/* Reads `--name value` pairs. Ends the program with a message when one can't be used, or after --help. */
void options_read(struct options *options, int argc, char **argv);

/* One line an option, on standard output. */
void options_help(void);

/* The first of --server as an address, the one for reader `index`, and where to publish; ends the program if it isn't
 * IPV4:PORT. */
struct sockaddr_in options_server(const struct options *options);
struct sockaddr_in options_server_at(const struct options *options, uint64_t index);
struct sockaddr_in options_publish_server(const struct options *options);

#endif
