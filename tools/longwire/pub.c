/* pub.c - `longwire pub`: publishes one message, or each line of standard input.
 *
 * One request is under way at a time, so the order is kept; lines that come meanwhile go as a batch. Each message
 * has an idempotency key from its first try on, so that a repeated request never publishes twice, even if an answer
 * was lost. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/must.h"
#include "base/utf8.h"
#include "longwire/backoff.h"
#include "longwire/http.h"
#include "longwire/lines.h"
#include "longwire/print.h"

static const char help[] =
    "longwire pub CHANNEL [DATA|-] [options] - publish\n"
    "\n"
    "DATA is one message. With - or without DATA each line of standard input is a message (any\n"
    "bytes, the newline left out), sent as soon as it is there; lines that pile up are sent in\n"
    "batches, in order. A message is acknowledged once it is safe; then one line is printed:\n"
    "`channel seq id`.\n"
    "\n"
    "When the server is busy or full for now (429, 503, 507) the same message is tried again, as\n"
    "late as the server asks for. Each message carries an idempotency key, so nothing is doubled.\n"
    "Should it put off single lines of a batch, those come behind the others of that batch.\n"
    "\n"
    "  --media TYPE     media type of the messages, for instance application/json; without it\n"
    "                   text/plain if they are UTF-8, else application/octet-stream\n"
    "  --ttl S          they expire after S seconds\n"
    "  --key-id KEY     the idempotency key; for lines KEY-1, KEY-2 ..., so that the same input can\n"
    "                   be sent again and only what is missing is published (default: random)\n"
    "  --rate N         at most N messages a second (also written N/s)\n"
    "  --retry          wait for a server that can't be reached, too\n"
    "  --timeout S      give up after S seconds\n"
    "  --count-only     print only how many were published, at the end\n"
    "  -q, --quiet      print nothing but errors\n"
    CLI_COMMON_HELP
    "\n"
    "A message the server refuses ends the command with status 1; of lines that were sent along\n"
    "with it in one batch some may be published all the same: they are printed.\n"
    "\n"
    CLI_EXIT_HELP
    "\n"
    "Examples\n"
    "  longwire pub topic:hello 'Hello, world'\n"
    "  longwire pub topic:prices '{\"eur\":1.09}' --media application/json --ttl 60\n"
    "  tail -f app.log | longwire pub topic:log -q\n"
    "  seq 1000 | longwire pub topic:numbers --rate 100/s --count-only\n";

enum {
    BATCH_COUNT_MAX = 100,         /* fewer once a server has said that is too many */
    BATCH_BYTES_MAX = 512 * 1024,  /* of the request's body */
    KEY_BYTES_MAX   = 200,
    TTL_S_MAX       = 10 * 366 * 24 * 3600,
};

struct item {
    struct span data;     /* borrowed from the input */
    uint64_t    number;   /* of the line, from 1 */
    bool        is_done;  /* acknowledged or refused */
};

struct pub {
    struct target  target;
    const char    *channel;
    const char    *data;           /* NULL: lines of standard input */
    const char    *media;          /* NULL: not said */
    const char    *key;            /* NULL: random */
    uint64_t       ttl_s;
    bool           has_ttl;
    double         rate;           /* messages a second; 0: no limit */
    msec           until;          /* 0: no end */
    bool           has_patience;   /* --retry */
    bool           is_count_only;
    bool           is_quiet;

    struct http    http;
    struct printer printer;
    struct backoff backoff;
    struct buf     path;           /* of the channel's messages, NUL-terminated */
    char           random_key[33];
    struct item    items[BATCH_COUNT_MAX];
    size_t         item_count;
    struct buf     body;
    size_t         batch_count;    /* how many messages are in it */
    size_t         batch_count_max;
    struct buf     decoded;
    size_t         result_at;      /* which item the next result of a batch is for */
    uint64_t       line_count;
    uint64_t       published;
    double         next_at;        /* --rate: the moment, in ms, of the next message */
    bool           is_refused;     /* a message was; go no further */
    bool           is_put_off;     /* one of the last batch was: not now */
};

/* --- one answer ------------------------------------------------------------------------------------------------- */

static void pub_print(struct pub *pub, const struct field *seq, const struct field *id)
{
    struct buf line;
    if (pub->is_quiet || pub->is_count_only)
        return;
    buf_init(&line, 4096);
    buf_put(&line, span_str(pub->channel));
    buf_putc(&line, ' ');
    put_visible(&line, seq->text);
    buf_putc(&line, ' ');
    put_visible(&line, id->text);
    buf_putc(&line, '\n');
    printer_write(&pub->printer, buf_span(&line));
    buf_fini(&line);
}

