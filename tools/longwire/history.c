/* history.c - `longwire history`: prints what a channel keeps, of any length, page by page. */
#include <stdio.h>

#include "base/must.h"
#include "longwire/http.h"
#include "longwire/print.h"

static const char help[] =
    "longwire history CHANNEL [options] - print what a channel keeps, oldest first\n"
    "\n"
    "Without --after, --before or --all: the newest 100 messages.\n"
    "\n"
    "  --after N        those behind message N; 0: from the first that is kept\n"
    "  --before N       the last ones before message N\n"
    "  --limit N        at most N (default 100, at most 1000 unless --all)\n"
    "  --all            all of them; with --after or --before all on that side\n"
    "  --format FORMAT  text (the default) or json, see below\n"
    CLI_COMMON_HELP
    "\n"
    "Formats\n"
    "  text  on a terminal `channel  seq  time  data`, with control characters as \\xNN; into a\n"
    "        pipe or file the bytes of each message and a newline, nothing else. Gaps and\n"
    "        recalls are said on standard error.\n"
    "  json  each message, gap and recall as one line, as the server sent it\n"
    "\n"
    CLI_EXIT_HELP
    "\n"
    "Examples\n"
    "  longwire history topic:prices\n"
    "  longwire history topic:prices --before 1000 --limit 20\n"
    "  longwire history topic:orders --all --format json > orders.ndjson\n";

enum { LIMIT_DEFAULT = 100, PAGE_MAX = 1000, PATH_BYTES_MAX = 64 * 1024, CHANNEL_BYTES_MAX = 1024 };

/* A page as it is kept here: 4 MiB of payload and the entry that reaches that, each byte as \u0000 at worst, and what
 * stands around the payloads of PAGE_MAX entries. */
enum { PAGE_BYTES_MAX = 6 * 4 * 1024 * 1024 + ENTRY_BYTES_MAX + PAGE_MAX * 2048 };

/* "Before the end": more than any head, and a number every JSON reader can hold. */
#define SEQ_BEYOND_ALL 9007199254740991u

struct history {
    struct target    target;
    const char      *channel;
    bool             has_after, has_before, is_all;
    uint64_t         after, before;
    uint64_t         limit;       /* with is_all 0 means none */
    enum format      format;

    struct http      http;
    struct printer   printer;
    struct buf       decoded;
    uint64_t         page_count;  /* entries in it */
    uint64_t         count;       /* entries printed in all */
    uint64_t         last_seq;    /* of the last entry seen; at first `after` */
    bool             is_over;
    int              exit;
};

static bool history_leave(struct history *history, int exit_code)
{
    history->is_over = true;
    history->exit    = exit_code;
    return false;
}

static bool history_on_entry(void *arg, struct span line)
{
    struct history   *history = arg;
    struct entry_view entry;

    if (!entry_read(line, &history->decoded, &entry))
        return false;
    uint64_t seq = entry_last_seq(&entry);
    if (history->is_all && history->has_before && seq >= history->before)
        return history_leave(history, EXIT_FINE);
    printer_put(&history->printer, &entry);
    history->last_seq = seq;
    history->page_count++;
    if (++history->count == history->limit)
        return history_leave(history, EXIT_FINE);
    return true;
}

/* All of them are read forwards, whatever the bound: pages ascend. */
static void history_put_path(const struct history *history, struct buf *path)
{
    buf_put_lit(path, "/v1/channels/");
    http_put_encoded(path, span_str(history->channel));
    buf_put_lit(path, "/messages");
    if (history->is_all || history->has_after)
        buf_putf(path, "?after=%llu", (unsigned long long)history->last_seq);
    else
        buf_putf(path, "?before=%llu", (unsigned long long)(history->has_before ? history->before : SEQ_BEYOND_ALL));
    uint64_t page = history->is_all ? PAGE_MAX : history->limit;
    buf_putf(path, "&limit=%llu", (unsigned long long)page);
    buf_putc(path, '\0');
}

