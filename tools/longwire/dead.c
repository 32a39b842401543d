/* dead.c - `longwire dead list|retry`: messages that no back end has taken, and sending them again. */
#include "longwire/command.h"
#include "longwire/duration.h"
#include "longwire/http.h"
#include "longwire/print.h"

enum { DEAD_PAGE = 1000, DEAD_FIELDS = 6, DEAD_LETTER_FIELDS = 8 };

/* Of the message in sys:dead, and of the object that it holds. */
enum { DEAD_TYPE, DEAD_SEQ, DEAD_TIME, DEAD_DATA, DEAD_RECALLED, DEAD_TO };
enum { HELD_CHANNEL, HELD_SEQ, HELD_STATUS, HELD_BACKEND, HELD_FORWARDER, HELD_MEDIA, HELD_DATA, HELD_BASE64 };

static const char *const dead_names[DEAD_FIELDS] = { "type", "seq", "time", "data", "recalled", "to" };
static const char *const held_names[DEAD_LETTER_FIELDS] = {
    "channel", "seq", "status", "backend", "forwarder", "media", "data", "data_base64",
};

struct dead_list {
    struct http    http;
    struct printer printer;
    struct buf     decoded, inner, text;
    uint64_t       after;     /* the last seq of sys:dead that was read, or that a gap says is gone */
    uint64_t       until;     /* its head when the reading began: what is sent again may come back behind it */
    uint64_t       read;      /* entries of the page */
    bool           is_retried; /* each is sent again, instead of being printed */
    int            exit;
};

/* --- one message -------------------------------------------------------------------------------------------------------- */

static void put_cell(struct buf *buf, struct span text, int width)
{
    size_t before = buf->len;

    put_visible(buf, text);
    buf_putf(buf, "%*s ", buf->len - before < (size_t)width ? width - (int)(buf->len - before) : 0, "");
}

static void dead_put_row(struct dead_list *list, const struct field *dead, const struct field *held)
{
    const struct field *data = held[HELD_DATA].is_there ? &held[HELD_DATA] : &held[HELD_BASE64];
    uint64_t            time = 0;

    (void)field_u64(&dead[DEAD_TIME], &time);
    put_cell(&list->text, dead[DEAD_SEQ].text, 6);
    moment_put_local(&list->text, time);
    buf_putc(&list->text, ' ');
    put_cell(&list->text, held[HELD_STATUS].text, 6);
    put_cell(&list->text, held[HELD_BACKEND].text, 12);
    put_cell(&list->text, held[HELD_CHANNEL].text, 24);
    put_cell(&list->text, held[HELD_SEQ].text, 8);
    put_visible(&list->text, data->text);
    buf_putc(&list->text, '\n');
}

/* Prints what came of it. */
static bool dead_retry_one(struct dead_list *list, uint64_t seq)
{
    struct http_answer answer;
    char               path[64];

    snprintf(path, sizeof path, "/v1/dead/%llu", (unsigned long long)seq);
    struct http_request request = { .method = "POST", .path = path, .accept = "application/json" };
    http_ask(&list->http, &request, &answer);
    bool is_done = answer.end == HTTP_DONE && http_is_2xx(&answer);
    if (is_done)
        buf_putf(&list->text, "sent again %llu: %.*s\n", (unsigned long long)seq, SPAN_ARG(buf_span(&answer.body)));
    else
        list->exit = http_complain(&list->http, &answer);
    http_answer_fini(&answer);
    return is_done;
}

/* One that was sent again is recalled: nothing is left of it to show. */
static bool dead_on_element(void *arg, struct span element)
{
    struct dead_list *list = arg;
    struct field      dead[DEAD_FIELDS], held[DEAD_LETTER_FIELDS];
    uint64_t          seq = 0;

    for (size_t i = 0; i < DEAD_FIELDS; i++)
        dead[i] = (struct field){ .name = dead_names[i] };
    for (size_t i = 0; i < DEAD_LETTER_FIELDS; i++)
        held[i] = (struct field){ .name = held_names[i] };
    if (!fields_read(element, dead, DEAD_FIELDS, &list->decoded))
        return false;
    list->read++;
    if (!field_u64(&dead[DEAD_SEQ], &seq) && !field_u64(&dead[DEAD_TO], &seq))
        return false;
    list->after = seq;
    if (seq > list->until || !dead[DEAD_DATA].is_there || dead[DEAD_RECALLED].is_there || !fields_read(dead[DEAD_DATA].raw, held, DEAD_LETTER_FIELDS, &list->inner))
        return true;
    if (list->is_retried)
        return dead_retry_one(list, seq);
    if (list->printer.format == FORMAT_JSON) {
        buf_put(&list->text, element);
        buf_putc(&list->text, '\n');
    } else {
        dead_put_row(list, dead, held);
    }
    return true;
}