static void pub_refused(struct pub *pub, struct item *item, int status, struct span problem)
{
    char where[48] = "";
    if (pub->data == NULL)
        snprintf(where, sizeof where, "line %llu: ", (unsigned long long)item->number);
    http_say_problem(where, status, problem);
    item->is_done   = true;
    pub->is_refused = true;
}

/* `json` is the 201's object for this item. False: it is none. */
static bool pub_acknowledged(struct pub *pub, struct item *item, struct span json)
{
    struct field fields[] = { { .name = "seq" }, { .name = "id" } };
    if (!fields_read(json, fields, 2, &pub->decoded) || !fields[0].is_there)
        return false;
    pub_print(pub, &fields[0], &fields[1]);
    item->is_done = true;
    pub->published++;
    backoff_reset(&pub->backoff);
    return true;
}

/* --- one message ------------------------------------------------------------------------------------------------ */

static const char *pub_key(const struct pub *pub, const struct item *item, char *scratch, size_t size)
{
    if (pub->data != NULL)
        return pub->key != NULL ? pub->key : pub->random_key;
    snprintf(scratch, size, "%s-%llu", pub->key != NULL ? pub->key : pub->random_key, (unsigned long long)item->number);
    return scratch;
}

static void pub_send_one(struct pub *pub, struct item *item, struct http_answer *ret)
{
    char                key[KEY_BYTES_MAX + 32];
    struct http_request request = {
        .method          = "POST",
        .path            = pub->path.at,
        .media           = pub->media,
        .idempotency_key = pub_key(pub, item, key, sizeof key),
        .has_body        = true,
        .body            = item->data,
        .until           = pub->until,
    };
    http_ask(&pub->http, &request, ret);
}

/* --- a batch ---------------------------------------------------------------------------------------------------- */

/* As a string if that means the same bytes, else as base64. With a media type of its own a string could be
 * understood in different ways; base64 can't. */
static void pub_put_data(struct buf *body, const struct pub *pub, struct span data)
{
    if (pub->media == NULL && utf8_is_valid(data)) {
        buf_put_lit(body, "\"data\":");
        json_put_string(body, data);
        return;
    }
    buf_put_lit(body, "\"data_base64\":\"");
    base64_put(body, data);
    buf_putc(body, '"');
}

static void pub_put_item(struct buf *body, const struct pub *pub, const struct item *item)
{
    char key[KEY_BYTES_MAX + 32];
    buf_put_lit(body, "{\"channel\":");
    json_put_string(body, span_str(pub->channel));
    buf_putc(body, ',');
    pub_put_data(body, pub, item->data);
    if (pub->media != NULL) {
        buf_put_lit(body, ",\"media\":");
        json_put_string(body, span_str(pub->media));
    }
    if (pub->has_ttl)
        buf_putf(body, ",\"ttl\":%llu", (unsigned long long)pub->ttl_s);
    buf_put_lit(body, ",\"key\":");
    json_put_string(body, span_str(pub_key(pub, item, key, sizeof key)));
    buf_putc(body, '}');
}

static struct item *pub_next_waiting(struct pub *pub, size_t from)
{
    for (size_t i = from; i < pub->item_count; i++)
        if (!pub->items[i].is_done)
            return &pub->items[i];
    return NULL;
}

static size_t index_after(const struct pub *pub, const struct item *item)
{
    return (size_t)(item - pub->items) + 1;
}

/* Fills the body with what waits: at least 1 message, and as many as go into one batch. */
static void pub_put_batch(struct pub *pub)
{
    size_t       count = 0;
    struct item *item  = pub_next_waiting(pub, 0);

    buf_clear(&pub->body);
    buf_put_lit(&pub->body, "{\"messages\":[");
    for (; item != NULL && count < pub->batch_count_max; item = pub_next_waiting(pub, index_after(pub, item))) {
        size_t before = pub->body.len;
        if (count > 0)
            buf_putc(&pub->body, ',');
        pub_put_item(&pub->body, pub, item);
        if (count > 0 && pub->body.len > BATCH_BYTES_MAX) {
            pub->body.len = before;
            break;
        }
        count++;
    }
    buf_put_lit(&pub->body, "]}");
    must(!buf_is_over(&pub->body));
    pub->batch_count = count;
}

