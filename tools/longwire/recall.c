/* recall.c - `longwire recall`: takes one message back. */
#include "longwire/channel_name.h"
#include "longwire/command.h"
#include "longwire/http.h"
#include "longwire/print.h"

static int recall_ask(struct http *http, const char *channel, uint64_t seq)
{
    struct http_answer answer;
    struct buf         text;

    buf_init(&text, HTTP_PATH_BYTES_MAX);
    http_put_channel_path(&text, channel);
    buf_putf(&text, "/messages/%llu", (unsigned long long)seq);
    buf_putc(&text, '\0');
    struct http_request request = { .method = "DELETE", .path = text.at, .accept = "application/json" };

    http_ask(http, &request, &answer);
    bool is_done = answer.end == HTTP_DONE && http_is_2xx(&answer);
    int  exit    = is_done ? EXIT_FINE : http_complain(http, &answer);
    if (is_done) {
        buf_clear(&text);
        buf_putf(&text, "recalled %s %llu\n", channel, (unsigned long long)seq);
        exit = print_once(buf_span(&text));
    }
    http_answer_fini(&answer);
    buf_fini(&text);
    return exit;
}

int command_recall(struct invocation *invocation)
{
    struct http http;
    uint64_t    seq;

    if (!invocation_read(invocation, NULL, NULL))
        return invocation->exit;
    const char *channel = invocation->words[0];
    if (!http_channel_fits(channel) || !cli_u64("SEQ", invocation->words[1], &seq))
        return EXIT_USAGE;
    channel_name_warn(channel);
    http_init(&http, &invocation->target, -1);
    int exit_code = recall_ask(&http, channel, seq);
    http_fini(&http);
    return exit_code;
}
