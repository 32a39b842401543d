/* why.c - `longwire why`: what became of one message for one device, in plain sentences. */
#include "longwire/channel_name.h"
#include "longwire/command.h"
#include "longwire/duration.h"
#include "longwire/http.h"
#include "longwire/print.h"

/* The words of GET /v1/why, as people read them. */
struct why_sentence {
    const char *word, *text;
};

static const struct why_sentence state_sentences[] = {
    { "acknowledged", "the device has acknowledged it" },
    { "written", "it was handed to the socket of the device's link, and is not acknowledged yet" },
    { "written_or_collapsed", "the device's link has passed it: it was handed to the socket, or a later message with the same "
                              "collapse key took its place" },
    { "passed", "the device stands behind it: it had the message, or began to follow the channel after it" },
    { "pending", "it is to be delivered" },
    { "not_meant", "it was not meant for this device" },
    { "no_session", "the device has no session, so nothing is kept for it" },
    { "expired", "its time to live was over before the device acknowledged it" },
    { "trimmed", "it is no longer kept, and the device had not acknowledged it" },
    { "corrupt", "it can't be read from the disk any more, and the device had not acknowledged it" },
    { NULL, NULL },
};

static const struct why_sentence step_sentences[] = {
    { "session_began", "the device's session began" },
    { "session_began_later", "the device's session began, after the message: a session begins at the newest message" },
    { "session_ended", "the device was there for the last time; its session has ended since" },
    { "no_session", "the device has no session: it never connected with one, or the session has been deleted" },
    { "joined", "the user joined the group" },
    { "joined_later", "the user joined the group, after the message" },
    { "left", "the user left the group, after the message" },
    { "left_earlier", "the user had left the group before the message" },
    { "never_member", "the user is no member of the group, and was none as far as is known" },
    { "stored", "the message was stored" },
    { "recalled", "the message was taken back" },
    { "expired", "the message's time to live is over; it is no longer delivered" },
    { "trimmed", "the message has been removed: by retention, or because the channel was purged" },
    { "corrupt", "the message's record is damaged" },
    { "connected", "the device's link came" },
    { "between_polls", "the device polls, and its last poll ended" },
    { "not_connected", "the device's last link ended; it has not been connected since" },
    { "routed", "the link follows the channel, and the message is there" },
    { "place_before", "the device's place was stored: it stands behind message #" },
    { "place_in_earlier_epoch", "the device's place is in an earlier life of the channel's log" },
    { "behind", "the link is behind: it was handed the channel up to message #" },
    { "told_of_head", "the link asked to be told of new messages alone; it fetches them itself" },
    { "not_following", "the device's link does not follow the channel" },
    { "not_answered", "the part of the server that has the link did not answer in time" },
    { "never_followed", "neither the device's session nor its link follows the channel" },
    { "written", "the message had been handed to the link's socket by now" },
    { "written_or_collapsed", "the link had passed the message by now: it was handed to the socket, or collapsed" },
    { "passed", "the device is behind the message, at message #" },
    { "acknowledged", "the device had acknowledged the channel up to message #" },
    { "expires", "the message will expire" },
    { NULL, NULL },
};

enum { STEP_WHAT, STEP_TIME, STEP_SEQ, STEP_NODE, STEP_CONNECTION, STEP_FIELDS };

enum { WHY_CHANNEL, WHY_SEQ, WHY_DEVICE, WHY_STATE, WHY_FIELDS };

struct why_printer {
    struct buf *text, *decoded;
};

/* A word of a newer server is printed as it is. */
static struct span sentence_of(const struct why_sentence *sentences, struct span word)
{
    for (const struct why_sentence *at = sentences; at->word != NULL; at++)
        if (span_eq(span_str(at->word), word))
            return span_str(at->text);
    return word;
}

/* `#` at its end stands for the number. */
static void put_sentence(struct buf *text, struct span sentence, const struct field *seq)
{
    struct span plain = sentence;

    if (sentence.len > 0 && sentence.at[sentence.len - 1] == '#')
        plain = span_head(sentence, sentence.len - 1);
    put_visible(text, plain);
    if (plain.len < sentence.len)
        put_visible(text, seq->is_there ? seq->text : SPAN("?"));
}

static void put_when(struct buf *text, const struct field *time)
{
    uint64_t ms;

    if (field_u64(time, &ms))
        moment_put_local(text, ms);
    else
        buf_putf(text, "%-23s", "-");
}