/* One of "results"; its item is the next that waits. */
static bool pub_on_result(void *arg, struct span result)
{
    struct pub       *pub      = arg;
    struct field fields[] = { { .name = "status" } };
    uint64_t          status   = 0;
    struct item      *item     = pub_next_waiting(pub, pub->result_at);

    if (item == NULL || !fields_read(result, fields, 1, &pub->decoded) || !field_u64(&fields[0], &status))
        return false;
    pub->result_at = index_after(pub, item);
    if (status / 100 == 2)
        return pub_acknowledged(pub, item, result);
    if (http_is_later((int)(status % 1000)))
        pub->is_put_off = true;
    else
        pub_refused(pub, item, (int)(status % 1000), result);
    return true;
}

static bool pub_take_results(struct pub *pub, struct span body)
{
    pub->result_at  = 0;
    pub->is_put_off = false;
    return elements_each(body, "results", pub_on_result, pub) && pub->result_at > 0;
}

static void pub_send_batch(struct pub *pub, struct http_answer *ret)
{
    struct http_request request = {
        .method   = "POST",
        .path     = "/v1/messages",
        .media    = "application/json",
        .has_body = true,
        .body     = buf_span(&pub->body),
        .until    = pub->until,
    };
    http_ask(&pub->http, &request, ret);
}

/* --- until it's done -------------------------------------------------------------------------------------------- */

static void pub_say_left(const struct pub *pub, const struct item *item)
{
    if (pub->data == NULL)
        say("%llu lines were acknowledged; line %llu was not.", (unsigned long long)pub->published,
            (unsigned long long)item->number);
}

/* Waits before `item` is tried again. EXIT_FINE: now. */
static int pub_pause(struct pub *pub, const char *why, msec retry_after_ms, const struct item *item)
{
    msec wait_ms = retry_after_ms >= 0 ? retry_after_ms : backoff_next(&pub->backoff);
    if (!pub->is_quiet)
        say("%s; next try in %.1f s", why, (double)wait_ms / 1000);

    (void)http_sleep(&pub->http, wait_ms, pub->until);  /* nothing interrupts it: there is no stop_fd */
    if (pub->until == 0 || msec_now() < pub->until)
        return EXIT_FINE;
    say("gave up after --timeout.");
    pub_say_left(pub, item);
    return EXIT_TIMEOUT;
}

/* No answer came. EXIT_FINE: try again. */
static int pub_lost(struct pub *pub, const struct http_answer *answer, const struct item *item)
{
    if (pub->has_patience && answer->end != HTTP_TIMEOUT)
        return pub_pause(pub, answer->why, -1, item);
    int exit_code = http_complain(&pub->http, answer);
    pub_say_left(pub, item);
    return exit_code;
}

/* What the answer to one message or to a batch means. EXIT_FINE: go on with what still waits. */
static int pub_judge(struct pub *pub, const struct http_answer *answer, struct item *first, bool is_batch)
{
    struct span body = buf_span(&answer->body);
    char        why[64];

    if (answer->end != HTTP_DONE)
        return pub_lost(pub, answer, first);
    if (http_is_later(answer->status)) {
        snprintf(why, sizeof why, "the server asks to wait (HTTP %d)", answer->status);
        return pub_pause(pub, why, answer->retry_after_ms, first);
    }
    if (answer->status == 413 && is_batch) {
        pub->batch_count_max = pub->batch_count / 2;  /* one alone is no batch, so this stays above 0 */
        return EXIT_FINE;
    }
    if (!http_is_2xx(answer)) {
        pub_refused(pub, first, answer->status, body);
        return EXIT_FINE;
    }
    if (!(is_batch ? pub_take_results(pub, body) : pub_acknowledged(pub, first, body)))
        return http_complain(&pub->http, answer);
    if (!is_batch || !pub->is_put_off || pub->is_refused)
        return EXIT_FINE;
    return pub_pause(pub, "the server put off a part of the lines", answer->retry_after_ms, pub_next_waiting(pub, 0));
}

static int pub_round(struct pub *pub, struct item *first)
{
    struct http_answer answer;

    pub_put_batch(pub);
    bool is_batch = pub->batch_count > 1;
    if (is_batch)
        pub_send_batch(pub, &answer);
    else
        pub_send_one(pub, first, &answer);
    int exit_code = pub_judge(pub, &answer, first, is_batch);
    http_answer_fini(&answer);
    return exit_code;
}

