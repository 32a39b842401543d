/* longwire-bench - measures a push server: what a delivery, a publish, a connection costs it, and whether it is
 * exact. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/die.h"
#include "bench/baseline.h"
#include "bench/options.h"
#include "bench/scenario.h"

static const struct {
    const char *name;
    int (*run)(const struct options *options);
    const char *help;
} scenarios[] = {
    { "fanout", scenario_fanout, "one channel, --subscribers readers, --in-flight messages on the way" },
    { "rate", scenario_rate, "the same at --rate messages a second; look at the latency" },
    { "unicast", scenario_unicast, "a channel for each reader, messages to random ones" },
    { "durable", scenario_durable, "acknowledged publishes into --channels channels, nobody listens" },
    { "requests", scenario_requests, "requests to a back end, --rate a second over --publishers links; look at the latency" },
    { "idle", scenario_idle, "the server's memory for --connections quiet readers" },
    { "connect", scenario_connect, "connect, subscribe, close, --connections times" },
    { "storm", scenario_storm, "--connections sessions come back by ticket, each with --missed messages" },
    { "hold", scenario_hold, "--connections sessions from user --first on, until standard input ends" },
    { "beat", scenario_beat, "heartbeats of --connections links" },
    { "acks", scenario_acks, "acknowledged publishes, without and with --connections sessions that acknowledge" },
};

static const struct {
    const char *peer, *transport;
} usual[] = {
    { "longwire", "ws" },   { "nchan", "ws" },  { "baseline", "ws" },
    { "mosquitto", "tcp" }, { "redis", "tcp" }, { "nats", "tcp" },    { "longwire-native", "tcp" },
};

static int help(void)
{
    puts("longwire-bench SCENARIO --peer PEER --server IPV4:PORT --pid PID [options]\n"
         "longwire-bench baseline --server IPV4:PORT [--coalesced]     serves as the least a server can be\n\n"
         "Prints one line of JSON; server_cpu_us is the server's processor time for each\n"
         "delivery, publish or connection.\n"
         "Exit status: 0 exact; 1 messages were lost, doubled, late or strayed; 2 it could not be measured.\n"
         "\nScenarios:");
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        printf("  %-15s %s\n", scenarios[i].name, scenarios[i].help);
    puts("\nOptions (and their defaults):");
    options_help();
    return EXIT_SUCCESS;
}

static const char *usual_transport(const char *peer)
{
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        if (strcmp(usual[i].peer, peer) == 0)
            return usual[i].transport;
    die("--peer %s: no such peer; see --help", peer);
}

int main(int argc, char **argv)
{
    struct options options;
    if (argc < 2 || strcmp(argv[1], "--help") == 0)
        return help();
    options_read(&options, argc - 2, argv + 2);
    if (strcmp(argv[1], "baseline") == 0)
        baseline_serve(&options);
    if (options.transport == NULL)
        options.transport = usual_transport(options.peer);
    if (options.pid == 0)
        die("--pid is wanted: the server's process");
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (strcmp(argv[1], scenarios[i].name) == 0)
            return scenarios[i].run(&options);
    die("%s: no such scenario; see --help", argv[1]);
}