static bool put_step(void *arg, struct span element)
{
    struct why_printer *printer          = arg;
    struct field        at[STEP_FIELDS] = { { .name = "what" }, { .name = "time" }, { .name = "seq" }, { .name = "node" },
                                            { .name = "connection" } };

    if (!fields_read(element, at, STEP_FIELDS, printer->decoded) || !field_is_string(&at[STEP_WHAT]))
        return false;
    buf_put_lit(printer->text, "  ");
    put_when(printer->text, &at[STEP_TIME]);
    buf_put_lit(printer->text, "  ");
    put_sentence(printer->text, sentence_of(step_sentences, at[STEP_WHAT].text), &at[STEP_SEQ]);
    if (field_is_string(&at[STEP_CONNECTION])) {
        buf_put_lit(printer->text, " (connection ");
        put_visible(printer->text, at[STEP_CONNECTION].text);
        buf_put_lit(printer->text, " on ");
        put_visible(printer->text, at[STEP_NODE].text);
        buf_putc(printer->text, ')');
    }
    buf_putc(printer->text, '\n');
    return true;
}

/* False: it is no such answer. */
static bool put_why_told(struct buf *text, struct buf *decoded, struct span body)
{
    struct why_printer printer        = { text, decoded };
    struct field       at[WHY_FIELDS] = { { .name = "channel" }, { .name = "seq" }, { .name = "device" }, { .name = "state" } };

    if (!fields_read(body, at, WHY_FIELDS, decoded) || !field_is_string(&at[WHY_STATE]))
        return false;
    buf_put_lit(text, "message ");
    put_visible(text, at[WHY_SEQ].text);
    buf_put_lit(text, " of ");
    put_visible(text, at[WHY_CHANNEL].text);
    buf_put_lit(text, " for ");
    put_visible(text, at[WHY_DEVICE].text);
    buf_put_lit(text, ": ");
    put_visible(text, sentence_of(state_sentences, at[WHY_STATE].text));
    buf_putc(text, '\n');
    return elements_each(body, "steps", put_step, &printer);
}

struct why_request {
    enum format format;
    const char *channel, *device;
    uint64_t    seq;
};

static void put_path(struct buf *path, const struct why_request *request)
{
    buf_put_lit(path, "/v1/why?channel=");
    http_put_encoded(path, span_str(request->channel));
    buf_putf(path, "&seq=%llu&device=", (unsigned long long)request->seq);
    http_put_encoded(path, span_str(request->device));
    buf_putc(path, '\0');
}

static int print_answer(const struct why_request *request, struct span body)
{
    struct buf text, decoded;
    int        exit_code = EXIT_REFUSED;

    buf_init(&text, (size_t)4 * HTTP_BODY_BYTES_MAX);
    buf_init(&decoded, HTTP_BODY_BYTES_MAX);
    if (request->format == FORMAT_JSON) {
        buf_put(&text, body);
        buf_putc(&text, '\n');
        exit_code = print_once(buf_span(&text));
    } else if (put_why_told(&text, &decoded, body)) {
        exit_code = print_once(buf_span(&text));
    } else {
        say("the server's answer is not what GET /v1/why says");
    }
    buf_fini(&text);
    buf_fini(&decoded);
    return exit_code;
}

static int why_run(struct http *http, const struct why_request *request)
{
    struct http_answer answer;
    struct buf         path;

    buf_init(&path, HTTP_PATH_BYTES_MAX);
    put_path(&path, request);
    struct http_request ask = { .method = "GET", .path = path.at, .accept = "application/json" };
    http_ask(http, &ask, &answer);
    int exit_code = answer.end == HTTP_DONE && http_is_2xx(&answer) ? print_answer(request, buf_span(&answer.body))
                                                                    : http_complain(http, &answer);
    http_answer_fini(&answer);
    buf_fini(&path);
    return exit_code;
}

static bool why_option(void *arg, int option, const char *value)
{
    struct why_request *request = arg;

    if (option == OPTION_FORMAT)
        return format_parse(value, &request->format);
    request->format = FORMAT_JSON;
    return true;
}

int command_why(struct invocation *invocation)
{
    struct why_request request = { .format = FORMAT_TEXT };
    struct http        http;

    if (!invocation_read(invocation, why_option, &request))
        return invocation->exit;
    request.channel = invocation->words[0];
    request.device  = invocation->words[2];
    if (!http_channel_fits(request.channel) || !cli_u64("SEQ", invocation->words[1], &request.seq))
        return EXIT_USAGE;
    channel_name_warn(request.channel);
    http_init(&http, &invocation->target, -1);
    int exit_code = why_run(&http, &request);
    http_fini(&http);
    return exit_code;
}