/* Publishes pub->items. EXIT_FINE: all are acknowledged, and their lines printed. */
static int pub_items(struct pub *pub)
{
    int          exit_code = EXIT_FINE;
    struct item *first;

    while (exit_code == EXIT_FINE && !pub->is_refused && (first = pub_next_waiting(pub, 0)) != NULL)
        exit_code = pub_round(pub, first);
    if (printer_flush(&pub->printer) != PRINTED && exit_code == EXIT_FINE)
        exit_code = EXIT_REFUSED;
    return pub->is_refused ? EXIT_REFUSED : exit_code;
}

/* --- lines ------------------------------------------------------------------------------------------------------ */

/* How many may be sent now; waits until it is at least one. After a pause, at most the messages of one second are
 * caught up. */
static size_t pub_due(struct pub *pub)
{
    if (pub->rate <= 0)
        return BATCH_COUNT_MAX;
    double now = (double)msec_now();
    if (now < pub->next_at) {
        (void)http_sleep(&pub->http, (msec)(pub->next_at - now) + 1, pub->until);
        now = (double)msec_now();
    }
    if (pub->next_at < now - 1000)
        pub->next_at = now - 1000;
    double due = (now - pub->next_at) * pub->rate / 1000 + 1;
    return due < BATCH_COUNT_MAX ? (size_t)(due > 1 ? due : 1) : BATCH_COUNT_MAX;
}

static void pub_take_lines(struct pub *pub, struct lines *lines)
{
    size_t      due = pub_due(pub);
    struct span line;

    pub->item_count = 0;
    while (pub->item_count < due && lines_take(lines, &line))
        pub->items[pub->item_count++] = (struct item){ .data = line, .number = ++pub->line_count };
    if (pub->rate > 0)
        pub->next_at += (double)pub->item_count * 1000 / pub->rate;
}

static int pub_lines(struct pub *pub)
{
    struct lines   lines;
    enum lines_end end;
    int            exit_code = EXIT_FINE;

    lines_init(&lines, STDIN_FILENO);
    pub->next_at = (double)msec_now();
    while (exit_code == EXIT_FINE && (end = lines_wait(&lines)) != LINES_NONE) {
        if (end == LINES_SOME) {
            pub_take_lines(pub, &lines);
            exit_code = pub_items(pub);
            continue;
        }
        if (end == LINES_LONG)
            say("line %llu has more than %d bytes", (unsigned long long)pub->line_count + 1, LINE_BYTES_MAX);
        else
            say("can't read standard input: %s", strerror(errno));
        exit_code = EXIT_REFUSED;
    }
    lines_fini(&lines);
    return exit_code;
}

static int pub_data(struct pub *pub)
{
    pub->items[0]   = (struct item){ .data = span_str(pub->data), .number = 1 };
    pub->item_count = 1;
    return pub_items(pub);
}

/* --- the command line ------------------------------------------------------------------------------------------- */

static const struct option options[] = {
    { "media", required_argument, NULL, 'm' },  { "ttl", required_argument, NULL, 't' },
    { "key-id", required_argument, NULL, 'k' }, { "rate", required_argument, NULL, 'r' },
    { "retry", no_argument, NULL, 'R' },        { "timeout", required_argument, NULL, 'T' },
    { "count-only", no_argument, NULL, 'c' },   { "quiet", no_argument, NULL, 'q' },
    CLI_COMMON_OPTIONS,
};

/* A value that becomes a header must be one line of visible characters. */
static bool is_header_value(const char *name, const char *text, size_t bytes_max)
{
    size_t len = strlen(text);
    bool   is_good = len > 0 && len <= bytes_max && text[0] != ' ';
    for (size_t i = 0; i < len; i++)
        is_good = is_good && text[i] >= ' ' && text[i] <= '~';
    if (!is_good)
        say("%s needs 1 to %zu plain characters", name, bytes_max);
    return is_good;
}

static bool pub_set_rate(struct pub *pub, const char *text)
{
    char *end;
    pub->rate = strtod(text, &end);
    if (end != text && (*end == '\0' || span_eq(span_str(end), SPAN("/s"))) && pub->rate > 0 && pub->rate <= 1e9)
        return true;
    say("--rate needs a number of messages a second, not \"%s\"", text);
    return false;
}

