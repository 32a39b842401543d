/* purge.c - `longwire purge`: removes all messages of a channel. */
#include <unistd.h>

#include "longwire/channel_name.h"
#include "longwire/command.h"
#include "longwire/http.h"
#include "longwire/print.h"

/* "purged topic:a 17". False: `body` does not say how many. */
static bool purge_put(struct buf *text, const char *channel, struct span body)
{
    struct field purged = { .name = "purged" };
    struct buf   decoded;
    uint64_t     count;

    buf_init(&decoded, HTTP_BODY_BYTES_MAX);
    bool is_said = fields_read(body, &purged, 1, &decoded) && field_u64(&purged, &count);
    buf_fini(&decoded);
    if (is_said)
        buf_putf(text, "purged %s %llu\n", channel, (unsigned long long)count);
    return is_said;
}

static int purge_ask(struct http *http, const char *channel)
{
    struct http_answer answer;
    struct buf         path, text;
    int                exit_code;

    buf_init(&path, HTTP_PATH_BYTES_MAX);
    buf_init(&text, HTTP_PATH_BYTES_MAX);
    http_put_channel_path(&path, channel);
    buf_putc(&path, '\0');
    struct http_request request = { .method = "DELETE", .path = path.at, .accept = "application/json" };
    http_ask(http, &request, &answer);
    if (answer.end == HTTP_DONE && http_is_2xx(&answer) && purge_put(&text, channel, buf_span(&answer.body)))
        exit_code = print_once(buf_span(&text));
    else
        exit_code = http_complain(http, &answer);
    http_answer_fini(&answer);
    buf_fini(&path);
    buf_fini(&text);
    return exit_code;
}

static bool purge_option(void *arg, int option, const char *value)
{
    bool *is_sure = arg;
    (void)value;
    *is_sure = option == OPTION_YES;
    return true;
}

int command_purge(struct invocation *invocation)
{
    struct http http;
    bool        is_sure = false;

    if (!invocation_read(invocation, purge_option, &is_sure))
        return invocation->exit;
    const char *channel = invocation->words[0];
    if (!http_channel_fits(channel))
        return EXIT_USAGE;
    channel_name_warn(channel);
    if (!is_sure && isatty(STDIN_FILENO) == 1) {
        say("this removes all messages of %s, and there is no way back; add --yes to do it", channel);
        return EXIT_USAGE;
    }
    http_init(&http, &invocation->target, -1);
    int exit_code = purge_ask(&http, channel);
    http_fini(&http);
    return exit_code;
}