/* --- a page ------------------------------------------------------------------------------------------------------------- */

/* The first page says where the reading ends. */
static bool dead_elements(struct dead_list *list, struct span body)
{
    struct field head = { .name = "head" };

    if (list->after == 0 && (!fields_read(body, &head, 1, &list->decoded) || !field_u64(&head, &list->until)))
        return false;
    return elements_each(body, "messages", dead_on_element, list);
}

/* True: there may be more behind it. */
static bool dead_page(struct dead_list *list)
{
    struct http_answer answer;
    char               path[128];
    bool               is_page = false;

    snprintf(path, sizeof path, "/v1/channels/sys%%3Adead/messages?after=%llu&limit=%d", (unsigned long long)list->after, DEAD_PAGE);
    struct http_request request = { .method = "GET", .path = path, .accept = "application/json", .body_bytes_max = ENTRY_BYTES_MAX };
    list->read = 0;
    http_ask(&list->http, &request, &answer);
    if (answer.end != HTTP_DONE || !http_is_2xx(&answer)) {
        list->exit = http_complain(&list->http, &answer);
    } else if (!dead_elements(list, buf_span(&answer.body))) {
        if (list->exit == EXIT_FINE) {
            say("the answer can't be understood: is this a Longwire server?");
            list->exit = EXIT_REFUSED;
        }
    } else {
        is_page = true;
    }
    http_answer_fini(&answer);
    printer_write(&list->printer, buf_span(&list->text));
    buf_clear(&list->text);
    if (printer_flush(&list->printer) == PRINTED_FAILED)
        list->exit = EXIT_REFUSED;
    return is_page && list->exit == EXIT_FINE && list->read > 0 && list->after < list->until;
}

static void dead_all(struct dead_list *list)
{
    if (!list->is_retried && list->printer.format == FORMAT_TEXT && list->printer.is_tty)
        buf_put_lit(&list->text, "SEQ    TIME                    STATUS BACKEND      CHANNEL                  SEQ      DATA\n");
    while (dead_page(list))
        ;
}

static void dead_retry_words(struct dead_list *list, char *const *words, size_t count)
{
    uint64_t seq;

    for (size_t i = 0; i < count && list->exit == EXIT_FINE; i++)
        if (!cli_u64("SEQ", words[i], &seq))
            list->exit = EXIT_USAGE;
        else
            dead_retry_one(list, seq);
    printer_write(&list->printer, buf_span(&list->text));
    if (printer_flush(&list->printer) == PRINTED_FAILED)
        list->exit = EXIT_REFUSED;
}

/* --- the command -------------------------------------------------------------------------------------------------------- */

struct dead_options {
    struct dead_list *list;
    bool              is_all;
};

static bool dead_option(void *arg, int option, const char *value)
{
    struct dead_options *options = arg;

    (void)value;
    if (option == OPTION_ALL)
        options->is_all = true;
    else
        options->list->printer.format = FORMAT_JSON;
    return true;
}

static int dead_ask(const struct invocation *invocation)
{
    say("%s", invocation->command->words_ask);
    return EXIT_USAGE;
}

static int dead_run(struct invocation *invocation, struct dead_list *list, bool is_all)
{
    bool   is_list = strcmp(invocation->words[0], "list") == 0;
    size_t named   = invocation->word_count - 1;

    if ((!is_list && strcmp(invocation->words[0], "retry") != 0) || (is_list && named > 0) || (!is_list && is_all == (named > 0)))
        return dead_ask(invocation);
    http_init(&list->http, &invocation->target, -1);
    list->is_retried = !is_list;
    if (is_list || is_all)
        dead_all(list);
    else
        dead_retry_words(list, invocation->words + 1, named);
    http_fini(&list->http);
    return list->exit;
}

int command_dead(struct invocation *invocation)
{
    struct dead_list    list    = { .exit = EXIT_FINE };
    struct dead_options options = { .list = &list };

    printer_init(&list.printer);
    buf_init(&list.decoded, ENTRY_BYTES_MAX);
    buf_init(&list.inner, ENTRY_BYTES_MAX);
    buf_init(&list.text, (size_t)2 * ENTRY_BYTES_MAX);
    if (invocation_read(invocation, dead_option, &options))
        invocation->exit = dead_run(invocation, &list, options.is_all);
    buf_fini(&list.decoded);
    buf_fini(&list.inner);
    buf_fini(&list.text);
    printer_fini(&list.printer);
    return invocation->exit;
}
