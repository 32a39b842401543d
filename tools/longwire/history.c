/* history.c - `longwire history`: prints what a channel keeps, of any length, page by page. */
#include "longwire/channel_name.h"
#include "longwire/command.h"
#include "longwire/duration.h"
#include "longwire/http.h"
#include "longwire/print.h"

enum { LIMIT_DEFAULT = 100, PAGE_MAX = 1000 };

/* A page as it is kept here: 4 MiB of payload and the entry that reaches that, each byte as \u0000 at worst, and what
 * stands around the payloads of PAGE_MAX entries. */
enum { PAGE_BYTES_MAX = 6 * 4 * 1024 * 1024 + ENTRY_BYTES_MAX + PAGE_MAX * 2048 };

/* "Before the end": more than any head, and a number every JSON reader can hold. */
#define SEQ_BEYOND_ALL 9007199254740991u

struct history {
    const char      *channel;
    bool             has_after, has_before, is_all;
    uint64_t         after, before;
    const char      *since;       /* NULL: not said */
    msec             until_ms;    /* since 1970; 0: not said */
    uint64_t         limit;       /* with is_all 0 means none */

    struct http      http;
    struct printer   printer;
    struct buf       decoded;
    bool             has_page;    /* one has come: the next begins behind it */
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
    http_put_channel_path(path, history->channel);
    buf_put_lit(path, "/messages");
    if (history->since != NULL && !history->has_page) {
        buf_put_lit(path, "?since=");
        must(moment_put_query(path, span_str(history->since), msec_since_1970()));
    } else if (history->is_all || history->has_after) {
        buf_putf(path, "?after=%llu", (unsigned long long)history->last_seq);
    } else {
        buf_putf(path, "?before=%llu", (unsigned long long)(history->has_before ? history->before : SEQ_BEYOND_ALL));
    }
    if (history->until_ms != 0)
        buf_putf(path, "&until=%lld", (long long)history->until_ms);
    uint64_t page = history->is_all && (history->limit == 0 || history->limit > PAGE_MAX) ? PAGE_MAX : history->limit;
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
    buf_init(&path, HTTP_PATH_BYTES_MAX);
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
    history->has_page = true;
    history_flush(history);

    http_answer_fini(&answer);
    buf_fini(&path);
}

static bool history_option(void *arg, int option, const char *value)
{
    struct history *history = arg;
    switch (option) {
    case OPTION_AFTER: history->has_after = true; return cli_u64("--after", value, &history->after);
    case OPTION_BEFORE: history->has_before = true; return cli_u64("--before", value, &history->before);
    case OPTION_COUNT: return cli_u64("--limit", value, &history->limit);
    case OPTION_SINCE: history->since = value; return cli_moment("--since", value, &(msec){ 0 });
    case OPTION_UNTIL: return cli_moment("--until", value, &history->until_ms);
    case OPTION_FORMAT: return printer_take_format(&history->printer, value);
    case OPTION_JSON: return printer_take_format(&history->printer, "json");
    default: history->is_all = true; return true;
    }
}

/* False if the options contradict each other; the reason has been printed. */
static bool history_is_sound(struct history *history)
{
    if (history->has_after + history->has_before + (history->since != NULL) > 1) {
        say("--after, --before and --since exclude one another");
        return false;
    }
    history->is_all |= history->since != NULL;
    if (history->limit == 0 && !history->is_all)
        history->limit = LIMIT_DEFAULT;
    if (history->limit > PAGE_MAX && !history->is_all) {
        say("--limit is at most %d; take --all or --since with it for more", PAGE_MAX);
        return false;
    }
    return http_channel_fits(history->channel);
}

static bool history_parse(struct history *history, struct invocation *invocation)
{
    if (!invocation_read(invocation, history_option, history))
        return false;
    history->channel = invocation->words[0];
    if (history_is_sound(history))
        return true;
    invocation->exit = EXIT_USAGE;
    return false;
}

int command_history(struct invocation *invocation)
{
    struct history history = { .limit = 0 };

    printer_init(&history.printer);
    if (history_parse(&history, invocation)) {
        channel_name_warn(history.channel);
        buf_init(&history.decoded, ENTRY_BYTES_MAX);
        history.last_seq = history.after;
        http_init(&history.http, &invocation->target, -1);
        while (!history.is_over)
            history_page(&history);
        http_fini(&history.http);
        buf_fini(&history.decoded);
        invocation->exit = history.exit;
    }
    printer_fini(&history.printer);
    return invocation->exit;
}