static bool pub_set_ttl(struct pub *pub, const char *text)
{
    pub->has_ttl = true;
    if (!cli_u64("--ttl", text, &pub->ttl_s))
        return false;
    if (pub->ttl_s >= 1 && pub->ttl_s <= TTL_S_MAX)
        return true;
    say("--ttl needs 1 to %d seconds", TTL_S_MAX);
    return false;
}

static bool pub_set_timeout(struct pub *pub, const char *text)
{
    msec timeout_ms;
    if (!cli_seconds("--timeout", text, &timeout_ms))
        return false;
    pub->until = msec_now() + timeout_ms;
    return true;
}

static enum option_next pub_option(struct pub *pub, int option, int *ret_exit)
{
    bool is_good = true;
    switch (option) {
    case 'm': pub->media = optarg; is_good = is_header_value("--media", optarg, MEDIA_BYTES_MAX); break;
    case 'k': pub->key = optarg; is_good = is_header_value("--key-id", optarg, KEY_BYTES_MAX); break;
    case 't': is_good = pub_set_ttl(pub, optarg); break;
    case 'r': is_good = pub_set_rate(pub, optarg); break;
    case 'T': is_good = pub_set_timeout(pub, optarg); break;
    case 'R': pub->has_patience = true; break;
    case 'c': pub->is_count_only = true; break;
    case 'q': pub->is_quiet = true; break;
    default: return target_option(&pub->target, option, help, ret_exit);
    }
    *ret_exit = EXIT_USAGE;
    return is_good ? OPTION_TAKEN : OPTION_END;
}

static bool pub_parse(struct pub *pub, int argc, char **argv, int *ret_exit)
{
    int option;
    while ((option = getopt_long(argc, argv, "q", options, NULL)) != -1)
        if (pub_option(pub, option, ret_exit) == OPTION_END)
            return false;

    *ret_exit = EXIT_USAGE;
    int words = argc - optind;
    if (words < 1 || words > 2) {
        say(words < 1 ? "which channel? For instance: longwire pub topic:hello 'Hello, world'"
                      : "one message at a time: put quotes around DATA that holds spaces");
        return false;
    }
    pub->channel = argv[optind];
    pub->data    = words == 2 && !span_eq(span_str(argv[optind + 1]), SPAN("-")) ? argv[optind + 1] : NULL;
    if (!utf8_is_valid(span_str(pub->channel)) || strlen(pub->channel) > 1024) {
        say("that is no channel's name: not UTF-8, or too long");
        return false;
    }
    return target_is_sound(&pub->target);
}

static void pub_make_path(struct pub *pub)
{
    buf_put_lit(&pub->path, "/v1/channels/");
    http_put_encoded(&pub->path, span_str(pub->channel));
    buf_put_lit(&pub->path, "/messages");
    if (pub->has_ttl)
        buf_putf(&pub->path, "?ttl=%llu", (unsigned long long)pub->ttl_s);
    buf_putc(&pub->path, '\0');
}

static void pub_make_key(struct pub *pub)
{
    unsigned char random[16];
    must(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(pub->random_key + 2 * i, 3, "%02x", random[i]);
}

static int pub_run(struct pub *pub)
{
    http_init(&pub->http, &pub->target, -1);
    printer_init(&pub->printer, FORMAT_TEXT);
    backoff_init(&pub->backoff);
    pub_make_path(pub);
    pub_make_key(pub);
    int exit_code = pub->data != NULL ? pub_data(pub) : pub_lines(pub);
    if (pub->is_count_only)
        printf("%llu\n", (unsigned long long)pub->published);
    if (printer_flush(&pub->printer) != PRINTED && exit_code == EXIT_FINE)
        exit_code = EXIT_REFUSED;
    printer_fini(&pub->printer);
    http_fini(&pub->http);
    return exit_code;
}

int command_pub(int argc, char **argv)
{
    struct pub *pub = calloc(1, sizeof *pub);
    int         exit_code;

    must(pub != NULL);
    target_init(&pub->target);
    pub->batch_count_max = BATCH_COUNT_MAX;
    buf_init(&pub->path, 4096);
    buf_init(&pub->body, SIZE_MAX);
    buf_init(&pub->decoded, HTTP_BODY_BYTES_MAX);
    if (pub_parse(pub, argc, argv, &exit_code))
        exit_code = pub_run(pub);
    buf_fini(&pub->path);
    buf_fini(&pub->body);
    buf_fini(&pub->decoded);
    free(pub);
    return exit_code;
}
