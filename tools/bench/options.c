#include "bench/options.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "bench/die.h"
#include "bench/delivery_log.h"

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_FLAG };

struct option_row {
    const char      *name;
    enum option_kind kind;
    size_t           offset;
    const char      *normal;  /* the default, as one would type it; NULL: none */
    uint64_t         min, max;
    const char      *help;
};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    { "--peer", OPTION_TEXT, AT(peer), "longwire", 0, 0, "longwire, longwire-native, nchan, mosquitto, redis, nats or baseline" },
    { "--transport", OPTION_TEXT, AT(transport), NULL, 0, 0, "ws, sse, poll or tcp; by default the peer's first" },
    { "--server", OPTION_TEXT, AT(server), "127.0.0.1:8080", 0, 0, "the server's address, or several with commas that readers are spread over; where the baseline listens" },
    { "--publish-to", OPTION_TEXT, AT(publish_to), NULL, 0, 0, "another node of the cluster, where to publish; by default the first of --server" },
    { "--namespace", OPTION_TEXT, AT(namespace), NULL, 0, 0, "what channel names begin with" },
    { "--name", OPTION_TEXT, AT(name), NULL, 0, 0, "… and go on with, before a number; by default something new" },
    { "--tokens", OPTION_TEXT, AT(tokens), NULL, 0, 0, "connect: a file of tokens, one a line, used in turn" },
    { "--pid", OPTION_NUMBER, AT(pid), NULL, 1, 1u << 22, "the server's first process; its descendants count too" },
    { "--subscribers", OPTION_NUMBER, AT(subscribers), "1000", 1, 50000, "readers" },
    { "--connections", OPTION_NUMBER, AT(connections), "10000", 1, 1000000, "idle: held; connect: made and closed" },
    { "--channels", OPTION_NUMBER, AT(channels), "10000", 1, 1000000, "durable: channels to publish into at random" },
    { "--in-flight", OPTION_NUMBER, AT(in_flight), "16", 1, DELIVERY_LOG_SLOTS / 2, "messages on the way" },
    { "--publishers", OPTION_NUMBER, AT(publishers), "1", 1, 4096, "publisher connections, each pipelined" },
    { "--batch", OPTION_NUMBER, AT(batch), "1", 1, 10000, "durable: messages in a request" },
    { "--at-once", OPTION_NUMBER, AT(at_once), "64", 1, 4096, "connections that are being made at once" },
    { "--missed", OPTION_NUMBER, AT(missed), "10", 1, 1000, "storm: messages for each session" },
    { "--first", OPTION_NUMBER, AT(first), "0", 0, 100000000, "hold: the number of the first user" },
    { "--rate", OPTION_NUMBER, AT(rate), "50", 1, 1000000, "rate, requests: so many a second" },
    { "--seconds-ms", OPTION_NUMBER, AT(seconds_ms), "3000", 1, 3600000, "how long to publish" },
    { "--warmup-ms", OPTION_NUMBER, AT(warmup_ms), "500", 1, 3600000, "how long to publish before that, unmeasured" },
    { "--settle-ms", OPTION_NUMBER, AT(settle_ms), "200", 0, 3600000, "rest before the server is read" },
    { "--threads", OPTION_NUMBER, AT(threads), "1", 1, 64, "threads that the readers are spread over" },
    { "--coalesced", OPTION_FLAG, AT(is_coalesced), NULL, 0, 0, "baseline: one send per reader and turn" },
    { "--greeted", OPTION_FLAG, AT(is_greeted), NULL, 0, 0, "unicast: begin once each reader has got a message, however many it took; with one thread" },
    { "--may-lose", OPTION_FLAG, AT(may_lose), NULL, 0, 0, "unicast: a peer that loses messages is measured all the same, by what it delivered" },
    { "--fault", OPTION_TEXT, AT(fault), NULL, 0, 0, "baseline: lose, double or swap a message in a hundred" },
};

static void option_set(struct options *options, const struct option_row *row, const char *text)
{
    void    *field = (char *)options + row->offset;
    uint64_t number;
    switch (row->kind) {
    case OPTION_TEXT:
        *(const char **)field = text;
        break;
    case OPTION_NUMBER:
        if (!span_u64(span_str(text), &number) || number < row->min || number > row->max)
            die("%s %s: a number from %llu to %llu is wanted", row->name, text, (unsigned long long)row->min,
                (unsigned long long)row->max);
        *(uint64_t *)field = number;
        break;
    case OPTION_FLAG:
        *(bool *)field = true;
        break;
    }
}

static const struct option_row *option_find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    die("%s: no such option; see --help", name);
}

void options_read(struct options *options, int argc, char **argv)
{
    *options = (struct options){ 0 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].normal != NULL)
            option_set(options, &rows[i], rows[i].normal);

    for (int i = 0; i < argc; i++) {
        const struct option_row *row = option_find(argv[i]);
        if (row->kind != OPTION_FLAG && ++i == argc)
            die("%s wants a value", row->name);
        option_set(options, row, argv[i]);
    }
}

void options_help(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf("  %-15s %s%s%s%s\n", rows[i].name, rows[i].help, rows[i].normal == NULL ? "" : " (",
               rows[i].normal == NULL ? "" : rows[i].normal, rows[i].normal == NULL ? "" : ")");
}

static struct sockaddr_in address_of(struct span port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct span        whole   = port, host;
    uint64_t           number;
    char               text[INET_ADDRSTRLEN];
    if (!span_cut(&port, ':', &host) || host.len >= sizeof text || !span_u64(port, &number) || number > 65535)
        die("%.*s: IPV4:PORT is wanted", SPAN_ARG(whole));
    snprintf(text, sizeof text, "%.*s", SPAN_ARG(host));
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
        die("%.*s: IPV4:PORT is wanted", SPAN_ARG(whole));
    address.sin_port = htons((uint16_t)number);
    return address;
}

struct sockaddr_in options_server_at(const struct options *options, uint64_t index)
{
    struct span list = span_str(options->server), one = list;
    uint64_t    count = 1;

    for (size_t i = 0; i < list.len; i++)
        count += list.at[i] == ',';
    for (uint64_t left = index % count + 1; left > 0 && span_cut(&list, ',', &one); left--)
        ;
    return address_of(one);
}

struct sockaddr_in options_server(const struct options *options)
{
    return options_server_at(options, 0);
}

struct sockaddr_in options_publish_server(const struct options *options)
{
    return options->publish_to == NULL ? options_server(options) : address_of(span_str(options->publish_to));
}