static void history_flush(struct history *history)
{
    switch (printer_flush(&history->printer)) {
    case PRINTED: break;
    case PRINTED_CLOSED: history_leave(history, EXIT_FINE); break;
    case PRINTED_FAILED: history_leave(history, EXIT_REFUSED); break;
    }
}

static void history_page(struct history *history)
{
    struct http_answer  answer;
    struct buf          path;
    struct http_request request = {
        .method = "GET", .accept = "application/json", .body_bytes_max = PAGE_BYTES_MAX,
    };
    buf_init(&path, PATH_BYTES_MAX);
    history_put_path(history, &path);
    request.path        = path.at;
    history->page_count = 0;
    uint64_t before     = history->last_seq;

    http_ask(&history->http, &request, &answer);
    bool is_whole = answer.end == HTTP_DONE && http_is_2xx(&answer) &&
                    elements_each(buf_span(&answer.body), "messages", history_on_entry, history);
    if (!history->is_over && !is_whole)
        history_leave(history, http_complain(&history->http, &answer));
    /* An empty page is the end. A page that does not lead further is the end, too, because the loop must end. */
    if (!history->is_over && (!history->is_all || history->page_count == 0 || history->last_seq <= before))
        history_leave(history, EXIT_FINE);
    history_flush(history);

    http_answer_fini(&answer);
    buf_fini(&path);
}

static const struct option options[] = {
    { "after", required_argument, NULL, 'a' },  { "before", required_argument, NULL, 'b' },
    { "limit", required_argument, NULL, 'l' },  { "all", no_argument, NULL, 'A' },
    { "format", required_argument, NULL, 'f' }, CLI_COMMON_OPTIONS,
};

static enum option_next history_option(struct history *history, int option, int *ret_exit)
{
    bool is_good = true;
    switch (option) {
    case 'a': history->has_after = true; is_good = cli_u64("--after", optarg, &history->after); break;
    case 'b': history->has_before = true; is_good = cli_u64("--before", optarg, &history->before); break;
    case 'l': is_good = cli_u64("--limit", optarg, &history->limit); break;
    case 'f': is_good = format_parse(optarg, &history->format); break;
    case 'A': history->is_all = true; break;
    default: return target_option(&history->target, option, help, ret_exit);
    }
    *ret_exit = EXIT_USAGE;
    return is_good ? OPTION_TAKEN : OPTION_END;
}

/* False if the options contradict each other; the reason has been printed. */
static bool history_is_sound(struct history *history)
{
    if (history->has_after && history->has_before) {
        say("--after and --before exclude one another");
        return false;
    }
    if (history->limit == 0 && !history->is_all)
        history->limit = LIMIT_DEFAULT;
    if (history->limit > PAGE_MAX && !history->is_all) {
        say("--limit is at most %d; take --all with it for more", PAGE_MAX);
        return false;
    }
    return target_is_sound(&history->target);
}

static bool history_parse(struct history *history, int argc, char **argv, int *ret_exit)
{
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (history_option(history, option, ret_exit) == OPTION_END)
            return false;

    *ret_exit = EXIT_USAGE;
    if (argc - optind != 1 || strlen(argv[optind]) > CHANNEL_BYTES_MAX) {
        say("one channel, please. For instance: longwire history topic:prices");
        return false;
    }
    history->channel = argv[optind];
    return history_is_sound(history);
}

int command_history(int argc, char **argv)
{
    struct history history = { .format = FORMAT_TEXT };
    int            exit_code;

    target_init(&history.target);
    if (!history_parse(&history, argc, argv, &exit_code))
        return exit_code;
    buf_init(&history.decoded, ENTRY_BYTES_MAX);
    history.last_seq = history.after;
    printer_init(&history.printer, history.format);
    http_init(&history.http, &history.target, -1);
    while (!history.is_over)
        history_page(&history);
    http_fini(&history.http);
    printer_fini(&history.printer);
    buf_fini(&history.decoded);
    return history.exit;
}
