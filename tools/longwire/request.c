/* request.c - `longwire request`: asks a back end of the application, through the server. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/must.h"
#include "longwire/asker.h"
#include "longwire/command.h"
#include "longwire/file_read.h"
#include "longwire/lines.h"
#include "longwire/print.h"

/* --- the response --------------------------------------------------------------------------------------------------- */

static void put_head(struct buf *text, const struct lw_response *response)
{
    buf_putf(text, "HTTP %u\n", response->status);
    for (size_t i = 0; i < response->header_count; i++) {
        put_visible(text, span_str(response->headers[i].name));
        buf_put_lit(text, ": ");
        put_visible(text, span_str(response->headers[i].value));
        buf_putc(text, '\n');
    }
    buf_putc(text, '\n');
}

int asker_print(const struct asker *asker, const struct lw_response *response)
{
    bool       is_success = response->status >= 200 && response->status < 400;
    struct buf text;

    buf_init(&text, SIZE_MAX / 2);
    if (asker->shows_head)
        put_head(&text, response);
    buf_put(&text, span_of(response->body, response->body_len));
    int exit = print_once(buf_span(&text));
    buf_fini(&text);
    if (!is_success && !asker->shows_head)
        say("the answer is %u", response->status);
    return exit != EXIT_FINE ? exit : is_success ? EXIT_FINE : EXIT_REFUSED;
}

int asker_give_up(const struct asker *asker)
{
    say("no answer within --timeout; the same command with --id %s asks for it again", asker->id);
    return EXIT_TIMEOUT;
}

/* --- the command line -------------------------------------------------------------------------------------------------- */

static bool take_header(struct asker *asker, const char *text)
{
    const char *colon = strchr(text, ':');

    if (colon == NULL || colon == text) {
        say("--header needs `Name: value`, not \"%s\"", text);
        return false;
    }
    if (asker->header_count == ASKER_HEADERS_MAX) {
        say("at most %d headers", ASKER_HEADERS_MAX);
        return false;
    }
    char *copy = strdup(text);
    must(copy != NULL);
    asker->texts[asker->header_count] = copy;
    char *value                       = copy + (colon - text);
    *value++                          = '\0';
    value += strspn(value, " \t");
    asker->headers[asker->header_count++] = (struct lw_header){ copy, value };
    return true;
}

static bool take_timeout(struct asker *asker, const char *text)
{
    if (!cli_duration("--timeout", text, &asker->timeout_ms))
        return false;
    asker->until = msec_now() + asker->timeout_ms;
    return true;
}

static bool take_id(struct asker *asker, const char *text)
{
    asker->id = text;
    if (*text != '\0' && strlen(text) <= ASKER_ID_BYTES_MAX && cli_is_visible(span_str(text)))
        return true;
    say("--id needs 1 to %d visible characters", ASKER_ID_BYTES_MAX);
    return false;
}

static bool asker_option(void *arg, int option, const char *value)
{
    struct asker *asker = arg;

    switch (option) {
    case OPTION_HEADER: return take_header(asker, value);
    case OPTION_DATA: asker->data = value; return true;
    case OPTION_FILE: asker->file = value; return true;
    case OPTION_ID: return take_id(asker, value);
    case OPTION_INCLUDE: asker->shows_head = true; return true;
    case OPTION_USER: asker->user = value; return true;
    case OPTION_DEVICE: asker->device = value; return true;
    case OPTION_TIMEOUT: return take_timeout(asker, value);
    default: asker->has_patience = true; return true;
    }
}

static bool is_method(const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        if (*at < 'A' || *at > 'Z')
            return false;
    return *text != '\0' && strlen(text) <= 32;
}

static bool take_request(struct asker *asker, char **words)
{
    asker->method = words[0];
    asker->path   = words[1];
    if (!is_method(asker->method)) {
        say("the METHOD is in capital letters, for instance GET; not \"%s\"", asker->method);
        return false;
    }
    if (asker->path[0] != '/' || !cli_is_visible(span_str(asker->path))) {
        say("the PATH begins with a slash and is percent-encoded, for instance /orders?shop=2; not \"%s\"", asker->path);
        return false;
    }
    if (asker->data != NULL && asker->file != NULL) {
        say("--data and --file exclude one another");
        return false;
    }
    if (asker->user != NULL && asker->device == NULL)
        asker->device = "longwire";
    return true;
}

static bool take_body(struct asker *asker)
{
    if (asker->data != NULL)
        buf_put(&asker->body, span_str(asker->data));
    return asker->file == NULL || file_read(asker->file, &asker->body);
}

static void make_id(struct asker *asker)
{
    unsigned char random[16];

    must(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(asker->made_id + 2 * i, 3, "%02x", random[i]);
    if (asker->id == NULL)
        asker->id = asker->made_id;
}

static int asker_run(struct asker *asker, struct invocation *invocation)
{
    if (!invocation_read(invocation, asker_option, asker))
        return invocation->exit;
    if (!take_request(asker, invocation->words))
        return EXIT_USAGE;
    make_id(asker);
    if (!take_body(asker))
        return EXIT_REFUSED;
    return invocation->target.is_native ? asker_run_native(asker, &invocation->target)
                                        : asker_run_http(asker, &invocation->target);
}

int command_request(struct invocation *invocation)
{
    struct asker asker = { .method = NULL };

    buf_init(&asker.body, (size_t)LINE_BYTES_MAX + 2 * FILE_READ_BYTES);
    int exit_code = asker_run(&asker, invocation);
    buf_fini(&asker.body);
    for (size_t i = 0; i < asker.header_count; i++)
        free(asker.texts[i]);
    return exit_code;
}
